"""Which inodes are in use through the mount, and what happens when they no longer are.

Room: stratum/engine. May import: core, engine.{file_mounted, file_open, publisher}.

Invariants
    I1  An inode is in use while the kernel knows it (`pin`), has it open, or it has unpublished bytes. So long its
        record stays: without a name it is an orphan (core.inodes), freed by whoever ends the last use.
    I2  There is at most one OpenFile for an inode, and it is here.
"""

import logging
from collections.abc import Iterable

from stratum.core.errors import IsADirectory, NoSuchInode, NotPermitted, StratumError
from stratum.core.inodes import free
from stratum.core.records import Inode, Kind
from stratum.core.schema import NOT_PUBLISHED, ORPHAN, inode_key, orphan_key
from stratum.core.txn import Txn, load, scan_records
from stratum.engine.file_mounted import Mounted
from stratum.engine.file_open import OpenFile
from stratum.engine.publisher import Publisher

log = logging.getLogger(__name__)

ORPHANS_AT_ONCE = 256


class FileTable:
    """The inodes in use. `files`: those that are open or have unpublished bytes."""

    def __init__(self, mounted: Mounted) -> None:
        self.files: dict[int, OpenFile] = {}
        self.publisher = Publisher(mounted, self.release)
        self._mounted = mounted
        self._pins: dict[int, int] = {}

    def is_pinned(self, number: int) -> bool:
        """Is the inode in use (I1)?"""
        return number in self._pins or number in self.files

    def pin(self, number: int, times: int = 1) -> None:
        """The kernel was told of the inode."""
        self._pins[number] = self._pins.get(number, 0) + times

    def unpin(self, forgotten: Iterable[tuple[int, int]]) -> None:
        """The kernel forgot inodes: (number, how many times)."""
        unused: list[int] = []
        for number, times in forgotten:
            left = self._pins.get(number, 0) - times
            if left > 0:
                self._pins[number] = left
            elif self._pins.pop(number, None) is not None and number not in self.files:
                unused.append(number)
        self._free_orphans_among(unused)

    def unpin_all(self) -> None:
        """The kernel forgot everything: unmounted."""
        self.unpin(list(self._pins.items()))

    def record(self, number: int) -> Inode:
        """The inode as the mount shows it. Raises NoSuchInode."""
        inode = self._mounted.meta.read(lambda txn: load_inode(txn, number))
        return self.shown(number, inode)

    def shown(self, number: int, inode: Inode) -> Inode:
        """A record with what its file holds beyond it."""
        file = self.files.get(number)
        return inode if file is None else file.shown(inode)

    def use(self, number: int, inode: Inode | None = None) -> OpenFile:
        """The live state of a regular file. Raises NoSuchInode, IsADirectory, NotPermitted for what has no bytes."""
        file = self.files.get(number)
        if file is None:
            if inode is None:
                inode = self._mounted.meta.read(lambda txn: load_inode(txn, number))
            if inode.kind is Kind.DIRECTORY:
                raise IsADirectory(f"inode {number}")
            if inode.kind is not Kind.OBJECT:
                raise NotPermitted(f"inode {number} has no bytes")
            file = self.files[number] = OpenFile(self._mounted, number, inode)
        return file

    async def release(self, file: OpenFile) -> None:
        """One use of `file` has ended; let go of it if that was the last."""
        if file.handles or self.publisher.keeps(file.number) or self.files.get(file.number) is not file:
            return
        if file.dirty or file.lost is not None:
            if self._has_name(file.number) and file.lost is None:
                self.publisher.enqueue(file)
                return
            if file.lost is not None and file.error is None:
                log.error("unpublished bytes of a file are lost: %s", file.lost, extra={"inode": file.number})
            await file.forget()
            if file.handles:
                return
        self.files.pop(file.number, None)
        if file.number not in self._pins:
            self._free_orphans_among([file.number])

    async def publish_closed(self, number: int) -> None:
        """A file is about to be emptied: have it published first, if it was closed a moment ago.

        Or S3 would be shown, in place of what was closed, the file while it is being written anew.
        """
        if self.publisher.keeps(number):
            await self.publisher.finish(number)

    async def free_orphans(self) -> None:
        """Free every orphan: at start nobody uses any."""
        while True:
            orphans = self._mounted.meta.read(_orphans)
            if not orphans:
                return
            await self._mounted.meta.room()
            self._mounted.apply(lambda txn: _free(txn, orphans))  # noqa: B023 - runs at once

    def publish_left(self) -> None:
        """Have published, as it was last durable, what was made and not published when the process ended.

        Nobody has such a file open any more, so no close will come: without this it were a file that S3 never sees.
        """
        for number in self._mounted.meta.read(_not_published):
            inode = self._mounted.meta.read(lambda txn: load(txn, inode_key(number), Inode))  # noqa: B023 - runs at once
            if inode is not None and inode.nlink > 0 and not inode.etag:
                self.publisher.enqueue(self.use(number, inode))

    def is_gone(self, number: int) -> bool:
        """Has the inode lost its last name? Where that cannot be read: no."""
        try:
            return not self._has_name(number)
        except StratumError as error:
            log.warning("who watches a file is not told that it is gone: %s", error, extra={"inode": number})
            return False

    def _has_name(self, number: int) -> bool:
        inode = self._mounted.meta.read(lambda txn: load(txn, inode_key(number), Inode))
        return inode is not None and inode.nlink > 0

    def _free_orphans_among(self, numbers: list[int]) -> None:
        """Free those without a name. A failure leaves them to the next start."""
        if not numbers:
            return
        try:
            orphans = self._mounted.meta.read(
                lambda txn: [number for number in numbers if txn.get(orphan_key(number)) is not None]
            )
            if orphans:
                self._mounted.apply(lambda txn: _free(txn, orphans))
        except StratumError as error:
            log.warning("unlinked files are freed at the next start only: %s", error)


def load_inode(txn: Txn, number: int) -> Inode:
    """Return the record of an inode. Raises NoSuchInode."""
    inode = load(txn, inode_key(number), Inode)
    if inode is None:
        raise NoSuchInode(f"inode {number}")
    return inode


def _orphans(txn: Txn) -> list[int]:
    found: list[int] = []
    for rest, _ in scan_records(txn, ORPHAN, int):
        found.append(int.from_bytes(rest, "big"))
        if len(found) == ORPHANS_AT_ONCE:
            break
    return found


def _not_published(txn: Txn) -> list[int]:
    return [int.from_bytes(rest, "big") for rest, _ in scan_records(txn, NOT_PUBLISHED, int)]


def _free(txn: Txn, numbers: list[int]) -> None:
    for number in numbers:
        inode = load(txn, inode_key(number), Inode)
        if inode is None:
            txn.delete(orphan_key(number))
        else:
            free(txn, number, inode)
