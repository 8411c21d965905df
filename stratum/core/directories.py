"""Directories: their entries and their inode records. What the verbs of both doors are made of.

Room: stratum/core. May import: core.errors, core.inodes, core.records, core.schema, core.txn.

Invariants
    D1  The stored name of a directory ends in `/`; no other byte of a stored name is `/`. So the key of an entry is
        the stored names on its way, joined, and a walk in stored order is a walk in the byte order of keys.
    D2  A directory's record knows its place (`parent`, `name`); `nlink` is 2 + the directories in it. The `nlink` of
        anything else is its owner's business: here only entries come and go.
    D3  A directory without entries is explicit: made by mkdir, or made to stay by who took its last entry away
        through the mount. One that a PUT made vanishes with its last key. Bucket roots are explicit.
    D4  A change of a directory's entries sets its mtime and ctime, in one write of its record.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import msgspec

from stratum.core.errors import NoSuchInode
from stratum.core.inodes import free, get_inode
from stratum.core.records import Entry, Inode, Kind, decode
from stratum.core.schema import entry_key, inode_key, orphan_key, take_number
from stratum.core.txn import Txn, load, save, successor

STORED_NAME_BYTES = 1025  # the longest stored name: a key of 1024 bytes, or 1023 and the `/`, has no longer one
ENTRY_PREFIX_BYTES = len(entry_key(0, b""))

IsOpen = Callable[[int], bool]
"""Is the inode of this number still open, or known to the kernel? Then its record must outlive its name."""


def never_open(inode: int) -> bool:
    """An IsOpen for when nothing is open."""
    return False


@dataclass(frozen=True, slots=True)
class Change:
    """A name that kernel caches must forget. `alias.names_to_forget` tells how the mount shows it.

    `name` is the stored name in directory `parent`; `inode` is what the name led to before, or, if the name is
    new, what it leads to now; `removed`: the name is gone.
    """

    parent: int
    name: bytes
    inode: int
    removed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryMaker:
    """Owner, mode (permissions and type, as in st_mode) and birth (ns since the epoch) of new directories."""

    uid: int
    gid: int
    mode: int
    now: int

    def make(self, txn: Txn, parent: int, name: bytes, *, explicit: bool, directories: int = 0) -> int:
        """Make the directory of stored `name`, soon to hold so many directories; return its inode number.

        The record of `parent` is left to the caller.
        """
        number = take_number(txn, "inode")
        inode = Inode(
            kind=Kind.DIRECTORY,
            mode=self.mode,
            uid=self.uid,
            gid=self.gid,
            nlink=2 + directories,
            size=0,
            atime=self.now,
            mtime=self.now,
            ctime=self.now,
            btime=self.now,
            parent=parent,
            name=name,
            explicit=explicit,
        )
        save(txn, inode_key(number), inode)
        new_entry(txn, parent, name, number, Kind.DIRECTORY)
        return number


def get_entry(txn: Txn, parent: int, name: bytes) -> Entry | None:
    """Return the entry of a stored name, or None. Any name may be asked for. Raises CorruptRecord."""
    return load(txn, entry_key(parent, name), Entry) if len(name) <= STORED_NAME_BYTES else None


def new_entry(txn: Txn, parent: int, name: bytes, inode: int, kind: Kind) -> Entry:
    """Store an entry that was not there."""
    entry = Entry(inode=inode, kind=kind, cookie=take_number(txn, "cookie"))
    save(txn, entry_key(parent, name), entry)
    return entry


def entries(txn: Txn, directory: int, start: bytes = b"") -> Iterator[tuple[bytes, Entry]]:
    """Yield (stored name, entry) in stored order, from the name `start` on. Raises CorruptRecord."""
    first = entry_key(directory, start[: STORED_NAME_BYTES + 1])
    for key, raw in txn.scan(first, successor(entry_key(directory, b""))):
        yield key[ENTRY_PREFIX_BYTES:], decode(key, raw, Entry)


def is_empty(txn: Txn, directory: int) -> bool:
    """Does the directory hold no entry at all?"""
    prefix = entry_key(directory, b"")
    return next(iter(txn.scan(prefix, successor(prefix))), None) is None


def get_directory(txn: Txn, number: int) -> Inode:
    """Return the record of a directory that can take entries. Raises NoSuchInode if it was removed."""
    inode = load(txn, inode_key(number), Inode)
    if inode is None or inode.nlink == 0:
        raise NoSuchInode(f"directory {number}")
    return inode


def touch(txn: Txn, directory: int, now: int, *, directories: int = 0, keep: bool = False) -> None:
    """Note that entries came or went, and how many more `directories` (D4). `keep`: if none is left, it stays (D3).

    `now`: nanoseconds since the epoch. Raises NoSuchInode.
    """
    inode = get_directory(txn, directory)
    stays = inode.explicit or (keep and is_empty(txn, directory))
    nlink = inode.nlink + directories
    save(txn, inode_key(directory), msgspec.structs.replace(inode, mtime=now, ctime=now, nlink=nlink, explicit=stays))


def forget_directory(txn: Txn, entry: Entry, now: int, is_open: IsOpen) -> None:
    """Free the record of a directory whose entry is gone; while it is open, only mark it as an orphan.

    Raises CorruptRecord.
    """
    inode = get_inode(txn, entry.inode)
    if not is_open(entry.inode):
        free(txn, entry.inode, inode)
        return
    save(txn, inode_key(entry.inode), msgspec.structs.replace(inode, nlink=0, ctime=now))
    save(txn, orphan_key(entry.inode), 1)
