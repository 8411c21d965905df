"""The requests of the kernel, each translated to one verb of the engine.

Room: stratumfs. May import: core, engine.{engine, files, file_names}, stratumfs.{attributes, directories, errnos}.

No exception but FUSEError may reach pyfuse3: any other ends the mount. `answered` sees to that, once for all handlers.
Names and attributes are cached by the kernel for a minute; `stratumfs/caches.py` invalidates what S3 changes.
"""

import errno
import logging
import os
import stat
from collections.abc import Awaitable, Callable, Sequence
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

import pyfuse3
import trio
from pyfuse3 import EntryAttributes, FileInfo, FUSEError, ReaddirToken, RequestContext, SetattrFields, StatvfsData

from stratum.core.errors import StratumError
from stratum.core.posix_acl import ACCESS
from stratum.core.posix_acl import NAMES as POSIX_ACLS
from stratum.engine.file_names import Caller
from stratum.engine.files import Files
from stratumfs.attributes import attributes, change_of, nothing, statistics
from stratumfs.directories import OpenDirectory
from stratumfs.errnos import errno_of

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

XATTR_SPACES = (b"user.", b"trusted.", b"security.")

Handler = Callable[Concatenate["Operations", P], Awaitable[T]]


def answered(handler: Handler[P, T]) -> Handler[P, T]:
    """Turn every failure of a handler into an errno; what is no StratumError is a bug of ours: logged, EIO."""

    @wraps(handler)
    async def answering(self: "Operations", *arguments: P.args, **named: P.kwargs) -> T:
        try:
            return await handler(self, *arguments, **named)
        except StratumError as error:
            raise FUSEError(errno_of(error)) from error
        except FUSEError:
            raise
        except Exception as error:
            log.exception("a request of the mount failed", extra={"request": handler.__name__})
            raise FUSEError(errno.EIO) from error

    return answering


