"""The rows of replication: what waits for a target, what becomes of it, and what the version's own record says then.

Room: stratum/engine. May import: core, engine.buckets.
"""

from itertools import islice

import msgspec

from stratum.core.errors import NotFound
from stratum.core.inodes import get_inode
from stratum.core.objects import ObjectView
from stratum.core.records import Inode, Version
from stratum.core.replication import COMPLETED, FAILED, LATER, MARK, PENDING, Outgoing
from stratum.core.schema import (
    COUNTER,
    OUTGOING,
    inode_key,
    outgoing_key,
    outgoing_prefix,
    take_number,
    versions_prefix,
)
from stratum.core.txn import Txn, load, save, scan_records, successor
from stratum.core.views import object_at
from stratum.engine.buckets import find_bucket

VERSIONS_LOOKED_AT = 100  # for the replica of a version whose tags have changed


def source_of(txn: Txn, version: Outgoing) -> tuple[str, ObjectView | None] | None:
    """The owner of its bucket, and the version; None for a marker. None at all: it is gone."""
    try:
        owner = find_bucket(txn, version.bucket).owner
        if version.marker:
            return owner, None
        return owner, object_at(txn, version.bucket, version.key, version.version or None)
    except NotFound:
        return None


def current_of(txn: Txn, bucket: str, key: bytes) -> Inode | None:
    """The record of what a key shows."""
    try:
        return object_at(txn, bucket, key, None).inode
    except NotFound:
        return None


def settle(txn: Txn, queue: str, row: bytes, version: Outgoing, status: str) -> None:
    """Inside a change: a version is done with; its own record says so once it is at all targets, or failed at one."""
    if txn.get(row) is None:
        return
    txn.delete(row)
    save(txn, waiting_key(queue), max(0, (load(txn, waiting_key(queue), int) or 0) - 1))
    source = None if version.marker else source_of(txn, version)
    if source is None or source[1] is None:
        return
    number, inode = source[1].inode_number, source[1].inode
    if status == FAILED:  # and it stays due: so it never shows as completed
        due, shown = inode.replicas_due, FAILED
    else:
        due = max(0, inode.replicas_due - 1)
        shown = COMPLETED if due == 0 and inode.replication in (PENDING, FAILED) else inode.replication
    save(txn, inode_key(number), msgspec.structs.replace(inode, replication=shown, replicas_due=due))


def put_off(txn: Txn, queue: str, row: bytes, version: Outgoing) -> None:
    """Inside a change: it is tried again, behind all others that could not be read (X5)."""
    if txn.get(row) is None:
        return
    later = queue.removesuffix(LATER) + LATER
    txn.delete(row)
    save(txn, waiting_key(queue), max(0, (load(txn, waiting_key(queue), int) or 0) - 1))
    save(txn, waiting_key(later), (load(txn, waiting_key(later), int) or 0) + 1)
    save(txn, outgoing_key(later, take_number(txn, "outgoing")), version)
    source = source_of(txn, version)
    if source is not None and source[1] is not None:
        save(txn, inode_key(source[1].inode_number), msgspec.structs.replace(source[1].inode, replication=FAILED))


def is_newest(txn: Txn, version: Outgoing) -> bool:
    """Does the key still show it, or has it been taken away?"""
    source = source_of(txn, version)
    if source is None or source[1] is None:
        return True
    try:
        return object_at(txn, version.bucket, version.key).inode_number == source[1].inode_number
    except NotFound:
        return False


def replica_of(txn: Txn, bucket: str, key: bytes, mark: str) -> str | None:
    """The id of the version with that mark, among the newest of the key; None: there is none."""
    current = current_of(txn, bucket, key)
    if current is not None and current.metadata.get(MARK) == mark:
        return current.version or "null"
    prefix = versions_prefix(find_bucket(txn, bucket).root, key)
    for _, row in islice(scan_records(txn, prefix, Version), VERSIONS_LOOKED_AT):
        if row.inode and get_inode(txn, row.inode).metadata.get(MARK) == mark:
            return row.version or "null"
    return None


def queues(txn: Txn) -> list[str]:
    """The targets for which something waits: one look for each."""
    found: list[str] = []
    start = OUTGOING
    while (row := next(iter(txn.scan(start, successor(OUTGOING))), None)) is not None:
        queue = row[0][1:].partition(b"\0")[0].decode()
        found.append(queue)
        start = successor(outgoing_prefix(queue))
    return found


def waiting_key(queue: str) -> bytes:
    """Key of the counter of what waits in a queue."""
    return COUNTER + b"outgoing/" + queue.encode()
