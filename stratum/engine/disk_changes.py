"""Disks that come and go on purpose: added one at a time, emptied, taken out for good.

Room: stratum/engine. May import: core, store, engine.{opening, relocator, room, surroundings}.

Invariants
    C1  A disk is taken out only when no volume names it, and while enough others are left for the full code.
    C2  store.json is written before a new disk is used, and before one that was removed is let go: whatever is cut off
        where, the next start knows every disk that holds something, and none that was given up.
"""

import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePath

import trio

from stratum.core.config import Settings
from stratum.core.errors import Conflict, DiskFailed, InvalidArgument
from stratum.core.records import Disk as DiskRecord
from stratum.core.records import Leaving
from stratum.core.schema import LEFT_SHARDS, leaving_key
from stratum.core.tiers import HOT, SHOWN, STORED, WARM
from stratum.core.txn import save
from stratum.engine.opening import OpenedStore
from stratum.engine.relocator import Relocator, forget_slot
from stratum.engine.room import Capacity, capacity_of, code_of
from stratum.engine.surroundings import Surroundings
from stratum.store.disk import Disk, Space
from stratum.store.disk_watch import DiskWatch
from stratum.store.identity import NAME, PURPOSE, claim, look, try_out
from stratum.store.volumes import Volumes

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DiskRow:
    """A disk as an operator sees it. `shards`, `shard_bytes`: what the records say is on it.

    `leaving_since`: ns; None: it is not to be emptied. `added`: by command; the settings need not name it.
    """

    slot: int
    path: str
    tier: str
    identity: str
    in_service: bool
    reason: str
    total_bytes: int
    free_bytes: int
    shards: int
    shard_bytes: int
    leaving_since: int | None
    added: bool


