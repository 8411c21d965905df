"""The mount through pyfuse3 and libfuse: the fall-back transport, and the one to compare with.

Room: stratumfs. May import: core, engine.file_attributes, stratumfs.{attributes, errnos, ops}.

Slower than `stratumfs/raw.py`, and it cannot pass on everything the kernel asks (docs/decisions/0014). One mount a
process: pyfuse3 keeps its session in the module. No exception but FUSEError may reach it: any other ends the mount.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import wraps
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import pyfuse3
from pyfuse3 import EntryAttributes, FileInfo, FUSEError, ReaddirToken, RequestContext, SetattrFields, StatvfsData

from stratum.core.records import Inode
from stratum.engine.file_attributes import AttributeChange, Room
from stratumfs.attributes import (
    BLOCK_BYTES,
    CACHED_S,
    INODES,
    NAME_BYTES,
    cached_s,
    shown_size,
    stat_blocks,
    storable,
)
from stratumfs.errnos import CannotMount, Refused
from stratumfs.ops import Operations

P = ParamSpec("P")
T = TypeVar("T")

WORKERS = 20  # tasks that wait for requests: measured, stat takes 44 us instead of 66

Handler = Callable[Concatenate["PyfuseOperations", P], Awaitable[T]]


def refusing(handler: Handler[P, T]) -> Handler[P, T]:
    """Say no in the words of pyfuse3."""

    @wraps(handler)
    async def answering(self: "PyfuseOperations", *arguments: P.args, **named: P.kwargs) -> T:
        try:
            return await handler(self, *arguments, **named)
        except Refused as refused:
            raise FUSEError(refused.errno) from refused

    return answering


class PyfuseOperations(pyfuse3.Operations):
    """`Operations` in the forms of pyfuse3."""

    supports_dot_lookup = True
    enable_writeback_cache = False
    enable_acl = True  # the kernel judges by access control lists, the engine keeps them and the mode together

    def __init__(self, operations: Operations) -> None:
        super().__init__()
        self._to = operations

    def init(self) -> None:
        """The kernel is there."""
        self._to.init()

    @refusing
    async def lookup(self, parent_inode: int, name: bytes, ctx: RequestContext) -> EntryAttributes:
        """Find a name."""
        node = await self._to.lookup(parent_inode, name, ctx)
        return nothing() if node is None else attributes(*node)

    async def forget(self, inode_list: Sequence[tuple[int, int]]) -> None:
        """The kernel no longer knows inodes."""
        await self._to.forget(inode_list)

    @refusing
    async def create(
        self, parent_inode: int, name: bytes, mode: int, flags: int, ctx: RequestContext
    ) -> tuple[FileInfo, EntryAttributes]:
        """Make a file and open it."""
        handle, number, inode = await self._to.create(parent_inode, name, mode, flags, ctx)
        return FileInfo(fh=handle), attributes(number, inode)

    @refusing
    async def mknod(self, parent_inode: int, name: bytes, mode: int, rdev: int, ctx: RequestContext) -> EntryAttributes:
        """Make a file, FIFO, socket or device."""
        return attributes(*await self._to.mknod(parent_inode, name, mode, rdev, ctx))

    @refusing
    async def mkdir(self, parent_inode: int, name: bytes, mode: int, ctx: RequestContext) -> EntryAttributes:
        """Make a directory, or a bucket."""
        return attributes(*await self._to.mkdir(parent_inode, name, mode, ctx))

    @refusing
    async def symlink(self, parent_inode: int, name: bytes, target: bytes, ctx: RequestContext) -> EntryAttributes:
        """Make a symbolic link."""
        return attributes(*await self._to.symlink(parent_inode, name, target, ctx))

    @refusing
    async def link(self, inode: int, new_parent_inode: int, new_name: bytes, ctx: RequestContext) -> EntryAttributes:
        """Give an inode one more name."""
        return attributes(*await self._to.link(inode, new_parent_inode, new_name, ctx))

    @refusing
    async def unlink(self, parent_inode: int, name: bytes, ctx: RequestContext) -> None:
        """Take a name away."""
        await self._to.unlink(parent_inode, name, ctx)

    @refusing
    async def rmdir(self, parent_inode: int, name: bytes, ctx: RequestContext) -> None:
        """Remove an empty directory, or bucket."""
        await self._to.rmdir(parent_inode, name, ctx)

    @refusing
    async def rename(
        self,
        parent_inode_old: int,
        name_old: bytes,
        parent_inode_new: int,
        name_new: bytes,
        flags: int,
        ctx: RequestContext,
    ) -> None:
        """Move a name, or exchange two."""
        await self._to.rename(parent_inode_old, name_old, parent_inode_new, name_new, flags, ctx)

    @refusing
    async def readlink(self, inode: int, ctx: RequestContext) -> bytes:
        """Where a symbolic link points."""
        return await self._to.readlink(inode, ctx)

    @refusing
    async def getattr(self, inode: int, ctx: RequestContext) -> EntryAttributes:
        """Describe an inode."""
        return attributes(*await self._to.getattr(inode, ctx))

    @refusing
    async def setattr(
        self, inode: int, attr: EntryAttributes, fields: SetattrFields, fh: int | None, ctx: RequestContext
    ) -> EntryAttributes:
        """Set mode, owner, times, size."""
        return attributes(*await self._to.setattr(inode, change_of(attr, fields), fh, ctx))

    @refusing
    async def statfs(self, ctx: RequestContext) -> StatvfsData:
        """Describe the whole file system."""
        return statistics(await self._to.statfs(ctx))

    @refusing
    async def getxattr(self, inode: int, name: bytes, ctx: RequestContext) -> bytes:
        """Read an extended attribute."""
        return await self._to.getxattr(inode, name, ctx)

    @refusing
    async def setxattr(self, inode: int, name: bytes, value: bytes, ctx: RequestContext) -> None:
        """Set an extended attribute (pyfuse3 has looked at the flags already)."""
        await self._to.setxattr(inode, name, value, ctx)

    @refusing
    async def listxattr(self, inode: int, ctx: RequestContext) -> Sequence[bytes]:
        """Name the extended attributes."""
        return await self._to.listxattr(inode, ctx)

    @refusing
    async def removexattr(self, inode: int, name: bytes, ctx: RequestContext) -> None:
        """Remove an extended attribute."""
        await self._to.removexattr(inode, name, ctx)

    @refusing
    async def open(self, inode: int, flags: int, ctx: RequestContext) -> FileInfo:
        """Open a file."""
        return FileInfo(fh=await self._to.open(inode, flags, ctx))

    @refusing
    async def read(self, fh: int, off: int, size: int) -> bytes:
        """Read bytes."""
        return await self._to.read(fh, off, size)

    @refusing
    async def write(self, fh: int, off: int, buf: bytes) -> int:
        """Write bytes: all of them."""
        return await self._to.write(fh, off, buf)

    @refusing
    async def flush(self, fh: int) -> None:
        """A descriptor was closed."""
        await self._to.flush(fh)

    @refusing
    async def release(self, fh: int) -> None:
        """The last descriptor was closed."""
        await self._to.release(fh)

    @refusing
    async def fsync(self, fh: int, datasync: bool) -> None:
        """Make a file durable."""
        await self._to.fsync(fh, datasync)

    @refusing
    async def opendir(self, inode: int, ctx: RequestContext) -> int:
        """Open a directory."""
        return await self._to.opendir(inode, ctx)

    @refusing
    async def readdir(self, fh: int, start_id: int, token: ReaddirToken) -> None:
        """List names with their attributes."""

        def reply(name: bytes, number: int, inode: Inode, place: int) -> bool:
            return pyfuse3.readdir_reply(token, name, attributes(number, inode), place)

        await self._to.readdir(fh, start_id, reply)

    @refusing
    async def releasedir(self, fh: int) -> None:
        """Close a directory."""
        await self._to.releasedir(fh)

    @refusing
    async def fsyncdir(self, fh: int, datasync: bool) -> None:
        """Make durable what was closed, made, renamed and removed."""
        await self._to.fsyncdir(fh, datasync)


# --- the forms of pyfuse3 -------------------------------------------------------------------------------------


def attributes(number: int, inode: Inode) -> EntryAttributes:
    """An inode as stat(2) shows it."""
    entry = EntryAttributes()
    entry.st_ino = number
    entry.entry_timeout = entry.attr_timeout = cached_s(number)
    entry.st_mode = inode.mode
    entry.st_nlink = inode.nlink
    entry.st_uid = inode.uid
    entry.st_gid = inode.gid
    entry.st_rdev = inode.rdev
    entry.st_size = size = shown_size(inode)
    entry.st_blocks = stat_blocks(inode, size)
    entry.st_blksize = BLOCK_BYTES
    entry.st_atime_ns = inode.atime
    entry.st_mtime_ns = inode.mtime
    entry.st_ctime_ns = inode.ctime
    return entry


def nothing() -> EntryAttributes:
    """There is no such name; the kernel may remember that."""
    entry = EntryAttributes()
    entry.st_ino = 0
    entry.entry_timeout = entry.attr_timeout = CACHED_S
    return entry


def change_of(attr: EntryAttributes, fields: SetattrFields) -> AttributeChange:
    """What setattr is to set."""
    return AttributeChange(
        mode=attr.st_mode if fields.update_mode else None,
        uid=attr.st_uid if fields.update_uid else None,
        gid=attr.st_gid if fields.update_gid else None,
        size=attr.st_size if fields.update_size else None,
        atime=storable(attr.st_atime_ns) if fields.update_atime else None,
        mtime=storable(attr.st_mtime_ns) if fields.update_mtime else None,
    )


def statistics(room: Room) -> StatvfsData:
    """The whole file system as statvfs(2) shows it."""
    shown = StatvfsData()
    shown.f_bsize = shown.f_frsize = BLOCK_BYTES
    shown.f_blocks = room.total // BLOCK_BYTES
    shown.f_bfree = shown.f_bavail = room.free // BLOCK_BYTES
    shown.f_files = shown.f_ffree = shown.f_favail = INODES
    shown.f_namemax = NAME_BYTES
    return shown


# --- the session ----------------------------------------------------------------------------------------------


class PyfuseSession:
    """The one session that pyfuse3 keeps. See `stratumfs.mount.Session`."""

    def __init__(self, operations: Operations, mountpoint: Path, options: Iterable[str]) -> None:
        self._operations = PyfuseOperations(operations)
        self._mountpoint = mountpoint
        self._options = set(options)

    async def open(self) -> None:
        """Mount. Raises CannotMount."""
        try:
            pyfuse3.init(self._operations, str(self._mountpoint), self._options)
        except RuntimeError as error:
            told = ",".join(sorted(self._options))
            raise CannotMount(
                f"FUSE cannot mount on {self._mountpoint} (-o {told}): {error}; is /dev/fuse usable?"
            ) from error

    async def serve(self) -> None:
        """Answer until it is unmounted, or told to `end`."""
        await pyfuse3.main(min_tasks=WORKERS)

    def end(self) -> None:
        """Answer what is under way, then no more."""
        if pyfuse3.trio_token is not None:
            pyfuse3.terminate()

    async def close(self) -> None:
        """Unmount, if it is still mounted."""
        pyfuse3.close(unmount=True)

    def forget_name(self, directory: int, name: bytes, gone: int) -> None:
        """Have the kernel forget a name. Blocking. Raises FileNotFoundError."""
        pyfuse3.invalidate_entry(directory, name, gone)

    def forget_attributes(self, number: int) -> None:
        """Have the kernel forget attributes. Blocking. Raises FileNotFoundError."""
        pyfuse3.invalidate_inode(number, attr_only=True)
