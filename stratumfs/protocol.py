"""The words that the kernel and a file system exchange over /dev/fuse: numbers, layouts, and how they become values.

Room: stratumfs. May import: core.records, stratumfs.attributes. Pure: bytes in, values out, and back.

Source: linux/fuse.h, the kernel's own description of the protocol, version 7.38; native byte order. A
request is a head of 40 bytes and a body, an answer a head of 16 bytes and a body. Names end with a zero byte.
"""

from enum import IntEnum
from struct import Struct
from struct import error as struct_error
from typing import NamedTuple

from stratum.core.records import Inode
from stratumfs.attributes import BLOCK_BYTES, CACHED_S, cached_s, shown_size, stat_blocks

MAJOR, MINOR = 7, 38
OLDEST_MINOR = 28  # max_pages, copy_file_range: Linux 4.20
MAX_WRITE = 1 << 20  # the most that a kernel sends or asks for without being told otherwise (fs.fuse.max_pages_limit)
REQUEST_BYTES = MAX_WRITE + 4096  # of the largest request, its heads included


class Op(IntEnum):
    """What is asked."""

    LOOKUP, FORGET, GETATTR, SETATTR, READLINK, SYMLINK = 1, 2, 3, 4, 5, 6
    MKNOD, MKDIR, UNLINK, RMDIR, RENAME, LINK, OPEN, READ, WRITE, STATFS, RELEASE = range(8, 19)
    FSYNC, SETXATTR, GETXATTR, LISTXATTR, REMOVEXATTR, FLUSH, INIT, OPENDIR, READDIR, RELEASEDIR, FSYNCDIR = range(
        20, 31
    )
    GETLK, SETLK, SETLKW, ACCESS, CREATE, INTERRUPT, BMAP, DESTROY, IOCTL, POLL, NOTIFY_REPLY = range(31, 42)
    BATCH_FORGET, FALLOCATE, READDIRPLUS, RENAME2, LSEEK, COPY_FILE_RANGE = range(42, 48)
    SYNCFS, TMPFILE, STATX, COPY_FILE_RANGE_64 = 50, 51, 52, 53


class Init:
    """Bits of the flags in INIT: what the kernel offers and the file system takes."""

    ASYNC_READ = 1 << 0
    ATOMIC_O_TRUNC = 1 << 3
    EXPORT_SUPPORT = 1 << 4
    BIG_WRITES = 1 << 5
    DONT_MASK = 1 << 6
    DO_READDIRPLUS = 1 << 13
    READDIRPLUS_AUTO = 1 << 14
    ASYNC_DIO = 1 << 15
    WRITEBACK_CACHE = 1 << 16
    PARALLEL_DIROPS = 1 << 18
    POSIX_ACL = 1 << 20
    ABORT_ERROR = 1 << 21
    MAX_PAGES = 1 << 22
    CACHE_SYMLINKS = 1 << 23
    EXPLICIT_INVAL_DATA = 1 << 25
    HANDLE_KILLPRIV_V2 = 1 << 28
    SETXATTR_EXT = 1 << 29
    INIT_EXT = 1 << 30


# Bits of single requests and answers.
FATTR_MODE, FATTR_UID, FATTR_GID, FATTR_SIZE, FATTR_ATIME, FATTR_MTIME, FATTR_FH = (1 << bit for bit in range(7))
FATTR_ATIME_NOW, FATTR_MTIME_NOW, FATTR_KILL_SUIDGID = 1 << 7, 1 << 8, 1 << 11
FOPEN_KEEP_CACHE, FOPEN_NOFLUSH = 1 << 1, 1 << 5
OPEN_KILL_SUIDGID = 1 << 0
WRITE_KILL_SUIDGID = 1 << 2
SETXATTR_ACL_KILL_SGID = 1 << 0

NOTIFY_INVAL_INODE, NOTIFY_INVAL_ENTRY, NOTIFY_DELETE = 2, 3, 6

REQUEST_HEAD = Struct("=IIQQIIIHH")  # len, opcode, unique, nodeid, uid, gid, pid, extensions, padding
ANSWER_HEAD = Struct("=IiQ")  # len, error, unique

