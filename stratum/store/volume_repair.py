"""Looking after shards that exist: verify, rebuild, remove, list.

Room: stratum/store. May import: core.*, store.{disk, disks, hop, shards}.

Invariants
    X1  A rebuilt shard is made only of verified cells, under a temporary name; it gets its name when it is durable.
    X2  A shard that is good where it belongs is never written again.
    X3  Memory is bounded by a few read-ahead pieces, and no hop lasts longer than `STEP` bytes take.
"""

import secrets
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial

import trio

from stratum.core.erasure import decode
from stratum.core.errors import DiskFailed, TooFewShards, Unavailable
from stratum.core.frames import FRAME_HEADER_BYTES, HEADER_BYTES, BadShard, ShardHeader, frame_header
from stratum.core.layout import Buffer
from stratum.core.records import Volume
from stratum.store.disk import Disk
from stratum.store.disks import Disks
from stratum.store.hop import Hop, Progress, is_in_service
from stratum.store.shards import (
    FOLDER,
    PURPOSE,
    FrameCursor,
    OpenShard,
    ShardWriter,
    folder_of,
    path_of,
    volume_in,
)

STEP = 4 * 1024**2  # bytes of a shard handled in one hop


class VolumeRepair:
    """Verifies, rebuilds and removes the shards of recorded volumes."""

    def __init__(self, disks: Disks, hop: Hop, store_id: bytes) -> None:
        self._disks = disks
        self._hop = hop
        self._store_id = store_id

    async def verify(self, number: int, volume: Volume) -> dict[int, str]:
        """Return what is wrong with which shards; those on disks out of service are not looked at."""
        bad: dict[int, str] = {}
        for shard, slot in enumerate(volume.slots):
            if slot in self._disks.in_service():
                disk = self._disks.get(slot)
                reason = await self._judge(number, volume, shard, disk)
                if reason and is_in_service(self._disks, disk):
                    bad[shard] = reason
        return bad

    async def rebuild(self, number: int, volume: Volume, shard: int, slot: int) -> bool:
        """Put a good shard on the disk in `slot`, its own or another (X1); False if one was there already (X2).

        Raises TooFewShards, DiskFailed, StoreFull.
        """
        disk = self._disks.get(slot)
        if not await self._judge(number, volume, shard, disk):
            return False
        temporary = f"{path_of(number, shard)}.tmp-{secrets.token_hex(4)}"
        await self._disks.run(slot, partial(_unlink_all, number=number, prefix=f"{number:016x}.{shard}.tmp-"))
        try:
            await self._write_again(number, volume, shard, disk, temporary)
        except BaseException as error:
            self._hop.blame(error)
            await self._drop(slot, temporary)
            raise
        return True

    async def trouble(self, number: int, volume: Volume, shard: int, slot: int) -> str:
        """What is wrong with a shard on the disk in `slot`; empty: nothing. Raises DiskFailed."""
        return await self._judge(number, volume, shard, self._disks.get(slot))

    async def remove_from(self, slot: int, number: int, *, durably: bool = False, unfinished: bool = False) -> None:
        """Delete a volume's files on a disk; `durably`: no power cut brings them back; `unfinished`: only those.

        Raises DiskFailed.
        """
        infix = ".tmp-" if unfinished else ""
        remove = partial(_unlink_all, number=number, prefix=f"{number:016x}.", infix=infix, durably=durably)
        await self._disks.run(slot, remove)

    async def shards_on(self, slot: int) -> list[int]:
        """Return the ids of the volumes that have a (finished) shard on a disk. Raises DiskFailed."""
        return await self._disks.run(slot, _volumes_on)

    async def _judge(self, number: int, volume: Volume, shard: int, disk: Disk) -> str:
        """Return what is wrong with a shard, or nothing."""
        try:
            with ExitStack() as stack:
                walk = _Walk(stack, self._header(number, volume, shard), volume.shard_bytes, disk)
                while await self._hop.run(walk.step):
                    pass
        except (BadShard, DiskFailed) as error:
            return str(error)
        return ""

    async def _write_again(self, number: int, volume: Volume, shard: int, disk: Disk, temporary: str) -> None:
        sources = {
            other: self._disks.get(slot)
            for other, slot in enumerate(volume.slots)
            if (other != shard or slot != disk.slot) and slot in self._disks.in_service()
        }
        with ExitStack() as stack:
            headers = {other: self._header(number, volume, other) for other in sources}
            writer = ShardWriter(disk, temporary, self._header(number, volume, shard))
            stack.callback(writer.close)
            copy = _Rebuild(stack, volume, shard, sources, headers, writer)
            while await self._hop.run(copy.step):
                pass
            await self._disks.run(disk.slot, lambda _: writer.publish(path_of(number, shard)))

    async def _drop(self, slot: int, path: str) -> None:
        with trio.CancelScope(shield=True):
            try:
                await self._disks.run(slot, lambda disk: disk.unlink(path, purpose=PURPOSE))
            except Unavailable:
                return  # the next rebuild of this shard clears it away

    def _header(self, number: int, volume: Volume, shard: int) -> ShardHeader:
        return ShardHeader(self._store_id, number, shard, volume.k, volume.m, 0)


