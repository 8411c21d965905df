"""The bytes of the redo journal: names of its files, the header of a segment, the records in it.

Room: stratum/core. May import: core.errors.

Every start of the server that writes is an *epoch*, numbered upwards. All integers are little endian.

    files on a disk (names in lower-case hexadecimal)
        journal/<first seq, 16 digits>-<epoch, 8 digits>.log       a segment
        journal/<epoch, 8 digits>.epoch                            empty: this epoch number is taken
        snapshots/<seq, 16 digits>-<epoch, 8 digits>.snap          a snapshot (core/snapshot_format.py)
        <any of these>.tmp-<token>                                 being written: worthless

    segment = header, then records without gaps, then perhaps zeros (where the next records would be)
        header, 96 bytes
             0  magic b"STRMJRNL"      8  format version u32 (1)    12  zeros u32
            16  store id, 16 bytes    32  epoch u64                 40  first seq u64 (of the first record here)
            48  base: seq u64, epoch u64    64  older base: seq u64, epoch u64    (0, 0: none)
            80  XXH3-128 of bytes 0..80
        record, 48 bytes + body
             0  magic b"JREC"          4  length of the body u32
             8  seq u64               16  epoch u64 (that of the segment)
            24  XXH3-64 of bytes 0..24, seeded with the store
            32  XXH3-128 of bytes 0..32 and the body, seeded with the store
            48  body: MessagePack array of [key bin, value bin | nil]; nil removes the key

"Seeded with the store" means: the seed is XXH3-64 of the store id, so that a record of another store on the
same disk is no record. XXH3 digests are stored as xxHash's canonical (big endian) bytes.

Invariants
    J1  Records of an epoch follow each other without a gap in seq, over its segments in order of first seq. The
        bases are the snapshots of earlier epochs that the epoch's records continue; its first record is at most
        the seq of a base + 1, or 1.
    J2  So an epoch stands by itself: what the newest epoch with a segment says is the whole truth, and files of
        any other epoch are leftovers (records that were never acknowledged, or copied into the newer epoch).
    J3  Within an epoch, a seq has one content: valid records of one (epoch, seq) on different disks are equal.
"""

import struct
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import xxhash

from stratum.core.errors import CorruptJournal

FORMAT_VERSION = 1
SEGMENT_HEADER_BYTES = 96
RECORD_HEADER_BYTES = 48
BODY_BYTES_MAX = 1 << 30  # a longer body is a mistake, and a longer one read back is damage
JOURNAL_FOLDER, SNAPSHOT_FOLDER = "journal", "snapshots"
RECORD_MAGIC = b"JREC"

_SEGMENT_MAGIC = b"STRMJRNL"
_SEGMENT = struct.Struct("<8sII16sQQQQQQ")
_RECORD = struct.Struct("<4sIQQ")
_HEAD_CHECK = _RECORD.size  # 24
_BODY_CHECK = 32

Change = tuple[bytes, bytes | None]  # a row to put, or (None) to remove

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[tuple[bytes, bytes | None]])


class Mark(NamedTuple):
    """A point in the history of the index, and so a snapshot: after commit `seq`, written in `epoch`."""

    seq: int
    epoch: int


class Segment(NamedTuple):
    """What the header of a segment says."""

    epoch: int
    first: int  # seq of the first record
    bases: tuple[Mark, ...] = ()  # newest first, at most two


class RecordHead(NamedTuple):
    """What the header of a record says."""

    seq: int
    epoch: int
    length: int  # of the body, bytes


def seed_of(store: bytes) -> int:
    """The seed of the checksums of a store's records and blocks."""
    return xxhash.xxh3_64_intdigest(store)


# --- names ----------------------------------------------------------------------------------------------------


def segment_path(first: int, epoch: int) -> str:
    """Where a segment is."""
    return f"{JOURNAL_FOLDER}/{first:016x}-{epoch:08x}.log"


def snapshot_path(mark: Mark) -> str:
    """Where a snapshot is."""
    return f"{SNAPSHOT_FOLDER}/{mark.seq:016x}-{mark.epoch:08x}.snap"


