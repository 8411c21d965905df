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
scripts = st.lists(st.one_of(change, st.just("seal"), st.just("commit")), max_size=30)


class Raised(Exception):
    """What a change raises in these tests."""


class Store:
    """The overlay's life without LMDB: committed rows, at most one sealed layer, an open one."""

    def __init__(self):
        self.committed = MemoryTxn()
        self.layers = [Layer(1)]

    def seal(self):
        if len(self.layers) == 1:
            self.layers.insert(0, Layer(self.layers[0].number + 1))

    def commit(self):
        if len(self.layers) == 2:
            for key, value in self.layers.pop().changes():
                self.committed.delete(key) if value is None else self.committed.put(key, value)

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
        if part == "seal":
            store.seal()
        elif part == "commit":
            store.commit()
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
        if part in ("seal", "commit"):
            getattr(store, part)()
        else:
            attempt(part[0], store.txn(), part[1])
    for query in (lambda txn: txn.get(start), lambda txn: list(txn.scan(start, stop))):
        merged = store.txn(writable=False)
        answer = query(merged)
        durable = [layer for layer in store.layers if layer.number <= merged.seen]
        assert answer == query(MergedTxn(store.committed, durable, writable=False))


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
