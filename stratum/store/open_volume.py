"""A volume while it is written: its shard files, which of them are still good, and how much of it is durable.

Room: stratum/store. May import: core.*, store.{disks, hop, shards}.

Invariants
    O1  An append goes to every good shard in one thread hop: split, encode, checksum, write.
    O2  A shard whose disk fails, is full, or is too slow for the others, drops out for good. Below the quorum (one more
        than can rebuild the bytes) the volume is broken: nothing more is acknowledged from it.
    O3  `durable` grows only after a quorum has fsynced file and name; what lies behind it was never acknowledged.
"""

from collections.abc import Sequence

import trio

from stratum.core.config import Limits
from stratum.core.erasure import encode
from stratum.core.errors import DiskFailed, StoreFull, Unavailable
from stratum.core.frames import HEADER_BYTES, ShardHeader, frame_header
from stratum.core.layout import Buffer, Stripes, cells_of
from stratum.core.placement import quorum
from stratum.core.records import Volume
from stratum.store.disks import Disks
from stratum.store.hop import Hop, NoAnswer, Progress, is_in_service
from stratum.store.shards import ShardWriter, path_of


class VolumeBroken(Unavailable):
    """Too few shards of a volume could take the bytes; they must go into another volume.

    `full`: slots that had no room.
    """

    def __init__(self, reason: str, full: frozenset[int]) -> None:
        super().__init__(reason)
        self.full = full


class OpenVolume:
    """One volume on its way. Only one task at a time may append or sync."""

    def __init__(
        self,
        number: int,
        code: tuple[int, int],
        slots: tuple[int, ...],
        header: tuple[bytes, int],
        disks: Disks,
        hop: Hop,
        limits: Limits,
        tier: str = "",
    ) -> None:
        """`code`: k and m; `header`: store id and sequence for the shard headers."""
        self.number = number
        self.k, self.m = code
        self.tier = tier
        self.slots = slots
        self.lost: dict[int, str] = {}  # shard -> why it dropped out
        self.bytes_in = 0  # data bytes appended, padding included
        self.length = HEADER_BYTES  # of each shard file
        self.durable = HEADER_BYTES  # of it, on a quorum of disks (O3)
        self.sealed = False
        self._broken = ""
        self._full: set[int] = set()
        self._disks = disks
        self._hop = hop
        self._limits = limits
        store, sequence = header
        self._shards = {
            shard: ShardWriter(
                disks.get(slot),
                path_of(number, shard),
                ShardHeader(store, number, shard, self.k, self.m, sequence),
            )
            for shard, slot in enumerate(slots)
        }

    @property
    def used(self) -> bool:
        """Was anything in it ever durable?"""
        return self.durable > HEADER_BYTES

    def record(self) -> Volume:
        """Return the volume's record as of now."""
        return Volume(self.k, self.m, self.slots, self.durable, self.sealed, self.tier)

    async def append(self, runs: Sequence[Stripes]) -> int:
        """Write stripes to all good shards; return the position of the first. Raises VolumeBroken (O2)."""
        self._check()
        position = self.length
        self.length += sum(run.shard_bytes() for run in runs)
        self.bytes_in += sum(run.height * run.width * self.k for run in runs)
        shards = dict(self._shards)
        self._broken = "an append did not end"  # unless it does: a thread may still be at the files
        try:
            failed = await self._hop.run(lambda progress: self._write(progress, shards, runs, position))
        except NoAnswer as error:
            self._broken = str(error)
            raise self._is_broken() from error
        self._broken = ""
        for shard, reason in failed.items():
            self._lose(shard, reason)
        self._check()
        return position

    async def sync(self) -> None:
        """Return when everything appended is durable on a quorum. Raises VolumeBroken (O2)."""
        self._check()
        goal, need = self.length, quorum(self.k, self.m)
        done: set[int] = set()

        async def sync_one(shard: int, writer: ShardWriter) -> None:
            try:
                await self._disks.run(writer.disk.slot, lambda _: writer.sync())
            except Unavailable as error:
                self._lose(shard, error)
                return
            except ValueError:
                if not self.sealed:  # else it was abandoned meanwhile, and its files closed: nothing is promised
                    raise
                return
            done.add(shard)
            if len(done) == need:
                nursery.cancel_scope.deadline = trio.current_time() + self._limits.straggler_grace

        async with trio.open_nursery() as nursery:
            for shard, writer in self._shards.items():
                nursery.start_soon(sync_one, shard, writer)
        for shard in set(self._shards) - done:
            self._lose(shard, DiskFailed("not durable in time"))
        self._check()  # an fsync on a disk that was replaced meanwhile does not count
        self.durable = goal

    def seal(self) -> None:
        """Nothing will be appended any more; let go of the files. What is not durable by now never will be."""
        self.sealed = True
        for writer in self._shards.values():
            writer.close()
        self._shards.clear()

    def _write(
        self, progress: Progress, shards: dict[int, ShardWriter], runs: Sequence[Stripes], position: int
    ) -> dict[int, StoreFull | DiskFailed]:
        frames = self._frames(shards, runs, position)
        failed: dict[int, StoreFull | DiskFailed] = {}
        for shard, writer in shards.items():
            progress.disk = writer.disk
            try:
                writer.append(frames[shard])
            except (StoreFull, DiskFailed) as error:
                failed[shard] = error
        return failed

    def _frames(
        self, shards: dict[int, ShardWriter], runs: Sequence[Stripes], position: int
    ) -> dict[int, list[Buffer]]:
        frames: dict[int, list[Buffer]] = {shard: [] for shard in shards}
        for run in runs:
            joined = memoryview(run.parts[0] if len(run.parts) == 1 else b"".join(run.parts))
            for index in range(run.height):
                cells = cells_of(joined, self.k, run.width, index)
                cells += encode(self.k, self.m, cells)
                for shard, writer in shards.items():
                    frames[shard] += (frame_header(writer.seed, position, cells[shard]), cells[shard])
                position += run.shard_bytes() // run.height
        return frames

    def _lose(self, shard: int, error: Unavailable) -> None:
        writer = self._shards.pop(shard, None)
        if writer is None:
            return
        writer.close()
        self.lost[shard] = str(error)
        if isinstance(error, StoreFull):
            self._full.add(writer.disk.slot)
        self._hop.blame(error)

    def _check(self) -> None:
        for shard, writer in list(self._shards.items()):
            if not is_in_service(self._disks, writer.disk):
                self._lose(shard, DiskFailed("its disk went out of service"))
        if self._broken or self.sealed or len(self._shards) < quorum(self.k, self.m):
            raise self._is_broken()

    def _is_broken(self) -> VolumeBroken:
        reason = self._broken or "; ".join(self.lost.values()) or "sealed"
        return VolumeBroken(f"volume {self.number:016x}: {reason}", frozenset(self._full))
