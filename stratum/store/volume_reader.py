"""Reading: every touched cell verified, and what is bad or missing rebuilt from other shards.

Room: stratum/store. May import: core.*, store.{disk, disks, held_reader, hop, shards}.

Invariants
    V1  A byte leaves only from a cell that passed its check at its place, or was decoded from k cells that did (law 5).
    V2  A read is one thread hop, whatever it touches, and reads nothing that it does not need.
    V3  A bad or missing shard on a disk in service is reported once until it is rebuilt; a shard known to be lost,
        or on a disk out of service, is not damage.
"""

from collections.abc import Callable, Collection, Mapping

from stratum.core.config import Limits
from stratum.core.erasure import decode
from stratum.core.errors import DiskFailed, TooFewShards, Unavailable
from stratum.core.frames import FRAME_HEADER_BYTES, BadShard, is_good
from stratum.core.layout import Buffer, Touched, columns, position, touched
from stratum.core.records import Extent, Volume
from stratum.store.disk import Disk
from stratum.store.disks import Disks
from stratum.store.held_reader import HeldReader
from stratum.store.hop import Hop, NoAnswer, Progress
from stratum.store.shards import PURPOSE, OpenShards

Located = tuple[Volume, Collection[int]]
"""A volume, and which of its shards are known to be lost."""

REPORTS = 100_000  # damaged shards remembered, so that each is reported once


class VolumeReader:
    """Reads extents."""

    def __init__(
        self,
        disks: Disks,
        limits: Limits,
        hop: Hop,
        shards: OpenShards,
        locate: Callable[[int], Located | None],
        on_damage: Callable[[int, int, str], None],
        held: HeldReader,
    ) -> None:
        self._held = held
        self._disks = disks
        self._limits = limits
        self._hop = hop
        self._shards = shards
        self._locate = locate
        self._on_damage = on_damage
        self._reported: set[tuple[int, int]] = set()

    async def read(self, extent: Extent, start: int, stop: int) -> bytes:
        """Return bytes [start, stop) of the extent. Raises TooFewShards, Busy; of a held volume BackendDown's kin."""
        if start >= stop:
            return b""
        found = self._located(extent.volume)
        while True:
            try:
                if found[0].held is not None:
                    return await self._held.read(extent, found[0], start, stop)
                return await self._read_shards(extent, found, start, stop)
            except Unavailable:
                now = self._located(extent.volume)
                if now[0] == found[0]:
                    raise
                found = now  # it was moved meanwhile

    def _located(self, number: int) -> Located:
        found = self._locate(number)
        if found is None:
            raise TooFewShards(f"volume {number:016x} is unknown")
        return found

    async def _read_shards(self, extent: Extent, found: Located, start: int, stop: int) -> bytes:
        while True:
            job = _Reading(self._shards, extent, found[0], self._sources(*found))
            try:
                return await self._hop.run(lambda progress, job=job: job.run(progress, start, stop))  # type: ignore[misc]
            except NoAnswer:
                continue  # without the silent disk, which is out of service now
            finally:
                self._report(extent.volume, job.damage)

    def forget(self, volume: int, shard: int) -> None:
        """A shard was rebuilt: should it be bad again, that is news."""
        self._reported.discard((volume, shard))

    def _sources(self, volume: Volume, lost: Collection[int]) -> dict[int, Disk]:
        serving = set(self._disks.in_service())
        return {
            shard: self._disks.get(slot)
            for shard, slot in enumerate(volume.slots)
            if slot in serving and shard not in lost
        }

    def _report(self, volume: int, damage: Mapping[int, str]) -> None:
        for shard, reason in damage.items():
            if (volume, shard) not in self._reported:
                if len(self._reported) >= REPORTS:
                    self._reported.clear()
                self._reported.add((volume, shard))
                self._on_damage(volume, shard, reason)


class _Reading:
    """One read, in its thread."""

    def __init__(self, shards: OpenShards, extent: Extent, volume: Volume, sources: Mapping[int, Disk]) -> None:
        self.damage: dict[int, str] = {}
        self._shards = shards
        self._extent = extent
        self._volume = volume
        self._sources = sources
        self._cells: dict[tuple[int, int], Buffer] = {}  # (stripe, shard) -> verified or decoded cell

    def run(self, progress: Progress, start: int, stop: int) -> bytes:
        """Return the bytes. Raises TooFewShards, Busy."""
        k = self._volume.k
        cells = touched(self._extent, start, stop)
        for shard, first, last in columns(cells, k):
            self._load(progress, shard, first, last)
        if len(self._cells) <= cells.last - cells.first:
            self._rebuild(progress, cells)
        end = cells.start + stop - start
        if cells.first == cells.last:
            return bytes(self._cells[divmod(cells.first, k)][cells.start : end])
        found = [self._cells[divmod(cell, k)] for cell in range(cells.first, cells.last + 1)]
        found[0] = found[0][cells.start :]
        found[-1] = found[-1][: end - (cells.last - cells.first) * self._extent.width]
        return b"".join(found)

    def _load(self, progress: Progress, shard: int, first: int, last: int) -> None:
        """Take the good cells of stripes [first, last] of a shard; note damage."""
        disk = self._sources.get(shard)
        if disk is None:
            return
        progress.disk = disk
        extent, volume = self._extent, self._volume
        width = extent.width
        frame_bytes = FRAME_HEADER_BYTES + width
        at = position(extent, first)
        try:
            with self._shards.use(disk, extent.volume, shard, volume.k, volume.m) as source:
                raw = memoryview(source.file.read(at, frame_bytes * (last - first + 1), purpose=PURPOSE))
                seed = source.seed
        except (BadShard, DiskFailed) as error:
            self.damage.setdefault(shard, str(error))
            return
        for stripe in range(first, last + 1):
            low = (stripe - first) * frame_bytes
            frame = raw[low : low + frame_bytes]
            if is_good(seed, at + low, width, frame):
                self._cells[stripe, shard] = frame[FRAME_HEADER_BYTES:]
            else:
                self.damage.setdefault(shard, f"the frame at byte {at + low} fails its check")

    def _rebuild(self, progress: Progress, cells: Touched) -> None:
        """Decode the touched cells that are not there, stripe by stripe."""
        k, m = self._volume.k, self._volume.m
        missing: dict[int, list[int]] = {}
        for cell in range(cells.first, cells.last + 1):
            if divmod(cell, k) not in self._cells:
                missing.setdefault(cell // k, []).append(cell % k)
        for shard in range(m):
            short = [stripe for stripe in missing if len(self._good(stripe)) < k]
            if not short:
                break
            wanted = [stripe for stripe in short if (stripe, shard) not in self._cells]
            if wanted:
                self._load(progress, shard, wanted[0], wanted[-1])
        for stripe, shards in missing.items():
            good = self._good(stripe)
            if len(good) < k:
                raise TooFewShards(f"volume {self._extent.volume:016x}: {len(good)} of {k} shards needed are good")
            self._cells.update(
                ((stripe, shard), cell) for shard, cell in zip(shards, decode(k, m, good, shards), strict=True)
            )

    def _good(self, stripe: int) -> dict[int, Buffer]:
        return {shard: self._cells[stripe, shard] for shard in range(self._volume.m) if (stripe, shard) in self._cells}
