"""The verbs of the mount on attributes: mode, owner, times, size, and what the file system as a whole has room for.

Room: stratum/engine. May import: core, store.disks, engine.{file_history, file_mounted, file_table, file_xattrs}.
"""

import stat
from dataclasses import dataclass

import msgspec

from stratum.core.config import Settings
from stratum.core.records import Inode
from stratum.core.schema import inode_key, xattr_key
from stratum.core.txn import Txn, save
from stratum.engine.file_history import History, check_changeable, in_view
from stratum.engine.file_mounted import Mounted
from stratum.engine.file_table import FileTable, load_inode
from stratum.engine.file_xattrs import note_mode
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

    def room(self) -> Room:
        """What the disks in service hold together, less parity; the smallest disk sets the measure for all.

        Disks that are folders on one device share its room, they do not multiply it.
        """
        slots = self._disks.in_service("")  # new bytes go to hot disks
        if not slots:
            return Room(0, 0)
        devices = [self._disks.get(slot).folder_id[0] for slot in slots]
        states = [self._disks.state(slot) for slot in slots]
        sharing = [devices.count(device) for device in devices]
        share = len(slots) * self._settings.k / (self._settings.k + self._settings.parity)
        total = min(state.total / count for state, count in zip(states, sharing, strict=True))
        free = min(state.free / count for state, count in zip(states, sharing, strict=True))
        return Room(int(total * share), int(free * share))


def without_set_id(mode: int) -> int:
    """A mode without the bits that run a program as its owner or group; set-gid without x means something else."""
    return mode & ~(stat.S_ISUID | (stat.S_ISGID if mode & stat.S_IXGRP else 0))
