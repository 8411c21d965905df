"""A listing, page by page, equals grouping a flat sorted list; and it reads no more than it shows.

Room: tests. May import: stratum.core, tests.
"""

from itertools import groupby

from hypothesis import given
from hypothesis import strategies as st

from stratum.core.listing import after_prefix, common_prefix, list_page
from stratum.core.namespace import scan_keys
from stratum.core.objects import ListQuery
from tests.core.tree import BUCKET_ROOT, CountingTxn, new_bucket, put
from tests.strategies import any_keys, delimiters, keys, prefixes, unhurried


def bucket_of(names):
    txn = new_bucket(CountingTxn())
    for inode, key in enumerate(names, 100):
        put(txn, key, inode)
    txn.read = 0
    return txn


def page(txn, **wanted):
    """One page of the bucket, keys standing for objects."""
    query = ListQuery(**wanted)

    def source(start):
        return ((key, key) for key, _ in scan_keys(txn, BUCKET_ROOT, prefix=query.prefix, start=start))

    return list_page(source, query)


def shown(found, prefix: bytes, delimiter: bytes, after: bytes) -> list[bytes]:
    """What S3 shows of a flat set of keys: keys, and common prefixes once each."""
    wanted = [key for key in sorted(found) if key.startswith(prefix)]
    if delimiter:
        wanted = [
            key if not behind else prefix + name + delimiter
            for key in wanted
            for name, behind, _ in [key[len(prefix) :].partition(delimiter)]
        ]
    return [item for item, _ in groupby(wanted) if item > after]


key_sets = st.sets(any_keys, max_size=25)


@unhurried
@given(key_sets, prefixes, delimiters, prefixes, st.integers(1, 6))
def test_pages_joined_are_the_listing_of_a_flat_map(found, prefix, delimiter, after, limit):
    txn, expected = bucket_of(found), shown(found, prefix, delimiter, after)
    while True:
        got = page(txn, prefix=prefix, delimiter=delimiter, after=after, limit=limit)
        assert sorted([*got.objects, *got.common_prefixes]) == expected[:limit]
        assert list(got.objects) == sorted(got.objects) and list(got.common_prefixes) == sorted(got.common_prefixes)
        assert set(got.objects) <= found
        assert all(each.endswith(delimiter) for each in got.common_prefixes)
        expected = expected[limit:]
        if got.next_after is None:
            break
        assert expected, "a page that says there is more has something behind it"
        after = got.next_after
    assert expected == []


@unhurried
@given(keys, prefixes, delimiters)
def test_a_common_prefix_ends_with_the_first_delimiter_behind_the_prefix(key, prefix, delimiter):
    group = common_prefix(prefix + key, prefix, delimiter)
    assert (group is not None) == (delimiter != b"" and delimiter in key)
    if group is not None:
        assert group == prefix + key.split(delimiter)[0] + delimiter


@unhurried
@given(st.binary(max_size=6), st.binary(max_size=3))
def test_nothing_lies_between_a_prefix_and_what_follows_it(prefix, rest):
    follows = after_prefix(prefix)
    assert follows is None or prefix + rest < follows
    assert (follows is None) == (prefix.strip(b"\xff") == b"")
    assert follows is None or (not follows.startswith(prefix) and follows[:-1] == prefix[: len(follows) - 1])


def test_a_limit_of_nothing_reads_nothing():
    txn = bucket_of([b"a", b"b"])
    assert page(txn, limit=0).next_after is None
    assert txn.read == 0


def test_a_common_prefix_costs_one_seek_however_many_keys_it_stands_for():
    txn = bucket_of([b"%d/%03d/%d" % (top, number, number) for top in range(5) for number in range(200)])
    got = page(txn, delimiter=b"/")
    assert len(got.common_prefixes) == 5
    assert txn.read <= 5 * 4  # look for the place, then one row a level


def test_a_page_of_a_thousand_keys_reads_about_a_thousand_rows():
    txn = bucket_of([b"in/a/%05d" % number for number in range(3000)])
    got = page(txn, prefix=b"in/", after=b"in/a/01234", limit=1000)
    assert got.objects[0] == b"in/a/01235" and got.next_after == b"in/a/02234"
    assert txn.read <= 1000 + 5