_ATTR = "QQQqqqIIIIIIIIII"  # ino, size, blocks, times, their nanoseconds, mode, nlink, uid, gid, rdev, blksize, flags
ENTRY_OUT = Struct("=QQQQII" + _ATTR)  # nodeid, generation, how long name and attributes are valid, ...
ATTR_OUT = Struct("=QII" + _ATTR)
OPEN_OUT = Struct("=QII")  # fh, flags, backing
WRITE_OUT = Struct("=II")
STATFS_OUT = Struct("=QQQQQIIII24x")  # blocks, bfree, bavail, files, ffree, bsize, namelen, frsize
XATTR_OUT = Struct("=II")
LSEEK_OUT = Struct("=Q")
COPY_OUT = Struct("=Q")
INIT_OUT = Struct("=IIIIHHIIHHIIH22x")  # see `answer_init`
DIRENT = Struct("=QQII")  # ino, place after it, length of the name, type; the name follows, padded to 8 bytes

INIT_IN = Struct("=IIII")  # major, minor, max_readahead, flags; flags2 follows where there is INIT_EXT
FLAGS2 = Struct("=I")
FORGET_IN = Struct("=Q")
BATCH_FORGET_IN = Struct("=II")
FORGET_ONE = Struct("=QQ")
INTERRUPT_IN = Struct("=Q")
GETATTR_IN = Struct("=IIQ")  # flags, -, fh
SETATTR_IN = Struct("=IIQQQqqqIIIIIIII")
MKNOD_IN = Struct("=IIII")  # mode, rdev, umask, -
MKDIR_IN = Struct("=II")  # mode, umask
RENAME_IN = Struct("=Q")
RENAME2_IN = Struct("=QII")  # new directory, flags, -
LINK_IN = Struct("=Q")
OPEN_IN = Struct("=II")  # flags, open_flags
CREATE_IN = Struct("=IIII")  # flags, mode, umask, open_flags
RELEASE_IN = Struct("=QIIQ")  # fh, flags, release_flags, lock owner
FLUSH_IN = Struct("=QIIQ")
READ_IN = Struct("=QQIIQII")  # fh, offset, size, read_flags, lock owner, flags, -
WRITE_IN = READ_IN  # write_flags in place of read_flags; the bytes follow
FSYNC_IN = Struct("=QII")  # fh, flags, -
SETXATTR_OLD, SETXATTR_IN = Struct("=II"), Struct("=IIII")  # size, flags; setxattr_flags, -
GETXATTR_IN = Struct("=II")
FALLOCATE_IN = Struct("=QQQII")  # fh, offset, length, mode, -
LSEEK_IN = Struct("=QQII")  # fh, offset, whence, -
COPY_IN = Struct("=QQQQQQQ")  # fh, offset, nodeid of the target, its fh, its offset, length, flags

INVAL_INODE = Struct("=Qqq")  # ino, offset (below 0: attributes alone), length
INVAL_ENTRY = Struct("=QII")  # directory, length of the name, flags
DELETE = Struct("=QQII")  # directory, inode, length of the name, -

_NS = 10**9
HEAD_BYTES, ANSWER_BYTES = REQUEST_HEAD.size, ANSWER_HEAD.size
COPIED_BYTES = 16 * 1024  # of an answer: up to here a copy costs less than a second piece
FIRST_BYTES = HEAD_BYTES + WRITE_IN.size  # of a WRITE, before what is to be written


class Head(NamedTuple):
    """Who asks for what."""

    length: int
    opcode: int
    unique: int
    node: int
    uid: int
    gid: int
    pid: int
    extensions: int
    padding: int


Answer = tuple[bytes, ...]  # what is sent in one piece
Request = tuple[Head, bytes, bytes]
"""The head, the body, and what a WRITE brings."""


class Offer(NamedTuple):
    """What the kernel can do."""

    major: int
    minor: int
    max_readahead: int
    flags: int


def request_in(first: bytearray, rest: memoryview, length: int) -> Request:
    """The request of `length` bytes that was read into two buffers, the first of `FIRST_BYTES`.

    The bytes of a WRITE are copied once, here. Raises struct.error if this is too short for a request.
    """
    if length < HEAD_BYTES:
        raise struct_error(f"{length} bytes")
    head = Head._make(REQUEST_HEAD.unpack_from(first))
    if length <= FIRST_BYTES:
        return head, bytes(first[HEAD_BYTES:length]), b""
    if head.opcode == Op.WRITE:
        return head, bytes(first[HEAD_BYTES:]), bytes(rest[: length - FIRST_BYTES])
    return head, bytes(first[HEAD_BYTES:]) + rest[: length - FIRST_BYTES], b""


def answer(unique: int, body: bytes) -> Answer:
    """An answer to a request that was done."""
    head = ANSWER_HEAD.pack(ANSWER_BYTES + len(body), 0, unique)
    return (head, body) if len(body) > COPIED_BYTES else (head + body,)


