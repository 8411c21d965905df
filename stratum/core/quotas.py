"""What buckets and owners hold, and what they may hold: counted in the very change that writes.

Room: stratum/core. May import: core.{errors, manifest, principals, records, schema, txn}.

What counts is a function of the rows of the index alone: each version that is no directory and no delete marker is one
object of as many bytes as S3 shows, without the holes of a sparse file; each part of an upload under way is bytes; what
of the parts of a completed one is still there is taken off again (`Ended`). The row itself says in which bucket. So
`follow`, which looks at the rows that a change touched, misses nothing, whichever door the change came through; and to
count anew (engine/quotas.py) is to look at every row once.

Invariants
    Q1  The Usage of a bucket equals the sum over all inodes and parts that count in it; that of an owner the sum over
        its buckets. A bucket that is deleted takes its Usage along.
    Q2  A change that would bring a Usage above its limit, and adds to it, is refused as a whole. One that adds nothing
        never is: what is over its limit (lowered since) can still be read, deleted and replaced by less.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

from stratum.core.errors import QuotaExceeded
from stratum.core.principals import OPERATOR_ID
from stratum.core.records import Bucket, Ended, Inode, Kind, Part, Usage, decode, decode_known
from stratum.core.schema import BUCKET, ENDED, INODE, PART, bucket_usage_key, owner_usage_key
from stratum.core.txn import Txn, load, save

TABLES = BUCKET + INODE + PART + ENDED  # what `follow` wants to see

Touched = tuple[bytes, bytes | None, bytes | None]
"""A row that a change touched: its key, what was stored before, what is now (None: nothing)."""


class Amount(NamedTuple):
    """Bytes and objects; of a change, how many more."""

    bytes: int = 0
    objects: int = 0

    def plus(self, other: "Amount", sign: int = 1) -> "Amount":
        """The sum (or with `sign` -1 the difference)."""
        return Amount(self.bytes + sign * other.bytes, self.objects + sign * other.objects)


NOTHING = Amount()


def counts(key: bytes, raw: bytes | None) -> tuple[int, Amount]:
    """In which bucket (its root directory; 0: in none) a row counts, and as how much."""
    if raw is None:
        return 0, NOTHING
    if key[:1] == PART:
        part = decode(key, raw, Part)
        return part.bucket, Amount(part.size, 0)
    if key[:1] == ENDED:
        ended = decode(key, raw, Ended)
        return ended.bucket, Amount(-ended.bytes, 0)
    return counted(decode_known(key, raw, Inode))


def counted(inode: Inode) -> tuple[int, Amount]:
    """As `counts`, of an inode."""
    if inode.kind is Kind.DIRECTORY:
        return 0, NOTHING
    return inode.bucket, Amount(max(inode.size - inode.holes, 0), 1)


def follow(txn: Txn, touched: Iterable[Touched]) -> dict[int, Amount]:
    """At the end of a change: count what it did; return how much more is in which bucket (root directory).

    Raises QuotaExceeded (Q2).
    """
    more: dict[int, Amount] = {}
    owners: dict[str, Amount] = {}
    gone: list[Bucket] = []
    for key, before, now in touched:
        if key[:1] == BUCKET:
            _follow_bucket(txn, key, before, now, owners, gone)
            continue
        for raw, sign in ((before, -1), (now, 1)):
            root, amount = counts(key, raw)
            if root:
                more[root] = more.get(root, NOTHING).plus(amount, sign)
    for root, amount in more.items():
        if amount != NOTHING:
            _add_to_bucket(txn, root, amount, owners)
    for bucket in gone:
        _forget_bucket(txn, bucket, owners)
    for owner, amount in owners.items():
        if amount != NOTHING:
            _add_to_owner(txn, owner, amount)
    return more


def owner_of(bucket: Bucket) -> str:
    """For whom a bucket counts: what no user owns is the operator's."""
    return bucket.owner or OPERATOR_ID


