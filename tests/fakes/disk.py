"""A disk in memory that forgets what was not synced, as real ones do when the power goes.

Room: tests. May import: stratum.core.errors, stratum.store.disk, stratum.store.failpoints.

For every file there are two images, the one that calls see and the one that would survive a power cut; for
every folder likewise two sets of names. `cut_power` decides, for each unsynced block of 4 KiB and each
unsynced change of a name, whether it made it. A rename is one change: it survives whole or not at all. Changes
that survive need not be the oldest ones, except that the last word on a name wins.
"""

import errno
import os
import random
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch

from stratum.core.errors import StratumError
from stratum.store import failpoints
from stratum.store.disk import Buffer, Space, failure

BLOCK = 4096


class Node:
    """A file: `seen` is what calls see, `synced` what a cut leaves; in the ranges `dirty` they may differ."""

    def __init__(self, content: bytes = b"") -> None:
        self.seen = bytearray(content)
        self.synced = bytearray(content)
        self.dirty: list[tuple[int, int]] = []
        self.links = 1

    def write(self, at: int, buffer: Buffer) -> int:
        """Write, return by how many bytes the file grew."""
        before = len(self.seen)
        end = at + len(buffer)
        if len(self.seen) < at:
            self.seen.extend(bytes(at - len(self.seen)))
        self.seen[at:end] = buffer
        if self.dirty and self.dirty[-1][1] == at:
            at = self.dirty.pop()[0]
        self.dirty.append((at, end))
        return len(self.seen) - before

    def sync(self) -> None:
        for start, stop in self.dirty:
            if len(self.synced) < start:
                self.synced.extend(bytes(start - len(self.synced)))
            self.synced[start:stop] = self.seen[start:stop]
        self.dirty = []

    def cut(self, chance: random.Random) -> None:
        """Keep a random subset of the unsynced blocks. The file ends after the last of them, or (as on file
        systems that allocate late) is as long as it would have been, with zeros where blocks are lost."""
        size = len(self.synced)
        full = max((stop for _, stop in self.dirty), default=0)
        survivors = bytearray(self.synced)
        for start, stop in self.dirty:
            at = start
            while at < stop:
                end = min(stop, at - at % BLOCK + BLOCK)
                if chance.random() < 0.5:
                    size = max(size, end)
                    survivors.extend(bytes(max(0, end - len(survivors))))
                    survivors[at:end] = self.seen[at:end]
                at = end
        if chance.random() < 0.25:
            size = max(size, full)
        survivors.extend(bytes(size - len(survivors)))
        self.seen, self.synced, self.dirty = survivors, bytearray(survivors), []


class Folder:
    """What is at the path of a folder."""


FOLDER = Folder()
Names = dict[str, Node | Folder]


@dataclass
class Fault:
    """An error to raise instead of doing a call. Every field that is set must match (fnmatch patterns)."""

    error: int | BaseException
    purpose: str = "*"
    op: str = "*"
    path: str = "*"
    skip: int = 0  # matching calls that still succeed
    times: int | None = 1  # matching calls that fail then; None: all
    written: int = 0  # of an append: bytes that reach the file before the error

    def strikes(self, purpose: str, op: str, path: str) -> bool:
        if not (fnmatch(purpose, self.purpose) and fnmatch(op, self.op) and fnmatch(path, self.path)):
            return False
        if self.skip:
            self.skip -= 1
            return False
        if self.times is not None:
            self.times -= 1
        return True


@dataclass
class Change:
    """An unsynced change of names: what is at each path now (None: nothing)."""

    number: int
    names: Mapping[str, Node | Folder | None]


