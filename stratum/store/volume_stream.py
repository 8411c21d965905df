"""The stream of a volume from its shards, and shards from a stream (core/tiers.py says what a stream is).

Room: stratum/store. May import: core.*, store.{disk, disks, hop, shards, together}.

Invariants
    M1  Into a stream go only verified cells, or such as were decoded from k verified ones: so it is the same whatever
        happened to single shards. Out of a stream go only verified cells.
    M2  Memory is a few pieces, and no thread hop lasts longer than one takes.
    M3  A shard made from a stream gets its name when it is durable.
    M4  Who is cancelled waits for the call that is under way: a thread left to itself would go on writing files that
        are being cleared away, and an fsync of a file that is gone takes its disk out of service.
"""

import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial

import trio

from stratum.core.erasure import decode, encode
from stratum.core.errors import DiskFailed, TooFewShards, Unavailable
from stratum.core.frames import (
    FRAME_HEADER_BYTES,
    HEADER_BYTES,
    BadShard,
    ShardHeader,
    encode_header,
    frame_header,
    is_good,
    shard_seed,
    width_in,
)
from stratum.core.layout import Buffer
from stratum.core.records import Volume
from stratum.store.disk import Disk
from stratum.store.disks import Disks
from stratum.store.hop import Hop, Progress
from stratum.store.shards import PURPOSE, FrameCursor, OpenShard, ShardWriter, path_of
from stratum.store.together import together

PIECE = 1024**2  # bytes of one hop
WINDOW = 4 * 1024**2  # of all columns together, fetched at a time

Fetch = Callable[[int, int], Awaitable[bytes]]
"""Bytes [start, stop) of a stream."""


class VolumeStreams:
    """Reads streams from shards on disks, and writes shards from streams."""

    def __init__(self, disks: Disks, hop: Hop, store_id: bytes) -> None:
        self._disks = disks
        self._hop = hop
        self._store_id = store_id

    async def read(self, number: int, volume: Volume) -> AsyncGenerator[bytes, None]:
        """Yield the stream in pieces. Raises TooFewShards, DiskFailed."""
        for column in range(volume.k):
            with ExitStack() as stack:
                source = _Column(stack, self._headers(number, volume), volume, column, self._sources(volume))
                while piece := await self._hop.run(source.step):
                    yield piece

    async def write(self, number: int, volume: Volume, slots: Sequence[int], fetch: Fetch) -> None:
        """Make every shard of the volume on `slots`, durable on return, from its stream.

        Raises what `fetch` does, TooFewShards (a cell of the stream fails its check), DiskFailed, StoreFull.
        """
        headers = self._headers(number, volume)
        temporary = f".tmp-{secrets.token_hex(4)}"
        writers = {
            shard: ShardWriter(self._disks.get(slot), path_of(number, shard) + temporary, headers[shard])
            for shard, slot in enumerate(slots)
        }
        try:
            cutter = _Cutter(number, volume, headers, fetch)
            while stripes := await cutter.next():
                with trio.CancelScope(shield=True):  # M4
                    await self._hop.run(partial(_append, writers=writers, stripes=stripes, volume=volume))
                await trio.lowlevel.checkpoint_if_cancelled()
            for shard, writer in writers.items():
                final = path_of(number, shard)
                with trio.CancelScope(shield=True):
                    await self._disks.run(writer.disk.slot, lambda _, writer=writer, final=final: writer.publish(final))  # type: ignore[misc]
                await trio.lowlevel.checkpoint_if_cancelled()
        except BaseException as error:
            self._hop.blame(error)
            await self._drop(writers)
            raise
        finally:
            for writer in writers.values():
                writer.close()

    async def _drop(self, writers: Mapping[int, ShardWriter]) -> None:
        with trio.CancelScope(shield=True):
            for writer in writers.values():
                try:
                    await self._disks.run(
                        writer.disk.slot,
                        lambda disk, path=writer.path: disk.unlink(path, purpose=PURPOSE),  # type: ignore[misc]
                    )
                except Unavailable:
                    continue  # the row that says it may be there outlives this: the reaper clears it away

    def _headers(self, number: int, volume: Volume) -> dict[int, ShardHeader]:
        return {shard: ShardHeader(self._store_id, number, shard, volume.k, volume.m, 0) for shard in range(volume.m)}

    def _sources(self, volume: Volume) -> dict[int, Disk]:
        serving = set(self._disks.in_service())
        return {shard: self._disks.get(slot) for shard, slot in enumerate(volume.slots) if slot in serving}


