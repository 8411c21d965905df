"""Object lock inside a change: what a new version gets, and which names the mount may not move.

Room: stratum/engine. May import: core, engine.{configurations, file_versions}.

Through the mount, too, a locked version stays under its key (core.locks, K1): a file that is written to or unlinked
leaves it as a version, but a rename would take it along. So the mount says "another file system" for such a rename, as
it does between devices, and `mv` copies and unlinks instead.
"""

from stratum.core.directories import is_empty
from stratum.core.errors import CrossesBuckets
from stratum.core.inodes import get_inode
from stratum.core.locks import KIND, ObjectLock, default_retention, is_locked
from stratum.core.records import Bucket, Entry, Kind, Retention
from stratum.core.txn import Txn
from stratum.engine.configurations import configuration
from stratum.engine.file_mounted import Mounted
from stratum.engine.file_versions import place_at


def retention_of_new(txn: Txn, name: str, bucket: Bucket, now: int) -> Retention | None:
    """What the bucket gives at `now` (ns) to a version that brings no retention. Raises CorruptRecord."""
    return default_retention(configuration(txn, name, KIND, ObjectLock), now) if bucket.lock else None


def check_may_move(txn: Txn, mounted: Mounted, directory: int, stored: bytes, entry: Entry) -> None:
    """Raise CrossesBuckets for the name of a locked version, or of a directory that may hold some."""
    found = place_at(txn, mounted, directory, stored)
    if found is None or not found.place.bucket.lock:
        return
    if entry.kind is Kind.DIRECTORY:
        held = not is_empty(txn, entry.inode)
    else:
        held = is_locked(get_inode(txn, entry.inode), mounted.now_ns())
    if held:
        raise CrossesBuckets("object lock holds it under its name")
