"""A snapshot that is being written on one disk.

Room: stratum/store. May import: core.errors, core.journal_format, store.disk, disk_thread, journal_files, segments,
snapshots.
"""

from stratum.core.config import MIB
from stratum.core.errors import CorruptJournal
from stratum.core.journal_format import SNAPSHOT_FOLDER, Mark, snapshot_path
from stratum.store.disk import CallFailed, Disk, DiskFile
from stratum.store.disk_thread import DiskThread
from stratum.store.journal_files import discard, temporary_path
from stratum.store.segments import Reading
from stratum.store.snapshots import PURPOSE, inspect, is_whole

SYNC_BYTES = 32 * MIB  # so that no single fsync takes so long that the disk seems to hang


class SnapshotDraft:
    """Written under a temporary name, made durable, read back, then named. Called in `thread`."""

    def __init__(self, disk: Disk, reading: Reading, mark: Mark, thread: DiskThread) -> None:
        self.disk = disk
        self.mark = mark
        self.thread = thread
        self._reading = reading
        self._path = temporary_path(snapshot_path(mark))
        self._file: DiskFile | None = None
        self._unsynced = 0

    def begin(self) -> None:
        """Make the file. Raises DiskFailed, StoreFull."""
        self._reading.touch(self.disk)
        self._file = self.disk.create(self._path, purpose=PURPOSE)

    def append(self, piece: bytes) -> None:
        """Write on. Raises DiskFailed, StoreFull."""
        file = self._begun()
        self._reading.touch(self.disk)
        file.append((piece,), purpose=PURPOSE)
        self._unsynced += len(piece)
        if self._unsynced >= SYNC_BYTES:
            file.fsync(purpose=PURPOSE)
            self._unsynced = 0

    def finish(self) -> None:
        """Make the bytes durable and read all of them back. Raises DiskFailed, StoreFull, CorruptJournal."""
        self._reading.touch(self.disk)
        self._begun().fsync(purpose=PURPOSE)
        self._begun().close()
        found = inspect(self.disk, self._reading.store, self.mark, path=self._path)
        if found is None or not is_whole([found], self._reading):
            raise CorruptJournal(f"{self.disk.name}: a snapshot reads back other than it was written")

    def publish(self) -> None:
        """Give it its name. Raises DiskFailed."""
        if self.thread.abandoned:
            raise CallFailed(self.disk, f"{self.disk.name}: answered too late")
        self._reading.touch(self.disk)
        self.disk.rename(self._path, snapshot_path(self.mark), purpose=PURPOSE)
        self.disk.fsync_directory(SNAPSHOT_FOLDER, purpose=PURPOSE)

    def discard(self) -> None:
        """Remove what was written."""
        if self._file is not None and not self.thread.abandoned:
            self._file.close()
            discard(self.disk, self._path, PURPOSE)

    def _begun(self) -> DiskFile:
        assert self._file is not None, "a draft is begun before it is written"
        return self._file
