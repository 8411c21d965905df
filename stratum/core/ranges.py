"""Ranges of a file and what rests in each: bytes in memory, a run in a volume, or nothing but zeros.

Room: stratum/core. May import: core.manifest, core.records.

What a mounted file holds beyond its published version is kept as such ranges (`engine/file_dirty.py`).

Invariants
    R1  Ranges never overlap and are never empty; what is written last is what is there.
    R2  A buffer that was handed out is never changed afterwards: slices of growing buffers are copies.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeGuard

from stratum.core.manifest import Span, slice_run, trim
from stratum.core.records import Run

GROWING_BYTES = 64 * 1024  # small writes next to each other are collected in buffers of this size

Buffer = bytes | bytearray | memoryview
Piece = Buffer | Run | None
"""Bytes, a run elsewhere, or None: zeros."""

Range = tuple[int, int, Piece]
"""Start, stop, and what rests there."""


def is_buffer(piece: Piece) -> TypeGuard[Buffer]:
    """Is the piece bytes in memory?"""
    return piece is not None and not isinstance(piece, Run)


def cut_piece(piece: Piece, start: int, stop: int) -> Piece:
    """The part [start, stop) of a piece, offsets counted from its start."""
    if piece is None:
        return None
    if isinstance(piece, Run):
        return slice_run(piece, start, stop)
    if isinstance(piece, bytearray):
        return bytes(memoryview(piece)[start:stop])
    return memoryview(piece)[start:stop]


class Ranges:
    """A sorted map of ranges. `held` is how many bytes it keeps in memory."""

    __slots__ = ("_pieces", "_starts", "_stops", "held")

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []
        self._pieces: list[Piece] = []
        self.held = 0

    def __bool__(self) -> bool:
        return bool(self._starts)

    def __iter__(self) -> Iterator[Range]:
        """Yield every range in order."""
        return iter(list(zip(self._starts, self._stops, self._pieces, strict=True)))

    @property
    def start(self) -> int:
        """Where the first range begins; there must be one."""
        return self._starts[0]

    def write(self, offset: int, data: bytes) -> None:
        """Put bytes at `offset`, over what was there."""
        if not data:
            return
        stop = offset + len(data)
        if not self._write_into_growing(offset, stop, data):
            self.place(offset, stop, bytearray(data) if len(data) < GROWING_BYTES else data)

    def put(self, offset: int, run: Run) -> None:
        """Put a run at `offset`, over what was there."""
        self.place(offset, offset + run.length, run)

    def clear(self, start: int, stop: int) -> None:
        """Let [start, stop) be zeros, whatever was there."""
        if start < stop:
            self.place(start, stop, None)

    def place(self, start: int, stop: int, piece: Piece) -> None:
        """Let `piece` be what rests in [start, stop), which is not empty."""
        first, last = bisect_right(self._stops, start), bisect_left(self._starts, stop)
        kept: list[Range] = []
        for at in range(first, last):
            low, high, old = self._starts[at], self._stops[at], self._pieces[at]
            self.held -= _held(old, low, high)
            if low < start:
                kept.append((low, start, cut_piece(old, 0, start - low)))
            if high > stop:
                kept.append((stop, high, cut_piece(old, stop - low, high - low)))
        kept.append((start, stop, piece))
        kept.sort(key=lambda entry: entry[0])
        self._starts[first:last] = [low for low, _, _ in kept]
        self._stops[first:last] = [high for _, high, _ in kept]
        self._pieces[first:last] = [part for _, _, part in kept]
        self.held += sum(_held(part, low, high) for low, high, part in kept)

    def lay(self, upper: "Ranges") -> None:
        """Put all of `upper` over what is here."""
        for start, stop, piece in upper:
            self.place(start, stop, piece)

    def within(self, start: int, stop: int) -> list[Range]:
        """The ranges that touch [start, stop), trimmed to it."""
        found: list[Range] = []
        if start >= stop:
            return found
        for at in range(bisect_right(self._stops, start), bisect_left(self._starts, stop)):
            low, high = self._starts[at], self._stops[at]
            begin, end = max(low, start), min(high, stop)
            found.append((begin, end, cut_piece(self._pieces[at], begin - low, end - low)))
        return found

    def spans(self) -> list[Span]:
        """The runs among the ranges, with their offsets."""
        return [(start, piece) for start, _, piece in self if isinstance(piece, Run)]

    def zeros(self) -> list[tuple[int, int]]:
        """The ranges that are zeros, as (start, stop)."""
        return [(start, stop) for start, stop, piece in self if piece is None]

    def blocks(self) -> "list[Block]":
        """The bytes in memory, neighbours together."""
        found: list[Block] = []
        for start, stop, piece in self:
            if not is_buffer(piece):
                continue
            if found and found[-1].stop == start:
                found[-1].add(piece, stop - start)
            else:
                found.append(Block(start, piece, stop - start))
        return found

    def _write_into_growing(self, offset: int, stop: int, data: bytes) -> bool:
        """Take the short way, when the bytes belong into the growing buffer at `offset` or at its end."""
        at = bisect_right(self._starts, offset) - 1
        if at < 0:
            return False
        piece, start, end = self._pieces[at], self._starts[at], self._stops[at]
        if not isinstance(piece, bytearray) or offset > end:
            return False
        if stop > end:
            if stop - start > GROWING_BYTES or (at + 1 < len(self._starts) and self._starts[at + 1] < stop):
                return False
            self._stops[at] = stop
            self.held += stop - end
        piece[offset - start : stop - start] = data
        return True


class Block:
    """Bytes of a file that lie next to each other, in one or more buffers."""

    __slots__ = ("buffers", "start", "stop")

    def __init__(self, start: int, buffer: Buffer, length: int) -> None:
        self.start = start
        self.stop = start + length
        self.buffers: list[Buffer] = [buffer]

    def __len__(self) -> int:
        return self.stop - self.start

    def add(self, buffer: Buffer, length: int) -> None:
        """Append a neighbour."""
        self.buffers.append(buffer)
        self.stop += length


def gaps(found: Iterable[Range], start: int, stop: int) -> list[tuple[int, int]]:
    """What of [start, stop) none of the ranges covers; `found` in order, as `within` gives it."""
    left: list[tuple[int, int]] = []
    for low, high, _ in found:
        if low > start:
            left.append((start, low))
        start = max(start, high)
    if start < stop:
        left.append((start, stop))
    return left


def deal(spans: Sequence[Span], blocks: Iterable[Block]) -> list[Span]:
    """Say where in the file each run goes, when `spans` hold the bytes of `blocks` one behind the other."""
    dealt: list[Span] = []
    at = 0
    for block in blocks:
        stop = at + len(block)
        for span in spans:
            if span[0] < stop and span[0] + span[1].length > at:
                offset, run = trim(span, at, stop)
                dealt.append((block.start + offset - at, run))
        at = stop
    return dealt


def _held(piece: Piece, start: int, stop: int) -> int:
    return stop - start if is_buffer(piece) else 0
