"""How evidence of volumes rests in the index: blocks that fill a page, and what a day has brought so far.

Room: stratum/core. May import: core.schema, core.tiering.evidence.

A block holds the evidence of volumes with neighbouring ids, whatever lies between them: an id takes one byte where ids
are dense, two or three where most of them are gone. 73 records of 54 bytes with what is around them fill one 4 KiB page
of the index: 56.5 bytes a volume. `engine/tiering_stock.py` packs blocks that have become sparse.

Invariants
    K1  A block is: version 2, due day (u16), number of volumes (u8), the first id (u64), for each other id its distance
        from the one before (LEB128: seven bits a byte, the lowest first), 54 bytes for each in the order of ids.
    K2  The record is evidence.packed(); the upper five bits of its `minute` (0 to 1439) hold the last reason.
    K3  Touch and block are little-endian; a version that is not known is refused, never guessed.
    K4  A block lies under an id that is not below any of its own, and below all of the next block: so the block of a
        volume is the first one at or behind its id.
    K5  Version 1 (ids of block n are 65 n to 65 n + 64, with a bitmap of 9 bytes; records have 8 bytes more) is read.
"""

import struct
from collections.abc import Iterable, Iterator
from itertools import pairwise

from stratum.core.schema import BLOCK
from stratum.core.tiering.evidence import PACKED_BYTES, Evidence, packed, unpacked

PAGE_BYTES = 4068  # of a stored block, so that with its record and the page's own header it is one page of the index
NEVER_DUE = 0xFFFF
_VERSION = 2
_BEHIND = 1 << 63  # keys of blocks say the last id; those of version 1, without this bit, the number of the block
_HEAD = struct.Struct("<BHBQ")
_MOST = 255
_HEAD_1 = struct.Struct("<BH9s")
_VOLUMES_1, _RECORD_1 = 65, PACKED_BYTES + 8
_MINUTE = struct.Struct("<H")
_MINUTE_AT = 12  # of `minute` in evidence.packed()
_GROUP_AT = 18
_GROUP = struct.Struct("<I")
_TOUCH_VERSION = 1
_TOUCH = struct.Struct("<BIQQBHf")

INTEREST, WRITTEN, WISHED = 1, 2, 4  # flags of a touch


def block_key(last: int) -> bytes:
    """Key of the block whose volumes have ids up to `last`; scanning from it finds the block of a volume (K4)."""
    return BLOCK + (_BEHIND | last).to_bytes(8, "big")


