"""What is not yet durable lies over what is, and can be taken back.

Room: tests.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stratum.store.overlay import Layer, MergedTxn
from tests.fakes.txn import MemoryTxn

keys = st.integers(0, 15).map(lambda number: b"k%02d" % number)
step = st.one_of(
    st.tuples(st.just("put"), keys, st.binary(max_size=3)),
    st.tuples(st.just("delete"), keys, st.none()),
    st.tuples(st.just("scan"), keys, keys),
)
change = st.tuples(st.lists(step, max_size=8), st.booleans())  # steps, and whether it raises at the end
turns = st.sampled_from(["seal", "journal", "index", "commit"])
scripts = st.lists(st.one_of(change, turns), max_size=40)


class Raised(Exception):
    """What a change raises in these tests."""


class Store:
    """The overlay's life without LMDB: committed rows, an open layer and up to three between them."""

    def __init__(self):
        self.committed = MemoryTxn()
        self.open, self.sealed, self.behind, self.indexing = Layer(1), None, None, None

    @property
    def layers(self):
        every = (self.open, self.sealed, self.behind, self.indexing)
        return [layer for layer in every if layer is not None]

    def seal(self):
        if self.sealed is None:
            self.open, self.sealed = Layer(self.open.number + 1), self.open

    def journal(self):
        if self.behind is None:
            self.behind, self.sealed = self.sealed, None
        elif self.sealed is not None:
            self.behind.take(self.sealed)
            self.sealed = None

    def index(self):
        if self.indexing is None:
            self.indexing, self.behind = self.behind, None

    def commit(self):
        if self.indexing is not None:
            for key, value in self.indexing.changes():
                self.committed.delete(key) if value is None else self.committed.put(key, value)
            self.indexing = None

    def txn(self, *, writable=True):
        return MergedTxn(self.committed, self.layers, writable=writable)


def run(steps, txn, raises):
    seen = []
    for verb, key, extra in steps:
        if verb == "put":
            txn.put(key, extra)
        elif verb == "delete":
            txn.delete(key)
        else:
            seen.append(list(txn.scan(key, extra)))
        seen.append(txn.get(key))
    if raises:
        raise Raised
    return seen


def attempt(steps, txn, raises):
    try:
        return run(steps, txn, raises)
    except Raised:
        txn.undo()
        return None


@settings(deadline=None, max_examples=300)
@given(scripts)
def test_layers_over_rows_behave_as_one_sorted_map(script):
    store, model = Store(), MemoryTxn()
    for part in script:
        if isinstance(part, str):
            getattr(store, part)()
        else:
            steps, raises = part
            before = (dict(store.layers[0].rows), list(store.layers[0].keys), store.layers[0].cost)
            seen = attempt(steps, store.txn(), raises)
            if raises:
                assert before == (store.layers[0].rows, store.layers[0].keys, store.layers[0].cost)
            else:
                assert seen == run(steps, model, raises)
        assert list(store.txn().scan(b"a", b"z")) == list(model.scan(b"a", b"z"))


@settings(deadline=None, max_examples=200)
@given(scripts, keys, keys)
def test_a_read_that_saw_no_layer_would_have_seen_the_same_without_it(script, start, stop):
    store = Store()
    for part in script:
        if isinstance(part, str):
            getattr(store, part)()
        else:
            attempt(part[0], store.txn(), part[1])
    for query in (lambda txn: txn.get(start), lambda txn: list(txn.scan(start, stop))):
        merged = store.txn(writable=False)
        answer = query(merged)
        durable = [layer for layer in store.layers if layer.number <= merged.seen]
        assert answer == query(MergedTxn(store.committed, durable, writable=False))


def test_layers_that_follow_each_other_become_one_in_order_however_many_rows_they_have():
    expected, whole = {}, Layer(0)
    for number, count in enumerate((3, 100, 2, 40, 1, 1000), 1):
        newer = Layer(number)
        for key in range(0, count * number, number):
            value = None if key % 7 == 0 else b"%d" % number
            expected[b"%05d" % key] = value
            newer.change(b"%05d" % key, value)
        whole.take(newer)
        assert whole.changes() == sorted(expected.items())
        assert whole.number == number
        if number != 4:  # two unordered ones in a row as well
            assert whole.first(b"00002", b"1") == min(key for key in expected if key >= b"00002")
        assert whole.cost >= sum(len(key) + len(value or b"") for key, value in expected.items())


def test_a_scan_goes_on_while_what_it_yielded_is_removed():
    store = Store()
    for number in range(6):
        (store.committed if number % 2 else store.txn()).put(b"%d" % number, b"v")
    txn = store.txn()
    for key, _ in txn.scan(b"0", b"9"):
        txn.delete(key)
    assert list(txn.scan(b"0", b"9")) == []


@pytest.mark.parametrize("key", [b"", b"\xffx", b"k" * 2049, "text"])
def test_what_is_not_a_key_is_refused(key):
    with pytest.raises(ValueError, match="not a key"):
        Store().txn().put(key, b"")


def test_a_query_cannot_change_rows():
    with pytest.raises(TypeError):
        Store().txn(writable=False).delete(b"k")
