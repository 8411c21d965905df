from hypothesis import given
from hypothesis import strategies as st

from stratum.core.records import Version
from stratum.core.schema import version_key
from stratum.core.txn import save
from stratum.core.version_tree import find_version, is_below, names_below, versions_of
from stratum.core.versions import version_id
from tests.fakes.txn import MemoryTxn

ROOT = 20
keys = st.binary(max_size=6) | st.lists(
    st.sampled_from([b"a", b"b", b"/", b"\0", b"\xff", b"a\0", b"0"]), min_size=1, max_size=6
).map(b"".join)


def index(history: dict[bytes, list[bool]]) -> MemoryTxn:
    """An index with versions (True) and delete markers (False) of keys, and those of neighbouring buckets."""
    txn = MemoryTxn()
    for key, written in history.items():
        for root in (ROOT - 1, ROOT, ROOT + 1):
            for sequence, is_object in enumerate(written, 16):
                row = Version(sequence if is_object else 0, version_id(key, sequence), 0)
                save(txn, version_key(root, key, sequence), row)
    return txn


def expected(history: dict[bytes, list[bool]], prefix: bytes) -> set[bytes]:
    found = set()
    for key, written in history.items():
        if key.startswith(prefix):
            name, slash, _ = key.removeprefix(prefix).partition(b"/")
            if slash or any(written):
                found.add(name + slash)
    return found


histories = st.dictionaries(keys, st.lists(st.booleans(), min_size=1, max_size=3), max_size=8)


@given(histories, st.data())
def test_the_names_below_a_prefix_are_those_of_a_flat_map(history, data):
    txn = index(history)
    prefixes = {b""} | {key[: at + 1] for key in history for at in range(len(key)) if key[at : at + 1] == b"/"}
    prefix = data.draw(st.sampled_from(sorted(prefixes)))
    names = list(names_below(txn, ROOT, prefix))
    assert len(names) == len(set(names)) and set(names) == expected(history, prefix)
    for position, name in enumerate(names):
        assert list(names_below(txn, ROOT, prefix, name)) == names[position + 1 :]
    assert is_below(txn, ROOT, prefix) == any(key.startswith(prefix) for key in history)


@given(histories)
def test_versions_of_a_key_are_newest_first_without_markers_and_found_by_their_ids(history):
    txn = index(history)
    for key, written in history.items():
        rows = list(versions_of(txn, ROOT, key))
        assert [row.inode for row in rows] == [16 + at for at, is_object in enumerate(written) if is_object][::-1]
        assert [find_version(txn, ROOT, key, row.version) for row in rows] == rows
        for at, is_object in enumerate(written):
            assert (find_version(txn, ROOT, key, version_id(key, 16 + at)) is None) is not is_object
    assert find_version(txn, ROOT, b"k", "no id") is None
