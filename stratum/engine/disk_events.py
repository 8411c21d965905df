"""What happens when a disk goes, comes back, or is replaced by an empty one.

Room: stratum/engine. May import: core, store, engine.{repairer, surroundings}.
"""

import logging

import trio

from stratum.core.records import Disk
from stratum.core.schema import disk_key
from stratum.core.txn import save
from stratum.engine.repairer import Repairer
from stratum.engine.surroundings import Surroundings
from stratum.store.volumes import Volumes

log = logging.getLogger(__name__)


class DiskEvents:
    """Turns events of the disk watch into rows of the repair table, one after the other."""

    def __init__(self, surroundings: Surroundings, volumes: Volumes, repairer: Repairer) -> None:
        self._around = surroundings
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
            await self._around.meta.write(lambda txn: save(txn, disk_key(slot), disk))
            queued = await self._repairer.queue_slot(slot, "disk replaced")
        else:
            present = frozenset(await self._volumes.shards_on(slot))
            queued = await self._repairer.queue_slot(slot, "disk was away", present)
        log.warning("disk slot %d is back in service, %d shards to rebuild", slot, queued)
