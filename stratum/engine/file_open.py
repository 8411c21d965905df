"""One mounted file that is open, or has bytes that are not published yet.

Room: stratum/engine. May import: core, engine.{contents, file_digest, file_dirty, file_mounted, file_publication,
file_sealed}.

Invariants
    O1  A publication is what the file was at one instant: its bytes, size and time are taken together, when it begins.
    O2  A failure is reported once: by the fsync that met it, else by the next call on the file that can fail.
    O3  A file without a name is never published: nobody could see it.
"""

import msgspec
import trio

from stratum.core.config import MIB
from stratum.core.errors import NoSuchInode, StratumError, TooLarge
from stratum.core.manifest import Span, spans_in, trim
from stratum.core.ranges import Ranges, gaps, is_buffer
from stratum.core.records import Inode
from stratum.core.schema import inode_key
from stratum.core.txn import Txn, load
from stratum.engine.file_digest import REREAD_BYTES, REREAD_BYTES_AT_FSYNC, md5_of, name_of_change
from stratum.engine.file_dirty import Unpublished
from stratum.engine.file_mounted import Mounted
from stratum.engine.file_publication import Publication, publish
from stratum.engine.file_sealed import bytes_sealed, check_changeable, read_sealed

WINDOW_BYTES = 8 * MIB  # of a manifest, kept at hand for reading


