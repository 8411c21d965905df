"""What one mounted file holds beyond its published version.

Room: stratum/engine. May import: core, engine.{file_digest, file_mounted, file_staging}.

Three layers; the upper ones hide the lower ones, all of them hide the published version:
    fresh    what was written last: in memory, changed by every write
    moving   what is on its way into volumes: in memory, never changed, so that reads may use it meanwhile
    staged   what rests in volumes already, or is zeros; part of the manifest when the file is published

Invariants
    F1  `push`, `stage`, `finish_stream` are called by one task at a time (the file's lock); the rest at any time.
    F2  A failure moves nothing: what was in memory is still there, or the file says that it is lost.
"""

import trio

from stratum.core.config import Limits
from stratum.core.errors import StratumError
from stratum.core.manifest import Span
from stratum.core.ranges import Block, Ranges, gaps
from stratum.engine.contents import Contents
from stratum.engine.file_digest import RunningMd5
from stratum.engine.file_mounted import Memory
from stratum.engine.file_staging import Staging


class Unpublished:
    """The layers of one file of `size` published bytes."""

    def __init__(self, contents: Contents, limits: Limits, memory: Memory, size: int) -> None:
        self.md5 = RunningMd5(0 if size == 0 else None)
        self._memory = memory
        self._staging = Staging(contents, limits)
        self._fresh, self._moving, self._staged = Ranges(), Ranges(), Ranges()
        self._restarted = False

    @property
    def held(self) -> int:
        """Bytes in memory."""
        return self._fresh.held + self._moving.held

    @property
    def lost(self) -> StratumError | None:
        """Why bytes of this file are gone for good; None: all are there."""
        return self._staging.lost

    def write(self, offset: int, data: bytes) -> None:
        """Put bytes at `offset`."""
        before = self._fresh.held
        self._fresh.write(offset, data)
        self._memory.change(self._fresh.held - before)

    def clear(self, start: int, stop: int) -> None:
        """Let [start, stop) be zeros. If `start` is 0 the file is begun anew."""
        before = self._fresh.held
        self._fresh.clear(start, stop)
        self._memory.change(self._fresh.held - before)
        if start == 0:
            self._restarted, self._staging.lost = True, None

    def within(self, start: int, stop: int) -> Ranges:
        """What is in [start, stop) beyond the published version, upper layers over lower ones."""
        view = Ranges()
        for layer in (self._staged, self._moving, self._fresh):
            for low, high, piece in layer.within(start, stop):
                view.place(low, high, piece)
        return view

    def staged_within(self, start: int, stop: int) -> Ranges:
        """As `within`, but only what `stage` made durable."""
        view = Ranges()
        for low, high, piece in self._staged.within(start, stop):
            view.place(low, high, piece)
        return view

    def in_stream(self, start: int, stop: int) -> bool:
        """Must the stream be finished before all of [start, stop) can be read?"""
        low, high = self._staging.streaming
        return start < high and stop > low

    async def push(self) -> None:
        """Move what is in memory into volumes of its own. Raises TooFewDisks, StoreFull."""
        await self._move(final=False)

    async def stage(self) -> tuple[list[tuple[int, int]], list[Span]]:
        """Make everything durable; return the ranges that are zeros and the spans to record.

        What is written after the call has begun is not part of it. Raises TooFewDisks, StoreFull.
        """
        await self._move(final=True)
        return self._staged.zeros(), self._staged.spans()

    async def finish_stream(self) -> None:
        """Let everything in the stream be readable. Raises TooFewDisks, StoreFull."""
        for offset, run in await self._staging.finish():
            self._staged.put(offset, run)

    def published(self) -> list[Span]:
        """What was staged is part of the manifest now. Returns what was stored for nothing."""
        unused = self._staging.unused(self._staged.spans())
        self._staged = Ranges()
        return unused

    async def forget(self) -> list[Span]:
        """Let go of everything. Returns what was stored for nothing."""
        self._memory.change(-self.held)
        self._fresh, self._moving, self._staged = Ranges(), Ranges(), Ranges()
        await self._staging.abort()
        return self._staging.unused(())

    async def _move(self, *, final: bool) -> None:
        self._take_fresh()
        if self.lost is not None:
            raise self.lost
        await self._uncover_stream()
        blocks, held = self._moving.blocks(), self._moving.held
        spans = await self._hash_and_store(blocks, final=final)
        for start, stop in self._moving.zeros():
            self._staged.clear(start, stop)
        for offset, run in spans:
            self._staged.put(offset, run)
        self._moving = Ranges()
        self._memory.change(-held)

    def _take_fresh(self) -> None:
        """Begin to move what was written so far. The md5 goes on only if all of that follows what it has taken."""
        if self._restarted:
            self.md5, self._restarted = RunningMd5(0), False
        elif self._fresh:
            self.md5.touched(self._fresh.start)
        before = self.held
        self._moving.lay(self._fresh)
        self._fresh = Ranges()
        self._memory.change(self.held - before)

    async def _uncover_stream(self) -> None:
        """The stream is older than what moves: where both are, it must be in place first, or is not needed at all."""
        low, high = self._staging.streaming
        over = self._moving.within(low, high) if low < high else []
        if over and gaps(over, low, high):
            await self.finish_stream()
        elif over:
            await self._staging.abort()

    async def _hash_and_store(self, blocks: list[Block], *, final: bool) -> list[Span]:
        """Both at once. Raises TooFewDisks, StoreFull."""
        spans: list[Span] = []
        failure: StratumError | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.md5.feed, blocks)
            try:
                spans = await self._staging.store(blocks, final=final)
            except StratumError as error:
                failure = error
        if failure is not None:
            raise failure
        return spans
