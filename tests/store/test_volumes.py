"""Volumes: what is written comes back, whatever two disks do, and never as other bytes.

Room: tests. May import: stratum.core, stratum.store, tests.fakes.
"""

import errno

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from stratum.core.errors import InvalidArgument, ReadOnly, StoreFull, TooFewDisks, TooFewShards
from stratum.core.layout import touched
from stratum.store.disk import FolderDisk, Space
from stratum.store.shards import path_of
from tests.fakes.disk import FakeDisk
from tests.store.volume_world import SMALL, World, bytes_up_to

WRITE_CALLS = ["create", "append", "fsync", "fsync_directory"]
few = settings(max_examples=40, deadline=None)
bytes_of = bytes_up_to(12_000)
small_pieces = st.lists(bytes_up_to(SMALL.pack_bytes), min_size=1, max_size=8)


@few
@given(bytes_of, st.integers(1, 5000), st.data())
async def test_a_stream_comes_back_whole_and_in_any_range(data, step, draw):
    world = World()
    writer = world.volumes.writer()
    for at in range(0, len(data), step):
        await writer.write(data[at : at + step])
    extents = await writer.finish()
    world.record(extents)
    assert await world.read(extents) == data
    extent = draw.draw(st.sampled_from(extents))
    start = draw.draw(st.integers(0, extent.length))
    stop = draw.draw(st.integers(start, extent.length))
    base = sum(it.length for it in extents[: extents.index(extent)])
    assert await world.volumes.read(extent, start, stop) == data[base + start : base + stop]


@few
@given(st.lists(small_pieces, min_size=1, max_size=6))
async def test_pieces_of_concurrent_callers_come_back(callers):
    world = World()
    found = {}

    async def append(name, pieces):
        found[name] = await world.volumes.append(pieces)

    async with trio.open_nursery() as nursery:
        for name, pieces in enumerate(callers):
            nursery.start_soon(append, name, pieces)
    for name, pieces in enumerate(callers):
        for piece, extents in zip(pieces, found[name], strict=True):
            world.record(extents)
            assert await world.read(extents) == piece
            if len(piece) <= SMALL.cell_bytes:
                (extent,) = extents
                cells = touched(extent, 0, extent.length)
                assert cells.first == cells.last


async def test_concurrent_callers_share_a_commit():
    world = World()
    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(world.volumes.append, [bytes([number + 1]) * 50])
    assert world.disks[0].calls["shard", "fsync"] == 1


async def test_a_piece_out_of_bounds_is_refused():
    world = World()
    for piece in (b"", b"x" * (SMALL.pack_bytes + 1)):
        with pytest.raises(InvalidArgument):
            await world.volumes.append([piece])
    assert await world.volumes.append([]) == []


async def test_nothing_written_is_no_extent():
    world = World()
    assert await world.volumes.writer().finish() == []
    assert await world.read([]) == b""


async def test_a_cancelled_caller_does_not_stop_the_commit_of_others():
    for _ in range(8):  # either of the two may be the one that commits for both
        world = World()
        hold, straight = trio.Event(), world.slots.run
        found = {}
        scopes = {name: trio.CancelScope() for name in (b"leaves", b"stays")}

        async def held(slot, call, hold=hold, straight=straight):
            await hold.wait()
            return await straight(slot, call)

        async def append(name, world=world, scopes=scopes, found=found):
            with scopes[name]:
                (found[name],) = await world.volumes.append([name])

        world.slots.run = held
        async with trio.open_nursery() as nursery:
            nursery.start_soon(append, b"leaves")
            nursery.start_soon(append, b"stays")
            while not hold.statistics().tasks_waiting:
                await trio.lowlevel.checkpoint()
            scopes[b"leaves"].cancel()
            await trio.testing.wait_all_tasks_blocked()
            hold.set()
        assert await world.read(found[b"stays"]) == b"stays"


