"""One process per store: an exclusive lock on <data>/lock, held as long as the process lives.

Room: stratum/serve. May import: core.errors. The kernel drops the lock with the process, however that ends.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from stratum.core.errors import StoreLocked

FILE_NAME = "lock"


@dataclass(frozen=True, slots=True)
class Holder:
    """Who has the store open, as written into the lock file: advice for people and for the command line."""

    pid: int = 0
    address: str = ""  # of the S3 endpoint, host:port; empty: none
    mountpoint: str = ""
    certificate: str = ""  # file with what the endpoint shows over TLS; empty: plain HTTP


class StoreLock:
    """The lock while it is held."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.holder = Holder(pid=os.getpid())
        self.describe()

    def describe(self, *, address: str = "", mountpoint: str = "", certificate: str = "") -> None:
        """Let others know where this process answers."""
        self.holder = replace(self.holder, address=address, mountpoint=mountpoint, certificate=certificate)
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, json.dumps(asdict(self.holder)).encode(), 0)


@contextmanager
def lock_store(data: Path) -> Iterator[StoreLock]:
    """Hold the store in `data` (made if missing) alone. Raises StoreLocked, OSError."""
    data.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(data / FILE_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreLocked(_refusal(data)) from None
        yield StoreLock(descriptor)
    finally:
        os.close(descriptor)


def _refusal(data: Path) -> str:
    pid = _read(data).pid
    process = f"process {pid}" if pid else "another process"
    return (
        f"{process} has the store in {data} open. One store is served by one process: talk to that one "
        f"(stratum status --data {data}), or stop it first."
    )


def holder_of(data: Path) -> Holder | None:
    """Who serves the store in `data` now; None if nobody does."""
    try:
        descriptor = os.open(data / FILE_NAME, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read(data)
    finally:
        os.close(descriptor)
    return None


def _read(data: Path) -> Holder:
    try:
        return Holder(**json.loads((data / FILE_NAME).read_text()))
    except (OSError, ValueError, TypeError):  # half written, or of another version: it was advice only
        return Holder()
