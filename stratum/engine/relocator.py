"""Moves shards to other disks: off those that are to be emptied, and onto those that hold less than their part.

Room: stratum/engine. May import: core, store, engine.{pacing, surroundings}.

Which shard goes where is decided by core/balance.py. One relocation is: say in the index that there may be a shard on
the target, write it there from verified cells, verify it, let the record name it in one change that also leaves
the old one to the reaper. Meanwhile, and if it is cut off anywhere, the volume has all its shards.

Invariants
    R1  A relocated volume is one that this task has to itself (`exclusive`), and still as it was when looked at.
    R2  The slots that are to be emptied are rows, so emptying goes on after a restart.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice

import msgspec
import trio

from stratum.core.balance import Fill, Relocation, choose_relocation, note_relocation
from stratum.core.config import Limits
from stratum.core.errors import Busy, StratumError
from stratum.core.records import Leaving, LeftShards, Volume, decode
from stratum.core.schema import LEAVING, LEFT_SHARDS, VOLUME, id_of, repair_key, volume_key
from stratum.core.tiers import intend_shards, shards_cleared
from stratum.core.txn import Txn, load, save, scan_records, successor
from stratum.engine.pacing import Pace
from stratum.engine.surroundings import Surroundings
from stratum.store.backends import HeldWrong
from stratum.store.disks import Disks
from stratum.store.volumes import Volumes

log = logging.getLogger(__name__)
SLICE = 500  # volumes looked at in one transaction
Found = tuple[int, Volume]


@dataclass(slots=True)
class Holding:
    """What rests on a disk, by the records: shards, and their bytes."""

    shards: int = 0
    bytes: int = 0


class Relocator:
    """Empties disks and evens them out, in the background."""

    def __init__(self, surroundings: Surroundings, volumes: Volumes, disks: Disks, limits: Limits) -> None:
        self._around = surroundings
        self._volumes = volumes
        self._disks = disks
        self._limits = limits
        self._pace = Pace(limits.move_bytes_per_second, lambda: volumes.pressure)
        self._wanted = trio.Event()
        self.relocated = 0  # shards since the start
        self.relocated_bytes = 0
        self.under_way: tuple[int, int, int] | None = None  # volume, slot it leaves, slot it goes to
        self.trouble = ""  # why the last attempt that failed did; empty: none of the last pass did

    async def run(self) -> None:
        """Run until cancelled."""
        while True:
            self._wanted = trio.Event()
            try:
                unfinished = await self.one_pass()
            except StratumError as error:
                log.warning("shards stay where they are for now: %s", error)
                unfinished = False
            with trio.move_on_after(self._limits.repair_interval if unfinished else self._limits.balance_interval):
                await self._wanted.wait()

    def soon(self) -> None:
        """Something has changed: look at once."""
        self._wanted.set()

    def leaving(self) -> dict[int, Leaving]:
        """The slots that are to be emptied."""
        rows = self._around.meta.read(lambda txn: list(scan_records(txn, LEAVING, Leaving)))
        return {id_of(key, 0): leaving for key, leaving in rows}

    async def holdings(self) -> dict[int, Holding]:
        """What rests on each disk. A look at every volume, slice by slice."""
        found = {slot: Holding() for slot in self._disks.slots()}
        after = VOLUME
        while after:
            volumes, after = self._around.meta.read(partial(_volumes, after))
            for _, volume in volumes:
                for slot in volume.slots:
                    holding = found.setdefault(slot, Holding())
                    holding.shards += 1
                    holding.bytes += volume.shard_bytes
            await trio.lowlevel.checkpoint()
        return found

    async def one_pass(self) -> bool:
        """Look at every volume once and move what should be; return whether a disk is still to be emptied."""
        leaving = set(self.leaving()) & set(self._disks.slots())
        self._disks.leaving = leaving
        if not leaving and not self._may_be_uneven():
            return False
        self.trouble = ""
        fills = self._fills(await self.holdings(), leaving)
        left, after = False, VOLUME
        while after:
            volumes, after = self._around.meta.read(partial(_volumes, after))
            for number, volume in volumes:
                left |= await self._look_at(number, volume, fills) and bool(leaving & set(volume.slots))
            await trio.lowlevel.checkpoint()
        return left or any(self._volumes.is_open_on(slot) for slot in leaving)

    def _may_be_uneven(self) -> bool:
        """With as many disks as shards, every volume is on every disk already."""
        return any(
            len(self._disks.taking(tier)) > self._volumes.shards_of(tier)
            for tier in {self._disks.tier_of(slot) for slot in self._disks.slots()}
        )

    def _fills(self, holdings: dict[int, Holding], leaving: set[int]) -> dict[str, dict[int, Fill]]:
        """By tier."""
        spaces = self._disks.room(self._disks.slots())
        fills: dict[str, dict[int, Fill]] = {}
        for slot in self._disks.slots():
            if slot not in spaces and slot not in leaving:
                continue  # it is away, and expected back
            total, free = spaces.get(slot, (0, 0))
            takes = slot in spaces and slot not in leaving
            held = holdings[slot].bytes if slot in holdings else 0
            fill = Fill(total, held, free, takes=takes, leaving=slot in leaving)
            fills.setdefault(self._disks.tier_of(slot), {})[slot] = fill
        return fills

    async def _look_at(self, number: int, volume: Volume, fills: dict[str, dict[int, Fill]]) -> bool:
        """Move what should be of one volume, as often as need be; return whether something is left to do."""
        disks = fills.get(volume.tier, {})
        while volume.slots:
            found = choose_relocation(volume.slots, volume.shard_bytes, disks, self._limits.volume_bytes)
            if found is None:
                left = any(slot in disks and disks[slot].leaving for slot in volume.slots)
                self.trouble = "no other disk in service has room" if left else self.trouble
                return left
            if not volume.sealed or self._volumes.placed(number) is not None:
                self._volumes.finish(number)  # the next pass can move it
                return True
            source = volume.slots[found.shard]
            try:
                after = await self.relocate(number, volume, found)
            except StratumError as error:
                self._note_trouble(number, error)
                return True
            if after is None:
                return True
            note_relocation(disks, source, found.target, volume.shard_bytes)
            volume = after
        return False

    def _note_trouble(self, number: int, error: StratumError) -> None:
        if not isinstance(error, Busy):
            self.trouble = str(error)
        log.log(
            logging.DEBUG if isinstance(error, Busy) else logging.WARNING,
            "a shard of volume %016x stays where it is for now: %s",
            number,
            error,
        )

    async def relocate(self, number: int, volume: Volume, to: Relocation) -> Volume | None:
        """Move one shard; return the volume as it is then, None if it has changed meanwhile.

        Raises Busy, TooFewShards, DiskFailed, StoreFull, HeldWrong (what was written reads back as something else).
        """
        meta, source = self._around.meta, volume.slots[to.shard]
        with self._volumes.exclusive(number):
            if meta.read(lambda txn: load(txn, volume_key(number), Volume)) != volume:
                return None
            self.under_way = number, source, to.target
            try:
                await meta.write(lambda txn: intend_shards(txn, number, [to.target]))
                await self._pace.take(volume.shard_bytes)
                await self._volumes.rebuild(number, volume, to.shard, to.target)
                after = msgspec.structs.replace(volume, slots=_with(volume.slots, to))
                trouble = await self._volumes.trouble(number, after, to.shard, to.target)
                if trouble:
                    raise HeldWrong(f"volume {number:016x}, shard {to.shard} on disk {to.target}: {trouble}")
                done = await meta.write(lambda txn: _swap(txn, number, volume, after, to.shard))
            finally:
                self.under_way = None
        if not done:
            return None
        self._volumes.moved(number)
        self.relocated += 1
        self.relocated_bytes += volume.shard_bytes
        return after


def forget_slot(txn: Txn, slot: int, after: bytes) -> bytes:
    """Inside a change: what was left on a slot is nobody's work any more; where to go on (empty: nowhere)."""
    rows = list(islice(txn.scan(after, successor(LEFT_SHARDS)), SLICE))
    for key, raw in rows:
        if slot in decode(key, raw, LeftShards).slots:
            shards_cleared(txn, id_of(key), [slot])
    return rows[-1][0] + b"\0" if len(rows) == SLICE else b""


def _with(slots: tuple[int, ...], to: Relocation) -> tuple[int, ...]:
    return tuple(to.target if shard == to.shard else slot for shard, slot in enumerate(slots))


def _swap(txn: Txn, number: int, before: Volume, after: Volume, shard: int) -> bool:
    """Inside a change: the shard rests in its new place; what is in the old one is the reaper's (core/tiers.py T1)."""
    if load(txn, volume_key(number), Volume) != before:
        return False
    save(txn, volume_key(number), after)
    txn.delete(repair_key(number, shard))
    intend_shards(txn, number, [before.slots[shard]])
    return True


def _volumes(after: bytes, txn: Txn) -> tuple[list[Found], bytes]:
    """The next slice, and where the one after begins (empty: there is none)."""
    rows: Iterator[tuple[bytes, bytes]] = islice(txn.scan(after, successor(VOLUME)), SLICE)
    found = [(key, decode(key, raw, Volume)) for key, raw in rows]
    last = found[-1][0] + b"\0" if len(found) == SLICE else b""
    return [(id_of(key), volume) for key, volume in found], last
