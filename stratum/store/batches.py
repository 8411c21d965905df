"""Which changes are visible, which are durable, and who waits for what.

Room: stratum/store. May import: core, store.index, store.index_writer, store.journal_writer, store.overlay. Everything
happens on the event loop.

Invariants
    M1  A batch is one commit: it has one number, the same in index and journal, one above that of the one before.
    M2  At most one batch is with the journal, at most one layer with the index, and nothing here awaits but those who
        wait.
    M3  A batch is durable when it is on enough disks of the journal. Then it joins the layer of those that the index
        gets next, in one transaction. That layer is bounded: where it costs `Limits.pending_meta_bytes`, the next
        batch waits for the index.
    M4  While the journal has too few disks, or no room, no change is taken, and waiters are told; what was taken
        stays visible and is tried again. After any other failure of a commit nothing is written any more.
"""

import logging
from collections.abc import Callable

import trio

from stratum.core.config import Limits
from stratum.core.errors import ReadOnly, StratumError
from stratum.store.index import Index
from stratum.store.index_writer import IndexWriter
from stratum.store.journal_writer import Batch, JournalWriter, RedoJournal
from stratum.store.overlay import Layer

log = logging.getLogger(__name__)


DOUBT_S = 0.25  # until a record that is still under way is waited for in a thread, which knows how long a disk may take


