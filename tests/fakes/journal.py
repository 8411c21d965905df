"""A redo journal in memory: what `store/journal.py` promises, without disks.

Room: tests. May import: stratum.core.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import ClassVar

from stratum.core.errors import TooFewDisks

Change = tuple[bytes, bytes | None]


class Medium:
    """What is on the disks: it outlives the journal that wrote it."""

    def __init__(self) -> None:
        self.records: dict[int, list[Change]] = {}
        self.snapshots: dict[int, list[tuple[bytes, bytes]]] = {}

    def copy(self) -> "Medium":
        """The medium as it is now, for a store that starts from it after a kill."""
        other = Medium()
        other.records, other.snapshots = dict(self.records), dict(self.snapshots)
        return other


class FakePending:
    """An append under way."""

    def __init__(self, journal: "FakeJournal", seq: int, changes: list[Change]) -> None:
        self._journal, self._seq, self._changes = journal, seq, changes

    def wait(self) -> None:
        """Make it durable; waits while the journal is held, and fails if it is told to."""
        self._journal.gate.wait()
        if self._journal.failure is not None:
            raise TooFewDisks(self._journal.failure)
        self._journal.medium.records[self._seq] = self._changes

    def when_answered(self, call: Callable[[], object]) -> None:
        """Say so at once. If the journal is not `prompt`, the disks' answers were not good."""
        call()

    def went_well(self) -> bool:
        """Durable now if the journal is `prompt`; if not, it is for `wait` to say."""
        if not self._journal.prompt or self._journal.failure is not None:
            return False
        self._journal.medium.records[self._seq] = self._changes
        return True


class FakeJournal:
    """See `store.journal.Journal`.

    Tests hold appends back with `gate.clear()`, a snapshot with `snapshot_gate.clear()`, and break it by `failure`;
    with `prompt` an append is durable, and says so, as soon as it is begun.
    """

    slots: ClassVar[list[int]] = []  # no disk

    def __init__(self, medium: Medium) -> None:
        self.medium = medium
        self.gate = threading.Event()
        self.gate.set()
        self.snapshot_gate = threading.Event()
        self.snapshot_gate.set()
        self.snapshots_begun = 0
        self.failure: str | None = None
        self.prompt = False
        self.next_seq = 0
        self.closed = False

    @property
    def bytes_since_snapshot(self) -> int:
        records = list(self.medium.records.values())
        return sum(len(key) + len(value or b"") for changes in records for key, value in changes)

    def start(self, next_seq: int) -> None:
        if self.failure is not None:
            raise TooFewDisks(self.failure)
        self.next_seq = next_seq

    def append_begin(self, seq: int, changes: Sequence[Change]) -> FakePending:
        assert seq == self.next_seq, f"commit {seq} follows {self.next_seq - 1}"
        self.next_seq += 1
        return FakePending(self, seq, list(changes))

    def write_snapshot(self, seq: int, rows: Iterable[tuple[bytes, bytes]]) -> None:
        if self.failure is not None:
            raise TooFewDisks(self.failure)
        found = []
        self.snapshots_begun += 1
        for row in rows:
            found.append(row)
            self.snapshot_gate.wait()
        self.medium.snapshots[seq] = found
        for at in [at for at in list(self.medium.records) if at <= seq]:
            del self.medium.records[at]

    def close(self) -> None:
        self.closed = True


class FakeReadBack:
    """See `store.journal.Recovered`."""

    def __init__(self, medium: Medium) -> None:
        self._medium = medium
        self.snapshot_seq = max(medium.snapshots, default=0)
        self.last_seq = max([self.snapshot_seq, *medium.records])

    @property
    def rows(self) -> Iterator[tuple[bytes, bytes]] | None:
        return iter(self._medium.snapshots[self.snapshot_seq]) if self._medium.snapshots else None

    @property
    def records(self) -> Iterator[tuple[int, list[Change]]]:
        return iter(sorted(item for item in self._medium.records.items() if item[0] > self.snapshot_seq))
