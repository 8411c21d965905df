"""Small calls on the journal's folders of one disk: temporary names, claims of an epoch, removal of leftovers.

Room: stratum/store. May import: core.errors, core.journal_format, store.disk, store.segments. Blocking.
"""

import logging
import secrets
from collections.abc import Sequence

from stratum.core.errors import Unavailable
from stratum.core.journal_format import JOURNAL_FOLDER, SNAPSHOT_FOLDER, claim_path, parse_name
from stratum.store.disk import Disk, FileExists
from stratum.store.segments import PURPOSE, Reading

log = logging.getLogger(__name__)

_TEMPORARY = ".tmp-"


def temporary_path(path: str) -> str:
    """Where to write what will be renamed to `path`: never the same twice."""
    return f"{path}{_TEMPORARY}{secrets.token_hex(4)}"


def discard(disk: Disk, path: str, purpose: str) -> None:
    """Remove what could not be finished, if that is possible: nothing depends on it."""
    try:
        disk.unlink(path, purpose=purpose)
    except Unavailable as error:
        log.warning("%s: %s stays behind: %s", disk.name, path, error)


def claim(disk: Disk, epoch: int) -> None:
    """Say durably that `epoch` is taken. Raises DiskFailed, StoreFull."""
    try:
        disk.create(claim_path(epoch), purpose=PURPOSE).close()
    except FileExists:  # by a disk that came back: the name is what counts
        log.info("%s: epoch %d is claimed already", disk.name, epoch)
    disk.fsync_directory(JOURNAL_FOLDER, purpose=PURPOSE)


def leftovers(disk: Disk, epoch: int, reading: Reading) -> list[str]:
    """All segments and snapshots up to `epoch`, and the claims of epochs before it. Raises DiskFailed."""
    found = []
    for folder in (JOURNAL_FOLDER, SNAPSHOT_FOLDER):
        reading.touch(disk)
        for name in disk.list(folder, purpose=PURPOSE):
            mark = parse_name(name)
            if mark is not None and mark.epoch <= epoch and f"{folder}/{name}" != claim_path(epoch):
                found.append(f"{folder}/{name}")
    return found


def unfinished(disk: Disk, reading: Reading) -> list[str]:
    """What earlier processes were writing when they ended. Raises DiskFailed."""
    found = []
    for folder in (JOURNAL_FOLDER, SNAPSHOT_FOLDER):
        reading.touch(disk)
        for name in disk.list(folder, purpose=PURPOSE):
            final, temporary, _ = name.partition(_TEMPORARY)
            if temporary and parse_name(final) is not None:
                found.append(f"{folder}/{name}")
    return found


def remove(disk: Disk, paths: Sequence[str], reading: Reading) -> None:
    """Remove files for good, oldest first. Raises DiskFailed."""
    for path in sorted(paths):
        reading.touch(disk)
        disk.unlink(path, purpose=PURPOSE)
    for folder in {path.partition("/")[0] for path in paths}:
        disk.fsync_directory(folder, purpose=PURPOSE)
