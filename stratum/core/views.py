"""From directory entries to what S3 shows of them.

Room: stratum/core. May import: core.errors, core.inodes, core.namespace, core.objects, core.records, core.schema,
core.versions.

What S3 sees of a mounted file system: published files are objects; a symlink is a small object that holds its
target and says so in its metadata; an empty directory made by mkdir is the zero-byte key `dir/`; FIFOs, sockets,
devices and files never published are not there.
"""

from hashlib import md5

import msgspec

from stratum.core.errors import MarkerFound, NoSuchBucket, NoSuchKey, NoSuchVersion
from stratum.core.inodes import get_inode
from stratum.core.namespace import resolve
from stratum.core.objects import ObjectView
from stratum.core.records import Bucket, Entry, Inode, Kind, Version
from stratum.core.schema import bucket_key
from stratum.core.txn import Txn, load
from stratum.core.versions import NULL, find_row, is_named, newest_row

EMPTY_MD5 = md5(b"", usedforsecurity=False).hexdigest()
DIRECTORY_TYPE = "application/x-directory"
SYMLINK_TYPE = "inode/symlink"


def object_at(txn: Txn, bucket: str, key: bytes, version: str | None = None) -> ObjectView:
    """Return what S3 shows under a key: the current object, or the `version` of that id (`null` for the null version).

    Raises NoSuchBucket, NoSuchKey, MarkerFound, NoSuchVersion, InvalidArgument (no version id at all).
    """
    found = load(txn, bucket_key(bucket), Bucket)
    if found is None:
        raise NoSuchBucket(bucket)
    entry = resolve(txn, found.root, key)
    view = None if entry is None else view_of(txn, bucket, key, entry, versioned=bool(found.versioning))
    if version is not None and not (view is not None and is_named(view.inode, version)):
        return _older_version(txn, bucket, found, key, version)
    if view is None:
        newest = newest_row(txn, found.root, key) if found.versioning else None
        if newest is not None and not newest[1].inode:
            raise MarkerFound(newest[1].version or NULL, asked=False)
        raise NoSuchKey(key.decode(errors="replace"))
    return view


def _older_version(txn: Txn, name: str, bucket: Bucket, key: bytes, version: str) -> ObjectView:
    row = find_row(txn, bucket.root, key, version)
    if row is None:
        raise NoSuchVersion(version)
    if not row[1].inode:
        raise MarkerFound(version, asked=True)
    return row_view(txn, name, key, row[1])


def row_view(txn: Txn, bucket: str, key: bytes, row: Version) -> ObjectView:
    """What S3 shows of a version that is no delete marker. Raises CorruptRecord."""
    return ObjectView(bucket=bucket, key=key, inode_number=row.inode, inode=get_inode(txn, row.inode), versioned=True)


def view_of(txn: Txn, bucket: str, key: bytes, entry: Entry, *, versioned: bool = False) -> ObjectView | None:
    """Return what S3 shows of an entry, or None if it shows nothing. `versioned`: see ObjectView."""
    if entry.kind is Kind.SPECIAL:
        return None
    inode = _as_object(get_inode(txn, entry.inode))
    if not inode.etag:
        return None
    return ObjectView(bucket=bucket, key=key, inode_number=entry.inode, inode=inode, versioned=versioned)


def _as_object(inode: Inode) -> Inode:
    if inode.kind is Kind.DIRECTORY:
        return msgspec.structs.replace(inode, size=0, etag=EMPTY_MD5, headers={"content-type": DIRECTORY_TYPE})
    if inode.kind is Kind.SYMLINK:
        digest = md5(inode.target, usedforsecurity=False).hexdigest()
        headers = {"content-type": SYMLINK_TYPE}
        return msgspec.structs.replace(inode, size=len(inode.target), etag=digest, headers=headers)
    return inode
