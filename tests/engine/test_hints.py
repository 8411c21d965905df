"""Hints act: each word, whether it came as metadata, as a tag or as an attribute; and what they were worth is shown."""

from datetime import date, timedelta

import pytest
from msgspec.structs import replace

from stratum.core.config import MIB
from stratum.core.errors import InvalidArgument
from stratum.core.tiering.hints import DAYS
from tests.engine.deciding import DAY, NOON, deciding_engine, deciding_settings
from tests.engine.test_deciding import part, replace_book
from tests.engine.test_patterns import book_of, hours, read_all, to

TODAY = NOON // DAY


def on(day: int) -> str:
    return str(date(1970, 1, 1) + timedelta(days=day))


async def say(store, key, where, hint, size=3_000_000):
    """Put an object that has a hint in one of the three ways."""
    await store.put(key, size=size, **({} if where == "xattr" else {where: {"stratum-hint": hint}}))
    if where == "xattr":
        number = (await store.engine.objects.head("bucket", key.encode())).inode_number
        await store.engine.files.xattrs.set(number, b"user.stratum.hint", hint.encode())


everywhere = pytest.mark.parametrize("where", ["metadata", "tags", "xattr"])


@everywhere
async def test_orders_among_hints_are_kept(tmp_path, where):
    book = replace_book(cold={"first_byte_ms": 200.0})
    async with deciding_engine(tmp_path, prices=book) as store:
        words = {
            "plain": "cold",
            "pin": "pin=warm",
            "no": "no-cold cold",
            "quick": "max-latency=50ms",
            "wrong": "frozen",
        }
        for name, hint in words.items():
            await say(store, f"{name}/a", where, hint) if hint != "frozen" or where != "xattr" else await store.put(
                "wrong/a"
            )
        await store.days(80)
        found = {name: await store.tier(f"{name}/a") for name in words}
        assert found == {"plain": "cold", "pin": "warm", "no": "warm", "quick": "warm", "wrong": "cold"}
        assert (await part(store, "pin/a"))["reason"] == "PIN"
        if where != "xattr":
            assert "hint frozen not understood" in (await store.explain("wrong/a"))["sentence"]


async def test_an_attribute_with_a_hint_that_is_none_is_refused(tmp_path):
    async with deciding_engine(tmp_path) as store:
        await store.put("a")
        number = (await store.engine.objects.head("bucket", b"a")).inode_number
        for wrong in (b"frozen", b"", b"schedule=noon", b"hot frozen"):
            with pytest.raises(InvalidArgument):
                await store.engine.files.xattrs.set(number, b"user.stratum.hint", wrong)


@everywhere
async def test_what_expires_soon_stays_and_after_its_day_it_goes_before_its_like(tmp_path, where):
    """A move must pay until the day; from then on nobody is expected to read it."""
    book = replace_book(warm={"write_usd_per_gb": 4.0}, cold={"write_usd_per_gb": 4.0})
    async with deciding_engine(tmp_path, prices=book) as store:
        await store.put("plain/a")
        await say(store, "ends/a", where, f"expire={on(TODAY + 8)}")
        went = {}
        for day in range(1, 30):
            await store.days()
            for name in ("plain", "ends"):
                if name not in went and await store.tier(f"{name}/a") == "cold":
                    went[name] = day
            if day == 6:
                told = await part(store, "ends/a")
                assert told["decision"]["situation"]["remaining"] == 3
        assert went["plain"] < 8 <= went["ends"] <= 12
        judged = (await part(store, "ends/a"))["evidence"]["hints_so_far"]["expire"]
        assert judged["helps"] and judged["reads_seen"] == 0 < judged["reads_said"] < judged["reads_without"]


@everywhere
async def test_what_is_scheduled_is_there_an_hour_before_also_from_cold_and_no_habit_was_needed(tmp_path, where):
    settings = deciding_settings(tmp_path, prices=book_of(retrieval_usd_per_gb=1.0))
    async with deciding_engine(tmp_path, settings=settings) as store:
        day = DAYS[(TODAY + 3) % 7]
        await say(
            store, "reports/a", where, f"schedule={day}@09:00+{day}@14:00+{DAYS[(TODAY + 4) % 7]}@9", size=3 * MIB
        )
        await store.put("reports/b", 3 * MIB, seed=2)
        await hours(store, 24)
        for name in ("reports/a", "reports/b"):
            await to(store, name, "cold")
        while store.engine.heat.days.at(store.clock.ns) != (TODAY + 3, 7 * 60):
            await hours(store, 1)
        assert await store.tier("reports/a") == "cold"
        await hours(store, 1)
        assert await store.tier("reports/a") == "hot", "an hour before it is asked for"
        assert await store.tier("reports/b") == "cold"
        told = await store.explain("reports/a")
        assert "told to be read at certain hours: kept hot" in told["sentence"] and "SCHEDULE" in str(told)
        await hours(store, 1)
        await read_all(store, ["reports/a"])
        await hours(store, 24 * 2)
        assert await store.tier("reports/a") == "hot"
        judged = store.engine.tiering.status()["hints"]["schedule"]
        assert (judged["reads_said"], judged["reads_seen"]) == (3.0, 1.0)


async def test_a_schedule_survives_a_restart_and_ends_with_the_hint(tmp_path):
    settings = deciding_settings(tmp_path, prices=book_of(retrieval_usd_per_gb=1.0))
    async with deciding_engine(tmp_path, settings=settings) as store:
        await say(store, "reports/a", "tags", "schedule=09:00", size=3 * MIB)
        await store.days(2)
        clock, kept = store.clock, store.engine.patterns.hours._scheduled
        assert [len(each) for each in kept.values()] == [7]
    async with deciding_engine(tmp_path, settings=settings, clock=clock) as store:
        assert store.engine.patterns.hours._scheduled == kept
        await store.put("reports/a", 3 * MIB, tags={"stratum-hint": "hot"})
        await store.days(3)
        assert not store.engine.patterns.hours._scheduled


async def test_hints_are_judged_by_what_was_read(tmp_path):
    async with deciding_engine(tmp_path) as store:
        await store.put("right/a", metadata={"stratum-hint": "cold"})
        await store.put("wrong/a", metadata={"stratum-hint": "hot"})
        for _ in range(6):
            await store.days()
        found = store.engine.tiering.status()["hints"]
        assert found["cold"]["helps"] and not found["hot"]["helps"]
        assert 2 <= found["cold"]["days"] <= 6 and found["hot"]["reads_seen"] == 0


@pytest.mark.parametrize("where", ["tags", "xattr"])
async def test_a_wish_of_later_is_heard_the_same_evening_and_not_when_its_volume_is_due(tmp_path, where):
    async with deciding_engine(tmp_path) as store:
        await store.put("films/a")
        await store.days(40)
        assert await store.tier("films/a") == "cold"
        for pin in ("warm", "hot"):
            if where == "tags":
                tags = {"stratum-pin": pin}
                change = lambda inode: replace(inode, tags=tags)  # noqa: E731, B023 - runs at once
                await store.engine.objects.amend("bucket", b"films/a", None, change, "ObjectTagging:Put")
            else:
                number = (await store.engine.objects.head("bucket", b"films/a")).inode_number
                await store.engine.files.xattrs.set(number, b"user.stratum.pin", pin.encode())
            await store.days()
            assert await store.tier("films/a") == pin
        if where == "xattr":
            await store.engine.files.xattrs.remove(number, b"user.stratum.pin")
            await store.days(2)
            assert await store.tier("films/a") != "hot"
