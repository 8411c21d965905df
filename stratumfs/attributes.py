"""Inodes as the kernel wants them described, and what it wants set.

Room: stratumfs. May import: core, engine.file_attributes.
"""

import pyfuse3

from stratum.core.records import Inode, Kind
from stratum.engine.file_attributes import AttributeChange, Room

CACHED_S = 60.0  # kernel caches may keep names and attributes so long: every change over S3 invalidates them exactly
NAME_BYTES = 255
BLOCK_BYTES, STAT_BLOCK_BYTES = 4096, 512
FIRST_NS, LAST_NS = -(1 << 63), (1 << 63) - 1  # the years 1677 to 2262; times beyond become these
INODES = 1 << 40  # shown as the number of inodes: nothing limits it


def attributes(number: int, inode: Inode) -> pyfuse3.EntryAttributes:
    """An inode as stat(2) shows it."""
    entry = pyfuse3.EntryAttributes()
    entry.st_ino = number
    entry.entry_timeout = entry.attr_timeout = CACHED_S
    entry.st_mode = inode.mode
    entry.st_nlink = inode.nlink
    entry.st_uid = inode.uid
    entry.st_gid = inode.gid
    entry.st_rdev = inode.rdev
    entry.st_size = size = BLOCK_BYTES if inode.kind is Kind.DIRECTORY else inode.size
    entry.st_blocks = -(-(size - inode.holes) // STAT_BLOCK_BYTES)
    entry.st_blksize = BLOCK_BYTES
    entry.st_atime_ns = inode.atime
    entry.st_mtime_ns = inode.mtime
    entry.st_ctime_ns = inode.ctime
    return entry


def nothing() -> pyfuse3.EntryAttributes:
    """There is no such name; the kernel may remember that."""
    entry = pyfuse3.EntryAttributes()
    entry.st_ino = 0
    entry.entry_timeout = entry.attr_timeout = CACHED_S
    return entry


def change_of(attr: pyfuse3.EntryAttributes, fields: pyfuse3.SetattrFields) -> AttributeChange:
    """What setattr is to set."""
    return AttributeChange(
        mode=attr.st_mode if fields.update_mode else None,
        uid=attr.st_uid if fields.update_uid else None,
        gid=attr.st_gid if fields.update_gid else None,
        size=attr.st_size if fields.update_size else None,
        atime=_storable(attr.st_atime_ns) if fields.update_atime else None,
        mtime=_storable(attr.st_mtime_ns) if fields.update_mtime else None,
    )


def _storable(time: int) -> int:
    return min(max(time, FIRST_NS), LAST_NS)


def statistics(room: Room) -> pyfuse3.StatvfsData:
    """The whole file system as statvfs(2) shows it."""
    shown = pyfuse3.StatvfsData()
    shown.f_bsize = shown.f_frsize = BLOCK_BYTES
    shown.f_blocks = room.total // BLOCK_BYTES
    shown.f_bfree = shown.f_bavail = room.free // BLOCK_BYTES
    shown.f_files = shown.f_ffree = shown.f_favail = INODES
    shown.f_namemax = NAME_BYTES
    return shown
