"""The verbs of the mount on attributes: mode, owner, times, size, and what the file system as a whole has room for.

Room: stratum/engine. May import: core, store.disks, engine.{file_history, file_mounted, file_table, file_xattrs}.
"""

import stat
from dataclasses import dataclass
from functools import partial

import msgspec

from stratum.core.config import Settings
from stratum.core.errors import NoSuchInode
from stratum.core.namespace import path_of
from stratum.core.quotas import room_of
from stratum.core.records import Inode, Kind
from stratum.core.schema import ROOT_INODE, inode_key, xattr_key
from stratum.core.txn import Txn, load, save
from stratum.engine.file_history import History, check_changeable, in_view
from stratum.engine.file_mounted import Mounted
from stratum.engine.file_table import FileTable, load_inode
from stratum.engine.file_xattrs import note_mode
from stratum.engine.room import capacity_of
from stratum.store.disks import Disks


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributeChange:
    """What is to be set; None: stays. Times in ns since the epoch."""

    mode: int | None = None  # permission bits
    uid: int | None = None
    gid: int | None = None
    size: int | None = None
    atime: int | None = None
    mtime: int | None = None


CAPABILITIES = b"security.capability"  # the extended attribute that capabilities(7) of a program rest in


@dataclass(frozen=True, slots=True)
class Room:
    """Bytes of content that the store can hold, and still has room for."""

    total: int
    free: int


class FileAttributes:
    """Attributes of inodes."""

    def __init__(self, mounted: Mounted, table: FileTable, disks: Disks, settings: Settings, history: History) -> None:
        self._mounted = mounted
        self._history = history
        self._table = table
        self._disks = disks
        self._settings = settings

    def get(self, number: int) -> Inode:
        """The inode as the mount shows it. Raises NoSuchInode."""
        return self._history.record(number) if in_view(number) else self._table.record(number)

    async def set(self, number: int, to: AttributeChange, *, opened: bool = False) -> Inode:
        """Set attributes, return the result. A new size is published as by close, unless the file is `opened`.

        Raises NoSuchInode, IsADirectory, TooLarge, ReadOnly.
        """
        check_changeable(number)
        if to.size is not None:
            if to.size == 0:
                await self._table.publish_closed(number)
            file = self._table.use(number)
            file.truncate(to.size)
            if not opened:
                self._table.publisher.enqueue(file)
        if (to.mode, to.uid, to.gid, to.atime, to.mtime) != (None,) * 5:
            await self._set_in_record(number, to)
        return self._table.record(number)

    async def _set_in_record(self, number: int, to: AttributeChange) -> None:
        now = self._mounted.now_ns()

        def change(txn: Txn) -> None:
            old = load_inode(txn, number)
            new = msgspec.structs.replace(
                old,
                mode=old.mode if to.mode is None else stat.S_IFMT(old.mode) | stat.S_IMODE(to.mode),
                uid=old.uid if to.uid is None else to.uid,
                gid=old.gid if to.gid is None else to.gid,
                atime=old.atime if to.atime is None else to.atime,
                mtime=old.mtime if to.mtime is None else to.mtime,
                ctime=now,
            )
            save(txn, inode_key(number), new)
            if to.mode is not None:
                note_mode(txn, number, to.mode)

        await self._mounted.meta.room()
        self._mounted.apply(change)
        file = self._table.files.get(number)
        if file is not None and to.mtime is not None:
            file.mtime_was_set()

    async def drop_privileges(self, number: int, *, set_id: bool) -> bool:
        """A regular file is about to be emptied by open(2): its capabilities go, and with `set_id` what would run it
        as its owner or group, as from write(2), where the kernel sees to it. Returns whether there were any.

        Raises NoSuchInode.
        """
        check_changeable(number)
        now = self._mounted.now_ns()

        def bare(txn: Txn) -> bool:
            mode = load_inode(txn, number).mode
            return txn.get(xattr_key(number, CAPABILITIES)) is None and (not set_id or without_set_id(mode) == mode)

        def change(txn: Txn) -> None:
            old = load_inode(txn, number)
            mode = without_set_id(old.mode) if set_id else old.mode
            save(txn, inode_key(number), msgspec.structs.replace(old, mode=mode, ctime=now))
            txn.delete(xattr_key(number, CAPABILITIES))

        if self._mounted.meta.read(bare):
            return False
        await self._mounted.meta.room()
        self._mounted.apply(change)
        return True

    def room(self, number: int = ROOT_INODE) -> Room:
        """What the hot disks in service hold together, less parity (engine/room.py): there new bytes go.

        Inside a bucket with a quota, or of an owner with one, no more than that leaves.
        """
        found = capacity_of(self._disks, self._settings)
        room = Room(found.usable_bytes, found.free_bytes)
        limited = None if number == ROOT_INODE or in_view(number) else self._mounted.meta.read(partial(_quota, number))
        if limited is None:
            return room
        most, used = limited
        return Room(min(room.total, most), min(room.free, max(most - used, 0)))


def _quota(number: int, txn: Txn) -> tuple[int, int] | None:
    """(most bytes, bytes used) of what limits the bucket of an inode; None: nothing does."""
    inode = load(txn, inode_key(number), Inode)
    if inode is None:
        return None
    try:
        root = inode.bucket if inode.kind is not Kind.DIRECTORY else path_of(txn, number)[0]
    except NoSuchInode:  # of a directory that was removed and is still open
        return None
    found = room_of(txn, root)
    return None if found is None else (found[1].bytes_max or 0, found[0].bytes)


def without_set_id(mode: int) -> int:
    """A mode without the bits that run a program as its owner or group; set-gid without x means something else."""
    return mode & ~(stat.S_ISUID | (stat.S_ISGID if mode & stat.S_IXGRP else 0))
