"""The store decides by itself where volumes belong, as weeks pass on its clock."""

import random
from dataclasses import replace

import msgspec
import pytest

from stratum.core.schema import BLOCK, HISTORY
from stratum.core.tiering.decide import decide
from stratum.core.tiering.explain import from_json, to_json
from stratum.core.tiering.policy import Policy
from stratum.core.tiering.rule import REASONS
from stratum.core.tiering.settings import KIND, BucketTiering
from stratum.core.txn import successor
from tests.engine.deciding import BOOK, DAY, HandClock, deciding_engine, deciding_settings
from tests.engine.tiered import reap
from tests.fakes.backend import FakeBackend

HOUR = DAY // 24


def rows(store, table):
    return store.engine.meta.read(lambda txn: [key for key, _ in txn.scan(table, successor(table))])


async def part(store, key):
    return (await store.explain(key))["parts"][0]


async def turns(store, key):
    return [(turn["from"], turn["to"], turn["reason"]) for turn in (await part(store, key))["history"] if turn["done"]]


async def days_until(store, key, tier, most=90):
    for day in range(1, most + 1):
        await store.days()
        if await store.tier(key) == tier:
            return day
    return None


async def test_what_nobody_reads_cools_down_for_a_reason_and_comes_back_when_it_is_read(tmp_path):
    async with deciding_engine(tmp_path) as store:
        await store.put("films/a")
        before = await store.engine.objects.head("bucket", b"films/a")
        assert await days_until(store, "films/a", "cold")
        for _ in range(15):
            await store.read("films/a", times=2)
            await store.days()
        assert await store.tier("films/a") == "hot"
        way = await turns(store, "films/a")
        assert way[0][:2] == ("hot", "cold") and way[-1][1:] == ("hot", "RATE_UP")
        assert await store.engine.objects.head("bucket", b"films/a") == before, "no client sees it"
        for _ in range(60):
            await store.days()
        assert (await turns(store, "films/a"))[-1][2] in ("RATE_DOWN", "IDLE_PAST_BREAKEVEN", "BOUND")


async def test_observing_moves_nothing_but_explains_what_it_would_do(tmp_path):
    async with deciding_engine(tmp_path, mode="observe") as store:
        await store.put("films/a")
        await store.days(60)
        found = await part(store, "films/a")
        assert await store.tier("films/a") == "hot" and found["state"] == "observed"
        assert found["decision"]["tier"] == "cold" and not store.engine.tiers.mover.moved
        (observed,) = [turn for turn in found["history"] if turn["from"] != turn["to"]]
        assert observed["observed"] and not observed["done"] and observed["predicted_a_month"] > 0
        assert store.engine.tiering.rows.state.totals.predicted == 0.0


async def test_switched_off_nothing_is_counted_or_decided(tmp_path):
    async with deciding_engine(tmp_path, mode="off") as store:
        await store.put("films/a")
        assert not store.engine.heat.on and store.engine.tiering.services == []
        found = await store.explain("films/a")
        assert found["sentence"] == "hot: deciding is off" and found["mode"] == "off"


@pytest.mark.parametrize(
    "budget, an_hour",
    [({"gb_per_hour": 0.0032}, 1), ({"requests_per_hour": 2}, 2), ({"money_per_day": 2.5e-6}, 1)],
)
async def test_budgets_hold_and_what_waits_goes_later(tmp_path, budget, an_hour):
    async with deciding_engine(tmp_path, **budget) as store:
        for number in range(6):
            await store.put(f"films/{number}", seed=number)
        for _ in range(20):
            if not len(store.engine.tiering.queue):
                await store.days()
        begun = len([n for n in range(6) if await store.tier(f"films/{n}") != "hot"])
        waiting = [n for n in range(6) if await store.tier(f"films/{n}") == "hot"]
        assert "MOVE_LIMIT" in (await part(store, f"films/{waiting[-1]}"))["state"]
        for hour in range(1, 4):
            store.clock.ns += HOUR
            await store.engine.tiering.catch_up()
            await store.settle()
            moved = len([n for n in range(6) if await store.tier(f"films/{n}") != "hot"])
            assert 0 < begun <= moved <= begun + an_hour * hour
        await store.days(6)
        assert {await store.tier(f"films/{n}") for n in range(6)} == {"cold"}


