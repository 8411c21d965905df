"""Volume ids that are never used twice, not even after a crash.

Room: stratum/engine. May import: core, store.

Ids are reserved in the index, durably, before they are handed out; a crash wastes at most two reservations.
"""

import logging

import trio

from stratum.core.errors import Busy, StratumError
from stratum.core.schema import take_number
from stratum.store.meta import Meta

log = logging.getLogger(__name__)
RESERVATION = 4096


class VolumeIds:
    """Hands out ids at once; a service keeps enough of them reserved."""

    def __init__(self, meta: Meta) -> None:
        self._meta = meta
        self._next = 0
        self._stop = 0
        self._spare: tuple[int, int] | None = None
        self._wanted = trio.Event()
        self.first = 0  # ids below were handed out before this start

    async def prepare(self) -> None:
        """Reserve the first ids."""
        self._next, self._stop = await self._reserve()
        self.first = self._next

    def take(self) -> int:
        """Return an id that was never returned before. Raises Busy if the reservation could not keep up."""
        if self._next >= self._stop:
            if self._spare is None:
                self._wanted.set()
                raise Busy("no volume id is reserved")
            (self._next, self._stop), self._spare = self._spare, None
        self._next += 1
        if self._spare is None:
            self._wanted.set()
        return self._next - 1

    async def run(self) -> None:
        """Keep a spare reservation."""
        while True:
            await self._wanted.wait()
            self._wanted = trio.Event()
            if self._spare is None:
                try:
                    self._spare = await self._reserve()
                except StratumError as error:  # whoever takes the next id asks again
                    log.warning("no volume ids could be reserved: %s", error)

    async def _reserve(self) -> tuple[int, int]:
        first = await self._meta.write(lambda txn: take_number(txn, "volume", RESERVATION))
        return first, first + RESERVATION
