"""The folder to mount on: made ready, freed of a dead mount, checked against everything the process itself touches.

Room: stratum/serve. May import: core.config. Blocking; before the event loop.
"""

import errno
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from stratum.core.config import Settings

FILE_SYSTEM = "fuse.stratumfs"  # as /proc/self/mounts shows it
MOUNTS = Path("/proc/self/mounts")


class BadMountpoint(Exception):
    """Nothing can be mounted there; the message says why."""


def prepare_mountpoint(path: Path, settings: Settings) -> Path:
    """Return `path` resolved, existing, not mounted on. Raises BadMountpoint.

    A process that touches its own mount waits for itself for ever: so nothing it uses may lie below.
    """
    path = Path(os.path.abspath(path))
    clear_dead_mount(path)
    check_apart(path, settings)
    try:
        path.mkdir(parents=True, exist_ok=True)
        path = path.resolve(strict=True)
        busy = path in mounts()
        occupied = not busy and any(path.iterdir())
    except OSError as error:
        raise BadMountpoint(f"{path}: {error.strerror}") from error
    if busy:
        raise BadMountpoint(f"{path} is in use: unmount it first (umount {path})")
    if occupied:
        raise BadMountpoint(f"{path} is not empty: mounting would hide what is in it")
    return path


def check_apart(path: Path, settings: Settings) -> None:
    """Raise BadMountpoint if anything that the process uses lies below `path`. Changes nothing on disk."""
    place = path.resolve()
    for used in _touched(settings):
        if used.resolve().is_relative_to(place):
            raise BadMountpoint(f"{used} lies below the mount point {path}: a mount cannot contain what serves it")


def _touched(settings: Settings) -> Iterator[Path]:
    """Every file and folder that the process may look at while it serves: data, code, keys, temporary files.

    A log that it inherited is open already, below the mount; the one of a background start is in the data folder.
    """
    yield from map(Path, (settings.data, *settings.disks, *(settings.warm.disks if settings.warm else ())))
    yield from map(Path, (sys.prefix, tempfile.gettempdir()))
    yield from (Path(named) for named in (settings.tls_certificate, settings.tls_key) if named)
    if settings.master_key_file not in ("auto", "none"):
        yield Path(settings.master_key_file)


def clear_dead_mount(path: Path) -> bool:
    """Take away the mount that a killed process left on `path`. Returns whether there was one. Raises BadMountpoint.

    Only ours, and only one that nobody serves any more (ENOTCONN).
    """
    if mounts().get(path) != FILE_SYSTEM:
        return False
    try:
        os.statvfs(path)  # asks the file system; what stat says may come from the kernel's cache
        return False
    except OSError as error:
        if error.errno != errno.ENOTCONN:
            return False
    unmount_lazily(path)
    if path in mounts():
        raise BadMountpoint(f"a killed process left {path} mounted, and it cannot be taken away: umount -l {path}")
    return True


def unmount_lazily(path: Path) -> None:
    """Detach the mount now, even with files open on it."""
    for command in (["fusermount3", "-uz", "--", str(path)], ["umount", "-l", "--", str(path)]):
        try:
            if subprocess.run(command, capture_output=True, timeout=10, check=False).returncode == 0:
                return
        except (OSError, subprocess.TimeoutExpired):
            continue  # the other one may be there


def mounts() -> dict[Path, str]:
    """Mount point -> file system type, of everything mounted; where two are stacked, the upper one."""
    found = {}
    for line in MOUNTS.read_text(errors="surrogateescape").splitlines():
        _, where, kind, *_ = line.split(" ")
        plain = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), where)
        found[Path(plain)] = kind
    return found
