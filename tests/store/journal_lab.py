"""Six disks in memory, a journal on three of them, and what the tests of the journal ask of them.

Room: tests. May import: stratum.core, stratum.store, tests.fakes.
"""

import threading
from collections.abc import Collection, Iterable

from stratum.core.config import Limits
from stratum.store import failpoints
from stratum.store.disks import Disks
from stratum.store.identity import Absent
from stratum.store.journal import Journal, Pending, read_back
from tests.fakes.disk import FakeDisk

STORE = b"store id, 16 b.."
SLOTS, COPIES = 6, 3


class Lab:
    """The disks of a store, over as many lives of the server as a test likes."""

    def __init__(self, slots: int = SLOTS, **limits: object) -> None:
        self.disk = {slot: FakeDisk(slot) for slot in range(slots)}
        self.limits = Limits(**limits)  # type: ignore[arg-type]

    def disks(self, *, without: Collection[int] = ()) -> Disks:
        """The disks as a new process finds them."""
        here = {slot: disk for slot, disk in self.disk.items() if slot not in without}
        return Disks(here, self.limits, absent={slot: Absent("away", "nowhere") for slot in without})

    def found(self, *, without: Collection[int] = ()) -> "Found":
        """What the disks say together."""
        recovered = read_back(self.disks(without=without), STORE)
        return Found(recovered)

    def paths(self, slot: int, suffix: str) -> list[str]:
        """Files of one sort on a disk."""
        return [path for path in self.disk[slot].paths() if path.endswith(suffix)]

    def holders(self) -> list[int]:
        """Disks with a segment."""
        return [slot for slot in self.disk if self.paths(slot, ".log")]


class Found:
    """Everything that was read back."""

    def __init__(self, recovered) -> None:
        self.last = recovered.last_seq
        self.rows = None if (rows := recovered.rows) is None else list(rows)
        self.snapshot = recovered.snapshot_seq
        self.records = list(recovered.records)

    @property
    def sequences(self) -> list[int]:
        return [seq for seq, _ in self.records]

    @property
    def state(self) -> dict[bytes, bytes]:
        """The rows of an index rebuilt from it."""
        state = dict(self.rows or ())
        for _, changes in self.records:
            for key, value in changes:
                if value is None:
                    state.pop(key, None)
                else:
                    state[key] = value
        return state


def change(seq: int, note: bytes = b"") -> list[tuple[bytes, bytes | None]]:
    """What commit `seq` changes in these tests."""
    return [(b"key %d" % seq, b"value %d " % seq + note), (b"key %d" % (seq - 3), None)]


def append(journal: Journal, sequences: Iterable[int], note: bytes = b"") -> None:
    """Append records and wait for each."""
    for seq in sequences:
        journal.append_begin(seq, change(seq, note)).wait()


def begin(journal: Journal, seq: int, note: bytes = b"") -> Pending:
    """Append one record without waiting."""
    return journal.append_begin(seq, change(seq, note))


def state_at(seq: int, note: bytes = b"") -> dict[bytes, bytes]:
    """The index after commits 1 to `seq`."""
    return {b"key %d" % at: b"value %d " % at + note for at in range(max(1, seq - 2), seq + 1)}


def rows_at(seq: int) -> list[tuple[bytes, bytes]]:
    """The rows of a snapshot after commit `seq`."""
    return sorted(state_at(seq).items())


class Hang:
    """Makes the calls at one failpoint hang, in whatever thread, until the test lets go. A context manager."""

    def __init__(self, point: str) -> None:
        self._point = point
        self._gate = threading.Event()
        self.reached = threading.Event()
        self.left = 1

    def __enter__(self) -> "Hang":
        failpoints.set_hook(self._hook)
        return self

    def __exit__(self, *_: object) -> None:
        failpoints.set_hook(None)
        self._gate.set()

    def _hook(self, name: str) -> None:
        if name == self._point and self.left:
            self.left -= 1
            self.reached.set()
            self._gate.wait()
