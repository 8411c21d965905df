"""Compaction: fewer runs, the same bytes, also for those who have the file open or write into it meanwhile."""

import random

import trio
from hypothesis import given
from hypothesis import strategies as st

from stratum.core.manifest import spans_in
from stratum.core.schema import GARBAGE
from stratum.core.txn import successor
from stratum.engine.compactor import RUNS_MIN, stretches
from stratum.engine.file_names import Caller
from tests.engine.conftest import get

PIECE = 1000


async def many_small_runs(engine, count=64):
    """A file written in small pieces, each fsynced: (handle, inode number, bytes)."""
    bucket = await engine.buckets.get("bucket")
    handle, number, _ = await engine.files.create(
        bucket.root, b"f", 0o644, Caller(0, 0), exclusive=True, truncate=False
    )
    body = random.Random(1).randbytes(count * PIECE)
    for at in range(0, len(body), PIECE):
        await engine.files.write(handle, at, body[at : at + PIECE])
        await engine.files.fsync(handle)
    return handle, number, body


def runs(engine, number) -> int:
    content = engine.files.attributes.get(number).content
    return engine.meta.read(lambda txn: len(spans_in(txn, content, 0, 1 << 40)))


async def test_many_small_runs_become_few_and_nobody_sees_it(engine):
    handle, number, body = await many_small_runs(engine)
    before = engine.files.attributes.get(number)
    assert runs(engine, number) == 64
    assert await engine.files.read(handle, 0, len(body)) == body  # the handle remembers where the bytes are
    await engine.compactor.step()
    assert runs(engine, number) <= 3
    assert engine.compactor.replaced == 64
    assert engine.files.attributes.get(number) == before
    assert await engine.files.read(handle, 0, len(body)) == body
    assert await get(engine, b"f") == body
    await engine.compactor.step()
    assert engine.compactor.replaced == 64, "what is short already is left alone"


async def test_a_write_that_comes_while_a_stretch_is_rewritten_is_not_lost(engine, monkeypatch):
    handle, _, body = await many_small_runs(engine)
    store = engine.contents.store

    async def store_slowly(data):
        staged = await store(data)
        if len(data) > PIECE:  # the compactor's
            await engine.files.write(handle, 5, b"NEW")
            await engine.files.fsync(handle)
        return staged

    monkeypatch.setattr(engine.contents, "store", store_slowly)
    await engine.compactor.step()
    assert engine.compactor.replaced == 0
    expected = body[:5] + b"NEW" + body[8:]
    assert await engine.files.read(handle, 0, len(body)) == expected
    await engine.files.flush(handle)
    assert await get(engine, b"f") == expected
    assert engine.meta.read(lambda txn: sum(1 for _ in txn.scan(GARBAGE, successor(GARBAGE)))) == 1


async def test_readers_and_the_compactor_do_not_disturb_each_other(engine):
    handle, _, body = await many_small_runs(engine)

    async def read() -> None:
        for at in range(0, len(body), PIECE):
            assert await engine.files.read(handle, at, 3 * PIECE) == body[at : at + 3 * PIECE]

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        nursery.start_soon(engine.compactor.step)
        nursery.start_soon(read)


gaps = st.sampled_from([0] * 30 + [1])
lengths = st.sampled_from([*range(1, 51)] * 2 + [51, 90])


@given(st.lists(st.tuples(st.integers(1, 2), gaps, lengths), min_size=40, max_size=150))
def test_a_stretch_is_many_small_runs_of_one_content_without_a_gap(steps):
    table, ends = [], {}
    for content, gap, length in sorted(steps, key=lambda step: step[0]):
        ends[content] = ends.get(content, 0) + gap + length
        table.append((content, ends[content], length))
    for content, start, stop in stretches(table, 50, 1000):
        inside = [(end, length) for number, end, length in table if number == content and start < end <= stop]
        assert len(inside) >= RUNS_MIN
        assert all(length <= 50 for _, length in inside)
        assert sum(length for _, length in inside) == stop - start <= 1000
