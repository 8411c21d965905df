"""What one mounted file holds beyond its published version.

Room: stratum/engine. May import: core, engine.{file_digest, file_mounted, file_pages, file_staging}.

Three layers; the upper ones hide the lower ones, all of them hide the published version:
    fresh    what was written last: in memory, changed by every write
    moving   what is on its way into volumes: in memory, never changed, so that reads may use it meanwhile
    staged   what rests in volumes already, or is zeros; part of the manifest when the file is published

Of an encrypted file the two in memory are plain, by plain offsets; what is staged is sealed pages, by stored offsets.

Invariants
    F1  `push`, `stage`, `finish_stream` are called by one task at a time (the file's lock); the rest at any time.
    F2  A failure moves nothing: what was in memory is still there, or the file says that it is lost.
"""

from collections.abc import Sequence
from typing import Protocol

import trio

from stratum.core import sealed_pages
from stratum.core.config import MIB, Limits
from stratum.core.errors import StratumError
from stratum.core.manifest import Span
from stratum.core.ranges import Block, Ranges, cut_piece, gaps
from stratum.engine.contents import Contents
from stratum.engine.file_digest import IN_THREAD_BYTES, KnownMd5, RunningMd5
from stratum.engine.file_mounted import Memory
from stratum.engine.file_pages import Form, Pages
from stratum.engine.file_staging import Staging


class Source(Protocol):
    """What the layers ask of the file they belong to."""

    @property
    def size(self) -> int:
        """Of the file as the mount shows it."""

    async def form(self, *, emptied: bool) -> Form:
        """See file_pages.form_of."""

    async def below(self, start: int, stop: int) -> bytes:
        """The plain bytes of [start, stop) beneath what is in memory. Raises TooFewShards."""


