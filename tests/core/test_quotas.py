"""Counting at the end of a change: whatever rows it touched, counters are the sum of all rows; and limits hold."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum.core.errors import QuotaExceeded
from stratum.core.quotas import Amount, check_room, follow, room_of
from stratum.core.records import Bucket, Inode, Kind, Part, Usage
from stratum.core.schema import (
    bucket_key,
    bucket_usage_key,
    inode_key,
    owner_usage_key,
    part_key,
)
from stratum.core.txn import load, save
from tests.fakes.txn import MemoryTxn

ROOTS = {"one": (101, "alice"), "two": (102, "alice"), "three": (103, "bob")}


class Index:
    """Rows, and `follow` after each change of them."""

    def __init__(self):
        self.txn = MemoryTxn()
        self.rows = {}
        for name, (root, owner) in ROOTS.items():
            self.set(bucket_key(name), Bucket(root=root, created=0, owner=owner))

    def set(self, *changes):
        """(key, record or None), alternating."""

        def change(txn):
            touched = []
            for key, record in zip(changes[::2], changes[1::2], strict=True):
                before = txn.get(key)
                txn.delete(key) if record is None else save(txn, key, record)
                touched.append((key, before, txn.get(key)))
            follow(txn, touched)

        self.txn.attempt(change)
        for key, record in zip(changes[::2], changes[1::2], strict=True):
            self.rows[key] = record

    def usage(self, name):
        return load(self.txn, bucket_usage_key(ROOTS[name][0]), Usage)

    def owner(self, name):
        return load(self.txn, owner_usage_key(name), Usage) or Usage()

    def limit(self, key, **limits):
        save(self.txn, key, msgspec.structs.replace(load(self.txn, key, Usage) or Usage(), **limits))


def an_inode(root, size, holes=0, kind=Kind.OBJECT):
    zero = dict.fromkeys(("uid", "gid", "atime", "mtime", "ctime", "btime"), 0)
    return Inode(kind=kind, mode=0, nlink=1, size=size, holes=holes, bucket=root, **zero)


roots = st.sampled_from([root for root, _ in ROOTS.values()] + [0, 999])
inodes = st.builds(an_inode, roots, st.integers(0, 50), st.integers(0, 10), st.sampled_from(list(Kind)))
parts = st.builds(
    lambda root, size: Part(content=0, size=size, etag="", modified=0, bucket=root), roots, st.integers(0, 50)
)
rows = st.one_of(
    st.tuples(st.builds(inode_key, st.integers(1, 4)), st.none() | inodes),
    st.tuples(st.builds(part_key, st.just("u"), st.integers(1, 3)), st.none() | parts),
)
owners = st.sampled_from(["alice", "bob", ""])
changes = st.one_of(
    st.lists(rows, min_size=1, max_size=3, unique_by=lambda row: row[0]),
    st.tuples(
        st.builds(
            lambda name, owner: (bucket_key(name), Bucket(ROOTS[name][0], 0, owner)),
            st.sampled_from(list(ROOTS)),
            owners,
        )
    ),
)


@given(st.lists(changes, max_size=12))
def test_counters_are_the_sum_of_the_rows(history):
    index = Index()
    for change in history:
        index.set(*[each for row in change for each in row])
    by_root, by_owner = {}, {}
    for record in index.rows.values():
        if isinstance(record, Inode) and record.kind is not Kind.DIRECTORY:
            by_root.setdefault(record.bucket, []).append((max(record.size - record.holes, 0), 1))
        elif isinstance(record, Part):
            by_root.setdefault(record.bucket, []).append((record.size, 0))
    for name, (root, _) in ROOTS.items():
        wanted = [sum(column) for column in zip(*by_root.get(root, [(0, 0)]), strict=True)]
        assert [index.usage(name).bytes, index.usage(name).objects] == wanted
        owner = index.rows[bucket_key(name)].owner or "stratum"
        by_owner[owner] = [a + b for a, b in zip(by_owner.get(owner, (0, 0)), wanted, strict=True)]
    for owner, wanted in by_owner.items():
        assert [index.owner(owner).bytes, index.owner(owner).objects] == wanted


def test_what_adds_beyond_a_limit_is_refused_and_what_takes_away_never_is():
    index = Index()
    index.set(inode_key(1), an_inode(101, 60))
    index.limit(bucket_usage_key(101), bytes_max=100)
    with pytest.raises(QuotaExceeded):
        index.set(inode_key(2), an_inode(101, 41))
    assert index.usage("one").bytes == 60
    index.set(inode_key(2), an_inode(101, 40))
    index.limit(bucket_usage_key(101), bytes_max=10)  # lowered
    index.set(inode_key(2), an_inode(101, 39))
    index.set(inode_key(2), None)
    with pytest.raises(QuotaExceeded):
        index.set(inode_key(1), an_inode(101, 61))


def test_a_change_counts_as_a_whole():
    index = Index()
    index.limit(bucket_usage_key(101), bytes_max=100, objects_max=1)
    index.set(part_key("u", 1), Part(content=0, size=100, etag="", modified=0, bucket=101))
    index.set(part_key("u", 1), None, inode_key(1), an_inode(101, 100))  # as Complete does
    index.set(inode_key(1), None, inode_key(2), an_inode(101, 90))  # as a put over an object does
    with pytest.raises(QuotaExceeded):
        index.set(inode_key(3), an_inode(101, 0))


def test_the_limit_of_an_owner_is_for_all_its_buckets():
    index = Index()
    index.limit(owner_usage_key("alice"), bytes_max=100)
    index.set(inode_key(1), an_inode(101, 60))
    with pytest.raises(QuotaExceeded):
        index.set(inode_key(2), an_inode(102, 60))
    index.set(inode_key(2), an_inode(103, 60))  # bob's
    with pytest.raises(QuotaExceeded):
        check_room(index.txn, 102, Amount(41, 1))
    check_room(index.txn, 102, Amount(40, 1))
    assert room_of(index.txn, 102)[0] == Amount(60, 1)
    assert room_of(index.txn, 103) is None


def test_a_bucket_that_goes_takes_what_is_left_in_it_out_of_its_owners_count():
    index = Index()
    index.set(inode_key(1), an_inode(101, 60))
    index.set(bucket_key("one"), None)
    assert index.owner("alice").bytes == 0
    index.set(inode_key(1), None)  # the last handle is closed
    assert index.owner("alice").bytes == 0
    assert index.usage("one") is None
