"""The reaper: the only one who deletes shards, and only what it can prove is garbage.

Room: stratum/engine. May import: core, store, engine.{surroundings, volume_ids}.

Invariants
    G1  A volume is deleted only if the garbage table names it, `reap_delay` has passed since this process first saw
        that, no content uses it (looked up again in the deleting change), it is sealed, and nobody reads it.
    G2  The record goes first, the files after: a crash in between leaves orphan files, never a record without files.
    G3  Orphan files (of a volume without record, abandoned or begun before this start) go after the same delay.
    G4  Time is monotonic time: a jumped clock deletes nothing.
"""

import logging
from collections.abc import Awaitable, Callable

import trio

from stratum.core.config import Limits
from stratum.core.errors import StratumError
from stratum.core.manifest import is_used
from stratum.core.records import Garbage, Volume
from stratum.core.schema import GARBAGE, REPAIR, garbage_key, volume_key, wish_key
from stratum.core.tiers import let_go
from stratum.core.txn import Txn, load, scan_records, successor
from stratum.engine.surroundings import Surroundings
from stratum.store.disks import Disks
from stratum.store.volumes import Volumes

log = logging.getLogger(__name__)
BATCH = 256


class Reaper:
    """Frees the space of volumes that nothing refers to."""

    def __init__(
        self,
        surroundings: Surroundings,
        volumes: Volumes,
        disks: Disks,
        limits: Limits,
        first_volume: Callable[[], int],
    ) -> None:
        self._around = surroundings
        self._volumes = volumes
        self._disks = disks
        self._limits = limits
        self._first_volume = first_volume
        self._seen: dict[int, float] = {}
        self._orphans: dict[tuple[int, int], float] = {}
        self.further: list[Callable[[], Awaitable[None]]] = []  # what else there is to clear away
        self.reaped = 0  # volumes since the start
        self.orphans_removed = 0

    async def run(self) -> None:
        """Run until cancelled."""
        while True:
            try:
                await self.one_pass()
            except StratumError as error:
                log.warning("reaping postponed: %s", error)
            await trio.sleep(self._limits.reap_interval)

    async def one_pass(self) -> None:
        """Reap what is due now."""
        now = trio.current_time()
        waiting = self._around.meta.read(
            lambda txn: [int.from_bytes(rest, "big") for rest, _ in scan_records(txn, GARBAGE, Garbage)]
        )
        self._seen = {volume: self._seen.get(volume, now) for volume in waiting}
        for volume, since in list(self._seen.items()):
            if now - since >= self._limits.reap_delay:
                await self._reap(volume)
        await self._sweep_orphans(now)
        for clear in self.further:
            await clear()

    async def _reap(self, number: int) -> None:
        if self._volumes.is_pinned(number):
            return

        def change(txn: Txn) -> Volume | None:
            volume = load(txn, volume_key(number), Volume)
            if volume is None or is_used(txn, number):
                txn.delete(garbage_key(number))
                return None
            if not volume.sealed:
                return None
            txn.delete(garbage_key(number))
            txn.delete(volume_key(number))
            txn.delete(wish_key(number))
            if volume.held is not None:
                let_go(txn, number, volume)
            repairs = REPAIR + number.to_bytes(8, "big")
            for key in [key for key, _ in txn.scan(repairs, successor(repairs))]:
                txn.delete(key)
            return volume

        volume = await self._around.meta.write(change)
        if volume is not None:
            await self._volumes.remove(number, volume)
            self.reaped += 1

    async def _sweep_orphans(self, now: float) -> None:
        """Remove shard files of volumes that never got a record, or lost it to a reaping that was cut short."""
        found: dict[tuple[int, int], float] = {}
        for slot in self._disks.in_service():
            for number in await self._volumes.shards_on(slot):
                if self._is_orphan(number):
                    found[slot, number] = self._orphans.get((slot, number), now)
        self._orphans = found
        for (slot, number), since in found.items():
            if now - since >= self._limits.reap_delay and self._is_orphan(number):
                await self._volumes.remove_from(slot, number)
                self.orphans_removed += 1

    def _is_orphan(self, number: int) -> bool:
        if number >= self._first_volume() and not self._volumes.is_abandoned(number):
            return False
        if self._volumes.placed(number) is not None:
            return False
        return self._around.meta.read(lambda txn: txn.get(volume_key(number))) is None
