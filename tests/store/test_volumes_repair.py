"""Rebuilding: what comes back is the shard that was lost, whole or not at all, whenever it is cut short.

Room: tests. May import: stratum.core, stratum.store, tests.fakes.
"""

import errno
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stratum.core.errors import DiskFailed, StoreFull, TooFewShards
from stratum.store import failpoints
from tests.store.volume_world import World

few = settings(max_examples=40, deadline=None)
BODY = bytes(range(256)) * 27 + b"tail"


async def sealed_world(count=6):
    world = World(count)
    extents = await world.stored(BODY)
    (number,) = world.recorded()
    world.record_seals()
    return world, number, world.recorded()[number], extents


@pytest.mark.parametrize("shard", range(6))
@pytest.mark.parametrize("how", ["missing", "bit"])
async def test_a_rebuilt_shard_is_the_one_that_was_lost(shard, how):
    world, number, volume, extents = await sealed_world()
    disk, path = world.shard(number, shard)
    before = disk.content(path)
    if how == "bit":
        disk.flip_bit(path, 200)
        assert list(await world.volumes.verify(number, volume)) == [shard]
    else:
        disk.remove(path)
    await world.volumes.rebuild(number, volume, shard, disk.slot)
    assert disk.content(path)[128:] == before[128:]
    assert await world.volumes.verify(number, volume) == {}
    disk.cut_power(random.Random(1))
    assert disk.content(path)[128:] == before[128:]
    assert await world.read(extents) == BODY


async def test_a_rebuild_may_go_to_another_disk():
    world, number, volume, _ = await sealed_world(7)
    spare = ({*range(7)} - {*volume.slots}).pop()
    world.slots.fail(volume.slots[0], "gone")
    await world.volumes.rebuild(number, volume, 0, spare)
    moved = type(volume)(volume.k, volume.m, (spare, *volume.slots[1:]), volume.shard_bytes, volume.sealed)
    assert await world.volumes.verify(number, moved) == {}


async def test_two_damaged_shards_are_rebuilt_one_after_the_other():
    world, number, volume, extents = await sealed_world()
    for shard in (1, 4):
        disk, path = world.shard(number, shard)
        disk.flip_bit(path, 300 + shard)
    for shard in (1, 4):
        await world.volumes.rebuild(number, volume, shard, volume.slots[shard])
    assert await world.volumes.verify(number, volume) == {}
    assert await world.read(extents) == BODY
    assert world.damage == []


async def test_a_good_shard_is_never_written_again():
    world, number, volume, _ = await sealed_world()
    disk, _ = world.shard(number, 2)
    before = dict(disk.calls)
    await world.volumes.rebuild(number, volume, 2, disk.slot)
    for op in ("create", "append", "rename", "unlink"):
        assert disk.calls.get(("shard", op), 0) == before.get(("shard", op), 0)


async def test_after_a_rebuild_the_reader_uses_the_new_file_and_tells_new_damage_again():
    world, number, volume, extents = await sealed_world()
    disk, path = world.shard(number, 0)
    assert await world.read(extents) == BODY
    disk.flip_bit(path, 170)
    for _ in range(2):
        assert await world.read(extents) == BODY
    assert [what[:2] for what in world.damage] == [(number, 0)]
    await world.volumes.rebuild(number, volume, 0, disk.slot)
    assert await world.read(extents) == BODY
    assert len(world.damage) == 1
    disk.flip_bit(path, 170)
    assert await world.read(extents) == BODY
    assert [what[:2] for what in world.damage] == [(number, 0)] * 2


async def test_without_enough_good_shards_nothing_is_written():
    world, number, volume, _ = await sealed_world()
    for shard in (0, 1, 2):
        disk, path = world.shard(number, shard)
        disk.flip_bit(path, 300)
    disk, path = world.shard(number, 0)
    before = disk.content(path)
    with pytest.raises(TooFewShards):
        await world.volumes.rebuild(number, volume, 0, disk.slot)
    assert disk.paths() == [path]
    assert disk.content(path) == before


@pytest.mark.parametrize(
    ("error", "op", "raised"),
    [(errno.ENOSPC, "append", StoreFull), (errno.EIO, "append", DiskFailed), (errno.EIO, "fsync", DiskFailed)],
)
async def test_a_rebuild_that_fails_takes_its_temporary_file_away_or_leaves_it_to_the_next(error, op, raised):
    world, number, volume, _ = await sealed_world()
    disk, path = world.shard(number, 3)
    disk.remove(path)
    disk.inject(error, op=op, times=None)
    with pytest.raises(raised):
        await world.volumes.rebuild(number, volume, 3, disk.slot)
    assert path not in disk.paths()
    assert (disk.slot in world.slots.in_service()) == (raised is StoreFull)
    disk.heal()
    world.slots.admit(disk.slot, disk)
    await world.volumes.rebuild(number, volume, 3, disk.slot)
    assert disk.paths() == [path]
    assert await world.volumes.verify(number, volume) == {}


@few
@given(st.integers(0, 30), st.integers(0, 2**32), st.integers(0, 5), st.booleans())
async def test_a_power_cut_in_a_rebuild_leaves_the_old_file_or_the_whole_new_one(point, seed, shard, missing):
    world, number, volume, extents = await sealed_world()
    disk, path = world.shard(number, shard)
    good = disk.content(path)[128:]
    if missing:
        disk.remove(path)
    else:
        disk.flip_bit(path, 400)
    reached = 0

    def cut(name):
        nonlocal reached
        reached += "shard." in name and not name.endswith(("read", "open"))
        if reached > point:
            raise OSError(errno.EIO, "no power")

    failpoints.set_hook(cut)
    try:
        await world.volumes.rebuild(number, volume, shard, disk.slot)
        finished = True
    except (DiskFailed, TooFewShards):
        finished = False
    finally:
        failpoints.set_hook(None)
    world.restart(seed)
    bad = await world.volumes.verify(number, volume)
    assert set(bad) <= {shard}
    if finished:
        assert not bad
    assert await world.read(extents) == BODY
    await world.volumes.rebuild(number, volume, shard, disk.slot)
    assert disk.content(path)[128:] == good
    assert await world.volumes.verify(number, volume) == {}


async def test_removing_a_volume_takes_its_files_from_every_disk_and_nothing_else():
    world, number, volume, extents = await sealed_world()
    (other,) = await world.volumes.append([b"other"])
    world.record(other)
    await world.read(extents)
    await world.volumes.remove(number, volume)
    await world.volumes.remove(number, volume)
    for slot in range(6):
        assert await world.volumes.shards_on(slot) == [other[0].volume]
    with pytest.raises(TooFewShards):
        await world.read(extents)
    assert await world.read(other) == b"other"
