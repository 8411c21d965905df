"""Names as the mount makes, finds and drops them.

Room: stratum/core. May import: core.{alias, directories, errors, inodes, records, schema, txn}.

The verbs take stored names; `find` and `target_name` get them from what the kernel asks for. In one directory object
`a` and directory `a/` may both exist, for S3 may have put both; the mount makes neither beside the other, except under
an alias that says which it means (`beside`: see alias.Visible). Whatever was taken away here, an empty directory stays.
"""

from collections.abc import Iterator

from stratum.core.alias import Form, parse, stored_name_to_make, visible_name
from stratum.core.directories import (
    Change,
    DirectoryMaker,
    IsOpen,
    entries,
    forget_directory,
    get_directory,
    get_entry,
    is_empty,
    never_open,
    new_entry,
    touch,
)
from stratum.core.errors import DirectoryNotEmpty, EntryExists, IsADirectory, NoSuchKey, NotADirectory
from stratum.core.inodes import get_inode
from stratum.core.records import Entry, Kind
from stratum.core.schema import ROOT_INODE, entry_key
from stratum.core.txn import Txn


def lookup(txn: Txn, parent: int, name: bytes) -> Entry | None:
    """Return the entry that a plain name leads to: the directory, or else the object. `name` has no slash."""
    return get_entry(txn, parent, name + b"/") or get_entry(txn, parent, name)


def find(txn: Txn, parent: int, visible: bytes) -> tuple[bytes, Entry] | None:
    """Return the stored name and entry that a name of the mount, perhaps an alias, leads to, or None."""
    parsed = parse(visible)
    if parsed.form is Form.LONG:
        shown = visible_children(txn, parent)
        return next(((stored, entry) for name, stored, entry in shown if name == visible), None)
    for stored in parsed.candidates:
        entry = get_entry(txn, parent, stored)
        if entry is not None:
            return stored, entry
    return None


def target_name(txn: Txn, parent: int, visible: bytes, *, directory: bool) -> bytes:
    """Return the stored name that a rename or link to `visible` is about: what is there, or what is to be made.

    Raises NameTooLong, InvalidArgument (see alias.stored_name_to_make).
    """
    found = find(txn, parent, visible)
    return stored_name_to_make(visible, directory=directory) if found is None else found[0]


def children(txn: Txn, parent: int, after: bytes | None = None) -> Iterator[tuple[bytes, Entry]]:
    """Yield (stored name, entry) in stored order, those above the stored name `after`."""
    return entries(txn, parent, b"" if after is None else after + b"\0")


def visible_children(txn: Txn, parent: int, after: bytes | None = None) -> Iterator[tuple[bytes, bytes, Entry]]:
    """Yield (visible name, stored name, entry) of what the mount shows, in stored order, above the stored `after`.

    An object `dir/` without bytes is not shown: the directory stands for it.
    """
    for stored, entry in children(txn, parent, after):
        if not stored and _is_marker(txn, entry):
            continue
        beside = not stored.endswith(b"/") and get_entry(txn, parent, stored + b"/") is not None
        yield visible_name(stored, beside_directory=beside), stored, entry


def add(
    txn: Txn, parent: int, name: bytes, inode: int, kind: Kind, now: int, *, beside: bool = False
) -> tuple[Entry, list[Change]]:
    """Let a new stored name, no directory's, lead to `inode`. `now`: nanoseconds since the epoch.

    Raises EntryExists, NoSuchInode if the parent was removed.
    """
    _check_free(txn, parent, name, beside=beside)
    entry = new_entry(txn, parent, name, inode, kind)
    touch(txn, parent, now)
    return entry, [Change(parent, name, inode, removed=False)]


def drop(txn: Txn, parent: int, name: bytes, now: int) -> tuple[Entry, list[Change]]:
    """Take away a stored name that is no directory's. Raises NoSuchKey, IsADirectory."""
    entry = _existing(txn, parent, name)
    if entry.kind is Kind.DIRECTORY:
        raise IsADirectory(name.decode(errors="replace"))
    txn.delete(entry_key(parent, name))
    touch(txn, parent, now, keep=True)
    return entry, [Change(parent, name, entry.inode, removed=True)]


def make_directory(
    txn: Txn, parent: int, name: bytes, maker: DirectoryMaker, *, explicit: bool = True, beside: bool = False
) -> tuple[int, list[Change]]:
    """Make a directory under a stored name (with its slash), return its inode number.

    Raises EntryExists, NoSuchInode if the parent was removed.
    """
    _check_free(txn, parent, name, beside=beside)
    number = maker.make(txn, parent, name, explicit=explicit)
    touch(txn, parent, maker.now, directories=1)
    return number, [Change(parent, name, number, removed=False)]


def remove_directory(txn: Txn, parent: int, name: bytes, now: int, *, is_open: IsOpen = never_open) -> list[Change]:
    """Remove an empty directory by its stored name; take its marker first (`take_marker`).

    Raises NoSuchKey, NotADirectory, DirectoryNotEmpty.
    """
    entry = _existing(txn, parent, name)
    if entry.kind is not Kind.DIRECTORY:
        raise NotADirectory(name.decode(errors="replace"))
    if not is_empty(txn, entry.inode):
        raise DirectoryNotEmpty(name.decode(errors="replace"))
    txn.delete(entry_key(parent, name))
    forget_directory(txn, entry, now, is_open)
    touch(txn, parent, now, directories=-1, keep=True)
    return [Change(parent, name, entry.inode, removed=True)]


def take_marker(txn: Txn, directory: int) -> Entry | None:
    """Take the object `dir/` without bytes out of a directory that holds nothing else, and return its entry.

    The mount shows such a directory as empty (S3 tools make it for a folder). The object's inode is the caller's.
    """
    held = entries(txn, directory)
    name, entry = next(held, (None, None))
    if name != b"" or entry is None or next(held, None) is not None or not _is_marker(txn, entry):
        return None
    txn.delete(entry_key(directory, b""))
    return entry


def path_of(txn: Txn, directory: int) -> tuple[int, bytes]:
    """Return (inode of the bucket's root, what the keys in this directory begin with).

    Of the directory of all buckets: (its own inode, nothing). Raises NoSuchInode if a directory was removed.
    """
    names: list[bytes] = []
    here = get_directory(txn, directory)
    while directory != ROOT_INODE and here.parent != ROOT_INODE:
        names.append(here.name)
        directory = here.parent
        here = get_directory(txn, directory)
    return directory, b"".join(reversed(names))


def _existing(txn: Txn, parent: int, name: bytes) -> Entry:
    entry = get_entry(txn, parent, name)
    if entry is None:
        raise NoSuchKey(name.decode(errors="replace"))
    return entry


def _check_free(txn: Txn, parent: int, name: bytes, *, beside: bool) -> None:
    other = name[:-1] if name.endswith(b"/") else name + b"/"
    if get_entry(txn, parent, name) or not (beside or get_entry(txn, parent, other) is None):
        raise EntryExists(name.decode(errors="replace"))


def _is_marker(txn: Txn, entry: Entry) -> bool:
    return entry.kind is Kind.OBJECT and get_inode(txn, entry.inode).size == 0
