"""Patterns of reads act through the real engine: streams are read ahead of, footers go hot, hours come back."""

import random

import pytest
import trio
import trio.testing

from stratum.core.config import MIB
from stratum.core.manifest import spans_in
from stratum.core.schema import HABITS, ROOT_INODE
from stratum.core.tiering.prices import ThreeTiers, TierPrice
from stratum.core.txn import save, successor
from tests.engine.deciding import BOOK, DAY, deciding_engine, deciding_settings
from tests.engine.test_packing import seal

HOUR = DAY // 24


def book_of(**warm):
    """Reading from warm is dear beside the rent, so that a peak is worth a promotion; or it is not."""
    prices = {"storage_usd_per_gb_month": 6.0, "write_usd_per_gb": 0.1, **warm}
    return type(BOOK)(
        name="peaky", month_days=30.0, waiting_usd_per_hour=0.0,
        tier=ThreeTiers(hot=BOOK.tier.hot, warm=TierPrice(**prices), cold=BOOK.tier.cold),
    )  # fmt: skip


async def spans_of(store, key):
    content = (await store.engine.objects.head("bucket", key.encode())).inode.content
    return store.engine.meta.read(lambda txn: spans_in(txn, content, 0, 1 << 40))


async def read_range(store, key, start, stop, who=1):
    store.engine.heat.read_spans(await spans_of(store, key), start, stop, who)


async def to(store, key, tier):
    await store.engine.tiers.want(await store.volumes(key), tier, "TEST")
    await store.settle()


