"""Renaming of an object by its key: one change, no byte moves.

Room: stratum/engine. May import: core.

Without versioning the entry moves and the inode stays: ETag, Last-Modified, open files and hard links are what they
were. With versioning nothing may vanish from the old key: the new key gets a version of its own with the same content,
ETag and Last-Modified, the old one a delete marker. Locks go along, so that nothing is freed by another name.
"""

import msgspec

from stratum.core.conditions import check_read
from stratum.core.errors import NoSuchKey
from stratum.core.inodes import get_inode
from stratum.core.namespace import Change, put_entry, remove_entry, resolve
from stratum.core.objects import ObjectView, RenameSpec
from stratum.core.records import Inode, Kind
from stratum.core.schema import inode_key
from stratum.core.txn import Txn, save
from stratum.core.versions import Place, Removed, retire
from stratum.core.views import object_at


def find_source(txn: Txn, bucket: str, spec: RenameSpec) -> Inode:
    """Inside a change: what is to be renamed. Raises NoSuchBucket, NoSuchKey, PreconditionFailed."""
    source = object_at(txn, bucket, spec.source).inode
    if source.kind is Kind.DIRECTORY:
        raise NoSuchKey(spec.source.decode(errors="replace"))
    check_read(spec.source_condition, source, copying=True)
    return source


def move_entry(txn: Txn, bucket: str, old: Place, new: Place) -> tuple[ObjectView, list[Change], Removed]:
    """Inside a change, in a bucket without versioning: let the new key lead to what the old one leads to."""
    entry = resolve(txn, old.root, old.key)
    if entry is None:
        raise NoSuchKey(old.key.decode(errors="replace"))
    replaced, changes = put_entry(txn, new.root, new.key, entry.inode, entry.kind, new.maker)
    place = changes[-1]
    if replaced is not None:
        retire(txn, new, replaced)
    _, gone = remove_entry(txn, old.root, old.key, old.maker.now, is_open=old.is_open)
    moved = get_inode(txn, entry.inode)
    moved = msgspec.structs.replace(moved, parent=place.parent, name=place.name, ctime=new.maker.now)
    save(txn, inode_key(entry.inode), moved)
    view = ObjectView(bucket=bucket, key=new.key, inode_number=entry.inode, inode=moved)
    return view, [*changes, *gone], Removed("", 0, False, True)
