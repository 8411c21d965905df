"""Frees what was ended but is too much for one change: parts of uploads, runs of contents (core/endings.py).

Room: stratum/engine. May import: core, store.

Invariants
    E1  What somebody is still putting together (`putting_together`) is not freed; what he leaves undone is.
    E2  Each change is short, and the event loop is free between two of them. What a kill leaves, the next start frees.
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
from stratum.core.schema import DYING, ENDED, take_number
from stratum.core.txn import Txn, successor
from stratum.store.meta import Meta

log = logging.getLogger(__name__)

T = TypeVar("T")


class Endings:
    """The service that frees a slice at a time."""

    def __init__(self, meta: Meta, limits: Limits) -> None:
        self._meta = meta
        self._limits = limits
        self._kept: set[int] = set()
        self._wanted = trio.Event()

    def wake(self) -> None:
        """Something was ended a moment ago."""
        self._wanted.set()

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
        while self._meta.read(partial(_any, ENDED)):
            await self._apply(free_parts)
        after = DYING
        while after and self._meta.read(partial(_any, after)):
            after = await self._apply(partial(_free_content, after, self._kept))

    async def _apply(self, change: Callable[[Txn], T]) -> T:
        await self._meta.room()
        done, _ = self._meta.apply(change)
        await trio.lowlevel.checkpoint()
        return done


def _any(start: bytes, txn: Txn) -> bool:
    return next(iter(txn.scan(start, successor(start[:1]))), None) is not None


def _free_content(after: bytes, kept: Collection[int], txn: Txn) -> bytes:
    return free_content(txn, after, kept)
