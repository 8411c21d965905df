"""Volumes in three tiers: what S3 shows never changes, reads work wherever the bytes are, nothing is left behind."""

import random

import pytest
import trio

from stratum.core.errors import InvalidArgument, Unavailable
from stratum.core.objects import PutSpec
from stratum.store.backends import HeldMissing
from tests.engine.conftest import body_of, get
from tests.engine.tiered import move, reap, shard_files, tiered_engine, volume_of
from tests.fakes.backend import FakeBackend

LARGE = random.Random(1).randbytes(3_000_000)
SMALL = random.Random(2).randbytes(30_000)


async def furnish(engine):
    await engine.buckets.create("bucket", "alice")
    await engine.objects.put("bucket", b"large", body_of(LARGE), PutSpec())
    await engine.objects.put("bucket", b"small", body_of(SMALL), PutSpec())


async def volume_with(engine, key):
    """The first volume of an object."""
    return (await engine.tiers.volumes_of((await engine.objects.head("bucket", key)).inode.content))[0]


async def both(engine):
    assert await get(engine, b"large") == LARGE
    assert await get(engine, b"small") == SMALL


@pytest.mark.parametrize(
    "way", [("warm", "hot"), ("cold", "hot"), ("warm", "cold", "warm", "hot"), ("cold", "warm", "cold", "hot", "warm")]
)
async def test_what_s3_shows_is_the_same_in_every_tier_and_nothing_is_left_behind(tmp_path, way):
    cold = FakeBackend()
    async with tiered_engine(tmp_path, cold) as engine:
        await furnish(engine)
        before = await engine.objects.head("bucket", b"large")
        for tier in way:
            for key in (b"large", b"small"):
                await move(engine, key, tier)
            await both(engine)
            await reap(engine)
            await both(engine)
            assert await engine.objects.head("bucket", b"large") == before
            counts = len(shard_files(tmp_path / "disks")), len(shard_files(tmp_path / "warm")), len(cold.objects)
            assert counts == {"hot": (12, 0, 0), "warm": (0, 6, 0), "cold": (0, 0, 2)}[tier]
    async with tiered_engine(tmp_path, cold) as engine:
        await both(engine)
        for key in (b"large", b"small"):
            await engine.objects.delete("bucket", key)
        await reap(engine)
        assert (shard_files(tmp_path / "disks"), shard_files(tmp_path / "warm"), cold.objects) == ([], [], {})


async def test_a_range_of_a_cold_object_fetches_only_the_cells_it_touches(tmp_path):
    cold = FakeBackend()
    async with tiered_engine(tmp_path, cold) as engine:
        await furnish(engine)
        await move(engine, b"large", "cold")
        cold.gets.clear()
        opened = await engine.objects.open("bucket", b"large")
        found = b"".join([piece async for piece in opened.stream(1_000_000, 1_000_010)])
        assert found == LARGE[1_000_000:1_000_010]
        (asked,) = cold.gets
        assert asked[2] - asked[1] == 64 * 1024 + 32
        found = b"".join([piece async for piece in opened.stream(1_000_000, 1_000_010)])
        assert len(cold.gets) == 1, "the second time it is in the cache"


async def test_two_warm_disks_of_the_parity_may_fail(tmp_path):
    async with tiered_engine(tmp_path) as engine:
        await furnish(engine)
        await move(engine, b"large", "warm")
        await move(engine, b"small", "warm")
        await reap(engine)
        inner = volume_of(engine, await volume_with(engine, b"large"))
        assert inner.held is not None
        lost = volume_of(engine, inner.held.extents[0].volume).slots[0]
        engine.disks.fail(lost, "pulled out")
        engine.volumes.moved(await volume_with(engine, b"large"))
        await both(engine)


async def test_wrong_bytes_of_a_backend_are_never_given_out(tmp_path):
    cold = FakeBackend()
    async with tiered_engine(tmp_path, cold) as engine:
        await furnish(engine)
        await move(engine, b"large", "cold")
        await reap(engine)
        cold.fault = lambda verb: "wrong bytes"
        with pytest.raises(Unavailable):
            await get(engine, b"large")
        assert engine.tiers.lost
        cold.fault = lambda verb: None
        await both(engine)


async def test_what_a_backend_lost_is_an_error_and_an_alarm_but_never_not_found(tmp_path):
    cold = FakeBackend()
    async with tiered_engine(tmp_path, cold) as engine:
        await furnish(engine)
        await move(engine, b"large", "cold")
        await reap(engine)
        cold.objects.clear()
        with pytest.raises(HeldMissing):
            await get(engine, b"large")
        status = await engine.tiers.status()
        assert "does not have" in status["backends"][1]["trouble"]
        assert (await engine.objects.head("bucket", b"large")).size == len(LARGE)


