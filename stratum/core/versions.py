"""The versions of a key beside its current object: older ones, and delete markers.

Room: stratum/core. May import: core.{directories, errors, inodes, manifest, namespace, records, schema, txn}.

Invariants
    V1  The current object of a key is what its entry leads to. Every other version is a row `w` under bucket root and
        key, newest first; the inode of a row belongs to that row alone.
    V2  Order is by sequence, a counter of the index, never by a clock. A version id tells its sequence, so that its
        row is found without a search.
    V3  A key has at most one null version: the current object, or the row that `z` names.
    V4  A key without an entry whose newest row is a delete marker reads as deleted. Taking that marker away makes the
        version below it current again; so does taking away the current object by its id.
    V5  A bucket that never had versioning has no rows: what is replaced or deleted there is gone.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import msgspec
import xxhash

from stratum.core.directories import Change, DirectoryMaker, IsOpen
from stratum.core.errors import InvalidArgument
from stratum.core.inodes import attributes_of, drop_link, get_inode, give_attributes
from stratum.core.manifest import attach, inode_user
from stratum.core.namespace import put_entry, remove_entry, resolve
from stratum.core.records import Bucket, Entry, Inode, Kind, Version, decode
from stratum.core.schema import inode_key, null_version_key, take_number, version_key, versions_prefix
from stratum.core.txn import Txn, load, save, successor

ENABLED, SUSPENDED = "Enabled", "Suspended"
NULL = "null"  # how S3 names the version whose id is empty
SEQUENCE_DIGITS = 16

MayDelete = Callable[[Inode], None]
"""Raises Locked for a version that must stay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A key of a bucket at the moment something happens to it. `maker`: owner and time of directories made for it."""

    bucket: Bucket
    key: bytes
    maker: DirectoryMaker
    is_open: IsOpen

    @property
    def root(self) -> int:
        """The bucket's directory."""
        return self.bucket.root


@dataclass(frozen=True, slots=True)
class Removed:
    """What a delete did: the id of the version or marker concerned (empty: null or none), its sequence, and what
    kernel caches must forget. `marker`: it is a delete marker, made or taken away. `done`: anything happened."""

    version: str
    sequence: int
    marker: bool
    done: bool
    changes: tuple[Change, ...] = ()


def version_id(key: bytes, sequence: int) -> str:
    """The id of the version of `key` with that sequence: 32 hex digits, opaque to clients."""
    return f"{sequence:0{SEQUENCE_DIGITS}x}{xxhash.xxh3_64_hexdigest(key, seed=sequence)}"


def sequence_of(version: str) -> int | None:
    """The sequence that a version id tells, or None if it is no id of ours."""
    digits = version[:SEQUENCE_DIGITS]
    well_formed = len(version) == 2 * SEQUENCE_DIGITS and set(version) <= set("0123456789abcdef")
    return int(digits, 16) if well_formed else None


def next_version(txn: Txn, bucket: Bucket, key: bytes) -> tuple[str, int]:
    """(id, sequence) of what is written now: the null version, sequence 0, where there was never versioning."""
    if not bucket.versioning:
        return "", 0
    sequence = take_number(txn, "version")
    return (version_id(key, sequence) if bucket.versioning == ENABLED else ""), sequence


# --- looking --------------------------------------------------------------------------------------------------


def rows(txn: Txn, root: int, key: bytes) -> Iterator[tuple[int, Version]]:
    """Yield (sequence, version) of a key's rows, newest first. Raises CorruptRecord."""
    prefix = versions_prefix(root, key)
    for row_key, raw in txn.scan(prefix, successor(prefix)):
        yield row_sequence(row_key), decode(row_key, raw, Version)


def is_version_id(version: str) -> bool:
    """Can this be the id of a version, as S3 shows it?"""
    return version == NULL or sequence_of(version) is not None


def row_sequence(row_key: bytes) -> int:
    """The sequence that the key of a row ends in."""
    return 2**64 - 1 - int.from_bytes(row_key[-8:], "big")


def newest_row(txn: Txn, root: int, key: bytes) -> tuple[int, Version] | None:
    """(sequence, version) of the newest row of a key, or None."""
    return next(rows(txn, root, key), None)


