"""When small contents were last used: what volumes cannot tell, since many small contents share one, or are in none.

Room: stratum/engine. May import: core, engine.surroundings.

Invariants
    L1  A use costs a look into a dict, no commit of its own; at most one row per content and day.
    L2  Memory is bounded: SEEN contents of today. What is more, or lost in a crash, is one day of one content.
    L3  A row whose content is gone, or which says no more than the age of the content does, goes with `forget_old`.
"""

import logging
from collections.abc import Callable
from itertools import islice

import trio

from stratum.core.errors import StratumError
from stratum.core.records import decode
from stratum.core.schema import CONTENT_USER, LAST_USE, id_of, last_use_key
from stratum.core.txn import Txn, load, save, successor
from stratum.store.meta import Meta

log = logging.getLogger(__name__)

FLUSH_S = 60.0
SLICE = 200  # rows in one change
SEEN = 500_000  # contents of one day, about 50 MB at the most


class SmallUses:
    """The last day on which each small content was used. Days are those of the tiering clock."""

    def __init__(self, meta: Meta, today: Callable[[], int], largest: int) -> None:
        """`largest`: contents of more bytes have volumes of their own, and are not followed here."""
        self._meta = meta
        self._today = today
        self._largest = largest
        self._day = 0
        self._seen: set[int] = set()
        self._pending: dict[int, int] = {}

    def used(self, content: int, size: int) -> None:
        """A client reads a content, or opens a file of it."""
        if not content or size > self._largest:
            return
        day = self._today()
        if day != self._day or len(self._seen) >= SEEN:
            self._day, self._seen = day, set()
        if content not in self._seen:
            self._seen.add(content)
            self._pending[content] = day

    def last(self, txn: Txn, content: int) -> int:
        """The last day on which it was used, 0 if never. Inside a look at the index."""
        return self._pending.get(content) or load(txn, last_use_key(content), int) or 0

    async def run(self) -> None:
        """Write down what was seen, until cancelled."""
        while True:
            await trio.sleep(FLUSH_S)
            try:
                await self.flush()
            except StratumError as error:
                log.warning("when small contents were used is not written down: %s", error)

    async def flush(self) -> None:
        """Write down what waits."""
        waiting, self._pending = self._pending, {}
        rows = iter(waiting.items())
        while some := list(islice(rows, SLICE)):
            await self._meta.room()
            self._meta.apply(lambda txn: _note(txn, some))

    async def forget_old(self, before: int) -> None:
        """Let go of rows of days before `before`, and of contents that are gone."""
        after = LAST_USE
        while rows := self._meta.read(lambda txn: list(islice(txn.scan(after, successor(LAST_USE)), SLICE))):  # noqa: B023
            await self._meta.room()
            self._meta.apply(lambda txn: _forget(txn, rows, before))
            after = rows[-1][0] + b"\0"
            await trio.lowlevel.checkpoint()


def _note(txn: Txn, some: list[tuple[int, int]]) -> None:
    for content, day in some:
        save(txn, last_use_key(content), day)


def _forget(txn: Txn, rows: list[tuple[bytes, bytes]], before: int) -> None:
    for key, raw in rows:
        users = CONTENT_USER + key[1:]
        if decode(key, raw, int) < before or next(iter(txn.scan(users, successor(users))), None) is None:
            txn.delete(last_use_key(id_of(key)))