def first_block_key(volume: int) -> bytes:
    """Key of the block of version 1 in which a volume would be."""
    return BLOCK + (volume // _VOLUMES_1).to_bytes(8, "big")


BLOCKS_BEGIN = block_key(0)  # behind those of version 1


class Block:
    """Evidence of volumes with neighbouring ids, and the day when the first of them is to be looked at."""

    __slots__ = ("_records", "due", "key")

    def __init__(self, raw: bytes | None = None, key: bytes = b"") -> None:
        """Read the block stored under `key`; none: an empty one. Raises ValueError for what is none."""
        self.key = key  # where it is stored; empty: nowhere yet
        self.due = NEVER_DUE
        self._records: dict[int, bytes] = {}
        if raw is None:
            return
        if raw[:1] == bytes((_VERSION,)):
            self._read(raw)
        else:
            self._read_version_1(raw, int.from_bytes(key[len(BLOCK) :], "big"))

    def _read(self, raw: bytes) -> None:
        if len(raw) < _HEAD.size:
            raise ValueError("not a block of evidence")
        _, self.due, count, volume = _HEAD.unpack_from(raw)
        at, volumes = _HEAD.size, [volume][:count]
        begin = len(raw) - count * PACKED_BYTES
        for _ in range(1, count):
            gap = shift = 0
            more = True
            while more and at < begin:
                gap |= (raw[at] & 0x7F) << shift
                more, shift, at = raw[at] >= 0x80, shift + 7, at + 1
            if more:
                raise ValueError("not a block of evidence")
            volume += gap
            volumes.append(volume)
        self._records = {each: raw[begin + n * PACKED_BYTES :][:PACKED_BYTES] for n, each in enumerate(volumes)}
        if at != begin or len(self._records) != count:
            raise ValueError("not a block of evidence")

    def _read_version_1(self, raw: bytes, number: int) -> None:
        version, self.due, bits = _HEAD_1.unpack_from(raw) if len(raw) >= _HEAD_1.size else (0, 0, b"")
        present = int.from_bytes(bits, "little")
        if version != 1 or len(raw) != _HEAD_1.size + present.bit_count() * _RECORD_1:
            raise ValueError("not a block of evidence")
        at = _HEAD_1.size
        for offset in range(_VOLUMES_1):
            if present >> offset & 1:
                self._records[number * _VOLUMES_1 + offset] = raw[at : at + PACKED_BYTES]
                at += _RECORD_1

    def __len__(self) -> int:
        return len(self._records)

    def __contains__(self, volume: int) -> bool:
        return volume in self._records

    def volumes(self) -> Iterator[int]:
        """The ids, in order."""
        return iter(sorted(self._records))

    @property
    def last(self) -> int:
        """The last id. Of a block that is not empty."""
        return max(self._records)

    def get(self, volume: int) -> tuple[Evidence, int] | None:
        """Evidence and the code of the last reason."""
        raw = self._records.get(volume)
        if raw is None:
            return None
        (minute,) = _MINUTE.unpack_from(raw, _MINUTE_AT)
        bare = raw[:_MINUTE_AT] + _MINUTE.pack(minute & 0x7FF) + raw[_MINUTE_AT + 2 :]
        return unpacked(bare), minute >> 11

    def group(self, volume: int) -> int:
        """The group alone, cheaply."""
        return int(_GROUP.unpack_from(self._records[volume], _GROUP_AT)[0])

    def reason(self, volume: int) -> int | None:
        """The code of the last reason alone, cheaply."""
        raw = self._records.get(volume)
        return None if raw is None else _MINUTE.unpack_from(raw, _MINUTE_AT)[0] >> 11

    def put(self, volume: int, evidence: Evidence, reason: int) -> None:
        """Keep the evidence of a volume."""
        assert 0 <= reason < 32
        raw = packed(evidence)
        (minute,) = _MINUTE.unpack_from(raw, _MINUTE_AT)
        self._records[volume] = raw[:_MINUTE_AT] + _MINUTE.pack(minute | reason << 11) + raw[_MINUTE_AT + 2 :]

    def drop(self, volume: int) -> None:
        """The volume is gone."""
        self._records.pop(volume, None)

    def stored(self) -> bytes:
        """The block as the index has it."""
        volumes = sorted(self._records)
        first = volumes[0] if volumes else 0
        gaps = b"".join(_leb128(after - before) for before, after in pairwise(volumes))
        head = _HEAD.pack(_VERSION, self.due, len(volumes), first)
        return head + gaps + b"".join(self._records[volume] for volume in volumes)

    @property
    def size(self) -> int:
        """Bytes that it takes when stored."""
        volumes = sorted(self._records)
        gaps = sum(_leb128_bytes(after - before) for before, after in pairwise(volumes))
        return _HEAD.size + gaps + len(volumes) * PACKED_BYTES


def packed_blocks(blocks: Iterable[Block]) -> list[Block]:
    """The volumes of neighbouring blocks in as few as hold them, each but the last full. Under no key yet."""
    sources = list(blocks)
    due = min((block.due for block in sources), default=NEVER_DUE)
    members = sorted(item for block in sources for item in block._records.items())
    found: list[Block] = []
    size = before = 0
    for volume, raw in members:
        more = PACKED_BYTES + (_leb128_bytes(volume - before) if found else 0)
        if not found or size + more > PAGE_BYTES or len(found[-1]) == _MOST:
            found.append(Block())
            found[-1].due, size = due, _HEAD.size + PACKED_BYTES
        else:
            size += more
        found[-1]._records[volume], before = raw, volume
    return found


def _leb128_bytes(number: int) -> int:
    return max(1, (number.bit_length() + 6) // 7)


def _leb128(number: int) -> bytes:
    found = bytearray()
    while number >= 0x80:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)


class Touch:
    """What one day has brought for a volume so far. Not frozen: a signal changes it in place."""

    __slots__ = ("asked", "flags", "minute", "recent", "sent", "swept", "visits")

    def __init__(
        self, visits: int = 0, sent: int = 0, swept: int = 0, flags: int = 0, minute: int = 0, recent: float = 0.0
    ) -> None:
        self.visits = visits
        self.sent = sent  # bytes that clients got
        self.swept = swept  # bytes that were read for a sweep, and say nothing of this volume
        self.flags = flags
        self.minute = minute  # of the day; of the last visit
        self.recent = recent  # visits, half-life two hours, as of `minute`
        self.asked = 2  # a spike is looked for when there are more visits than this

    def stored(self) -> bytes:
        """The touch as the index has it."""
        return _TOUCH.pack(_TOUCH_VERSION, self.visits, self.sent, self.swept, self.flags, self.minute, self.recent)

    def add(self, other: "Touch") -> None:
        """Take in a later touch of the same day."""
        self.recent = self.recent * 0.5 ** (max(0, other.minute - self.minute) / 120.0) + other.recent
        self.minute = max(self.minute, other.minute)
        self.visits += other.visits
        self.sent += other.sent
        self.swept += other.swept
        self.flags |= other.flags


def touch_of(raw: bytes) -> Touch:
    """A stored touch. Raises ValueError for what is none."""
    if len(raw) != _TOUCH.size or raw[0] != _TOUCH_VERSION:
        raise ValueError("not a touch")
    return Touch(*_TOUCH.unpack(raw)[1:])
