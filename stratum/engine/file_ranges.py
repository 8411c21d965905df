"""Holes of mounted files: making them, finding them, and copying what lies between.

Room: stratum/engine. May import: core, engine.file_open.

What fallocate(2), lseek(2) and copy_file_range(2) ask. Room is not reserved: that there is enough of it is checked,
and a file may grow by holes. Where a file is encrypted its pages tell of no holes: then all of it counts as data.
"""

from collections.abc import Awaitable, Callable, Iterator

from stratum.core.config import GIB, MIB
from stratum.core.errors import InvalidArgument, StoreFull
from stratum.engine.file_open import OpenFile

KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE = 0x01, 0x02, 0x10  # linux/falloc.h
SUPPORTED = (0, KEEP_SIZE, KEEP_SIZE | PUNCH_HOLE, ZERO_RANGE, ZERO_RANGE | KEEP_SIZE)
LOOK_BYTES = 1 * GIB  # of a file that one look into the index covers
PIECE_BYTES = 1 * MIB  # copied at a time
COPY_MAX = 64 * MIB  # copied for one request

Write = Callable[[int, bytes], Awaitable[None]]
"""Put bytes at an offset of the target, waiting for room."""


def allocate(file: OpenFile, mode: int, offset: int, length: int, free: int) -> None:
    """fallocate(2) with one of the `SUPPORTED` modes; `free`: bytes the store has room for.

    Raises StoreFull, TooLarge, NotPermitted, InvalidArgument.
    """
    if length <= 0 or mode not in SUPPORTED:
        raise InvalidArgument(f"mode {mode:#x}, {length} bytes")
    stop = offset + length
    if mode & (PUNCH_HOLE | ZERO_RANGE):
        file.zero(offset, min(stop, file.size))
    elif length > free:
        raise StoreFull(f"{length} bytes")
    if not mode & KEEP_SIZE and stop > file.size:
        file.truncate(stop)


def next_data(file: OpenFile, offset: int) -> int | None:
    """Where the next bytes that are no hole begin, at `offset` or above; None: there are none."""
    for start, _ in _runs(file, offset):
        return max(start, offset)
    return None


def next_hole(file: OpenFile, offset: int) -> int:
    """Where the next hole begins, at `offset` or above; there is one at the end."""
    for start, stop in _runs(file, offset):
        if start > offset:
            break
        offset = stop
    return offset


def _runs(file: OpenFile, offset: int) -> Iterator[tuple[int, int]]:
    """Yield what of a file is data, from `offset` on, as (start, stop), in order."""
    while offset < file.size:
        end = min(offset + LOOK_BYTES, file.size)
        yield from file.data_within(offset, end)
        offset = end


async def copy(source: OpenFile, start: int, length: int, target: OpenFile, at: int, write: Write) -> int:
    """Copy bytes from one file to another, holes as holes; return how many, fewer only at the end of the source.

    Raises what reading and writing raise, InvalidArgument where the ranges overlap.
    """
    stop = min(start + length, source.size)
    if start >= stop:
        return 0
    if source is target and abs(start - at) < stop - start:
        raise InvalidArgument("the ranges overlap")
    done = start
    while done < stop:
        data = next_data(source, done)
        data = stop if data is None else min(data, stop)
        if data > done:
            _copy_hole(target, at + done - start, at + data - start)
            done = data
            continue
        end = min(next_hole(source, done), stop, done + PIECE_BYTES)
        await write(at + done - start, await source.read(done, end - done))
        done = end
    return stop - start


def _copy_hole(target: OpenFile, start: int, stop: int) -> None:
    target.zero(start, min(stop, target.size))
    if stop > target.size:
        target.truncate(stop)
