"""Which changes are visible, which are durable, and who waits for what.

Room: stratum/store. May import: core, store.committer, store.index. Everything happens on the event loop.

Invariants
    M1  A batch is one commit: it has one number, the same in index and journal, one above that of the one before.
    M2  At most one batch is with the writer, and nothing here awaits but those who wait.
    M3  A batch is durable when it is on enough disks of the journal. The index gets it at the same time, and only when
        it has it can the next batch begin: so the journal is at most one batch ahead.
    M4  While the journal has too few disks, or no room, no change is taken, and waiters are told; what was taken
        stays visible and is tried again. After any other failure of a commit nothing is written any more.
"""

import logging
from collections.abc import Callable

import trio

from stratum.core.config import Limits
from stratum.core.errors import ReadOnly, StratumError
from stratum.store.committer import Batch, Committer, Outcome, RedoJournal
from stratum.store.index import Index

log = logging.getLogger(__name__)


class Batches:
    """The open batch, the one at the writer, and the number of the newest durable one.

    `settled()` is called after every commit. `hindrance` is why no change may be taken, None if it may.
    """

    def __init__(self, index: Index, journal: RedoJournal, limits: Limits, settled: Callable[[], None]) -> None:
        self.durable = index.sequence()
        self.open = Batch(self.durable + 1)
        self.layers: tuple[Batch, ...] = (self.open,)  # newest first
        self.sound = True  # no commit has failed for good
        self.hindrance: str | None = None
        self.commit_seconds = 0.0  # of the newest durable commit; twice that, if it has to wait for another one
        self.map_in_use = False  # somebody else has a long transaction: the map must not grow
        self._index = index
        self._limits = limits
        self._settled = settled
        self._stalled = self._stopped = False
        self._sealed: Batch | None = None
        self._submitted_at = self._busy_seconds = 0.0  # the latter: until the writer is free for the next one
        self._moved = trio.Event()  # set, and replaced, when a batch has ended or cannot be written now
        self._committer = Committer(
            index, journal, journaled=self._acknowledge, settled=self._settle, stalled=self._stall
        )

    @property
    def idle(self) -> bool:
        """Whether everything that was taken is durable."""
        return self._sealed is None and not self.open.rows

    def note_change(self) -> int:
        """The open batch got a change: return its ticket."""
        batch = self.open
        if not batch.begun.is_set():
            batch.due = trio.current_time() + self._limits.publish_delay
            batch.begun.set()
        if len(batch.rows) >= self._limits.batch_changes:
            self.want(batch)
        return batch.number

    def want(self, batch: Batch) -> None:
        """Have `batch` sealed at the end of this turn of the loop, so that tasks woken together share it."""
        batch.wanted = True
        self.publish_soon()

    def publish_soon(self) -> None:
        """Look again, at the end of this turn of the loop, whether the open batch can go to the writer."""
        trio.lowlevel.current_trio_token().run_sync_soon(self._publish, idempotent=True)

    async def wait(self, ticket: int) -> None:
        """Return when batch `ticket` is durable. Raises ReadOnly if it is not to be expected now."""
        if ticket <= self.durable:
            return
        batch = next((batch for batch in self.layers if batch.number == ticket), None)
        if batch is None:
            raise ReadOnly(self.hindrance or f"there is no batch {ticket}")
        if batch is self.open:
            batch.wanted = True
            await trio.lowlevel.cancel_shielded_checkpoint()  # so that tasks woken together share it
            self._publish()
        await batch.answered.wait()
        if batch.error is not None or ticket > self.durable:
            raise ReadOnly(batch.error or self.hindrance)

    async def wait_for_room(self) -> None:
        """Wait while more than `Limits.pending_meta_bytes` of changes are not yet durable."""
        while self.hindrance is None and sum(batch.cost for batch in self.layers) > self._limits.pending_meta_bytes:
            self.want(self.open)
            await self._moved.wait()

    async def drain(self) -> None:
        """Wait until everything is durable, or cannot be now."""
        while self.hindrance is None and not self.idle:
            self.want(self.open)
            await self._moved.wait()

    async def seal_when_due(self) -> None:
        """See to it that no batch stays open for longer than `Limits.publish_delay`, until cancelled."""
        while True:
            batch = self.open
            await batch.begun.wait()
            await trio.sleep_until(batch.due)
            if batch is self.open:
                self.want(batch)
            await batch.ended.wait()

    def stop(self) -> None:
        """End the writer when the batch it has is durable, or has stalled; nothing more is handed to it. Blocking."""
        self._stopped = True
        self._committer.stop()

    def _publish(self) -> None:
        """Hand the open batch to the writer if it is wanted and the writer is free (M2)."""
        batch = self.open
        if not (batch.wanted and batch.rows) or self._sealed is not None or not self.sound or self._stopped:
            return
        if self._index.must_grow(batch.cost, len(batch.rows)):
            if self.map_in_use:
                return  # `publish_soon` is called when it no longer is
            try:
                self._index.grow(batch.cost, len(batch.rows))
            except StratumError as error:
                self._fail(batch, error, journaled=False)
                return
        self._sealed, self.open = batch, Batch(batch.number + 1)
        self.layers = (self.open, batch)
        self._submitted_at = trio.current_time()
        self._committer.submit(batch)

    def _acknowledge(self, batch: Batch) -> None:
        """The journal has `batch` (M3): those who wait need not wait for the index."""
        if self.sound and batch.number == self.durable + 1:
            self.durable = batch.number
            taken = trio.current_time() - self._submitted_at
            self.commit_seconds = (taken + max(taken, self._busy_seconds)) / 2
            batch.answered.set()

    def _settle(self, batch: Batch, outcome: Outcome) -> None:
        """The writer is done with `batch`."""
        self._index.committed(batch.rows if outcome.error is None else None)
        if outcome.error is not None:
            self._fail(batch, outcome.error, journaled=outcome.journaled)
            return
        self._acknowledge(batch)
        self._busy_seconds = trio.current_time() - self._submitted_at
        self._sealed = None
        self.layers = (self.open,)
        batch.error = None
        if self._stalled:
            log.warning("metadata: the journal can be written again")
            self._stalled, self.hindrance = False, None
            self.open.error, self.open.answered = None, trio.Event()
            self.open.wanted = True
        batch.answered.set()
        batch.ended.set()
        self._note_move()
        if self.open.wanted:
            self.publish_soon()
        self._settled()

    def _stall(self, batch: Batch, reason: str) -> None:
        """The journal cannot take `batch` now: tell those who wait, take nothing more (M4)."""
        if not self._stalled:
            log.critical("metadata: commit %d waits, no writes meanwhile: %s", batch.number, reason)
        self._stalled = True
        self.hindrance = f"the metadata journal cannot be written: {reason}"
        for waited in (batch, self.open):
            waited.error = self.hindrance
            waited.answered.set()
        self._note_move()

    def _fail(self, batch: Batch, error: Exception, *, journaled: bool) -> None:
        """Stop writing for good (M4). What the journal holds stays visible: the next start will apply it."""
        log.critical("metadata: commit %d failed, no more writes: %s", batch.number, error)
        lost = {batch, self.open}
        self.sound = self._stalled = False
        self.hindrance = f"a metadata commit failed: {error}"
        self.open, self._sealed = Batch(self.open.number + 1), None
        self.layers = (batch,) if journaled else ()
        if journaled:
            self.durable = batch.number
        for waited in lost:
            waited.error = self.hindrance
            waited.answered.set()
            waited.ended.set()
        self._note_move()

    def _note_move(self) -> None:
        self._moved.set()
        self._moved = trio.Event()