class FakeFile:
    """A DiskFile of a FakeDisk."""

    def __init__(self, disk: "FakeDisk", path: str, node: Node, *, writable: bool) -> None:
        self._disk = disk
        self._path = path
        self._node = node
        self._writable = writable
        self._size = len(node.seen)
        self._life = disk.life
        self._broken = False
        self._closed = False
        disk.open_files += 1

    @property
    def size(self) -> int:
        return self._size

    def append(self, buffers: Sequence[Buffer], *, purpose: str) -> None:
        with self._disk.call(purpose, "append", self._path, self) as fault:
            self._refuse_if_broken()
            if not self._writable:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            content = b"".join(buffers)
            room = self._disk.room() if fault is None else fault.written
            self._disk.grow(self._node, self._node.write(self._size, content[:room]))
            if fault is not None:
                raise self._disk.error_of(fault)
            if len(content) > room:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._size += len(content)

    def lay_out(self, start: int, stop: int, *, purpose: str) -> None:
        with self._disk.call(purpose, "lay_out", self._path, self):
            self._refuse_if_broken()
            if not self._writable:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            room = max(self._disk.room() - max(start - len(self._node.seen), 0), 0)
            self._disk.grow(self._node, self._node.write(start, bytes(min(stop - start, room))))
            if stop - start > room:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def read(self, offset: int, size: int, *, purpose: str) -> bytes:
        with self._disk.call(purpose, "read", self._path, self):
            return bytes(memoryview(self._node.seen)[offset : offset + size])

    def read_now(self, offset: int, size: int, *, purpose: str) -> bytes | None:
        try:
            with self._disk.call(purpose, "read_now", self._path, self):
                if not self._disk.cached or offset + size > len(self._node.seen):
                    return None
                return bytes(memoryview(self._node.seen)[offset : offset + size])
        except StratumError:
            return None

    def fsync(self, *, purpose: str) -> None:
        try:
            with self._disk.call(purpose, "fsync", self._path, self) as fault:
                self._refuse_if_broken()
                if fault is not None:
                    self._node.dirty = []  # the kernel drops what it could not write, and says so only once
                    raise self._disk.error_of(fault)
                self._node.sync()
                if self._node.links == 0:
                    raise OSError(errno.ESTALE, "the file has been removed")
        except StratumError:
            self._broken = True
            raise

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._disk.open_files -= 1

    def check(self) -> None:
        if self._closed:
            raise ValueError(f"{self._path} is closed")
        if self._life != self._disk.life:
            raise OSError(errno.EIO, "the power was cut after this file was opened")

    def _refuse_if_broken(self) -> None:
        if self._broken:
            raise OSError(errno.EIO, "an earlier fsync of this file failed")


class _Call:
    """One disk call: points before and after, the disk's lock, faults, errors translated as in FolderDisk."""

    def __init__(self, disk: "FakeDisk", purpose: str, op: str, path: str, file: FakeFile | None) -> None:
        self._disk, self._purpose, self._op, self._path, self._file = disk, purpose, op, path, file

    def __enter__(self) -> Fault | None:
        disk = self._disk
        try:
            failpoints.before(self._purpose, self._op)
        except OSError as error:
            raise self._translated(error) from error
        disk.lock.acquire()
        try:
            disk.calls[self._purpose, self._op] = disk.calls.get((self._purpose, self._op), 0) + 1
            if self._file is not None:
                self._file.check()
            fault = disk.strike(self._purpose, self._op, self._path)
            if fault is not None and self._op not in ("append", "fsync"):
                raise disk.error_of(fault)
        except BaseException as error:
            disk.lock.release()
            if isinstance(error, OSError):
                raise self._translated(error) from error
            raise
        return fault

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._disk.lock.release()
        try:
            if error is None:
                failpoints.after(self._purpose, self._op)
        except OSError as later:
            error = later
        if isinstance(error, OSError):
            raise self._translated(error) from error

    def _translated(self, error: OSError) -> Exception:
        return failure(self._disk, error, f"{self._purpose}.{self._op} {self._path}")


