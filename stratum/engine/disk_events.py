"""What happens when a disk goes, comes back, or is replaced by an empty one.

Room: stratum/engine. May import: core, store, engine.{opening, repairer}.
"""

import logging

import trio

from stratum.core.errors import StratumError
from stratum.core.records import Disk
from stratum.engine.opening import OpenedStore
from stratum.engine.repairer import Repairer
from stratum.store.volumes import Volumes

log = logging.getLogger(__name__)


class DiskEvents:
    """Turns events of the disk watch into rows of the repair table, one slot after the other."""

    def __init__(self, store: OpenedStore, volumes: Volumes, repairer: Repairer, interval: float) -> None:
        """`interval`: seconds before what failed is tried again."""
        self._store = store
        self._volumes = volumes
        self._repairer = repairer
        self._interval = interval
        self._due: dict[int, Disk | None] = {}  # slot -> its new record, if its disk is a replacement
        self._announced = trio.Event()

    def replaced(self, slot: int, disk: Disk) -> None:
        """An empty disk took the slot: every shard of it must be rebuilt."""
        self._due[slot] = disk
        self._announced.set()

    def returned(self, slot: int) -> None:
        """The slot's own disk is back: what was written meanwhile must be rebuilt on it."""
        self._due.setdefault(slot, None)
        self._announced.set()

    async def run(self) -> None:
        """Run until cancelled. What fails is tried again: a row that is not queued is redundancy that is lost."""
        while True:
            await self._announced.wait()
            self._announced = trio.Event()
            for slot in list(self._due):
                disk = self._due.pop(slot)
                try:
                    await self.restore(slot, disk)
                except StratumError as error:
                    log.warning("what is missing on disk slot %d cannot be queued for repair now: %s", slot, error)
                    self._due.setdefault(slot, disk)
            if self._due:
                await trio.sleep(self._interval)
                self._announced.set()

    async def restore(self, slot: int, disk: Disk | None) -> None:
        """Queue the missing shards of a slot; `disk`: its new record, if it is a replacement.

        The new record is kept last: cut off before, the next start finds a disk that is not known, and queues again.
        """
        if disk is not None:
            queued = await self._repairer.queue_slot(slot, "disk replaced")
            await trio.to_thread.run_sync(self._store.remember, slot, disk)
        else:
            present = frozenset(await self._volumes.shards_on(slot))
            queued = await self._repairer.queue_slot(slot, "disk was away", present)
        log.warning("disk slot %d is back in service, %d shards to rebuild", slot, queued)
