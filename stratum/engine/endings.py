"""Frees what was ended but is too much for one change: parts of uploads, runs of contents (core/endings.py), and
uploads of buckets that are gone (core/upload_rows.py).

Room: stratum/engine. May import: core, store.

Invariants
    E1  What somebody is still putting together (`putting_together`) is not freed; what he leaves undone is.
    E2  Each change is short, and the event loop is free between two of them. What a kill leaves, the next start frees.
    E3  Where there is a bucket, all uploads under its name are its own: those of one that is gone are ended before.
"""

import logging
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

import trio

from stratum.core.config import Limits
from stratum.core.endings import begin_content, free_content, free_parts
from stratum.core.errors import StratumError
from stratum.core.schema import DYING, ENDED, bucket_key, take_number
from stratum.core.txn import Txn, successor
from stratum.core.upload_rows import end_some_uploads, some_deserted
from stratum.store.meta import Meta

log = logging.getLogger(__name__)

T = TypeVar("T")
UPLOADS_AT_ONCE = 10  # of a bucket that is gone, ended in one change: some 0.15 ms each
BUCKETS_LOOKED_AT = 64  # in one turn


class Endings:
    """The service that frees a slice at a time."""

    def __init__(self, meta: Meta, limits: Limits) -> None:
        self._meta = meta
        self._limits = limits
        self._kept: set[int] = set()
        self._wanted = trio.Event()
        self._deserted: set[str] = set()  # names of buckets that were deleted with uploads
        self._looked = False  # for those that were deleted before the start

    def wake(self) -> None:
        """Something was ended a moment ago."""
        self._wanted.set()

    def bucket_deleted(self, name: str) -> None:
        """It had more uploads than its deletion could end."""
        self._deserted.add(name)
        self.wake()

    async def end_uploads_of(self, name: str) -> None:
        """End what is left of the uploads of a bucket, if it is gone. Raises ReadOnly."""
        while await self._apply(partial(_end_deserted, name)):
            pass
        self._deserted.discard(name)

    @contextmanager
    def putting_together(self) -> Iterator[int]:
        """A new content, for as long as somebody puts things into it; freed if nothing keeps it. Raises ReadOnly."""

        def change(txn: Txn) -> int:
            content = take_number(txn, "content")
            begin_content(txn, content)
            return content

        content, _ = self._meta.apply(change)
        self._kept.add(content)
        try:
            yield content
        finally:
            self._kept.discard(content)
            self.wake()

    async def run(self) -> None:
        """Run until cancelled."""
        while True:
            try:
                await self.one_pass()
            except StratumError as error:
                log.warning("freeing goes on later: %s", error)
            with trio.move_on_after(self._limits.ending_interval):
                await self._wanted.wait()
            self._wanted = trio.Event()

    async def one_pass(self) -> None:
        """Free all that there is now. Raises ReadOnly, CorruptRecord."""
        if not self._looked:
            await self._look_for_deserted()
        for name in list(self._deserted):
            await self.end_uploads_of(name)
        while self._meta.read(partial(_any, ENDED)):
            await self._apply(free_parts)
        after = DYING
        while after and self._meta.read(partial(_any, after)):
            after = await self._apply(partial(_free_content, after, self._kept))

    async def _look_for_deserted(self) -> None:
        after = b""
        while True:
            gone, after = self._meta.read(partial(some_deserted, after=after, count=BUCKETS_LOOKED_AT))
            self._deserted.update(gone)
            if not after:
                break
            await trio.lowlevel.checkpoint()
        self._looked = True

    async def _apply(self, change: Callable[[Txn], T]) -> T:
        await self._meta.room()
        done, _ = self._meta.apply(change)
        await trio.lowlevel.checkpoint()
        return done


def _any(start: bytes, txn: Txn) -> bool:
    return next(iter(txn.scan(start, successor(start[:1]))), None) is not None


def _free_content(after: bytes, kept: Collection[int], txn: Txn) -> bytes:
    return free_content(txn, after, kept)


def _end_deserted(name: str, txn: Txn) -> bool:
    """Inside a change: True if there is more to end. A bucket that is there keeps its uploads."""
    return txn.get(bucket_key(name)) is None and end_some_uploads(txn, name, UPLOADS_AT_ONCE)
