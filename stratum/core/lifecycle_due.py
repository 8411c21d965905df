"""When lifecycle rules act, and on what: plain functions of rules, versions and time.

Room: stratum/core. May import: core.{lifecycle, records, schema, txn}. Rows: schema `d`.

Invariants
    D1  Never early: what is due after N days is due at the first day boundary that is at least N days later.
    D2  A due row is only a reminder to look at a key again. It says nothing of what to do; so a stale one does nothing,
        one too many costs a look, and a key has at most one for each day boundary.
    D3  The age of a version counts from when it came to this store, or its Last-Modified if that is later: a file that
        was copied in with an old time stamp through the mount is not old.

`day` is the length of a day in nanoseconds: 86,400 s but in tests and staging.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import msgspec
import xxhash

from stratum.core.lifecycle import ALL_128K, CLASSES, MINIMUM_BYTES, LifecycleRules, Rule, in_scope, meets
from stratum.core.records import Inode
from stratum.core.schema import due_key, id_of
from stratum.core.txn import Txn, load, save

NOW = 0  # a due time that has always come
NEVER = 2**63  # ns: in the year 2262, and beyond what a date can be told of


class Due(msgspec.Struct, frozen=True, array_like=True):
    """What to look at again. Exactly one of: a key, an upload (then `key` is its key), a whole bucket (`whole`).

    `key` of a whole bucket: what has been looked at up to there; with `upload` (`*`) it is the row of an upload, and
    all keys were looked at. `after`, `newer`, `since`: where the look at a key with very many versions goes on
    (sequence and time of the version before, how many newer ones stay); 0: at the top.
    """

    bucket: str
    key: bytes = b""
    upload: str = ""
    whole: bool = False
    after: int = 0
    newer: int = 0
    since: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Older:
    """A version that is not current, as rules see it. `since`: when it ceased to be (ns); `newer`: how many newer ones
    are not current either."""

    key: bytes
    tags: dict[str, str]
    size: int
    marker: bool
    since: int
    newer: int


def round_up(time_ns: int, day: int) -> int:
    """The first day boundary at or after a time (D1)."""
    return -(-time_ns // day) * day


def next_boundary(now: int, day: int) -> int:
    """The first day boundary after now."""
    return (now // day + 1) * day


def born(inode: Inode) -> int:
    """When a version came to be, ns (D3)."""
    return max(inode.btime, inode.mtime)


# --- what is due when -----------------------------------------------------------------------------------------


def expiry(rules: LifecycleRules, key: bytes, inode: Inode, day: int) -> tuple[int, Rule] | None:
    """(when, by which rule) a current object expires; None: never. Of several rules the earliest counts."""
    found = [
        (_expiry(rule, born(inode), day), rule)
        for rule in rules.rules
        if rule.expires and in_scope(rule, key) and meets(rule, inode.tags, inode.size)
    ]
    return _first(found)


def _expiry(rule: Rule, since: int, day: int) -> int:
    """When what was born at `since` expires by a rule that has days or a date."""
    times = [] if rule.days is None else [round_up(since + rule.days * day, day)]
    return min([*times, *([] if rule.date is None else [max(rule.date, round_up(since, day))])])


def marker_expiry(rules: LifecycleRules, key: bytes, made: int, day: int) -> int | None:
    """When a delete marker goes that is all that is left of its key; None: never.

    A rule with days removes such markers too, once they are that old. One that looks at tags or sizes means no marker.
    """
    times = [
        round_up(made + (rule.days or 0) * day, day)
        for rule in rules.rules
        if (rule.marker or rule.days is not None) and in_scope(rule, key) and meets_marker(rule)
    ]
    return earliest(*times)


def meets_marker(rule: Rule) -> bool:
    """Can the filter mean a delete marker, which has neither tags nor size?"""
    return not rule.tags and rule.larger is None and rule.smaller is None


def older_expiry(rules: LifecycleRules, older: Older, day: int) -> int | None:
    """When a version that is not current goes; None: not as things are."""
    times = [
        round_up(older.since + (rule.noncurrent_days or 0) * day, day)
        for rule in rules.rules
        if (rule.noncurrent_days is not None or rule.newer is not None)
        and in_scope(rule, older.key)
        and (meets_marker(rule) if older.marker else meets(rule, older.tags, older.size))
        and older.newer >= (rule.newer or 0)
    ]
    return earliest(*times)


def transitions(
    rules: LifecycleRules,
    key: bytes,
    inode: Inode,
    *,
    since: int,
    newer: int | None,
    classes: Collection[str],
    day: int,
) -> list[tuple[int, str]]:
    """(when, storage class) of every transition of a version, in order, to one of `classes`.

    `since`: when it was born or ceased to be current; `newer`: how many newer ones are not current either, None: it is
    current. Small objects stay where they are, unless the rule itself speaks of sizes.
    """
    found = []
    for rule in rules.rules:
        sized = rule.larger is not None or rule.smaller is not None
        small = inode.size < MINIMUM_BYTES and not sized and rules.minimum_size == ALL_128K
        if small or not in_scope(rule, key) or not meets(rule, inode.tags, inode.size):
            continue
        for each in rule.transitions if newer is None else rule.noncurrent_transitions:
            if each.storage_class in classes and (newer or 0) >= (each.newer or 0):
                days = since if each.days is None else since + each.days * day
                found.append((max(each.date or 0, round_up(days, day)), each.storage_class))
    return sorted((each for each in found if each[0] < NEVER), key=lambda each: (each[0], depth(each[1])))


def depth(storage_class: str) -> int:
    """How far down a class is; STANDARD is at the top."""
    return CLASSES.index(storage_class) + 1 if storage_class in CLASSES else 0


def abort_due(rules: LifecycleRules, key: bytes, created: int, day: int) -> tuple[int, Rule] | None:
    """(when, by which rule) an upload under way is aborted; None: never."""
    found = [
        (round_up(created + rule.abort_days * day, day), rule)
        for rule in rules.rules
        if rule.abort_days is not None and in_scope(rule, key)
    ]
    return _first(found)


def _first(found: list[tuple[int, Rule]]) -> tuple[int, Rule] | None:
    first = min(found, key=lambda each: each[0], default=None)
    return first if first is not None and first[0] < NEVER else None


# --- when to look again ---------------------------------------------------------------------------------------


def look_after_write(
    rules: LifecycleRules,
    key: bytes,
    inode: Inode,
    *,
    versioned: bool,
    now: int,
    day: int,
    classes: Collection[str] = (),
) -> int | None:
    """When to look at a key that was just written; None: no rule is about it.

    Without reading its other versions: rather too early than too late (D2).
    """
    down = transitions(rules, key, inode, since=born(inode), newer=None, classes=classes, day=day)
    first = earliest(*_after_write(rules, key, inode, versioned, now, day), *(when for when, _ in down[:1]))
    return None if first is None else max(first, next_boundary(now, day))


def _after_write(rules: LifecycleRules, key: bytes, inode: Inode, versioned: bool, now: int, day: int) -> Iterator[int]:
    current = expiry(rules, key, inode, day)
    if current is not None:
        yield current[0]
    for rule in rules.rules if versioned else ():
        if in_scope(rule, key) and rule.newer is not None:
            yield now  # one more version may be one too many
        elif in_scope(rule, key) and rule.noncurrent_days is not None:
            yield round_up(now + rule.noncurrent_days * day, day)
        if in_scope(rule, key):
            yield from (round_up(now + (each.days or 0) * day, day) for each in rule.noncurrent_transitions)


def look_after_change(rules: LifecycleRules, key: bytes, now: int, day: int) -> int | None:
    """When to look at a key of which a version went, or got other tags or another lock; None: no rule is about it."""
    return next_boundary(now, day) if any(in_scope(rule, key) for rule in rules.rules) else None


def remind(txn: Txn, time_ns: int, due: Due) -> None:
    """Inside a change: write the due row, unless it is there (D2)."""
    number = xxhash.xxh3_64_intdigest(msgspec.msgpack.encode(due))
    while True:
        row = due_key(time_ns, number)
        found = load(txn, row, Due)
        if found is None:
            save(txn, row, due)
        if found is None or found == due:
            return
        number = (number + 1) % 2**64  # two keys with one number: never seen, never lost


def remind_of_bucket(txn: Txn, bucket: str, up_to: bytes = b"", *, uploads: bool = False) -> None:
    """Inside a change: write that all of a bucket behind the key `up_to` is to be looked at, now.

    `uploads`: its keys were; its uploads are next, behind the row `up_to`.
    """
    number = xxhash.xxh3_64_intdigest(bucket.encode())
    while True:
        row = due_key(NOW, number)
        found = load(txn, row, Due)
        if found is None or (found.whole and found.bucket == bucket):
            save(txn, row, Due(bucket, key=up_to, upload="*" if uploads else "", whole=True))
            return
        number = (number + 1) % 2**64


def time_of(row: bytes) -> int:
    """The due time of a due row's key, ns."""
    return id_of(row)


def earliest(*times: int | None) -> int | None:
    """The smallest of what is not None and will ever come."""
    return min((each for each in times if each is not None and each < NEVER), default=None)