def claim_path(epoch: int) -> str:
    """The file whose being there says that `epoch` is taken."""
    return f"{JOURNAL_FOLDER}/{epoch:08x}.epoch"


def parse_name(name: str) -> Mark | None:
    """(number, epoch) of a segment, snapshot or (0, epoch) of a claim by its file name; None for other files."""
    stem, _, suffix = name.partition(".")
    number, dash, epoch = stem.rpartition("-")
    if suffix == "epoch":
        well_formed = not dash and len(epoch) >= 8
    else:
        well_formed = suffix in ("log", "snap") and len(number) == 16 and len(epoch) >= 8
    if not well_formed or not set(number + epoch) <= set("0123456789abcdef"):
        return None
    return Mark(int(number or "0", 16), int(epoch, 16))


# --- segments -------------------------------------------------------------------------------------------------


def encode_segment(store: bytes, segment: Segment) -> bytes:
    """The header of a segment."""
    newest, older = (*segment.bases, Mark(0, 0), Mark(0, 0))[:2]
    raw = _SEGMENT.pack(_SEGMENT_MAGIC, FORMAT_VERSION, 0, store, segment.epoch, segment.first, *newest, *older)
    return raw + xxhash.xxh3_128_digest(raw)


def decode_segment(store: bytes, raw: bytes) -> Segment:
    """What a segment's header says. Raises CorruptJournal, also for another store or a later version."""
    checked = raw[: _SEGMENT.size]
    if len(raw) < SEGMENT_HEADER_BYTES or xxhash.xxh3_128_digest(checked) != raw[80:SEGMENT_HEADER_BYTES]:
        raise CorruptJournal("segment header fails its checksum")
    magic, version, _, owner, epoch, first, *bases = _SEGMENT.unpack(checked)
    if magic != _SEGMENT_MAGIC or version != FORMAT_VERSION:
        raise CorruptJournal(f"segment of unknown version {version}")
    if owner != store:
        raise CorruptJournal(f"segment of another store ({owner.hex()})")
    marks = (Mark(bases[0], bases[1]), Mark(bases[2], bases[3]))
    return Segment(epoch, first, tuple(mark for mark in marks if mark.epoch))


# --- records --------------------------------------------------------------------------------------------------


def encode_changes(changes: Sequence[Change]) -> bytes:
    """The body of a record. Raises ValueError if it is over BODY_BYTES_MAX."""
    body = _encoder.encode(changes)
    if len(body) > BODY_BYTES_MAX:
        raise ValueError(f"a record of {len(body)} bytes, over {BODY_BYTES_MAX}")
    return body


def decode_changes(body: bytes) -> list[Change]:
    """The changes in a body whose checksum is right. Raises CorruptJournal."""
    try:
        return _decoder.decode(body)
    except msgspec.DecodeError as error:
        raise CorruptJournal(f"record body: {error}") from error


def encode_record_head(seed: int, seq: int, epoch: int, body: bytes) -> bytes:
    """The 48 bytes before `body`."""
    head = _RECORD.pack(RECORD_MAGIC, len(body), seq, epoch)
    head += xxhash.xxh3_64_digest(head, seed=seed)
    return head + _body_check(seed, head, body)


def decode_record_head(seed: int, raw: bytes) -> RecordHead | None:
    """What the header of a record says, None if these are not the first 48 bytes of a record."""
    if len(raw) < RECORD_HEADER_BYTES or not raw.startswith(RECORD_MAGIC):
        return None
    if xxhash.xxh3_64_digest(raw[:_HEAD_CHECK], seed=seed) != raw[_HEAD_CHECK:_BODY_CHECK]:
        return None
    _, length, seq, epoch = _RECORD.unpack_from(raw)
    return RecordHead(seq, epoch, length) if length <= BODY_BYTES_MAX else None


def body_is_sound(seed: int, head: bytes, body: bytes) -> bool:
    """Whether `body` is what was written after the 48 bytes `head`."""
    return _body_check(seed, head[:_BODY_CHECK], body) == head[_BODY_CHECK:RECORD_HEADER_BYTES]


def _body_check(seed: int, head: bytes, body: bytes) -> bytes:
    check = xxhash.xxh3_128(head, seed=seed)
    check.update(body)
    return check.digest()