def check_room(txn: Txn, root: int, more: Amount) -> None:
    """Raise QuotaExceeded if the bucket, or its owner, may not hold so much more (Q2)."""
    usage = load(txn, bucket_usage_key(root), Usage)
    if usage is None:
        return
    _check(_sum(usage, more), more, "bucket")
    owners = load(txn, owner_usage_key(usage.owner), Usage)
    if owners is not None:
        _check(_sum(owners, more), more, "owner of the bucket")


def room_of(txn: Txn, root: int) -> tuple[Amount, Usage] | None:
    """(what is used, the limits) of whichever leaves a bucket less bytes, it or its owner; None: neither has a limit.

    Of a limit of objects that of the same row.
    """
    usage = load(txn, bucket_usage_key(root), Usage)
    owners = None if usage is None else load(txn, owner_usage_key(usage.owner), Usage)
    limited = [row for row in (usage, owners) if row is not None and row.bytes_max is not None]
    if not limited:
        return None
    found = min(limited, key=lambda row: (row.bytes_max or 0) - row.bytes)
    return Amount(found.bytes, found.objects), found


def _follow_bucket(
    txn: Txn,
    key: bytes,
    before: bytes | None,
    now: bytes | None,
    owners: dict[str, Amount],
    gone: list[Bucket],
) -> None:
    if now is None:
        if before is not None:
            gone.append(decode(key, before, Bucket))
        return
    bucket = decode(key, now, Bucket)
    usage = load(txn, bucket_usage_key(bucket.root), Usage)
    if usage is None:
        save(txn, bucket_usage_key(bucket.root), Usage(owner=owner_of(bucket)))
    elif usage.owner != owner_of(bucket):
        held = Amount(usage.bytes, usage.objects)
        _note(owners, usage.owner, held, -1)
        _note(owners, owner_of(bucket), held)
        save(txn, bucket_usage_key(bucket.root), msgspec.structs.replace(usage, owner=owner_of(bucket)))


def _add_to_bucket(txn: Txn, root: int, more: Amount, owners: dict[str, Amount]) -> None:
    usage = load(txn, bucket_usage_key(root), Usage)
    if usage is None:  # the bucket is gone, but a file of it is still open somewhere: it counts nowhere (Q1)
        return
    usage = _sum(usage, more)
    _check(usage, more, "bucket")
    save(txn, bucket_usage_key(root), usage)
    _note(owners, usage.owner, more)


def _forget_bucket(txn: Txn, bucket: Bucket, owners: dict[str, Amount]) -> None:
    usage = load(txn, bucket_usage_key(bucket.root), Usage)
    if usage is not None:
        _note(owners, usage.owner, Amount(usage.bytes, usage.objects), -1)
        txn.delete(bucket_usage_key(bucket.root))


def _add_to_owner(txn: Txn, owner: str, more: Amount) -> None:
    usage = _sum(load(txn, owner_usage_key(owner), Usage) or Usage(), more)
    _check(usage, more, "owner of the bucket")
    save(txn, owner_usage_key(owner), usage)


def _note(amounts: dict[str, Amount], name: str, amount: Amount, sign: int = 1) -> None:
    amounts[name] = amounts.get(name, NOTHING).plus(amount, sign)


def _sum(usage: Usage, more: Amount) -> Usage:
    return msgspec.structs.replace(usage, bytes=usage.bytes + more.bytes, objects=usage.objects + more.objects)


def _check(usage: Usage, more: Amount, whose: str) -> None:
    if more.bytes > 0 and usage.bytes_max is not None and usage.bytes > usage.bytes_max:
        raise QuotaExceeded(f"the {whose} may hold {usage.bytes_max} bytes")
    if more.objects > 0 and usage.objects_max is not None and usage.objects > usage.objects_max:
        raise QuotaExceeded(f"the {whose} may hold {usage.objects_max} objects")


def differences(counted_anew: Mapping[int, Amount], stored: Mapping[int, Usage]) -> dict[int, tuple[Amount, Amount]]:
    """(as stored, as counted) of every bucket of which the two differ."""
    found = {}
    for root, usage in stored.items():
        kept, anew = Amount(usage.bytes, usage.objects), counted_anew.get(root, NOTHING)
        if kept != anew:
            found[root] = (kept, anew)
    return found
