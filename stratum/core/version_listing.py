"""One page of the versions of a bucket: current objects, older versions and delete markers in one order.

Room: stratum/core. May import: core.{inodes, key_walk, listing, namespace, objects, records, schema, txn,
versions, views}.

Two ordered sources are merged: the walk of the tree (current objects) and the rows of core.versions. Of one key the
current object comes first. As in core.listing, what lies under a common prefix is not read.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from stratum.core.inodes import get_inode
from stratum.core.key_walk import scan_keys
from stratum.core.listing import after_prefix, common_prefix
from stratum.core.namespace import resolve
from stratum.core.objects import ObjectView, VersionPage, VersionQuery, VersionView
from stratum.core.records import Bucket, Version, decode
from stratum.core.schema import VERSION, fold, null_version_key, unfold, version_key
from stratum.core.txn import Txn, load, successor
from stratum.core.versions import NULL, is_version_id, newest_row, row_sequence, sequence_of
from stratum.core.views import row_view, view_of

NEWEST = 2**64  # above every sequence

Row = tuple[bytes, int, Version]
"""Key, sequence and row of a version that is no current object."""


@dataclass(frozen=True, slots=True)
class _Start:
    """Where a page begins: at `key`, there with versions below the sequence `below`. `current` False: the current
    object of that key was shown already; else it is shown if it is below, too."""

    key: bytes
    below: int = NEWEST
    current: bool = True


def version_page(txn: Txn, name: str, bucket: Bucket, query: VersionQuery) -> VersionPage:
    """Return the first `query.limit` versions and common prefixes behind the markers. Raises CorruptRecord."""
    versions: list[VersionView] = []
    prefixes: list[bytes] = []
    last: tuple[bytes, str] | None = None
    start = _first(txn, bucket.root, query)
    while start is not None and query.limit > 0:
        at, start = start, None
        for view in _merged(txn, name, bucket, query.prefix, at):
            if len(versions) + len(prefixes) == query.limit:
                assert last is not None, "a full page has a last version"
                return VersionPage(
                    versions=tuple(versions), common_prefixes=tuple(prefixes), next_key=last[0], next_version=last[1]
                )
            group = common_prefix(view.key, query.prefix, query.delimiter)
            if group is not None:
                prefixes.append(group)
                last, following = (group, ""), after_prefix(group)
                start = None if following is None else _Start(following)
                break
            versions.append(view)
            last = view.key, marker_of(view)
    return VersionPage(versions=tuple(versions), common_prefixes=tuple(prefixes))


def marker_of(view: VersionView) -> str:
    """The marker from which the next page goes on. Of a null version it tells the sequence, so that the page can be
    found although the version was deleted meanwhile."""
    return f"{NULL}-{view.sequence:x}" if view.version == NULL else view.version


def is_marker(text: str) -> bool:
    """Can this be the marker of a page, ours or the id of a version?"""
    return is_version_id(text) or _sequence_of_null(text) is not None


def _sequence_of_null(marker: str) -> int | None:
    digits = marker.removeprefix(f"{NULL}-") if marker.startswith(f"{NULL}-") else ""
    return int(digits, 16) if 0 < len(digits) <= 16 and set(digits) <= set("0123456789abcdef") else None


def _first(txn: Txn, root: int, query: VersionQuery) -> _Start | None:
    marker = query.key_marker
    if marker < query.prefix or not marker:
        return _Start(query.prefix)
    if not marker.startswith(query.prefix):
        return None
    group = common_prefix(marker, query.prefix, query.delimiter)
    if group is not None:
        following = after_prefix(group)
        return None if following is None else _Start(following)
    below = _sequence(txn, root, marker, query.version_marker)
    if below is None:
        return _Start(marker + b"\0")
    entry = resolve(txn, root, marker)
    if entry is not None and get_inode(txn, entry.inode).sequence == below:
        return _Start(marker, current=False)  # the current object comes before every row, whatever its sequence
    return _Start(marker, below)


def _sequence(txn: Txn, root: int, key: bytes, version: str) -> int | None:
    """The sequence of a version marker; None: all versions of the key are behind us."""
    if version == NULL:
        return load(txn, null_version_key(root, key), int)
    of_null = _sequence_of_null(version)
    return sequence_of(version) if of_null is None else of_null


def _merged(txn: Txn, name: str, bucket: Bucket, prefix: bytes, start: _Start) -> Iterator[VersionView]:
    rows = _rows(txn, bucket.root, prefix, start)
    row = next(rows, None)
    for key, entry in scan_keys(txn, bucket.root, prefix=prefix, start=start.key):
        view = view_of(txn, name, key, entry, versioned=bool(bucket.versioning))
        if view is None:
            continue
        while row is not None and row[0] < key:
            yield _row_version(txn, name, bucket.root, row)
            row = next(rows, None)
        if _is_due(view, start):
            yield _current_version(view)
        while row is not None and row[0] == key:
            yield _row_version(txn, name, bucket.root, row, current=True)
            row = next(rows, None)
    while row is not None:
        yield _row_version(txn, name, bucket.root, row)
        row = next(rows, None)


def _is_due(view: ObjectView, start: _Start) -> bool:
    return view.key != start.key or (start.current and view.inode.sequence < start.below)


def _current_version(view: ObjectView) -> VersionView:
    inode = view.inode
    return VersionView(
        key=view.key,
        version=inode.version or NULL,
        latest=True,
        modified=inode.mtime,
        owner=inode.owner,
        view=view,
        sequence=inode.sequence,
    )


def _row_version(txn: Txn, name: str, root: int, row: Row, *, current: bool = False) -> VersionView:
    """`current`: the key has a current object. Without one its newest row is the latest version, if it is a delete
    marker: what a renamed directory left behind has no latest."""
    key, sequence, version = row
    newest = None if current or version.inode else newest_row(txn, root, key)
    latest = newest is not None and newest[0] == sequence
    return VersionView(
        key=key,
        version=version.version or NULL,
        latest=latest,
        modified=version.modified,
        owner=version.owner,
        view=row_view(txn, name, key, version) if version.inode else None,
        sequence=sequence,
    )


def _rows(txn: Txn, root: int, prefix: bytes, start: _Start) -> Iterator[Row]:
    table = VERSION + root.to_bytes(8, "big")
    end = successor(table + fold(prefix)[:-2])
    if start.below == 0:
        begin = table + fold(start.key + b"\0")
    else:
        begin = version_key(root, start.key, min(start.below - 1, NEWEST - 1))
    for row_key, raw in txn.scan(begin, end):
        yield unfold(row_key[len(table) :]), row_sequence(row_key), decode(row_key, raw, Version)