class Batches:
    """The open batch, the one with the journal, what the index has not got, and the number of the newest durable batch.

    `settled()` is called when the index has got something. `hindrance` is why no change may be taken, None if it may.
    """

    def __init__(self, index: Index, journal: RedoJournal, limits: Limits, settled: Callable[[], None]) -> None:
        self.durable = index.sequence()
        self.open = Batch(self.durable + 1)
        self.layers: tuple[Layer, ...] = (self.open,)  # newest first
        self.sound = True  # no commit has failed for good
        self.hindrance: str | None = None
        self.commit_seconds = 0.0  # of the newest durable commit; twice that, if it has to wait for another one
        self.map_in_use = False  # somebody else has a long transaction: the map must not grow
        self._index = index
        self._limits = limits
        self._settled = settled
        self._stalled = self._stopped = False
        self._sealed: Batch | None = None  # with the journal
        self._behind: Layer | None = None  # the journal has it, the index does not
        self._indexing: Layer | None = None  # the index gets it
        self._index_ready = True
        self._submitted_at = 0.0
        self._begun, self._submitted = trio.Event(), trio.Event()  # set: somebody has time to keep
        self._moved = trio.Event()  # set, and replaced, when something has ended or cannot be written now
        self._journal_writer = JournalWriter(journal, ended=self._journaled, stalled=self._stall)
        self._index_writer = IndexWriter(index, committed=self._indexed, ready=self._feed_index_again)

    @property
    def idle(self) -> bool:
        """Whether everything that was taken is durable, and the index has it."""
        return not self.open.rows and self._sealed is None and self._behind is None and self._indexing is None

    def note_change(self) -> int:
        """The open batch got a change: return its ticket."""
        batch = self.open
        if not batch.due:
            batch.due = trio.current_time() + self._limits.publish_delay
            self._begun.set()
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
        batch = next(
            (batch for batch in (self.open, self._sealed) if batch is not None and batch.number == ticket), None
        )
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
        """Wait while more than `Limits.pending_meta_bytes` of changes are not yet in the index."""
        while self.hindrance is None and sum(layer.cost for layer in self.layers) > self._limits.pending_meta_bytes:
            self._hurry()
            await self._moved.wait()

    async def drain(self) -> None:
        """Wait until everything is durable and in the index, or cannot be now."""
        while self.hindrance is None and not self.idle:
            self._hurry()
            await self._moved.wait()

    def _hurry(self) -> None:
        self.want(self.open)
        self._index_writer.hurry()

    async def keep_time(self) -> None:
        """See to it that no batch stays open for longer than `Limits.publish_delay`, and that no disk is waited for in
        vain, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._seal_when_due)
            nursery.start_soon(self._doubt_when_late)

    async def _seal_when_due(self) -> None:
        while True:
            batch = self.open
            if not batch.due:
                self._begun = trio.Event()
                await self._begun.wait()
                continue
            await trio.sleep_until(batch.due)
            if batch is self.open:
                self.want(batch)
            while batch is self.open:
                await self._moved.wait()

    async def _doubt_when_late(self) -> None:
        while True:
            batch = self._sealed
            if batch is None:
                self._submitted = trio.Event()
                await self._submitted.wait()
                continue
            await trio.sleep(DOUBT_S)
            if batch is self._sealed:
                self._journal_writer.doubt()

    def stop(self) -> None:
        """End the writers when what they have is done, or has stalled; nothing more is handed to them. Blocking."""
        self._stopped = True
        self._journal_writer.stop()
        self._index_writer.stop()

    def _publish(self) -> None:
        """Hand the open batch to the journal if it is wanted and the journal is free (M2)."""
        batch = self.open
        if not (batch.wanted and batch.rows) or self._sealed is not None or not self.sound or self._stopped:
            return
        if self._behind is not None and self._behind.cost > self._limits.pending_meta_bytes:
            return  # `_feed_index` looks again (M3)
        self._sealed, self.open = batch, Batch(batch.number + 1)
        self._stack()
        self._submitted_at = trio.current_time()
        self._submitted.set()
        self._journal_writer.submit(batch)

    def _stack(self) -> None:
        layers = (self.open, self._sealed, self._behind, self._indexing)
        self.layers = tuple(layer for layer in layers if layer is not None)

    def _journaled(self, batch: Batch, error: Exception | None) -> None:
        """The journal has `batch`, or (`error`) never will: those who wait need not wait for the index (M3)."""
        self._sealed = None
        if error is not None:
            self._give_up(batch.number, error, batch)
            return
        self.durable = batch.number
        self.commit_seconds = trio.current_time() - self._submitted_at
        if self._stalled:
            self._end_stall(batch)
        batch.answered.set()
        if self._behind is None:
            self._behind = batch
        else:
            self._behind.take(batch)
        self._stack()
        self._feed_index()
        self._note_move()
        if self.open.wanted:
            self.publish_soon()

    def _feed_index(self) -> None:
        """Hand to the index what it has not got, if it is ready for it."""
        layer = self._behind
        if layer is None or not self._index_ready or not self.sound or self._stopped:
            return
        if self._index.must_grow(layer.cost, len(layer.rows)):
            if self.map_in_use:
                return  # `map_is_free` is called when it no longer is
            try:
                self._index.grow(layer.cost, len(layer.rows))
            except StratumError as error:
                self._give_up(layer.number, error)
                return
        self._index_ready = False
        self._indexing, self._behind = layer, None
        self._stack()
        self._index_writer.submit(layer)
        if self.open.wanted:
            self.publish_soon()

    def map_is_free(self) -> None:
        """Nobody else has a long transaction any more."""
        self.map_in_use = False
        self._feed_index()

    def _indexed(self, layer: Layer, error: Exception | None) -> None:
        """The index has `layer`, or (`error`) nobody knows."""
        self._index.committed(layer.rows if error is None else None)
        if error is not None:
            self._give_up(layer.number, error)
            return
        self._indexing = None
        self._stack()
        self._note_move()
        self._settled()

    def _feed_index_again(self) -> None:
        self._index_ready = True
        self._feed_index()

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

    def _end_stall(self, batch: Batch) -> None:
        log.warning("metadata: the journal can be written again")
        self._stalled, self.hindrance = False, None
        batch.error = self.open.error = None
        self.open.answered = trio.Event()
        self.open.wanted = True

    def _give_up(self, number: int, error: Exception, *lost: Batch) -> None:
        """Write nothing more (M4). What the journal holds stays visible: the next start will apply it."""
        log.critical("metadata: commit %d failed, no more writes: %s", number, error)
        self.sound = self._stalled = False
        self.hindrance = f"a metadata commit failed: {error}"
        for waited in (*lost, self.open):
            waited.error = self.hindrance
            waited.answered.set()
        self.open = Batch(self.open.number + 1)
        self._stack()
        self._note_move()

    def _note_move(self) -> None:
        self._moved.set()
        self._moved = trio.Event()
