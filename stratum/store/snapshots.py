"""Snapshots on disks: found, checked, and read back over damage.

Room: stratum/store. May import: core.errors, core.journal_format, core.snapshot_format, store.disk, store.segments.

Layout: core/snapshot_format.py. Memory: one READ_BYTES, or one block if that is longer, for each copy.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from stratum.core.errors import Busy, CorruptJournal, DiskFailed
from stratum.core.journal_format import Mark, snapshot_path
from stratum.core.snapshot_format import (
    BLOCK_HEADER_BYTES,
    FOOTER_BYTES,
    HEADER_BYTES,
    Footer,
    Row,
    block_is_sound,
    decode_block_head,
    decode_footer,
    decode_header,
    decode_rows,
    seed_of,
)
from stratum.store.disk import Disk, DiskFile
from stratum.store.segments import Reading, Window

log = logging.getLogger(__name__)

PURPOSE = "snapshot"


@dataclass(frozen=True, slots=True)
class SnapshotFile:
    """A snapshot on a disk: header and footer are sound and fit the size of the file."""

    disk: Disk
    path: str
    mark: Mark
    header: bytes
    footer: bytes
    blocks: int
    end: int  # offset of the footer


def inspect(disk: Disk, store: bytes, mark: Mark, *, path: str = "") -> SnapshotFile | None:
    """The snapshot of `mark` on `disk`, at its own path unless another is given.

    None, and a warning, if the file there is not that snapshot. Raises DiskFailed.
    """
    path = path or snapshot_path(mark)
    file = disk.open(path, purpose=PURPOSE)
    try:
        header, footer, end = _ends(file, store, mark)
    except CorruptJournal as error:
        log.warning("%s: %s: %s", disk.name, path, error)
        return None
    finally:
        file.close()
    raw, found = footer
    return SnapshotFile(disk, path, mark, header, raw, found.blocks, end)


def _ends(file: DiskFile, store: bytes, mark: Mark) -> tuple[bytes, tuple[bytes, Footer], int]:
    header = file.read(0, HEADER_BYTES, purpose=PURPOSE)
    if decode_header(store, header) != mark:
        raise CorruptJournal("the snapshot says that it is another one")
    end = file.size - FOOTER_BYTES
    raw = file.read(max(end, 0), FOOTER_BYTES, purpose=PURPOSE)
    return header, (raw, decode_footer(seed_of(header), raw, end)), end


class SnapshotReader:
    """Reads one snapshot from all its copies: a block from any disk that has it sound."""

    def __init__(self, copies: Sequence[SnapshotFile], reading: Reading) -> None:
        first = copies[0]
        self._copies = [copy for copy in copies if copy.header == first.header and copy.footer == first.footer]
        self._seed = seed_of(first.header)
        self._reading = reading
        self._windows: dict[int, Window | None] = {}  # by position in _copies; None: of no use any more
        self._files: list[DiskFile] = []
        self._prefer = 0

    def rows(self) -> Iterator[Row]:
        """All rows in key order. Raises CorruptJournal at a block that no disk has sound."""
        for raw in self.blocks():
            yield from decode_rows(raw[BLOCK_HEADER_BYTES:])

    def pieces(self) -> Iterator[bytes]:
        """The file, piece by piece, as it was written. Raises CorruptJournal as `rows`."""
        yield self._copies[0].header
        yield from self.blocks()
        yield self._copies[0].footer

    def blocks(self) -> Iterator[bytes]:
        """The blocks in order, each verified. Raises CorruptJournal as `rows`."""
        at, end = HEADER_BYTES, self._copies[0].end
        try:
            for index in range(self._copies[0].blocks):
                raw = self._block(index, at)
                yield raw
                at += len(raw)
        finally:
            for file in self._files:
                file.close()
            self._files.clear()
            self._windows.clear()
        if at != end:
            raise CorruptJournal(f"{self._copies[0].path} has {end - at} bytes too many")

    def _block(self, index: int, at: int) -> bytes:
        """Block `index` at offset `at`, first tried on the disk that had the last one."""
        count = len(self._copies)
        for number in (*range(self._prefer, count), *range(self._prefer)):
            raw = self._read(number, index, at)
            if raw is not None:
                self._prefer = number
                return raw
            copy = self._copies[number]
            log.warning("%s: block %d of %s cannot be used", copy.disk.name, index, copy.path)
        raise CorruptJournal(f"no disk has block {index} of {self._copies[0].path} as it was written")

    def _read(self, number: int, index: int, at: int) -> bytes | None:
        disk = self._copies[number].disk
        try:
            window = self._window(number)
            if window is None:
                return None
            raw = window.part(at, BLOCK_HEADER_BYTES)
            head = decode_block_head(raw, index)
            if head is None or at + BLOCK_HEADER_BYTES + head.length > self._copies[number].end:
                return None
            body = window.part(at + BLOCK_HEADER_BYTES, head.length)
        except DiskFailed as error:
            self._windows[number] = None
            self._reading.on_failure(disk, error)
            return None
        except Busy as error:
            log.warning("snapshot: %s", error)
            return None
        return raw + body if block_is_sound(self._seed, raw, body) else None

    def _window(self, number: int) -> Window | None:
        if number not in self._windows:
            copy = self._copies[number]
            self._reading.touch(copy.disk)
            file = copy.disk.open(copy.path, purpose=PURPOSE)
            self._files.append(file)
            self._windows[number] = Window(copy.disk, file, self._reading, PURPOSE)
        return self._windows[number]


def is_whole(copies: Sequence[SnapshotFile], reading: Reading) -> bool:
    """Whether every block of the snapshot can be read from one of its copies. Reads all of it."""
    try:
        for _ in SnapshotReader(copies, reading).blocks():
            pass
    except CorruptJournal as error:
        log.error("snapshot: %s", error)
        return False
    return True