async def test_a_caller_cancelled_before_its_commit_leaves_no_trace():
    world = World()
    hold, straight = trio.Event(), world.slots.run

    async def held(slot, call):
        await hold.wait()
        return await straight(slot, call)

    world.slots.run = held
    done = []

    async def append(piece, scope):
        with scope:
            done.append(await world.volumes.append([piece]))

    scopes = [trio.CancelScope() for _ in range(3)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(append, b"first", scopes[0])
        while not hold.statistics().tasks_waiting:
            await trio.lowlevel.checkpoint()
        nursery.start_soon(append, b"second", scopes[1])
        nursery.start_soon(append, b"third", scopes[2])
        await trio.testing.wait_all_tasks_blocked()
        scopes[1].cancel()
        await trio.testing.wait_all_tasks_blocked()
        hold.set()
    assert [await world.read(extents) for (extents,) in done] == [b"first", b"third"]
    assert not any(b"second" in disk.content(path) for disk in world.disks for path in disk.paths())


# --- what is recorded -----------------------------------------------------------------------------------------


async def test_a_record_says_only_what_is_durable_and_never_less_than_before():
    world = World()
    (first,) = await world.volumes.append([b"a" * 100])
    (second,) = await world.volumes.append([b"b" * 100])
    number = first[0].volume
    world.record(second)
    length = world.recorded()[number].shard_bytes
    world.record(first)
    assert world.recorded()[number].shard_bytes == length
    disk, path = world.shard(number, 0)
    assert len(disk.content(path)) == length


async def test_a_pack_is_sealed_when_full_and_let_go_once_that_is_recorded():
    world = World()
    extents = []
    for number in range(12):
        (found,) = await world.volumes.append([bytes([number]) * 1024])
        world.record(found)
        extents.append(found)
    assert len({found[0].volume for found in extents}) > 1
    full = extents[0][0].volume
    assert world.volumes.placed(full) is not None
    world.record_seals()
    assert world.volumes.placed(full) is None
    assert world.recorded()[full].sealed
    for number, found in enumerate(extents):
        assert await world.read(found) == bytes([number]) * 1024


async def test_closing_seals_the_pack_and_ends_writing():
    world = World()
    (extents,) = await world.volumes.append([b"x" * 300])
    world.record(extents)
    await world.volumes.close()
    world.record_seals()
    assert world.recorded()[extents[0].volume].sealed
    with pytest.raises(ReadOnly):
        await world.volumes.append([b"late"])
    with pytest.raises(ReadOnly):
        await world.stored(b"late")
    assert world.open_files() == 0


async def test_what_is_neither_here_nor_recorded_cannot_be_recorded():
    world = World()
    extents = await world.stored(b"x" * 5000)
    world.txn = type(world.txn)()
    world.restart()
    with pytest.raises(TooFewShards):
        world.record(extents)


async def test_an_aborted_stream_leaves_nothing_but_files_for_the_reaper():
    world = World()
    writer = world.volumes.writer()
    await writer.write(b"x" * 9000)
    await writer.abort()
    number = world.next_volume - 1
    assert world.volumes.placed(number) is None
    assert world.volumes.is_abandoned(number)
    assert number in await world.volumes.shards_on(0)
    await world.volumes.remove_from(0, number)
    assert number not in await world.volumes.shards_on(0)
    with pytest.raises(ReadOnly):
        await writer.write(b"more")


def test_pins_are_counted():
    volumes = World().volumes
    with volumes.pinned({1, 2}), volumes.pinned({2}):
        assert volumes.is_pinned(1)
    with volumes.pinned([2, 2]):
        with volumes.pinned({2}):
            pass
        assert volumes.is_pinned(2)
    assert not volumes.is_pinned(2)


async def test_full_volumes_are_sealed_while_the_next_is_filled_if_the_service_runs():
    world = World()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.volumes.run)
        await trio.testing.wait_all_tasks_blocked()
        data = bytes(range(256)) * 200
        extents = await world.stored(data)
        assert await world.read(extents) == data
        assert len({extent.volume for extent in extents}) > 5
        nursery.cancel_scope.cancel()


# --- fewer disks ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("away", "code"), [(0, (4, 6)), (1, (3, 5)), (2, (2, 4))])
async def test_fewer_disks_narrow_the_code_and_writing_goes_on(away, code):
    world = World()
    for slot in range(away):
        world.slots.fail(slot, "taken out")
    data = bytes(range(250)) * 30
    extents = await world.stored(data)
    (pieces,) = await world.volumes.append([data[:2000]])
    world.record(pieces)
    assert {(volume.k, volume.m) for volume in world.recorded().values()} == {code}
    assert await world.read(extents) == data
    assert await world.read(pieces) == data[:2000]