class OpenFile:
    """The live state of a regular file. `size` is what the mount shows, not what is published."""

    def __init__(self, mounted: Mounted, number: int, inode: Inode) -> None:
        self.number = number
        self.handles = 0
        self.size = inode.size
        self.error: StratumError | None = None  # to be reported (O2)
        self.lock = trio.Lock()  # held by whoever moves or publishes bytes
        self._mounted = mounted
        self._layers = Unpublished(mounted.contents, mounted.limits, mounted.memory, inode.size)
        self._mtime: int | None = None  # None: as the record says
        self._ctime = 0
        self._changes = 0 if inode.etag else 1  # a file never published is due, even without a byte
        self._published = 0
        self._kept = False  # what was published before it was opened is a version by now: one for each time it is open
        self._written = 0  # bytes, since what is published was taken
        self._rough_etag = False  # published by fsync with an ETag that a close would make an md5
        self._window: tuple[int, int, list[Span]] = (0, 0, [])
        self._sealed = bytes_sealed(inode)  # how what the file shows is encrypted

    # --- what it is now -------------------------------------------------------------------------------------

    @property
    def dirty(self) -> bool:
        """Is there anything to publish?"""
        return self._changes != self._published or self._rough_etag

    @property
    def held(self) -> int:
        """Bytes in memory."""
        return self._layers.held

    @property
    def lost(self) -> StratumError | None:
        """Why the unpublished version is gone for good; None: it is not."""
        return self._layers.lost

    def shown(self, inode: Inode) -> Inode:
        """The record as the mount shows it; it has at least the holes that it shows."""
        if self._changes == self._published:
            return inode
        mtime = inode.mtime if self._mtime is None else self._mtime
        holes = max(self.size - (inode.size - inode.holes) - self._written, 0)
        ctime = max(inode.ctime, self._ctime)
        return msgspec.structs.replace(inode, size=self.size, holes=holes, mtime=mtime, ctime=ctime)

    def report(self) -> None:
        """Raise the failure that nobody was told of yet (O2)."""
        error, self.error = self.error, None
        if error is not None:
            raise error

    # --- changing it ----------------------------------------------------------------------------------------

    def write(self, offset: int, content: bytes) -> None:
        """Put bytes at `offset`; at once, in memory. Raises TooLarge, NotPermitted (the file is encrypted)."""
        stop = offset + len(content)
        self._check_size(stop)
        check_changeable(self._sealed)
        self._layers.write(offset, content)
        self._written += len(content)
        self.size = max(self.size, stop)
        self._touch()

    def truncate(self, size: int) -> None:
        """Cut the file to `size` bytes, or let it grow by zeros. Raises TooLarge, NotPermitted (it is encrypted)."""
        self._check_size(size)
        if size == 0:
            self._sealed = None
        check_changeable(self._sealed)
        if size < self.size or size == 0:
            self._layers.clear(size, self.size)
        self.size = size
        self._touch()

    def mtime_was_set(self) -> None:
        """The record's mtime is newer than the last write."""
        self._mtime = None

    def _touch(self) -> None:
        self._changes += 1
        self._mtime = self._ctime = self._mounted.now_ns()

    def _check_size(self, size: int) -> None:
        if size > self._mounted.limits.object_bytes_max:
            raise TooLarge(f"over {self._mounted.limits.object_bytes_max} bytes")

    # --- reading it -----------------------------------------------------------------------------------------

    async def read(self, offset: int, size: int) -> bytes:
        """The bytes from `offset` on, fewer than `size` only at the end. Raises TooFewShards."""
        stop = min(offset + size, self.size)
        if offset >= stop:
            return b""
        if self._sealed is not None:
            return await read_sealed(self._mounted, self.number, self._sealed, offset, stop)
        if self._changes == self._published:
            return await self._mounted.contents.read(self._published_spans(offset, stop), offset, stop)
        if self._layers.lost is not None:
            raise self._layers.lost
        while self._layers.in_stream(offset, stop):
            async with self.lock:
                await self._layers.finish_stream()
        return await self._assemble(self._layers.within(offset, stop), offset, stop)

    async def _assemble(self, view: Ranges, start: int, stop: int) -> bytes:
        """What `view` shows of [start, stop), and the published bytes where it shows nothing.

        What is needed is looked up before the first await: a picture of one instant.
        """
        memory = [(low, high, piece) for low, high, piece in view if is_buffer(piece)]
        if len(memory) == 1 and memory[0][:2] == (start, stop):
            return bytes(memory[0][2])
        spans = view.spans()
        for low, high in gaps(view, start, stop):
            spans += [trim(span, low, high) for span in self._published_spans(low, high) if overlaps(span, low, high)]
        spans.sort(key=lambda span: span[0])
        below = await self._mounted.contents.read(spans, start, stop)
        if not memory:
            return below
        merged = bytearray(below)
        for low, high, piece in memory:
            merged[low - start : high - start] = piece
        return bytes(merged)

    def moved(self) -> None:
        """Look up anew where published bytes are."""
        self._window = (0, 0, [])

    def _published_spans(self, start: int, stop: int) -> list[Span]:
        low, high, spans = self._window
        if start < low or stop > high:
            low, high = start, max(stop, start + WINDOW_BYTES)
            spans = self._mounted.meta.read(lambda txn: self._look_up(txn, low, high))
            self._window = (low, high, spans)
        return spans

    def _look_up(self, txn: Txn, start: int, stop: int) -> list[Span]:
        inode = load(txn, inode_key(self.number), Inode)
        if inode is None:
            raise NoSuchInode(f"inode {self.number}")
        if inode.sealed is not None:  # the file was begun anew: nothing of it shows
            return []
        return spans_in(txn, inode.content, start, min(stop, inode.size))

    # --- publishing it --------------------------------------------------------------------------------------

    async def push(self) -> None:
        """Move what is in memory into volumes, unpublished. Raises TooFewDisks, StoreFull."""
        async with self.lock:
            await self._layers.push()

    async def publish(self, *, closing: bool) -> None:
        """Make what the file is now its published version: visible at once, durable with the next group commit.

        Raises TooFewDisks, StoreFull, ReadOnly; then everything is as before.
        """
        async with self.lock:
            inode = self._mounted.meta.read(lambda txn: load(txn, inode_key(self.number), Inode))
            due = self.dirty if closing else self._changes != self._published
            if not due or inode is None or inode.nlink == 0:
                return
            check_changeable(self._sealed)
            changes, size, written = self._changes, self.size, self._written
            zeros, spans = await self._layers.stage()
            md5 = await self._md5(size, closing=closing)
            await self._mounted.meta.room()
            new = Publication(
                number=self.number,
                size=size,
                mtime=self._mtime,  # only now: utimens may have come while the bytes were on their way
                ctime=self._ctime,
                etag=md5 or name_of_change(self.number, inode.generation + 1, size, spans),
                zeros=zeros,
                spans=spans,
                keep=not self._kept,
            )
            self._mounted.apply(lambda txn: publish(txn, self._mounted, new))
            self._kept = True
            self._published, self._window = changes, (0, 0, [])
            self._written -= written
            self._rough_etag = md5 is None and size <= REREAD_BYTES
            self._mounted.discard(self._layers.published())

    async def forget(self) -> None:
        """Let go of what is not published."""
        async with self.lock:
            inode = self._mounted.meta.read(lambda txn: load(txn, inode_key(self.number), Inode))
            self._sealed = None if inode is None else bytes_sealed(inode)
            self._changes, self._rough_etag = self._published, False
            self._mounted.discard(await self._layers.forget())

    async def _md5(self, size: int, *, closing: bool) -> str | None:
        """The md5 of what was just staged, if it is known or cheap to know."""
        known = self._layers.md5.of(size)
        if known is not None or size > (REREAD_BYTES if closing else REREAD_BYTES_AT_FSYNC):
            return known
        return md5_of(await self._assemble(self._layers.staged_within(0, size), 0, size))


def overlaps(span: Span, start: int, stop: int) -> bool:
    """Does the span hold any byte of [start, stop)?"""
    return span[0] < stop and span[0] + span[1].length > start
