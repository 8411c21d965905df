"""Each request of the kernel: decoded, handed to `Operations`, its answer encoded.

Room: stratumfs. May import: core, engine.file_attributes, stratumfs.{attributes, errnos, ops, protocol}.

Every method takes (head, body, what is to be written) and returns the body of the answer; None: none is sent. What is
malformed raises struct.error or ValueError: it is answered with EIO, as are bugs, and what is unknown with ENOSYS.
"""

import errno
import os
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from stratum.core.records import Inode
from stratum.engine.file_attributes import AttributeChange
from stratumfs import protocol as wire
from stratumfs.attributes import BLOCK_BYTES, INODES, NAME_BYTES, storable
from stratumfs.errnos import Refused
from stratumfs.ops import Operations
from stratumfs.protocol import Head, Op

Handler = Callable[[Head, bytes, bytes], Awaitable[bytes | None]]

NS = 10**9
LENGTH_MAX = (1 << 63) - 1
COPIED_MAX = (1 << 32) - 4096  # what the older of the two requests can tell of bytes copied
CHOWN = wire.FATTR_UID | wire.FATTR_GID
CHANGES = CHOWN | wire.FATTR_MODE | wire.FATTR_SIZE | wire.FATTR_ATIME | wire.FATTR_MTIME


class Caller(NamedTuple):
    """Who asks."""

    uid: int
    gid: int
    pid: int
    umask: int = 0


def caller(head: Head, umask: int = 0) -> Caller:
    """Who asks for this."""
    return Caller(head.uid, head.gid, head.pid, umask)


