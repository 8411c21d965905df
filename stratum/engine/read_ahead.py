"""A sequential reader of bytes that are far away is given the next ones before it asks, also those of the next volumes.

Room: stratum/engine. May import: core, store.

Invariants
    D1  Nothing is fetched beyond what the reader said it would read, nor further ahead than the window: it begins small
        and doubles with each piece taken, so a client that only looks at the beginning costs little.
    D2  What is fetched ahead goes to the cache of cells and is verified where it is read, like everything.
"""

from collections.abc import Sequence

from stratum.core.config import MIB
from stratum.core.manifest import Span, first_at
from stratum.store.volumes import Volumes

FIRST = 2 * MIB  # bytes of the window after the first piece
PIECE = 2 * MIB  # asked for as one: half a MiB of each column of four


class ReadAhead:
    """What of one stream has been asked for ahead."""

    def __init__(self, volumes: Volumes, spans: Sequence[Span], start: int, stop: int, limit: int) -> None:
        """`limit`: bytes of the largest window."""
        self._volumes = volumes
        self._spans = spans
        self._asked = start
        self._stop = stop
        self._limit = limit
        self._window = FIRST

    def taken(self, at: int) -> None:
        """The reader has everything before `at`, and goes on."""
        until = min(self._stop, at + self._window)
        self._window = min(self._window * 2, self._limit)
        self._asked = max(self._asked, at)
        while self._asked < until and (until - self._asked >= PIECE or until == self._stop):
            end = min(until, self._asked + PIECE)
            self._ask(self._asked, end)
            self._asked = end

    def _ask(self, start: int, stop: int) -> None:
        for number in range(first_at(self._spans, start), len(self._spans)):
            offset, run = self._spans[number]
            low, high = max(start, offset), min(stop, offset + run.length)
            if offset >= stop:
                return
            if run.extent is not None and low < high:
                self._volumes.fetch_ahead(run.extent, low - offset, high - offset)
