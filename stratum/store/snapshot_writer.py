"""Writing one snapshot to several disks at the same time.

Room: stratum/store. May import: core.errors, core.journal_format, core.snapshot_format, store.disk, disk_thread,
quorum, snapshot_draft.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial

from stratum.core.journal_format import Mark
from stratum.core.snapshot_format import Row, pieces
from stratum.store.disk import Disk
from stratum.store.disk_thread import DiskThread, together
from stratum.store.quorum import Quorum
from stratum.store.snapshot_draft import SnapshotDraft


class SnapshotWriter:
    """The drafts of one snapshot, a thread for each. A disk that fails is left out. `close` when done."""

    def __init__(self, quorum: Quorum, disks: Sequence[Disk], mark: Mark) -> None:
        self._quorum = quorum
        self._mark = mark
        self._all = [self._draft(disk) for disk in disks]
        self._live = self._all
        self._named: list[SnapshotDraft] = []

    @property
    def disks(self) -> list[Disk]:
        """The disks for which all went well so far."""
        return [draft.disk for draft in self._live]

    def write(self, rows: Iterable[Row]) -> None:
        """Write everything, make it durable and read it back. Raises StoreFull, TooFewDisks if no disk is left,
        and what `rows` raises."""
        self._each(SnapshotDraft.begin)
        for piece in pieces(self._quorum.reading.store, self._mark, rows):
            self._each(partial(_append, piece))
        self._each(SnapshotDraft.finish)

    def publish(self) -> None:
        """Give the snapshot its name. Raises as `write`."""
        self._each(SnapshotDraft.publish)
        self._named = self._live

    def close(self) -> None:
        """End the threads; remove what has not got its name."""
        for draft in self._all:
            if draft not in self._named:
                draft.thread.submit(draft.discard)
            draft.thread.stop()
        for draft in self._all:
            draft.thread.join()

    def _each(self, call: Callable[[SnapshotDraft], None]) -> None:
        outcomes = together([(draft.thread, partial(call, draft)) for draft in self._live], self._quorum.timeout)
        good = []
        for draft, outcome in zip(self._live, outcomes, strict=True):
            if outcome is None:
                good.append(draft)
            else:
                self._quorum.lose(draft.disk, outcome)
        self._live = good
        if not good:
            raise self._quorum.shortage(0, 1)

    def _draft(self, disk: Disk) -> SnapshotDraft:
        thread = DiskThread(disk, "snapshot disk")
        reading = replace(self._quorum.reading, touch=thread.touch)
        return SnapshotDraft(disk, reading, self._mark, thread)


def _append(piece: bytes, draft: SnapshotDraft) -> None:
    draft.append(piece)
