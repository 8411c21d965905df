"""Power cuts: what was acknowledged is there afterwards, with any two disks gone.

Room: tests. May import: stratum.core, stratum.store, tests.fakes.
"""

import errno
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from stratum.core.errors import StratumError
from stratum.store import failpoints
from tests.store.volume_world import World

few = settings(max_examples=60, deadline=None)
steps = st.lists(st.tuples(st.sampled_from(["pack", "stream"]), st.integers(1, 3000)), min_size=1, max_size=8)


async def write_until_cut(world, steps, seed):
    """Write step after step; return what was acknowledged."""
    chance = random.Random(seed)
    acknowledged = []
    for kind, size in steps:
        data = chance.randbytes(size)
        try:
            if kind == "pack":
                (extents,) = await world.volumes.append([data])
            else:
                writer = world.volumes.writer()
                await writer.write(data * 3)
                extents, data = await writer.finish(), data * 3
            world.record(extents)
        except StratumError:
            continue
        acknowledged.append((data, extents))
    return acknowledged


@few
@given(steps, st.integers(0, 400), st.integers(0, 2**32), st.permutations(range(6)))
async def test_a_power_cut_at_any_call_loses_nothing_acknowledged_with_any_two_disks_gone(steps, point, seed, order):
    world = World()
    reached = 0

    def cut(name):
        nonlocal reached
        reached += 1
        if reached > point:
            raise OSError(errno.EIO, "no power")

    failpoints.set_hook(cut)
    try:
        acknowledged = await write_until_cut(world, steps, seed)
    finally:
        failpoints.set_hook(None)
    world.restart(seed)
    for slot in order[:1]:  # what a disk missed at the instant of the cut is still to be repaired
        world.slots.fail(slot, "gone")
    for data, extents in acknowledged:
        assert await world.read(extents) == data
    world.restart()
    await world.repair()
    for slot in order[:2]:
        world.slots.fail(slot, "gone")
    for data, extents in acknowledged:
        assert await world.read(extents) == data


@few
@given(
    steps,
    st.sampled_from(["create", "append", "fsync", "fsync_directory"]),
    st.integers(0, 8),
    st.integers(0, 2**32),
    st.permutations(range(6)),
)
async def test_with_one_disk_failing_before_the_cut_one_more_may_go_after_it(steps, op, skip, seed, order):
    world = World()
    failing, gone = order[:2]
    world.disks[failing].inject(errno.EIO, op=op, skip=skip, times=None)
    acknowledged = await write_until_cut(world, steps, seed)
    assert len(acknowledged) == len(steps)
    world.disks[failing].heal()
    world.restart(seed)
    world.slots.fail(gone, "gone")
    for data, extents in acknowledged:
        assert await world.read(extents) == data
    world.slots.fail(failing, "gone too")
    for data, extents in acknowledged:
        assert await world.read(extents) == data


@few
@given(steps, st.integers(0, 2**32))
async def test_after_a_restart_every_shard_is_whole_up_to_its_recorded_length(steps, seed):
    world = World()
    acknowledged = await write_until_cut(world, steps, seed)
    world.restart(seed)
    for number, volume in world.recorded().items():
        assert await world.volumes.verify(number, volume) == {}
    before = {number: volume.shard_bytes for number, volume in world.recorded().items()}
    (late,) = await world.volumes.append([b"late"])
    assert late[0].volume not in before, "a pack of an earlier life is never appended to"
    for data, extents in acknowledged:
        assert await world.read(extents) == data
