"""The writer thread: one batch after another, into the index and the redo journal at the same time.

Room: stratum/store. May import: core, store.index, store.overlay.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import Protocol

import trio

from stratum.core.errors import StratumError, Unavailable
from stratum.store.index import Change, Index
from stratum.store.overlay import Layer

log = logging.getLogger(__name__)

RETRY_PAUSE = 0.5  # seconds until a journal that had too few disks or no room is asked again


class Pending(Protocol):
    """A journal record on its way to the disks."""

    def wait(self) -> None:
        """Return when it is durable on enough disks. Raises TooFewDisks, StoreFull; may be called again then."""
        ...

    def when_durable(self, call: Callable[[], object]) -> None:
        """Have `call` made, in whichever thread, as soon as it is durable, if all goes well; else `wait` tells."""
        ...


class RedoJournal(Protocol):
    """What the metadata store needs of `store.journal.Journal`."""

    @property
    def bytes_since_snapshot(self) -> int:
        """Bytes that a rebuild would have to replay."""
        ...

    def start(self, next_seq: int) -> None:
        """Get ready to append commit `next_seq`. Raises TooFewDisks, StoreFull; again after `close`."""
        ...

    def append_begin(self, seq: int, changes: Sequence[Change]) -> Pending:
        """Begin to write the record of one commit."""
        ...

    def write_snapshot(self, seq: int, rows: Iterable[tuple[bytes, bytes]]) -> None:
        """Write every row as it is after commit `seq`, and drop what a rebuild no longer needs."""
        ...

    def close(self) -> None:
        """Let go of files and threads."""
        ...


class Batch(Layer):
    """A layer with what its waiters need to know."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.begun = trio.Event()  # it has a first change
        self.due = 0.0  # trio time at which it is sealed though nobody waits
        self.wanted = False  # to be sealed as soon as the writer is free
        self.answered = trio.Event()  # waiters can be told: it is durable, or `error` is set
        self.ended = trio.Event()  # index and journal have it, or never will
        self.error: str | None = None


class Outcome:
    """What became of a batch: an error, or None; and whether the index and the journal have it for good."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.journaled = self.indexed = False


class Committer:
    """The one thread that commits.

    On the event loop it calls `settled(batch, outcome)` once for every batch. Before that perhaps
    `stalled(batch, reason)`: the batch is not on enough disks, and is tried again until it is, or until `stop`. And
    perhaps, sooner or later, `journaled(batch)`: it is on enough disks, whatever the index still does.
    """

    def __init__(
        self,
        index: Index,
        journal: RedoJournal,
        *,
        journaled: Callable[[Batch], None],
        settled: Callable[[Batch, Outcome], None],
        stalled: Callable[[Batch, str], None],
    ) -> None:
        self._index = index
        self._journal = journal
        self._journaled = journaled
        self._settled = settled
        self._stalled = stalled
        self._stopping = threading.Event()
        self._jobs: SimpleQueue[tuple[Batch, trio.lowlevel.TrioToken] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="metadata writer", daemon=True)
        self._thread.start()

    def submit(self, batch: Batch) -> None:
        """Commit `batch`, which must not change any more. To be called on the event loop."""
        self._jobs.put((batch, trio.lowlevel.current_trio_token()))

    def stop(self) -> None:
        """End the thread when what was submitted is done, or has stalled. Blocking."""
        self._stopping.set()
        self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            batch, token = job
            outcome = self._commit(batch, token)
            if outcome.error is not None and not isinstance(outcome.error, StratumError):
                log.error("metadata: commit %d", batch.number, exc_info=outcome.error)
            try:
                token.run_sync_soon(self._settled, batch, outcome)
            except trio.RunFinishedError:
                return

    def _commit(self, batch: Batch, token: trio.lowlevel.TrioToken) -> Outcome:
        """Commit to index and journal; when this returns, both have answered."""
        outcome = Outcome()
        try:
            changes = batch.changes()
            pending = self._journal.append_begin(batch.number, changes)
            pending.when_durable(partial(self._tell_journaled, batch, outcome, token))
            try:
                self._index.commit(batch.number, changes)
                outcome.indexed = True
            except Exception as error:
                outcome.error = error
            self._wait(pending, batch, outcome, token)
            outcome.journaled = True
        except Exception as error:  # whatever it is, those who wait for the batch must hear of it
            outcome.error = outcome.error or error
        return outcome

    def _tell_journaled(self, batch: Batch, outcome: Outcome, token: trio.lowlevel.TrioToken) -> None:
        if outcome.indexed:  # then that it is settled is told in a moment
            return
        with suppress(trio.RunFinishedError):
            token.run_sync_soon(self._journaled, batch)

    def _wait(self, pending: Pending, batch: Batch, outcome: Outcome, token: trio.lowlevel.TrioToken) -> None:
        """Wait until the record is durable, with patience if only the journal is in trouble."""
        while True:
            try:
                pending.wait()
                return
            except Unavailable as error:
                if outcome.error is not None or self._stopping.is_set():
                    raise
                token.run_sync_soon(self._stalled, batch, str(error))
                self._stopping.wait(RETRY_PAUSE)
