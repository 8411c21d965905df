"""Which file has to be published in the same change as its rename.

Room: stratum/engine. May import: core.

A file that is renamed over another before it was ever published would leave S3 with neither for a while, and, after a
loss of power in between, with an empty one. In another bucket its bytes count in another quota: who moves it there is
the one to be told that they do not fit.
"""

from stratum.core.inodes import get_inode
from stratum.core.namespace import find, path_of
from stratum.core.records import Kind
from stratum.core.schema import ROOT_INODE
from stratum.core.txn import Txn


def published_with_rename(
    txn: Txn, parent: int, name: bytes, new_parent: int, new_name: bytes, *, exchange: bool
) -> int:
    """The inode of the file that a rename, or an exchange, has to publish, if it has anything unpublished; 0: none."""
    moved, other = find(txn, parent, name), find(txn, new_parent, new_name)
    if moved is None or ROOT_INODE in (parent, new_parent):
        return 0
    if parent != new_parent and path_of(txn, parent)[0] != path_of(txn, new_parent)[0]:
        return moved[1].inode
    if other is None or Kind.DIRECTORY in (moved[1].kind, other[1].kind):
        return 0
    comes, goes = moved[1].inode, other[1].inode
    is_seen, was_seen = bool(get_inode(txn, comes).etag), bool(get_inode(txn, goes).etag)
    if is_seen == was_seen:
        return 0
    return comes if was_seen else goes if exchange else 0