class Unpublished:
    """The layers of one file of `size` published bytes, `sealed`: which are encrypted.

    `pages`: how what is staged is encrypted; None: not, or not decided yet. `anew`: nothing of the published version
    shows, or will be part of the next one.
    """

    def __init__(
        self, contents: Contents, limits: Limits, memory: Memory, source: Source, size: int, *, sealed: bool
    ) -> None:
        self.md5 = RunningMd5(0 if size == 0 else None)
        self.pages: Pages | None = None
        self.anew = False
        self._source = source
        self._emptied = size == 0
        self._decided = size != 0 and not sealed
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

    def zero(self, start: int, stop: int) -> None:
        """Let [start, stop) be zeros; the rest of the file stays as it is."""
        before = self._fresh.held
        self._fresh.clear(start, stop)
        self._memory.change(self._fresh.held - before)

    def within(self, start: int, stop: int) -> Ranges:
        """What is in [start, stop) beyond the published version, upper layers over lower ones."""
        view = Ranges()
        for layer in (self._staged, self._moving, self._fresh):
            for low, high, piece in layer.within(start, stop):
                view.place(low, high, piece)
        return view

    def in_memory(self, start: int, stop: int) -> Ranges:
        """As `within`, but only what is in memory: of an encrypted file, what is plain."""
        view = Ranges()
        for layer in (self._moving, self._fresh):
            for low, high, piece in layer.within(start, stop):
                view.place(low, high, piece)
        return view

    def staged_within(self, start: int, stop: int) -> Ranges:
        """As `within`, but only what `stage` made durable."""
        view = Ranges()
        for low, high, piece in self._staged.within(start, stop):
            view.place(low, high, piece)
        return view

    @property
    def streaming(self) -> tuple[int, int]:
        """What is on its way into volumes, and cannot be read yet; empty if nothing is."""
        return self._staging.streaming

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

    def share(self, size: int, spans: Sequence[Span], md5: str | None) -> None:
        """After `stage` of an empty file: be what rests in `spans` already, `size` bytes whose md5 is known or not."""
        for offset, run in spans:
            self._staged.put(offset, run)
        self.md5 = RunningMd5(None) if md5 is None else KnownMd5(size, md5)

    async def finish_stream(self) -> None:
        """Let everything in the stream be readable. Raises TooFewDisks, StoreFull."""
        for offset, run in await self._staging.finish():
            self._staged.put(offset, run)

    def published(self) -> list[Span]:
        """What was staged is part of the manifest now. Returns what was stored for nothing."""
        unused = self._staging.unused(self._staged.spans())
        self._staged, self.anew = Ranges(), False
        return unused

    async def forget(self) -> list[Span]:
        """Let go of everything. Returns what was stored for nothing."""
        self._memory.change(-self.held)
        self._fresh, self._moving, self._staged = Ranges(), Ranges(), Ranges()
        await self._staging.abort()
        return self._staging.unused(())

    def begin_from(self, size: int, *, sealed: bool) -> None:
        """After `forget`: the published version shows again."""
        self.pages, self.anew, self._restarted = None, False, False
        self._emptied, self._decided = size == 0, size != 0 and not sealed

    async def _move(self, *, final: bool) -> None:
        if not final and not (self._decided or self._restarted):
            await self._decide()
        self._take_fresh(final=final)
        size = self._source.size  # of this instant, like what moves
        if self.lost is not None:
            raise self.lost
        if not self._decided:
            await self._decide()
        moving, held = self._moving, self._moving.held
        if self.pages is not None:
            moving = await self.pages.seal(moving, size, self._source.below)
        await self._uncover_stream(moving)
        spans = await self._hash_and_store(self._moving.blocks(), moving.blocks(), final=final)
        for start, stop in moving.zeros():
            self._staged.clear(start, stop)
        for offset, run in spans:
            self._staged.put(offset, run)
        if self.pages is not None:
            self.pages.size = size
        self._moving = Ranges()
        self._memory.change(-held)

    async def _decide(self) -> None:
        """How the file is to be stored from now on. Raises as file_pages.form_of, and what storing raises."""
        form = await self._source.form(emptied=self._emptied)
        staged = self._staged
        if form.convert:
            assert form.pages is not None
            staged = await self._converted(form.pages)
        elif form.anew:
            await self._staging.abort()
            staged = Ranges()
        self._staged, self.pages, self.anew = staged, form.pages, form.anew
        self._decided, self._emptied = True, False

    async def _converted(self, pages: Pages) -> Ranges:
        """The published bytes, stored as pages. Raises TooFewShards, TooFewDisks, StoreFull."""
        converted, size = Ranges(), pages.size
        step = MIB // sealed_pages.PAGE_BYTES * sealed_pages.PAGE_BYTES
        spans: list[Span] = []
        for start in range(0, size, step):
            piece, stop = Ranges(), min(start + step, size)
            piece.write(start, await self._source.below(start, stop))
            sealed = await pages.seal(piece, size, self._source.below)
            spans += await self._staging.store(sealed.blocks(), final=False)
        for offset, run in [*spans, *await self._staging.finish()]:
            converted.put(offset, run)
        return converted

    def _take_fresh(self, *, final: bool) -> None:
        """Begin to move what was written so far. The md5 goes on only if all of that follows what it has taken."""
        if self._restarted:
            self.md5, self._restarted = RunningMd5(0), False
            self._decided, self._emptied = False, True
        elif self._fresh:
            self.md5.touched(self._fresh.start)
        before = self.held
        kept = Ranges() if final or self.pages is None else self._unfinished_pages()
        self._moving.lay(self._fresh)
        self._fresh = kept
        self._memory.change(self.held - before)

    def _unfinished_pages(self) -> Ranges:
        """Take the ends of what was written in order out of what moves: more will follow, and complete those pages."""
        kept = Ranges()
        for block in self._fresh.blocks():
            tail = block.stop % sealed_pages.PAGE_BYTES
            if tail and len(block) >= sealed_pages.PAGE_BYTES:
                for start, stop, piece in self._fresh.within(block.stop - tail, block.stop):
                    kept.place(start, stop, piece)
        whole = Ranges()
        for start, stop, piece in self._fresh:
            at = start
            for low, high, _ in kept.within(start, stop):
                if at < low:
                    whole.place(at, low, cut_piece(piece, at - start, low - start))
                at = high
            if at < stop:
                whole.place(at, stop, cut_piece(piece, at - start, stop - start))
        self._fresh = whole
        return kept

    async def _uncover_stream(self, moving: Ranges) -> None:
        """The stream is older than what moves: where both are, it must be in place first, or is not needed at all."""
        low, high = self._staging.streaming
        over = moving.within(low, high) if low < high else []
        if over and gaps(over, low, high):
            await self.finish_stream()
        elif over:
            await self._staging.abort()

    async def _hash_and_store(self, plain: list[Block], stored: list[Block], *, final: bool) -> list[Span]:
        """Both at once. Raises TooFewDisks, StoreFull."""
        if sum(map(len, plain)) < IN_THREAD_BYTES:  # nothing to be gained from tasks: a small file is one step
            await self.md5.feed(plain)
            return await self._staging.store(stored, final=final)
        spans: list[Span] = []
        failure: StratumError | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.md5.feed, plain)
            try:
                spans = await self._staging.store(stored, final=final)
            except StratumError as error:
                failure = error
        if failure is not None:
            raise failure
        return spans