def find_row(txn: Txn, root: int, key: bytes, version: str) -> tuple[int, Version] | None:
    """The row of a version as S3 names it (`null` or an id), or None. Raises InvalidArgument if it is no id at all."""
    if version == NULL:
        sequence = load(txn, null_version_key(root, key), int)
    else:
        sequence = sequence_of(version)
        if sequence is None:
            raise InvalidArgument("Invalid version id specified")
    if sequence is None:
        return None
    found = load(txn, version_key(root, key, sequence), Version)
    wanted = "" if version == NULL else version
    return (sequence, found) if found is not None and found.version == wanted else None


def is_named(inode: Inode, version: str) -> bool:
    """Does S3's name of a version (`null` or an id) mean this inode?"""
    return inode.version == ("" if version == NULL else version)


# --- writing --------------------------------------------------------------------------------------------------


def put_current(txn: Txn, place: Place, number: int) -> tuple[list[Change], int, bytes]:
    """Let the key lead to inode `number` (an object); keep what it led to as the bucket's versioning demands.

    Returns the changes, and the directory and stored name where the entry is.
    """
    if place.bucket.versioning == SUSPENDED:
        _drop_null_row(txn, place)
    old, changes = put_entry(txn, place.root, place.key, number, Kind.OBJECT, place.maker)
    if old is not None:
        retire(txn, place, old)
    return changes, changes[-1].parent, changes[-1].name


def mark_deleted(txn: Txn, place: Place, owner: str) -> Removed:
    """Delete the key as it is named without a version: where there is versioning, by a delete marker."""
    if not place.bucket.versioning:
        old, changes = remove_entry(txn, place.root, place.key, place.maker.now, is_open=place.is_open)
        if old is not None:
            retire(txn, place, old)
        return Removed("", 0, False, old is not None, tuple(changes))
    if place.bucket.versioning == SUSPENDED:
        _drop_null_row(txn, place)
    old, changes = remove_entry(txn, place.root, place.key, place.maker.now, is_open=place.is_open)
    if old is not None:
        retire(txn, place, old)
    version, sequence = add_marker(txn, place, owner)
    return Removed(version, sequence, True, True, tuple(changes))


def add_marker(txn: Txn, place: Place, owner: str) -> tuple[str, int]:
    """Store a delete marker as the newest version of a key that has no entry (any more); return its id and sequence."""
    version, sequence = next_version(txn, place.bucket, place.key)
    _save_row(txn, place, sequence, Version(0, version, place.maker.now, owner))
    return version, sequence


def remove_version(txn: Txn, place: Place, version: str, may_delete: MayDelete) -> Removed:
    """Take one version away for good; `null` or an id. One that is not there is no error.

    Raises InvalidArgument, and Locked from `may_delete`.
    """
    entry = resolve(txn, place.root, place.key)
    current = get_inode(txn, entry.inode) if entry is not None and entry.kind is not Kind.DIRECTORY else None
    if entry is not None and current is not None and current.etag and is_named(current, version):
        may_delete(current)
        _, changes = remove_entry(txn, place.root, place.key, place.maker.now, is_open=place.is_open)
        drop_link(txn, entry.inode, open_somewhere=place.is_open(entry.inode), now=place.maker.now)
        return Removed(current.version, current.sequence, False, True, (*changes, *_promote(txn, place)))
    found = find_row(txn, place.root, place.key, version)
    if found is None:
        return Removed("" if version == NULL else version, 0, False, False)
    sequence, row = found
    newest = newest_row(txn, place.root, place.key)
    if row.inode:
        may_delete(get_inode(txn, row.inode))
    _drop_row(txn, place, sequence, row)
    surfaced = entry is None and not row.inode and newest is not None and newest[0] == sequence
    return Removed(row.version, sequence, not row.inode, True, tuple(_promote(txn, place)) if surfaced else ())


def _promote(txn: Txn, place: Place) -> list[Change]:
    """Make the newest row current again, if it is an object (V4)."""
    newest = newest_row(txn, place.root, place.key)
    if newest is None or not newest[1].inode:
        return []
    sequence, row = newest
    _forget_row(txn, place, sequence, row)
    kind = get_inode(txn, row.inode).kind
    _, changes = put_entry(txn, place.root, place.key, row.inode, kind, place.maker)
    return changes