class _Column:
    """One data shard as part of the stream, a piece at a time; what is bad or missing is decoded."""

    def __init__(
        self,
        stack: ExitStack,
        headers: Mapping[int, ShardHeader],
        volume: Volume,
        column: int,
        sources: Mapping[int, Disk],
    ) -> None:
        self._stack = stack
        self._headers = headers
        self._volume = volume
        self._column = column
        self._sources = sources
        self._cursors: dict[int, FrameCursor | None] = {}  # None: there is none
        self._position = 0
        self._seed = shard_seed(headers[column].store, headers[column].volume, column)

    def step(self, progress: Progress) -> bytes:
        """The next piece; empty at the end. Raises TooFewShards."""
        pieces: list[Buffer] = []
        taken = 0
        while taken < PIECE and self._position < self._volume.shard_bytes:
            if not self._position:
                frame: list[Buffer] = [encode_header(self._headers[self._column])]
            else:
                cell = self._cell(progress)
                frame = [frame_header(self._seed, self._position, cell), cell]
            size = sum(map(len, frame))
            pieces += frame
            taken += size
            self._position += size
        return b"".join(pieces)

    def _cell(self, progress: Progress) -> Buffer:
        cell = self._good_cell(progress, self._column)
        if cell is not None:
            return cell
        good: dict[int, Buffer] = {}
        for shard in range(self._volume.m):
            found = self._good_cell(progress, shard) if shard != self._column else None
            if found is not None:
                good[shard] = bytes(found)
            if len(good) == self._volume.k:
                return decode(self._volume.k, self._volume.m, good, [self._column])[0]
        number = self._headers[self._column].volume
        raise TooFewShards(f"volume {number:016x}: {len(good)} of {self._volume.k} shards needed are good")

    def _good_cell(self, progress: Progress, shard: int) -> memoryview | None:
        try:
            cursor = self._cursor(progress, shard)
            return None if cursor is None else cursor.cell(self._position)
        except (BadShard, DiskFailed):
            return None  # whoever reads or scrubs that shard reports it; here it is just not a source

    def _cursor(self, progress: Progress, shard: int) -> FrameCursor | None:
        disk = self._sources.get(shard)
        progress.disk = disk or progress.disk
        if shard not in self._cursors:
            self._cursors[shard] = None
            if disk is not None:
                opened = OpenShard(disk, path_of(self._headers[shard].volume, shard), self._headers[shard])
                self._stack.callback(opened.file.close)
                self._cursors[shard] = FrameCursor(opened, self._volume.shard_bytes)
        return self._cursors[shard]


Stripe = tuple[int, list[Buffer]]
"""Position of its frames, and its k data cells."""


class _Cutter:
    """Cuts a stream into stripes: a window of every column at a time."""

    def __init__(self, number: int, volume: Volume, headers: Mapping[int, ShardHeader], fetch: Fetch) -> None:
        self._number = number
        self._volume = volume
        self._seeds = [shard_seed(headers[c].store, number, c) for c in range(volume.k)]
        self._fetch = fetch
        self._position = HEADER_BYTES
        self._window = WINDOW // volume.k

    async def next(self) -> list[Stripe]:
        """The next stripes, verified; none at the end. Raises TooFewShards and what fetching raises."""
        end = self._volume.shard_bytes
        while self._position < end:
            stop = min(self._position + self._window, end)
            starts = [column * end for column in range(self._volume.k)]
            jobs = [partial(self._fetch, at + self._position, at + stop) for at in starts]
            columns = [memoryview(raw) for raw in await together(jobs)]
            stripes = self._cut(columns)
            if stripes:
                return stripes
            self._window *= 2  # a frame is larger than the window
        return []

    def _cut(self, columns: Sequence[memoryview]) -> list[Stripe]:
        stripes: list[Stripe] = []
        at, base = 0, self._position
        while at + FRAME_HEADER_BYTES <= len(columns[0]):
            try:
                size = FRAME_HEADER_BYTES + width_in(columns[0][at:])
            except BadShard as error:
                raise TooFewShards(f"volume {self._number:016x}: byte {base + at} of its stream: {error}") from error
            if at + size > len(columns[0]):
                if base + at + size > self._volume.shard_bytes:
                    raise TooFewShards(f"volume {self._number:016x}: a frame crosses the end of its stream")
                break
            frames = [column[at : at + size] for column in columns]
            for column, (seed, frame) in enumerate(zip(self._seeds, frames, strict=True)):
                if not is_good(seed, base + at, size - FRAME_HEADER_BYTES, frame):
                    raise TooFewShards(f"volume {self._number:016x}: column {column}, byte {base + at} fails its check")
            stripes.append((base + at, [frame[FRAME_HEADER_BYTES:] for frame in frames]))
            at += size
        self._position += at
        return stripes


def _append(progress: Progress, *, writers: Mapping[int, ShardWriter], stripes: list[Stripe], volume: Volume) -> None:
    frames: dict[int, list[Buffer]] = {shard: [] for shard in writers}
    for position, data in stripes:
        cells = [*data, *encode(volume.k, volume.m, data)]
        for shard, writer in writers.items():
            frames[shard] += (frame_header(writer.seed, position, cells[shard]), cells[shard])
    for shard, writer in writers.items():
        progress.disk = writer.disk
        writer.append(frames[shard])
