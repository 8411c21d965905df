"""Versions of keys, against a flat model: whatever happens, S3 sees what the model says."""

from dataclasses import dataclass, field

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stratum.core.errors import Locked, MarkerFound, NoSuchKey, NoSuchVersion
from stratum.core.listing import common_prefix
from stratum.core.objects import VersionQuery
from stratum.core.records import Bucket, Inode, Kind
from stratum.core.schema import INODE, bucket_key, inode_key, take_number
from stratum.core.txn import load, save, scan_records
from stratum.core.version_listing import version_page
from stratum.core.versions import (
    Place,
    mark_deleted,
    next_version,
    put_current,
    remove_version,
    sequence_of,
    version_id,
)
from stratum.core.views import object_at
from tests.core.tree import BUCKET_ROOT, MAKER, new_bucket

KEYS = [b"a", b"a/b", b"a/b/c", b"a\0", b"a-", b"d/", b"z"]


@dataclass
class Bench:
    """A bucket in memory beside its model: key -> [(id, body)], newest first; a body of None is a delete marker."""

    versioning: str = ""
    open: set = field(default_factory=set)
    model: dict = field(default_factory=dict)

    def __post_init__(self):
        self.txn = new_bucket()
        self.set(self.versioning)

    def set(self, versioning):
        self.versioning = versioning
        self.bucket = Bucket(BUCKET_ROOT, 0, "", versioning=versioning)
        save(self.txn, bucket_key("bucket"), self.bucket)

    def place(self, key):
        return Place(bucket=self.bucket, key=key, maker=MAKER, is_open=self.open.__contains__)

    def put(self, key, body):
        number = take_number(self.txn, "inode")
        version, sequence = next_version(self.txn, self.bucket, key)
        put_current(self.txn, self.place(key), number)
        inode = Inode(Kind.OBJECT, 0o100644, 1, 2, 1, 0, 5, 5, 5, 5, etag=body, version=version, sequence=sequence)
        save(self.txn, inode_key(number), inode)
        self._remember(key, version, body)
        return number

    def delete(self, key):
        removed = mark_deleted(self.txn, self.place(key), "")
        if self.versioning:
            self._remember(key, removed.version, None)
        else:
            self.model.pop(key, None)
        return removed

    def delete_version(self, key, version):
        remove_version(self.txn, self.place(key), version or "null", lambda inode: None)
        self.model[key] = [each for each in self.model.get(key, []) if each[0] != version]

    def _remember(self, key, version, body):
        if not version:  # there is one null version at most
            self.model[key] = [each for each in self.model.get(key, []) if each[0]]
        self.model.setdefault(key, []).insert(0, (version, body))

    def read(self, key, version=None):
        try:
            return object_at(self.txn, "bucket", key, version).inode.etag
        except MarkerFound as found:
            return "marker", found.asked
        except (NoSuchKey, NoSuchVersion):
            return None

    def expected(self):
        return [(key, version, body) for key in sorted(self.model) for version, body in self.model[key]]

    def listed(self, limit=1000, **wanted):
        found, prefixes, markers = [], [], (b"", "")
        while markers[0] is not None:
            query = VersionQuery(key_marker=markers[0], version_marker=markers[1], limit=limit, **wanted)
            page = version_page(self.txn, "bucket", self.bucket, query)
            found += page.versions
            prefixes += page.common_prefixes
            markers = page.next_key, page.next_version
        return found, prefixes


def shown(view):
    return view.key, "" if view.version == "null" else view.version, view.view and view.view.inode.etag


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["put", "put", "put", "delete", "delete version", "Enabled", "Suspended"]),
        st.sampled_from(KEYS),
        st.integers(0, 5),
    ),
    max_size=30,
)


def run(operations, begin=""):
    bench = Bench(begin)
    for number, (what, key, pick) in enumerate(operations):
        if what == "put":
            bench.put(key, f"body {number}")
        elif what == "delete":
            bench.delete(key)
        elif what == "delete version":
            versions = bench.model.get(key) or [("", None)]
            bench.delete_version(key, versions[pick % len(versions)][0])
        else:
            bench.set(what)
    return bench


