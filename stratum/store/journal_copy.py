"""One disk's copy of the journal: a snapshot, the segments after it, and the thread that writes them.

Room: stratum/store. May import: core.errors, core.journal_format, store.disk, disk_thread, journal_files,
segments, snapshots, snapshot_draft.

Invariants
    C1  A copy is complete in itself: its newest snapshot and its segments give everything that is in the journal.
    C2  A segment or snapshot appears under its name by a rename, when its bytes are durable. What the disk held
        before is removed only after that.
    C3  The two newest snapshots stay, and every record after the older of them.
    C4  A thread that was given up on gives nothing a name and removes nothing.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from stratum.core.errors import CorruptJournal, StoreFull
from stratum.core.journal_format import (
    JOURNAL_FOLDER,
    Mark,
    Segment,
    encode_record_head,
    encode_segment,
    seed_of,
    segment_path,
    snapshot_path,
)
from stratum.store.disk import CallFailed, Disk, DiskFile
from stratum.store.disk_thread import DiskThread
from stratum.store.journal_files import discard, leftovers, remove, temporary_path
from stratum.store.segments import PURPOSE, READ_BYTES, Reading, Record
from stratum.store.snapshot_draft import SnapshotDraft
from stratum.store.snapshots import SnapshotFile, SnapshotReader

log = logging.getLogger(__name__)

KEPT_SNAPSHOTS = 2
AHEAD_BYTES = 256 * 1024  # of zeros: some fifty small commits
PIECES = 512  # handed to the disk in one call at most

Tail = tuple[int, bytes]  # seq and body of a record


@dataclass(frozen=True, slots=True)
class Basis:
    """What a copy begins with: snapshots, and the records that follow on the oldest that `first` reaches."""

    epoch: int
    bases: tuple[Mark, ...]  # for the header of every segment of the epoch
    snapshots: Mapping[Mark, Sequence[SnapshotFile]]  # newest first, on whatever disks they are
    first: int  # seq of the first record
    records: Callable[[Reading], Iterator[Record]]


class Copy:
    """The journal on one disk. Its calls are made in its thread; the lists may be looked at from any."""

    def __init__(self, disk: Disk, reading: Reading, epoch: int) -> None:
        self.disk = disk
        self.thread = DiskThread(disk, "journal disk")
        self.reading = replace(reading, touch=self.thread.touch)
        self.snapshots: list[Mark] = []  # newest first
        self.broken = False  # for lack of space a segment is in a state that cannot be continued
        self._epoch = epoch
        self._bases: tuple[Mark, ...] = ()
        self._seed = seed_of(reading.store)
        self._file: DiskFile | None = None
        self._path = self._temporary = ""
        self._segments: list[int] = []  # first seq of each, ascending; the last one grows
        self._laid_out = 0  # how far there are zeros in it

    def prepare(self, basis: Basis, last: int, tail: Tail | None = None) -> None:
        """Write all but the name: a snapshot if there is one, and a segment with all records up to commit `last`;
        then `tail`, the record after it. Raises CorruptJournal if these are not all there; DiskFailed, StoreFull."""
        self._take_snapshot(basis)
        self._bases = basis.bases
        self._write_segment(basis.first, self._pieces(basis, last, tail))

    def publish(self) -> None:
        """Give the prepared segment its name, then remove what it makes superfluous. Raises DiskFailed."""
        self._name_segment()
        self._remove_superfluous()

    def append(self, seq: int, head: bytes, body: bytes, *, new_segment: bool) -> None:
        """Make a record durable. Raises DiskFailed, and StoreFull, after which it may be tried again unless
        `broken` is set."""
        if new_segment and seq != self._segments[-1]:  # a segment without records is continued: its name is taken
            self._write_segment(seq, iter((head, body)))
            self._name_segment()
            return
        file = self._file
        assert file is not None, "a copy is published before it is appended to"
        self._lay_out(file, len(head) + len(body))
        file.append((head, body), purpose=PURPOSE)
        try:
            file.fsync(purpose=PURPOSE)
        except StoreFull:
            self.broken = True
            raise

    def submit_append(self, seq: int, head: bytes, body: bytes, *, new_segment: bool) -> "Future[None]":
        """Have `append` made in the thread."""
        return self.thread.submit(partial(self.append, seq, head, body, new_segment=new_segment))

    def take_up(self, mark: Mark) -> None:
        """Count on a snapshot that was written to this disk and is newer than those it has."""
        self.snapshots.insert(0, mark)

    def outdated(self) -> list[str]:
        """The files that are not needed any more (C3), forgetting them."""
        paths = [snapshot_path(mark) for mark in self.snapshots[KEPT_SNAPSHOTS:]]
        del self.snapshots[KEPT_SNAPSHOTS:]
        if len(self.snapshots) == KEPT_SNAPSHOTS:
            while len(self._segments) > 1 and self._segments[1] <= self.snapshots[-1].seq + 1:
                paths.append(segment_path(self._segments.pop(0), self._epoch))
        return paths

    def close(self) -> None:
        """End the thread, when it has done what it was given."""
        self.thread.submit(self._close_file)
        self.thread.stop()

    # --- in the thread --------------------------------------------------------------------------------------

    def _take_snapshot(self, basis: Basis) -> None:
        """Have the newest snapshot that is sound somewhere on this disk as well (C1)."""
        for mark, copies in basis.snapshots.items():
            here = any(copy.disk is self.disk for copy in copies)
            reached = mark.seq + 1 >= basis.first
            if here or (reached and not self.snapshots and self._copy_snapshot(mark, copies)):
                self.snapshots.append(mark)
        if basis.first > 1 and not (self.snapshots and self.snapshots[0].seq + 1 >= basis.first):
            raise CorruptJournal("no snapshot can be read as it was written")

    def _copy_snapshot(self, mark: Mark, copies: Sequence[SnapshotFile]) -> bool:
        """Copy a snapshot from other disks; False if none of them has some block of it sound."""
        draft = SnapshotDraft(self.disk, self.reading, mark, self.thread)
        try:
            draft.begin()
            for piece in SnapshotReader(copies, self.reading).pieces():
                draft.append(piece)
            draft.finish()
            draft.publish()
        except CorruptJournal as error:
            log.error("snapshot of commit %d cannot be copied to %s: %s", mark.seq, self.disk.name, error)
            draft.discard()
            return False
        except BaseException:
            draft.discard()
            raise
        return True

    def _pieces(self, basis: Basis, last: int, tail: Tail | None) -> Iterator[bytes]:
        """The records of the basis and the tail, as this epoch writes them."""
        reached = basis.first - 1
        for record in basis.records(self.reading):
            yield encode_record_head(self._seed, record.seq, self._epoch, record.body)
            yield record.body
            reached = record.seq
        if reached < last:
            raise CorruptJournal(f"the records end with commit {reached}, not with {last}")
        if tail is not None and tail[0] == reached + 1:
            yield encode_record_head(self._seed, tail[0], self._epoch, tail[1])
            yield tail[1]

    def _write_segment(self, first: int, pieces: Iterator[bytes]) -> None:
        """Make a durable segment under a temporary name; append to it from now on."""
        self._path = segment_path(first, self._epoch)
        self._temporary = temporary_path(self._path)
        self.thread.touch(self.disk)
        file = self.disk.create(self._temporary, purpose=PURPOSE)
        try:
            held = [encode_segment(self.reading.store, Segment(self._epoch, first, self._bases))]
            size = 0
            for piece in pieces:
                held.append(piece)
                size += len(piece)
                if size >= READ_BYTES or len(held) >= PIECES:
                    self._flush(file, held)
                    held, size = [], 0
            self._flush(file, held)
            file.fsync(purpose=PURPOSE)
        except BaseException:
            file.close()
            if not self.thread.abandoned:
                discard(self.disk, self._temporary, PURPOSE)
            raise
        self._segments.append(first)
        self._file, before = file, self._file
        self._laid_out = 0
        if before is not None:
            before.close()

    def _lay_out(self, file: DiskFile, size: int) -> None:
        """Have zeros where a record of `size` bytes and the next ones will be, if it goes beyond those there are."""
        if file.size + size > self._laid_out and size <= AHEAD_BYTES:
            self._laid_out = file.size + AHEAD_BYTES
            with suppress(
                StoreFull
            ):  # the first of them are where the record will be: if there is room for it, it fits
                file.lay_out(file.size, self._laid_out, purpose=PURPOSE)

    def _flush(self, file: DiskFile, held: Sequence[bytes]) -> None:
        self.thread.touch(self.disk)
        file.append(held, purpose=PURPOSE)

    def _name_segment(self) -> None:
        self._refuse_if_abandoned()
        try:
            self.disk.rename(self._temporary, self._path, purpose=PURPOSE)
            self.disk.fsync_directory(JOURNAL_FOLDER, purpose=PURPOSE)
        except StoreFull:
            self.broken = True
            raise

    def _remove_superfluous(self) -> None:
        """Remove what other epochs, or an earlier copy of this one, left on this disk."""
        self._refuse_if_abandoned()
        del self.snapshots[KEPT_SNAPSHOTS:]
        own = {self._path, *map(snapshot_path, self.snapshots)}
        found = leftovers(self.disk, self._epoch, self.reading)
        remove(self.disk, [path for path in found if path not in own], self.reading)

    def _close_file(self) -> None:
        if self._file is not None:
            self._file.close()

    def _refuse_if_abandoned(self) -> None:
        if self.thread.abandoned:
            raise CallFailed(self.disk, f"{self.disk.name}: answered too late")