class _Walk:
    """Checks the frames of one shard, a step at a time."""

    def __init__(self, stack: ExitStack, header: ShardHeader, end: int, disk: Disk) -> None:
        self._stack = stack
        self._header = header
        self._end = end
        self._disk = disk
        self._cursor: FrameCursor | None = None
        self._position = HEADER_BYTES

    def step(self, progress: Progress) -> bool:
        """Check the next few MiB; False at the end. Raises BadShard, DiskFailed."""
        progress.disk = self._disk
        if self._cursor is None:
            self._cursor = FrameCursor(_open(self._stack, self._disk, self._header), self._end)
        stop = min(self._position + STEP, self._end)
        while self._position < stop:
            self._position += FRAME_HEADER_BYTES + len(self._cursor.cell(self._position))
        return self._position < self._end


class _Rebuild:
    """Decodes one shard from the others, frame by frame."""

    def __init__(
        self,
        stack: ExitStack,
        volume: Volume,
        shard: int,
        sources: Mapping[int, Disk],
        headers: Mapping[int, ShardHeader],
        writer: ShardWriter,
    ) -> None:
        self._stack = stack
        self._volume = volume
        self._shard = shard
        self._sources = sources
        self._headers = headers
        self._writer = writer
        self._cursors: dict[int, FrameCursor] = {}
        self._position = 0

    def step(self, progress: Progress) -> bool:
        """Write the next few MiB; False at the end. Raises TooFewShards, DiskFailed, StoreFull."""
        if not self._position:
            self._open_sources(progress)
            self._position = HEADER_BYTES
        stop = min(self._position + STEP, self._volume.shard_bytes)
        frames: list[Buffer] = []
        while self._position < stop:
            cell = self._cell(progress)
            frames += (frame_header(self._writer.seed, self._position, cell), cell)
            self._position += FRAME_HEADER_BYTES + len(cell)
        progress.disk = self._writer.disk
        self._writer.append(frames)
        return self._position < self._volume.shard_bytes

    def _cell(self, progress: Progress) -> Buffer:
        """The next cell: of the shard itself, where it is to rest elsewhere and is good; else from k others."""
        cursor = self._cursors.get(self._shard)
        if cursor is not None:
            progress.disk = self._sources[self._shard]
            try:
                return cursor.cell(self._position)
            except (BadShard, DiskFailed):
                del self._cursors[self._shard]
        return decode(self._volume.k, self._volume.m, self._good_cells(progress), [self._shard])[0]

    def _open_sources(self, progress: Progress) -> None:
        for shard, disk in self._sources.items():
            progress.disk = disk
            try:
                source = _open(self._stack, disk, self._headers[shard])
            except (BadShard, DiskFailed):
                continue  # whoever looks at that shard reports it; here it is just not a source
            self._cursors[shard] = FrameCursor(source, self._volume.shard_bytes)

    def _good_cells(self, progress: Progress) -> dict[int, Buffer]:
        good: dict[int, Buffer] = {}
        for shard, cursor in self._cursors.items():
            progress.disk = self._sources[shard]
            try:
                good[shard] = cursor.cell(self._position)
            except (BadShard, DiskFailed):
                continue
            if len(good) == self._volume.k:
                return good
        number = self._headers[shard].volume if self._cursors else 0
        raise TooFewShards(f"volume {number:016x}: {len(good)} of {self._volume.k} shards needed are good")


def _open(stack: ExitStack, disk: Disk, header: ShardHeader) -> OpenShard:
    shard = OpenShard(disk, path_of(header.volume, header.shard), header)
    stack.callback(shard.file.close)
    return shard


def _unlink_all(disk: Disk, *, number: int, prefix: str, infix: str = "", durably: bool = False) -> None:
    folder = folder_of(number)
    for name in disk.list(folder, purpose=PURPOSE):
        if name.startswith(prefix) and infix in name:
            disk.unlink(f"{folder}/{name}", purpose=PURPOSE)
    if durably and disk.exists(folder):  # also where nothing was left: it may have been unlinked a moment before a kill
        disk.fsync_directory(folder, purpose=PURPOSE)


def _volumes_on(disk: Disk) -> list[int]:
    found: set[int] = set()
    for folder in disk.list(FOLDER, purpose=PURPOSE):
        names = disk.list(f"{FOLDER}/{folder}", purpose=PURPOSE)
        found.update(number for name in names if (number := volume_in(name)) is not None)
    return sorted(found)