@pytest.mark.parametrize("where", ["metadata", "tags"])
async def test_a_pin_is_an_order(tmp_path, where):
    async with deciding_engine(tmp_path) as store:
        for tier in ("hot", "warm", "cold"):
            await store.put(f"films/{tier}", **{where: {"stratum-pin": tier}})
        await store.days()
        for tier in ("hot", "warm", "cold"):
            assert await store.tier(f"films/{tier}") == tier
        assert (await part(store, "films/warm"))["reason"] == "PIN"
        assert await turns(store, "films/cold") == [("hot", "cold", "PIN")]
        await store.days(60)
        for tier in ("hot", "warm", "cold"):
            await store.read(f"films/{tier}", times=20)
        await store.days()
        for tier in ("hot", "warm", "cold"):
            assert await store.tier(f"films/{tier}") == tier
        assert "pinned to hot" in (await store.explain("films/hot"))["sentence"]


async def test_pins_and_hints_may_be_attributes_of_a_file(tmp_path):
    async with deciding_engine(tmp_path) as store:
        await store.put("a")
        number = (await store.engine.objects.head("bucket", b"a")).inode_number
        await store.engine.files.xattrs.set(number, b"user.stratum.pin", b"warm")
        await store.days()
        assert await store.tier("a") == "warm"
        why = await store.engine.files.xattrs.fact(number, b"user.stratum.why")
        assert why.startswith(b"warm: read on 0 of the last 1 days (pinned to warm)")
        await store.engine.files.xattrs.remove(number, b"user.stratum.pin")
        await store.engine.files.xattrs.set(number, b"user.stratum.hint", b"cold")
        assert "hint cold" in (await store.explain("a"))["sentence"]


async def test_a_hint_shifts_the_estimate_and_is_no_order(tmp_path):
    async with deciding_engine(tmp_path) as store:
        for name, hint in (("plain", {}), ("cold", {"stratum-hint": "cold"}), ("hot", {"stratum-hint": "hot"})):
            await store.put(f"{name}/a", metadata=hint)
        went: dict = dict.fromkeys(("plain", "cold", "hot"))
        for day in range(1, 40):
            await store.days()
            for name in went:
                if went[name] is None and await store.tier(f"{name}/a") == "cold":
                    went[name] = day
            if day == 1:
                found = {name: (await part(store, f"{name}/a"))["decision"]["leave_rate"] for name in went}
                assert found["cold"] < found["plain"] < found["hot"]
        assert went["cold"] <= went["plain"] < 7 <= went["hot"], "a hint `hot` holds for a week, and then no longer"


async def test_a_bucket_says_what_holds_for_all_its_objects(tmp_path):
    book = replace_book(cold={"first_byte_ms": 200.0})
    async with deciding_engine(tmp_path, prices=book) as store:
        wishes = {
            "no-cold": BucketTiering(no_cold=True),
            "quick": BucketTiering(max_latency_ms=50.0),
            "pinned": BucketTiering(pin="hot"),
            "watched": BucketTiering(mode="observe"),
            "free": BucketTiering(),
        }
        for name, said in wishes.items():
            await store.engine.buckets.create(name, "alice")
            await store.engine.configurations.put(name, KIND, said)
            await store.put("a", bucket=name)
        await store.days(80)
        found = {name: await store.tier("a", bucket=name) for name in wishes}
        assert found == {"no-cold": "warm", "quick": "warm", "pinned": "hot", "watched": "hot", "free": "cold"}


def replace_book(**tiers):
    changed = {name: msgspec.structs.replace(getattr(BOOK.tier, name), **changes) for name, changes in tiers.items()}
    return msgspec.structs.replace(BOOK, tier=msgspec.structs.replace(BOOK.tier, **changed))