async def test_revoked_credentials_pause_moves_with_an_alarm_and_writes_go_on(tmp_path):
    cold = FakeBackend()
    async with tiered_engine(tmp_path, cold) as engine:
        await furnish(engine)
        await move(engine, b"small", "cold")
        cold.fault = lambda verb: "403"
        await engine.tiers.want_object(await engine.objects.head("bucket", b"large"), "cold", "TEST")
        while not engine.tiers.mover.failed:
            await trio.sleep(0.01)
        assert "403" in (await engine.tiers.status())["backends"][1]["trouble"]
        await engine.objects.put("bucket", b"new", body_of(SMALL), PutSpec())
        engine.volumes.held.forget(await volume_with(engine, b"small"))
        with pytest.raises(Unavailable):
            await get(engine, b"small")
        assert await get(engine, b"new") == SMALL
        assert await get(engine, b"large") == LARGE
        cold.fault = lambda verb: None
        await move(engine, b"large", "cold")
        await both(engine)


async def test_a_class_shows_once_it_is_true(tmp_path):
    async with tiered_engine(tmp_path, seal_delay=0.001) as engine:
        await engine.buckets.create("bucket", "alice")
        view = await engine.objects.put("bucket", b"key", body_of(SMALL), PutSpec(storage_class="GLACIER_IR"))
        assert engine.tiers.shown_class(view.inode) == ""
        with trio.fail_after(20):
            while not engine.tiers.shown_class(view.inode):
                engine.tiers.mover.put_off.clear()
                engine.tiers.mover.expect(1)
                await trio.sleep(0.01)
        assert engine.tiers.shown_class(view.inode) == "GLACIER_IR"
        assert engine.tiers.tier_of(view).summary == "cold"


async def test_nobody_can_wish_for_a_tier_that_is_not_there(engine):
    view = await engine.objects.put("bucket", b"key", body_of(SMALL), PutSpec())
    with pytest.raises(InvalidArgument):
        await engine.tiers.want_object(view, "cold", "TEST")
    with pytest.raises(InvalidArgument):
        await engine.tiers.want_object(view, "freezing", "TEST")
    assert engine.tiers.tier_of(view).summary == "hot"


async def test_a_listing_finds_what_no_record_names_and_leaves_what_is_anothers(tmp_path):
    cold = FakeBackend()
    async with tiered_engine(tmp_path, cold, cold_sweep_pause=0.001) as engine:
        await furnish(engine)
        await move(engine, b"large", "cold")
        await reap(engine)
        (own,) = cold.objects
        content, digest, store, _ = cold.objects[own]
        cold.objects[own] = (content, digest, store, 0.0)
        lost = cold.plan(3, b"\x01" * 32).key
        others = cold.plan(3, b"\x02" * 32).key
        fresh = cold.plan(3, b"\x03" * 32).key
        cold.objects[lost] = (b"abc", b"\x01" * 32, cold.store, 0.0)
        cold.objects[others] = (b"abc", b"\x02" * 32, "another store", 0.0)
        cold.objects[fresh] = (b"abc", b"\x03" * 32, cold.store, engine.now_ns() / 1e9)
        cold.objects["stratum/notes.txt"] = (b"abc", b"", cold.store, 0.0)
        for _ in range(2):
            await engine.tiers.sweeper.sweep("remote")
            await reap(engine)
        assert set(cold.objects) == {own, others, fresh, "stratum/notes.txt"}
        await both(engine)


async def test_a_film_streams_from_the_cold_without_waiting_after_its_first_pieces(tmp_path):
    class Slow(FakeBackend):
        async def get(self, held, start, stop):
            await trio.sleep(0.03)
            return await super().get(held, start, stop)

    film = random.Random(3).randbytes(24_000_000)
    async with tiered_engine(tmp_path, Slow(), volume_bytes=8 * 1024**2) as engine:
        await engine.buckets.create("bucket", "alice")
        await engine.objects.put("bucket", b"film", body_of(film), PutSpec())
        await move(engine, b"film", "cold")
        opened = await engine.objects.open("bucket", b"film")
        seen, waits = [], []
        pieces = opened.stream(0, len(film))
        while True:
            fetched = engine.volumes.held.waited
            try:
                seen.append(await anext(pieces))
            except StopAsyncIteration:
                break
            waits.append(engine.volumes.held.waited - fetched)
            await trio.sleep(0.02)  # somebody watches: 50 MiB a second
        assert b"".join(seen) == film
        assert not any(waits[8:]), "everything after the first volume was there when it was asked for"
        assert engine.volumes.held.fetched < len(film) * 1.01, "nothing was fetched twice"


async def test_what_is_deleted_while_it_moves_leaves_nothing_in_either_tier(tmp_path):
    async with tiered_engine(tmp_path) as engine:
        await furnish(engine)
        await engine.repairer.record_seals()
        warm = engine.tiers.mover.target("warm")

        class DeletesMeanwhile:
            name, tier = warm.name, warm.tier
            plan, head, delete = warm.plan, warm.head, warm.delete

            async def put(self, stream, planned):
                held = await warm.put(stream, planned)
                await engine.objects.delete("bucket", b"large")
                return held

        number = await volume_with(engine, b"large")
        engine.tiers._backends["warm"] = DeletesMeanwhile()
        await engine.tiers.mover.move(number, "warm")
        engine.tiers._backends["warm"] = warm
        await reap(engine)
        assert volume_of(engine, number) is None
        assert shard_files(tmp_path / "warm") == []
        assert len(shard_files(tmp_path / "disks")) == 6, "those of the small object"
