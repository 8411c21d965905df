"""How evidence of volumes rests in the index: blocks of 65, and what a day has brought so far.

Room: stratum/core. May import: core.tiering.evidence.

65 records of 62 bytes with what is around them fill one 4 KiB page of the index, so that a volume takes less than 64
bytes of it. A volume id is never used twice; ids grow, so blocks are dense where few volumes were removed.

Invariants
    K1  A block is: version 1, due day (u16), bitmap of the ids present (9 bytes), 62 bytes for each of them in order.
    K2  The record is evidence.packed(); the upper five bits of its `minute` (0 to 1439) hold the last reason.
    K3  Touch and block are little-endian; a version that is not known is refused, never guessed.
"""

import struct
from collections.abc import Iterator

from stratum.core.tiering.evidence import PACKED_BYTES, Evidence, packed, unpacked

VOLUMES = 65  # of a block
NEVER_DUE = 0xFFFF
_VERSION = 1
_HEAD = struct.Struct("<BH9s")
_MINUTE = struct.Struct("<H")
_MINUTE_AT = 12  # of `minute` in evidence.packed()
_GROUP_AT = 18
_GROUP = struct.Struct("<I")
_TOUCH = struct.Struct("<BIQQBHf")

INTEREST, WRITTEN = 1, 2  # flags of a touch


class Block:
    """Evidence of up to 65 volumes with neighbouring ids, and the day when the first of them is to be looked at."""

    __slots__ = ("_records", "due")

    def __init__(self, raw: bytes | None = None) -> None:
        """Read a stored block; none: an empty one. Raises ValueError for what is none."""
        self.due = NEVER_DUE
        self._records: dict[int, bytes] = {}
        if raw is None:
            return
        version, self.due, bits = _HEAD.unpack_from(raw) if len(raw) >= _HEAD.size else (0, 0, b"")
        present = int.from_bytes(bits, "little")
        if version != _VERSION or len(raw) != _HEAD.size + present.bit_count() * PACKED_BYTES:
            raise ValueError("not a block of evidence")
        at = _HEAD.size
        for offset in range(VOLUMES):
            if present >> offset & 1:
                self._records[offset] = raw[at : at + PACKED_BYTES]
                at += PACKED_BYTES

    def __len__(self) -> int:
        return len(self._records)

    def __contains__(self, offset: int) -> bool:
        return offset in self._records

    def offsets(self) -> Iterator[int]:
        """The places that are taken, in order."""
        return iter(sorted(self._records))

    def get(self, offset: int) -> tuple[Evidence, int] | None:
        """Evidence and the code of the last reason."""
        raw = self._records.get(offset)
        if raw is None:
            return None
        (minute,) = _MINUTE.unpack_from(raw, _MINUTE_AT)
        bare = raw[:_MINUTE_AT] + _MINUTE.pack(minute & 0x7FF) + raw[_MINUTE_AT + 2 :]
        return unpacked(bare), minute >> 11

    def group(self, offset: int) -> int:
        """The group alone, cheaply."""
        return int(_GROUP.unpack_from(self._records[offset], _GROUP_AT)[0])

    def reason(self, offset: int) -> int | None:
        """The code of the last reason alone, cheaply."""
        raw = self._records.get(offset)
        return None if raw is None else _MINUTE.unpack_from(raw, _MINUTE_AT)[0] >> 11

    def put(self, offset: int, evidence: Evidence, reason: int) -> None:
        """Keep the evidence of a volume."""
        assert 0 <= offset < VOLUMES and 0 <= reason < 32
        raw = packed(evidence)
        (minute,) = _MINUTE.unpack_from(raw, _MINUTE_AT)
        self._records[offset] = raw[:_MINUTE_AT] + _MINUTE.pack(minute | reason << 11) + raw[_MINUTE_AT + 2 :]

    def drop(self, offset: int) -> None:
        """The volume is gone."""
        self._records.pop(offset, None)

    def stored(self) -> bytes:
        """The block as the index has it."""
        offsets = sorted(self._records)
        bits = sum(1 << offset for offset in offsets).to_bytes(9, "little")
        return _HEAD.pack(_VERSION, self.due, bits) + b"".join(self._records[offset] for offset in offsets)


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
        return _TOUCH.pack(_VERSION, self.visits, self.sent, self.swept, self.flags, self.minute, self.recent)

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
    if len(raw) != _TOUCH.size or raw[0] != _VERSION:
        raise ValueError("not a touch")
    return Touch(*_TOUCH.unpack(raw)[1:])
