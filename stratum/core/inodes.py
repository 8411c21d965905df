"""Life and death of inode records.

Room: stratum/core. May import: core.manifest, core.records, core.schema, core.txn.
"""

import msgspec

from stratum.core.errors import CorruptRecord
from stratum.core.manifest import detach, inode_user
from stratum.core.records import Inode, decode
from stratum.core.schema import XATTR, inode_key, not_published_key, orphan_key, xattr_key
from stratum.core.txn import Txn, load, save, successor


def get_inode(txn: Txn, number: int) -> Inode:
    """Return the inode that an entry points to. Raises CorruptRecord: an entry without its inode is damage."""
    inode = load(txn, inode_key(number), Inode)
    if inode is None:
        raise CorruptRecord(f"inode {number} is missing from the index")
    return inode


def stored_bytes(inode: Inode) -> int:
    """Bytes of the inode's content: more than its size, where they are encrypted."""
    return inode.size if inode.sealed is None else inode.sealed.size


def attributes_of(txn: Txn, number: int, space: bytes = b"") -> list[tuple[bytes, bytes]]:
    """(name, value) of an inode's extended attributes, those whose names begin with `space`. Raises CorruptRecord."""
    prefix = XATTR + number.to_bytes(8, "big")
    rows = txn.scan(prefix + space, successor(prefix + space))
    return [(key[len(prefix) :], decode(key, raw, bytes)) for key, raw in rows]


def give_attributes(txn: Txn, number: int, attributes: list[tuple[bytes, bytes]]) -> None:
    """Set extended attributes of an inode."""
    for name, value in attributes:
        save(txn, xattr_key(number, name), value)


def drop_link(txn: Txn, number: int, *, open_somewhere: bool, now: int) -> None:
    """One name less. With the last one the inode is freed, or orphaned while it is open somewhere.

    `now`: nanoseconds since the epoch.
    """
    inode = get_inode(txn, number)
    if inode.nlink <= 1 and not open_somewhere:
        free(txn, number, inode)
        return
    save(txn, inode_key(number), msgspec.structs.replace(inode, nlink=max(inode.nlink - 1, 0), ctime=now))
    if inode.nlink <= 1:
        save(txn, orphan_key(number), 1)


def free(txn: Txn, number: int, inode: Inode) -> None:
    """Remove an inode with its attributes, and its content if nothing else uses that."""
    if inode.content:
        detach(txn, inode.content, inode_user(number))
    prefix = XATTR + number.to_bytes(8, "big")
    for key in [key for key, _ in txn.scan(prefix, successor(prefix))]:
        txn.delete(key)
    txn.delete(inode_key(number))
    txn.delete(orphan_key(number))
    if not inode.etag:
        txn.delete(not_published_key(number))
