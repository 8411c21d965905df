"""From directory entries to what S3 shows of them.

Room: stratum/core. May import: core.errors, core.inodes, core.namespace, core.objects, core.records, core.schema.

What S3 sees of a mounted file system: published files are objects; a symlink is a small object that holds its
target and says so in its metadata; an empty directory made by mkdir is the zero-byte key `dir/`; FIFOs, sockets,
devices and files never published are not there.
"""

from hashlib import md5

import msgspec

from stratum.core.errors import NoSuchBucket, NoSuchKey
from stratum.core.inodes import get_inode
from stratum.core.namespace import resolve
from stratum.core.objects import ObjectView
from stratum.core.records import Bucket, Entry, Inode, Kind
from stratum.core.schema import bucket_key
from stratum.core.txn import Txn, load

EMPTY_MD5 = md5(b"", usedforsecurity=False).hexdigest()
DIRECTORY_TYPE = "application/x-directory"
SYMLINK_TYPE = "inode/symlink"


def object_at(txn: Txn, bucket: str, key: bytes) -> ObjectView:
    """Return what S3 shows under a key. Raises NoSuchBucket, NoSuchKey."""
    found = load(txn, bucket_key(bucket), Bucket)
    if found is None:
        raise NoSuchBucket(bucket)
    entry = resolve(txn, found.root, key)
    view = None if entry is None else view_of(txn, bucket, key, entry)
    if view is None:
        raise NoSuchKey(key.decode(errors="replace"))
    return view


def view_of(txn: Txn, bucket: str, key: bytes, entry: Entry) -> ObjectView | None:
    """Return what S3 shows of an entry, or None if it shows nothing."""
    if entry.kind is Kind.SPECIAL:
        return None
    inode = _as_object(get_inode(txn, entry.inode))
    if not inode.etag:
        return None
    return ObjectView(bucket=bucket, key=key, inode_number=entry.inode, inode=inode)


def _as_object(inode: Inode) -> Inode:
    if inode.kind is Kind.DIRECTORY:
        return msgspec.structs.replace(inode, size=0, etag=EMPTY_MD5, headers={"content-type": DIRECTORY_TYPE})
    if inode.kind is Kind.SYMLINK:
        digest = md5(inode.target, usedforsecurity=False).hexdigest()
        headers = {"content-type": SYMLINK_TYPE}
        return msgspec.structs.replace(inode, size=len(inode.target), etag=digest, headers=headers)
    return inode
