"""Restore redundancy: rebuild what the repair table names, and fill the table when a disk comes back.

Room: stratum/engine. May import: core, store, engine.surroundings.

A repair row is a promise in the index, so it outlives any crash; a rebuild is idempotent and may be cut anywhere.
"""

import logging
from functools import partial
from itertools import islice

import msgspec
import trio

from stratum.core.config import Limits
from stratum.core.errors import StratumError
from stratum.core.records import Repair, Volume, decode
from stratum.core.schema import REPAIR, VOLUME, repair_key, volume_key
from stratum.core.tiers import intend_shards
from stratum.core.txn import Txn, load, save, scan_records, successor
from stratum.engine.surroundings import Surroundings
from stratum.store.disks import Disks
from stratum.store.volumes import Volumes

log = logging.getLogger(__name__)
SLICE = 500  # volumes looked at in one transaction


class Repairer:
    """Rebuilds shards; also records that volumes were sealed."""

    def __init__(self, surroundings: Surroundings, volumes: Volumes, disks: Disks, limits: Limits) -> None:
        self._around = surroundings
        self._volumes = volumes
        self._disks = disks
        self._limits = limits
        self.rebuilt = 0  # shards since the start

    async def run(self) -> None:
        """Run until cancelled."""
        while True:
            try:
                await self.one_pass()
            except StratumError as error:
                log.warning("repair postponed: %s", error)
            await trio.sleep(self._limits.repair_interval)

    async def one_pass(self) -> None:
        """Seal what is full, then try every repair that waits, one after the other."""
        await self.record_seals()
        for number, shard in self.waiting():
            try:
                await self._repair(number, shard)
            except StratumError as error:
                log.warning("shard %d of volume %016x cannot be rebuilt now: %s", shard, number, error)

    def waiting(self) -> list[tuple[int, int]]:
        """(volume, shard index) of every repair in the table."""
        return self._around.meta.read(
            lambda txn: [(int.from_bytes(rest[:8], "big"), rest[8]) for rest, _ in scan_records(txn, REPAIR, Repair)]
        )

    async def record_seals(self) -> None:
        """Save that volumes are sealed, once they are."""
        sealed = self._volumes.sealed_now()
        if sealed:
            await self._around.meta.write(lambda txn: _save_sealed(txn, sealed))
            self._volumes.sealed_now()  # lets go of those that are saved now

    async def _repair(self, number: int, shard: int) -> None:
        volume = self._around.meta.read(lambda txn: load(txn, volume_key(number), Volume))
        if volume is None or shard >= len(volume.slots):  # gone, or held elsewhere
            await self._done(number, shard, None)
            return
        if not volume.sealed or self._volumes.placed(number) is not None:
            self._volumes.finish(number)  # the next pass can rebuild it
            return
        slot = self._target(volume, shard)
        if slot is None:
            return
        with self._volumes.exclusive(number):
            if slot != volume.slots[shard]:
                await self._around.meta.write(lambda txn: intend_shards(txn, number, [slot]))
            await self._volumes.rebuild(number, volume, shard, slot)
            self.rebuilt += 1
            await self._done(number, shard, slot)

    def _target(self, volume: Volume, shard: int) -> int | None:
        """The shard's own disk if it is in service, else the one with most room that holds no shard of this volume."""
        own, taking = volume.slots[shard], self._disks.taking(volume.tier)
        others = [slot for slot in taking if slot not in volume.slots]
        if own in taking or (own in self._disks.in_service(volume.tier) and not others):
            return own
        spaces = self._disks.room(others)
        return max(spaces, key=lambda slot: spaces[slot].free, default=None)

    async def _done(self, number: int, shard: int, slot: int | None) -> None:
        def change(txn: Txn) -> None:
            txn.delete(repair_key(number, shard))
            volume = load(txn, volume_key(number), Volume)
            if volume is not None and slot is not None and shard < len(volume.slots) and volume.slots[shard] != slot:
                slots = tuple(slot if i == shard else old for i, old in enumerate(volume.slots))
                intend_shards(txn, number, [volume.slots[shard]])  # its old disk may come back
                save(txn, volume_key(number), msgspec.structs.replace(volume, slots=slots))

        await self._around.meta.write(change)

    def note_damage(self, number: int, shard: int, reason: str) -> None:
        """A reader met a bad or missing shard: queue it (durable with the next group commit)."""
        if self._around.meta.failed is not None:
            return

        def change(txn: Txn) -> None:
            if load(txn, volume_key(number), Volume) is not None:
                _queue(txn, number, shard, reason, self._around.now_ns())

        self._around.meta.apply(change)
        log.warning("shard %d of volume %016x: %s", shard, number, reason)

    async def queue_slot(self, slot: int, reason: str, present: frozenset[int] = frozenset()) -> int:
        """Queue every shard of a slot whose volume is not in `present`; return how many."""
        queued, after = 0, VOLUME
        while True:
            change = partial(self._queue_slice, after=after, slot=slot, reason=reason, present=present)
            last, count = await self._around.meta.write(change)
            queued += count
            if last is None:
                return queued
            after = last + b"\0"

    def _queue_slice(
        self, txn: Txn, after: bytes, slot: int, reason: str, present: frozenset[int]
    ) -> tuple[bytes | None, int]:
        count = 0
        volumes = _slice_of_volumes(txn, after)
        for key, volume in volumes:
            number = int.from_bytes(key[1:], "big")
            if slot in volume.slots and number not in present:
                _queue(txn, number, volume.slots.index(slot), reason, self._around.now_ns())
                count += 1
        return (volumes[-1][0] if len(volumes) == SLICE else None), count


def _slice_of_volumes(txn: Txn, start: bytes) -> list[tuple[bytes, Volume]]:
    rows = islice(txn.scan(start, successor(VOLUME)), SLICE)
    return [(key, decode(key, raw, Volume)) for key, raw in rows]


def _queue(txn: Txn, number: int, shard: int, reason: str, now: int) -> None:
    key = repair_key(number, shard)
    if txn.get(key) is None:
        save(txn, key, Repair(since=now, reason=reason))


def _save_sealed(txn: Txn, sealed: list[tuple[int, Volume]]) -> None:
    for number, volume in sealed:
        if load(txn, volume_key(number), Volume) is not None:
            save(txn, volume_key(number), volume)
