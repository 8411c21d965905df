"""What the mount's changes mean for the keys of a bucket: versions kept, delete markers made, consequences told.

Room: stratum/engine. May import: core, engine.file_mounted.

Where a bucket has versioning, a file that is unlinked, renamed over or written to leaves what S3 saw of it as a
version. A file that stays open makes one version, however often it is synced; one that is renamed takes its newest
version along, for no byte moves. A file with several names is versioned under the one it was given last.
"""

from dataclasses import dataclass

import msgspec

from stratum.core.directories import DirectoryMaker, get_directory, get_entry
from stratum.core.errors import NoSuchInode
from stratum.core.inodes import drop_link, get_inode
from stratum.core.namespace import path_of
from stratum.core.objects import ObjectView
from stratum.core.records import Bucket, Entry, Inode, Kind
from stratum.core.schema import ROOT_INODE, bucket_key, inode_key
from stratum.core.txn import Txn, load, save
from stratum.core.versions import Place, Removed, add_marker, arrived, newest_row, retire, unlinked
from stratum.engine.file_mounted import Mounted

CREATED, REMOVED, MARKED = "ObjectCreated:Put", "ObjectRemoved:Delete", "ObjectRemoved:DeleteMarkerCreated"


@dataclass(frozen=True, slots=True)
class NamedPlace:
    """A key, and the name of its bucket."""

    bucket: str
    place: Place


def place_at(txn: Txn, mounted: Mounted, directory: int, stored: bytes) -> NamedPlace | None:
    """The key of a stored name; None beside the buckets, and below what was removed."""
    if directory == ROOT_INODE:
        return None
    try:
        root, prefix = path_of(txn, directory)
        name = get_directory(txn, root).name.removesuffix(b"/").decode()
    except NoSuchInode:
        return None
    bucket = load(txn, bucket_key(name), Bucket)
    if bucket is None:
        return None
    maker = DirectoryMaker(uid=0, gid=0, mode=0, now=mounted.now_ns())
    return NamedPlace(name, Place(bucket=bucket, key=prefix + stored, maker=maker, is_open=mounted.is_open))


def place_of(txn: Txn, mounted: Mounted, number: int, inode: Inode) -> NamedPlace | None:
    """The key under which a file was named last, if that still leads to it."""
    entry = get_entry(txn, inode.parent, inode.name) if inode.parent else None
    found = place_at(txn, mounted, inode.parent, inode.name) if entry is not None and entry.inode == number else None
    return found


def was_unlinked(txn: Txn, mounted: Mounted, directory: int, stored: bytes, old: Entry) -> None:
    """Inside a change: the mount took the entry of a name away."""
    found = place_at(txn, mounted, directory, stored)
    if found is None:
        drop_link(txn, old.inode, open_somewhere=mounted.is_open(old.inode), now=mounted.now_ns())
        return
    removed = unlinked(txn, found.place, old, found.place.bucket.owner)
    if removed is not None:
        _tell_removed(txn, mounted, found, removed)


def was_replaced(txn: Txn, mounted: Mounted, directory: int, stored: bytes, old: Entry) -> None:
    """Inside a change: another file was renamed over this one."""
    found = place_at(txn, mounted, directory, stored)
    if found is None:
        drop_link(txn, old.inode, open_somewhere=mounted.is_open(old.inode), now=mounted.now_ns())
    else:
        retire(txn, found.place, old)


def has_arrived(txn: Txn, mounted: Mounted, directory: int, stored: bytes) -> None:
    """Inside a change: a name leads to something that was renamed to it."""
    entry = get_entry(txn, directory, stored)
    if entry is not None and entry.kind is Kind.DIRECTORY:
        moved = place_at(txn, mounted, directory, stored)
        if moved is not None:
            mounted.consequences.moved(txn, moved.bucket)
    if entry is None or entry.kind is Kind.DIRECTORY:
        return
    inode = msgspec.structs.replace(
        get_inode(txn, entry.inode),
        parent=directory,
        name=stored,
        ctime=mounted.now_ns(),
        bucket=path_of(txn, directory)[0],
    )
    found = place_at(txn, mounted, directory, stored) if entry.kind is Kind.OBJECT and inode.etag else None
    if found is not None:
        inode = arrived(txn, found.place, inode)
    save(txn, inode_key(entry.inode), inode)
    if found is not None:
        told_written(txn, mounted, found, entry.inode, inode)


def has_left(txn: Txn, mounted: Mounted, directory: int, stored: bytes) -> None:
    """Inside a change: what a name led to was renamed. A key with a history reads as deleted from now on."""
    if stored.endswith(b"/"):
        return
    found = place_at(txn, mounted, directory, stored)
    if found is None:
        return
    removed = Removed("", 0, False, True)
    if found.place.bucket.versioning and newest_row(txn, found.place.root, found.place.key) is not None:
        removed = Removed(*add_marker(txn, found.place, found.place.bucket.owner), True, True)
    _tell_removed(txn, mounted, found, removed)


def told_written(txn: Txn, mounted: Mounted, found: NamedPlace, number: int, inode: Inode) -> None:
    """Inside a change: what follows from a file's publication."""
    view = ObjectView(
        bucket=found.bucket,
        key=found.place.key,
        inode_number=number,
        inode=inode,
        versioned=bool(found.place.bucket.versioning),
    )
    mounted.consequences.written(txn, found.bucket, found.place.bucket, view, CREATED, "")


def _tell_removed(txn: Txn, mounted: Mounted, found: NamedPlace, removed: Removed) -> None:
    event = MARKED if removed.marker else REMOVED
    mounted.consequences.removed(
        txn,
        found.bucket,
        found.place.bucket,
        found.place.key,
        removed.version,
        removed.sequence,
        event,
        "",
    )
