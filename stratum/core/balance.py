"""Which shard should rest on another disk: because its disk is to be emptied, or holds more than its part.

Room: stratum/core. May import: nothing of ours.

Invariants
    B1  A shard goes only where no other shard of its volume is.
    B2  What only evens out ends: a move is worth it while the disk it leaves is fuller by `THRESHOLD`, and still fuller
        than the one it goes to once it is done. So no shard goes back and forth.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

THRESHOLD = 0.05  # of a disk's size: what evens out by itself, as new volumes go where there is room, is left alone


@dataclass(slots=True)
class Fill:
    """A disk: bytes of its file system, of shards that are recorded on it, and still free on it.

    `takes`: it may be given more shards. `leaving`: all its shards are to go.
    """

    total: int
    held: int
    free: int
    takes: bool = True
    leaving: bool = False

    @property
    def ratio(self) -> float:
        """How full of shards it is, 0 to 1."""
        return self.held / self.total if self.total else 1.0


class Relocation(NamedTuple):
    """Shard `shard` of a volume is to rest in slot `target`."""

    shard: int
    target: int


def choose_relocation(
    slots: Sequence[int], shard_bytes: int, disks: Mapping[int, Fill], reserve: int
) -> Relocation | None:
    """What to move of a volume, None if nothing. `reserve`: bytes that stay free on a disk beside the shard."""
    targets = [
        slot for slot, disk in disks.items() if disk.takes and slot not in slots and disk.free >= shard_bytes + reserve
    ]
    if not targets:
        return None
    target = min(targets, key=lambda slot: (disks[slot].ratio, slot))
    leaving = [slot for slot in slots if slot in disks and disks[slot].leaving]
    if leaving:
        return Relocation(slots.index(leaving[0]), target)
    known = [slot for slot in slots if slot in disks]
    if not known:
        return None
    source = max(known, key=lambda slot: (disks[slot].ratio, -slot))
    return Relocation(slots.index(source), target) if _evens_out(disks[source], disks[target], shard_bytes) else None


def note_relocation(disks: Mapping[int, Fill], source: int, target: int, shard_bytes: int) -> None:
    """Count a move that was made, or is about to be. The room on the source comes back later."""
    if source in disks:
        disks[source].held -= shard_bytes
    disks[target].held += shard_bytes
    disks[target].free -= shard_bytes


def _evens_out(source: Fill, target: Fill, size: int) -> bool:
    if source.ratio - target.ratio < THRESHOLD or not source.total or not target.total:
        return False
    return (source.held - size) / source.total >= (target.held + size) / target.total
