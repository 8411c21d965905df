"""Quotas of buckets and of owners: set, shown, kept in every change, and counted anew.

Room: stratum/engine. May import: core, store.

The counting itself is core/quotas.py, at the end of every change of the index. Here is what surrounds it: limits, the
first count of a store from before there were quotas, and the count that proves the counters right.

Invariants
    U1  A count anew goes through all rows slice by slice while the store is in use. What changes behind it is followed
        in memory, what changes ahead of it is still to be seen: so at its end it equals one look at one instant.
    U2  Until the first count of an old store has ended, `complete` is False: limits hold for what is counted so far.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice

import msgspec
import trio

from stratum.core.errors import InvalidArgument, NoSuchInode, NoSuchUser, StratumError
from stratum.core.inodes import get_inode
from stratum.core.namespace import path_of
from stratum.core.principals import OPERATOR_ID
from stratum.core.quotas import NOTHING, TABLES, Amount, Touched, counts, differences, follow, owner_of
from stratum.core.records import Bucket, Inode, Kind, Part, Upload, Usage, Version, decode
from stratum.core.schema import (
    BUCKET,
    BUCKET_USAGE,
    ENDED,
    INODE,
    OWNER_USAGE,
    PART,
    USAGE,
    VERSION,
    bucket_key,
    bucket_usage_key,
    id_of,
    inode_key,
    owner_usage_key,
    upload_key,
)
from stratum.core.txn import Txn, load, save, scan_records, successor
from stratum.engine.buckets import find_bucket
from stratum.engine.users import find_user
from stratum.store.meta import Meta

log = logging.getLogger(__name__)

SLICE = 500  # rows in one look: under 5 ms of the event loop
AT_ONCE = 32  # rows in one change, for the same reason
RETRY_S = 5.0
UPLOAD_ID_AT, NUMBER_BYTES = 1, 4  # in the key of a part

COUNTED = USAGE + b"c"  # this row is there once everything that was there before quotas has been counted


@dataclass(frozen=True, slots=True)
class UsageRow:
    """What a bucket or an owner holds, and the most it may; None: no limit. `owner`: canonical id."""

    name: str  # of the bucket; of an owner its canonical id
    owner: str
    bytes: int
    objects: int
    bytes_max: int | None
    objects_max: int | None


class Quotas:
    """The counters and limits of a store."""

    def __init__(self, meta: Meta) -> None:
        self._meta = meta
        self._counting: _Count | None = None
        self._lock = trio.Lock()  # of whoever counts
        self.limited = False  # is there any limit at all?
        meta.follow(TABLES, self._follow)

    @property
    def complete(self) -> bool:
        """Has everything been counted (U2)?"""
        return self._meta.read(lambda txn: txn.get(COUNTED) is not None)

    # --- limits ---------------------------------------------------------------------------------------------

    async def set(
        self, *, bucket: str = "", user: str = "", bytes_max: int | None = None, objects_max: int | None = None
    ) -> UsageRow:
        """Limit what a bucket, or all buckets of a user, may hold; None: no limit. What is there already stays.

        Raises NoSuchBucket, NoSuchUser, InvalidArgument.
        """
        if bool(bucket) == bool(user):
            raise InvalidArgument("a quota is of a bucket or of a user")
        if any(limit is not None and not 0 <= limit < 2**63 for limit in (bytes_max, objects_max)):
            raise InvalidArgument("a limit is a number of bytes or objects, 0 or more")

        def change(txn: Txn) -> UsageRow:
            key = _key_of_bucket(txn, bucket) if bucket else _key_of_owner(txn, user)
            usage = load(txn, key, Usage) or Usage()
            usage = msgspec.structs.replace(usage, bytes_max=bytes_max, objects_max=objects_max)
            save(txn, key, usage)
            return _row(bucket or user, usage, user)

        made = await self._meta.write(change)
        self._look_for_limits()
        return made

    def buckets(self) -> list[UsageRow]:
        """Every bucket, by name."""
        return self._meta.read(lambda txn: list(_buckets(txn)))

    def owners(self) -> list[UsageRow]:
        """Every owner of buckets, and who has a quota without owning any, by id."""
        rows = self._meta.read(lambda txn: list(scan_records(txn, OWNER_USAGE, Usage)))
        kept = [(key.decode(), usage) for key, usage in rows]
        return [_row(owner, usage, owner) for owner, usage in kept if usage != Usage()]

    def bucket(self, name: str) -> UsageRow:
        """One bucket. Raises NoSuchBucket."""
        return self._meta.read(lambda txn: _row(name, _usage(txn, find_bucket(txn, name))))

    def owner(self, user: str) -> UsageRow:
        """One owner; of one who has nothing, zeros."""
        return self._meta.read(lambda txn: _row(user, load(txn, owner_usage_key(user), Usage) or Usage(), user))

    # --- counting -------------------------------------------------------------------------------------------

    def _follow(self, txn: Txn, touched: list[Touched]) -> None:
        if touched:
            follow(txn, touched)
            if self._counting is not None:
                self._counting.follow(touched)

    async def start(self) -> None:
        """Give every bucket that has none a counter. Raises ReadOnly."""
        self._look_for_limits()
        if self._meta.read(_without_counter):
            await self._meta.write(_make_counters)

    async def run(self) -> None:
        """Count what was there before there were quotas, once."""
        while True:
            try:
                if not self.complete:
                    await self._first_count()
                return
            except StratumError as error:
                log.warning("counting for quotas goes on later: %s", error)
                await trio.sleep(RETRY_S)

    async def _first_count(self) -> None:
        await self.start()
        await self._attribute_all()
        await self.count(repair=True)
        await self._meta.write(lambda txn: save(txn, COUNTED, 1))

    async def count(self, *, repair: bool) -> dict[str, tuple[Amount, Amount]]:
        """Count everything anew (U1); return {bucket: (as stored, as counted)} where that differs.

        `repair`: then the counters are set to what was counted. Raises CorruptRecord, ReadOnly.
        """
        async with self._lock:
            count = self._counting = _Count()
            try:
                while not self._meta.read(count.step):
                    await trio.lowlevel.checkpoint()
                if repair:
                    return await self._meta.write(partial(_correct, count.amounts))
                return self._meta.read(partial(_differences, count.amounts))
            finally:
                self._counting = None

    async def _attribute_all(self) -> None:
        """Tell every row in which bucket it counts."""
        for table, look in ((VERSION, _of_version), (INODE, _of_inode), (PART, _of_part)):
            after = table
            while True:
                found, after = self._meta.read(partial(_look, after, table, look))
                for first in range(0, len(found), AT_ONCE):
                    await self._meta.room()
                    self._meta.apply(partial(_attribute, found[first : first + AT_ONCE]))
                if not after:
                    break
                await trio.lowlevel.checkpoint()

    def _look_for_limits(self) -> None:
        rows = self._meta.read(
            lambda txn: any(
                usage.bytes_max is not None or usage.objects_max is not None
                for table in (BUCKET_USAGE, OWNER_USAGE)
                for _, usage in scan_records(txn, table, Usage)
            )
        )
        self.limited = rows


class _Count:
    """One walk through everything that counts. `amounts`: by root directory of the bucket."""

    def __init__(self) -> None:
        self.amounts: dict[int, Amount] = {}
        self._after = ENDED  # everything below this key has been seen, of the tables ENDED, INODE and PART

    def step(self, txn: Txn) -> bool:
        """Look at the next slice; True: that was the last."""
        table = self._after[:1]
        rows = list(islice(txn.scan(self._after, successor(table)), SLICE))
        for key, raw in rows:
            self._add(key, raw, 1)
        if len(rows) == SLICE:
            self._after = rows[-1][0] + b"\0"
            return False
        self._after = {ENDED: INODE, INODE: PART, PART: successor(PART)}[table]
        return table == PART

    def follow(self, touched: list[Touched]) -> None:
        """A change has ended: what it did to rows that were seen already (U1)."""
        for key, before, now in touched:
            if key[:1] != BUCKET and key < self._after:
                self._add(key, before, -1)
                self._add(key, now, 1)

    def _add(self, key: bytes, raw: bytes | None, sign: int) -> None:
        root, amount = counts(key, raw)
        if root:
            self.amounts[root] = self.amounts.get(root, NOTHING).plus(amount, sign)


# --- of the index -----------------------------------------------------------------------------------------------


def _key_of_bucket(txn: Txn, name: str) -> bytes:
    return bucket_usage_key(find_bucket(txn, name).root)


def _key_of_owner(txn: Txn, user: str) -> bytes:
    found = None if user == OPERATOR_ID else find_user(txn, user)
    if found is None and user != OPERATOR_ID:
        raise NoSuchUser(user)
    if found is not None and found.account not in ("", user):
        raise InvalidArgument(f"the buckets of {user} belong to the account of {found.account}: limit that one")
    return owner_usage_key(user)


def _row(name: str, usage: Usage, owner: str = "") -> UsageRow:
    return UsageRow(name, owner or usage.owner, usage.bytes, usage.objects, usage.bytes_max, usage.objects_max)


def _usage(txn: Txn, bucket: Bucket) -> Usage:
    return load(txn, bucket_usage_key(bucket.root), Usage) or Usage(owner=owner_of(bucket))


def _buckets(txn: Txn) -> Iterator[UsageRow]:
    for name, bucket in scan_records(txn, BUCKET, Bucket):
        yield _row(name.decode(), _usage(txn, bucket))


def _without_counter(txn: Txn) -> bool:
    buckets = scan_records(txn, BUCKET, Bucket)
    return any(txn.get(bucket_usage_key(bucket.root)) is None for _, bucket in buckets)


def _make_counters(txn: Txn) -> None:
    for _, bucket in scan_records(txn, BUCKET, Bucket):
        if txn.get(bucket_usage_key(bucket.root)) is None:
            save(txn, bucket_usage_key(bucket.root), Usage(owner=owner_of(bucket)))


def _differences(amounts: dict[int, Amount], txn: Txn) -> dict[str, tuple[Amount, Amount]]:
    buckets = {bucket.root: name.decode() for name, bucket in scan_records(txn, BUCKET, Bucket)}
    stored = {id_of(key, 0): usage for key, usage in scan_records(txn, BUCKET_USAGE, Usage)}
    found = differences(amounts, stored)
    return {buckets.get(root, f"directory {root}"): both for root, both in found.items()}


def _correct(amounts: dict[int, Amount], txn: Txn) -> dict[str, tuple[Amount, Amount]]:
    """Set all counters to what was counted; return what was wrong."""
    wrong = _differences(amounts, txn)
    owners: dict[str, Amount] = {key.decode(): NOTHING for key, _ in scan_records(txn, OWNER_USAGE, Usage)}
    for _, bucket in scan_records(txn, BUCKET, Bucket):
        usage, amount = _usage(txn, bucket), amounts.get(bucket.root, NOTHING)
        owners[usage.owner] = owners.get(usage.owner, NOTHING).plus(amount)
        _store(txn, bucket_usage_key(bucket.root), usage, amount)
    for owner, amount in owners.items():
        _store(txn, owner_usage_key(owner), load(txn, owner_usage_key(owner), Usage) or Usage(), amount)
    return wrong


def _store(txn: Txn, key: bytes, usage: Usage, amount: Amount) -> None:
    if Amount(usage.bytes, usage.objects) != amount or txn.get(key) is None:
        save(txn, key, msgspec.structs.replace(usage, bytes=amount.bytes, objects=amount.objects))


# --- of stores from before there were quotas ----------------------------------------------------------------------

Found = tuple[bytes, int]
"""The key of an inode or part that does not say yet in which bucket it counts, and that bucket's root directory."""


