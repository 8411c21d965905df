"""The index as the event loop looks at it: one open transaction, and rows that are remembered.

Room: tests.
"""

import tempfile
from collections import OrderedDict
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum.core.config import MIB
from stratum.store import index as index_module
from stratum.store.index import Index

KEYS = [b"a%d" % number for number in range(6)]

steps = st.lists(
    st.one_of(
        st.tuples(st.just("look"), st.sampled_from(KEYS)),
        st.tuples(st.just("list"), st.none()),
        st.tuples(st.just("commit"), st.dictionaries(st.sampled_from(KEYS), st.none() | st.binary(max_size=4))),
        st.tuples(st.just("fail"), st.dictionaries(st.sampled_from(KEYS), st.none() | st.binary(max_size=4))),
    ),
    max_size=20,
)


@given(steps)
def test_a_look_sees_what_the_last_commit_left(steps):
    with tempfile.TemporaryDirectory() as folder, closing(Index(Path(folder), map_bytes=16 * MIB)) as index:
        model = {}
        for number, (what, with_what) in enumerate(steps, 1):
            if what == "look":
                assert index.look(lambda txn: txn.get(with_what)) == model.get(with_what)  # noqa: B023 - runs at once
            elif what == "list":
                assert dict(index.look(lambda txn: list(txn.scan(b"a", b"b")))) == model
            else:
                index.commit(number, with_what.items())
                index.committed(with_what if what == "commit" else None)
                model.update(with_what)
                model = {key: value for key, value in model.items() if value is not None}


def test_a_row_is_asked_for_once_be_it_there_or_not(tmp_path, monkeypatch):
    asked = []
    get = index_module.Rows.get
    monkeypatch.setattr(index_module.Rows, "get", lambda self, key: asked.append(key) or get(self, key))
    with closing(Index(tmp_path, map_bytes=16 * MIB)) as index:
        index.commit(1, [(b"there", b"1")])
        index.committed({b"there": b"1"})
        for _ in range(3):
            assert index.look(lambda txn: (txn.get(b"there"), txn.get(b"missing"))) == (b"1", None)
        assert asked == [b"missing"]


def test_what_is_remembered_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(index_module, "_REMEMBERED", 3)
    monkeypatch.setattr(index_module, "_REMEMBERED_BYTES", 8)
    rows = OrderedDict()
    for number in range(6):
        index_module.remember(rows, b"%d" % number, b"v")
    index_module.remember(rows, b"long", b"too long")
    assert list(rows) == [b"3", b"4", b"5"]
    index_module.remember(rows, b"4", b"too long by now")
    assert list(rows) == [b"3", b"5"]  # rather none than the one from before


def test_a_look_cannot_change_the_index(tmp_path):
    with closing(Index(tmp_path, map_bytes=16 * MIB)) as index:
        with pytest.raises(TypeError):
            index.look(lambda txn: txn.put(b"a", b"1"))
        with pytest.raises(TypeError):
            index.look(lambda txn: txn.delete(b"a"))


def test_the_map_can_grow_between_looks(tmp_path):
    with closing(Index(tmp_path, map_bytes=MIB)) as index:
        index.look(lambda txn: txn.get(b"a"))
        index.grow(8 * MIB, 1)
        index.commit(1, [(b"a", b"1")])
        index.committed({b"a": b"1"})
        assert index.look(lambda txn: txn.get(b"a")) == b"1"
