"""Where new bytes go: with which code, on which disks, and how small pieces share stripes.

Room: stratum/core. May import: core.errors, core.layout, core.records.

Invariants
    P1  Parity is never less than configured: with fewer disks the code gets narrower (4+2, 3+2, 2+2), then writes
        are refused.
    P2  No two shards of a volume share a disk.
    P3  A piece, or the tail of one, that fits a cell lies wholly inside one: a small read touches one shard.
    P4  Of more disks than shards, each gets its part of the volumes by its room, so that all become full together, as
        far as disks of these sizes can (core/capacity.py).
"""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from stratum.core.errors import TooFewDisks
from stratum.core.frames import WIDTH_STEP
from stratum.core.layout import Buffer, Stripes, stripe
from stratum.core.records import Extent

_GOLDEN = 0.6180339887498949  # (sqrt(5) - 1) / 2: multiples of it, mod 1, are spread as evenly as can be
NARROWEST = 2  # data shards of the narrowest code that a failing disk may lead to


def choose_code(k: int, parity: int, disks: int) -> tuple[int, int]:
    """Return (k, m) for a new volume when `disks` are in service (P1). Raises TooFewDisks."""
    narrow = min(k, disks - parity)
    if narrow < narrowest(k):
        raise TooFewDisks(f"{disks} disks in service, {narrowest(k) + parity} needed to write")
    return narrow, narrow + parity


def narrowest(k: int) -> int:
    """Data shards of the narrowest code that stands in for one with `k`."""
    return min(k, NARROWEST)


def choose_slots(
    volume: int, slots: Collection[int], m: int, room: Mapping[int, float] | None = None
) -> tuple[int, ...]:
    """Return the disk slots of shards 0..m-1 (P2), turned by the volume's id so that all disks get parity too.

    Of more disks than shards, each is chosen as often as its part of the `room` (free bytes; None: all equal) says.
    """
    order = sorted(slots)
    assert len(order) >= m, "the code was chosen for these disks"
    if len(order) > m:
        order = _by_room(volume, order, m, room or {})
    return tuple(order[(volume + shard) % len(order)] for shard in range(m))


def _by_room(volume: int, order: Sequence[int], m: int, room: Mapping[int, float]) -> list[int]:
    """Choose m slots, each with the probability that is its part of the room, but at most 1 (P4).

    Systematic sampling (Madow 1949): the parts are laid end to end, and a comb of m teeth, one unit apart, is laid over
    them. Where it begins is the golden ratio's sequence of the volume's id, which spreads evenly: no chance needed.
    """
    weights = [max(float(room.get(slot, 1.0)), 0.0) for slot in order]
    parts = shares(weights if sum(1 for weight in weights if weight > 0) >= m else [1.0] * len(order), m)
    tooth = volume * _GOLDEN % 1.0
    chosen: list[int] = []
    reached = 0.0
    for slot, part in zip(order, parts, strict=True):
        reached += part
        if reached > tooth + len(chosen) and len(chosen) < m:
            chosen.append(slot)
    rest = [slot for slot in order if slot not in chosen]  # sums of fractions are rounded: the last tooth may fall off
    return sorted([*chosen, *rest[: m - len(chosen)]])


def shares(weights: Sequence[float], m: int) -> list[float]:
    """Numbers in proportion to `weights`, each at most 1, that add up to m. At least m of them are above zero."""
    parts = [0.0] * len(weights)
    full: set[int] = set()
    while True:
        rest = sum(weight for i, weight in enumerate(weights) if i not in full)
        scale = (m - len(full)) / rest if rest else 0.0
        over = {i for i, weight in enumerate(weights) if i not in full and weight * scale >= 1.0}
        if not over:
            break
        full |= over
    for i, weight in enumerate(weights):
        parts[i] = 1.0 if i in full else weight * scale
    return parts


def quorum(k: int, m: int) -> int:
    """Return how many shards must be durable before a write is acknowledged: one may still be lost at once."""
    return min(k + 1, m)


class Place(NamedTuple):
    """Where a part of a piece lies: `length` bytes, `skip` bytes behind the start of stripes number `stripes`."""

    stripes: int
    skip: int
    length: int


class Packed(NamedTuple):
    """Pieces laid out for one append to a volume."""

    stripes: list[Stripes]
    places: list[list[Place]]  # per piece, in order

    def extents(self, volume: int, at: int) -> list[list[Extent]]:
        """Return the extents of each piece when the stripes are appended at byte `at` of the shard files."""
        starts = [at]
        for run in self.stripes:
            starts.append(starts[-1] + run.shard_bytes())
        return [
            [
                Extent(volume, starts[place.stripes], self.stripes[place.stripes].width, place.skip, place.length)
                for place in places
            ]
            for places in self.places
        ]


class _Bin:
    """A stripe that small pieces share, while it is filled."""

    def __init__(self, k: int) -> None:
        self.columns: list[list[tuple[int, Buffer]]] = [[] for _ in range(k)]
        self.used = [0] * k

    def take(self, piece: int, data: Buffer, cell_bytes: int) -> bool:
        column = min(range(len(self.used)), key=self.used.__getitem__)
        if self.used[column] + len(data) > cell_bytes:
            return False
        self.columns[column].append((piece, data))
        self.used[column] += len(data)
        return True


def pack(pieces: Sequence[Buffer], k: int, cell_bytes: int) -> Packed:
    """Lay pieces (none empty) out in stripes: large ones striped, small ones and small tails in columns (P3)."""
    stripes: list[Stripes] = []
    places: list[list[Place]] = [[] for _ in pieces]
    small: list[tuple[int, Buffer]] = []
    for piece, data in enumerate(pieces):
        assert len(data), "a piece has at least one byte"
        if len(data) <= cell_bytes:
            small.append((piece, data))
            continue
        for run in stripe(data, k, cell_bytes):
            length = len(run.parts[0])
            if length <= cell_bytes:
                small.append((piece, run.parts[0]))
            else:
                places[piece].append(Place(len(stripes), 0, length))
                stripes.append(run)
    for shared in _fill(small, k, cell_bytes):
        _lay(shared, stripes, places)
    return Packed(stripes, places)


def _fill(small: list[tuple[int, Buffer]], k: int, cell_bytes: int) -> list[_Bin]:
    # largest first into the emptiest column: columns come out nearly level, so little of the width is padding
    bins: list[_Bin] = []
    for piece, data in sorted(small, key=lambda item: len(item[1]), reverse=True):
        if not bins or not bins[-1].take(piece, data, cell_bytes):
            bins.append(_Bin(k))
            bins[-1].take(piece, data, cell_bytes)
    return bins


def _lay(shared: _Bin, stripes: list[Stripes], places: list[list[Place]]) -> None:
    width = -(-max(shared.used) // WIDTH_STEP) * WIDTH_STEP
    parts: list[Buffer] = []
    for column, (items, used) in enumerate(zip(shared.columns, shared.used, strict=True)):
        skip = column * width
        for piece, data in items:
            places[piece].append(Place(len(stripes), skip, len(data)))
            parts.append(data)
            skip += len(data)
        parts.append(bytes(width - used))
    stripes.append(Stripes(parts, width, 1))
