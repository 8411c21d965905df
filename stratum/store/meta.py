"""The metadata store: changes are visible at once, durable with the next group commit.

Room: stratum/store. May import: core, store.batches, disks, index, journal, journal_writer, overlay, recovery.

A change runs on the event loop against the index under an overlay of what it does not hold yet. The open batch
collects changes; when somebody waits, or `Limits.publish_delay` after its first change, it is sealed and written to the
redo journal. Meanwhile the next batch collects. Then waiters are woken, and the index gets it, together with all that
was journaled since it got something the last time; then it leaves the overlay (store/batches.py).

Invariants, besides M1 to M4 of store/batches.py
    M5  An answer is never based on what may still vanish: `read_durable` and `write` wait for every batch they
        looked at, also when they end with an error of ours.
    M6  A snapshot shows exactly one commit, which is durable (the index is never ahead of the journal), and only rows
        whose checksums hold.
    M7  With an index that had to be built anew, nothing is served unless so many disks of the journal could be
        read that no acknowledged commit can be missing.
"""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from time import sleep
from typing import TypeVar

import trio

from stratum.core.config import Limits
from stratum.core.errors import Corrupt, ReadOnly, StratumError, Unavailable
from stratum.core.txn import Txn
from stratum.store.batches import Batches
from stratum.store.disks import Disks
from stratum.store.index import Index, sequence_of, sound_rows
from stratum.store.journal import Journal, read_back
from stratum.store.journal_writer import RedoJournal
from stratum.store.overlay import MergedTxn
from stratum.store.recovery import ReadBack, Recovery, closed_cleanly, open_index, put_in_place

log = logging.getLogger(__name__)

T = TypeVar("T")

Follow = Callable[[Txn, list[tuple[bytes, bytes | None, bytes | None]]], object]

_SLICE, _PAUSE = 256, 0.0002  # rows of a snapshot, then seconds in which the event loop gets the interpreter


