"""What the disks say together: the newest epoch, its snapshots and its records, from whichever disk has them sound.

Room: stratum/store. May import: core.errors, core.journal_format, store.disk, disks, segments, snapshots.

Layout and the invariants J1 to J3 that this relies on: core/journal_format.py.

Invariants
    B1  Only the newest epoch that has a segment counts; its snapshots are those written in it and its bases.
        A segment gets its name only when all that it continues is durable on enough disks (store/journal.py).
    B2  Any one sound copy of a record or of a snapshot block suffices, whatever is wrong with the others.
    B3  A torn record at the end was never acknowledged and is ignored; one that is whole on any disk counts from
        now on (the next epoch begins after it). A record missing before others is CorruptJournal, never skipped.
    B4  Memory is bounded: rows and records are streamed.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from stratum.core.errors import CorruptJournal, DiskFailed
from stratum.core.journal_format import (
    JOURNAL_FOLDER,
    SEGMENT_HEADER_BYTES,
    SNAPSHOT_FOLDER,
    Change,
    Mark,
    Segment,
    decode_changes,
    decode_segment,
    parse_name,
    segment_path,
)
from stratum.store.disk import Disk, FileExists, FileMissing
from stratum.store.disks import Disks
from stratum.store.segments import PURPOSE, OnFailure, Reading, Record, SegmentFile, merge
from stratum.store.snapshots import SnapshotFile, SnapshotReader, inspect, is_whole

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Survey:
    """What lies on the disks, headers read but no records yet."""

    reading: Reading
    epoch: int  # the newest with a segment; 0: there is none
    claimed: int  # the highest epoch number that any file bears
    segments: list[SegmentFile]  # of that epoch
    snapshots: dict[Mark, list[SnapshotFile]]  # that may be used, newest first

    def records(self, after: int, reading: Reading | None = None) -> Iterator[Record]:
        """The records after `after`. Raises CorruptJournal if they do not follow on it without a gap."""
        return merge(self.segments, reading or self.reading, after)

    def last(self, after: int) -> int:
        """The seq of the last record, `after` if there is none after it. Reads them all."""
        for record in self.records(after):
            after = record.seq
        return after


class Recovered:
    """The state of the index as the journal tells it: the rows of a snapshot, then the records after it.

    Looking at `rows` reads the whole snapshot first; if no disk has some block of it sound, this falls back to
    the snapshot before it (`snapshot_seq` and `records` with it), as far as the records reach.
    """

    def __init__(self, survey: Survey) -> None:
        self._survey = survey
        self._marks = list(survey.snapshots)
        self._checked = False

    @property
    def snapshot_seq(self) -> int:
        """The commit that the snapshot shows; 0 if the records begin with the first one."""
        return self._marks[0].seq if self._marks else 0

    @property
    def rows(self) -> Iterator[tuple[bytes, bytes]] | None:
        """The rows of the snapshot in key order, None if there is none. Raises CorruptJournal."""
        while self._marks and not self._checked:
            copies = self._survey.snapshots[self._marks[0]]
            if is_whole(copies, self._survey.reading):
                self._checked = True
            else:
                log.error("snapshot of commit %d is damaged on every disk: using the one before", self.snapshot_seq)
                del self._marks[0]
                self._survey.last(self.snapshot_seq)  # raises CorruptJournal if the records begin later
        if not self._marks:
            return None
        return SnapshotReader(self._survey.snapshots[self._marks[0]], self._survey.reading).rows()

    @property
    def records(self) -> Iterator[tuple[int, list[Change]]]:
        """(seq, changes) of every commit after `snapshot_seq`, in order. Raises CorruptJournal."""
        for record in self._survey.records(self.snapshot_seq):
            yield record.seq, decode_changes(record.body)

    @cached_property
    def last_seq(self) -> int:
        """The newest commit, 0 if there is none. Reads all records once. Raises CorruptJournal."""
        return self._survey.last(self.snapshot_seq)


def read_back(disks: Disks, store_id: bytes) -> Recovered:
    """Read what the disks in service know of the journal. Blocking; a disk that fails leaves service.

    With too few disks in service the answer may be an older state: `Journal.start` refuses to go on from it.
    Raises CorruptJournal.
    """
    return Recovered(survey(in_service(disks), Reading(store_id, blame(disks))))


def in_service(disks: Disks) -> list[Disk]:
    """The disks that may be used now."""
    found = []
    for slot in disks.in_service(""):  # the journal is on hot disks only
        try:
            found.append(disks.get(slot))
        except DiskFailed:  # between the two calls
            continue
    return found


def blame(disks: Disks) -> OnFailure:
    """What to do with a disk whose call failed: out of service, unless only a file was missing or in the way."""

    def failed(disk: Disk, error: DiskFailed) -> None:
        if isinstance(error, FileMissing | FileExists):
            log.warning("journal: %s", error)
        else:
            disks.fail(disk.slot, str(error), disk=disk)

    return failed


def survey(disks: Sequence[Disk], reading: Reading) -> Survey:
    """Find the newest epoch and what belongs to it. Raises CorruptJournal if no header of it can be read."""
    names = [(disk, _names(disk, reading)) for disk in disks]
    marks = [mark for _, found in names for mark in (*found.segments, *found.snapshots, *found.claims)]
    epoch = max((mark.epoch for _, found in names for mark in found.segments), default=0)
    segments = [
        SegmentFile(disk, segment_path(*mark), *mark)
        for disk, found in names
        for mark in found.segments
        if mark.epoch == epoch
    ]
    headers = [header for segment in segments if (header := _header(segment, reading)) is not None]
    if segments and not headers:
        raise CorruptJournal(f"no disk has a sound segment header of epoch {epoch}")
    bases = {base for header in headers for base in header.bases}
    usable: dict[Mark, list[SnapshotFile]] = {}
    for disk, found in names:
        for mark in found.snapshots:
            # Without any segment a snapshot of whatever epoch is better than nothing.
            if mark.epoch == epoch or mark in bases or not epoch:
                usable.setdefault(mark, []).extend(_inspected(disk, mark, reading))
    snapshots = {mark: usable[mark] for mark in sorted(usable, reverse=True) if usable[mark]}
    return Survey(reading, epoch, max((mark.epoch for mark in marks), default=0), segments, snapshots)


class _Names(NamedTuple):
    """The files of the journal on a disk."""

    segments: list[Mark]
    snapshots: list[Mark]
    claims: list[Mark]


def _names(disk: Disk, reading: Reading) -> _Names:
    found = _Names([], [], [])
    try:
        for folder in (JOURNAL_FOLDER, SNAPSHOT_FOLDER):
            reading.touch(disk)
            for name in disk.list(folder, purpose=PURPOSE):
                mark, suffix = parse_name(name), name.rpartition(".")[2]
                if mark is not None:
                    {"log": found.segments, "snap": found.snapshots, "epoch": found.claims}[suffix].append(mark)
    except DiskFailed as error:
        reading.on_failure(disk, error)
    return found


def _header(segment: SegmentFile, reading: Reading) -> Segment | None:
    try:
        reading.touch(segment.disk)
        file = segment.disk.open(segment.path, purpose=PURPOSE)
        try:
            header = decode_segment(reading.store, file.read(0, SEGMENT_HEADER_BYTES, purpose=PURPOSE))
        finally:
            file.close()
    except DiskFailed as error:
        reading.on_failure(segment.disk, error)
        return None
    except CorruptJournal as error:
        log.warning("%s: %s: %s", segment.disk.name, segment.path, error)
        return None
    if (header.first, header.epoch) != (segment.first, segment.epoch):
        log.warning("%s: %s holds another segment", segment.disk.name, segment.path)
        return None
    return header


def _inspected(disk: Disk, mark: Mark, reading: Reading) -> list[SnapshotFile]:
    try:
        reading.touch(disk)
        found = inspect(disk, reading.store, mark)
    except DiskFailed as error:
        reading.on_failure(disk, error)
        return []
    return [found] if found is not None else []
