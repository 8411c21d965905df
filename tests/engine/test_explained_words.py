"""What explain says is true and plain for every kind of object: shared, switched off, observed, hinted long ago."""

from stratum.core.tiering.settings import KIND, BucketTiering
from tests.engine.deciding import deciding_engine
from tests.engine.test_deciding import part
from tests.engine.test_packing import seal


async def of_bucket(store, name, **said):
    await store.engine.buckets.create(name, "alice")
    await store.engine.configurations.put(name, KIND, BucketTiering(**said))
    await store.put("a", bucket=name)


async def test_where_nobody_decides_no_reason_and_no_costs_are_made_up(tmp_path):
    async with deciding_engine(tmp_path) as store:
        await of_bucket(store, "left", mode="off")
        await store.days(5)
        (told,) = (await store.engine.tiering.explain_object("left", b"a"))["parts"]
        assert (told["state"], told.get("costs")) == ("off", None)
        assert told["sentence"] == "hot: deciding is off for its bucket, or for one that shares its volume"


async def test_what_is_only_observed_says_so(tmp_path):
    async with deciding_engine(tmp_path) as store:
        await of_bucket(store, "watched", mode="observe")
        await store.days(5)
        (told,) = (await store.engine.tiering.explain_object("watched", b"a"))["parts"]
        assert told["state"] == "observed" and "only observed: nothing is moved" in told["sentence"]


async def test_a_hint_whose_week_is_over_is_said_to_be(tmp_path):
    async with deciding_engine(tmp_path) as store:
        await store.put("a", metadata={"stratum-hint": "hot"})
        await store.days(2)
        assert "(hint hot)" in (await part(store, "a"))["sentence"]
        await store.days(8)
        assert "(hint hot, whose week is over)" in (await part(store, "a"))["sentence"]


async def test_a_small_object_is_told_that_its_costs_are_those_of_a_volume_that_it_shares(tmp_path):
    async with deciding_engine(tmp_path) as store:
        for number in range(40):
            await store.put(f"notes/{number}", 20_000, seed=number)
        await store.put("alone")
        await seal(store.engine)
        await store.days(3)
        told = await part(store, "notes/3")
        assert told["shared"] and told["volume_bytes"] >= 40 * 20_000
        assert not (await part(store, "alone"))["shared"]


async def test_the_past_has_its_currency_and_waiting_no_noise(tmp_path):
    async with deciding_engine(tmp_path) as store:
        await store.put("a", size=7_654_321)
        await store.days(40)
        told = await part(store, "a")
        assert all(each["waiting"] == 0.0 or each["waiting"] > 1e-9 for each in told["costs"])
        moved = next(turn for turn in told["history"] if turn["done"])
        (then,) = (await store.explain("a", at_ns=moved["time"] + 1))["parts"]
        assert then["currency"] == told["currency"] == "USD"