class Meta:
    """The metadata store. Everything but `open` belongs to the event loop's thread."""

    def __init__(self, folder: Path, index: Index, journal: RedoJournal, recovery: Recovery, limits: Limits) -> None:
        self.recovery = recovery
        self._folder = folder
        self._index = index
        self._journal = journal
        self._limits = limits
        self._seen = 0
        self._unstarted: str | None = None  # why the journal could not be started
        self._snapshot_due = False  # the journal lacks what the index holds
        self._snapshot_at = limits.journal_segment_bytes
        self._snapshot_wanted = trio.Event()
        self._hurry = False  # a snapshot under way is to give up
        self._closed = False
        self._follow: tuple[bytes, Follow] | None = None
        self._batches = Batches(index, journal, limits, self._after_commit)

    @classmethod
    def open(cls, folder: Path, disks: Disks, copies: int, store_id: bytes, limits: Limits) -> "Meta":
        """Open the store in `folder` with its journal on `copies` of `disks`, whatever state it is in. Blocking.

        Without enough disks to journal it comes up read-only (see `failed`), unless the index had to be built
        anew (M7). Raises TooFewDisks, StoreFull, IndexDamaged, CorruptJournal, ForeignDisk, DiskFailed.
        """
        return cls.recover(folder, read_back(disks, store_id), Journal(disks, copies, store_id), store_id, limits)

    @classmethod
    def recover(cls, folder: Path, found: ReadBack, journal: RedoJournal, store_id: bytes, limits: Limits) -> "Meta":
        """As `open`, when the journal has been read back already."""
        opened = open_index(folder, store_id, found, map_bytes=limits.map_bytes)
        index, refusal = opened.index, None
        try:
            try:
                journal.start(index.sequence() + 1)
            except Unavailable as error:
                journal.close()
                if opened.provisional:
                    raise
                refusal = str(error)
            if opened.provisional:
                index = put_in_place(folder, index, map_bytes=limits.map_bytes)
            meta = cls(folder, index, journal, opened.recovery, limits)
        except BaseException:
            index.close()
            raise
        meta._unstarted, meta._snapshot_due = refusal, opened.snapshot_due
        meta._begin(started=refusal is None)
        return meta

    # --- the verbs ------------------------------------------------------------------------------------------

    @property
    def failed(self) -> str | None:
        """Why no change is taken now, None if it is."""
        if self._closed:
            return "the metadata store is closed"
        return self._batches.hindrance or self._unstarted

    @property
    def sequence(self) -> int:
        """Number of the newest commit that is durable."""
        return self._batches.durable

    @property
    def journal_slots(self) -> list[int]:
        """The disks that hold the journal now."""
        return self._journal.slots

    @property
    def commit_seconds(self) -> float:
        """How long the newest durable commit took."""
        return self._batches.commit_seconds

    @property
    def seen(self) -> int:
        """Ticket of the newest batch that the last read or apply looked at (0: only at durable rows)."""
        return self._seen

    def read(self, query: Callable[[Txn], T]) -> T:
        """Run `query` on all that was applied, durable or not. Raises IndexDamaged, DiskFailed, its errors."""

        def look(base: Txn) -> T:
            txn = MergedTxn(base, self._batches.layers, writable=False)
            try:
                return query(txn)
            finally:
                self._seen = txn.seen

        return self._index.look(look)

    async def read_durable(self, query: Callable[[Txn], T]) -> T:
        """As `read`, but return or raise only when everything it looked at is durable (M5). Raises ReadOnly."""
        try:
            answer = self.read(query)
        except StratumError:
            await self.durable(self._seen)
            raise
        if self._seen:
            await self.durable(self._seen)
        return answer

    def apply(self, change: Callable[[Txn], T]) -> tuple[T, int]:
        """Run `change`, visible at once; return its result and a ticket for `durable`.

        If it raises, nothing happened. Raises ReadOnly and what `read` raises.
        """
        if self.failed is not None:
            raise ReadOnly(self.failed)
        changed = False

        def attempt(base: Txn) -> T:
            nonlocal changed
            txn = MergedTxn(base, self._batches.layers, writable=True)
            try:
                result = change(txn)
                if self._follow is not None and txn.changed:
                    self._follow[1](txn, txn.touched(self._follow[0]))
            except BaseException:
                txn.undo()
                raise
            finally:
                self._seen = txn.seen
            changed = txn.changed
            return result

        result = self._index.look(attempt)
        return result, self._batches.note_change() if changed else self._seen

    def follow(self, tables: bytes, follow: Follow) -> None:
        """Have `follow` run at the end of every change from now on, with the rows of `tables` (first bytes of keys)
        that it touched: (key, before, now). It is part of the change: what it puts is, and if it raises, so does
        the change."""
        self._follow = (tables, follow)

    async def durable(self, ticket: int) -> None:
        """Return when the batch of `ticket` is durable. Raises ReadOnly if that is not to be expected now: then
        it may become so later, or not."""
        await self._batches.wait(ticket)

    async def write(self, change: Callable[[Txn], T]) -> T:
        """Apply `change` and return when it is durable. If it raises, nothing happened (M5); but after ReadOnly
        the change may become durable later, or not."""
        try:
            result, ticket = self.apply(change)
        except StratumError:
            await self.durable(self._seen)
            raise
        await self.durable(ticket)
        return result

    async def room(self) -> None:
        """Wait while more than `Limits.pending_meta_bytes` of changes are not yet in the index."""
        await self._batches.wait_for_room()

    # --- the service ----------------------------------------------------------------------------------------

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Publish what nobody waits for when it is due, and take snapshots, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._take_snapshots)
            nursery.start_soon(self._hurry_at_cancel)
            nursery.start_soon(self._begin_later)
            task_status.started()
            await self._batches.keep_time()

    async def close(self) -> None:
        """Make everything durable, leave a fresh snapshot, let go of files. Later calls raise ReadOnly."""
        if self._closed:
            return
        with trio.CancelScope(shield=True):
            await self._batches.drain()
            self._closed = True
            await trio.to_thread.run_sync(self._let_go, self._batches.sound and self._batches.idle)

    def abandon(self) -> None:
        """Let go of threads and files at once, as a kill would: what is not durable is lost."""
        self._closed = True
        self._let_go(False)

    def _after_commit(self) -> None:
        if self._journal.bytes_since_snapshot > self._snapshot_at:
            self._snapshot_wanted.set()

    async def _take_snapshots(self) -> None:
        while True:
            await self._snapshot_wanted.wait()
            self._snapshot_wanted = trio.Event()
            self._batches.map_in_use = True
            try:
                await trio.to_thread.run_sync(self._snapshot)
            finally:
                self._batches.map_is_free()
            self._snapshot_at = self._journal.bytes_since_snapshot + self._limits.journal_segment_bytes

    async def _hurry_at_cancel(self) -> None:
        """A thread cannot be cancelled: tell a snapshot under way to give up when the service is."""
        try:
            await trio.sleep_forever()
        finally:
            self._hurry = True

    async def _begin_later(self) -> None:
        """Start the journal when disks have come back."""
        while self._unstarted is not None:
            await trio.sleep(self._limits.disk_check_interval)
            await trio.to_thread.run_sync(self._begin)

    # --- in threads -----------------------------------------------------------------------------------------

    def _begin(self, *, started: bool = False) -> None:
        """Get the journal ready to append, or say in `failed` why it is not."""
        try:
            if not started:
                self._journal.start(self.sequence + 1)
            if self._snapshot_due:
                self._write_snapshot()
        except (Unavailable, Corrupt, ValueError) as error:  # ValueError: the disks that came back know more than we
            self._journal.close()
            if str(error) != self._unstarted:
                log.critical("metadata: no writes: %s", error)
            self._unstarted = str(error)
            return
        self._unstarted, self._snapshot_due = None, False

    def _snapshot(self) -> None:
        """Write every row to the journal's disks. A failure is logged: the journal goes on without."""
        try:
            self._write_snapshot()
        except StratumError as error:
            log.error("metadata: no snapshot: %s", error)

    def _write_snapshot(self) -> None:
        def write(txn: Txn) -> None:
            self._journal.write_snapshot(sequence_of(txn), self._rows(txn))

        self._index.read(write)

    def _rows(self, txn: Txn) -> Iterator[tuple[bytes, bytes]]:
        for count, row in enumerate(sound_rows(txn), 1):
            yield row
            self._refuse_if_hurried()
            if count % _SLICE == 0:
                sleep(_PAUSE)

    def _refuse_if_hurried(self) -> None:
        if self._hurry or not self._batches.sound:
            raise Unavailable("the store is closing")

    def _let_go(self, clean: bool) -> None:
        self._batches.stop()
        if clean and self._unstarted is None and self._journal.bytes_since_snapshot:
            self._hurry = False
            self._snapshot()
        self._journal.close()
        self._index.close()
        if clean:
            closed_cleanly(self._folder)