class FakeDisk:
    """A Disk in memory. All methods of the Disk protocol, and below them what tests do to a disk."""

    def __init__(self, slot: int, *, name: str = "", capacity: int = 1 << 40, own_filesystem: bool = False) -> None:
        self.slot = slot
        self.name = name or f"fake/{slot}"
        self.own_filesystem = own_filesystem
        self.capacity, self.last_space = capacity, Space(0, 0)
        self.lock = threading.RLock()
        self.life = 0  # counts power cuts and wipes: files opened in an earlier life are dead
        self.open_files = 0
        self.cached = True  # whether read_now finds the bytes in memory
        self.calls: dict[tuple[str, str], int] = {}  # (purpose, op) -> calls begun
        self._seen: Names = {"": FOLDER}
        self._synced: Names = {"": FOLDER}
        self._synced_by: dict[str, int] = {}  # path -> number of the last change that was synced
        self._changes: list[Change] = []
        self._changed = 0
        self._used = 0
        self._durable_folders = {""}
        self._faults: list[Fault] = []
        self._folder_number = id(self)

    # --- the Disk protocol --------------------------------------------------------------------------------

    @property
    def folder_id(self) -> tuple[int, int]:
        return 0, self._folder_number

    def create(self, path: str, *, purpose: str) -> FakeFile:
        with self.call(purpose, "create", path):
            if _above(path) not in self._durable_folders or _above(path) not in self._seen:
                self._make_folders_above(path, purpose)
            self._folder(_above(path))
            if path in self._seen:
                raise OSError(errno.EEXIST, os.strerror(errno.EEXIST))
            if self.room() == 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            node = Node()
            self._change({path: node})
            return FakeFile(self, path, node, writable=True)

    def open(self, path: str, *, purpose: str) -> FakeFile:
        with self.call(purpose, "open", path):
            return FakeFile(self, path, self._file(path), writable=False)

    def rename(self, old: str, new: str, *, purpose: str) -> None:
        with self.call(purpose, "rename", old):
            node = self._file(old)
            self._folder(_above(new))
            if old != new:
                if new in self._seen:
                    self._drop(self._file(new))
                self._change({old: None, new: node})

    def unlink(self, path: str, *, purpose: str) -> None:
        with self.call(purpose, "unlink", path):
            if path in self._seen:
                self._drop(self._file(path))
                self._change({path: None})

    def fsync_directory(self, path: str, *, purpose: str) -> None:
        with self.call(purpose, "fsync_directory", path):
            self._folder(path)
            due = [change for change in self._changes if any(_above(name) == path for name in change.names)]
            for change in due:
                self._sync(change)

    def list(self, path: str, *, purpose: str) -> list[str]:
        with self.call(purpose, "list", path):
            if path not in self._seen:
                return []
            self._folder(path)
            inside = f"{path}/" if path else ""
            return sorted(name.removeprefix(inside) for name in self._seen if name and _above(name) == path)

    def exists(self, path: str) -> bool:
        with self.call("disk", "exists", path):
            return path in self._seen

    def size(self, path: str) -> int | None:
        with self.call("disk", "size", path):
            node = self._seen.get(path)
            return len(node.seen) if isinstance(node, Node) else 0 if node else None

    def space(self) -> Space:
        with self.call("disk", "space", ""):
            self.last_space = Space(self.capacity, self.room())
            return self.last_space

    # --- what tests do to it ------------------------------------------------------------------------------

    def cut_power(self, chance: random.Random) -> None:
        """Forget what was not synced, except what chance saves; files open now are dead from here on."""
        with self.lock:
            for change in list(self._changes):
                if chance.random() < 0.5:
                    self._sync(change)
            self._changes = []
            reachable = {path: node for path, node in self._synced.items() if self._leads_to(path)}
            for node in reachable.values():
                if isinstance(node, Node):
                    node.links = 1
                    node.cut(chance)
            self._begin_life(reachable)

    def inject(self, error: int | BaseException, **match: object) -> Fault:
        """Fail calls with an errno (or exception): see Fault for how to choose them."""
        fault = Fault(error, **match)  # type: ignore[arg-type]
        with self.lock:
            self._faults.append(fault)
        return fault

    def fail(self, error: int = errno.EIO) -> None:
        """From now on every call fails."""
        self.inject(error, times=None)

    def heal(self) -> None:
        """Take away all faults."""
        with self.lock:
            self._faults.clear()

    def flip_bit(self, path: str, offset: int, bit: int = 0) -> None:
        """Damage one bit of a file, as it rests on the disk."""
        with self.lock:
            node = self._file(path)
            node.seen[offset] ^= 1 << bit
            if offset < len(node.synced):
                node.synced[offset] ^= 1 << bit

    def truncate(self, path: str, size: int) -> None:
        """Cut a file off at `size` bytes, behind the back of those who have it open."""
        with self.lock:
            node = self._file(path)
            node.seen, node.synced, node.dirty = node.seen[:size], node.synced[:size], []

    def remove(self, path: str) -> None:
        """Remove a file or a folder with all below it, durably, as `rm -rf` and a sync would."""
        with self.lock:
            for name in [name for name in self._seen if name == path or name.startswith(f"{path}/")]:
                node = self._seen[name]
                if isinstance(node, Node):
                    self._drop(node)
                self._change({name: None})
            for change in list(self._changes):
                self._sync(change)

    def wipe(self) -> None:
        """Become another, empty folder, as `rm -rf` and `mkdir` of the root would make."""
        with self.lock:
            self._folder_number += 1
            self._begin_life({"": FOLDER})

    def paths(self) -> Sequence[str]:
        """Paths of all files, sorted."""
        with self.lock:
            return sorted(path for path, node in self._seen.items() if isinstance(node, Node))

    def content(self, path: str) -> bytes:
        """The bytes of a file, without a call."""
        with self.lock:
            return bytes(self._file(path).seen)

    # --- inside -------------------------------------------------------------------------------------------

    def call(self, purpose: str, op: str, path: str, file: FakeFile | None = None) -> _Call:
        """Begin a call."""
        return _Call(self, purpose, op, path, file)

    def strike(self, purpose: str, op: str, path: str) -> Fault | None:
        """The fault that hits this call, if one does."""
        for fault in self._faults:
            if fault.times != 0 and fault.strikes(purpose, op, path):
                return fault
        return None

    def error_of(self, fault: Fault) -> BaseException:
        """What a fault raises."""
        return OSError(fault.error, os.strerror(fault.error)) if isinstance(fault.error, int) else fault.error

    def room(self) -> int:
        """Free bytes."""
        return max(0, self.capacity - self._used)

    def grow(self, node: Node, size: int) -> None:
        """Account for bytes that a file gained."""
        if node.links:
            self._used += size

    def _make_folders_above(self, path: str, purpose: str) -> None:
        above = ""
        for part in path.split("/")[:-1]:
            folder = f"{above}/{part}" if above else part
            with self.call(purpose, "mkdir", folder):
                if folder not in self._seen:
                    self._change({folder: FOLDER})
                self._folder(folder)
            self.fsync_directory(above, purpose=purpose)
            self._durable_folders.add(folder)
            above = folder

    def _drop(self, node: Node) -> None:
        """Account for a file that loses its name."""
        node.links -= 1
        self._used -= len(node.seen)

    def _change(self, names: Mapping[str, Node | Folder | None]) -> None:
        self._changed += 1
        self._changes.append(Change(self._changed, names))
        _assign(self._seen, names)

    def _sync(self, change: Change) -> None:
        """Make a change durable, except where a later change of the same name is durable already."""
        self._changes.remove(change)
        fresh = {path: it for path, it in change.names.items() if self._synced_by.get(path, 0) < change.number}
        self._synced_by.update(dict.fromkeys(fresh, change.number))
        _assign(self._synced, fresh)

    def _file(self, path: str) -> Node:
        node = self._seen.get(path)
        if node is None:
            self._folder(_above(path))
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        if isinstance(node, Folder):
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
        return node

    def _folder(self, path: str) -> None:
        node = self._seen.get(path)
        if node is None:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        if isinstance(node, Node):
            raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))

    def _leads_to(self, path: str) -> bool:
        return all(isinstance(self._synced.get(folder), Folder) for folder in _folders_above(path))

    def _begin_life(self, names: Names) -> None:
        self.life += 1
        self._durable_folders = {""}
        self._seen, self._synced, self._synced_by, self._changes = dict(names), names, {}, []
        self._used = sum(len(node.seen) for node in names.values() if isinstance(node, Node))


def _assign(names: Names, changes: Mapping[str, Node | Folder | None]) -> None:
    for path, node in changes.items():
        if node is None:
            names.pop(path, None)
        else:
            names[path] = node


def _above(path: str) -> str:
    return path.rpartition("/")[0]


def _folders_above(path: str) -> Iterator[str]:
    while path:
        path = _above(path)
        yield path
