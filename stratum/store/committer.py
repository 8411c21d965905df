"""The writer thread: one batch after another, into the index and the redo journal at the same time.

Room: stratum/store. May import: core, store.index, store.overlay.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from queue import SimpleQueue
from typing import NamedTuple, Protocol

import trio

from stratum.core.errors import StratumError
from stratum.store.index import Change, Index
from stratum.store.overlay import Layer

log = logging.getLogger(__name__)


class Pending(Protocol):
    """A journal record on its way to the disks."""

    def wait(self) -> None:
        """Return when it is durable on enough disks. Raises TooFewDisks."""
        ...


class RedoJournal(Protocol):
    """What the metadata store needs of `store.journal.Journal`."""

    @property
    def bytes_since_snapshot(self) -> int:
        """Bytes that a rebuild would have to replay."""
        ...

    def start(self, next_seq: int) -> None:
        """Begin a segment with commit `next_seq`. Raises TooFewDisks."""
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
        self.done = trio.Event()  # it is durable, or never will be: `error` says why
        self.due = 0.0  # trio time at which it is sealed though nobody waits
        self.wanted = False  # to be sealed as soon as the writer is free
        self.error: str | None = None


class Outcome(NamedTuple):
    """What became of a batch: an error, or None; and whether it is in the journal for good."""

    error: BaseException | None
    journaled: bool


class Committer:
    """The one thread that commits. `settled(batch, outcome)` is called on the event loop for every batch."""

    def __init__(self, index: Index, journal: RedoJournal, settled: Callable[[Batch, Outcome], None]) -> None:
        self._index = index
        self._journal = journal
        self._settled = settled
        self._jobs: SimpleQueue[tuple[Batch, trio.lowlevel.TrioToken] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="metadata writer", daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether it still takes batches."""
        return self._thread.is_alive()

    def submit(self, batch: Batch) -> None:
        """Commit `batch`, which must not change any more. To be called on the event loop."""
        self._jobs.put((batch, trio.lowlevel.current_trio_token()))

    def stop(self) -> None:
        """End the thread when it has done what was submitted. Blocking."""
        self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            batch, token = job
            outcome = self._commit(batch)
            try:
                token.run_sync_soon(self._settled, batch, outcome)
            except trio.RunFinishedError:
                return

    def _commit(self, batch: Batch) -> Outcome:
        """Commit to index and journal; when this returns, both have answered."""
        error: Exception | None = None
        journaled = False
        try:
            changes = batch.changes()
            pending = self._journal.append_begin(batch.number, changes)
            try:
                self._index.commit(batch.number, changes)
            except Exception as failure:
                error = failure
            pending.wait()
            journaled = True
        except Exception as failure:  # whatever it is, those who wait for the batch must hear of it
            error = error or failure
        if error is not None and not isinstance(error, StratumError):
            log.error("metadata: commit %d", batch.number, exc_info=error)
        return Outcome(error, journaled)