@settings(max_examples=300)
@given(OPERATIONS, st.sampled_from(["", "Enabled"]))
def test_reads_and_listings_equal_those_of_a_flat_list_of_versions(operations, begin):
    bench = run(operations, begin)
    found, _ = bench.listed()
    assert [shown(view) for view in found] == bench.expected()
    for key in KEYS:
        versions = bench.model.get(key, [])
        newest = versions[0][1] if versions else None
        assert bench.read(key) == (("marker", False) if versions and newest is None else newest)
        latest = [view.latest for view in found if view.key == key]
        assert latest == [True] + [False] * (len(latest) - 1) if latest else True
        for version, body in versions:
            assert bench.read(key, version or "null") == (("marker", True) if body is None else body)


@settings(max_examples=200)
@given(OPERATIONS, st.integers(1, 4), st.sampled_from([b"", b"/"]), st.sampled_from([b"", b"a", b"a/", b"q"]))
def test_pages_of_any_size_joined_are_the_listing(operations, limit, delimiter, prefix):
    bench = run(operations, "Enabled")
    found, prefixes = bench.listed(limit, prefix=prefix, delimiter=delimiter)
    wanted = [each for each in bench.expected() if each[0].startswith(prefix)]
    assert [shown(view) for view in found] == [
        each for each in wanted if common_prefix(each[0], prefix, delimiter) is None
    ]
    assert prefixes == sorted({group for each in wanted if (group := common_prefix(each[0], prefix, delimiter))})


@given(OPERATIONS)
def test_no_inode_is_left_when_every_version_is_gone(operations):
    bench = run(operations, "Enabled")
    for key, version, _ in bench.expected():
        bench.delete_version(key, version)
    kinds = [inode.kind for _, inode in scan_records(bench.txn, INODE, Inode)]
    assert kinds == [Kind.DIRECTORY] * 2
    assert bench.listed()[0] == []


@given(OPERATIONS, st.integers(1, 3), st.sampled_from(["", "Enabled"]))
def test_a_page_goes_on_where_it_ended_though_everything_before_was_deleted(operations, limit, begin):
    bench = run(operations, begin)
    wanted, found, markers = bench.expected(), [], (b"", "")
    while markers[0] is not None:
        query = VersionQuery(key_marker=markers[0], version_marker=markers[1], limit=limit)
        page = version_page(bench.txn, "bucket", bench.bucket, query)
        for view in page.versions:
            found.append((view.key, "" if view.version == "null" else view.version))
            bench.delete_version(view.key, found[-1][1])
        markers = page.next_key, page.next_version
    assert found == [each[:2] for each in wanted]


def test_an_object_open_in_the_mount_keeps_its_inode_and_the_version_gets_a_copy():
    bench = Bench("Enabled")
    first = bench.put(b"a", "one")
    bench.open.add(first)
    version = bench.model[b"a"][0][0]
    bench.put(b"a", "two")
    kept = object_at(bench.txn, "bucket", b"a", version)
    assert kept.inode.etag == "one"
    assert kept.inode_number != first
    assert load(bench.txn, inode_key(first), Inode).nlink == 0


def test_a_version_that_is_also_another_keys_object_gets_an_inode_of_its_own():
    bench = Bench("Enabled")
    first = bench.put(b"a", "one")
    inode = load(bench.txn, inode_key(first), Inode)
    save(bench.txn, inode_key(first), msgspec.structs.replace(inode, nlink=2))
    version = bench.model[b"a"][0][0]
    bench.delete(b"a")
    assert object_at(bench.txn, "bucket", b"a", version).inode_number != first
    assert load(bench.txn, inode_key(first), Inode).nlink == 1


def test_what_may_not_be_deleted_stays():
    bench = Bench("Enabled")
    bench.put(b"a", "one")
    version = bench.model[b"a"][0][0]

    def never(inode):
        raise Locked(version)

    with pytest.raises(Locked):
        remove_version(bench.txn, bench.place(b"a"), version, never)
    bench.put(b"a", "two")
    with pytest.raises(Locked):
        remove_version(bench.txn, bench.place(b"a"), version, never)
    assert bench.read(b"a", version) == "one"


@given(st.binary(max_size=20), st.integers(0, 2**63))
def test_a_version_id_tells_its_sequence(key, sequence):
    assert sequence_of(version_id(key, sequence)) == sequence


@pytest.mark.parametrize("text", ["", "null", "x" * 32, "0" * 31, "0" * 33, "0" * 31 + "G"])
def test_what_is_no_version_id_tells_none(text):
    assert sequence_of(text) is None
