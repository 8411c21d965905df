"""The store judges itself: what a week cost, what it could have cost, and which moves it regrets."""

import pytest

from stratum.core.schema import TOUCH, WEEK
from stratum.core.tiers import stream_bytes
from stratum.core.txn import successor
from stratum.engine import tiering_report
from tests.engine.deciding import BOOK, HandClock, deciding_engine
from tests.fakes.backend import FakeBackend


def rows(store, table):
    return store.engine.meta.read(lambda txn: [key for key, _ in txn.scan(table, successor(table))])


async def test_a_week_without_moves_or_reads_costs_its_rent_and_the_optimum_is_never_above(tmp_path):
    async with deciding_engine(tmp_path, mode="observe") as store:
        await store.put("films/a")
        await store.days(9)
        (week, *_) = store.engine.tiering.report()
        (volume,) = await store.volumes("films/a")
        record = store.engine.tiering.record_of(volume)
        rent = 7 * record.k * record.shard_bytes / 1e9 * BOOK.rent[0]
        assert (week.rent, week.reading, week.moving) == (pytest.approx(rent), 0, 0)
        assert week.cost == pytest.approx(week.do_nothing) and week.optimum < week.cost and week.regret > 1
        assert (week.volumes, week.moves, week.regrets) == (1, 0, 0)
        assert week.forty_eight < week.do_nothing


async def test_reads_and_moves_of_the_week_are_in_its_columns(tmp_path):
    async with deciding_engine(tmp_path) as store:
        await store.put("films/a")
        for _ in range(10):
            await store.read("films/a", times=2)
            await store.days()
        (week, *_) = store.engine.tiering.report()
        assert week.reads == 14 and week.reading > 0
        for _ in range(40):
            await store.days()
        weeks = store.engine.tiering.report()
        (moved, *_) = [week for week in weeks if week.moves]
        assert moved.moving > 0 and moved.gb_moved == pytest.approx(moved.moves * moved.gb)
        assert weeks[0].moves == 0 and weeks[0].regret == pytest.approx(1.0), "in cold, unread: nothing is better"


async def test_what_a_sweep_read_on_any_day_of_the_week_is_paid_for(tmp_path):
    async with deciding_engine(tmp_path) as store:
        await store.put("films/a", metadata={"stratum-pin": "warm"})
        await store.days(3)
        assert await store.tier("films/a") == "warm"
        await store.read("films/a", sweep=True)
        await store.days(4)
        (volume,) = await store.volumes("films/a")
        gb = stream_bytes(store.engine.tiering.record_of(volume)) / 1e9
        (week, *_) = store.engine.tiering.report()
        assert (week.reading, week.reads) == (pytest.approx(gb * BOOK.tier.warm.retrieval_usd_per_gb), 0)


async def test_weeks_that_follow_each_other_hold_every_move_also_one_of_the_night_between_them(tmp_path):
    """A move that is decided on the last evening of a week is made in the next one, and is paid for there."""
    async with deciding_engine(tmp_path) as store:
        clock, seen = store.clock, set()
        for number in range(7):
            await store.put(f"films/{number}", metadata={"stratum-hint": "cold"}, seed=number)
            await store.days()
        await store.days(7)
        for number in range(7):
            (told,) = (await store.explain(f"films/{number}"))["parts"]
            seen |= {(number, turn["to"]) for turn in told["history"] if turn["done"] and turn["from"] != turn["to"]}
        assert clock is store.clock and len(seen) == 7
        weeks = store.engine.tiering.report()[::7]
        assert sum(week.moves for week in weeks) == 7
        (volume,) = await store.volumes("films/0")
        gb = stream_bytes(store.engine.tiering.record_of(volume)) / 1e9
        fee = gb * BOOK.tier.cold.write_usd_per_gb + BOOK.tier.cold.move_in_usd_per_object
        assert sum(week.moving for week in weeks) == pytest.approx(7 * fee)
        assert all(week.optimum <= week.cost for week in weeks)


async def test_a_move_that_was_undone_before_it_paid_is_regretted_by_name(tmp_path):
    async with deciding_engine(tmp_path) as store:
        await store.put("films/a", metadata={"stratum-hint": "cold"})
        await store.days(3)
        assert await store.tier("films/a") == "cold"
        for _ in range(8):
            await store.read("films/a", times=4)
            await store.days()
        assert await store.tier("films/a") != "cold"
        found = [each for week in store.engine.tiering.report() for each in week.regretted]
        assert found and (found[0].source, found[0].target) == ("hot", "cold")
        assert found[0].name == "bucket/films/a" and found[0].lost > 0


async def test_the_ledger_is_bounded_in_days_rows_and_weeks_and_outlives_a_restart(tmp_path, monkeypatch):
    monkeypatch.setattr(tiering_report, "LEDGER", 4)
    clock, cold = HandClock(), FakeBackend()
    async with deciding_engine(tmp_path, clock=clock, cold=cold, mode="observe") as store:
        for number in range(16):
            await store.put(f"films/{number}", size=1_100_000, seed=number)
        for _ in range(12):
            for number in range(16):
                await store.read(f"films/{number}")
            await store.days()
        assert len(rows(store, TOUCH)) <= 9 * 8
        (week, *_) = store.engine.tiering.report()
        assert week.sampled <= 0.5 and 0 < week.volumes < 16
        assert week.reads == week.volumes * 7
        count = len(rows(store, WEEK))
    async with deciding_engine(tmp_path, clock=clock, cold=cold, mode="observe") as store:
        assert len(store.engine.tiering.report()) == count
        assert store.engine.tiering.last_week == week


async def test_what_a_move_was_to_save_and_what_it_saved_are_on_record(tmp_path):
    async with deciding_engine(tmp_path) as store:
        await store.put("films/a")
        await store.days(40)
        (turn,) = [each for each in (await store.explain("films/a"))["parts"][0]["history"] if each["done"]]
        assert turn["predicted_a_month"] > 0 and turn["payback_days"] < 30
        totals = store.engine.tiering.rows.state.totals
        assert totals.predicted == pytest.approx(turn["predicted_a_month"])
        assert turn["realised"] == pytest.approx(totals.realised - turn["move_cost"])
        rate = turn["predicted_a_month"] / 30.4375
        assert 0.5 * rate * 20 < totals.realised < 1.5 * rate * 40