class DiskChanges:
    """The verbs on disks."""

    def __init__(
        self,
        surroundings: Surroundings,
        store: OpenedStore,
        volumes: Volumes,
        relocator: Relocator,
        watch: DiskWatch,
        settings: Settings,
    ) -> None:
        self._around = surroundings
        self._store = store
        self._disks = store.disks
        self._volumes = volumes
        self._relocator = relocator
        self._watch = watch
        self._settings = settings
        self._one_at_a_time = trio.Lock()

    async def list(self) -> list[DiskRow]:
        """Every slot."""
        holdings, leaving = await self._relocator.holdings(), self._relocator.leaving()
        rows = []
        for slot in self._disks.slots():
            state, record = self._disks.state(slot), self._store.records.get(slot)
            rows.append(
                DiskRow(
                    slot=slot,
                    path=state.path,
                    tier=SHOWN[self._disks.tier_of(slot)],
                    identity=record.identity if record else "",
                    in_service=state.in_service,
                    reason=state.reason,
                    total_bytes=state.total,
                    free_bytes=state.free,
                    shards=holdings[slot].shards if slot in holdings else 0,
                    shard_bytes=holdings[slot].bytes if slot in holdings else 0,
                    leaving_since=leaving[slot].since if slot in leaving else None,
                    added=bool(record and record.added),
                )
            )
        return rows

    def capacities(self) -> dict[str, Capacity]:
        """Of each tier with disks, what they can hold together."""
        tiers = [HOT] if self._settings.warm is None else [HOT, WARM]
        return {SHOWN[tier]: capacity_of(self._disks, self._settings, tier) for tier in tiers}

    async def add(self, path: str, tier: str = "hot") -> int:
        """Take an empty folder into the store as a new disk, at once; return its slot. Shards move onto it by and by.

        Raises InvalidArgument (no folder that can be used, or in use already), DiskFailed, StoreFull.
        """
        kind = self._check_tier(tier)
        if not PurePath(path).is_absolute():
            raise InvalidArgument("the path of a disk is absolute")
        async with self._one_at_a_time:
            used = {self._disks.state(slot).path for slot in self._disks.slots()}
            if str(Path(path)) in used:
                raise InvalidArgument(f"{path} is a disk of this store already")
            slot = max([*self._disks.slots(), *self._store.remembered], default=-1) + 1
            disk, record, space = await trio.to_thread.run_sync(self._take, slot, Path(path), kind)
            slot = disk.slot
            self._watch.know(slot, record)
            self._disks.admit(slot, disk, space, tier=kind)
            self._relocator.soon()
        log.warning("disk %d (%s) was added to the %s tier", slot, path, tier)
        return slot

    async def drain(self, slot: int, *, cancel: bool = False) -> None:
        """Empty a disk, also one that is out of service: every shard is made anew elsewhere. `cancel`: keep it.

        Raises InvalidArgument: no such disk, or too few would be left.
        """
        self._check_slot(slot)
        if not cancel:
            self._check_enough_without(slot)
        now = self._around.now_ns()
        if cancel:
            await self._around.meta.write(lambda txn: txn.delete(leaving_key(slot)))
            self._disks.leaving.discard(slot)
        else:
            await self._around.meta.write(lambda txn: save(txn, leaving_key(slot), Leaving(since=now)))
            self._disks.leaving.add(slot)
        self._relocator.soon()

    async def remove(self, slot: int) -> DiskRow:
        """Take an emptied disk out of the store for good; return what it was.

        Raises InvalidArgument, and Conflict while shards rest on it.
        """
        async with self._one_at_a_time:
            self._check_slot(slot)
            self._check_enough_without(slot)
            row = next(row for row in await self.list() if row.slot == slot)
            if row.leaving_since is None:
                raise Conflict(f"disk {slot} is in use: empty it first (stratum disk drain {slot})")
            if row.shards or self._volumes.is_open_on(slot):
                raise Conflict(f"{row.shards} shards are still on disk {slot}, or are being written to it")
            await trio.to_thread.run_sync(self._give_up, slot)
            self._watch.forget(slot)
            self._disks.forget(slot)
            after = LEFT_SHARDS
            while after:
                after = await self._around.meta.write(partial(forget_slot, slot=slot, after=after))
            await self._around.meta.write(lambda txn: txn.delete(leaving_key(slot)))
        log.warning("disk %d (%s) was removed from the store", slot, row.path)
        return row

    def _take(self, slot: int, path: Path, tier: str) -> tuple[Disk, DiskRecord, Space]:
        """Blocking."""
        sight = look(slot, path, self._store.open_disk, tier)
        if sight.disk is None:
            raise InvalidArgument(f"{path}: {sight.problem}")
        identity = sight.identity
        if identity is not None:
            ours = identity.store == self._store.store_id.hex() and identity.slot not in self._store.remembered
            if not ours or identity.disk in self._store.removed or identity.tier != tier:
                raise InvalidArgument(f"{path} is a disk already, of this store or of another; empty it to use it anew")
            slot = identity.slot  # an addition that was cut off
        else:
            identity = claim(sight.disk, self._store.store_id, slot, self._around.now_ns(), tier)
        sight.disk.slot = slot
        try_out(sight.disk)
        record = DiskRecord(identity.disk, sight.disk.own_filesystem, str(path), tier, added=True)
        self._store.remember(slot, record)
        return sight.disk, record, sight.disk.space()

    def _give_up(self, slot: int) -> None:
        """Blocking."""
        self._store.forget(slot)
        try:
            disk = self._disks.get(slot)
            disk.unlink(NAME, purpose=PURPOSE)
            disk.fsync_directory("", purpose=PURPOSE)
        except DiskFailed as error:  # store.json says that it is not ours any more
            log.warning("the identity of disk %d stays on it: %s", slot, error)

    def _check_tier(self, tier: str) -> str:
        if tier not in ("hot", "warm") or (tier == "warm" and self._settings.warm is None):
            raise InvalidArgument(f"there is no tier {tier!r} with disks in the settings")
        return STORED[tier]

    def _check_slot(self, slot: int) -> None:
        if slot not in self._disks.slots():
            raise InvalidArgument(f"there is no disk {slot}")

    def _check_enough_without(self, slot: int) -> None:
        tier = self._disks.tier_of(slot)
        needed, left = sum(code_of(self._settings, tier)), [one for one in self._disks.taking(tier) if one != slot]
        if len(left) < needed:
            raise InvalidArgument(f"{len(left)} disks would be left, and a volume needs {needed}: add one first")
