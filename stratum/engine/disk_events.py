"""What happens when a disk goes, comes back, or is replaced by an empty one.

Room: stratum/engine. May import: core, store, engine.{opening, repairer}.
"""

import logging

import trio

from stratum.core.records import Disk
from stratum.engine.opening import OpenedStore
from stratum.engine.repairer import Repairer
from stratum.store.volumes import Volumes

log = logging.getLogger(__name__)


class DiskEvents:
    """Turns events of the disk watch into rows of the repair table, one after the other."""

    def __init__(self, store: OpenedStore, volumes: Volumes, repairer: Repairer) -> None:
        self._store = store
        self._volumes = volumes
        self._repairer = repairer
        self._send, self._receive = trio.open_memory_channel[tuple[int, Disk | None]](64)

    def replaced(self, slot: int, disk: Disk) -> None:
        """An empty disk took the slot: every shard of it must be rebuilt."""
        self._send.send_nowait((slot, disk))

    def returned(self, slot: int) -> None:
        """The slot's own disk is back: what was written meanwhile must be rebuilt on it."""
        self._send.send_nowait((slot, None))

    async def run(self) -> None:
        """Run until cancelled."""
        async for slot, disk in self._receive:
            await self.restore(slot, disk)

    async def restore(self, slot: int, disk: Disk | None) -> None:
        """Queue the missing shards of a slot; `disk`: its new record, if it is a replacement."""
        if disk is not None:
            await trio.to_thread.run_sync(self._store.remember, slot, disk)
            queued = await self._repairer.queue_slot(slot, "disk replaced")
        else:
            present = frozenset(await self._volumes.shards_on(slot))
            queued = await self._repairer.queue_slot(slot, "disk was away", present)
        log.warning("disk slot %d is back in service, %d shards to rebuild", slot, queued)
