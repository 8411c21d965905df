"""The requests of the kernel, each translated to one verb of the engine.

Room: stratumfs. May import: core, engine.{engine, files, file_*}, stratumfs.{directories, errnos}.

One class for every transport: the values are the engine's, each transport puts them into its own form. No exception
but Refused may reach a transport: `answered` sees to that, once for all handlers.
Names and attributes are cached by the kernel for a minute; `stratumfs/caches.py` invalidates what S3 changes.
"""

import errno
import logging
import os
import stat
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from functools import wraps
from typing import Concatenate, ParamSpec, Protocol, TypeVar

import trio

from stratum.core.errors import StratumError
from stratum.core.posix_acl import ACCESS
from stratum.core.posix_acl import NAMES as POSIX_ACLS
from stratum.core.records import Inode
from stratum.core.schema import ROOT_INODE
from stratum.engine.file_attributes import AttributeChange, Room
from stratum.engine.file_names import Caller, Node
from stratum.engine.file_ranges import SUPPORTED
from stratum.engine.files import Files
from stratumfs.directories import OpenDirectory, Reply
from stratumfs.errnos import Refused, errno_of

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

XATTR_SPACES = (b"user.", b"trusted.", b"security.")

RENAME_NOREPLACE, RENAME_EXCHANGE = 1, 2  # linux/fs.h
SET_ID = stat.S_ISUID | stat.S_ISGID
PLAIN_MAX = 65_536  # inodes remembered to have no privileges


class RequestContext(Protocol):
    """Who asks."""

    @property
    def uid(self) -> int:
        """Their user."""

    @property
    def gid(self) -> int:
        """Their group."""

    @property
    def pid(self) -> int:
        """Their process; 0 if it is of another name space."""

    @property
    def umask(self) -> int:
        """Of something they make, the bits to leave out; 0 in all other requests."""


Handler = Callable[Concatenate["Operations", P], Awaitable[T]]


def answered(handler: Handler[P, T]) -> Handler[P, T]:
    """Turn every failure of a handler into an errno; what is no StratumError is a bug of ours: logged, EIO."""

    @wraps(handler)
    async def answering(self: "Operations", *arguments: P.args, **named: P.kwargs) -> T:
        try:
            return await handler(self, *arguments, **named)
        except StratumError as error:
            raise Refused(errno_of(error)) from error
        except Refused:
            raise
        except Exception as error:
            log.exception("a request of the mount failed", extra={"request": handler.__name__})
            raise Refused(errno.EIO) from error

    return answering