def unlinked(txn: Txn, place: Place, old: Entry, owner: str) -> Removed | None:
    """The mount took the name of an object away: as `mark_deleted`, for a key that S3 saw. None: it saw nothing."""
    seen = old.kind is Kind.OBJECT and bool(get_inode(txn, old.inode).etag)
    retire(txn, place, old)
    if place.bucket.versioning and (seen or newest_row(txn, place.root, place.key) is not None):
        return Removed(*add_marker(txn, place, owner), True, True)
    return Removed("", 0, False, True) if seen else None


def arrived(txn: Txn, place: Place, inode: Inode) -> Inode:
    """The record of an object that came to this key, or was written here, as the newest version. It is not stored."""
    if place.bucket.versioning == SUSPENDED:
        _drop_null_row(txn, place)
    version, sequence = next_version(txn, place.bucket, place.key)
    return msgspec.structs.replace(inode, version=version, sequence=sequence)


def keep_copy(txn: Txn, place: Place, number: int, inode: Inode) -> None:
    """Keep what the current object is now as a version: it is about to be written to in place."""
    if must_be_kept(place.bucket, inode.kind, inode):
        keep_version(txn, place, _clone(txn, number, inode))


def retire(txn: Txn, place: Place, old: Entry) -> None:
    """What an entry led to, is no longer the current object: kept as a version, or one name less."""
    if old.kind is Kind.DIRECTORY:
        return
    inode = get_inode(txn, old.inode)
    if not must_be_kept(place.bucket, old.kind, inode):
        drop_link(txn, old.inode, open_somewhere=place.is_open(old.inode), now=place.maker.now)
        return
    number = old.inode
    if inode.nlink > 1 or place.is_open(number):  # others may still write to it: the version gets an inode of its own
        number = _clone(txn, number, inode)
        drop_link(txn, old.inode, open_somewhere=place.is_open(old.inode), now=place.maker.now)
    keep_version(txn, place, number)


def must_be_kept(bucket: Bucket, kind: Kind, inode: Inode) -> bool:
    """Does what is replaced or deleted stay as a version? Never what S3 did not see; of null versions, none replaced
    by another null version."""
    seen = kind is Kind.OBJECT and bool(inode.etag)
    return seen and (bucket.versioning == ENABLED or (bucket.versioning == SUSPENDED and bool(inode.version)))


def keep_version(txn: Txn, place: Place, number: int) -> None:
    """Store the row of an inode that no entry leads to any more."""
    inode = get_inode(txn, number)
    newest = newest_row(txn, place.root, place.key)
    if newest is not None and newest[0] >= inode.sequence and inode.sequence:
        # It came here with a renamed directory, over a key with a history: its place is behind that history.
        sequence = take_number(txn, "version")
        version = version_id(place.key, sequence) if inode.version else ""
        inode = msgspec.structs.replace(inode, sequence=sequence, version=version)
        save(txn, inode_key(number), inode)
    row = Version(number, inode.version, inode.mtime, inode.owner, since=place.maker.now)
    _save_row(txn, place, inode.sequence, row)


def _clone(txn: Txn, source: int, inode: Inode) -> int:
    number = take_number(txn, "inode")
    save(txn, inode_key(number), msgspec.structs.replace(inode, nlink=1))
    give_attributes(txn, number, attributes_of(txn, source))
    if inode.content:
        attach(txn, inode.content, inode_user(number))
    return number


def _save_row(txn: Txn, place: Place, sequence: int, row: Version) -> None:
    if not row.version:
        _drop_null_row(txn, place)
        save(txn, null_version_key(place.root, place.key), sequence)
    save(txn, version_key(place.root, place.key, sequence), row)


def _drop_null_row(txn: Txn, place: Place) -> None:
    found = find_row(txn, place.root, place.key, NULL)
    if found is not None:
        _drop_row(txn, place, *found)


def _drop_row(txn: Txn, place: Place, sequence: int, row: Version) -> None:
    _forget_row(txn, place, sequence, row)
    if row.inode:
        drop_link(txn, row.inode, open_somewhere=place.is_open(row.inode), now=place.maker.now)


def _forget_row(txn: Txn, place: Place, sequence: int, row: Version) -> None:
    txn.delete(version_key(place.root, place.key, sequence))
    if not row.version:
        txn.delete(null_version_key(place.root, place.key))
