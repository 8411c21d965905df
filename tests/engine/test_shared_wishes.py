"""Wishes in a volume that many small objects share: an order of one holds, wherever among them it is."""

import pytest

from stratum.core.objects import CopySpec
from stratum.core.tiering.settings import KIND, BucketTiering
from stratum.engine.tiering_subjects import USERS
from tests.engine.deciding import DAY, deciding_engine, deciding_settings
from tests.engine.test_deciding import part
from tests.engine.test_packing import seal
from tests.engine.test_patterns import book_of, hours, to
from tests.fakes.backend import FakeBackend

SMALL = 20_000
MANY = 3 * USERS


async def many(store, count=MANY, bucket="bucket", folder="notes", **last):
    """So many small objects, and one more."""
    for number in range(count):
        await store.put(f"{folder}/{number:03}", SMALL, seed=number % 251, bucket=bucket)
    await store.put(f"{folder}/last", SMALL, bucket=bucket, **last)


async def everywhere(store, key, where, name, said):
    if where == "xattr":
        number = (await store.engine.objects.head("bucket", key.encode())).inode_number
        await store.engine.files.xattrs.set(number, f"user.stratum.{name}".encode(), said.encode())


async def together(store, *keys):
    """Do these rest in one volume?"""
    return len({volume for key, bucket in keys for volume in await store.volumes(key, bucket)}) == 1


@pytest.mark.parametrize("where", ["metadata", "tags", "xattr"])
async def test_a_pin_of_the_last_of_many_keeps_the_volume_and_what_goes_without_it_goes(tmp_path, where):
    async with deciding_engine(tmp_path) as store:
        await many(store, **({} if where == "xattr" else {where: {"stratum-pin": "hot"}}))
        await everywhere(store, "notes/last", where, "pin", "hot")
        assert await together(store, ("notes/000", "bucket"), ("notes/last", "bucket"))
        await seal(store.engine)
        await many(store, folder="others")
        await seal(store.engine)
        await store.days(40)
        assert await store.tier("others/last") != "hot"
        assert await store.tier("notes/last") == await store.tier("notes/000") == "hot"
        for key in ("notes/last", "notes/000"):
            told = await part(store, key)
            assert (told["reason"], told["state"]) == ("PIN", "pinned") and "pinned to hot" in told["sentence"]


async def test_what_a_bucket_forbids_holds_for_its_objects_among_many_of_others(tmp_path):
    async with deciding_engine(tmp_path) as store:
        await store.engine.buckets.create("mail", "alice")
        await store.engine.configurations.amend("mail", KIND, BucketTiering, lambda old: BucketTiering(no_cold=True))
        await many(store)
        await store.put("box", SMALL, bucket="mail")
        assert await together(store, ("notes/000", "bucket"), ("box", "mail"))
        await seal(store.engine)
        await store.days(80)
        assert await store.tier("box", "mail") == "warm", "it must not leave the house"
        for _ in range(2):
            told = (await store.explain("notes/000"))["sentence"]
            assert "no-cold by its bucket" in told and told.startswith("warm: ")
            store.engine.tiering.subjects.surveyed.clear()  # as after a restart


async def test_a_pin_that_comes_or_goes_later_is_heard(tmp_path):
    async with deciding_engine(tmp_path) as store:
        await many(store)
        await seal(store.engine)
        await store.days(40)
        assert await store.tier("notes/last") == "cold"
        await everywhere(store, "notes/last", "xattr", "pin", "hot")
        await store.days(1)
        assert await store.tier("notes/last") == await store.tier("notes/000") == "hot"
        number = (await store.engine.objects.head("bucket", b"notes/last")).inode_number
        await store.engine.files.xattrs.remove(number, b"user.stratum.pin")
        await store.days(40)
        assert await store.tier("notes/last") == "cold"


async def test_a_copy_with_a_pin_is_heard_the_same_evening_for_it_shares_the_volume(tmp_path):
    async with deciding_engine(tmp_path) as store:
        await many(store)
        await seal(store.engine)
        await store.days(40)
        assert await store.tier("notes/last") == "cold"
        spec = CopySpec(metadata={"stratum-pin": "hot"})
        await store.engine.objects.copy("bucket", b"notes/last", "bucket", b"copy", spec)
        assert await together(store, ("copy", "bucket"), ("notes/000", "bucket"))
        await store.days(1)
        assert await store.tier("copy") == "hot"


async def test_an_hour_told_of_the_last_of_many_outlives_a_restart(tmp_path):
    settings, cold = deciding_settings(tmp_path, prices=book_of(retrieval_usd_per_gb=1.0)), FakeBackend()
    async with deciding_engine(tmp_path, settings=settings, cold=cold) as store:
        await many(store, tags={"stratum-hint": "schedule=09:00"})
        await seal(store.engine)
        await store.days(2)
        clock, kept = store.clock, dict(store.engine.patterns.hours._scheduled)
        assert [len(each) for each in kept.values()] == [7]
    async with deciding_engine(tmp_path, settings=settings, clock=clock, cold=cold) as store:
        await to(store, "notes/last", "cold")
        await store.days(1)
        assert store.engine.patterns.hours._scheduled == kept
        store.engine.tiering.subjects.surveyed.clear()
        while store.engine.heat.days.at(store.clock.ns)[1] // 60 != 8:
            await hours(store, 1)
        assert await store.tier("notes/last") == "hot"
        assert store.engine.patterns.hours._scheduled == kept


async def test_a_pin_is_forgotten_with_its_object(tmp_path):
    async with deciding_engine(tmp_path) as store:
        await many(store, metadata={"stratum-pin": "hot"})
        await seal(store.engine)
        await store.days(3)
        assert await store.tier("notes/000") == "hot"
        await store.engine.objects.delete("bucket", b"notes/last")
        await store.days(40)
        assert await store.tier("notes/000") == "cold"


async def test_an_object_is_explained_with_its_own_wish_before_anybody_looked_at_all_of_its_volume(tmp_path):
    async with deciding_engine(tmp_path, mode="observe") as store:
        await many(store)
        await seal(store.engine)
        await store.days(1)
        number = (await store.engine.objects.head("bucket", b"notes/last")).inode_number
        await store.engine.files.xattrs.set(number, b"user.stratum.pin", b"warm")
        store.clock.ns += DAY // 24
        assert "pinned to warm" in (await store.explain("notes/last"))["sentence"]
