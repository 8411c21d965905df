"""A look at one key at its due time: what lifecycle rules ask of its versions now is done, in one change.

Room: stratum/engine. May import: core, engine.consequences.

Invariants
    E1  Everything is judged inside the change that acts, by the rules and versions of that moment. So a look can be cut
        anywhere and taken again, and one that comes too late or twice does nothing wrong.
    E2  What object lock holds stays (core/locks.py), whoever asks.
    E3  A look is short: so many versions at most. Of a key with more, the next look goes on where this one ended.
    E4  Where versioning is, the current version expires by a delete marker: nothing is lost that can be had back.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice

import msgspec

from stratum.core.directories import Change
from stratum.core.errors import Locked
from stratum.core.inodes import get_inode
from stratum.core.lifecycle import LifecycleRules
from stratum.core.lifecycle_due import (
    Due,
    Older,
    born,
    depth,
    earliest,
    expiry,
    marker_expiry,
    next_boundary,
    older_expiry,
    transitions,
)
from stratum.core.locks import check_deletable
from stratum.core.namespace import resolve
from stratum.core.objects import ObjectView
from stratum.core.records import Inode, Kind, Version, decode
from stratum.core.schema import inode_key, version_key, versions_prefix
from stratum.core.txn import Txn, save, successor
from stratum.core.versions import NULL, Place, Removed, mark_deleted, remove_version, row_sequence
from stratum.core.views import row_view, view_of
from stratum.engine.consequences import Consequences

VERSIONS_AT_ONCE = 64

EXPIRED, MARKED = "LifecycleExpiration:Delete", "LifecycleExpiration:DeleteMarkerCreated"
MOVED = "LifecycleTransition"
PREFIX = "LifecycleExpiration:"


@dataclass(slots=True)
class Look:
    """One look: what it works on, and what came of it. `again`: when the key is due next; `rest`: goes on at once."""

    txn: Txn
    bucket: str
    place: Place
    rules: LifecycleRules
    day: int
    consequences: Consequences
    classes: Collection[str] = ()  # that stand for a tier
    changes: list[Change] = field(default_factory=list)
    expired: int = 0
    moved: int = 0
    again: int | None = None
    rest: Due | None = None

    @property
    def now(self) -> int:
        """The moment of the look, ns."""
        return self.place.maker.now


def look_at(look: Look, due: Due) -> None:
    """Do what is due to the key of `due`."""
    current = _current(look) if not due.after else None
    top = current is not None or bool(due.after)
    if current is not None and _expire_current(look, current):
        return
    if current is not None:
        _move_down(look, current, born(current.inode), None)
    rows = list(islice(_rows(look, due.after), VERSIONS_AT_ONCE + 1))
    newer, since = due.newer, due.since or (0 if current is None else born(current.inode))
    for at, (_, row) in enumerate(rows[:VERSIONS_AT_ONCE]):
        if at == 0 and not top and not row.inode:  # a delete marker is the current version
            if len(rows) == 1:
                _expire_marker(look, row)
        elif _expire_older(look, row, newer, row.since or since or row.modified):
            since = row.modified
            continue
        else:
            newer += 1
        since = row.modified
    if len(rows) > VERSIONS_AT_ONCE:
        last = rows[VERSIONS_AT_ONCE - 1][0]
        look.rest = Due(due.bucket, due.key, after=last, newer=newer, since=since)


def _current(look: Look) -> ObjectView | None:
    """The current object, unless it is a directory made by mkdir: that never expires."""
    entry = resolve(look.txn, look.place.root, look.place.key)
    if entry is None or entry.kind is Kind.DIRECTORY:
        return None
    return view_of(look.txn, look.bucket, look.place.key, entry)


def _rows(look: Look, after: int) -> Iterator[tuple[int, Version]]:
    """(sequence, version) of the rows of the key below the sequence `after`; 0: all."""
    prefix = versions_prefix(look.place.root, look.place.key)
    start = version_key(look.place.root, look.place.key, after) + b"\0" if after else prefix
    for row, raw in look.txn.scan(start, successor(prefix)):
        yield row_sequence(row), decode(row, raw, Version)


def _due(look: Look, when: int | None) -> bool:
    """Has it come? If not, the key is due again then."""
    if when is None or when <= look.now:
        return when is not None
    look.again = earliest(look.again, when)
    return False


def _expire_current(look: Look, current: ObjectView) -> bool:
    found = expiry(look.rules, look.place.key, current.inode, look.day)
    if not _due(look, found[0] if found else None):
        return False
    removed = mark_deleted(look.txn, look.place, look.place.bucket.owner)
    _tell(look, removed, MARKED if removed.marker else EXPIRED)
    return True


def _expire_marker(look: Look, row: Version) -> None:
    """Of a delete marker with nothing below it."""
    if _due(look, marker_expiry(look.rules, look.place.key, row.modified, look.day)):
        _remove(look, row)


def _expire_older(look: Look, row: Version, newer: int, since: int) -> bool:
    inode: Inode | None = get_inode(look.txn, row.inode) if row.inode else None
    older = Older(
        key=look.place.key,
        tags=inode.tags if inode is not None else {},
        size=inode.size if inode is not None else 0,
        marker=inode is None,
        since=since,
        newer=newer,
    )
    if _due(look, older_expiry(look.rules, older, look.day)) and _remove(look, row):
        return True
    if inode is not None:
        _move_down(look, row_view(look.txn, look.bucket, look.place.key, row), since, newer)
    return False


def _move_down(look: Look, view: ObjectView, since: int, newer: int | None) -> None:
    """Give a version the class that is due to it. Its tier follows (engine/tiers.py), and then what S3 shows."""
    found = transitions(look.rules, view.key, view.inode, since=since, newer=newer, classes=look.classes, day=look.day)
    look.again = earliest(look.again, *(when for when, _ in found if when > look.now))
    wanted = max((name for when, name in found if when <= look.now), key=depth, default="")
    if view.inode.kind is Kind.OBJECT and depth(wanted) > depth(view.inode.storage_class):
        inode = msgspec.structs.replace(get_inode(look.txn, view.inode_number), storage_class=wanted)
        save(look.txn, inode_key(view.inode_number), inode)
        moved = replace(view, inode=inode, versioned=bool(look.place.bucket.versioning))
        look.consequences.written(look.txn, look.bucket, look.place.bucket, moved, MOVED, "")
        look.moved += 1


def _remove(look: Look, row: Version) -> bool:
    """Take a version away for good; False: object lock holds it (E2)."""
    may = partial(check_deletable, now=look.now, bypass_governance=False)
    try:
        removed = remove_version(look.txn, look.place, row.version or NULL, may)
    except Locked:
        look.again = earliest(look.again, next_boundary(look.now, look.day))
        return False
    _tell(look, removed, EXPIRED)
    return True


def _tell(look: Look, removed: Removed, event: str) -> None:
    look.changes.extend(removed.changes)
    look.expired += 1
    place = look.place
    look.consequences.removed(
        look.txn, look.bucket, place.bucket, place.key, removed.version, removed.sequence, event, ""
    )
    if place.bucket.versioning:  # what is left may have become the last of its key
        look.again = earliest(look.again, next_boundary(look.now, look.day))
