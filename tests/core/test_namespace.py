"""The tree of names equals a flat sorted map, whatever S3 does to it; nothing of the tree shows.

Room: tests. May import: stratum.core, tests.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum.core.errors import NoSuchInode
from stratum.core.namespace import Change, resolve, split_key
from stratum.core.records import Kind
from tests.core.tree import (
    BUCKET_ROOT,
    CountingTxn,
    all_entries,
    check_tree,
    directories,
    listed,
    new_bucket,
    put,
    remove,
)
from tests.fakes.txn import MemoryTxn
from tests.strategies import any_keys, keys, prefixes, unhurried

FIRST_OBJECT = 1_000_000  # inode numbers of objects in these tests, far from those of directories

steps = st.lists(st.tuples(st.booleans(), any_keys), max_size=25)


def play(steps) -> tuple[MemoryTxn, dict[bytes, int]]:
    """Run puts and deletes on a tree and on a dict; every answer on the way must be the same."""
    txn, model = new_bucket(), {}
    for number, (is_put, key) in enumerate(steps, FIRST_OBJECT):
        old, _ = put(txn, key, number) if is_put else remove(txn, key)
        assert (None if old is None else old.inode) == model.get(key)
        if is_put:
            model[key] = number
        else:
            model.pop(key, None)
    return txn, model


@unhurried
@given(keys)
def test_a_key_is_its_stored_names_joined(key):
    names, leaf = split_key(key)
    assert b"".join([*names, leaf]) == key
    assert all(name.endswith(b"/") and b"/" not in name[:-1] for name in names) and b"/" not in leaf


@unhurried
@given(steps, prefixes, any_keys | st.just(b""))
def test_puts_and_deletes_equal_a_sorted_dict(steps, prefix, start):
    txn, model = play(steps)
    assert listed(txn) == sorted(model.items())
    wanted = [(key, inode) for key, inode in sorted(model.items()) if key.startswith(prefix) and key >= start]
    assert listed(txn, prefix=prefix, start=start) == wanted
    check_tree(txn)


@unhurried
@given(steps, keys)
def test_resolving_a_key_equals_looking_into_a_dict(steps, other):
    txn, model = play(steps)
    for key in {key for _, key in steps} | {other, other + b"/", b"", b"/"}:
        entry = resolve(txn, BUCKET_ROOT, key)
        assert (None if entry is None else entry.inode) == model.get(key)


@unhurried
@given(steps)
def test_directories_that_puts_made_vanish_with_their_last_key(steps):
    txn, model = play(steps)
    for key in model:
        remove(txn, key)
    assert all_entries(txn) == {}
    assert {number: inode.nlink for number, inode in directories(txn).items()} == {1: 2, 2: 2}


@unhurried
@given(steps)
def test_a_replaced_entry_keeps_its_cookie_and_new_ones_differ(steps):
    txn, model = play(steps)
    before = all_entries(txn)
    for key in model:
        put(txn, key, 77)
    assert {place: entry.cookie for place, entry in all_entries(txn).items()} == {
        place: entry.cookie for place, entry in before.items()
    }


def test_keys_around_the_slash_come_in_byte_order():
    txn = new_bucket()
    wanted = [b"a", b"a-b", b"a.b", b"a/", b"a//", b"a/b", b"a/b/c", b"a0"]
    for inode, key in enumerate(reversed(wanted)):
        put(txn, key, inode)
    assert [key for key, _ in listed(txn)] == wanted


def test_specials_are_no_keys():
    txn = new_bucket()
    put(txn, b"d/fifo", 5, Kind.SPECIAL)
    put(txn, b"d/link", 6, Kind.SYMLINK)
    assert listed(txn) == [(b"d/link", 6)]


@pytest.mark.parametrize("key", [b"x" * 5000, b"d/" + b"x" * 5000, b"x" * 5000 + b"/y", b"d/" * 3000])
def test_keys_longer_than_any_that_can_be_put_are_just_not_there(key):
    txn = new_bucket()
    put(txn, b"d/y", 5)
    put(txn, b"x" * 1024, 6)
    assert resolve(txn, BUCKET_ROOT, key) is None
    assert remove(txn, key) == (None, [])
    assert listed(txn, prefix=key) == []
    assert listed(txn, start=key) == [pair for pair in listed(txn) if pair[0] >= key]


def test_each_change_names_every_entry_that_came_or_went():
    txn = new_bucket()
    _, changes = put(txn, b"a/b/c", 50)
    (a, b) = (change.inode for change in changes[:2])
    assert changes == [
        Change(BUCKET_ROOT, b"a/", a, removed=False),
        Change(a, b"b/", b, removed=False),
        Change(b, b"c", 50, removed=False),
    ]
    assert put(txn, b"a/b/c", 51)[1] == [Change(b, b"c", 50, removed=False)]
    assert remove(txn, b"a/b/c")[1] == [
        Change(b, b"c", 51, removed=True),
        Change(a, b"b/", b, removed=True),
        Change(BUCKET_ROOT, b"a/", a, removed=True),
    ]


def test_a_put_sets_the_times_of_the_directory_it_changed_and_of_no_other():
    txn = new_bucket()
    put(txn, b"a/b/c", 50)
    a, b = (entry.inode for (_, name), entry in all_entries(txn).items() if name in (b"a/", b"b/"))
    remove(txn, b"a/b/c2")
    before = directories(txn)
    put(txn, b"a/b/d", 51)
    remove(txn, b"a/b/d")
    after = directories(txn)
    assert after[b].mtime == after[b].ctime == 20
    assert {**after, b: None} == {**before, b: None}
    assert after[a].mtime == 10


def test_a_put_into_a_bucket_that_is_gone_is_refused():
    with pytest.raises(NoSuchInode):
        put(MemoryTxn(), b"a/b", 5)


def test_a_walk_reads_little_more_than_it_yields():
    txn = new_bucket(CountingTxn())
    for number in range(300):
        put(txn, b"%03d/%d" % (number // 10, number), number)
        put(txn, b"zz/deep/er/%03d" % number, number)
    txn.read = 0
    assert len(listed(txn)) == 600
    assert txn.read <= 600 + 30 + 10
    txn.read = 0
    assert len(listed(txn, prefix=b"zz/deep/er/29")) == 10
    assert txn.read <= 20
