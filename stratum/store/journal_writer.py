"""The redo journal gets one batch after another: begun and ended on the event loop, waited for in a thread.

Room: stratum/store. May import: core, store.overlay.

The disks' own threads write a record and wake the loop when the last of them has it, so a commit costs no other thread
a turn. One of its own is asked only where something takes time: a batch of many rows, a disk that failed or does not
answer, a journal that has too few disks or no room.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import NamedTuple, Protocol

import trio

from stratum.core.errors import StratumError, Unavailable
from stratum.store.overlay import Layer

log = logging.getLogger(__name__)

RETRY_PAUSE = 0.5  # seconds until a journal that had too few disks or no room is asked again
LOOP_ROWS = 256  # of a batch that the loop may put into a record itself: well below a millisecond

Change = tuple[bytes, bytes | None]  # a row to put, or (None) to remove


class Pending(Protocol):
    """A journal record on its way to the disks."""

    def wait(self) -> None:
        """Return when it is durable on enough disks. Raises TooFewDisks, StoreFull; may be called again then."""
        ...

    def went_well(self) -> bool:
        """Once all disks have answered: whether it is durable and all is well, so that the next record may begin.
        Never waits; False: it is for `wait` to say."""
        ...

    def when_answered(self, call: Callable[[], object]) -> None:
        """Have `call` made, in whichever thread, once all disks have answered. One that hangs never does."""
        ...


class RedoJournal(Protocol):
    """What the metadata store needs of `store.journal.Journal`."""

    @property
    def bytes_since_snapshot(self) -> int:
        """Bytes that a rebuild would have to replay."""
        ...

    @property
    def slots(self) -> list[int]:
        """The disks that hold it now."""
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
        self.due = 0.0  # trio time at which it is sealed though nobody waits; 0: it has no change yet
        self.wanted = False  # to be sealed as soon as the writer is free
        self.answered = trio.Event()  # waiters can be told: it is durable, or `error` is set
        self.error: str | None = None


class _Job(NamedTuple):
    batch: Batch
    pending: Pending | None  # None: not begun
    token: trio.lowlevel.TrioToken


class JournalWriter:
    """Writes one batch at a time.

    On the event loop it calls `ended(batch, error)` once for every batch; None: the journal has it. Before that perhaps
    `stalled(batch, reason)`: the batch is not on enough disks, and is tried again until it is, or until `stop`.
    """

    def __init__(
        self,
        journal: RedoJournal,
        *,
        ended: Callable[[Batch, Exception | None], None],
        stalled: Callable[[Batch, str], None],
    ) -> None:
        self._journal = journal
        self._ended = ended
        self._stalled = stalled
        self._under_way: _Job | None = None  # what nobody waits for: the disks will tell
        self._stopping = threading.Event()
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="journal writer", daemon=True)
        self._thread.start()

    def submit(self, batch: Batch) -> None:
        """Write `batch`, which must not change any more. To be called on the event loop."""
        job = _Job(batch, None, trio.lowlevel.current_trio_token())
        if len(batch.rows) > LOOP_ROWS:
            self._jobs.put(job)
            return
        try:
            pending = self._journal.append_begin(batch.number, batch.changes())
        except Exception as error:  # whatever it is, those who wait for the batch must hear of it
            self._tell(job, error)
            return
        self._under_way = job._replace(pending=pending)
        pending.when_answered(partial(self._wake, self._under_way))

    def doubt(self) -> None:
        """What is under way takes long: have the thread look after it, and do without disks that do not answer."""
        job, self._under_way = self._under_way, None
        if job is not None:
            self._jobs.put(job)

    def stop(self) -> None:
        """End the thread when what it was given is done, or has stalled. Blocking."""
        self._stopping.set()
        self._jobs.put(None)
        self._thread.join()

    def _wake(self, job: _Job) -> None:
        """In the thread of a disk: the last one has answered."""
        with suppress(trio.RunFinishedError):
            job.token.run_sync_soon(self._answered, job)

    def _answered(self, job: _Job) -> None:
        if job is not self._under_way or job.pending is None:
            return  # the thread has it
        self._under_way = None
        if job.pending.went_well():
            self._ended(job.batch, None)
        else:
            self._jobs.put(job)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                pending = job.pending or self._journal.append_begin(job.batch.number, job.batch.changes())
                self._wait(pending, job)
            except Exception as error:
                self._tell(job, error)
            else:
                self._tell(job, None)

    def _wait(self, pending: Pending, job: _Job) -> None:
        """Wait until the record is durable, with patience if only the journal is in trouble."""
        while True:
            try:
                pending.wait()
                return
            except Unavailable as error:
                if self._stopping.is_set():
                    raise
                job.token.run_sync_soon(self._stalled, job.batch, str(error))
                self._stopping.wait(RETRY_PAUSE)

    def _tell(self, job: _Job, error: Exception | None) -> None:
        if error is not None and not isinstance(error, StratumError):
            log.error("metadata: commit %d", job.batch.number, exc_info=error)
        with suppress(trio.RunFinishedError):
            job.token.run_sync_soon(self._ended, job.batch, error)
