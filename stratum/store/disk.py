"""The one module that makes disk calls for data: a disk is a folder, and a file on it is append-only.

Room: stratum/store. May import: core.{config, errors}, store.failpoints.

Everything here blocks and is called from threads. Paths are relative to the disk's root ("") and use `/`.

Invariants
    D1  A disk is the folder that was opened, not whatever stands at its path later: every call goes through
        the descriptor of the root. A folder that was removed, replaced or unmounted is never written to by
        accident, and never made again.
    D2  A failed fsync is never repeated: the file refuses every later append and fsync (the kernel may have
        dropped the bytes and would report success). Nor does an fsync succeed for a file that lost its name.
    D3  A descriptor is closed only when the last call on it has returned, so that a call abandoned in a
        thread never reaches another file that got the same number. (CPython closes with the last reference.)
    D4  A file is made only in a folder whose own name this process has seen synced, all the way up: a folder that
        is merely there may have been made a moment before a crash.
    D5  Every call stands between two failpoints; an OSError becomes a StratumError in one place, `failure`.
"""

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from stratum.core.config import DISK_RESERVE_BYTES, DISK_RESERVE_PART
from stratum.core.errors import Busy, DiskFailed, StoreFull, StratumError
from stratum.store import failpoints

Buffer = bytes | memoryview | bytearray

IOV_MAX = 1024  # buffers that Linux takes in one call (UIO_MAXIOV)
LARGE_BYTES = 256 * 1024  # an append of more is followed by a look at the room that it left
FOLDER_MODE, FILE_MODE = 0o700, 0o600

_CREATE = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Space(NamedTuple):
    """Room on a disk, in bytes, without the reserve; `free` is what shards may still use."""

    total: int
    free: int


class CallFailed(DiskFailed):
    """A call on `disk` failed: that very disk (not a later one in its slot) must leave service."""

    def __init__(self, disk: "Disk", message: str) -> None:
        super().__init__(message)
        self.disk = disk


class FileMissing(DiskFailed):
    """No file of that path on a disk that otherwise answers: the file is lost, the disk stays in service."""


class FileExists(DiskFailed):
    """A file of that path is there already; the disk stays in service."""


class DiskFile(Protocol):
    """An open file. One caller appends at a time; any number may read meanwhile."""

    @property
    def size(self) -> int:
        """Bytes in the file as this handle knows it: there when it was opened, plus appended through it."""
        ...

    def append(self, buffers: Sequence[Buffer], *, purpose: str) -> None:
        """Write all buffers at the end, in order. After an error `size` is as before and the next append
        overwrites what a part of this one left. Raises StoreFull, DiskFailed."""
        ...

    def lay_out(self, start: int, stop: int, *, purpose: str) -> None:
        """Write zeros to [start, stop), at or behind the end, which stays where it is: what is appended over them does
        not make the file grow, and is durable for half the work. Raises StoreFull, DiskFailed."""
        ...

    def read(self, offset: int, size: int, *, purpose: str) -> bytes:
        """Return `size` bytes from `offset` on, fewer only at the end of the file. Raises DiskFailed."""
        ...

    def read_now(self, offset: int, size: int, *, purpose: str) -> bytes | None:
        """As `read` if all the bytes are in memory, else None: never waits for the disk, so the event loop may
        call it. None, too, where the file system cannot tell."""
        ...

    def fsync(self, *, purpose: str) -> None:
        """Make all appended bytes durable (not the file's name: see `Disk.fsync_directory`). Raises StoreFull, and
        DiskFailed, also when the file has been unlinked."""
        ...

    def close(self) -> None:
        """Let go of the file. Calls under way in other threads end normally. Closing again does nothing."""
        ...


