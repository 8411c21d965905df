"""Habits that outlive a restart: entries about volumes, in pages of the index (schema B).

Room: stratum/engine. May import: core, store.meta.

An entry goes to a page by its volume; what changed since the last time is written when a day is over, and at shutdown,
with whatever else is committed then (H1 of engine.heat: a signal itself writes nothing). A crash loses the day.

Invariants
    P1  A page is: version 1, then entries of one fixed size, little-endian, each beginning with a volume (u64). A page
        that is not understood is no habit: it is left out, and written over when its volumes are used.
    P2  Bounded by what the owner keeps in memory; PAGES for each kind.
"""

import logging
import struct
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from stratum.core.errors import CorruptRecord
from stratum.core.records import decode
from stratum.core.schema import habit_key
from stratum.core.txn import Txn, save, successor
from stratum.store.meta import Meta

log = logging.getLogger(__name__)

PAGES = 1024
_VERSION = 1

Entry = tuple[Any, ...]


class PatternPages:
    """Entries of one kind."""

    def __init__(self, meta: Meta, kind: int, layout: str) -> None:
        """`layout`: of struct, behind the volume."""
        self._meta, self._kind = meta, kind
        self._entry = struct.Struct("<Q" + layout)
        self._changed: set[int] = set()

    def changed(self, volume: int) -> None:
        """An entry about this volume is new, other or gone."""
        self._changed.add(volume % PAGES)

    def load(self) -> Iterator[Entry]:
        """All that is kept."""
        begin = habit_key(self._kind, 0)[:-2]
        rows = self._meta.read(lambda txn: list(txn.scan(begin, successor(begin))))
        for key, raw in rows:
            try:
                page = decode(key, raw, bytes)
                if page[:1] != bytes((_VERSION,)):
                    raise CorruptRecord(f"version {page[:1].hex()}")
                yield from self._entry.iter_unpack(page[1:])
            except (CorruptRecord, struct.error) as error:
                log.warning("habits of page %s are left out: %s", key.hex(), error)

    async def keep(self, entries: Iterable[Entry]) -> None:
        """Write the pages that changed, as they are among all `entries`. Raises StratumError: some are not."""
        if not self._changed:
            return
        pages: dict[int, list[bytes]] = defaultdict(list)
        for entry in entries:
            if entry[0] % PAGES in self._changed:
                pages[entry[0] % PAGES].append(self._entry.pack(*entry))
        for number in sorted(self._changed):
            await self._meta.room()
            page = b"".join(sorted(pages[number]))
            self._meta.apply(lambda txn: _write(txn, habit_key(self._kind, number), page))  # noqa: B023 - runs at once
            self._changed.discard(number)


def _write(txn: Txn, key: bytes, page: bytes) -> None:
    if page:
        save(txn, key, bytes((_VERSION,)) + page)
    else:
        txn.delete(key)