class Operations:
    """The mount of one engine's files. `ready` is set when the kernel has begun to ask."""

    def __init__(self, files: Files, forget_inode: Callable[[int], Awaitable[None]]) -> None:
        """`forget_inode`: has the kernel forget the attributes of an inode."""
        self._forget_inode = forget_inode
        self.ready = trio.Event()
        self._files = files
        self._directories: dict[int, OpenDirectory] = {}
        self._next_directory = 1
        self._plain: OrderedDict[int, None] = OrderedDict()  # inodes without set-id bits and capabilities

    def init(self) -> None:
        """The kernel is there."""
        self.ready.set()

    # --- names ----------------------------------------------------------------------------------------------

    @answered
    async def lookup(self, parent_inode: int, name: bytes, ctx: RequestContext) -> Node | None:
        """Find a name; that there is none is an answer too."""
        await self._files.settle_view(parent_inode)
        node = self._files.names.lookup(parent_inode, name)
        if node is None and self._files.names.comes_unannounced(parent_inode, name):
            raise Refused(errno.ENOENT)  # which the kernel does not remember
        return None if node is None else self._told(*node)

    async def forget(self, inode_list: Sequence[tuple[int, int]]) -> None:
        """The kernel no longer knows inodes. Nobody waits for an answer."""
        try:
            self._files.unpin(inode_list)
        except Exception:
            log.exception("forgetting inodes failed")

    @answered
    async def create(
        self, parent_inode: int, name: bytes, mode: int, flags: int, ctx: RequestContext
    ) -> tuple[int, int, Inode]:
        """Make a file and open it: (handle, inode, its record).

        One that is there by now, for the kernel asked before, is opened as by `open`.
        """
        if flags & os.O_TRUNC and not flags & os.O_EXCL:
            there = self._files.names.lookup(parent_inode, name)
            if there is not None:
                await self._drop_privileges(there[0], set_id=ctx.uid != 0)
        handle, number, inode = await self._files.create(
            parent_inode,
            name,
            mode,
            _maker(ctx),
            exclusive=bool(flags & os.O_EXCL),
            truncate=bool(flags & os.O_TRUNC),
        )
        if not inode.mode & SET_ID and self._files.xattrs.has_none(number):
            self._note_plain(number)
        return handle, *self._told(number, inode)

    @answered
    async def mknod(self, parent_inode: int, name: bytes, mode: int, rdev: int, ctx: RequestContext) -> Node:
        """Make a file, FIFO, socket or device."""
        return self._told(*await self._files.names.make_node(parent_inode, name, mode, rdev, _maker(ctx)))

    @answered
    async def mkdir(self, parent_inode: int, name: bytes, mode: int, ctx: RequestContext) -> Node:
        """Make a directory, or a bucket."""
        return self._told(*await self._files.names.make_directory(parent_inode, name, mode, _maker(ctx)))

    @answered
    async def symlink(self, parent_inode: int, name: bytes, target: bytes, ctx: RequestContext) -> Node:
        """Make a symbolic link."""
        return self._told(*await self._files.names.symlink(parent_inode, name, target, _maker(ctx)))

    @answered
    async def link(self, inode: int, new_parent_inode: int, new_name: bytes, ctx: RequestContext) -> Node:
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
        if flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE):
            raise Refused(errno.EINVAL)
        await self._files.names.rename(
            parent_inode_old,
            name_old,
            parent_inode_new,
            name_new,
            noreplace=bool(flags & RENAME_NOREPLACE),
            exchange=bool(flags & RENAME_EXCHANGE),
        )

    @answered
    async def readlink(self, inode: int, ctx: RequestContext) -> bytes:
        """Where a symbolic link points."""
        return self._files.attributes.get(inode).target

    def _told(self, number: int, inode: Inode) -> Node:
        """The kernel is told of an inode, and knows it from now on."""
        self._files.pin(number)
        return number, inode

    # --- attributes -----------------------------------------------------------------------------------------

    @answered
    async def getattr(self, inode: int, ctx: RequestContext) -> Node:
        """Describe an inode."""
        return inode, self._files.attributes.get(inode)

    @answered
    async def setattr(self, inode: int, to: AttributeChange, fh: int | None, ctx: RequestContext) -> Node:
        """Set mode, owner, times, size."""
        if to.mode is not None:
            self._plain.pop(inode, None)
        return inode, await self._files.attributes.set(inode, to, opened=fh is not None)

    @answered
    async def statfs(self, ctx: RequestContext, number: int = ROOT_INODE) -> Room:
        """Describe the whole file system, or what the quota of a bucket leaves of it."""
        return self._files.attributes.room(number)

    @answered
    async def getxattr(self, inode: int, name: bytes, ctx: RequestContext) -> bytes:
        """Read an extended attribute. Asked before every write(2)."""
        _check_xattr_space(name)
        if name.startswith(b"user."):
            return await self._files.xattrs.fact(inode, name)
        if self._files.xattrs.has_none(inode):
            raise Refused(errno.ENODATA)
        return self._files.xattrs.get(inode, name)

    @answered
    async def setxattr(
        self,
        inode: int,
        name: bytes,
        value: bytes,
        ctx: RequestContext,
        flags: int = 0,
        keep_setgid: bool | None = None,
    ) -> None:
        """Set an extended attribute (pyfuse3 has looked at the flags already).

        `keep_setgid`: may who asks set that bit? None: to be found out.
        """
        _check_xattr_space(name)
        self._plain.pop(inode, None)
        if keep_setgid is None:
            keep_setgid = self._may_set_gid(inode, name, ctx)
        await self._files.xattrs.set(
            inode,
            name,
            value,
            create=bool(flags & os.XATTR_CREATE),
            replace=bool(flags & os.XATTR_REPLACE),
            keep_setgid=keep_setgid,
        )

    def _may_set_gid(self, inode: int, name: bytes, ctx: RequestContext) -> bool:
        """chmod(2) lets only root and members of a file's group keep its set-gid bit; so does a change of its list."""
        if name != ACCESS or ctx.uid == 0:
            return True
        held = self._files.attributes.get(inode)
        return not held.mode & stat.S_ISGID or held.gid == ctx.gid or held.gid in _supplementary_groups(ctx.pid)

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
    async def open(self, inode: int, flags: int, ctx: RequestContext) -> int:
        """Open a file, return its handle.

        What the kernel has cached of it is good: what S3 writes is always another inode.
        """
        writes = flags & os.O_ACCMODE != os.O_RDONLY
        if flags & os.O_TRUNC:
            await self._drop_privileges(inode, set_id=ctx.uid != 0)
            await self._files.publish_closed(inode)
        return self._files.open(inode, writes=writes, truncate=bool(flags & os.O_TRUNC), process=ctx.pid)

    @answered
    async def drop_privileges(self, inode: int, set_id: bool) -> None:
        """A file is to be changed, or given away: its capabilities go, and with `set_id` its set-id bits.

        Only for a transport that has promised the kernel to do so at every write; that most files have none of them
        is remembered.
        """
        if inode not in self._plain:
            await self._drop_privileges(inode, set_id=set_id)

    async def _drop_privileges(self, inode: int, *, set_id: bool) -> None:
        """The kernel leaves this to us where open(2) empties a file. It must not go on with the mode it remembers."""
        mode = self._files.attributes.get(inode).mode
        if stat.S_ISDIR(mode):
            return
        if await self._files.attributes.drop_privileges(inode, set_id=set_id):
            await self._forget_inode(inode)
        elif not mode & SET_ID:
            self._note_plain(inode)

    def _note_plain(self, inode: int) -> None:
        if len(self._plain) >= PLAIN_MAX:
            self._plain.popitem(last=False)
        self._plain[inode] = None

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

    # --- what only our own transport passes on ---------------------------------------------------------------

    @answered
    async def tmpfile(self, parent_inode: int, mode: int, ctx: RequestContext) -> tuple[int, int, Inode]:
        """Make a file without a name and open it: (handle, inode, its record)."""
        handle, number, inode = await self._files.create_unnamed(parent_inode, mode, _maker(ctx))
        return handle, *self._told(number, inode)

    @answered
    async def fallocate(self, fh: int, offset: int, length: int, mode: int) -> None:
        """Make room, or holes."""
        if mode not in SUPPORTED:
            raise Refused(errno.EOPNOTSUPP)
        await self._files.allocate(fh, mode, offset, length)

    @answered
    async def lseek(self, fh: int, offset: int, whence: int) -> int:
        """Find data, or a hole."""
        if whence not in (os.SEEK_DATA, os.SEEK_HOLE):
            raise Refused(errno.EINVAL)
        found = self._files.next_data(fh, offset) if whence == os.SEEK_DATA else self._files.next_hole(fh, offset)
        if found is None:
            raise Refused(errno.ENXIO)
        return found

    @answered
    async def copy_file_range(self, fh: int, offset: int, to_fh: int, to_offset: int, length: int) -> int:
        """Copy within the store; fewer bytes than asked for are an answer too."""
        return await self._files.copy(fh, offset, to_fh, to_offset, length)

    # --- directories ----------------------------------------------------------------------------------------

    @answered
    async def opendir(self, inode: int, ctx: RequestContext) -> int:
        """Open a directory."""
        await self._files.settle_view(inode)
        handle = self._next_directory
        self._next_directory += 1
        self._directories[handle] = OpenDirectory(self._files, inode)
        return handle

    @answered
    async def readdir(self, fh: int, start_id: int, reply: Reply, *, told: bool = True) -> None:
        """List names with their attributes, as many as `reply` takes; `told`: the kernel knows them from then on."""
        self._directories[fh].read(start_id, reply, told=told)

    @answered
    async def releasedir(self, fh: int) -> None:
        """Close a directory."""
        self._directories.pop(fh, None)

    @answered
    async def fsyncdir(self, fh: int, datasync: bool) -> None:
        """Make durable what was closed, made, renamed and removed."""
        await self._files.fsync_directory()


def _maker(ctx: RequestContext) -> Caller:
    return Caller(ctx.uid, ctx.gid, ctx.umask)


def _check_xattr_space(name: bytes) -> None:
    if not name.startswith(XATTR_SPACES) and name not in POSIX_ACLS:
        raise Refused(errno.ENOTSUP)
    if name in XATTR_SPACES:
        raise Refused(errno.EINVAL)


def _supplementary_groups(pid: int) -> frozenset[int]:
    """The other groups of a process, as proc(5) tells them; none if it is gone."""
    try:
        with open(f"/proc/{pid}/status", "rb") as told:
            lines = [line for line in told if line.startswith(b"Groups:")]
    except OSError:
        return frozenset()
    return frozenset(map(int, lines[0].split()[1:])) if lines else frozenset()