async def test_a_spike_promotes_at_once_and_not_in_the_evening(tmp_path):
    async with deciding_engine(tmp_path, prices=replace_book(cold={"first_byte_ms": 1000.0})) as store:
        await store.put("films/a")
        assert await days_until(store, "films/a", "cold")
        await store.days(10)
        await store.read("films/a", times=2)
        await store.engine.tiering.catch_up()
        assert await store.tier("films/a") == "cold", "two visits are no spike"
        for who in range(10, 22):
            await store.read("films/a", who=who)
        await store.engine.tiering.catch_up()
        await store.settle()
        assert await store.tier("films/a") in ("hot", "warm")
        assert (await turns(store, "films/a"))[-1][2] == "SPIKE"
        view = await store.engine.objects.head("bucket", b"films/a")
        assert store.engine.tiering.reason_of(view) == "SPIKE"


async def test_reads_said_to_be_a_sweep_promote_nothing_and_are_priced_in_the_group(tmp_path):
    async with deciding_engine(tmp_path) as store:
        for number in range(4):
            await store.put(f"films/{number}", seed=number)
        for number in range(4):
            await store.put(f"films/{number}", seed=number)
        await store.days(70)
        assert {await store.tier(f"films/{n}") for n in range(4)} == {"cold"}
        for _ in range(6):
            for number in range(4):
                await store.read(f"films/{number}", sweep=True)
            await store.days()
        assert {await store.tier(f"films/{n}") for n in range(4)} == {"cold"}
        assert store.engine.tiering.rows.state.totals.sweeps == 6
        evidence = (await part(store, "films/0"))["evidence"]
        assert evidence["group"]["sweep_rate"] > 0 and evidence["read_days_of_last_32"] == 0


async def test_looking_keeps_a_volume_out_of_cold_for_a_week_and_no_longer(tmp_path):
    async with deciding_engine(tmp_path) as store:
        await store.put("films/a")
        await store.put("films/b")
        held = set()
        for _ in range(60):
            for volume in await store.volumes("films/b"):
                store.engine.heat.interest(volume)
            await store.days()
            held.add((await part(store, "films/b"))["reason"])
            if await store.tier("films/a") == "cold":
                break
        await store.days(10 - len(held)) if len(held) > 10 else None
        assert await store.tier("films/b") != "cold" and "INTEREST" in held
        assert await days_until(store, "films/b", "cold", most=30)


async def test_what_was_just_written_over_is_not_cold_the_same_day(tmp_path):
    async with deciding_engine(tmp_path) as store:
        metadata = {"stratum-hint": "cold"}
        await store.put("films/a", metadata=metadata)
        await store.put("films/new", metadata=metadata)
        await store.put("films/a", seed=2, metadata=metadata)
        (over,), (new,) = await store.volumes("films/a"), await store.volumes("films/new")
        evenings = store.engine.tiering
        await store.days()
        flags = [evenings.rows.block(number).get(number)[0].written for number in (over, new)]
        assert flags[0] == evenings.today - 1 and flags[1] == 0
        assert (await part(store, "films/a"))["decision"]["situation"]["written"] == 0


async def test_evidence_decays_and_a_young_volume_is_observed_first(tmp_path):
    async with deciding_engine(tmp_path) as store:
        await store.put("films/a")
        for _ in range(20):
            await store.read("films/a")
            await store.days()
        rates = []
        for _ in range(20):
            rates.append((await part(store, "films/a"))["evidence"]["full_reads_a_day"]["colder"])
            await store.days(2)
        assert rates[0] > 0.2 and rates == sorted(rates, reverse=True) and rates[-1] < rates[0] * 0.75
        reasons = set()
        await store.put("films/young", metadata={"stratum-hint": "cold"})
        for _ in range(8):
            await store.days()
            reasons.add((await part(store, "films/young"))["reason"])
        assert reasons <= set(REASONS)