async def test_with_three_disks_away_writes_are_refused_and_reads_go_on():
    world = World()
    extents = await world.stored(b"early" * 500)
    for slot in (1, 3):
        world.slots.fail(slot, "taken out")
    assert await world.read(extents) == b"early" * 500
    world.slots.fail(5, "taken out")
    with pytest.raises(TooFewDisks):
        await world.stored(b"late")
    with pytest.raises(TooFewDisks):
        await world.volumes.append([b"late"])


@pytest.mark.parametrize(("count", "k", "parity"), [(1, 1, 0), (3, 1, 2), (3, 2, 1), (8, 4, 2)])
async def test_other_codes_work_too(count, k, parity):
    world = World(count, k, parity)
    data = bytes(range(256)) * 50
    extents = await world.stored(data)
    assert await world.read(extents) == data
    for slot in range(parity):
        world.slots.fail(slot, "taken out")
    assert await world.read(extents) == data


# --- disks that fail under a write ----------------------------------------------------------------------------


@few
@given(
    bytes_of, st.sampled_from(["create", "append", "fsync", "fsync_directory"]), st.integers(0, 5), st.integers(0, 6)
)
async def test_a_disk_that_fails_under_a_stream_leaves_it_durable_on_five(data, op, slot, skipped):
    world = World()
    world.disks[slot].inject(errno.EIO, op=op, purpose="shard", skip=skipped, times=None)
    extents = await world.stored(data)
    assert await world.read(extents) == data
    world.disks[slot].heal()
    world.slots.admit(slot, world.disks[slot])
    for number, volume in world.recorded().items():
        bad = await world.volumes.verify(number, volume)
        assert {(number, shard) for shard in bad} <= world.repairs()
        assert {volume.slots[shard] for shard in bad} <= {slot}


async def test_two_disks_that_fail_under_a_stream_make_it_begin_again_elsewhere():
    world = World()
    data = bytes(range(256)) * 28
    writer = world.volumes.writer()
    await writer.write(data[:5000])
    for slot in (0, 4):
        world.disks[slot].fail()
    await writer.write(data[5000:])
    extents = await writer.finish()
    world.record(extents)
    assert await world.read(extents) == data
    assert {(volume.k, volume.m) for volume in world.recorded().values()} == {(2, 4)}
    assert world.slots.in_service() == [1, 2, 3, 5]


async def test_two_disks_that_fail_under_a_pack_make_the_pieces_go_elsewhere():
    world = World()
    (first,) = await world.volumes.append([b"first" * 20])
    world.record(first)
    for slot in (0, 4):
        world.disks[slot].inject(errno.EIO, op="fsync", times=None)
    (second,) = await world.volumes.append([b"second" * 20])
    world.record(second)
    assert first[0].volume != second[0].volume
    assert await world.read(first) == b"first" * 20
    assert await world.read(second) == b"second" * 20
    assert world.recorded()[second[0].volume].m == 4


async def test_three_disks_that_fail_under_a_write_refuse_it():
    world = World()
    writer = world.volumes.writer()
    await writer.write(b"x" * 5000)
    for slot in (0, 2, 4):
        world.disks[slot].inject(errno.EIO, op="fsync", times=None)
    with pytest.raises(TooFewDisks):
        await writer.finish()
    await writer.abort()
    with pytest.raises(TooFewDisks):
        await world.volumes.append([b"x"])


async def test_a_pack_that_lost_a_shard_is_sealed_and_the_shard_queued_for_repair():
    world = World()
    (first,) = await world.volumes.append([b"first"])
    world.disks[2].inject(errno.EIO, op="fsync", times=None)
    (second,) = await world.volumes.append([b"second"])
    (third,) = await world.volumes.append([b"third"])
    world.record([*first, *second, *third])
    assert first[0].volume == second[0].volume != third[0].volume
    volume = world.recorded()[first[0].volume]
    assert volume.sealed
    assert world.repairs() == {(first[0].volume, volume.slots.index(2))}
    assert world.recorded()[third[0].volume].m == 5