def refusal(unique: int, number: int) -> Answer:
    """An answer to a request that failed with errno `number`."""
    return (ANSWER_HEAD.pack(ANSWER_BYTES, -number, unique),)


def names_in(body: bytes, count: int) -> list[bytes]:
    """The `count` names that a body ends with. Raises ValueError if there are not so many."""
    parts = body.split(b"\0", count)
    if len(parts) <= count or b"" in parts[:count]:
        raise ValueError(f"not {count} names: {bytes(body)[:80]!r}")
    return parts[:count]


# --- INIT -----------------------------------------------------------------------------------------------------


def offer_in(body: bytes) -> Offer:
    """What an INIT offers."""
    major, minor, readahead, flags = INIT_IN.unpack_from(body)
    if flags & Init.INIT_EXT and len(body) >= INIT_IN.size + FLAGS2.size:
        flags |= FLAGS2.unpack_from(body, INIT_IN.size)[0] << 32
    return Offer(major, minor, readahead, flags)


def answer_init(offer: Offer, wanted: int, max_background: int) -> bytes:
    """The body of the answer: of `wanted` what there is, with the largest requests that there can be."""
    flags = offer.flags & wanted
    return INIT_OUT.pack(
        MAJOR,
        MINOR,
        offer.max_readahead,
        flags & 0xFFFFFFFF,
        max_background,
        max_background * 3 // 4,  # from here on the kernel calls the file system busy
        MAX_WRITE,
        1,  # times are exact to a nanosecond
        MAX_WRITE // 4096,  # pages of a request
        0,
        flags >> 32,
        0,
        0,
    )


# --- attributes -----------------------------------------------------------------------------------------------


def attr_out(number: int, inode: Inode) -> bytes:
    """An inode as GETATTR and SETATTR tell of it."""
    return ATTR_OUT.pack(int(cached_s(number)), 0, 0, *_attr(number, inode))


def entry_out(number: int, inode: Inode) -> bytes:
    """An inode as whoever asked for a name is told of it."""
    kept = int(cached_s(number))
    return ENTRY_OUT.pack(number, 0, kept, kept, 0, 0, *_attr(number, inode))


NO_ENTRY = ENTRY_OUT.pack(0, 0, int(CACHED_S), 0, 0, 0, *[0] * len(_ATTR))
"""There is no such name, and the kernel may remember that."""


def _attr(number: int, inode: Inode) -> tuple[int, ...]:
    atime, atime_ns = divmod(inode.atime, _NS)
    mtime, mtime_ns = divmod(inode.mtime, _NS)
    ctime, ctime_ns = divmod(inode.ctime, _NS)
    size = shown_size(inode)
    return (
        number, size, stat_blocks(inode, size), atime, mtime, ctime, atime_ns, mtime_ns, ctime_ns,
        inode.mode, inode.nlink, inode.uid, inode.gid, inode.rdev, BLOCK_BYTES, 0,
    )  # fmt: skip


# --- directories ----------------------------------------------------------------------------------------------


def dirent(name: bytes, number: int, mode: int, place: int) -> bytes:
    """An entry of READDIR; `place`: where to go on after it."""
    return DIRENT.pack(number, place, len(name), mode >> 12) + name + bytes(-len(name) % 8)


def direntplus(name: bytes, number: int, inode: Inode, place: int, *, counted: bool) -> bytes:
    """An entry of READDIRPLUS. Not `counted`: the kernel does not take it for a lookup (`.` and `..`)."""
    entry = entry_out(number, inode) if counted else bytes(ENTRY_OUT.size)
    return entry + dirent(name, number, inode.mode, place)


# --- what is told without having been asked --------------------------------------------------------------------


def inval_inode(number: int, *, content: bool) -> bytes:
    """Forget the attributes of an inode, and with `content` its bytes."""
    return _notification(NOTIFY_INVAL_INODE, INVAL_INODE.pack(number, 0 if content else -1, 0))


def inval_entry(directory: int, name: bytes) -> bytes:
    """Forget a name."""
    return _notification(NOTIFY_INVAL_ENTRY, INVAL_ENTRY.pack(directory, len(name), 0) + name + b"\0")


def delete(directory: int, number: int, name: bytes) -> bytes:
    """A name was removed: tell who watches it."""
    return _notification(NOTIFY_DELETE, DELETE.pack(directory, number, len(name), 0) + name + b"\0")


def _notification(code: int, body: bytes) -> bytes:
    return ANSWER_HEAD.pack(ANSWER_BYTES + len(body), code, 0) + body