class Disk(Protocol):
    """A place that keeps files: a folder, or memory in tests. Every call may raise DiskFailed and Busy."""

    slot: int
    name: str  # its path, for messages
    last_space: Space  # as of the last `space`, `lay_out` or large append; no total: never yet

    @property
    def folder_id(self) -> tuple[int, int]:
        """Two disks are the same folder exactly if these are equal (device and inode)."""
        ...

    @property
    def own_filesystem(self) -> bool:
        """Whether the root is the root of a file system of its own (a mount point)."""
        ...

    def create(self, path: str, *, purpose: str) -> DiskFile:
        """Make an empty file, and durably the folders above it. Raises FileExists, StoreFull."""
        ...

    def open(self, path: str, *, purpose: str) -> DiskFile:
        """Open a file for reading. Raises FileMissing."""
        ...

    def rename(self, old: str, new: str, *, purpose: str) -> None:
        """Rename, atomically replacing `new`; durable after fsync_directory. Raises FileMissing."""
        ...

    def unlink(self, path: str, *, purpose: str) -> None:
        """Remove a file; that it is missing is no error. Durable after fsync_directory."""
        ...

    def fsync_directory(self, path: str, *, purpose: str) -> None:
        """Make the names in the folder `path` durable. Raises FileMissing."""
        ...

    def list(self, path: str, *, purpose: str) -> list[str]:
        """The names in the folder `path`, sorted; none if it does not exist."""
        ...

    def exists(self, path: str) -> bool:
        """Whether there is a file or folder of that path."""
        ...

    def size(self, path: str) -> int | None:
        """Bytes in the file, None if it is missing."""
        ...

    def space(self) -> Space:
        """Room on the file system, less what is reserved for what is no shard."""
        ...


def failure(disk: Disk, error: OSError, call: str) -> StratumError:
    """The error of our tree for `error`, which `call` (words for the message) met on `disk`."""
    message = f"{disk.name}: {call}: {error.strerror or error}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreFull(message)
    if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
        return Busy(message)
    if error.errno == errno.ENOENT:
        return FileMissing(message)
    if error.errno == errno.EEXIST:
        return FileExists(message)
    return CallFailed(disk, message)


def make_folder(path: Path) -> None:
    """Make the folder `path` and those above it durably; nothing happens if it exists. Raises OSError."""
    missing = []
    while not path.exists():
        missing.append(path)
        path = path.parent
    for folder in reversed(missing):
        folder.mkdir(mode=FOLDER_MODE, exist_ok=True)
        with _opened(folder.parent) as above:
            os.fsync(above.fd)


class _Handle:
    """A descriptor that is closed with the last reference to it (D3)."""

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __enter__(self) -> "_Handle":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        fd, self.fd = self.fd, -1
        if fd >= 0:
            try:
                os.close(fd)
            except OSError:  # says nothing about durable bytes: only fsync vouches for those
                return

    __del__ = close


def _opened(path: Path | str, root: _Handle | None = None) -> _Handle:
    return _Handle(os.open(path or ".", _FOLDER, dir_fd=root.fd if root else None))


class FolderFile:
    """A DiskFile of the real file system."""

    __slots__ = ("_broken", "_disk", "_handle", "_path", "_size")

    def __init__(self, disk: "FolderDisk", path: str, handle: _Handle, size: int) -> None:
        self._disk = disk
        self._path = path
        self._handle: _Handle | None = handle
        self._size = size
        self._broken = False

    @property
    def size(self) -> int:
        """See DiskFile."""
        return self._size

    def append(self, buffers: Sequence[Buffer], *, purpose: str) -> None:
        """See DiskFile."""
        handle = self._open_handle()
        try:
            failpoints.before(purpose, "append")
            self._refuse_if_broken()
            total = sum(map(len, buffers))
            written = os.pwritev(handle.fd, buffers, self._size) if 0 < len(buffers) <= IOV_MAX else 0
            if written != total:
                _write_rest(handle.fd, buffers, self._size, written)
            self._size += total
            if total > LARGE_BYTES:
                self._disk.space()
            failpoints.after(purpose, "append")
        except OSError as error:
            raise failure(self._disk, error, f"{purpose}.append {self._path}") from error

    def lay_out(self, start: int, stop: int, *, purpose: str) -> None:
        """See DiskFile."""
        handle = self._open_handle()
        try:
            failpoints.before(purpose, "lay_out")
            self._refuse_if_broken()
            _write_rest(handle.fd, (bytes(stop - start),), start, 0)
            failpoints.after(purpose, "lay_out")
        except OSError as error:
            raise failure(self._disk, error, f"{purpose}.lay_out {self._path}") from error
        finally:
            self._disk.space()

    def read(self, offset: int, size: int, *, purpose: str) -> bytes:
        """See DiskFile."""
        handle = self._open_handle()
        try:
            failpoints.before(purpose, "read")
            found = os.pread(handle.fd, size, offset)
            if len(found) < size:  # the end of the file, or the kernel gave less than it could
                found = _read_rest(handle.fd, size, offset, found)
            failpoints.after(purpose, "read")
        except OSError as error:
            raise failure(self._disk, error, f"{purpose}.read {self._path}") from error
        return found

    def read_now(self, offset: int, size: int, *, purpose: str) -> bytes | None:
        """See DiskFile."""
        handle = self._open_handle()
        found = bytearray(size)
        try:
            failpoints.before(purpose, "read_now")
            have = os.preadv(handle.fd, [found], offset, os.RWF_NOWAIT)
            failpoints.after(purpose, "read_now")
        except OSError:  # not in memory, or not supported; a bad disk shows in the `read` that follows
            return None
        return bytes(found) if have == size else None

    def fsync(self, *, purpose: str) -> None:
        """See DiskFile."""
        handle = self._open_handle()
        try:
            failpoints.before(purpose, "fsync")
            self._refuse_if_broken()
            os.fdatasync(handle.fd)  # with the size, if that has changed; not with the time of the write
            if os.fstat(handle.fd).st_nlink == 0:
                raise OSError(errno.ESTALE, "the file has been removed")
            failpoints.after(purpose, "fsync")
        except OSError as error:
            self._broken = True
            raise failure(self._disk, error, f"{purpose}.fsync {self._path}") from error

    def close(self) -> None:
        """See DiskFile."""
        self._handle = None

    def _open_handle(self) -> _Handle:
        handle = self._handle
        if handle is None:
            raise ValueError(f"{self._path} is closed")
        return handle

    def _refuse_if_broken(self) -> None:
        if self._broken:
            raise OSError(errno.EIO, "an earlier fsync of this file failed")


