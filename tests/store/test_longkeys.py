"""Keys of any length keep their order on rows that only take short keys.

Room: tests.
"""

from hypothesis import given, settings
from hypothesis import strategies as st

from stratum.store.longkeys import HEAD_BYTES, LongKeys
from tests.fakes.txn import MemoryTxn


class ShortKeys(MemoryTxn):
    """Rows that refuse what LMDB would refuse."""

    def put(self, key, value):
        assert len(key) <= HEAD_BYTES
        super().put(key, value)

    def get(self, key):
        assert len(key) <= HEAD_BYTES
        return super().get(key)

    def scan(self, start, stop):
        assert len(start) <= HEAD_BYTES
        return super().scan(start, stop)


# Few letters, and lengths around the folds: keys share heads, are prefixes of each other, sit on the edge.
stems = st.builds(
    lambda letter, length: letter * length,
    st.sampled_from([b"a", b"b", b"\x00", b"\xfe"]),
    st.sampled_from([1, 2, 501, 502, 503, 509, 510, 511, 512, 1012, 1013, 1014, 1500]),
)
keys = st.builds(lambda stem, tail: (stem + tail)[:2048], stems, st.text("ab\x00", max_size=3).map(str.encode))
keys |= st.builds(lambda a, b: (a + b)[:2048], stems, stems)
steps = st.one_of(
    st.tuples(st.just("put"), keys, st.binary(max_size=3)),
    st.tuples(st.just("delete"), keys, st.none()),
    st.tuples(st.just("scan"), keys, keys),
)


@settings(deadline=None, max_examples=200)
@given(st.lists(steps, max_size=40))
def test_long_keys_behave_as_a_sorted_map_and_leave_nothing_behind(script):
    flat = ShortKeys()
    folded, model = LongKeys(flat), MemoryTxn()
    for verb, key, extra in script:
        if verb == "scan":
            assert list(folded.scan(key, extra)) == list(model.scan(key, extra))
        elif verb == "put":
            folded.put(key, extra)
            model.put(key, extra)
        else:
            folded.delete(key)
            model.delete(key)
        assert folded.get(key) == model.get(key)
    assert list(folded.scan(b"\x00", b"\xff\xff")) == list(model.scan(b"\x00", b"\xff"))
    for key in model.rows:
        assert folded.get(key) == model.rows[key]
    for key in list(model.rows):
        folded.delete(key)
    assert set(flat.rows) <= {b"\xffnext"}


def test_a_scan_may_begin_and_end_inside_a_continuation():
    folded = LongKeys(ShortKeys())
    stem = b"k" * 1100
    for number in range(9):
        folded.put(stem + b"%d" % number, b"")
    found = [key for key, _ in folded.scan(stem + b"3", stem + b"6")]
    assert found == [stem + b"3", stem + b"4", stem + b"5"]
