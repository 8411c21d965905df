"""What counts as a use of a mounted file: opens, by process, and the bytes that the page cache did not have."""

import pytest

from stratum.core.tiering.blocks import INTEREST, WRITTEN
from tests.engine.deciding import deciding_engine, deciding_settings
from tests.engine.test_files import close, create

MINUTE = 60 * 10**9
SIZE = 3_000_000


@pytest.fixture
async def store(tmp_path):
    async with deciding_engine(tmp_path) as opened:
        handle, number = await create(opened.engine, b"a", bytes(SIZE - 1) + b"1")
        await close(opened.engine, handle)
        await opened.engine.files.settle(None)
        (volume,) = await opened.volumes("a")
        opened.number, opened.volume = number, volume
        yield opened


async def read(store, process=7, start=0, size=0):
    files = store.engine.files
    handle = files.open(store.number, writes=False, process=process)
    for at in range(start, start + size, 131_072):
        await files.read(handle, at, min(131_072, start + size - at))
    await files.release(handle)


def today(store):
    return store.engine.heat.today(store.volume)


async def test_an_open_is_a_visit_whatever_the_page_cache_answers_and_so_it_is_interest(store):
    await read(store)
    assert (today(store).visits, today(store).sent, today(store).flags) == (1, 0, INTEREST)


async def test_all_reads_of_an_open_file_are_the_one_visit_of_its_open(store):
    await read(store, size=SIZE)
    assert (today(store).visits, today(store).sent) == (1, SIZE)


async def test_a_process_that_opens_again_within_15_minutes_is_the_same_visit_and_later_another(store):
    for _ in range(5):
        await read(store, size=1000)
    assert (today(store).visits, today(store).sent) == (1, 5000)
    store.clock.ns += 15 * MINUTE
    await read(store, size=1000)
    assert today(store).visits == 2


async def test_another_process_is_another_visit(store):
    await read(store, process=7)
    await read(store, process=8)
    assert today(store).visits == 2


@pytest.mark.parametrize("size", [0, SIZE])
async def test_an_open_is_seen_by_who_learns_hours(store, size):
    """A file on the mount that is read every morning is known by its opens: the page cache may hide the rest."""
    seen = []
    store.engine.heat.watchers.append(lambda volume, who, start, stop, *, visit: seen.append((volume, visit)))
    await read(store, size=size)
    assert [volume for volume, visit in seen if visit] == [store.volume]
    assert len(store.engine.patterns.reads._readers) == bool(size), "an open says nothing of the order of reads"
    (visits,) = store.engine.patterns.hours._visits.values()
    assert visits == {store.volume: 1}
    await read(store, size=size)
    assert visits == {store.volume: 1}, "the same visit"


async def test_the_tail_of_a_file_whose_head_is_read_is_not_touched(tmp_path):
    settings = deciding_settings(tmp_path, limits={"volume_bytes": 1 << 22})
    async with deciding_engine(tmp_path, settings=settings) as store:
        handle, number = await create(store.engine, b"long", bytes(9_000_000))
        await close(store.engine, handle)
        await store.engine.files.settle(None)
        first, *_, last = await store.volumes("long")
        assert first != last
        store.number = number
        await read(store, size=100_000)
        assert store.engine.heat.today(first).visits == 1
        assert (store.engine.heat.today(last).visits, store.engine.heat.today(last).sent) == (0, 0)


async def test_attributes_and_directories_say_nothing(store):
    engine = store.engine
    engine.files.attributes.get(store.number)
    engine.files.xattrs.names(store.number)
    assert b"hot" in await engine.files.xattrs.fact(store.number, b"user.stratum.why")
    assert await engine.files.xattrs.fact(store.number, b"user.stratum.tier") == b"hot"
    assert (today(store).visits, today(store).sent, today(store).flags) == (0, 0, 0)


async def test_a_file_that_is_written_to_again_is_write_hot(store):
    assert today(store).flags == 0
    handle = store.engine.files.open(store.number, writes=True)
    await store.engine.files.write(handle, 0, bytes(2_000_000))
    await close(store.engine, handle)
    await store.engine.files.settle(None)
    for volume in await store.volumes("a"):
        assert store.engine.heat.today(volume).flags & WRITTEN
