"""Walking a bucket's tree in the byte order of keys.

Room: stratum/core. May import: core.directories, core.records, core.txn.

The walk keeps one open scan for each directory on the way to where it is. It begins at the first key that can
be wanted: it goes down along the names of that key and opens the scan of each directory just there, so what lies
before is never read.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from stratum.core.directories import entries, get_entry
from stratum.core.records import Entry, Kind
from stratum.core.txn import Txn


def split_key(key: bytes) -> tuple[list[bytes], bytes]:
    """Split a key into the stored names of its directories and its leaf, which may be empty."""
    *names, leaf = key.split(b"/")
    return [name + b"/" for name in names], leaf


def scan_keys(txn: Txn, root: int, *, prefix: bytes = b"", start: bytes = b"") -> Iterator[tuple[bytes, Entry]]:
    """Yield (key, entry) of every key that begins with `prefix` and is not below `start`, in byte order.

    An empty directory is the key `dir/`, with its own entry. Specials (FIFOs, sockets, devices) are left out.
    Raises CorruptRecord.
    """
    levels = _descend(txn, root, max(prefix, start))
    while levels:
        level = levels[-1]
        found = next(level.rest, None)
        if found is None:
            levels.pop()
            if level.own is not None:
                yield level.path, level.own
            continue
        level.own = None
        name, entry = found
        key = level.path + name
        if not key.startswith(prefix):
            return
        if entry.kind is Kind.DIRECTORY:
            levels.append(_Level(key, entries(txn, entry.inode), entry))
        elif entry.kind is not Kind.SPECIAL:
            yield key, entry


@dataclass(slots=True)
class _Level:
    """A directory on the way: the keys in it begin with `path`; `own` is its entry while nothing was found in it."""

    path: bytes
    rest: Iterator[tuple[bytes, Entry]]
    own: Entry | None


def _descend(txn: Txn, root: int, low: bytes) -> list[_Level]:
    """Open the directories along the names of `low`, each behind the one that is opened below it."""
    names, leaf = split_key(low)
    levels: list[_Level] = []
    path, directory, own = b"", root, None
    for position, name in enumerate(names):
        entry = get_entry(txn, directory, name)
        if entry is None:
            levels.append(_Level(path, entries(txn, directory, name), None))
            return levels
        levels.append(_Level(path, entries(txn, directory, name + b"\0"), None))
        path, directory = path + name, entry.inode
        own = entry if position == len(names) - 1 and not leaf else None
    levels.append(_Level(path, entries(txn, directory, leaf), own))
    return levels
