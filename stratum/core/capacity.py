"""How many bytes of content disks of any sizes can hold, when no two shards of a volume share a disk.

Room: stratum/core. May import: core.placement.

With m shards a volume, T units of every shard fit if and only if sum(min(size, T)) >= m * T: no disk can give more than
T of its room, for it holds one shard of each volume at most. What is left then is on fewer than m disks, and is filled
with the next narrower code of the same parity (core/placement.py P1). `choose_slots` fills disks in the proportion that
gets there.
"""

from collections.abc import Iterable

from stratum.core.placement import narrowest


def usable_bytes(rooms: Iterable[int], k: int, parity: int, *, narrower: bool = True) -> int:
    """Bytes of content that fit on disks with so much room each, with code k + parity; then with narrower ones."""
    left = sorted(rooms)
    usable = 0
    for data in range(k, narrowest(k) - 1, -1):
        height = shard_bytes_max(left, data + parity)
        usable += data * height
        left = [max(room - height, 0) for room in left]
        if not narrower:
            break
    return usable


def shard_bytes_max(rooms: Iterable[int], shards: int) -> int:
    """The most bytes T per shard such that `shards` distinct disks have room for every unit of it."""
    ordered = sorted(rooms, reverse=True)
    if len(ordered) < shards:
        return 0
    rest = sum(ordered)
    for larger in range(shards):  # so many disks are larger than T, and give T each
        height = rest // (shards - larger)
        if ordered[larger] <= height:
            return height
        rest -= ordered[larger]
    return 0
