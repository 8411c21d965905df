"""Warm disks are disks like any: known by identity, replaced, repaired; and never mistaken for hot ones."""

import random
import shutil

import trio

from stratum.core.objects import PutSpec
from stratum.core.tiers import is_inner
from tests.engine.conftest import body_of, get
from tests.engine.examination import volumes_of
from tests.engine.tiered import move, reap, shard_files, tiered_engine

BODY = random.Random(1).randbytes(500_000)


async def test_an_empty_warm_disk_takes_its_slot_and_is_filled_again(tmp_path):
    async with tiered_engine(tmp_path) as engine:
        await engine.buckets.create("bucket", "alice")
        await engine.objects.put("bucket", b"key", body_of(BODY), PutSpec())
        await move(engine, b"key", "warm")
        await reap(engine)
        (inner,) = [volume for volume in volumes_of(engine).values() if is_inner(volume)]
        assert all(engine.disks.tier_of(slot) == "warm" for slot in inner.slots)
    lost = inner.slots[0]
    path = tmp_path / "warm" / str(lost - 6)
    shutil.rmtree(path)
    path.mkdir()
    async with tiered_engine(tmp_path) as engine:
        assert engine.disks.tier_of(lost) == "warm"
        with trio.fail_after(20):
            while not [file for file in shard_files(tmp_path / "warm") if str(path) in str(file)]:
                await trio.sleep(0.02)
            while engine.repairer.waiting():
                await trio.sleep(0.02)
        numbers = {number: volume for number, volume in volumes_of(engine).items() if is_inner(volume)}
        for number, volume in numbers.items():
            assert not await engine.volumes.verify(number, volume)
        assert await get(engine, b"key") == BODY


async def test_hot_and_warm_folders_that_are_exchanged_stay_what_they_are(tmp_path):
    async with tiered_engine(tmp_path) as engine:
        await engine.buckets.create("bucket", "alice")
        await engine.objects.put("bucket", b"key", body_of(BODY), PutSpec())
        await move(engine, b"key", "warm")
    (tmp_path / "disks" / "0").rename(tmp_path / "kept")
    (tmp_path / "warm" / "0").rename(tmp_path / "disks" / "0")
    (tmp_path / "kept").rename(tmp_path / "warm" / "0")
    async with tiered_engine(tmp_path) as engine:
        assert [engine.disks.tier_of(slot) for slot in (0, 6)] == ["", "warm"]
        assert engine.disks.in_service("") == list(range(6))
        await engine.objects.put("bucket", b"new", body_of(BODY), PutSpec())
        assert await get(engine, b"key") == await get(engine, b"new") == BODY
        hot = [volume for volume in volumes_of(engine).values() if volume.slots and not volume.tier]
        assert all(slot < 6 for volume in hot for slot in volume.slots)


async def test_an_empty_hot_folder_never_takes_a_warm_slot(tmp_path):
    async with tiered_engine(tmp_path):
        pass
    shutil.rmtree(tmp_path / "warm" / "0")
    shutil.rmtree(tmp_path / "disks" / "0")
    (tmp_path / "disks" / "0").mkdir()
    async with tiered_engine(tmp_path) as engine:
        assert engine.disks.state(0).in_service
        assert not engine.disks.state(6).in_service


async def test_the_journal_is_on_hot_disks_only(tmp_path):
    async with tiered_engine(tmp_path) as engine:
        await engine.buckets.create("bucket", "alice")
    assert list((tmp_path / "disks").rglob("journal/*.log"))
    assert not list((tmp_path / "warm").rglob("journal/*"))
