"""Where the bytes of an extent are: which cells, in which columns, at which positions of the shard files.

Room: stratum/core. May import: core.frames, core.records.

The stripes of an extent are a sequence of cells: cell i is column i % k of stripe i // k. Stripe s begins at byte
`at` + s * (32 + width) of every shard file; data column c is shard c.
"""

from collections.abc import Sequence
from typing import NamedTuple

from stratum.core.frames import FRAME_HEADER_BYTES, WIDTH_STEP
from stratum.core.records import Extent

Buffer = bytes | bytearray | memoryview


class Touched(NamedTuple):
    """The cells that hold a range of an extent."""

    first: int  # cell
    last: int  # cell, included
    start: int  # bytes of the first cell before the range


class Column(NamedTuple):
    """Stripes [first, last] of one column (or parity shard)."""

    shard: int
    first: int
    last: int


class Stripes(NamedTuple):
    """Bytes on their way into a volume: `height` stripes of cells of `width` bytes.

    The parts, one behind the other, fill the k * width * height bytes; what they leave is zeros.
    """

    parts: Sequence[Buffer]
    width: int
    height: int

    def shard_bytes(self) -> int:
        """How much longer they make each shard file."""
        return self.height * (FRAME_HEADER_BYTES + self.width)


def touched(extent: Extent, start: int, stop: int) -> Touched:
    """Return the cells that hold bytes [start, stop) of the extent; the range must not be empty."""
    assert 0 <= start < stop <= extent.length, "the range lies inside the extent"
    low, high = extent.skip + start, extent.skip + stop - 1
    first = low // extent.width
    return Touched(first, high // extent.width, low - first * extent.width)


def columns(cells: Touched, k: int) -> list[Column]:
    """Return, for each column that has some of the cells, its (contiguous) stripes."""
    found: list[Column] = []
    for column in range(k):
        first = cells.first // k + (column < cells.first % k)
        last = cells.last // k - (column > cells.last % k)
        if first <= last:
            found.append(Column(column, first, last))
    return found


def position(extent: Extent, stripe: int) -> int:
    """Return the byte of the shard files at which a stripe of the extent begins."""
    return extent.at + stripe * (FRAME_HEADER_BYTES + extent.width)


def shard_end(extent: Extent, k: int) -> int:
    """Return the first byte of the shard files behind the extent."""
    return position(extent, (extent.skip + extent.length - 1) // (k * extent.width) + 1)


def tail_width(length: int, k: int) -> int:
    """Return the width of cells for a stripe of `length` bytes: as narrow as alignment allows."""
    cell = -(-length // k)
    return -(-cell // WIDTH_STEP) * WIDTH_STEP


def stripe(data: Buffer, k: int, cell_bytes: int) -> list[Stripes]:
    """Cut bytes into full stripes and, for the rest, one stripe of narrower cells."""
    view = memoryview(data)
    full = len(view) // (k * cell_bytes)
    cut = full * k * cell_bytes
    found = [Stripes((view[:cut],), cell_bytes, full)] if full else []
    if cut < len(view):
        found.append(Stripes((view[cut:],), tail_width(len(view) - cut, k), 1))
    return found


def cells_of(data: memoryview, k: int, width: int, index: int) -> list[Buffer]:
    """Return the k cells of stripe `index` of `data`, zero padded where the data ends."""
    cells: list[Buffer] = []
    for at in range(index * k * width, (index + 1) * k * width, width):
        cell = data[at : at + width]
        cells.append(cell if len(cell) == width else bytes(cell) + bytes(width - len(cell)))
    return cells


def merge(extents: Sequence[Extent], k_of: dict[int, int]) -> list[Extent]:
    """Join extents that follow each other in the same volume; `k_of`: data shards by volume."""
    merged: list[Extent] = []
    for extent in extents:
        if merged and _follows(merged[-1], extent, k_of[extent.volume]):
            last = merged.pop()
            extent = Extent(last.volume, last.at, last.width, last.skip, last.length + extent.length)
        merged.append(extent)
    return merged


def _follows(left: Extent, right: Extent, k: int) -> bool:
    return (
        left.volume == right.volume
        and left.width == right.width
        and right.skip == 0
        and (left.skip + left.length) % (k * left.width) == 0
        and shard_end(left, k) == right.at
    )
