"""The metadata store: changes are visible at once, durable with the next group commit.

Room: stratum/store. May import: core, store.committer, disks, index, journal, overlay, recovery.

A change runs on the event loop against the index under an overlay of what is not yet durable. The open batch
collects changes; when somebody waits, or `Limits.publish_delay` after its first change, it is sealed and handed to
the one writer thread, which commits it to the index and, at the same time, to the redo journal. Meanwhile the next
batch collects. Then waiters are woken and the overlay of the batch is dropped.

Invariants
    M1  A batch is one commit: it has one number, the same in index and journal, one above that of the batch before.
    M2  At most one batch is with the writer; all else happens on the event loop, without an await inside.
    M3  A batch is acknowledged only when it is both in the index and durable on `copies` disks.
    M4  After the first commit that fails nothing is written any more: `failed` says why, reads go on.
    M5  An answer is never based on what may still vanish: `read_durable` and `write` wait for every batch they
        looked at, also when they end with an error.
"""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from time import sleep
from typing import TypeVar

import trio

from stratum.core.config import Limits
from stratum.core.errors import ReadOnly, StratumError, Unavailable
from stratum.core.txn import Txn
from stratum.store.committer import Batch, Committer, Outcome, RedoJournal
from stratum.store.disks import Disks
from stratum.store.index import Index, sequence_of, sound_rows
from stratum.store.overlay import MergedTxn
from stratum.store.recovery import ReadBack, Recovery, closed_cleanly, open_index

log = logging.getLogger(__name__)

_SLICE, _PAUSE = 256, 0.0002  # rows of a snapshot, then seconds in which the event loop gets the interpreter

T = TypeVar("T")


