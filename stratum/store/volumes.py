"""Volumes: where every byte rests. One door to writing, reading, recording and looking after them.

Room: stratum/store. May import: core.*, store.*.

Invariants
    U1  A volume is known here (`placed`) from its first byte until the index says that it is sealed: whoever asks
        in between gets what is true now.
    U2  `record` saves only what is durable, and never less than was saved before.
    U3  Nothing here deletes but `remove` and `remove_from`, which are the reaper's.
    U4  One volume is moved, repaired or cleaned up after by one task at a time (`exclusive`).
"""

import logging
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import trio

from stratum.core.config import Settings
from stratum.core.errors import Busy, DiskFailed, ReadOnly, StoreFull, TooFewDisks, TooFewShards
from stratum.core.placement import choose_code, choose_slots, narrowest
from stratum.core.records import Extent, Repair, Volume
from stratum.core.schema import repair_key, volume_key
from stratum.core.tiers import COLD, HOT, WARM
from stratum.core.txn import Txn, load, save
from stratum.store.backends import Backend
from stratum.store.disks import Disks
from stratum.store.held_reader import HeldReader
from stratum.store.hop import Hop
from stratum.store.open_volume import OpenVolume
from stratum.store.packs import Packs
from stratum.store.shards import OpenShards
from stratum.store.volume_reader import Located, VolumeReader
from stratum.store.volume_repair import VolumeRepair
from stratum.store.volume_stream import Fetch, VolumeStreams
from stratum.store.volume_writer import VolumeWriter

log = logging.getLogger(__name__)


