"""Which small pieces share a volume: by temperature, so that a volume of them can move to another tier as a whole.

Room: stratum/core. May import: core.{config, records}. Pure: what is looked at and done is engine/packing.py's.

Small contents begin in the index or in packs, in the order in which they came, so one that is read daily keeps its
idle neighbours hot. A piece (a run of a content) is collected when
    SPARSE  most of its volume is garbage or padding: the live pieces go elsewhere, the volume to the reaper,
    MIXED   its pack holds cold pieces beside others: the cold ones go,
    INLINE  it rests in the index and is cold: only in a volume can it leave the hot tier.
Pieces are collected in *bins* of like temperature and wishes; a bin becomes a new volume when it is full, or at the end
of a walk over the store if it is worth one.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import log2
from typing import Generic, TypeVar

from stratum.core.config import MIB
from stratum.core.records import Run

Common = TypeVar("Common")  # what the pieces of a bin have in common: any value that can be compared

SPARSE, MIXED, INLINE = "SPARSE", "MIXED", "INLINE"
COLDEST = 4  # temperatures are 0 (in use) to this
DAY_NS = 86_400 * 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class PackingRule:
    """The numbers, each with its reason."""

    # From this age of the last use on a piece counts as cold. What then happens to its volume is the decision rule's
    # (T* of a tier edge is weeks); too early costs a rewrite, too late keeps a neighbour hot.
    cold_days: float = 30.0
    # A volume of which less than this is live is rewritten: at most one byte is copied for each byte of room won.
    sparse_share: float = 0.5
    # Of what is held far away less: reading it costs, and its garbage is cheap.
    sparse_share_held: float = 0.25
    # Cold pieces are taken from a pack if they are at least this share of what lives there, and at most the rest:
    # below, its neighbours lose little; above, the volume is as good as cold.
    mixed_share: float = 0.1
    # Smaller contents stay in the index: the row that says where they rest would be as large.
    inline_bytes_min: int = 64
    # What makes a volume of its own worth it: its shards stay dense, and a remote object is far above any size floor.
    bin_bytes_min: int = 1 * MIB


DEFAULT = PackingRule()


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of a content, and for how many days nobody has used that content."""

    content: int
    offset: int
    run: Run
    idle: float


@dataclass(frozen=True, slots=True)
class Use:
    """How a volume is used: bytes that it takes up without parity, that contents use, and that are cold of those."""

    room: int
    live: int
    cold: int
    held: bool = False


def temperature(idle: float, rule: PackingRule = DEFAULT) -> int:
    """0: in use; above: cold, one more for each doubling of the idle time."""
    return 0 if idle < rule.cold_days else min(COLDEST, 1 + int(log2(idle / rule.cold_days)))


def why_repacked(use: Use, *, tiers: bool, rule: PackingRule = DEFAULT) -> str:
    """Why pieces of a volume are to be collected; empty: they stay. `tiers`: there is another tier than hot."""
    share = rule.sparse_share_held if use.held else rule.sparse_share
    if use.live < share * use.room:
        return SPARSE
    low = rule.mixed_share * use.live
    if tiers and not use.held and low <= use.cold <= use.live - low:
        return MIXED
    return ""


def is_taken(reason: str, piece: Piece, rule: PackingRule = DEFAULT) -> bool:
    """Is this piece of a volume collected, given why any is?"""
    return reason == SPARSE or temperature(piece.idle, rule) > 0


def is_inline_taken(piece: Piece, rule: PackingRule = DEFAULT) -> bool:
    """Is a piece collected that rests in the index?"""
    return piece.run.length >= rule.inline_bytes_min and temperature(piece.idle, rule) > 0


@dataclass(slots=True)
class Bin(Generic[Common]):
    """Pieces that will share a volume. `wishes`: what their owners want, the same for all (pin, backend ...)."""

    temperature: int
    wishes: Common
    pieces: list[Piece] = field(default_factory=list)
    size: int = 0

    @property
    def idle(self) -> float:
        """Days since any of them was used."""
        return min((piece.idle for piece in self.pieces), default=0.0)


class Bins(Generic[Common]):
    """Pieces being collected. Bounded: `volume_bytes` and `pieces_max` in each bin, `bins_max` bins."""

    def __init__(self, volume_bytes: int, pieces_max: int, bins_max: int, rule: PackingRule = DEFAULT) -> None:
        self._volume_bytes = volume_bytes
        self._pieces_max = pieces_max
        self._bins_max = bins_max
        self._rule = rule
        self._bins: dict[tuple[int, Common], Bin[Common]] = {}

    def add(self, pieces: Iterable[Piece], wishes: Common) -> list[Bin[Common]]:
        """Collect; return the bins that are full now and belong to the caller."""
        full: list[Bin[Common]] = []
        for piece in pieces:
            key = temperature(piece.idle, self._rule), wishes
            if key not in self._bins and len(self._bins) >= self._bins_max:
                continue  # it is found again by the next walk
            into = self._bins.setdefault(key, Bin(*key))
            into.pieces.append(piece)
            into.size += piece.run.length
            if into.size >= self._volume_bytes or len(into.pieces) >= self._pieces_max:
                full.append(self._bins.pop(key))
        return full

    def rest(self) -> list[Bin[Common]]:
        """At the end of a walk: the bins that are worth a volume. The others are forgotten."""
        found = [each for each in self._bins.values() if each.size >= self._rule.bin_bytes_min]
        self._bins.clear()
        return found
