"""Mounted files: open, read, write, fsync, close; and the way to names, attributes and extended attributes.

Room: stratum/engine. May import: core, store, engine.{buckets, contents, file_*, publisher}.

What a door to a file system needs, in terms of inodes and offsets; it knows no kernel. Writing is into memory; bytes
become visible to S3 when they are published: at once and durable by `fsync`, within `Limits.publish_delay` by `close`.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import count

import trio

from stratum.core.config import Settings
from stratum.core.errors import NoSuchInode, StratumError
from stratum.core.records import Inode
from stratum.engine import file_ranges
from stratum.engine.buckets import Buckets
from stratum.engine.consequences import Consequences
from stratum.engine.contents import Contents
from stratum.engine.file_ahead import FileAhead
from stratum.engine.file_attributes import FileAttributes
from stratum.engine.file_growth import Growth
from stratum.engine.file_history import History, check_changeable, in_view, real
from stratum.engine.file_mounted import Memory, Mounted
from stratum.engine.file_names import Caller, FileNames
from stratum.engine.file_open import OpenFile
from stratum.engine.file_pressure import Pressure
from stratum.engine.file_sealed import check_readable
from stratum.engine.file_table import FileTable
from stratum.engine.file_xattrs import FileXattrs
from stratum.engine.heat_files import FileReads
from stratum.engine.publisher import Standing
from stratum.engine.quotas import Quotas
from stratum.engine.sealing import Sealing
from stratum.store.disks import Disks
from stratum.store.meta import Meta

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Handle:
    """What one open(2) gave. `writes`: its close is a reason to publish the file."""

    file: OpenFile
    writes: bool


class Files:
    """The mount's side of the engine. Everything belongs to the event loop's thread."""

    def __init__(
        self,
        meta: Meta,
        contents: Contents,
        buckets: Buckets,
        disks: Disks,
        settings: Settings,
        now_ns: Callable[[], int],
        consequences: Consequences,
        sealing: Sealing,
        quotas: Quotas | None = None,
    ) -> None:
        limits = settings.limits
        mounted = Mounted(meta, contents, limits, now_ns, Memory(limits.dirty_bytes), sealing, consequences)
        mounted.growth = None if quotas is None else Growth(meta, quotas)
        table = FileTable(mounted)
        mounted.is_open = table.is_pinned
        self._history = History(mounted, table)
        self.names = FileNames(mounted, table, buckets, self._history)
        self.attributes = FileAttributes(mounted, table, disks, settings, self._history)
        self.xattrs = FileXattrs(mounted)
        self._mounted = mounted
        self._table = table
        self._pressure = Pressure(mounted, table.files)
        self._close_is_durable = settings.close == "durable"
        self._handles: dict[int, Handle] = {}
        self.reads: FileReads | None = None  # who wants to know of them
        self.ahead: FileAhead | None = None  # who fetches what comes next from far away
        self._next_handle = count(1)
        self.on_open: Callable[[Inode], None] = lambda inode: None  # a file is opened that keeps its content

    # --- open files -----------------------------------------------------------------------------------------

    def open(self, number: int, *, writes: bool, truncate: bool = False, process: int = 0) -> int:
        """Open a regular file, return a handle. `process`: whose it is.

        Raises NoSuchInode, IsADirectory, NotPermitted, ReadOnly; to read an encrypted one CustomerKeyNeeded,
        NoMasterKey.
        """
        if writes:
            check_changeable(number)
        number = real(number)
        if number not in self._table.files and not truncate:
            check_readable(self._mounted, self._table.record(number), writes=writes)
        file = self._table.use(number)
        if truncate:
            file.truncate(0)
        else:
            self.on_open(self._table.record(number))
        handle = self._new_handle(file, writes=writes)
        if self.reads is not None:
            self.reads.opened(handle, number, process, writes=writes)
        return handle

    async def create(
        self, parent: int, name: bytes, mode: int, who: Caller, *, exclusive: bool, truncate: bool
    ) -> tuple[int, int, Inode]:
        """Make a file, or take the one that is there if not `exclusive`; return (handle, number, record).

        Raises what FileNames.create and `open` raise.
        """
        number, inode, made = await self.names.create(parent, name, mode, who, exclusive=exclusive)
        if truncate and not made:
            await self._table.publish_closed(number)
        file = self._table.use(number, inode)
        if made:
            self.xattrs.note_made(number, parent)
        elif truncate:
            file.truncate(0)
        return self._new_handle(file, writes=True), number, self._table.shown(number, inode)

    async def create_unnamed(self, parent: int, mode: int, who: Caller) -> tuple[int, int, Inode]:
        """Make a file without a name and open it; return (handle, number, record). Raises as `create`."""
        number, inode = await self.names.make_unnamed(parent, mode, who)
        self.xattrs.note_made(number, parent)
        return self._new_handle(self._table.use(number, inode), writes=True), number, inode

    async def read(self, handle: int, offset: int, size: int) -> bytes:
        """Bytes from `offset` on, fewer than `size` only at the end. Raises TooFewShards."""
        file = self._handle(handle).file
        if self.ahead is not None:
            self.ahead.reading(handle, file.number, offset, size)
        found = await file.read(offset, size)
        if self.reads is not None:
            self.reads.read(handle, offset, len(found))
        return found

    async def write(self, handle: int, offset: int, content: bytes) -> None:
        """Put bytes at `offset`; waits while too much is in memory. Raises TooLarge, and what failed before."""
        file = self._handle(handle).file
        if file.error is not None:
            file.report()
        file.write(offset, content)
        if self._pressure.note(file):
            await self._pressure.room(file)

    async def allocate(self, handle: int, mode: int, offset: int, length: int) -> None:
        """fallocate(2): see file_ranges.allocate. Raises what that raises."""
        file = self._handle(handle).file
        file.report()
        file_ranges.allocate(file, mode, offset, length, self.attributes.room().free)

    def next_data(self, handle: int, offset: int) -> int | None:
        """Where the next bytes of a file that are no hole begin; None: there are none any more."""
        return file_ranges.next_data(self._handle(handle).file, offset)

    def next_hole(self, handle: int, offset: int) -> int | None:
        """Where its next hole begins, at the latest at its end; None: that is before `offset`."""
        file = self._handle(handle).file
        return file_ranges.next_hole(file, offset) if offset < file.size else None

    async def copy(self, source: int, start: int, target: int, at: int, length: int) -> int:
        """Copy between two handles, return how many bytes: perhaps fewer than `length`. A whole file into an empty one
        shares what rests in volumes. Raises what `read` and `write` raise, InvalidArgument."""

        async def write(offset: int, content: bytes) -> None:
            await self.write(target, offset, content)

        whole, copy = self._handle(source).file, self._handle(target).file
        if (
            start == at == copy.size == 0
            and whole is not copy
            and length >= whole.size > self._mounted.limits.inline_bytes
        ):
            copy.report()
            if self._table.publisher.keeps(whole.number):
                await self._table.publisher.settle(whole.number)
            if await copy.share(whole):
                self._table.publisher.enqueue(copy)
                return copy.size
        length = min(length, file_ranges.COPY_MAX)
        return await file_ranges.copy(whole, start, length, copy, at, write)

    async def fsync(self, handle: int) -> None:
        """Return when the file is published and durable, with every name that was made before.

        Raises TooFewDisks, StoreFull, ReadOnly.
        """
        file = self._handle(handle).file
        file.report()
        await file.publish(closing=False)
        await self._mounted.durable()

    async def fsync_directory(self) -> None:
        """Return when everything closed, made, renamed and removed so far is durable.

        A close that could not be published is reported by the next call on that file, not here. Raises ReadOnly.
        """
        await self._table.publisher.settle(None)

    async def flush(self, handle: int) -> None:
        """A descriptor was closed: have the file published soon. Raises what failed before."""
        held = self._handle(handle)
        file = held.file
        file.report()
        if not (held.writes and file.dirty):
            return
        self._table.publisher.enqueue(file)
        if self._close_is_durable:
            await self._table.publisher.settle(file.number)
        else:
            await self._table.publisher.keep_promise(file)
        file.report()

    async def release(self, handle: int) -> None:
        """The last descriptor of a handle was closed: forget the handle."""
        file = self._handle(handle).file
        del self._handles[handle]
        if self.reads is not None:
            self.reads.closed(handle)
        if self.ahead is not None:
            self.ahead.closed(handle)
        file.handles -= 1
        await self._table.release(file)

    def _new_handle(self, file: OpenFile, *, writes: bool) -> int:
        handle = next(self._next_handle)
        self._handles[handle] = Handle(file, writes)
        file.handles += 1
        return handle

    def _handle(self, handle: int) -> Handle:
        found = self._handles.get(handle)
        if found is None:
            raise NoSuchInode(f"handle {handle}")
        return found

    async def publish_closed(self, number: int) -> None:
        """Call before `open` truncates: what was closed is published as it was then."""
        await self._table.publish_closed(real(number))

    # --- inodes in use --------------------------------------------------------------------------------------

    def pin(self, number: int, times: int = 1) -> None:
        """The kernel was told of an inode: its record stays until `unpin`."""
        if in_view(number):
            self._history.pin(number, times)
        else:
            self._table.pin(number, times)

    def unpin(self, forgotten: Iterable[tuple[int, int]]) -> None:
        """The kernel forgot inodes: (number, times)."""
        known = list(forgotten)
        for number, times in known:
            if in_view(number):
                self._history.unpin(number, times)
        self._table.unpin([each for each in known if not in_view(each[0])])

    def is_pinned(self, number: int) -> bool:
        """Is the inode open, or known to the kernel?"""
        return self._table.is_pinned(number)

    def is_gone(self, number: int) -> bool:
        """Has the inode lost its last name? Where that cannot be read: no."""
        return self._table.is_gone(number)

    def moved(self, number: int) -> None:
        """The published bytes of the inode rest elsewhere now: what an open file remembers of their place is old."""
        file = self._table.files.get(number)
        if file is not None:
            file.moved()

    # --- for S3 and for the engine --------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """Does nothing wait for publication?"""
        return self._table.publisher.idle

    @property
    def standing(self) -> Standing:
        """How far publications are behind the closes."""
        return self._table.publisher.standing

    async def settle(self, number: int | None) -> None:
        """Have what was closed (one inode, or everything) published now; durable on return, or failed."""
        if not self._table.publisher.idle:
            await self._table.publisher.settle(number)

    async def settle_view(self, number: int) -> None:
        """Have published what a folder of `.versions` is about to show. Other folders need nothing.

        Raises NoSuchInode, ReadOnly.
        """
        if in_view(number):
            await self._history.settle(number)

    async def free_orphans(self) -> None:
        """Free what lost its last name while it was open when the process ended; publish what was made and open."""
        await self._table.free_orphans()
        self._table.publish_left()

    async def run(self) -> None:
        """Publish closed files, and keep memory bounded, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._table.publisher.run)
            nursery.start_soon(self._pressure.run)

    async def publish_all(self) -> None:
        """Publish every file, also those that are open, durable on return. What fails is logged."""
        for file in list(self._table.files.values()):
            try:
                await file.publish(closing=True)
            except StratumError as error:
                log.error("a file could not be published: %s", error, extra={"inode": file.number})
                file.error = error
        await self._mounted.durable()

    async def close(self) -> None:
        """Nobody uses the mount any more: publish everything, forget every handle and what the kernel knew."""
        await self.publish_all()
        for handle in list(self._handles):
            await self.release(handle)
        self._table.unpin_all()