def _write_rest(fd: int, buffers: Sequence[Buffer], at: int, written: int) -> None:
    """Write what is left of `buffers`, of which the first `written` bytes are at offset `at` already."""
    at += written
    rest = [memoryview(buffer) for buffer in buffers]
    while rest:
        while rest and written >= len(rest[0]):
            written -= len(rest.pop(0))
        if rest:
            rest[0] = rest[0][written:]
            written = os.pwritev(fd, rest[:IOV_MAX], at)
            if written == 0:
                raise OSError(errno.EIO, "a write made no progress")
            at += written


def _read_rest(fd: int, size: int, offset: int, found: bytes) -> bytes:
    pieces = [found]
    have = len(found)
    while have < size and pieces[-1]:
        pieces.append(os.pread(fd, size - have, offset + have))
        have += len(pieces[-1])
    return b"".join(pieces) if len(pieces) > 2 else found


class FolderDisk:
    """A Disk that is a folder. Making one raises FileMissing if there is none, DiskFailed and Busy as any call."""

    def __init__(self, slot: int, root: Path) -> None:
        self.slot = slot
        self.name = str(root)
        self.last_space = Space(0, 0)
        self._durable_folders = {""}  # D4
        try:
            self._root = _opened(root)
        except OSError as error:
            raise failure(self, error, "open") from error

    def __repr__(self) -> str:
        return f"FolderDisk({self.slot}, {self.name!r})"

    @property
    def folder_id(self) -> tuple[int, int]:
        """See Disk."""
        found = os.fstat(self._root.fd)
        return found.st_dev, found.st_ino

    @property
    def own_filesystem(self) -> bool:
        """See Disk."""
        try:
            above = os.stat("..", dir_fd=self._root.fd)
        except OSError as error:
            raise self._failure(error, "stat") from error
        return above.st_dev != self.folder_id[0]

    def create(self, path: str, *, purpose: str) -> FolderFile:
        """See Disk."""
        try:
            failpoints.before(purpose, "create")
            if path.rpartition("/")[0] not in self._durable_folders:
                self._make_folders_above(path, purpose)
            try:
                fd = os.open(path, _CREATE, FILE_MODE, dir_fd=self._root.fd)
            except FileNotFoundError:  # the folder has been removed behind our back
                self._make_folders_above(path, purpose)
                fd = os.open(path, _CREATE, FILE_MODE, dir_fd=self._root.fd)
            handle = _Handle(fd)
            failpoints.after(purpose, "create")
        except OSError as error:
            raise self._failure(error, f"{purpose}.create {path}") from error
        return FolderFile(self, path, handle, 0)

    def open(self, path: str, *, purpose: str) -> FolderFile:
        """See Disk."""
        try:
            failpoints.before(purpose, "open")
            handle = _Handle(os.open(path, _READ, dir_fd=self._root.fd))
            size = os.fstat(handle.fd).st_size
            failpoints.after(purpose, "open")
        except OSError as error:
            raise self._failure(error, f"{purpose}.open {path}") from error
        return FolderFile(self, path, handle, size)

    def rename(self, old: str, new: str, *, purpose: str) -> None:
        """See Disk."""
        root = self._root.fd
        try:
            failpoints.before(purpose, "rename")
            os.rename(old, new, src_dir_fd=root, dst_dir_fd=root)
            failpoints.after(purpose, "rename")
        except OSError as error:
            raise self._failure(error, f"{purpose}.rename {old} to {new}") from error

    def unlink(self, path: str, *, purpose: str) -> None:
        """See Disk."""
        try:
            failpoints.before(purpose, "unlink")
            try:
                os.unlink(path, dir_fd=self._root.fd)
            except FileNotFoundError:
                self._refuse_if_removed()
            failpoints.after(purpose, "unlink")
        except OSError as error:
            raise self._failure(error, f"{purpose}.unlink {path}") from error

    def fsync_directory(self, path: str, *, purpose: str) -> None:
        """See Disk."""
        try:
            failpoints.before(purpose, "fsync_directory")
            with _opened(path, self._root) as folder:
                os.fsync(folder.fd)
                if os.fstat(folder.fd).st_nlink == 0:
                    raise OSError(errno.ESTALE, "the folder has been removed")
            failpoints.after(purpose, "fsync_directory")
        except OSError as error:
            raise self._failure(error, f"{purpose}.fsync_directory {path}") from error

    def list(self, path: str, *, purpose: str) -> list[str]:
        """See Disk."""
        try:
            failpoints.before(purpose, "list")
            try:
                with _opened(path, self._root) as folder:
                    names = sorted(os.listdir(folder.fd))
            except FileNotFoundError:
                names = []
            self._refuse_if_removed()
            failpoints.after(purpose, "list")
        except OSError as error:
            raise self._failure(error, f"{purpose}.list {path}") from error
        return names

    def exists(self, path: str) -> bool:
        """See Disk."""
        return self._stat(path, "exists") is not None

    def size(self, path: str) -> int | None:
        """See Disk."""
        found = self._stat(path, "size")
        return None if found is None else found.st_size

    def space(self) -> Space:
        """See Disk."""
        try:
            failpoints.before("disk", "space")
            found = os.fstatvfs(self._root.fd)
            failpoints.after("disk", "space")
        except OSError as error:
            raise self._failure(error, "space") from error
        total, free = found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize
        reserve = min(DISK_RESERVE_BYTES, total // DISK_RESERVE_PART)
        self.last_space = Space(total - reserve, max(free - reserve, 0))
        return self.last_space

    def _stat(self, path: str, op: str) -> os.stat_result | None:
        found = None
        try:
            failpoints.before("disk", op)
            try:
                found = os.stat(path or ".", dir_fd=self._root.fd, follow_symlinks=False)
            except FileNotFoundError:
                self._refuse_if_removed()
            failpoints.after("disk", op)
        except OSError as error:
            raise self._failure(error, f"{op} {path}") from error
        return found

    def _make_folders_above(self, path: str, purpose: str) -> None:
        above = ""
        for part in path.split("/")[:-1]:
            folder = f"{above}/{part}" if above else part
            try:
                failpoints.before(purpose, "mkdir")
                os.mkdir(folder, FOLDER_MODE, dir_fd=self._root.fd)
            except FileExistsError:
                pass  # perhaps made a moment ago, so its name is synced here as well
            failpoints.after(purpose, "mkdir")
            self.fsync_directory(above, purpose=purpose)
            self._durable_folders.add(folder)
            above = folder

    def _refuse_if_removed(self) -> None:
        """ "Not there" says nothing about a file when the disk's own folder is gone (D1)."""
        if os.fstat(self._root.fd).st_nlink == 0:
            raise OSError(errno.ESTALE, "the folder of the disk has been removed")

    def _failure(self, error: OSError, call: str) -> StratumError:
        if error.errno == errno.ENOENT and os.fstat(self._root.fd).st_nlink == 0:
            error = OSError(errno.ESTALE, "the folder of the disk has been removed")
        return failure(self, error, call)
