"""Reading journal segments: records one after another, over damage where there is some, from many disks at once.

Room: stratum/store. May import: core.errors, core.journal_format, store.disk.

Memory: one piece of READ_BYTES, or one record if that is longer, for each segment that is open at a time.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heapreplace
from typing import NamedTuple

from stratum.core.errors import Busy, CorruptJournal, DiskFailed
from stratum.core.journal_format import (
    RECORD_HEADER_BYTES,
    RECORD_MAGIC,
    SEGMENT_HEADER_BYTES,
    RecordHead,
    body_is_sound,
    decode_record_head,
    seed_of,
)
from stratum.store.disk import Disk, DiskFile

log = logging.getLogger(__name__)

READ_BYTES = 1024 * 1024
PURPOSE = "journal"

OnFailure = Callable[[Disk, DiskFailed], None]  # told of every disk that could not be read
Touch = Callable[[Disk], None]  # told of a disk before each call on it


def _untold(disk: Disk) -> None:
    """Nobody wants to know which disk is read."""


@dataclass(frozen=True, slots=True)
class Reading:
    """For which store disks are read, and who is told of it."""

    store: bytes
    on_failure: OnFailure
    touch: Touch = _untold


class Record(NamedTuple):
    """A record as it was read, its checksums verified."""

    seq: int
    body: bytes


@dataclass(frozen=True, slots=True)
class SegmentFile:
    """A segment on a disk."""

    disk: Disk
    path: str
    first: int
    epoch: int


class Window:
    """Random access to a file that is read mostly forward, READ_BYTES at a time."""

    def __init__(self, disk: Disk, file: DiskFile, reading: Reading, purpose: str) -> None:
        self._disk = disk
        self._file = file
        self._touch = reading.touch
        self._purpose = purpose
        self._at = 0
        self._held = b""

    def part(self, at: int, size: int) -> bytes:
        """`size` bytes from offset `at`, fewer at the end of the file. Raises DiskFailed."""
        start = at - self._at
        if start < 0 or start + size > len(self._held):
            self._touch(self._disk)
            self._held = self._file.read(at, max(size, READ_BYTES), purpose=self._purpose)
            self._at, start = at, 0
        return self._held[start : start + size]

    def find(self, needle: bytes, at: int) -> int:
        """The offset of the next `needle` at or after `at`, -1 if there is none. Raises DiskFailed."""
        while len(piece := self.part(at, READ_BYTES)) >= len(needle):
            found = piece.find(needle)
            if found >= 0:
                return at + found
            at += len(piece) - len(needle) + 1
        return -1


def records_in(segment: SegmentFile, reading: Reading) -> Iterator[Record]:
    """The sound records of a segment, seq ascending. What is damaged or torn is passed over. Raises DiskFailed."""
    seed = seed_of(reading.store)
    reading.touch(segment.disk)
    file = segment.disk.open(segment.path, purpose=PURPOSE)
    try:
        window = Window(segment.disk, file, reading, PURPOSE)
        at, before = SEGMENT_HEADER_BYTES, segment.first - 1
        while at >= 0:
            raw = window.part(at, RECORD_HEADER_BYTES)
            head = decode_record_head(seed, raw)
            if head is None or not _belongs(head, segment, before):
                if len(raw) < RECORD_HEADER_BYTES:
                    return
                at = window.find(RECORD_MAGIC, at + 1)
                continue
            if at + RECORD_HEADER_BYTES + head.length > file.size:
                return  # torn: the last record of a segment that nobody finished
            body = window.part(at + RECORD_HEADER_BYTES, head.length)
            if body_is_sound(seed, raw, body):
                yield Record(head.seq, body)
            before = head.seq
            at += RECORD_HEADER_BYTES + head.length
    finally:
        file.close()


def _belongs(head: RecordHead, segment: SegmentFile, before: int) -> bool:
    """Whether a record may follow `before` there: bytes inside a row may look like one after damage."""
    return head.epoch == segment.epoch and head.seq > before


def merge(segments: Sequence[SegmentFile], reading: Reading, after: int) -> Iterator[Record]:
    """The records `after` + 1, `after` + 2 ... of one epoch, each from any disk that has it sound.

    Ends with the last record. Raises CorruptJournal if one is missing although later ones, or a segment that
    begins later, show that it was there. A disk that cannot be read is reported and done without.
    """
    expected = after + 1
    for record in _ascending(segments, reading):
        if record.seq < expected:
            continue
        if record.seq > expected:
            raise CorruptJournal(f"the journal has commit {record.seq} but not {expected}")
        yield record
        expected += 1
    newest = max((segment.first for segment in segments), default=0)
    if newest > expected:  # a segment is begun only when every record before it is durable
        raise CorruptJournal(f"the journal has a segment from commit {newest} on but not commit {expected}")


def _ascending(segments: Sequence[SegmentFile], reading: Reading) -> Iterator[Record]:
    """All records by seq, copies of one next to each other. A segment is opened when its first is due."""
    streams = [_read(segment, reading) for segment in segments]
    heap: list[tuple[int, int, Record | None]] = [(s.first, n, None) for n, s in enumerate(segments)]
    heapify(heap)
    while heap:
        _, number, record = heap[0]
        if record is not None:
            yield record
        following = next(streams[number], None)
        if following is None:
            heappop(heap)
        else:
            heapreplace(heap, (following.seq, number, following))


def _read(segment: SegmentFile, reading: Reading) -> Iterator[Record]:
    try:
        yield from records_in(segment, reading)
    except DiskFailed as error:
        reading.on_failure(segment.disk, error)
    except Busy as error:
        log.warning("journal: %s is passed over: %s", segment.path, error)
