"""Shard files: written once, frame by frame; read through a bounded set of open files.

Room: stratum/store. May import: core.{errors, frames}, store.disk.

Everything here blocks and is called from threads. A shard rests at `volumes/<last two hex digits of the volume id>/
<16 hex digits>.<shard index>`; a rebuild under way has `.tmp-<8 hex digits>` behind that.

Invariants
    S1  A shard file is appended to by the one who created it, and by nobody after that.
    S2  A file is read only after its header has said that it is this shard of this volume of this store.
    S3  At most `limit` files are kept open for reading; one in use is closed by its last user.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from stratum.core.errors import Busy, StoreFull
from stratum.core.frames import (
    FRAME_HEADER_BYTES,
    HEADER_BYTES,
    BadShard,
    ShardHeader,
    decode_header,
    encode_header,
    is_good,
    shard_seed,
    width_in,
)
from stratum.store.disk import Buffer, Disk, DiskFile

PURPOSE = "shard"  # names the failpoints
FOLDER = "volumes"


def folder_of(volume: int) -> str:
    """Return the folder of a volume's shards on every disk."""
    return f"{FOLDER}/{volume & 0xFF:02x}"


def path_of(volume: int, shard: int) -> str:
    """Return the path of a shard on its disk."""
    return f"{folder_of(volume)}/{volume:016x}.{shard}"


def volume_in(name: str) -> int | None:
    """Return the volume id in a file name, None if it is not the name of a finished shard."""
    number, dot, shard = name.partition(".")
    return int(number, 16) if dot and len(number) == 16 and shard.isdigit() else None


class ShardWriter:
    """A shard file on its way; created with the first append."""

    def __init__(self, disk: Disk, path: str, header: ShardHeader) -> None:
        self.disk = disk
        self.path = path
        self.seed = shard_seed(header.store, header.volume, header.shard)
        self._header = header
        self._file: DiskFile | None = None
        self._named = False

    def append(self, buffers: Sequence[Buffer]) -> None:
        """Write behind what is there. Raises StoreFull, DiskFailed: then the shard is of no more use."""
        if self.disk.space().free < sum(map(len, buffers)):
            raise StoreFull(f"{self.disk.name}: what room is left is kept for the journal")
        if self._file is None:
            self._file = self.disk.create(self.path, purpose=PURPOSE)
            buffers = (encode_header(self._header), *buffers)
        self._file.append(buffers, purpose=PURPOSE)

    def sync(self) -> None:
        """Make everything appended durable, and after it the name. Raises StoreFull, DiskFailed."""
        file = self._file
        if file is None:
            raise BadShard(f"{self.path} was never written")
        file.fsync(purpose=PURPOSE)
        if not self._named:
            self.disk.fsync_directory(self.path.rpartition("/")[0], purpose=PURPOSE)
            self._named = True

    def publish(self, path: str) -> None:
        """Make durable what was written under a temporary name, then give it its name, durably."""
        self.sync()
        self.disk.rename(self.path, path, purpose=PURPOSE)
        self.disk.fsync_directory(path.rpartition("/")[0], purpose=PURPOSE)

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()


class OpenShard:
    """A shard file open for reading whose header has been checked (S2)."""

    __slots__ = ("disk", "doomed", "file", "header", "seed", "users")

    def __init__(self, disk: Disk, path: str, expected: ShardHeader) -> None:
        self.disk = disk
        self.file = disk.open(path, purpose=PURPOSE)
        self.users = 0
        self.doomed = False
        try:
            self.header = decode_header(self.file.read(0, HEADER_BYTES, purpose=PURPOSE))
            if not _same_shard(self.header, expected):
                raise BadShard("the header names another shard")
        except BaseException:
            self.file.close()
            raise
        self.seed = shard_seed(expected.store, expected.volume, expected.shard)


def _same_shard(found: ShardHeader, expected: ShardHeader) -> bool:
    return (found.store, found.volume, found.shard, found.k, found.m) == (
        expected.store,
        expected.volume,
        expected.shard,
        expected.k,
        expected.m,
    )


class OpenShards:
    """The shard files kept open for reading, least recently used out first (S3)."""

    def __init__(self, store_id: bytes, limit: int) -> None:
        self.store_id = store_id
        self._limit = limit
        self._lock = threading.Lock()
        self._open: OrderedDict[tuple[int, int], OpenShard] = OrderedDict()

    @contextmanager
    def use(self, disk: Disk, volume: int, shard: int, k: int, m: int) -> Iterator[OpenShard]:
        """Lend an open shard. Raises BadShard, DiskFailed (FileMissing), Busy."""
        key = volume, shard
        with self._lock:
            found = self._open.get(key)
            if found is not None and found.disk is disk:
                found.users += 1
                self._open.move_to_end(key)
            else:
                found = None
        if found is None:
            found = self._add(key, self._reopen(disk, ShardHeader(self.store_id, volume, shard, k, m, 0)))
        try:
            yield found
        finally:
            self._give_back(found)

    def forget(self, volume: int) -> None:
        """Close the files of a volume: they were replaced or removed."""
        with self._lock:
            for key in [key for key in self._open if key[0] == volume]:
                self._drop(key)

    def close(self) -> None:
        """Close all files."""
        with self._lock:
            for key in list(self._open):
                self._drop(key)

    def _reopen(self, disk: Disk, expected: ShardHeader) -> OpenShard:
        path = path_of(expected.volume, expected.shard)
        try:
            return OpenShard(disk, path, expected)
        except Busy:  # out of descriptors: ours can be spared first
            self.close()
            return OpenShard(disk, path, expected)

    def _add(self, key: tuple[int, int], shard: OpenShard) -> OpenShard:
        with self._lock:
            if key in self._open:
                self._drop(key)
            self._open[key] = shard
            shard.users = 1
            while len(self._open) > self._limit:
                self._drop(next(iter(self._open)))
        return shard

    def _drop(self, key: tuple[int, int]) -> None:
        shard = self._open.pop(key)
        shard.doomed = True
        if not shard.users:
            shard.file.close()

    def _give_back(self, shard: OpenShard) -> None:
        with self._lock:
            shard.users -= 1
            if shard.doomed and not shard.users:
                shard.file.close()


class FrameCursor:
    """The frames of an open shard in order, verified, read ahead in large pieces."""

    AHEAD = 1024**2

    def __init__(self, shard: OpenShard, end: int) -> None:
        self._shard = shard
        self._end = end
        self._start = 0
        self._ahead = memoryview(b"")

    def cell(self, position: int) -> memoryview:
        """Return the cell of the frame at `position`. Raises BadShard, DiskFailed."""
        width = width_in(self._bytes(position, FRAME_HEADER_BYTES))
        frame = self._bytes(position, FRAME_HEADER_BYTES + width)
        if not is_good(self._shard.seed, position, width, frame):
            raise BadShard(f"the frame at byte {position} fails its check")
        return frame[FRAME_HEADER_BYTES:]

    def _bytes(self, position: int, size: int) -> memoryview:
        at = position - self._start
        if not 0 <= at <= at + size <= len(self._ahead):
            if position + size > self._end:
                raise BadShard(f"a frame at byte {position} crosses the end")
            wanted = min(max(size, self.AHEAD), self._end - position)
            self._ahead = memoryview(self._shard.file.read(position, wanted, purpose=PURPOSE))
            self._start, at = position, 0
            if len(self._ahead) < size:
                raise BadShard(f"the file ends before byte {position + size}")
        return self._ahead[at : at + size]
