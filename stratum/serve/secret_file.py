"""Files that only their owner may read: credentials, master keys.

Room: stratum/serve. May import: nothing of ours. Functions raise OSError as they meet it.
"""

import os
import secrets
import stat
from pathlib import Path


class ReadableByOthers(Exception):
    """The file's mode lets others than its owner in."""


def read_secret(path: Path) -> str:
    """Return the text of a file. Raises ReadableByOthers, OSError (also for a symlink)."""
    with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)) as file:
        if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
            raise ReadableByOthers(f"{path} can be read by others: chmod 600 it, and make a new key if they did")
        return file.read()


def write_secret(path: Path, text: str) -> None:
    """Make a file of mode 0600 that survives a power cut, or none at all. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.rename(temporary, path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(folder)
    os.close(folder)
