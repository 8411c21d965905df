"""The queue between close() and publication.

Room: stratum/engine. May import: core, engine.{file_mounted, file_open, publication_pace}.

Invariants
    Q1  A closed file is durable within `Limits.publish_delay` of its close; or its error waits to be reported, its
        bytes are kept, and it is tried again later. Where the machine is too slow, `keep_promise` makes close wait.
    Q2  After `settle(inode)` everything that was closed before the call is published and durable, or has failed.
    Q3  Whoever was closed first is published first, as far as there is a choice.
"""

import logging
import math
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

import trio

from stratum.core.errors import StratumError
from stratum.engine.file_mounted import Mounted
from stratum.engine.file_open import OpenFile
from stratum.engine.publication_pace import Pace

log = logging.getLogger(__name__)

AT_ONCE = 64  # publications under way: enough to share the group commit of a pack
RETRY_S = 1.0


@dataclass(frozen=True, slots=True)
class Standing:
    """Closed files that are not durable yet: how many, and for how many seconds the first of them; and how many closes
    had to wait since the start, because the machine was too slow for what a close promises."""

    waiting: int
    oldest: float
    held_back: int


class Publisher:
    """Publishes closed files, many at a time. `published` is awaited for each file that was, and some time
    after a failure."""

    def __init__(self, mounted: Mounted, published: Callable[[OpenFile], Awaitable[None]]) -> None:
        self._mounted = mounted
        self._published = published
        self._steps = (mounted.limits.inline_bytes, mounted.limits.pack_bytes)
        self._pace = Pace(mounted.limits.publish_delay, len(self._steps) + 1)
        self._rest = 0.0  # seconds, from when a file is closed to when it is picked up
        self._queue: dict[int, tuple[OpenFile, int]] = {}  # inode -> file, number of its first close
        self._working: dict[int, int] = {}  # inode -> number of its first close
        self._closed: OrderedDict[int, float] = OrderedDict()  # number of a close that is not durable -> when it was
        self._to_commit: dict[int, None] = {}  # those of them whose files are published
        self._closes = self._held_back = 0
        self._free = trio.Semaphore(AT_ONCE)
        self._wanted, self._hurried, self._done = trio.Event(), trio.Event(), trio.Event()
        self._commit_wanted = trio.Event()

    @property
    def idle(self) -> bool:
        """Does nothing wait to be published?"""
        return not self._queue and not self._working

    def keeps(self, number: int) -> bool:
        """Is the file waiting here?"""
        return number in self._queue or number in self._working

    @property
    def standing(self) -> Standing:
        """How far the publications are behind the closes."""
        return Standing(len(self._closed), self._oldest(), self._held_back)

    def _oldest(self) -> float:
        """Seconds since the first close that is not durable yet; 0: there is none."""
        return trio.current_time() - next(iter(self._closed.values())) if self._closed else 0.0

    def enqueue(self, file: OpenFile) -> None:
        """Have `file` published soon."""
        self._closes += 1
        if file.number not in self._queue:
            if not self._queue:
                self._rest = self._pace.promise
            self._rest = min(self._rest, self._pace.rest(self._sort(file)))
            self._queue[file.number] = (file, self._closes)
            self._closed[self._closes] = trio.current_time()
            self._wanted.set()

    async def keep_promise(self, file: OpenFile) -> None:
        """Wait for as long as the publication of `file`, just enqueued, is expected to exceed what its close promises,
        or until it is durable or has failed; only the latter if an earlier close is overdue. Raises ReadOnly."""
        excess, overdue = self._pace.excess(self._sort(file)), self._oldest() > self._pace.promise
        if overdue or excess > 0:
            self._held_back += 1
            with trio.move_on_after(math.inf if overdue else excess):
                await self.settle(file.number)

    def _sort(self, file: OpenFile) -> int:
        """How much has to be stored before it can be published: what fits into the index, or a pack, or more."""
        return bisect_left(self._steps, file.held)

    async def settle(self, number: int | None) -> None:
        """Wait for the publication of what was closed so far: one file, or all (Q2). Raises ReadOnly."""
        await self.finish(number)
        await self._make_durable()

    async def finish(self, number: int | None) -> None:
        """As `settle`, but it need not be durable yet."""
        last = self._closes
        while self._waits(number, last):
            self._hurried.set()
            await self._done.wait()

    def _waits(self, number: int | None, last: int) -> bool:
        """Is a close up to the `last` one not published yet?"""
        if number is not None:
            queued, working = self._queue.get(number), self._working.get(number)
            return (queued is not None and queued[1] <= last) or (working is not None and working <= last)
        queues = any(close <= last for _, close in self._queue.values())
        return queues or any(close <= last for close in self._working.values())

    async def run(self) -> None:
        """Publish what is enqueued, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._commit)
            while True:
                await self._wanted.wait()
                with trio.move_on_after(self._rest):
                    await self._hurried.wait()
                self._wanted, self._hurried = trio.Event(), trio.Event()
                begun = trio.current_time()
                for number in [number for number in self._queue if number not in self._working]:
                    await self._take_turn()
                    file, self._working[number] = self._queue.pop(number)
                    nursery.start_soon(self._publish, file, begun, nursery)
                if self._mounted.unwanted:
                    nursery.start_soon(self._discard)

    async def _take_turn(self) -> None:
        """Wait until one more publication may be under way (Q3: here, not in tasks, which run in any order)."""
        try:
            self._free.acquire_nowait()
        except trio.WouldBlock:
            await self._free.acquire()

    async def _publish(self, file: OpenFile, begun: float, nursery: trio.Nursery) -> None:
        failed, sort = False, self._sort(file)
        try:
            await file.publish(closing=True)
            self._pace.staged(trio.current_time() - begun, sort)
        except StratumError as error:
            log.error("a closed file could not be published: %s", error, extra={"inode": file.number})
            file.error = error
            failed = file.lost is None
        finally:
            self._free.release()
            self._finish(file, failed=file.error is not None)
        if failed:
            nursery.start_soon(self._retry, file)
        else:
            await self._published(file)

    def _finish(self, file: OpenFile, *, failed: bool) -> None:
        """A publication has ended: only its commit is left, or nothing."""
        close = self._working.pop(file.number)
        if failed:
            self._closed.pop(close, None)
        else:
            self._to_commit[close] = None
            self._commit_wanted.set()
        if file.number in self._queue:
            self._wanted.set()
        self._done.set()
        self._done = trio.Event()

    async def _commit(self) -> None:
        """Ask for commits of what is published, as late as the promise allows, until cancelled."""
        while True:
            while not self._to_commit:
                self._commit_wanted = trio.Event()
                await self._commit_wanted.wait()
            await trio.sleep_until(min(map(self._closed.__getitem__, self._to_commit)) + self._pace.patience())
            asked = list(self._to_commit)
            try:
                await self._make_durable()
            except StratumError as error:
                log.warning("closed files are published, and will be durable later: %s", error)
                self._forget(asked)

    async def _make_durable(self) -> None:
        """Return when what is published is durable. Raises ReadOnly."""
        asked = list(self._to_commit)
        await self._mounted.durable()
        if asked:
            self._pace.committed(self._mounted.meta.commit_seconds)
            self._forget(asked)

    def _forget(self, closes: Iterable[int]) -> None:
        """Nothing more is to be waited for."""
        for close in closes:
            self._closed.pop(close, None)
            self._to_commit.pop(close, None)

    async def _retry(self, file: OpenFile) -> None:
        await trio.sleep(RETRY_S)
        await self._published(file)

    async def _discard(self) -> None:
        """Hand what was stored for nothing to the reaper."""
        spans, self._mounted.unwanted = self._mounted.unwanted, []
        try:
            await self._mounted.contents.discard(spans)
        except StratumError as error:
            log.warning("what was stored for nothing is found at the next start only: %s", error)