async def test_a_tier_that_runs_full_gets_dearer_until_something_leaves(tmp_path, monkeypatch):
    async with deciding_engine(tmp_path) as store:
        await store.put("films/a")
        for _ in range(25):
            await store.read("films/a", times=3)
            await store.days()
        assert await store.tier("films/a") == "hot"
        taken = [0.97]
        monkeypatch.setattr(store.engine.tiering, "_taken", lambda tier: taken[0] if tier == "" else 0.2)
        prices = []
        while await store.tier("films/a") == "hot":
            await store.read("films/a", times=3)
            await store.days()
            prices.append(store.engine.tiering.shadow()[0])
            assert len(prices) < 40
        assert prices[0] > 0 and prices == sorted(prices)
        taken[0] = 0.5
        await store.days(12)
        assert store.engine.tiering.shadow()[0] == 0.0


async def test_all_is_remembered_over_a_restart_and_goes_with_the_volume(tmp_path):
    clock, cold = HandClock(), FakeBackend()
    async with deciding_engine(tmp_path, clock=clock, cold=cold) as store:
        await store.put("films/a")
        await store.put("films/b", seed=2)
        await store.days(40)
        await store.read("films/a")
        before = await store.explain("films/a")
        assert store.engine.heat.pending
    async with deciding_engine(tmp_path, clock=clock, cold=cold) as store:
        assert await store.explain("films/a") == before
        assert before["parts"][0]["evidence"]["today"]["visits"] == 1
        assert len(rows(store, BLOCK)) == 1 and len(rows(store, HISTORY)) == 2
        await store.engine.objects.delete("bucket", b"films/a")
        await reap(store.engine)
        await store.days()
        assert len(rows(store, HISTORY)) == 1
        await store.engine.objects.delete("bucket", b"films/b")
        await reap(store.engine)
        await store.days()
        assert rows(store, BLOCK) == rows(store, HISTORY) == []
        assert not store.engine.tiering.rows.groups


async def test_days_that_the_server_was_down_are_days_without_a_read(tmp_path):
    clock, cold = HandClock(), FakeBackend()
    async with deciding_engine(tmp_path, clock=clock, cold=cold) as store:
        await store.put("films/a")
        await store.days(3)
    clock.ns += 50 * DAY
    async with deciding_engine(tmp_path, clock=clock, cold=cold) as store:
        await store.engine.tiering.catch_up()
        await store.settle()
        assert (await part(store, "films/a"))["evidence"]["days_observed"] == 53
        assert await store.tier("films/a") == "cold"


async def test_an_operators_move_is_on_record_and_is_not_undone_the_next_evening(tmp_path):
    async with deciding_engine(tmp_path) as store:
        await store.put("films/a")
        assert await days_until(store, "films/a", "cold")
        view = await store.engine.objects.head("bucket", b"films/a")
        await store.engine.tiers.want_object(view, "hot", "OPERATOR")
        await store.settle()
        assert (await part(store, "films/a"))["history"][-1]["by"] == "operator"
        await store.days()
        found = await part(store, "films/a")
        assert await store.tier("films/a") == "hot" and found["constraints"] == ["RESIDENCE"]
        assert found["decision"]["situation"]["came_from"] == 2
        assert await days_until(store, "films/a", "cold"), "but it is no pin"


async def test_a_move_that_a_crash_hid_from_the_history_is_found_at_the_next_look(tmp_path):
    async with deciding_engine(tmp_path) as store:
        await store.put("films/a", metadata={"stratum-pin": "warm"})
        store.engine.tiers.mover.on_moved = lambda *_: None
        await store.days()
        assert await store.tier("films/a") == "warm" and await turns(store, "films/a") == []
        await store.days(2)
        assert await turns(store, "films/a") == [("hot", "warm", "PIN")]
        assert (await part(store, "films/a"))["decision"]["situation"]["resident"] < 3


