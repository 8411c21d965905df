"""Volumes over disks in memory, with an index in memory, for the tests of volumes.

Room: tests. May import: stratum.core, stratum.store, tests.fakes.
"""

import random
from pathlib import PurePath

from hypothesis import strategies as st

from stratum.core.config import Limits, Settings
from stratum.core.records import Repair, Volume
from stratum.core.schema import REPAIR, VOLUME, repair_key, volume_key
from stratum.core.txn import load, save, scan_records
from stratum.store.disks import Disks
from stratum.store.shards import path_of
from stratum.store.volumes import Volumes
from tests.fakes.disk import FakeDisk
from tests.fakes.txn import MemoryTxn

STORE = bytes(range(16))
NOW = 1_700_000_000_000_000_000
SMALL = Limits(
    cell_bytes=256,
    volume_bytes=8 * 1024,
    put_window_bytes=2048,
    pack_bytes=3000,
    open_shards=8,
    disk_timeout=5.0,
    straggler_grace=0.05,
)


def bytes_up_to(size):
    """Strategy: 1 to `size` random bytes."""
    return st.builds(
        lambda seed, length: random.Random(seed).randbytes(length), st.integers(0, 2**32), st.integers(1, size)
    )


class World:
    """Six disks (or as many as asked for), the index, and the volumes on top."""

    def __init__(self, count=6, k=4, parity=2, limits=SMALL):
        self.settings = Settings(
            data=PurePath("/x"), disks=(PurePath("/d"),) * count, k=k, parity=parity, limits=limits
        )
        self.disks = [FakeDisk(slot) for slot in range(count)]
        self.txn = MemoryTxn()
        self.damage = []
        self.next_volume = 16
        self.start()

    def start(self):
        self.slots = Disks(dict(enumerate(self.disks)), self.settings.limits)
        self.volumes = Volumes(
            disks=self.slots,
            settings=self.settings,
            store_id=STORE,
            take_volume_id=self._take,
            find=lambda number: load(self.txn, volume_key(number), Volume),
            sequence=lambda: 7,
            on_damage=lambda *what: self.damage.append(what),
            now_ns=lambda: NOW,
        )

    def _take(self):
        self.next_volume += 1
        return self.next_volume - 1

    def restart(self, seed=None):
        """Cut the power (if a seed is given) and start anew with what the disks and the index hold."""
        if seed is not None:
            for disk in self.disks:
                disk.cut_power(random.Random(f"{seed}/{disk.slot}"))
        self.start()

    def record(self, extents):
        self.volumes.record(self.txn, extents)

    def record_seals(self):
        for number, volume in self.volumes.sealed_now():
            save(self.txn, volume_key(number), volume)
        assert self.volumes.sealed_now() == []

    async def stored(self, data):
        """Write a stream and record it."""
        writer = self.volumes.writer()
        await writer.write(data)
        extents = await writer.finish()
        self.record(extents)
        return extents

    async def read(self, extents):
        return b"".join([await self.volumes.read(extent, 0, extent.length) for extent in extents])

    def recorded(self):
        return {int.from_bytes(rest, "big"): volume for rest, volume in scan_records(self.txn, VOLUME, Volume)}

    def repairs(self):
        return {(int.from_bytes(rest[:8], "big"), rest[8]) for rest, _ in scan_records(self.txn, REPAIR, Repair)}

    def shard(self, number, index):
        """The disk and path of a shard."""
        return self.disks[self.recorded()[number].slots[index]], path_of(number, index)

    async def repair(self):
        """Rebuild what is queued."""
        for number, shard in self.repairs():
            volume = self.recorded()[number]
            await self.volumes.rebuild(number, volume, shard, volume.slots[shard])
            self.txn.delete(repair_key(number, shard))

    def replace(self, number, index, content):
        """Put other bytes where a shard should be, durably."""
        disk, path = self.shard(number, index)
        disk.remove(path)
        file = disk.create(path, purpose="test")
        file.append([content], purpose="test")
        file.fsync(purpose="test")
        file.close()
        disk.fsync_directory(path.rpartition("/")[0], purpose="test")

    def open_files(self):
        return sum(disk.open_files for disk in self.disks)
