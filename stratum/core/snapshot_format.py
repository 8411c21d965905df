"""The bytes of a snapshot: every row of the index after one commit, in key order.

Room: stratum/core. May import: core.errors, core.journal_format.

    snapshot = header, blocks without gaps, footer; little endian; file name: core/journal_format.py
        header, 64 bytes
             0  magic b"STRMSNAP"      8  format version u32 (1)    12  zeros u32
            16  store id, 16 bytes    32  seq u64                   40  epoch u64
            48  XXH3-128 of bytes 0..48
        block, 32 bytes + body; at least one row, about 256 KiB unless one row is longer
             0  magic b"SBLK"          4  length of the body u32     8  rows u32    12  index of the block u32
            16  XXH3-128 of bytes 0..16 and the body, seeded with XXH3-64 of the file's header
            32  body: MessagePack array of [key bin, value bin]
        footer, 64 bytes
             0  magic b"STRMSEND"      8  blocks u64    16  rows u64    24  offset of the footer u64
            32  XXH3-128 of all bytes of the file before the footer
            48  XXH3-128 of bytes 0..48 of the footer, seeded as the blocks

Invariants
    N1  Snapshots of one (seq, epoch) on different disks are equal byte for byte, so a block that is damaged on
        one disk can be read from another at the same offset.
    N2  A file without a footer that fits its header and its size is no snapshot.
"""

import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec
import xxhash

from stratum.core.errors import CorruptJournal
from stratum.core.journal_format import Mark

FORMAT_VERSION = 1
HEADER_BYTES = 64
BLOCK_HEADER_BYTES = 32
FOOTER_BYTES = 64
BLOCK_BYTES = 256 * 1024  # a block is closed when its keys and values reach this

_MAGIC, _BLOCK_MAGIC, _END_MAGIC = b"STRMSNAP", b"SBLK", b"STRMSEND"
_HEADER = struct.Struct("<8sII16sQQ")
_BLOCK = struct.Struct("<4sIII")
_FOOTER = struct.Struct("<8sQQQ16s")

Row = tuple[bytes, bytes]

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[tuple[bytes, bytes]])


class BlockHead(NamedTuple):
    """What the header of a block says."""

    length: int
    rows: int
    check: bytes


class Footer(NamedTuple):
    """What the footer says."""

    blocks: int
    rows: int
    at: int  # offset of the footer
    digest: bytes  # of everything before it


def pieces(store: bytes, mark: Mark, rows: Iterable[Row]) -> Iterator[bytes]:
    """The snapshot of `rows`, which must come in key order, piece by piece. Nothing but a block is kept."""
    header = _HEADER.pack(_MAGIC, FORMAT_VERSION, 0, store, mark.seq, mark.epoch)
    header += xxhash.xxh3_128_digest(header)
    seed = seed_of(header)
    whole = xxhash.xxh3_128(header)
    yield header
    blocks = total = 0
    at = len(header)
    for block in _blocks(rows):
        raw = _encode_block(seed, blocks, block)
        whole.update(raw)
        yield raw
        blocks += 1
        total += len(block)
        at += len(raw)
    footer = _FOOTER.pack(_END_MAGIC, blocks, total, at, whole.digest())
    yield footer + xxhash.xxh3_128_digest(footer, seed=seed)


def seed_of(header: bytes) -> int:
    """The seed of the checksums in the snapshot that begins with `header`."""
    return xxhash.xxh3_64_intdigest(header)


def decode_header(store: bytes, raw: bytes) -> Mark:
    """Which snapshot this is. Raises CorruptJournal, also for another store or a later version."""
    checked = raw[: _HEADER.size]
    if len(raw) < HEADER_BYTES or xxhash.xxh3_128_digest(checked) != raw[_HEADER.size : HEADER_BYTES]:
        raise CorruptJournal("snapshot header fails its checksum")
    magic, version, _, owner, seq, epoch = _HEADER.unpack(checked)
    if magic != _MAGIC or version != FORMAT_VERSION or owner != store:
        raise CorruptJournal(f"snapshot of unknown version ({version}) or of another store")
    return Mark(seq, epoch)


def decode_footer(seed: int, raw: bytes, at: int) -> Footer:
    """What the footer found at offset `at` says. Raises CorruptJournal."""
    checked = raw[: _FOOTER.size]
    if len(raw) != FOOTER_BYTES or xxhash.xxh3_128_digest(checked, seed=seed) != raw[_FOOTER.size :]:
        raise CorruptJournal("snapshot without a sound footer")
    magic, blocks, rows, offset, digest = _FOOTER.unpack(checked)
    if magic != _END_MAGIC or offset != at:
        raise CorruptJournal("snapshot footer is not at its place")
    return Footer(blocks, rows, offset, digest)


def decode_block_head(raw: bytes, index: int) -> BlockHead | None:
    """What the header of block `index` says, None if this is not one. Nothing is verified before the body is."""
    if len(raw) != BLOCK_HEADER_BYTES:
        return None
    magic, length, rows, found = _BLOCK.unpack_from(raw)
    if magic != _BLOCK_MAGIC or found != index:
        return None
    return BlockHead(length, rows, raw[_BLOCK.size :])


def block_is_sound(seed: int, head: bytes, body: bytes) -> bool:
    """Whether the 32 bytes `head` and `body` are the block that was written."""
    return _check(seed, head[: _BLOCK.size], body) == head[_BLOCK.size : BLOCK_HEADER_BYTES]


def decode_rows(body: bytes) -> list[Row]:
    """The rows in the body of a sound block. Raises CorruptJournal."""
    try:
        return _decoder.decode(body)
    except msgspec.DecodeError as error:
        raise CorruptJournal(f"snapshot block: {error}") from error


def _blocks(rows: Iterable[Row]) -> Iterator[list[Row]]:
    block: list[Row] = []
    size = 0
    for row in rows:
        block.append(row)
        size += len(row[0]) + len(row[1])
        if size >= BLOCK_BYTES:
            yield block
            block, size = [], 0
    if block:
        yield block


def _encode_block(seed: int, index: int, rows: list[Row]) -> bytes:
    body = _encoder.encode(rows)
    head = _BLOCK.pack(_BLOCK_MAGIC, len(body), len(rows), index)
    return head + _check(seed, head, body) + body


def _check(seed: int, head: bytes, body: bytes) -> bytes:
    check = xxhash.xxh3_128(head, seed=seed)
    check.update(body)
    return check.digest()