def _look(
    after: bytes, table: bytes, look: Callable[[Txn, bytes, bytes], Found | None], txn: Txn
) -> tuple[list[Found], bytes]:
    """What is to be told in the next slice of a table, and where the one after begins (empty: there is none)."""
    rows = list(islice(txn.scan(after, successor(table)), SLICE))
    found = [each for key, raw in rows if (each := look(txn, key, raw)) is not None]
    return found, rows[-1][0] + b"\0" if len(rows) == SLICE else b""


def _of_version(txn: Txn, key: bytes, raw: bytes) -> Found | None:
    number = decode(key, raw, Version).inode
    if not number or get_inode(txn, number).bucket:
        return None
    return inode_key(number), id_of(key)


def _of_inode(txn: Txn, key: bytes, raw: bytes) -> Found | None:
    inode = decode(key, raw, Inode)
    if inode.bucket or inode.kind is Kind.DIRECTORY or not inode.parent:
        return None
    try:
        return key, path_of(txn, inode.parent)[0]
    except NoSuchInode:  # an orphan below a directory that is gone: it counts nowhere, and goes with its last handle
        return None


def _of_part(txn: Txn, key: bytes, raw: bytes) -> Found | None:
    if decode(key, raw, Part).bucket:
        return None
    upload = load(txn, upload_key(key[UPLOAD_ID_AT:-NUMBER_BYTES].decode()), Upload)
    bucket = None if upload is None else load(txn, bucket_key(upload.bucket), Bucket)
    return None if bucket is None else (key, bucket.root)


def _attribute(found: list[Found], txn: Txn) -> None:
    for key, root in found:
        kind: type[Inode] | type[Part] = Part if key[:1] == PART else Inode
        record = load(txn, key, kind)
        if record is not None and not record.bucket:
            save(txn, key, msgspec.structs.replace(record, bucket=root))