async def test_a_full_disk_drops_out_of_the_volume_but_not_of_service():
    world = World()
    world.disks[3].inject(errno.ENOSPC, op="append", times=None)
    data = b"data" * 1000
    extents = await world.stored(data)
    assert await world.read(extents) == data
    assert world.slots.in_service() == [0, 1, 2, 3, 4, 5]
    assert world.repairs()


async def test_full_disks_are_avoided_and_when_too_few_have_room_the_store_is_full():
    world = World()
    for slot in (3, 4):
        world.disks[slot].inject(errno.ENOSPC, op="append", times=None)
    data = b"data" * 1000
    extents = await world.stored(data)
    (pieces,) = await world.volumes.append([data[:900]])
    world.record(pieces)
    assert {volume.m for volume in world.recorded().values()} == {4}
    assert await world.read([*extents, *pieces]) == data + data[:900]
    world.disks[5].inject(errno.ENOSPC, op="append", times=None)
    with pytest.raises(StoreFull):
        await world.stored(data)
    await world.volumes.close()


async def test_a_disk_about_to_be_full_gets_no_new_volumes_as_long_as_others_have_room():
    world = World()
    world.slots.note_space(2, Space(10**9, SMALL.volume_bytes))
    extents = await world.stored(b"x" * 5000)
    assert all(2 not in volume.slots and volume.m == 5 for volume in world.recorded().values())
    for slot in (1, 3, 4):
        world.slots.note_space(slot, Space(10**9, 0))
    late = await world.stored(b"y" * 5000)
    assert {world.recorded()[extent.volume].m for extent in late} == {6}
    assert await world.read([*extents, *late]) == b"x" * 5000 + b"y" * 5000


async def test_the_same_on_real_folders(tmp_path):
    for slot in range(6):
        (tmp_path / str(slot)).mkdir()
    world = World()
    world.disks = [FolderDisk(slot, tmp_path / str(slot)) for slot in range(6)]
    world.start()
    data = bytes(range(256)) * 70
    extents = await world.stored(data)
    (pieces,) = await world.volumes.append([data[:777]])
    world.record(pieces)
    await world.volumes.close()
    world.record_seals()
    assert await world.read([*extents, *pieces]) == data + data[:777]
    number = extents[0].volume
    volume = world.recorded()[number]
    (tmp_path / str(volume.slots[0]) / path_of(number, 0)).unlink()
    assert list(await world.volumes.verify(number, volume)) == [0]
    world.restart()
    assert await world.read(extents) == data
    await world.volumes.rebuild(number, volume, 0, volume.slots[0])
    assert await world.volumes.verify(number, volume) == {}


async def test_a_disk_too_slow_for_the_others_drops_out_of_the_volume():
    world = World()
    hold = trio.Event()
    straight = world.slots.run

    async def slow_on_two(slot, call):
        if slot == 2:
            await hold.wait()
        return await straight(slot, call)

    world.slots.run = slow_on_two
    (extents,) = await world.volumes.append([b"quick"])
    world.record(extents)
    volume = world.recorded()[extents[0].volume]
    assert world.repairs() == {(extents[0].volume, volume.slots.index(2))}
    assert world.slots.in_service() == [0, 1, 2, 3, 4, 5]


async def test_a_disk_replaced_under_a_volume_is_not_taken_for_the_old_one():
    world = World()
    (first,) = await world.volumes.append([b"first"])
    old = world.disks[2]
    length = len(old.content(old.paths()[0]))
    world.slots.fail(2, "pulled")
    world.slots.admit(2, FakeDisk(2))
    (second,) = await world.volumes.append([b"second"])
    world.record([*first, *second])
    assert await world.read([*first, *second]) == b"firstsecond"
    assert len(old.content(old.paths()[0])) == length
    volume = world.recorded()[first[0].volume]
    assert (first[0].volume, volume.slots.index(2)) in world.repairs()


async def test_an_fsync_on_a_disk_replaced_meanwhile_does_not_count():
    world = World()
    straight = world.slots.run

    async def replaced(slot, call):
        found = await straight(slot, call)
        if slot == 2:
            world.slots.fail(2, "pulled")
            world.slots.admit(2, FakeDisk(2))
        return found

    world.slots.run = replaced
    (extents,) = await world.volumes.append([b"bytes"])
    world.record(extents)
    volume = world.recorded()[extents[0].volume]
    assert world.repairs() == {(extents[0].volume, volume.slots.index(2))}
