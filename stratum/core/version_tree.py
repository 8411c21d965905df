"""The earlier versions of a bucket's keys as a tree of names, for the mount's `.versions`.

Room: stratum/core. May import: core.{records, schema, txn, versions}.

The names below a prefix are those of the keys that have versions, split at their slashes as in core.namespace: `b/` for
what lies deeper. Names of keys that read as deleted are among them; a delete marker is no version to be read.
"""

from collections.abc import Iterator
from itertools import islice

from stratum.core.records import Version
from stratum.core.schema import VERSION, unfold, versions_prefix
from stratum.core.txn import Txn, successor
from stratum.core.versions import NULL, find_row, rows, sequence_of

_NAME_BYTES = 9  # of a row's key before the folded key


def names_below(txn: Txn, root: int, prefix: bytes, after: bytes | None = None) -> Iterator[bytes]:
    """Yield the stored names, above `after`, below `prefix` (empty, or ending in a slash) that lead to versions.

    What lies deeper is skipped over: a name costs one look, whatever is below it.
    """
    every = _opening(root, prefix)
    start = every if after is None else _behind(root, prefix, after)
    while True:
        row_key = next((key for key, _ in islice(txn.scan(start, successor(every)), 1)), None)
        if row_key is None:
            return
        rest = unfold(row_key[_NAME_BYTES:])[len(prefix) :]
        name = rest[: rest.index(b"/") + 1] if b"/" in rest else rest
        if name.endswith(b"/") or next(versions_of(txn, root, prefix + name), None) is not None:
            yield name
        start = _behind(root, prefix, name)


def is_below(txn: Txn, root: int, prefix: bytes) -> bool:
    """Is there any version of a key that begins with `prefix`?"""
    every = _opening(root, prefix)
    return next(iter(txn.scan(every, successor(every))), None) is not None


def versions_of(txn: Txn, root: int, key: bytes) -> Iterator[Version]:
    """Yield the earlier versions of a key that can be read, newest first."""
    return (row for _, row in rows(txn, root, key) if row.inode)


def find_version(txn: Txn, root: int, key: bytes, version: str) -> Version | None:
    """The earlier version of a key that S3 names so (`null` or an id), None if there is none that can be read."""
    if version != NULL and sequence_of(version) is None:
        return None
    found = find_row(txn, root, key, version)
    return found[1] if found is not None and found[1].inode else None


def _opening(root: int, prefix: bytes) -> bytes:
    """What the row keys of all keys with that prefix begin with (see schema.fold)."""
    return VERSION + root.to_bytes(8, "big") + prefix.replace(b"\0", b"\0\xff")


def _behind(root: int, prefix: bytes, name: bytes) -> bytes:
    """Above the rows of a name and of what lies below it."""
    if name.endswith(b"/"):
        return successor(_opening(root, prefix + name))
    return successor(versions_prefix(root, prefix + name))
