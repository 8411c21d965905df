"""One mounted file that is open, or has bytes that are not published yet.

Room: stratum/engine. May import: core, engine.{contents, file_digest, file_dirty, file_mounted, file_pages,
file_publication, file_sealed}.

Invariants
    O1  A publication is what the file was at one instant: its bytes, size and time are taken together, when it begins.
    O2  A failure is reported once: by the fsync that met it, else by the next call on the file that can fail.
    O3  A file without a name is never published: nobody could see it.
"""

from collections.abc import Callable, Sequence

import msgspec
import trio

from stratum.core.config import MIB
from stratum.core.errors import NoSuchInode, StratumError, TooLarge
from stratum.core.inodes import stored_bytes
from stratum.core.manifest import Span, spans_in, trim
from stratum.core.ranges import Buffer, Ranges, gaps, is_buffer
from stratum.core.records import Inode
from stratum.core.schema import inode_key
from stratum.core.txn import Txn, load
from stratum.engine.file_digest import REREAD_BYTES, REREAD_BYTES_AT_FSYNC, md5_of, name_of_change
from stratum.engine.file_dirty import Unpublished
from stratum.engine.file_mounted import Mounted
from stratum.engine.file_pages import Form, form_of
from stratum.engine.file_publication import Publication, publish, resting_bytes
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
        self._sealed = bytes_sealed(inode)  # how what is published is encrypted
        sealed = self._sealed is not None
        self._layers = Unpublished(mounted.contents, mounted.limits, mounted.memory, self, inode.size, sealed=sealed)
        self._emptied = 0  # the change by which everything published ceased to show; 0: it does show
        self._mtime: int | None = None  # None: as the record says
        self._ctime = 0
        self._changes = 0 if inode.etag else 1  # a file never published is due, even without a byte
        self._published = 0
        self._kept = False  # what was published before it was opened is a version by now: one for each time it is open
        self._written = 0  # bytes, since what is published was taken
        self._rough_etag = False  # published by fsync with an ETag that a close would make an md5
        self._window: tuple[int, int, list[Span]] = (0, 0, [])

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
        """Put bytes at `offset`; at once, in memory.

        Raises TooLarge, QuotaExceeded, NotPermitted (a customer has the key).
        """
        stop = offset + len(content)
        self._check_size(stop)
        self._check_changeable()
        if self._mounted.growth is not None:
            self._mounted.growth.grow(self.number, max(self.size, stop), self._written + len(content))
        self._layers.write(offset, content)
        self._written += len(content)
        self.size = max(self.size, stop)
        self._touch()

    def truncate(self, size: int) -> None:
        """Cut the file to `size` bytes, or let it grow by zeros. Raises TooLarge, NotPermitted (as `write`)."""
        self._check_size(size)
        if size == 0:
            self._emptied = self._changes + 1
        self._check_changeable()
        if size < self.size or size == 0:
            self._layers.clear(size, self.size)
        self.size = size
        self._touch()

    def zero(self, start: int, stop: int) -> None:
        """Let [start, stop) be a hole; nothing beyond the end. Raises NotPermitted (as `write`)."""
        self._check_changeable()
        self._layers.zero(start, stop)
        self._touch()

    async def share(self, source: "OpenFile") -> bool:
        """Let this file, which is empty, be all that is published of `source`: no byte is moved, as for S3's copy.

        False: that cannot be, for one of them has bytes that are not published, or is encrypted. To be published soon:
        until then nobody knows that this file needs the bytes. Raises TooLarge, QuotaExceeded, TooFewDisks, StoreFull.
        """
        async with self.lock:
            if self.size or self.held or source.dirty or source._is_sealed:
                return False
            await self._layers.stage()
            found = self._mounted.meta.read(lambda txn: load(txn, inode_key(source.number), Inode))
            if self.size or self.held or self._layers.pages is not None or found is None:
                return False
            if source.dirty or source._sealed is not None or found.sealed is not None:  # while that was staged
                return False
            self._check_size(found.size)
            if self._mounted.growth is not None:
                self._mounted.growth.grow(self.number, found.size, self._written + resting_bytes(found))
            spans = self._mounted.meta.read(lambda txn: source._look_up(txn, 0, found.size))
            self._layers.share(found.size, spans, None if "-" in found.etag else found.etag)
            self._written += resting_bytes(found)
            self.size = found.size
            self._touch()
            return True

    def mtime_was_set(self) -> None:
        """The record's mtime is newer than the last write."""
        self._mtime = None

    def _touch(self) -> None:
        self._changes += 1
        self._mtime = self._ctime = self._mounted.now_ns()

    def _check_changeable(self) -> None:
        check_changeable(None if self._emptied else self._sealed)

    def _check_size(self, size: int) -> None:
        if size > self._mounted.limits.object_bytes_max:
            raise TooLarge(f"over {self._mounted.limits.object_bytes_max} bytes")

    # --- reading it -----------------------------------------------------------------------------------------

    async def read(self, offset: int, size: int) -> bytes:
        """The bytes from `offset` on, fewer than `size` only at the end. Raises TooFewShards."""
        stop = min(offset + size, self.size)
        if offset >= stop:
            return b""
        if self._changes == self._published:
            return await self._read_published(offset, stop)
        if self._layers.lost is not None:
            raise self._layers.lost
        if self._is_sealed:
            return await self._over_below(offset, stop)
        while self._layers.in_stream(offset, stop):
            await self._finish_stream()
        return await self._assemble(self._layers.within(offset, stop), offset, stop)

    async def _finish_stream(self) -> None:
        """Let what is on its way into volumes be readable. Who reads may be given up, this may not."""
        with trio.CancelScope(shield=True):
            async with self.lock:
                await self._layers.finish_stream()

    async def _read_published(self, start: int, stop: int) -> bytes:
        if self._sealed is not None:
            return await read_sealed(self._mounted, self.number, self._sealed, start, stop)
        return await self._mounted.contents.read(self._published_spans(start, stop), start, stop)

    async def _assemble(self, view: Ranges, start: int, stop: int) -> bytes:
        """What `view` shows of [start, stop), and the published bytes where it shows nothing.

        What is needed is looked up before the first await: a picture of one instant.
        """
        memory = [(low, high, piece) for low, high, piece in view if is_buffer(piece)]
        if len(memory) == 1 and memory[0][:2] == (start, stop):
            return bytes(memory[0][2])
        below = await self._mounted.contents.read(self._stored_spans(view, start, stop), start, stop)
        return _laid_over(memory, below, start)

    def _stored_spans(self, view: Ranges, start: int, stop: int) -> list[Span]:
        """The runs of `view`, and the published ones where it shows nothing."""
        spans = view.spans()
        for low, high in gaps(view, start, stop):
            spans += [trim(span, low, high) for span in self._published_spans(low, high) if overlaps(span, low, high)]
        spans.sort(key=lambda span: span[0])
        return spans

    # --- of an encrypted file -------------------------------------------------------------------------------

    @property
    def _is_sealed(self) -> bool:
        return self._layers.pages is not None or (self._sealed is not None and not self._layers.anew)

    async def _over_below(self, start: int, stop: int) -> bytes:
        """The bytes [start, stop): what is in memory, over what rests beneath."""
        view = self._layers.in_memory(start, stop)
        left = gaps(view, start, stop)
        memory = [(low, high, piece) for low, high, piece in view if is_buffer(piece)]
        zeros = [(low, high, bytes(high - low)) for low, high, piece in view if piece is None]
        if not left:
            return _laid_over(memory, bytes(stop - start), start)
        pages, (first, end) = self._layers.pages, (left[0][0], left[-1][1])
        while pages is not None and self._in_stream(first, end):
            await self._finish_stream()
            return await self._over_below(start, stop)
        below = bytes(first - start) + await self.below(first, end) + bytes(stop - end)
        return _laid_over([*zeros, *memory], below, start)

    def _in_stream(self, start: int, stop: int) -> bool:
        pages = self._layers.pages
        stop = min(stop, pages.size) if pages is not None else stop
        return pages is not None and start < stop and self._layers.in_stream(*pages.stored(start, stop))

    async def below(self, start: int, stop: int) -> bytes:
        """See file_dirty.Source. The lock is held, or nothing of it is in a stream."""
        pages = self._layers.pages
        if pages is None:
            end = 0 if self._emptied else min(stop, self._below_size)
            found = await self._read_published(start, end) if start < end else b""
            return found + bytes(stop - start - len(found))
        end = min(stop, pages.size)
        if start >= end:
            return bytes(stop - start)
        if self._in_stream(start, end):
            await self._layers.finish_stream()
        first, last = pages.stored(start, end)
        spans = self._stored_spans(self._layers.staged_within(first, last), first, last)
        return await pages.open(self._mounted.contents, spans, start, stop)

    @property
    def _below_size(self) -> int:
        inode = self._mounted.meta.read(lambda txn: load(txn, inode_key(self.number), Inode))
        return 0 if inode is None else inode.size

    async def form(self, *, emptied: bool) -> Form:
        """See file_dirty.Source."""
        inode = self._mounted.meta.read(lambda txn: load(txn, inode_key(self.number), Inode))
        if inode is None:
            raise NoSuchInode(f"inode {self.number}")
        return await form_of(self._mounted, inode, emptied=emptied)

    # --- where it rests -------------------------------------------------------------------------------------

    def moved(self) -> None:
        """Look up anew where published bytes are."""
        self._window = (0, 0, [])

    def data_within(self, start: int, stop: int) -> list[tuple[int, int]]:
        """What of [start, stop), which lies within the file, is no hole: (start, stop) in order."""
        if self._is_sealed or self._sealed is not None:
            return [(start, stop)]
        view = self._layers.within(start, stop)
        found = [(low, high) for low, high, piece in view if piece is not None]
        low, high = self._layers.streaming
        if max(low, start) < min(high, stop):
            found.append((max(low, start), min(high, stop)))
        for low, high in gaps(view, start, stop):
            spans = self._mounted.meta.read(lambda txn: self._look_up(txn, low, high))  # noqa: B023 - runs at once
            found += [(offset, offset + run.length) for offset, run in ([] if self._layers.anew else spans)]
        return sorted(found)

    def _published_spans(self, start: int, stop: int) -> list[Span]:
        if self._layers.anew:
            return []
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
        return spans_in(txn, inode.content, start, min(stop, stored_bytes(inode)))

    # --- publishing it --------------------------------------------------------------------------------------

    async def push(self) -> None:
        """Move what is in memory into volumes, unpublished. Raises TooFewDisks, StoreFull."""
        async with self.lock:
            await self._layers.push()

    async def publish(self, *, closing: bool, renamed: Callable[[Txn], None] | None = None) -> bool:
        """Make what the file is now its published version: visible at once, durable with the next group commit.

        `renamed`: a change that becomes visible and durable with it, all or nothing. Returns whether there was anything
        to publish. Raises TooFewDisks, StoreFull, QuotaExceeded, ReadOnly, and what `renamed` raises; then everything
        is as before.
        """
        async with self.lock:
            inode = self._mounted.meta.read(lambda txn: load(txn, inode_key(self.number), Inode))
            due = self.dirty if closing else self._changes != self._published
            if not due or inode is None or inode.nlink == 0:
                return False
            self._check_changeable()
            changes, size, written = self._changes, self.size, self._written
            zeros, spans = await self._layers.stage()
            pages = self._layers.pages
            md5 = await self._md5(size, closing=closing)
            await self._mounted.meta.room()
            etag = md5 or name_of_change(self.number, inode.generation + 1, size, spans)
            new = Publication(
                number=self.number,
                size=size,
                mtime=self._mtime,  # only now: utimens may have come while the bytes were on their way
                ctime=self._ctime,
                etag=etag if pages is None else pages.key.etag(etag),
                zeros=zeros,
                spans=spans,
                sealed=None if pages is None else pages.record(size),
                anew=self._layers.anew,
                keep=not self._kept,
            )

            def change(txn: Txn) -> None:
                if renamed is not None:
                    renamed(txn)
                publish(txn, self._mounted, new)

            self._mounted.apply(change)
            self._kept, self._sealed = True, new.sealed if size else None
            self._emptied = 0 if self._emptied <= changes else self._emptied
            self._published, self._window = changes, (0, 0, [])
            self._written -= written
            if self._mounted.growth is not None:
                self._mounted.growth.forget(self.number)
            self._rough_etag = md5 is None and size <= REREAD_BYTES
            self._mounted.discard(self._layers.published())
            return True

    async def forget(self) -> None:
        """Let go of what is not published."""
        async with self.lock:
            inode = self._mounted.meta.read(lambda txn: load(txn, inode_key(self.number), Inode))
            self._sealed = None if inode is None else bytes_sealed(inode)
            self._emptied = 0
            if self._mounted.growth is not None:
                self._mounted.growth.forget(self.number)
            self._changes, self._rough_etag = self._published, False
            self._mounted.discard(await self._layers.forget())
            self._layers.begin_from(0 if inode is None else inode.size, sealed=self._sealed is not None)

    async def _md5(self, size: int, *, closing: bool) -> str | None:
        """The md5 of what was just staged, if it is known or cheap to know."""
        known = self._layers.md5.of(size)
        if known is not None or size > (REREAD_BYTES if closing else REREAD_BYTES_AT_FSYNC):
            return known
        if self._is_sealed:
            return md5_of(await self.below(0, size))
        return md5_of(await self._assemble(self._layers.staged_within(0, size), 0, size))


def _laid_over(memory: Sequence[tuple[int, int, Buffer]], below: bytes, start: int) -> bytes:
    """The bytes from `start` on: `memory`, over what is beneath."""
    if not memory:
        return below
    merged = bytearray(below)
    for low, high, piece in memory:
        merged[low - start : high - start] = piece
    return bytes(merged)


def overlaps(span: Span, start: int, stop: int) -> bool:
    """Does the span hold any byte of [start, stop)?"""
    return span[0] < stop and span[0] + span[1].length > start