class Volumes:
    """All volumes of the store."""

    def __init__(
        self,
        disks: Disks,
        settings: Settings,
        store_id: bytes,
        take_volume_id: Callable[[], int],
        find: Callable[[int], Volume | None],
        sequence: Callable[[], int],
        on_damage: Callable[[int, int, str], None],
        now_ns: Callable[[], int],
        backends: Mapping[str, Backend] | None = None,
        journal_slots: Callable[[], Collection[int]] = lambda: (),
    ) -> None:
        """`find`: the recorded volume; `on_damage(volume, shard, reason)`: called for bad or missing shards;
        `sequence`: of the index, for shard headers; `now_ns`: wall clock;
        `backends`: by name, who may hold volumes (may be filled later); `journal_slots`: the disks of the journal."""
        limits = settings.limits
        self._disks = disks
        self._settings = settings
        self._store_id = store_id
        self._take_volume_id = take_volume_id
        self._find = find
        self._sequence = sequence
        self._on_damage = on_damage
        self._now_ns = now_ns
        self._journal_slots = journal_slots
        self._placed: dict[int, OpenVolume] = {}
        self._abandoned: set[int] = set()
        self._pins: Counter[int] = Counter()
        self._nursery: trio.Nursery | None = None
        self._closed = False
        self._hop = Hop(disks, limits)
        self._shards = OpenShards(store_id, limits.open_shards)
        self.held = HeldReader(backends if backends is not None else {}, limits, store_id)
        self._reader = VolumeReader(disks, limits, self._hop, self._shards, self._locate, on_damage, self.held)
        self._streams = VolumeStreams(disks, self._hop, store_id)
        self._exclusive: set[int] = set()
        self._packs = Packs(limits, self.begin, self.abandon)
        self._repair = VolumeRepair(disks, self._hop, store_id)

    # --- writing ------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Let full volumes be sealed while the next one is filled; run until cancelled. Optional."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            try:
                await trio.sleep_forever()
            finally:
                self._nursery = None

    async def append(self, pieces: Sequence[bytes]) -> list[list[Extent]]:
        """Put pieces (1 to pack_bytes each) into a pack; return each one's extents once they are durable.

        Raises InvalidArgument, TooFewDisks, StoreFull, ReadOnly.
        """
        return await self._packs.append(pieces)

    def apart(self) -> Packs:
        """A pack of one's own, which nobody else appends to; whoever asked closes it."""
        return Packs(self._settings.limits, self.begin, self.abandon)

    def writer(self, tier: str = HOT, volume_bytes: int | None = None) -> VolumeWriter:
        """Begin a stream into volumes of its own, of up to `volume_bytes` each (None: as the limits have it)."""
        limits = self._settings.limits
        if tier == HOT:
            return VolumeWriter(self, limits, self._settings.k)
        bound = limits if volume_bytes is None else replace(limits, volume_bytes=volume_bytes)
        return VolumeWriter(_Home(self, tier), bound, self._code(tier)[0])

    async def close(self) -> None:
        """Seal the pack and let go of all files; nothing is written after this."""
        self._closed = True
        await self._packs.close()
        self._shards.close()

    def finish(self, number: int) -> None:
        """Append to the volume no more, if it is the pack and idle; then its seal can be recorded (`sealed_now`)."""
        self._packs.finish(number)

    def begin(self, avoid: Collection[int], tier: str = HOT) -> OpenVolume:
        """Make a volume on disks in service, not those in the slots `avoid`, which have no room.

        Raises TooFewDisks, StoreFull, ReadOnly.
        """
        if self._closed:
            raise ReadOnly("the store is closing")
        usable, (k, m) = self._choose_disks(avoid, tier)
        number = self._take_volume_id()
        header = self._store_id, self._sequence()
        slots = choose_slots(number, usable, m, self._room(usable))
        volume = OpenVolume(number, (k, m), slots, header, self._disks, self._hop, self._settings.limits, tier)
        self._placed[number] = volume
        return volume

    def _code(self, tier: str) -> tuple[int, int]:
        """Data and parity shards of a tier's new volumes."""
        warm = self._settings.warm
        if tier == HOT:
            return self._settings.k, self._settings.parity
        if tier != WARM or warm is None:
            raise TooFewDisks(f"there is no tier {tier!r} with disks")
        return warm.k, warm.parity

    def shards_of(self, tier: str) -> int:
        """Shards of a tier's new volumes; 0: there is no such tier."""
        return sum(self._code(tier)) if tier == HOT or self._settings.warm is not None else 0

    def check_room(self) -> None:
        """What needs no volume needs room all the same, in journal and index. Raises StoreFull if hot disks are full,
        as of the last look at them or the last growth of their journal; if those of the journal are, it must have
        others to move to, with room for all of it."""
        full = self._disks.full()
        if not full:
            return
        serving = self._disks.in_service(HOT)
        roomy = set(serving) - full
        if len(roomy) < narrowest(self._settings.k) + self._settings.parity <= len(serving):
            raise StoreFull(f"no room on {len(serving) - len(roomy)} of {len(serving)} disks")
        held = [slot for slot in self._journal_slots() if slot in serving]
        if not roomy.issuperset(held):
            whole = self._settings.limits.journal_segment_bytes
            stays = [slot for slot in roomy if slot in held or self._disks.state(slot).free >= whole]
            if len(stays) < len(held):
                raise StoreFull(f"no room for the journal on {len(held)} disks")

    def has_room(self, tier: str) -> str:
        """Why nothing can be written to a tier; empty: it can."""
        try:
            self._choose_disks((), tier)
        except (TooFewDisks, StoreFull) as error:
            return str(error)
        return ""

    def _choose_disks(self, avoid: Collection[int], tier: str) -> tuple[list[int], tuple[int, int]]:
        """Return the slots to choose from and the code; disks about to be full only if there is no other way, and
        those that are to be emptied only if there are too few others."""
        k, parity = self._code(tier)
        serving = self._disks.taking(tier)
        if len(serving) < k + parity:
            serving = self._disks.in_service(tier)
        usable = [slot for slot in serving if slot not in avoid]
        roomy = [slot for slot in usable if self._has_room(slot)]
        try:
            return roomy, choose_code(k, parity, len(roomy))
        except TooFewDisks:
            pass  # then the nearly full ones must do
        try:
            return usable, choose_code(k, parity, len(usable))
        except TooFewDisks as error:
            if len(usable) == len(serving):
                raise
            raise StoreFull(f"no room on {len(serving) - len(usable)} of {len(serving)} disks") from error

    def _room(self, slots: Collection[int]) -> dict[int, float]:
        """Free bytes of disks; nothing where those of one are not known."""
        spaces = self._disks.room(slots)
        return {} if any(not space.total for space in spaces.values()) else {s: spaces[s].free for s in spaces}

    def _has_room(self, slot: int) -> bool:
        state = self._disks.state(slot)
        return not state.total or state.free > self._settings.limits.volume_bytes

    def abandon(self, volume: OpenVolume) -> None:
        """Nobody will ever refer to the volume: its files are the reaper's."""
        volume.seal()
        if self._placed.pop(volume.number, None) is not None:
            self._abandoned.add(volume.number)

    def behind(self, job: Callable[[], Awaitable[object]]) -> bool:
        """Start `job` in the service's nursery; False if the service does not run."""
        if self._nursery is None:
            return False
        self._nursery.start_soon(job)
        return True

    # --- the index ----------------------------------------------------------------------------------------

    def record(self, txn: Txn, extents: Iterable[Extent]) -> None:
        """Inside a change: make the volumes of `extents` known, and queue their lost shards for repair (U2).

        Raises TooFewShards if a volume is neither here nor recorded (any more).
        """
        for number in dict.fromkeys(extent.volume for extent in extents):
            placed = self._placed.get(number)
            saved = load(txn, volume_key(number), Volume)
            if placed is not None:
                now = placed.record()
                if saved is None or saved.shard_bytes < now.shard_bytes or saved.sealed < now.sealed:
                    save(txn, volume_key(number), now)
                self._queue_repairs(txn, placed)
            elif saved is None:
                raise TooFewShards(f"volume {number:016x} is gone")

    def _queue_repairs(self, txn: Txn, volume: OpenVolume) -> None:
        for shard, reason in volume.lost.items():
            key = repair_key(volume.number, shard)
            if txn.get(key) is None:
                save(txn, key, Repair(since=self._now_ns(), reason=reason))

    def placed(self, number: int) -> Volume | None:
        """Return a volume that the index does not know, or not as sealed, yet (U1)."""
        volume = self._placed.get(number)
        return None if volume is None else volume.record()

    def sealed_now(self) -> list[tuple[int, Volume]]:
        """Return the recorded volumes whose seal must be saved; those for which that is done are let go."""
        waiting: list[tuple[int, Volume]] = []
        for number, volume in list(self._placed.items()):
            if not volume.sealed:
                continue
            saved = self._find(number)
            if saved is None:
                continue  # whoever wrote it has yet to record it, and saves the seal with that
            if not saved.sealed or saved.shard_bytes < volume.durable:
                waiting.append((number, volume.record()))
                continue
            del self._placed[number]
            for shard, reason in volume.lost.items():
                self._on_damage(number, shard, reason)
        return waiting

    def is_abandoned(self, number: int) -> bool:
        """Will nobody ever refer to this volume, begun since the start and given up?"""
        return number in self._abandoned

    # --- reading ------------------------------------------------------------------------------------------

    async def read(self, extent: Extent, start: int, stop: int) -> bytes:
        """Return bytes [start, stop) of the extent, verified, rebuilt if need be. Raises TooFewShards, Busy."""
        return await self._reader.read(extent, start, stop)

    def fetch_ahead(self, extent: Extent, start: int, stop: int) -> None:
        """Let bytes that somebody will read soon be fetched, if they are far away and there is room."""
        found = self._locate(extent.volume)
        if found is None or found[0].tier != COLD or not self.held.room_ahead(stop - start):
            return
        self.behind(partial(self.held.fetch_ahead, extent, found[0], start, stop))

    @contextmanager
    def pinned(self, numbers: Collection[int]) -> Iterator[None]:
        """Keep volumes from being reaped meanwhile."""
        held = set(numbers)
        self._pins.update(held)
        try:
            yield
        finally:
            self._pins.subtract(held)
            for number in held:
                if not self._pins[number]:
                    del self._pins[number]

    def is_pinned(self, number: int) -> bool:
        """Does anyone read the volume?"""
        return number in self._pins

    def _locate(self, number: int) -> Located | None:
        placed = self._placed.get(number)
        if placed is not None:
            return placed.record(), placed.lost
        volume = self._find(number)
        return None if volume is None else (volume, ())

    # --- moving them --------------------------------------------------------------------------------------

    @contextmanager
    def exclusive(self, number: int) -> Iterator[None]:
        """Have a volume's files for oneself (U4). Raises Busy if another task has them."""
        if number in self._exclusive:
            raise Busy(f"volume {number:016x} is being moved, repaired or cleaned up after")
        self._exclusive.add(number)
        try:
            yield
        finally:
            self._exclusive.discard(number)

    def stream(self, number: int, volume: Volume) -> AsyncGenerator[bytes, None]:
        """Yield the stream of a sealed volume that has shards (core/tiers.py). Raises TooFewShards, DiskFailed."""
        return self._streams.read(number, volume)

    def hot_slots(self, number: int, volume: Volume) -> tuple[int, ...]:
        """Where its shards would go. Raises TooFewDisks."""
        usable = [slot for slot in self._disks.taking(HOT) if self._has_room(slot)]
        if len(usable) < volume.m:
            usable = [slot for slot in self._disks.in_service(HOT) if self._has_room(slot)]
        if len(usable) < volume.m:
            raise TooFewDisks(f"{len(usable)} hot disks in service with room, {volume.m} needed")
        return choose_slots(number, usable, volume.m, self._room(usable))

    async def write_shards(self, number: int, volume: Volume, slots: Sequence[int], fetch: Fetch) -> None:
        """Make all shards of a volume on `slots` from its stream. Raises TooFewShards, DiskFailed, StoreFull."""
        await self._streams.write(number, volume, slots, fetch)
        self._shards.forget(number)

    def moved(self, number: int) -> None:
        """The volume is elsewhere now: what was open or kept of it is let go."""
        self._shards.forget(number)
        self.held.forget(number)

    @property
    def pressure(self) -> float:
        """How many of the threads that read and write are taken, 0 to 1; above 1: some wait."""
        return self._hop.pressure

    # --- looking after them -------------------------------------------------------------------------------

    async def verify(self, number: int, volume: Volume) -> dict[int, str]:
        """Check every committed frame of every shard on a disk in service; return {bad shard: reason}."""
        return await self._repair.verify(number, volume)

    async def rebuild(self, number: int, volume: Volume, shard: int, slot: int) -> None:
        """Put a good shard on the disk in `slot`, unless one is there. Raises TooFewShards, DiskFailed, StoreFull."""
        if await self._repair.rebuild(number, volume, shard, slot):
            self._shards.forget(number)
        self._reader.forget(number, shard)

    async def trouble(self, number: int, volume: Volume, shard: int, slot: int) -> str:
        """What is wrong with a shard on the disk in `slot`; empty: nothing. Raises DiskFailed."""
        return await self._repair.trouble(number, volume, shard, slot)

    def is_open_on(self, slot: int) -> bool:
        """Is any volume with a shard in `slot` still being written, or not yet saved as sealed?"""
        return any(slot in volume.record().slots for volume in self._placed.values())

    async def remove(self, number: int, volume: Volume) -> None:
        """Delete a volume's files on the disks in service (the reaper's)."""
        for slot in volume.slots:
            if slot in self._disks.in_service():
                try:
                    await self.remove_from(slot, number)
                except DiskFailed as error:  # the sweep for orphans finds the file once the disk is back
                    log.warning("volume %016x cannot be removed from disk %d now: %s", number, slot, error)

    async def remove_from(self, slot: int, number: int, *, durably: bool = False, unfinished: bool = False) -> None:
        """Delete a volume's files on one disk (the reaper's); `unfinished`: only such ones. Raises DiskFailed."""
        self._shards.forget(number)
        await self._repair.remove_from(slot, number, durably=durably, unfinished=unfinished)

    async def shards_on(self, slot: int) -> list[int]:
        """Return the ids of volumes that have a shard on a disk. Raises DiskFailed."""
        return await self._repair.shards_on(slot)


class _Home:
    """What a writer needs to fill volumes of a tier."""

    def __init__(self, volumes: Volumes, tier: str) -> None:
        self._volumes = volumes
        self._tier = tier
        self.abandon = volumes.abandon
        self.behind = volumes.behind
        self.read = volumes.read

    def begin(self, avoid: Collection[int]) -> OpenVolume:
        """See volume_writer.Home."""
        return self._volumes.begin(avoid, self._tier)
