"""The one tree of names, as both doors use it: keys that S3 puts and deletes, names that the mount makes and drops.

Room: stratum/core. May import: core.{directories, inodes, key_walk, mount_names, records, rename, schema, txn}.

A key is split at its slashes; every part but the last is a directory, stored with its slash; the last (perhaps
empty) is the leaf. `a//b` is the leaf `b` in directory `/` in directory `a/`. See core.directories for the rules that
hold between the records, core.key_walk for walking in key order, core.mount_names and core.rename for the
verbs of the mount; all of them are offered here.

Invariants
    N1  For every sequence of `put_entry` and `remove_entry`, `resolve` and `scan_keys` equal a flat sorted map.
    N2  `dir/` is a key if it was put (the entry with the empty name in the directory), or while the directory holds
        no entry (then it is the directory itself). After `remove_entry` of it, it is not.
"""

from stratum.core.directories import (
    Change,
    DirectoryMaker,
    IsOpen,
    entries,
    forget_directory,
    get_entry,
    is_empty,
    never_open,
    new_entry,
    touch,
)
from stratum.core.inodes import get_inode
from stratum.core.key_walk import scan_keys, split_key
from stratum.core.mount_names import (
    add,
    children,
    drop,
    find,
    lookup,
    make_directory,
    path_of,
    remove_directory,
    take_marker,
    target_name,
    visible_children,
)
from stratum.core.records import Entry, Kind
from stratum.core.rename import Renamed, rename
from stratum.core.schema import entry_key
from stratum.core.txn import Txn, save

__all__ = [
    "Change",
    "DirectoryMaker",
    "IsOpen",
    "Renamed",
    "add",
    "children",
    "drop",
    "entries",
    "find",
    "get_entry",
    "is_empty",
    "lookup",
    "make_directory",
    "never_open",
    "path_of",
    "put_entry",
    "remove_directory",
    "remove_entry",
    "rename",
    "resolve",
    "scan_keys",
    "split_key",
    "take_marker",
    "target_name",
    "visible_children",
]

Step = tuple[int, bytes, Entry]
"""A directory on the way to a key: the directory that holds it, its stored name, its entry."""


def resolve(txn: Txn, root: int, key: bytes) -> Entry | None:
    """Return the entry of exactly this key below the bucket root, or None.

    For the key `dir/` that is the object put under it or, while the directory holds nothing, the directory.
    """
    names, leaf = split_key(key)
    way = _walk(txn, root, names)
    if len(way) < len(names):
        return None
    directory = way[-1][2].inode if way else root
    entry = get_entry(txn, directory, leaf)
    if entry is None and way and not leaf and is_empty(txn, directory):
        return way[-1][2]
    return entry


def put_entry(
    txn: Txn, root: int, key: bytes, inode: int, kind: Kind, maker: DirectoryMaker
) -> tuple[Entry | None, list[Change]]:
    """Let the key point to `inode`; make the directories on its way that are not there (they are not explicit).

    Returns the entry that was replaced. Raises NoSuchInode if the bucket root was removed.
    """
    names, leaf = split_key(key)
    way = _walk(txn, root, names)
    existing = way[-1][2].inode if way else root
    changes: list[Change] = []
    directory = existing
    for depth in range(len(way), len(names)):
        made = maker.make(txn, directory, names[depth], explicit=False, directories=int(depth + 1 < len(names)))
        changes.append(Change(directory, names[depth], made, removed=False))
        directory = made
    old = get_entry(txn, directory, leaf)
    if old is None:
        new_entry(txn, directory, leaf, inode, kind)
    else:  # the cookie stays: for a reader of the directory it is the same place
        save(txn, entry_key(directory, leaf), Entry(inode=inode, kind=kind, cookie=old.cookie))
    changes.append(Change(directory, leaf, inode if old is None else old.inode, removed=False))
    touch(txn, existing, maker.now, directories=int(directory != existing))
    return old, changes


def remove_entry(
    txn: Txn, root: int, key: bytes, now: int, *, is_open: IsOpen = never_open
) -> tuple[Entry | None, list[Change]]:
    """Remove the key, and the directories that a PUT made for it if nothing else is in them.

    Returns the entry that was removed, None if there was none. If that is a directory (the key `dir/` of an
    empty one) its record is gone already. `now`: nanoseconds since the epoch.
    """
    names, leaf = split_key(key)
    way = _walk(txn, root, names)
    if len(way) < len(names):
        return None, []
    directory = way[-1][2].inode if way else root
    old = get_entry(txn, directory, leaf)
    changes: list[Change] = []
    if old is not None:
        txn.delete(entry_key(directory, leaf))
        changes.append(Change(directory, leaf, old.inode, removed=True))
    elif not way or leaf or not is_empty(txn, directory):
        return None, []
    pruned = _prune(txn, way, now, is_open, even_explicit=not leaf)
    last = way[-len(pruned) - 1][2].inode if len(pruned) < len(way) else root
    touch(txn, last, now, directories=-int(bool(pruned)))
    return old or way[-1][2], changes + pruned


def _walk(txn: Txn, root: int, names: list[bytes]) -> list[Step]:
    """The directories on the way, as far as they are there."""
    way: list[Step] = []
    parent = root
    for name in names:
        entry = get_entry(txn, parent, name)
        if entry is None:
            break
        way.append((parent, name, entry))
        parent = entry.inode
    return way


def _prune(txn: Txn, way: list[Step], now: int, is_open: IsOpen, *, even_explicit: bool) -> list[Change]:
    """Remove directories left empty, from the end of the way upwards, up to the first that stays (D3).

    `even_explicit`: the last may go although it is explicit, for its own key `dir/` was removed (N2).
    """
    changes: list[Change] = []
    for parent, name, entry in reversed(way):
        if not is_empty(txn, entry.inode):
            break
        if get_inode(txn, entry.inode).explicit and not (even_explicit and not changes):
            break
        txn.delete(entry_key(parent, name))
        forget_directory(txn, entry, now, is_open)
        changes.append(Change(parent, name, entry.inode, removed=True))
    return changes