class Meta:
    """The metadata store. Everything but `open` belongs to the event loop's thread."""

    def __init__(self, folder: Path, index: Index, journal: RedoJournal, recovery: Recovery, limits: Limits) -> None:
        self.recovery = recovery
        self.failed: str | None = None
        self._folder = folder
        self._index = index
        self._journal = journal
        self._limits = limits
        self._durable = index.sequence()
        self._open = Batch(self._durable + 1)
        self._sealed: Batch | None = None
        self._layers: tuple[Batch, ...] = (self._open,)
        self._seen = 0
        self._sound = True  # no commit has failed
        self._snapshot_at = limits.journal_segment_bytes
        self._snapshot_wanted = trio.Event()
        self._snapshotting = False
        self._hurry = False  # a snapshot under way is to give up
        self._committer = Committer(index, journal, self._settle)

    @classmethod
    def open(cls, folder: Path, disks: Disks, copies: int, store_id: bytes, limits: Limits) -> "Meta":
        """Open the store in `folder` with its journal on `copies` of `disks`, whatever state it is in. Blocking.

        Without enough disks to journal it comes up read-only (see `failed`). Raises IndexDamaged, CorruptJournal,
        ForeignDisk, DiskFailed, StoreFull.
        """
        from stratum.store.journal import Journal, read_back

        return cls.recover(folder, read_back(disks, store_id), Journal(disks, copies, store_id), store_id, limits)

    @classmethod
    def recover(cls, folder: Path, found: ReadBack, journal: RedoJournal, store_id: bytes, limits: Limits) -> "Meta":
        """As `open`, when the journal has been read back already."""
        opened = open_index(folder, store_id, found, map_bytes=limits.map_bytes)
        meta = cls(folder, opened.index, journal, opened.recovery, limits)
        try:
            journal.start(meta.sequence + 1)
            if opened.snapshot_due:
                meta._write_snapshot()
        except Unavailable as error:
            meta.failed = f"the journal cannot be written: {error}"
            log.critical("metadata: no writes: %s", meta.failed)
        except BaseException:
            meta.abandon()
            raise
        return meta

    # --- the verbs ------------------------------------------------------------------------------------------

    @property
    def sequence(self) -> int:
        """Number of the newest commit that is durable."""
        return self._durable

    @property
    def seen(self) -> int:
        """Ticket of the newest batch that the last read or apply looked at (0: only at durable rows)."""
        return self._seen

    def read(self, query: Callable[[Txn], T]) -> T:
        """Run `query` on all that was applied, durable or not. Raises IndexDamaged, DiskFailed, its errors."""

        def look(base: Txn) -> T:
            txn = MergedTxn(base, self._layers, writable=False)
            try:
                return query(txn)
            finally:
                self._seen = txn.seen

        return self._index.read(look)

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
            txn = MergedTxn(base, self._layers, writable=True)
            try:
                result = change(txn)
            except BaseException:
                txn.undo()
                raise
            finally:
                self._seen = txn.seen
            changed = txn.changed
            return result

        result = self._index.read(attempt)
        if not changed:
            return result, self._seen
        batch = self._open
        if not batch.begun.is_set():
            batch.due = trio.current_time() + self._limits.publish_delay
            batch.begun.set()
        if len(batch.rows) >= self._limits.batch_changes:
            self._want(batch)
        return result, batch.number

    async def durable(self, ticket: int) -> None:
        """Return when the batch of `ticket` is durable. Raises ReadOnly if it never will be."""
        if ticket <= self._durable:
            return
        batch = next((batch for batch in self._layers if batch.number == ticket), None)
        if batch is None:
            raise ReadOnly(self.failed or f"no batch has the number {ticket}")
        if batch is self._open:
            self._want(batch)
        await batch.done.wait()
        if batch.error is not None:
            raise ReadOnly(batch.error)

    async def write(self, change: Callable[[Txn], T]) -> T:
        """Apply `change` and return when it is durable. If it raises, nothing happened (M5). Raises ReadOnly."""
        try:
            result, ticket = self.apply(change)
        except StratumError:
            await self.durable(self._seen)
            raise
        await self.durable(ticket)
        return result

    async def room(self) -> None:
        """Wait while more than `Limits.pending_meta_bytes` of changes are not yet durable."""
        while self.failed is None and sum(b.cost for b in self._layers) > self._limits.pending_meta_bytes:
            self._want(self._open)
            await self._layers[-1].done.wait()

    # --- the service ----------------------------------------------------------------------------------------

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Publish what nobody waits for when it is due, and take snapshots, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._take_snapshots)
            nursery.start_soon(self._hurry_at_cancel)
            task_status.started()
            while True:
                batch = self._open
                await batch.begun.wait()
                await trio.sleep_until(batch.due)
                if batch is self._open:
                    self._want(batch)
                await batch.done.wait()

    async def close(self) -> None:
        """Make everything durable, leave a fresh snapshot, let go of files. Later calls raise ReadOnly."""
        if not self._committer.running:
            return
        with trio.CancelScope(shield=True):
            while self.failed is None and (self._sealed is not None or self._open.rows):
                self._want(self._open)
                await self._layers[-1].done.wait()
            self.failed = self.failed or "the store is closed"
            await trio.to_thread.run_sync(self._let_go, self._sound)

    def abandon(self) -> None:
        """Let go of threads and files at once, as a kill would: what is not durable is lost."""
        self.failed = self.failed or "the store was abandoned"
        self._let_go(False)

    # --- on the event loop ----------------------------------------------------------------------------------

    def _want(self, batch: Batch) -> None:
        """Have `batch` sealed at the end of this turn of the loop, so that tasks woken together share it."""
        batch.wanted = True
        self._publish_soon()

    def _publish_soon(self) -> None:
        trio.lowlevel.current_trio_token().run_sync_soon(self._publish, idempotent=True)

    def _publish(self) -> None:
        """Hand the open batch to the writer if it is wanted and the writer is free (M2)."""
        batch = self._open
        if not (batch.wanted and batch.rows) or self._sealed is not None or not self._sound:
            return
        if self._index.must_grow(batch.cost, len(batch.rows)):
            if self._snapshotting:
                return  # its end calls again
            try:
                self._index.grow(batch.cost, len(batch.rows))
            except StratumError as error:
                self._fail(batch, Outcome(error, journaled=False))
                return
        self._sealed, self._open = batch, Batch(batch.number + 1)
        self._layers = (self._open, batch)
        self._committer.submit(batch)

    def _settle(self, batch: Batch, outcome: Outcome) -> None:
        """The writer is done with `batch`."""
        if outcome.error is not None:
            self._fail(batch, outcome)
            return
        self._durable = batch.number
        self._sealed = None
        self._layers = (self._open,)
        batch.done.set()
        if self._open.wanted:
            self._publish_soon()
        if self._journal.bytes_since_snapshot > self._snapshot_at:
            self._snapshot_wanted.set()

    def _fail(self, batch: Batch, outcome: Outcome) -> None:
        """Stop writing for good (M4). What the journal holds stays visible: the next start will apply it."""
        log.critical("metadata: commit %d failed, no more writes: %s", batch.number, outcome.error)
        self._sound = False
        self.failed = f"a metadata commit failed: {outcome.error}"
        self._sealed = None
        self._layers, lost = (batch,) if outcome.journaled else (), {batch, self._open}
        if outcome.journaled:
            self._durable = batch.number
        for waited in lost:
            waited.error = self.failed
            waited.done.set()
        self._open = Batch(self._open.number + 1)

    async def _take_snapshots(self) -> None:
        while True:
            await self._snapshot_wanted.wait()
            self._snapshot_wanted = trio.Event()
            self._snapshotting = True
            try:
                await trio.to_thread.run_sync(self._snapshot)
            finally:
                self._snapshotting = False
                self._publish_soon()
            self._snapshot_at = self._journal.bytes_since_snapshot + self._limits.journal_segment_bytes

    async def _hurry_at_cancel(self) -> None:
        """A thread cannot be cancelled: tell a snapshot under way to give up when the service is."""
        try:
            await trio.sleep_forever()
        finally:
            self._hurry = True

    # --- in threads -----------------------------------------------------------------------------------------

    def _snapshot(self) -> None:
        """Write every row to the journal's disks, as of one commit. A failure is logged: the journal suffices."""
        try:
            self._write_snapshot()
        except StratumError as error:
            log.error("metadata: no snapshot: %s", error)

    def _write_snapshot(self) -> None:
        self._index.read(lambda txn: self._journal.write_snapshot(sequence_of(txn), self._rows(txn)))

    def _rows(self, txn: Txn) -> Iterator[tuple[bytes, bytes]]:
        for count, row in enumerate(sound_rows(txn), 1):
            yield row
            if self._hurry:
                raise Unavailable("the store is closing")
            if count % _SLICE == 0:
                sleep(_PAUSE)

    def _let_go(self, clean: bool) -> None:
        self._committer.stop()
        if clean and self._journal.bytes_since_snapshot:
            self._hurry = False
            self._snapshot()
        self._journal.close()
        self._index.close()
        if clean:
            closed_cleanly(self._folder)