class Operations(pyfuse3.Operations):
    """The mount of one engine's files. `ready` is set when the kernel has begun to ask."""

    supports_dot_lookup = True
    enable_writeback_cache = False
    enable_acl = True  # the kernel judges by access control lists, the engine keeps them and the mode together

    def __init__(self, files: Files, forget_inode: Callable[[int], Awaitable[None]]) -> None:
        """`forget_inode`: has the kernel forget the attributes of an inode."""
        super().__init__()
        self._forget_inode = forget_inode
        self.ready = trio.Event()
        self._files = files
        self._directories: dict[int, OpenDirectory] = {}
        self._next_directory = 1

    def init(self) -> None:
        """The kernel is there."""
        self.ready.set()

    # --- names ----------------------------------------------------------------------------------------------

    @answered
    async def lookup(self, parent_inode: int, name: bytes, ctx: RequestContext) -> EntryAttributes:
        """Find a name; that there is none is an answer too."""
        node = self._files.names.lookup(parent_inode, name)
        return nothing() if node is None else self._told(*node)

    async def forget(self, inode_list: Sequence[tuple[int, int]]) -> None:
        """The kernel no longer knows inodes. Nobody waits for an answer."""
        try:
            self._files.unpin(inode_list)
        except Exception:
            log.exception("forgetting inodes failed")

    @answered
    async def create(
        self, parent_inode: int, name: bytes, mode: int, flags: int, ctx: RequestContext
    ) -> tuple[FileInfo, EntryAttributes]:
        """Make a file and open it. One that is there by now, for the kernel asked before, is opened as by `open`."""
        if flags & os.O_TRUNC and not flags & os.O_EXCL:
            there = self._files.names.lookup(parent_inode, name)
            if there is not None:
                await self._drop_privileges(there[0], ctx)
        handle, number, inode = await self._files.create(
            parent_inode,
            name,
            mode,
            Caller(ctx.uid, ctx.gid),
            exclusive=bool(flags & os.O_EXCL),
            truncate=bool(flags & os.O_TRUNC),
        )
        return FileInfo(fh=handle), self._told(number, inode)

    @answered
    async def mknod(self, parent_inode: int, name: bytes, mode: int, rdev: int, ctx: RequestContext) -> EntryAttributes:
        """Make a file, FIFO, socket or device."""
        return self._told(*await self._files.names.make_node(parent_inode, name, mode, rdev, Caller(ctx.uid, ctx.gid)))

    @answered
    async def mkdir(self, parent_inode: int, name: bytes, mode: int, ctx: RequestContext) -> EntryAttributes:
        """Make a directory, or a bucket."""
        return self._told(*await self._files.names.make_directory(parent_inode, name, mode, Caller(ctx.uid, ctx.gid)))

    @answered
    async def symlink(self, parent_inode: int, name: bytes, target: bytes, ctx: RequestContext) -> EntryAttributes:
        """Make a symbolic link."""
        return self._told(*await self._files.names.symlink(parent_inode, name, target, Caller(ctx.uid, ctx.gid)))

    @answered
    async def link(self, inode: int, new_parent_inode: int, new_name: bytes, ctx: RequestContext) -> EntryAttributes:
        """Give an inode one more name."""
        return self._told(*await self._files.names.link(inode, new_parent_inode, new_name))

    @answered
    async def unlink(self, parent_inode: int, name: bytes, ctx: RequestContext) -> None:
        """Take a name away."""
        await self._files.names.unlink(parent_inode, name)

    @answered
    async def rmdir(self, parent_inode: int, name: bytes, ctx: RequestContext) -> None:
        """Remove an empty directory, or bucket."""
        await self._files.names.remove_directory(parent_inode, name)

    @answered
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
        if flags & ~(pyfuse3.RENAME_NOREPLACE | pyfuse3.RENAME_EXCHANGE):
            raise FUSEError(errno.EINVAL)
        await self._files.names.rename(
            parent_inode_old,
            name_old,
            parent_inode_new,
            name_new,
            noreplace=bool(flags & pyfuse3.RENAME_NOREPLACE),
            exchange=bool(flags & pyfuse3.RENAME_EXCHANGE),
        )

    @answered
    async def readlink(self, inode: int, ctx: RequestContext) -> bytes:
        """Where a symbolic link points."""
        return self._files.attributes.get(inode).target

    def _told(self, number: int, inode: object) -> EntryAttributes:
        """Describe an inode to the kernel, which knows it from now on."""
        self._files.pin(number)
        return attributes(number, inode)

    # --- attributes -----------------------------------------------------------------------------------------

    @answered
    async def getattr(self, inode: int, ctx: RequestContext) -> EntryAttributes:
        """Describe an inode."""
        return attributes(inode, self._files.attributes.get(inode))

    @answered
    async def setattr(
        self, inode: int, attr: EntryAttributes, fields: SetattrFields, fh: int | None, ctx: RequestContext
    ) -> EntryAttributes:
        """Set mode, owner, times, size."""
        changed = await self._files.attributes.set(inode, change_of(attr, fields), opened=fh is not None)
        return attributes(inode, changed)

    @answered
    async def statfs(self, ctx: RequestContext) -> StatvfsData:
        """Describe the whole file system."""
        return statistics(self._files.attributes.room())

    @answered
    async def getxattr(self, inode: int, name: bytes, ctx: RequestContext) -> bytes:
        """Read an extended attribute. Asked before every write(2)."""
        _check_xattr_space(name)
        if self._files.xattrs.has_none(inode):
            raise FUSEError(errno.ENODATA)
        return self._files.xattrs.get(inode, name)

    @answered
    async def setxattr(self, inode: int, name: bytes, value: bytes, ctx: RequestContext) -> None:
        """Set an extended attribute (pyfuse3 has looked at the flags already)."""
        _check_xattr_space(name)
        await self._files.xattrs.set(inode, name, value, keep_setgid=self._may_set_gid(inode, name, ctx))

    def _may_set_gid(self, inode: int, name: bytes, ctx: RequestContext) -> bool:
        """chmod(2) lets only root and members of a file's group keep its set-gid bit; so does a change of its list."""
        if name != ACCESS or ctx.uid == 0:
            return True
        held = self._files.attributes.get(inode)
        return not held.mode & stat.S_ISGID or held.gid == ctx.gid or held.gid in pyfuse3.get_sup_groups(ctx.pid)

    @answered
    async def listxattr(self, inode: int, ctx: RequestContext) -> Sequence[bytes]:
        """Name the extended attributes; those of root's own to root alone, as local file systems do."""
        names = self._files.xattrs.names(inode)
        return names if ctx.uid == 0 else [name for name in names if not name.startswith(b"trusted.")]

    @answered
    async def removexattr(self, inode: int, name: bytes, ctx: RequestContext) -> None:
        """Remove an extended attribute."""
        _check_xattr_space(name)
        await self._files.xattrs.remove(inode, name)

    # --- files ----------------------------------------------------------------------------------------------

    @answered
    async def open(self, inode: int, flags: int, ctx: RequestContext) -> FileInfo:
        """Open a file. What the kernel has cached of it is good: what S3 writes is always another inode."""
        writes = flags & os.O_ACCMODE != os.O_RDONLY
        if flags & os.O_TRUNC:
            await self._drop_privileges(inode, ctx)
        return FileInfo(fh=self._files.open(inode, writes=writes, truncate=bool(flags & os.O_TRUNC)))

    async def _drop_privileges(self, inode: int, ctx: RequestContext) -> None:
        """open(2) is to empty a file: unlike for write(2), the kernel leaves its set-id bits and capabilities to us."""
        if await self._files.attributes.drop_privileges(inode, set_id=ctx.uid != 0):
            await self._forget_inode(inode)

    @answered
    async def read(self, fh: int, off: int, size: int) -> bytes:
        """Read bytes."""
        return await self._files.read(fh, off, size)

    @answered
    async def write(self, fh: int, off: int, buf: bytes) -> int:
        """Write bytes: all of them."""
        await self._files.write(fh, off, buf)
        return len(buf)

    @answered
    async def flush(self, fh: int) -> None:
        """A descriptor was closed."""
        await self._files.flush(fh)

    @answered
    async def release(self, fh: int) -> None:
        """The last descriptor was closed. An error reaches nobody."""
        await self._files.release(fh)

    @answered
    async def fsync(self, fh: int, datasync: bool) -> None:
        """Make a file durable; without its attributes would save nothing."""
        await self._files.fsync(fh)

    # --- directories ----------------------------------------------------------------------------------------

    @answered
    async def opendir(self, inode: int, ctx: RequestContext) -> int:
        """Open a directory."""
        handle = self._next_directory
        self._next_directory += 1
        self._directories[handle] = OpenDirectory(self._files, inode)
        return handle

    @answered
    async def readdir(self, fh: int, start_id: int, token: ReaddirToken) -> None:
        """List names with their attributes, as many as the kernel has room for."""
        self._directories[fh].read(
            start_id, lambda name, entry, place: pyfuse3.readdir_reply(token, name, entry, place)
        )

    @answered
    async def releasedir(self, fh: int) -> None:
        """Close a directory."""
        self._directories.pop(fh, None)

    @answered
    async def fsyncdir(self, fh: int, datasync: bool) -> None:
        """Make durable what was closed, made, renamed and removed."""
        await self._files.fsync_directory()


def _check_xattr_space(name: bytes) -> None:
    if not name.startswith(XATTR_SPACES) and name not in POSIX_ACLS:
        raise FUSEError(errno.ENOTSUP)
    if name in XATTR_SPACES:
        raise FUSEError(errno.EINVAL)