@pytest.mark.parametrize("there, expected", [("warm", "warm"), ("cold", "cold")])
async def test_only_tiers_that_are_configured_take_part(tmp_path, there, expected):
    settings = deciding_settings(tmp_path)
    settings = (
        replace(settings, storage_classes=()) if there == "warm" else replace(settings, warm=None, storage_classes=())
    )
    async with deciding_engine(tmp_path, settings=settings, without_cold=there == "warm") as store:
        await store.put("films/a")
        await store.days(80)
        assert await store.tier("films/a") == expected
        found = await store.explain("films/a")
        assert found["tiers"] == ["hot", there]
        assert [cost["tier"] for cost in found["parts"][0]["costs"]] == ["hot", there]
        assert ("cold" if there == "warm" else "warm") not in found["sentence"]


async def test_with_a_short_day_weeks_pass_in_minutes(tmp_path):
    clock = HandClock()
    async with deciding_engine(tmp_path, clock=clock, day_seconds=2.0) as store:
        await store.put("films/a")
        for _ in range(120):
            clock.ns += 2 * 10**9
            await store.engine.tiering.catch_up()
            await store.settle()
            if await store.tier("films/a") == "cold":
                break
        assert await store.tier("films/a") == "cold"
        assert clock.ns < HandClock().ns + 4 * 60 * 10**9


async def test_a_thousand_decisions_of_a_running_store_are_made_again_from_their_json(tmp_path):
    rng, seen, made = random.Random(5), set(), 0
    async with deciding_engine(tmp_path) as store:
        names = [f"{prefix}/{number}" for prefix in ("busy", "quiet", "mixed") for number in range(12)]
        for at, name in enumerate(names):
            hint = rng.choice([{}, {}, {}, {"stratum-hint": "cold"}, {"stratum-pin": "warm"}])
            await store.put(name, size=rng.randrange(1_100_000, 1_600_000), seed=at, metadata=hint)
        for day in range(28):
            for name in names:
                busy = name.startswith("busy") or (name.startswith("mixed") and day > 14)
                if busy and rng.random() < 0.4:
                    await store.read(name, times=rng.randrange(1, 4))
            await store.days()
            for name in names:
                found = (await store.explain(name))["parts"][0]
                text = msgspec.json.encode(found["decision"])
                decision = from_json(text)
                again = decide(decision.situation, decision.prices, decision.policy)
                assert again == decision and to_json(again) == text
                seen.add((decision.was, decision.tier, decision.reason))
                made += 1
    assert made >= 1000 and len({way[:2] for way in seen}) >= 3 and len(seen) >= 6


async def test_a_young_volume_is_observed_for_its_warm_up_and_the_wait_is_shown(tmp_path):
    async with deciding_engine(tmp_path, policy=Policy(warm_up_share=1.0, bound=0.0)) as store:
        await store.put("films/a")
        await store.days(2)
        found = await part(store, "films/a")
        assert await store.tier("films/a") == "hot"
        assert (found["reason"], found["constraints"], found["wished"]) == ("WARM_UP", ["WARM_UP"], "cold")
        assert "it has not been observed for long enough yet" in found["sentence"]
        assert await days_until(store, "films/a", "cold", most=7) in range(2, 7)


async def test_a_move_back_before_the_break_even_time_needs_several_days_of_reads(tmp_path):
    policy = Policy(brake_reads=4, bound=0.0, spike_visits=100)
    dear = replace_book(cold={"retrieval_usd_per_gb": 4.0}, warm={"storage_usd_per_gb_month": 11.0})
    async with deciding_engine(tmp_path, policy=policy, prices=dear) as store:
        await store.put("films/a", metadata={"stratum-hint": "cold"})
        assert await days_until(store, "films/a", "cold")
        held = []
        for _ in range(6):
            await store.read("films/a", times=8)
            await store.days()
            held.append((await part(store, "films/a"))["reason"])
        assert "FLIP_FLOP" in held and held[-1] != "FLIP_FLOP"
        assert await store.tier("films/a") != "cold"
        assert store.engine.tiering.rows.state.totals.flip_flops in (0, 1)
