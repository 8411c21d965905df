"""The redo journal: every commit of the index, durable on several disks before it is acknowledged.

Room: stratum/store. May import: core, store.disk, disk_thread, disks, journal_copy, journal_files, quorum, read_back,
segments, snapshot_draft.

Layout: core/journal_format.py and core/snapshot_format.py. A *copy* is a snapshot and everything after it on one
disk; `copies` disks hold one each, with a thread of its own.

Invariants
    L1  A record is acknowledged when it is durable on `copies` disks. A disk that takes the place of a failed one
        counts when it holds a complete copy. If fewer disks are in service when the record begins, all of them must
        have it, but never fewer than two (unless there is only one slot).
    L2  A disk that fails or gives no answer within `Limits.disk_timeout` leaves service; a full one only its copy.
    L3  An epoch number is taken on a majority of all slots before anything is written in that epoch, and no epoch
        begins unless so many disks can be read that the copies of an acknowledged record cannot all be overlooked.
        A segment of the epoch gets its name only when all that it continues is durable on enough disks.
    L4  One record at a time: the next begins when the one before is durable. So within an epoch there is one
        content for a seq, and nothing after a record that was not acknowledged.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from functools import partial

from stratum.core.errors import Busy, ReadOnly, StoreFull, StratumError
from stratum.core.journal_format import (
    RECORD_HEADER_BYTES,
    Change,
    Mark,
    encode_changes,
    encode_record_head,
    seed_of,
)
from stratum.core.snapshot_format import Row
from stratum.store.copies import Copies, reach
from stratum.store.disk import Disk
from stratum.store.disks import Disks
from stratum.store.journal_copy import Basis, Copy, Tail
from stratum.store.quorum import Quorum
from stratum.store.read_back import Recovered, read_back, survey
from stratum.store.segments import Reading
from stratum.store.snapshot_writer import SnapshotWriter
from stratum.store.snapshots import inspect

__all__ = ["Journal", "Pending", "Recovered", "read_back"]

log = logging.getLogger(__name__)


class Pending:
    """A record on its way to the disks."""

    def __init__(
        self, journal: "Journal", seq: int, frame: tuple[bytes, bytes], *, needed: int, new_segment: bool
    ) -> None:
        self.seq = seq
        self.needed = needed  # disks that must have it
        self.frame = frame  # head, body
        self.new_segment = new_segment
        self.under_way: list[tuple[Copy, Future[None]]] = []
        self.durable: list[Copy] = []
        self.done = False
        self._journal = journal

    @property
    def tail(self) -> Tail:
        """The record as a new copy must have it."""
        return self.seq, self.frame[1]

    def wait(self) -> None:
        """Return when the record is durable on enough disks.

        Raises StoreFull or TooFewDisks. Then it may be there after a restart or not, no other can be appended,
        and waiting again tries again: with more room, or more disks in service, it may succeed.
        """
        if not self.done:
            self._journal.finish(self)

    def when_answered(self, call: Callable[[], object]) -> None:
        """Have `call` made, in some disk's thread or at once, when all appends under way have ended. One on a disk that
        hangs never does."""
        counted = iter(range(len(self.under_way) - 1, -1, -1))  # next() is atomic: one of the threads gets the 0

        def ended(_: Future[None]) -> None:
            if next(counted) == 0:
                call()

        for _, append in tuple(self.under_way):
            append.add_done_callback(ended)
        if not self.under_way:
            call()

    def went_well(self) -> bool:
        """When all appends under way have ended: whether as many copies as there shall be have it; then it is done, as
        after `wait`. Never waits."""
        return self._journal.finish_whole(self)

    def submit(self, copies: Iterable[Copy]) -> None:
        """Have it appended to those of `copies` that have not got it."""
        for copy in copies:
            if copy not in self.durable:
                future = copy.submit_append(self.seq, *self.frame, new_segment=self.new_segment)
                self.under_way.append((copy, future))


class Journal:
    """The journal of one server. One thread at a time appends; snapshots may be written from another meanwhile."""

    def __init__(self, disks: Disks, copies: int, store_id: bytes) -> None:
        self._quorum = Quorum(disks, copies, store_id)
        self._copies = Copies(self._quorum)
        self._seed = seed_of(store_id)
        self._next = 0
        self._awaits_snapshot = False
        self._pending: Pending | None = None
        self._new_segment = False  # the next record begins one
        self._appended = self._covered = 0  # bytes of records: all, and those up to the newest snapshot
        self._snapshotting = threading.Lock()  # one snapshot at a time

    @property
    def epoch(self) -> int:
        """The number of this run of the server, 0 before `start`."""
        return self._copies.epoch

    @property
    def bytes_since_snapshot(self) -> int:
        """Bytes of the records that a rebuild would replay after the rows of the newest snapshot."""
        return self._appended - self._covered

    @property
    def slots(self) -> list[int]:
        """The disks that hold a copy now."""
        return sorted(copy.disk.slot for copy in self._copies.members)

    def start(self, next_seq: int) -> None:
        """Begin an epoch whose first record will be commit `next_seq`. Blocking; once per journal.

        If the disks end before commit `next_seq` - 1, nothing can be appended until `write_snapshot` has written
        that one. Raises TooFewDisks, StoreFull, CorruptJournal; ValueError if the disks know `next_seq` already.
        """
        found = survey(self._quorum.usable(), self._quorum.reading)
        after, last, size = reach(found)
        self._quorum.require_witnesses(len(self._quorum.usable()))
        if next_seq <= last:
            raise ValueError(f"the journal holds commit {last}: it cannot go on with commit {next_seq}")
        self._copies.begin_epoch(found.claimed + 1)
        self._next = next_seq
        self._awaits_snapshot = next_seq > last + 1
        if self._awaits_snapshot:
            log.warning("journal: ends with commit %d, the index with %d: a snapshot is due", last, next_seq - 1)
            return
        self._appended = size
        bases = tuple(found.snapshots)[:2]
        basis = Basis(self.epoch, bases, found.snapshots, after + 1, partial(found.records, after))
        self._copies.establish(basis, last)

    def close(self) -> None:
        """End the threads. What was not waited for may be durable or not."""
        self._copies.close()
        self._copies.epoch = 0

    # --- appending ------------------------------------------------------------------------------------------

    def append_begin(self, seq: int, changes: Sequence[Change]) -> Pending:
        """Begin to write the record of commit `seq`; `wait` for what is returned before the next.

        Raises ReadOnly if the journal is not started, awaits a snapshot or has a record that is not durable.
        """
        if not self.epoch or self._awaits_snapshot or self._pending is not None:
            why = "is not started" if not self.epoch else "awaits a snapshot" if self._awaits_snapshot else ""
            raise ReadOnly(f"the journal {why or 'has a record that is not durable yet'}")
        if seq != self._next:
            raise ValueError(f"commit {seq} cannot follow commit {self._next - 1}")
        body = encode_changes(changes)
        frame = encode_record_head(self._seed, seq, self.epoch, body), body
        self._copies.drop_unusable()
        new_segment, self._new_segment = self._new_segment, False
        self._pending = pending = Pending(self, seq, frame, needed=self._quorum.needed(), new_segment=new_segment)
        self._appended += RECORD_HEADER_BYTES + len(body)
        pending.submit(self._copies.members)
        return pending

    def finish(self, pending: Pending) -> None:
        """Wait for `pending`, replacing copies that fail; see `Pending.wait`."""
        if self._pending is not pending:
            raise ReadOnly("the record was given up")
        copies = self._copies
        if not pending.under_way:  # waited for before, in vain
            copies.drop_unusable()
            pending.durable = [copy for copy in pending.durable if copy in copies.members]
            pending.submit(copies.members)
        full = self._collect(pending)
        copies.top_up(pending.durable, full, pending.needed, pending.seq - 1, pending.tail)
        if len(pending.durable) < pending.needed:
            copies.members = [*pending.durable, *full]
            raise self._quorum.shortage(len(pending.durable), pending.needed)
        for copy in full:
            copy.close()
        self._end(pending)

    def finish_whole(self, pending: Pending) -> bool:
        """See `Pending.went_well`."""
        appended = [copy for copy, append in pending.under_way if append.done() and append.exception() is None]
        if (
            self._pending is not pending
            or len(appended) != len(pending.under_way)
            or len(appended) < self._quorum.target
        ):
            return False
        pending.under_way, pending.durable = [], appended
        self._end(pending)
        return True

    def _end(self, pending: Pending) -> None:
        """The record is durable on enough disks: the next may begin."""
        self._copies.members = pending.durable
        pending.done = True
        self._pending = None
        self._next = pending.seq + 1

    def _collect(self, pending: Pending) -> list[Copy]:
        """Wait for the appends under way; return the copies that lack nothing but room for this record."""
        full = []
        under_way, pending.under_way = pending.under_way, []
        for copy, future in under_way:
            try:
                copy.thread.result(future, self._quorum.timeout)
            except (StoreFull, Busy) as error:
                if copy.broken:
                    self._copies.lose(copy, error)
                else:
                    self._quorum.lose(copy.disk, error)
                    full.append(copy)
            except StratumError as error:
                self._copies.lose(copy, error)
            else:
                pending.durable.append(copy)
        return full

    # --- snapshots ------------------------------------------------------------------------------------------

    def write_snapshot(self, seq: int, rows: Iterable[Row]) -> None:
        """Write all rows of the index as they are after commit `seq`, in key order, then drop what is outdated.

        `rows` is read in the calling thread. Does nothing if there is such a snapshot. A disk that fails meanwhile
        is left out. Raises ReadOnly; StoreFull or TooFewDisks if that leaves none; what `rows` raises. After an
        error the older snapshots still serve.
        """
        if not self.epoch:
            raise ReadOnly("the journal is not started")
        with self._snapshotting:
            if self._awaits_snapshot and seq != self._next - 1:
                raise ValueError(f"the journal awaits a snapshot of commit {self._next - 1}, not {seq}")
            members = self._copies.members
            if any(copy.snapshots and copy.snapshots[0].seq >= seq for copy in members):
                return
            covered = self._appended
            self._new_segment = not self._awaits_snapshot
            mark = Mark(seq, self.epoch)
            writer = SnapshotWriter(self._quorum, self._targets(), mark)
            try:
                writer.write(rows)
                self._take_up(writer, mark)
            finally:
                writer.close()
            self._covered = covered

    def _targets(self) -> list[Disk]:
        if not self._awaits_snapshot:
            return [copy.disk for copy in self._copies.members]
        return self._quorum.usable()[: self._quorum.target]

    def _take_up(self, writer: SnapshotWriter, mark: Mark) -> None:
        """Name the snapshot, and go on from it. One disk suffices: the copies of the others are whole as they are."""
        if self._awaits_snapshot:
            writer.publish()
            self._begin_with(writer.disks, mark)
            return
        with self._copies.changing:
            writer.publish()
            for copy in self._copies.members:
                if any(copy.disk is disk for disk in writer.disks):
                    copy.take_up(mark)
            self._copies.tidy()

    def _begin_with(self, disks: Sequence[Disk], mark: Mark) -> None:
        """Begin the epoch's first segments after a snapshot that does not continue what was on the disks."""
        reading: Reading = self._quorum.reading
        found = [snapshot for disk in disks if (snapshot := inspect(disk, reading.store, mark))]
        basis = Basis(self.epoch, (), {mark: found}, mark.seq + 1, lambda reading: iter(()))
        self._copies.establish(basis, mark.seq)
        self._awaits_snapshot = False
