"""rename(2): move a name, replace what was there, or exchange two names. One small change whatever hangs below.

Room: stratum/core. May import: core.{directories, errors, mount_names, records, schema, txn}.

A directory's stored name ends in a slash and nothing else's does, so the slash goes with what moves: the names given
say where things are and shall be, and what is found there says which kind it is.
"""

from dataclasses import dataclass

import msgspec

from stratum.core.directories import (
    Change,
    IsOpen,
    forget_directory,
    get_directory,
    get_entry,
    is_empty,
    never_open,
    touch,
)
from stratum.core.errors import (
    DirectoryNotEmpty,
    EntryExists,
    InvalidArgument,
    IsADirectory,
    NoSuchKey,
    NotADirectory,
    NotPermitted,
)
from stratum.core.mount_names import take_marker
from stratum.core.records import Entry, Kind
from stratum.core.schema import ROOT_INODE, entry_key, inode_key
from stratum.core.txn import Txn, save


@dataclass(frozen=True, slots=True)
class Renamed:
    """What a rename did. The inodes of `replaced` (if no directory) and `marker` have lost a link: the caller's.

    `replaced`: what the new name led to before (a directory's record is gone already); None also for an exchange.
    `marker`: the object `dir/` without bytes that was in the replaced directory. No `changes`: nothing was to be done.
    """

    moved: Entry
    replaced: Entry | None = None
    marker: Entry | None = None
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True)
class _Place:
    """A stored name in a directory and what it leads to."""

    parent: int
    name: bytes
    entry: Entry

    @property
    def is_directory(self) -> bool:
        return self.entry.kind is Kind.DIRECTORY


def rename(
    txn: Txn,
    old_parent: int,
    old_name: bytes,
    new_parent: int,
    new_name: bytes,
    now: int,
    *,
    noreplace: bool = False,
    exchange: bool = False,
    beside: bool = False,
    is_open: IsOpen = never_open,
) -> Renamed:
    """Move stored `old_name` to `new_name`, whose slash is set as the kind of what moves demands.

    `beside`: `new_name` means one kind only (see alias.Visible), so something of the other kind and the same base
    is not in the way. `now`: nanoseconds since the epoch.

    Raises NoSuchKey, EntryExists (`noreplace`; an exchange whose new names are taken), NotADirectory (directory over
    something else), IsADirectory (something else over a directory), DirectoryNotEmpty, InvalidArgument (a directory
    into itself), NotPermitted (a bucket), NoSuchInode (the new parent was removed).
    """
    if ROOT_INODE in (old_parent, new_parent):
        raise NotPermitted("a bucket cannot be renamed, and nothing can become one")
    entry = get_entry(txn, old_parent, old_name)
    if entry is None:
        raise NoSuchKey(old_name.decode(errors="replace"))
    old = _Place(old_parent, old_name, entry)
    name = _with_slash(new_name, wanted=old.is_directory)
    target = _find_target(txn, new_parent, (new_name, name) if beside else _both_kinds(new_name))
    if target is not None and noreplace:
        raise EntryExists(new_name.decode(errors="replace"))
    _check_not_into_itself(txn, old, new_parent)
    if exchange:
        if target is None:
            raise NoSuchKey(new_name.decode(errors="replace"))
        _check_not_into_itself(txn, target, old_parent)
        return _exchange(txn, old, target, now)
    if target is None:
        return _move(txn, old, new_parent, name, now)
    return _replace(txn, old, target, now, is_open)


def _find_target(txn: Txn, parent: int, names: tuple[bytes, bytes]) -> _Place | None:
    for name in names:
        entry = get_entry(txn, parent, name)
        if entry is not None:
            return _Place(parent, name, entry)
    return None


def _check_not_into_itself(txn: Txn, moving: _Place, parent: int) -> None:
    """Raise InvalidArgument if `parent` is the directory that moves, or below it."""
    while moving.is_directory and parent not in (moving.parent, ROOT_INODE):
        if parent == moving.entry.inode:
            raise InvalidArgument("a directory cannot be moved into itself")
        parent = get_directory(txn, parent).parent


def _replace(txn: Txn, old: _Place, target: _Place, now: int, is_open: IsOpen) -> Renamed:
    if old.entry.inode == target.entry.inode:  # the same name, or two links of one inode: POSIX wants nothing done
        return Renamed(old.entry)
    if old.is_directory and not target.is_directory:
        raise NotADirectory(target.name.decode(errors="replace"))
    if target.is_directory and not old.is_directory:
        raise IsADirectory(target.name.decode(errors="replace"))
    marker = None
    if target.is_directory:
        marker = take_marker(txn, target.entry.inode)
        if not is_empty(txn, target.entry.inode):
            raise DirectoryNotEmpty(target.name.decode(errors="replace"))
        forget_directory(txn, target.entry, now, is_open)
        touch(txn, target.parent, now, directories=-1)
    done = _move(txn, old, target.parent, target.name, now)
    gone = Change(target.parent, target.name, target.entry.inode, removed=False)
    return Renamed(done.moved, target.entry, marker, (done.changes[0], gone))


def _move(txn: Txn, old: _Place, parent: int, name: bytes, now: int) -> Renamed:
    """Let `name` lead to what moves, replacing what it led to."""
    txn.delete(entry_key(old.parent, old.name))
    _settle(txn, old.entry, parent, name, now)
    if parent == old.parent:
        touch(txn, parent, now)
    else:
        directories = int(old.is_directory)
        touch(txn, old.parent, now, directories=-directories, keep=True)
        touch(txn, parent, now, directories=directories)
    changes = (
        Change(old.parent, old.name, old.entry.inode, removed=True),
        Change(parent, name, old.entry.inode, removed=False),
    )
    return Renamed(old.entry, changes=changes)


def _exchange(txn: Txn, one: _Place, other: _Place, now: int) -> Renamed:
    if one.entry.inode == other.entry.inode:
        return Renamed(one.entry)
    txn.delete(entry_key(one.parent, one.name))
    txn.delete(entry_key(other.parent, other.name))
    changes: list[Change] = []
    for place, comes in ((one, other.entry), (other, one.entry)):
        name = _with_slash(place.name, wanted=comes.kind is Kind.DIRECTORY)
        if get_entry(txn, place.parent, name) is not None:
            raise EntryExists(name.decode(errors="replace"))
        _settle(txn, comes, place.parent, name, now)
        if name != place.name:
            changes.append(Change(place.parent, place.name, place.entry.inode, removed=True))
        changes.append(Change(place.parent, name, place.entry.inode, removed=False))
    gained = int(other.is_directory) - int(one.is_directory) if one.parent != other.parent else 0
    touch(txn, one.parent, now, directories=gained)
    if one.parent != other.parent:
        touch(txn, other.parent, now, directories=-gained)
    return Renamed(one.entry, changes=tuple(changes))


def _settle(txn: Txn, entry: Entry, parent: int, name: bytes, now: int) -> None:
    """Store the entry in its new place; a directory's record learns where that is."""
    save(txn, entry_key(parent, name), entry)
    if entry.kind is Kind.DIRECTORY:
        inode = get_directory(txn, entry.inode)
        save(txn, inode_key(entry.inode), msgspec.structs.replace(inode, parent=parent, name=name, ctime=now))


def _both_kinds(name: bytes) -> tuple[bytes, bytes]:
    """The directory of that name, then what is none: the order of `lookup`."""
    return _with_slash(name, wanted=True), _with_slash(name, wanted=False)


def _with_slash(name: bytes, *, wanted: bool) -> bytes:
    base = name.removesuffix(b"/")
    return base + b"/" if wanted else base
