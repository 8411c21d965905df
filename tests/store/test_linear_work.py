"""Changes of many rows take work in proportion to their rows, seen through the overlay they really run on.

Room: tests. May import: stratum.core, stratum.store, tests.fakes.
"""

import pytest

from stratum.core.endings import free_parts
from stratum.core.manifest import attach, detach_all, is_used, part_user, spans_in, write_spans
from stratum.core.multipart import assemble
from stratum.core.records import Extent, Part, Run, Upload, Volume
from stratum.core.schema import part_key, upload_by_key, upload_key, volume_key
from stratum.core.txn import save
from stratum.core.upload_rows import end_upload, end_with_parts, parts_of
from stratum.store.overlay import Layer, MergedTxn
from tests.fakes.txn import MemoryTxn

UPLOAD = Upload(bucket="bucket", key=b"k", created=0, owner="")
OBJECT = 10_000  # a content id


class CountingLayer(Layer):
    """A layer that counts how often it is searched."""

    searches = 0

    def first(self, start, stop):
        self.searches += 1
        return super().first(start, stop)


def uploaded(count: int) -> tuple[MergedTxn, CountingLayer, dict[int, Part]]:
    """An upload whose parts rest in one pack, committed."""
    base = MemoryTxn()
    save(base, volume_key(1), Volume(4, 6, tuple(range(6)), 1 << 20, sealed=False))
    save(base, upload_key("u"), UPLOAD)
    save(base, upload_by_key("bucket", b"k", "u"), 1)
    for number in range(1, count + 1):
        write_spans(base, number, [(0, Run(Extent(1, 64, 4096, number * 100, 100)))])
        attach(base, number, part_user("u", number))
        save(base, part_key("u", number), Part(content=number, size=100, etag="0" * 32, modified=0))
    layer = CountingLayer(1)
    return MergedTxn(base, [layer], writable=True), layer, dict(parts_of(base, "u"))


def complete(count: int) -> int:
    txn, layer, parts = uploaded(count)
    assemble(txn, OBJECT, "u", list(parts), list(parts.values()))
    end_with_parts(txn, UPLOAD, "u", parts, frozenset(parts))
    searches = layer.searches
    spans = spans_in(txn, OBJECT, 0, 100 * count)
    assert [offset for offset, _ in spans] == list(range(0, 100 * count, 100))
    assert [run.extent.skip for _, run in spans] == [number * 100 for number in parts]
    assert is_used(txn, 1)
    assert list(parts_of(txn, "u")) == []
    return searches


def abort(count: int) -> int:
    txn, layer, _ = uploaded(count)
    end_upload(txn, UPLOAD, "u")
    while free_parts(txn):
        pass
    searches = layer.searches
    assert not is_used(txn, 1)
    return searches


@pytest.mark.parametrize("act", [complete, abort])
def test_four_times_the_parts_take_four_times_the_work(act):
    assert act(400) < 5 * act(100)


def test_a_content_with_another_user_is_left_to_it():
    txn, _, parts = uploaded(2)
    attach(txn, 1, part_user("other", 7))
    assert detach_all(txn, [(part.content, part_user("u", number)) for number, part in parts.items()]) == 1
    assert spans_in(txn, 1, 0, 100) != []
    assert spans_in(txn, 2, 0, 100) == []
