"""The queue between close() and publication.

Room: stratum/engine. May import: core, engine.{file_mounted, file_open}.

Invariants
    Q1  A file in the queue is published within `Limits.publish_delay`; or its error waits to be reported, its bytes are
        kept, and it is tried again later.
    Q2  After `settle(inode)` everything that was closed before the call is published and durable, or has failed.
"""

import logging
from collections.abc import Awaitable, Callable

import trio

from stratum.core.errors import StratumError
from stratum.engine.file_mounted import Mounted
from stratum.engine.file_open import OpenFile

log = logging.getLogger(__name__)

AT_ONCE = 64  # publications under way: enough to share the group commit of a pack
RETRY_S = 1.0


class Publisher:
    """Publishes closed files, many at a time. `published` is awaited for each file that was, and some time
    after a failure."""

    def __init__(self, mounted: Mounted, published: Callable[[OpenFile], Awaitable[None]]) -> None:
        self._mounted = mounted
        self._published = published
        self._delay = mounted.limits.publish_delay / 2  # the other half is for the work itself
        self._queue: dict[int, tuple[OpenFile, int]] = {}  # inode -> file, number of its first close
        self._working: dict[int, int] = {}  # inode -> number of its first close
        self._closes = 0
        self._limiter = trio.CapacityLimiter(AT_ONCE)
        self._wanted, self._hurried, self._done = trio.Event(), trio.Event(), trio.Event()

    @property
    def idle(self) -> bool:
        """Does nothing wait to be published?"""
        return not self._queue and not self._working

    def keeps(self, number: int) -> bool:
        """Is the file waiting here?"""
        return number in self._queue or number in self._working

    def enqueue(self, file: OpenFile) -> None:
        """Have `file` published soon."""
        self._closes += 1
        self._queue.setdefault(file.number, (file, self._closes))
        self._wanted.set()

    async def settle(self, number: int | None) -> None:
        """Wait for the publication of what was closed so far: one file, or all (Q2). Raises ReadOnly."""
        last = self._closes
        while self._waits(number, last):
            self._hurried.set()
            await self._done.wait()
        await self._mounted.durable()

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
            while True:
                await self._wanted.wait()
                with trio.move_on_after(self._delay):
                    await self._hurried.wait()
                self._wanted, self._hurried = trio.Event(), trio.Event()
                for number in [number for number in self._queue if number not in self._working]:
                    file, self._working[number] = self._queue.pop(number)
                    nursery.start_soon(self._publish, file, nursery)
                if self._mounted.unwanted:
                    nursery.start_soon(self._discard)

    async def _publish(self, file: OpenFile, nursery: trio.Nursery) -> None:
        failed = False
        try:
            async with self._limiter:
                await file.publish(closing=True)
        except StratumError as error:
            log.error("a closed file could not be published: %s", error, extra={"inode": file.number})
            file.error = error
            failed = file.lost is None
        finally:
            del self._working[file.number]
            if file.number in self._queue:
                self._wanted.set()
            self._done.set()
            self._done = trio.Event()
        if failed:
            nursery.start_soon(self._retry, file)
        else:
            await self._published(file)

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