class Requests:
    """The table of all requests."""

    def __init__(self, operations: Operations) -> None:
        self._to = operations
        self.long_setxattr = False  # negotiated: SETXATTR_EXT
        self.handlers: dict[int, Handler] = {
            Op.LOOKUP: self._lookup,
            Op.FORGET: self._forget,
            Op.BATCH_FORGET: self._batch_forget,
            Op.GETATTR: self._getattr,
            Op.SETATTR: self._setattr,
            Op.READLINK: self._readlink,
            Op.SYMLINK: self._symlink,
            Op.MKNOD: self._mknod,
            Op.MKDIR: self._mkdir,
            Op.UNLINK: self._unlink,
            Op.RMDIR: self._rmdir,
            Op.RENAME: self._rename,
            Op.RENAME2: self._rename2,
            Op.LINK: self._link,
            Op.OPEN: self._open,
            Op.CREATE: self._create,
            Op.READ: self._read,
            Op.WRITE: self._write,
            Op.STATFS: self._statfs,
            Op.FLUSH: self._flush,
            Op.RELEASE: self._release,
            Op.FSYNC: self._fsync,
            Op.SETXATTR: self._setxattr,
            Op.GETXATTR: self._getxattr,
            Op.LISTXATTR: self._listxattr,
            Op.REMOVEXATTR: self._removexattr,
            Op.TMPFILE: self._tmpfile,
            Op.FALLOCATE: self._fallocate,
            Op.LSEEK: self._lseek,
            Op.COPY_FILE_RANGE: self._copy_file_range,
            Op.COPY_FILE_RANGE_64: self._copy_file_range_64,
            Op.OPENDIR: self._opendir,
            Op.READDIR: self._readdir,
            Op.READDIRPLUS: self._readdirplus,
            Op.RELEASEDIR: self._releasedir,
            Op.FSYNCDIR: self._fsyncdir,
        }

    # --- names ----------------------------------------------------------------------------------------------

    async def _lookup(self, head: Head, body: bytes, content: bytes) -> bytes:
        node = await self._to.lookup(head.node, body[:-1], caller(head))
        return wire.NO_ENTRY if node is None else wire.entry_out(*node)

    async def _forget(self, head: Head, body: bytes, content: bytes) -> None:
        await self._to.forget([(head.node, *wire.FORGET_IN.unpack_from(body))])

    async def _batch_forget(self, head: Head, body: bytes, content: bytes) -> None:
        count, _ = wire.BATCH_FORGET_IN.unpack_from(body)
        stop = wire.BATCH_FORGET_IN.size + count * wire.FORGET_ONE.size
        await self._to.forget(list(wire.FORGET_ONE.iter_unpack(body[wire.BATCH_FORGET_IN.size : stop])))

    async def _symlink(self, head: Head, body: bytes, content: bytes) -> bytes:
        name, target = wire.names_in(body, 2)
        return wire.entry_out(*await self._to.symlink(head.node, name, target, caller(head)))

    async def _mknod(self, head: Head, body: bytes, content: bytes) -> bytes:
        mode, rdev, umask, _ = wire.MKNOD_IN.unpack_from(body)
        (name,) = wire.names_in(body[wire.MKNOD_IN.size :], 1)
        return wire.entry_out(*await self._to.mknod(head.node, name, mode, rdev, caller(head, umask)))

    async def _mkdir(self, head: Head, body: bytes, content: bytes) -> bytes:
        mode, umask = wire.MKDIR_IN.unpack_from(body)
        (name,) = wire.names_in(body[wire.MKDIR_IN.size :], 1)
        return wire.entry_out(*await self._to.mkdir(head.node, name, mode, caller(head, umask)))

    async def _unlink(self, head: Head, body: bytes, content: bytes) -> bytes:
        await self._to.unlink(head.node, *wire.names_in(body, 1), caller(head))
        return b""

    async def _rmdir(self, head: Head, body: bytes, content: bytes) -> bytes:
        await self._to.rmdir(head.node, *wire.names_in(body, 1), caller(head))
        return b""

    async def _rename(self, head: Head, body: bytes, content: bytes) -> bytes:
        (directory,) = wire.RENAME_IN.unpack_from(body)
        name, new_name = wire.names_in(body[wire.RENAME_IN.size :], 2)
        await self._to.rename(head.node, name, directory, new_name, 0, caller(head))
        return b""

    async def _rename2(self, head: Head, body: bytes, content: bytes) -> bytes:
        directory, flags, _ = wire.RENAME2_IN.unpack_from(body)
        name, new_name = wire.names_in(body[wire.RENAME2_IN.size :], 2)
        await self._to.rename(head.node, name, directory, new_name, flags, caller(head))
        return b""

    async def _link(self, head: Head, body: bytes, content: bytes) -> bytes:
        (number,) = wire.LINK_IN.unpack_from(body)
        (name,) = wire.names_in(body[wire.LINK_IN.size :], 1)
        return wire.entry_out(*await self._to.link(number, head.node, name, caller(head)))

    async def _readlink(self, head: Head, body: bytes, content: bytes) -> bytes:
        return await self._to.readlink(head.node, caller(head))

    # --- attributes -----------------------------------------------------------------------------------------

    async def _getattr(self, head: Head, body: bytes, content: bytes) -> bytes:
        return wire.attr_out(*await self._to.getattr(head.node, caller(head)))

    async def _setattr(self, head: Head, body: bytes, content: bytes) -> bytes:
        valid, _, fh, size, _, *times, mode, _, uid, gid, _ = wire.SETATTR_IN.unpack_from(body)
        to = AttributeChange(
            mode=mode if valid & wire.FATTR_MODE else None,
            uid=uid if valid & wire.FATTR_UID else None,
            gid=gid if valid & wire.FATTR_GID else None,
            size=size if valid & wire.FATTR_SIZE else None,
            atime=_time(times[0], times[3], valid, wire.FATTR_ATIME, wire.FATTR_ATIME_NOW),
            mtime=_time(times[1], times[4], valid, wire.FATTR_MTIME, wire.FATTR_MTIME_NOW),
        )
        handle = fh if valid & wire.FATTR_FH else None
        if valid & CHOWN:
            await self._to.drop_privileges(head.node, True)
        elif valid & wire.FATTR_SIZE or not valid & CHANGES:  # nothing to be set: the capabilities are to go
            await self._to.drop_privileges(head.node, bool(valid & wire.FATTR_KILL_SUIDGID))
        return wire.attr_out(*await self._to.setattr(head.node, to, handle, caller(head)))

    async def _statfs(self, head: Head, body: bytes, content: bytes) -> bytes:
        room = await self._to.statfs(caller(head), head.node)
        total, free = room.total // BLOCK_BYTES, room.free // BLOCK_BYTES
        return wire.STATFS_OUT.pack(total, free, free, INODES, INODES, BLOCK_BYTES, NAME_BYTES, BLOCK_BYTES, 0)

    async def _setxattr(self, head: Head, body: bytes, content: bytes) -> bytes:
        keep_setgid: bool | None = None
        if self.long_setxattr:
            size, flags, more, _ = wire.SETXATTR_IN.unpack_from(body)
            rest, keep_setgid = body[wire.SETXATTR_IN.size :], not more & wire.SETXATTR_ACL_KILL_SGID
        else:
            size, flags = wire.SETXATTR_OLD.unpack_from(body)
            rest = body[wire.SETXATTR_OLD.size :]
        name, _, value = rest.partition(b"\0")
        await self._to.setxattr(head.node, name, value[:size], caller(head), flags, keep_setgid)
        return b""

    async def _getxattr(self, head: Head, body: bytes, content: bytes) -> bytes:
        size, _ = wire.GETXATTR_IN.unpack_from(body)
        value = await self._to.getxattr(head.node, body[wire.GETXATTR_IN.size : -1], caller(head))
        return _sized(value, size)

    async def _listxattr(self, head: Head, body: bytes, content: bytes) -> bytes:
        size, _ = wire.GETXATTR_IN.unpack_from(body)
        names = await self._to.listxattr(head.node, caller(head))
        return _sized(b"".join(name + b"\0" for name in names), size)

    async def _removexattr(self, head: Head, body: bytes, content: bytes) -> bytes:
        await self._to.removexattr(head.node, *wire.names_in(body, 1), caller(head))
        return b""

    # --- files ----------------------------------------------------------------------------------------------

    async def _open(self, head: Head, body: bytes, content: bytes) -> bytes:
        flags, _ = wire.OPEN_IN.unpack_from(body)
        handle = await self._to.open(head.node, flags, caller(head))
        reads = flags & os.O_ACCMODE == os.O_RDONLY  # then its close has nothing to say
        return wire.OPEN_OUT.pack(handle, wire.FOPEN_KEEP_CACHE | (wire.FOPEN_NOFLUSH if reads else 0), 0)

    async def _create(self, head: Head, body: bytes, content: bytes) -> bytes:
        flags, mode, umask, _ = wire.CREATE_IN.unpack_from(body)
        (name,) = wire.names_in(body[wire.CREATE_IN.size :], 1)
        handle, number, inode = await self._to.create(head.node, name, mode, flags, caller(head, umask))
        return wire.entry_out(number, inode) + wire.OPEN_OUT.pack(handle, wire.FOPEN_KEEP_CACHE, 0)

    async def _read(self, head: Head, body: bytes, content: bytes) -> bytes:
        fh, offset, size, *_ = wire.READ_IN.unpack_from(body)
        return await self._to.read(fh, offset, size)

    async def _write(self, head: Head, body: bytes, content: bytes) -> bytes:
        fh, offset, size, flags, *_ = wire.WRITE_IN.unpack_from(body)
        if len(content) != size:
            raise ValueError(f"{len(content)} bytes to write, not {size}")
        await self._to.drop_privileges(head.node, bool(flags & wire.WRITE_KILL_SUIDGID))
        return wire.WRITE_OUT.pack(await self._to.write(fh, offset, content), 0)

    async def _flush(self, head: Head, body: bytes, content: bytes) -> bytes:
        await self._to.flush(wire.FLUSH_IN.unpack_from(body)[0])
        return b""

    async def _release(self, head: Head, body: bytes, content: bytes) -> bytes:
        await self._to.release(wire.RELEASE_IN.unpack_from(body)[0])
        return b""

    async def _fsync(self, head: Head, body: bytes, content: bytes) -> bytes:
        fh, flags, _ = wire.FSYNC_IN.unpack_from(body)
        await self._to.fsync(fh, bool(flags & 1))
        return b""

    async def _tmpfile(self, head: Head, body: bytes, content: bytes) -> bytes:
        _, mode, umask, _ = wire.CREATE_IN.unpack_from(body)
        handle, number, inode = await self._to.tmpfile(head.node, mode, caller(head, umask))
        return wire.entry_out(number, inode) + wire.OPEN_OUT.pack(handle, wire.FOPEN_KEEP_CACHE, 0)

    async def _fallocate(self, head: Head, body: bytes, content: bytes) -> bytes:
        fh, offset, length, mode, _ = wire.FALLOCATE_IN.unpack_from(body)
        await self._to.drop_privileges(head.node, head.uid != 0)
        await self._to.fallocate(fh, offset, length, mode)
        return b""

    async def _lseek(self, head: Head, body: bytes, content: bytes) -> bytes:
        fh, offset, whence, _ = wire.LSEEK_IN.unpack_from(body)
        return wire.LSEEK_OUT.pack(await self._to.lseek(fh, offset, whence))

    async def _copy_file_range(self, head: Head, body: bytes, content: bytes) -> bytes:
        return wire.WRITE_OUT.pack(await self._copied(head, body, COPIED_MAX), 0)

    async def _copy_file_range_64(self, head: Head, body: bytes, content: bytes) -> bytes:
        return wire.COPY_OUT.pack(await self._copied(head, body, LENGTH_MAX))

    async def _copied(self, head: Head, body: bytes, most: int) -> int:
        fh, offset, to_node, to_fh, to_offset, length, _ = wire.COPY_IN.unpack_from(body)
        await self._to.drop_privileges(to_node, head.uid != 0)
        return await self._to.copy_file_range(fh, offset, to_fh, to_offset, min(length, most))

    # --- directories ----------------------------------------------------------------------------------------

    async def _opendir(self, head: Head, body: bytes, content: bytes) -> bytes:
        return wire.OPEN_OUT.pack(await self._to.opendir(head.node, caller(head)), 0, 0)

    async def _readdir(self, head: Head, body: bytes, content: bytes) -> bytes:
        fh, place, size, *_ = wire.READ_IN.unpack_from(body)
        listing = _Listing(size, plus=False)
        await self._to.readdir(fh, place, listing.take, told=False)
        return b"".join(listing.taken)

    async def _readdirplus(self, head: Head, body: bytes, content: bytes) -> bytes:
        fh, place, size, *_ = wire.READ_IN.unpack_from(body)
        listing = _Listing(size, plus=True)
        await self._to.readdir(fh, place, listing.take)
        return b"".join(listing.taken)

    async def _releasedir(self, head: Head, body: bytes, content: bytes) -> bytes:
        await self._to.releasedir(wire.RELEASE_IN.unpack_from(body)[0])
        return b""

    async def _fsyncdir(self, head: Head, body: bytes, content: bytes) -> bytes:
        fh, flags, _ = wire.FSYNC_IN.unpack_from(body)
        await self._to.fsyncdir(fh, bool(flags & 1))
        return b""


class _Listing:
    """As many entries as the kernel has room for."""

    def __init__(self, size: int, *, plus: bool) -> None:
        self.taken: list[bytes] = []
        self._left = size
        self._plus = plus

    def take(self, name: bytes, number: int, inode: Inode, place: int) -> bool:
        """Take an entry; False: it does not fit."""
        if self._plus:
            entry = wire.direntplus(name, number, inode, place, counted=name not in (b".", b".."))
        else:
            entry = wire.dirent(name, number, inode.mode, place)
        if len(entry) > self._left:
            return False
        self._left -= len(entry)
        self.taken.append(entry)
        return True


def _time(seconds: int, nanoseconds: int, valid: int, given: int, now: int) -> int | None:
    if valid & now:
        return time.time_ns()
    return storable(seconds * NS + nanoseconds) if valid & given else None


def _sized(value: bytes, size: int) -> bytes:
    """A value, or with room for nothing, how long it is."""
    if size == 0:
        return wire.XATTR_OUT.pack(len(value), 0)
    if len(value) > size:
        raise Refused(errno.ERANGE)
    return value