async def test_a_reader_that_comes_back_with_the_next_range_finds_it_fetched_also_in_the_next_volume(tmp_path):
    limits = {"volume_bytes": 4 * MIB, "cold_ahead_bytes": 4 * MIB}
    async with deciding_engine(tmp_path, settings=deciding_settings(tmp_path, limits, mode="observe")) as store:
        await store.put("film", 15 * MIB)
        await to(store, "film", "cold")
        assert len(await store.volumes("film")) == 4
        content = b""
        opened = await store.engine.objects.open("bucket", b"film")
        waits = []
        for at in range(0, 15 * MIB, MIB):
            held = store.engine.volumes.held
            before = held.waited
            content += b"".join([piece async for piece in opened.stream(at, at + MIB)])
            waits.append(held.waited > before)
            await read_range(store, "film", at, at + MIB)
            await trio.testing.wait_all_tasks_blocked(0.002)
            while held._ahead:
                await trio.sleep(0.001)
        assert content == (b"film" * (15 * MIB // 4))[:-1] + b"\1"
        assert waits[0] and not any(waits[4:]), waits
        assert store.engine.patterns.reads.ahead_bytes >= 8 * MIB


async def test_a_mounted_file_that_is_read_from_front_to_back_is_ahead_of_its_reader_and_a_jump_begins_anew(tmp_path):
    limits = {"volume_bytes": 4 * MIB, "cold_ahead_bytes": 4 * MIB}
    async with deciding_engine(tmp_path, settings=deciding_settings(tmp_path, limits, mode="observe")) as store:
        await store.put("film", 15 * MIB)
        await to(store, "film", "cold")
        files, held, piece = store.engine.files, store.engine.volumes.held, MIB // 8
        bucket = files.names.lookup(ROOT_INODE, b"bucket")[0]
        handle = files.open(files.names.lookup(bucket, b"film")[0], writes=False)
        waited = []
        for at in range(0, 15 * MIB, piece):
            before = held.waited
            await files.read(handle, at, piece)
            waited.append(held.waited > before)
            await trio.testing.wait_all_tasks_blocked(0.001)
            while held._ahead:
                await trio.sleep(0.001)
        assert waited[0] and not any(waited[3 * MIB // piece :]), "from the third MiB on, over the borders of volumes"
        asked = files.ahead.asked_bytes
        for at in (2 * MIB, 9 * MIB, 5 * MIB):
            await files.read(handle, at, 100)
        assert files.ahead.asked_bytes == asked, "who jumps does not want what comes next"
        await files.release(handle)
        assert not files.ahead._readers


async def test_short_reads_here_and_there_make_their_volume_hot_and_streams_are_content_with_warm(tmp_path):
    async with deciding_engine(tmp_path, settings=deciding_settings(tmp_path, {"volume_bytes": 4 * MIB})) as store:
        await store.put("tables/a.parquet", 12 * MIB)
        await store.put("films/b", 12 * MIB, seed=2)
        for key in ("tables/a.parquet", "films/b"):
            await to(store, key, "warm")
        for day in range(3):
            for at in (12 * MIB - 8, 12 * MIB - 70_000, 9 * MIB + 500, 11 * MIB + 9, 8 * MIB + 10, 11 * MIB, 9 * MIB):
                await read_range(store, "tables/a.parquet", at, min(at + 4000, 12 * MIB), who=day)
            for who in range(6):
                for at in range(0, 12 * MIB, MIB):
                    await read_range(store, "films/b", at, at + MIB, who=hash((day, who)))
            await store.days()
        found = [store.engine.tiering.record_of(each).tier or "hot" for each in await store.volumes("tables/a.parquet")]
        assert found[-1] == "hot" and found[0] != "hot", "the volume with the footer, and no other"
        assert "read here and there" in str(
            (await store.explain("tables/a.parquet"))["parts"][-1]["evidence"]["wishes"]
        )
        assert await store.tier("films/b") == "warm", "streams do not need disks that seek"
        for _ in range(10):
            await store.days()
        assert store.engine.patterns.reads.word((await store.volumes("tables/a.parquet"))[-1]) == ""


@pytest.mark.parametrize("said", [{"stratum-pin": "warm"}, {}])
async def test_a_pin_stands_above_a_pattern(tmp_path, said):
    async with deciding_engine(tmp_path) as store:
        await store.put("tables/a", 3 * MIB, metadata=said)
        await to(store, "tables/a", "warm")
        for _ in range(2):
            for at in (3 * MIB - 8, MIB, 2 * MIB + 9, MIB // 2, 3 * MIB - 99, MIB // 3):
                await read_range(store, "tables/a", at, at + 8)
            await store.days()
        assert await store.tier("tables/a") == ("warm" if said else "hot")


async def hours(store, count, each=lambda hour: None):
    for _ in range(count):
        store.clock.ns += HOUR
        hour = store.engine.heat.days.at(store.clock.ns)[1] // 60
        await store.engine.patterns.hours.turn()
        await store.engine.tiering.catch_up()
        await store.settle()
        done = each(hour)
        if done is not None:
            await done


async def test_what_is_read_every_morning_is_hot_before_the_next_and_nothing_else_is(tmp_path):
    settings = deciding_settings(tmp_path, prices=book_of(retrieval_usd_per_gb=1.0))
    async with deciding_engine(tmp_path, settings=settings) as store:
        for name in ("reports/a", "reports/b", "reports/never", "other/c"):
            await store.put(name, 3 * MIB, seed=len(name))

        def reads(hour):
            if hour == 9:
                return read_all(store, ["reports/a", "reports/b"])
            return read_all(store, ["other/c"]) if hour % 5 == 0 else None

        await hours(store, 24 * 6, reads)
        for name in ("reports/a", "reports/never"):
            await to(store, name, "warm")
        while store.engine.heat.days.at(store.clock.ns)[1] // 60 != 7:
            await hours(store, 1)
        for name in ("reports/a", "reports/never"):
            await to(store, name, "warm")
        before = store.engine.patterns.hours.promoted
        await hours(store, 1)
        assert store.engine.patterns.hours.promoted == before + 1
        assert await store.tier("reports/a") == "hot", "an hour before it is asked for"
        assert await store.tier("reports/never") == "warm"
        told = await store.explain("reports/a")
        assert "peak" in str(told).lower()


async def test_a_read_at_the_beginning_of_an_hour_is_of_that_hour_whenever_the_clock_is_looked_at(tmp_path):
    """Programs are started on the hour; the next look at the clock may be a minute later."""
    async with deciding_engine(tmp_path, settings=deciding_settings(tmp_path)) as store:
        await store.put("reports/a", 3 * MIB)
        await hours(store, 24)
        store.clock.ns += HOUR
        hour = store.engine.heat.days.at(store.clock.ns)[1] // 60
        await read_all(store, ["reports/a"])
        await hours(store, 2)
        assert [at for _, at in store.engine.patterns.hours._regulars] == [hour]


async def read_all(store, names):
    for name in names:
        await store.read(name)
        for volume in await store.volumes(name):
            for watch in store.engine.heat.watchers:
                watch(volume, 1, 0, 3 * MIB, visit=True)


async def test_hours_are_remembered_over_a_restart_and_a_peak_that_does_not_pay_moves_nothing(tmp_path):
    settings = deciding_settings(tmp_path, prices=book_of())
    async with deciding_engine(tmp_path, settings=settings) as store:
        await store.put("reports/a", 3 * MIB)
        await hours(store, 24 * 6, lambda hour: read_all(store, ["reports/a"]) if hour == 9 else None)
        await to(store, "reports/a", "warm")
        await hours(store, 24)
        assert store.engine.patterns.hours.promoted == 0, "reading from warm costs nothing more here"
        clock, kept = store.clock, store.engine.patterns.hours._profiles
        assert kept
    async with deciding_engine(tmp_path, settings=settings, clock=clock) as store:
        again = store.engine.patterns.hours._profiles
        assert {group: each.weeks for group, each in again.items()} == {
            group: each.weeks for group, each in kept.items()
        }


async def test_a_volume_of_packed_pieces_is_as_old_to_the_rule_as_they_are(tmp_path):
    settings = deciding_settings(tmp_path, {"packing_bytes_min": 1000, "packing_bytes_per_second": 10**12})
    async with deciding_engine(tmp_path, settings=settings) as store:
        turns = random.Random(1)
        for number in range(30):
            await store.put(f"notes/{number}", turns.randrange(200, 9000), seed=number)
        await seal(store.engine)
        store.clock.ns += 90 * DAY
        await store.engine.packing.walk()
        await seal(store.engine)
        (volume,) = await store.volumes("notes/3")
        await store.days(1)
        (told,) = (await store.explain("notes/3"))["parts"]
        assert told["evidence"]["days_observed"] >= 80
        assert await store.tier("notes/3") == "cold", "at once: it waited long enough"
        assert store.engine.packing.inherited(volume).idle > 80
        await store.settle()
        opened = await store.engine.objects.open("bucket", b"notes/3")
        assert b"".join([piece async for piece in opened.stream(0, opened.view.size)])


async def test_habits_of_volumes_outlive_a_restart_and_a_page_that_is_not_understood_is_left_out(tmp_path):
    settings = deciding_settings(tmp_path, prices=book_of(retrieval_usd_per_gb=1.0))
    async with deciding_engine(tmp_path, settings=settings) as store:
        for name in ("reports/a", "table"):
            await store.put(name, 3 * MIB, seed=len(name))
        await hours(store, 24 * 6, lambda hour: read_all(store, ["reports/a"]) if hour == 9 else None)
        while store.engine.heat.days.at(store.clock.ns)[1] // 60 != 7:
            await hours(store, 1)
        await to(store, "reports/a", "warm")
        (table,) = await store.volumes("table")
        for at in (2_900_000, 1_700_000, 500_000) * 2:
            await read_range(store, "table", at, at + 100)
        watched, clock = store.engine.patterns, store.clock
        assert watched.reads.word(table) == "scattered"
    async with deciding_engine(tmp_path, settings=settings, clock=clock) as store:
        again = store.engine.patterns
        assert again.reads.word(table) == "scattered"
        assert dict(again.hours._regulars) == dict(watched.hours._regulars) and again.hours._regulars
        await store.engine.patterns.hours.turn()
        await hours(store, 1)
        assert await store.tier("reports/a") == "hot", "promoted before the hour, by what was learnt before the restart"
        held = dict(again.hours._held)
        assert held
    async with deciding_engine(tmp_path, settings=settings, clock=clock) as store:
        assert dict(store.engine.patterns.hours._held) == held

        def spoil(txn):
            for key, _ in list(txn.scan(HABITS, successor(HABITS))):
                save(txn, key, b"\x02 of another version")

        await store.engine.meta.write(spoil)
        store.engine.patterns.hours._regulars.clear()
        store.engine.patterns.hours.start()
        assert not store.engine.patterns.hours._regulars


async def test_learning_commits_nothing_until_the_day_is_over_and_a_second_time_nothing(tmp_path):
    async with deciding_engine(tmp_path, settings=deciding_settings(tmp_path)) as store:
        await store.put("reports/a", 3 * MIB)
        await store.days()
        hours_of, applied = store.engine.patterns.hours, []
        await hours_of.turn()
        await hours_of.keep()
        apply = store.engine.meta.apply
        store.engine.meta.apply = lambda change: (applied.append(1), apply(change))[1]
        await read_all(store, ["reports/a"])
        await hours(store, 3)
        learnt = len(applied)
        await hours_of.keep()
        assert len(applied) > learnt
        kept = len(applied)
        await hours_of.keep()
        assert len(applied) == kept
        store.engine.meta.apply = apply
