"""Disks that come and go on purpose, one at a time and of any size: every byte is read, all the time."""

import errno
import itertools
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from stratum.core.errors import Busy, Conflict, InvalidArgument, StratumError
from stratum.engine import relocator
from stratum.engine.engine import open_engine
from stratum.engine.health import status
from stratum.store.identity import NAME
from tests.engine.conftest import ROOT, Clock, settings_for
from tests.engine.crash import HANGS, SMALL, Fixed, Killed, World, fast_folder, kill
from tests.engine.examination import check_files, check_records, observe, settle, volumes_of
from tests.engine.operations import BUCKET, KEYS, LARGE, PACK, furnish, put

SPARE = 3
BRISK = replace(SMALL, move_bytes_per_second=1 << 40)


@pytest.fixture
def world():
    with tempfile.TemporaryDirectory(dir=fast_folder()) as folder:
        yield World(Path(folder), BRISK, spare=SPARE)


def path(world, number):
    return list(world.disks)[number]


async def fill(engine, count=6):
    for number in range(count):
        await put(engine, b"more/%d" % number, LARGE, number)
    await seal(engine)


async def seal(engine):
    """Every volume sealed, also the pack."""
    await engine.relocator.one_pass()
    await engine.repairer.record_seals()


async def work(engine, passes=4):
    for _ in range(passes):
        await engine.relocator.one_pass()
        await engine.repairer.one_pass()


def shards_by_slot(engine):
    return Counter(slot for volume in volumes_of(engine).values() for slot in volume.slots)


async def shows(engine, before):
    """Is every object still what it was?"""
    return before.objects.items() <= (await observe(engine, KEYS)).objects.items()


def check_distinct(engine):
    for volume in volumes_of(engine).values():
        assert len(set(volume.slots)) == len(volume.slots)


# --- one more -------------------------------------------------------------------------------------------------


async def test_a_disk_is_added_while_the_store_runs_and_shards_move_onto_it(world):
    async with world.engine() as engine:
        await furnish(engine)
        await fill(engine)
        for disk in world.disks.values():
            disk.capacity = 1 << 20
        for slot in range(6):
            engine.disks.note_space(slot, world.disk(slot).space())
        before = await observe(engine, KEYS)
        slot = await engine.disk_changes.add(path(world, 6))
        assert slot == 6
        await work(engine)
        held = shards_by_slot(engine)
        assert held[6] > 0
        check_distinct(engine)
        assert await observe(engine, KEYS) == before
        assert engine.relocator.relocated == held[6]
    async with world.engine() as engine:  # the settings do not name it
        assert 6 in engine.disks.in_service()
        assert await observe(engine, KEYS) == before
        await settle(engine)
        check_files(world, engine)
        check_records(engine)


@pytest.mark.parametrize("named", [[*range(6), 7], [7, *range(6)]])
async def test_a_disk_that_was_added_and_is_somewhere_else_now_is_one_disk(world, named):
    async with world.engine() as engine:
        await furnish(engine)
        await engine.disk_changes.add(path(world, 6))
        before = await observe(engine, KEYS)
    there, moved = path(world, 6), path(world, 7)
    world.disks[moved], world.disks[there] = world.disks[there], world.disks[moved]
    world.disks[moved].name, world.disks[there].name = moved, there
    world.away, world.named = {6}, named
    for _ in range(2):
        async with world.engine() as engine:
            assert [row.slot for row in await engine.disk_changes.list()] == list(range(7))
            assert engine.disks.slots() == engine.disks.in_service() == list(range(7))
            assert engine.disks.state(6).path == moved
            assert await observe(engine, KEYS) == before


async def test_a_disk_that_was_added_may_be_named_in_the_settings_by_another_path_to_it(tmp_path):
    plain = settings_for(tmp_path)
    (tmp_path / "more").mkdir()
    async with open_engine(plain, root=ROOT, now_ns=Clock()) as engine:
        assert await engine.disk_changes.add(str(tmp_path / "more")) == 6
    (tmp_path / "link").symlink_to(tmp_path / "more")
    named = replace(plain, disks=(*plain.disks, tmp_path / "link"))
    async with open_engine(named, root=ROOT, now_ns=Clock()) as engine:
        assert engine.disks.slots() == engine.disks.in_service() == list(range(7))


async def test_new_volumes_go_where_there_is_room(world):
    for number, disk in enumerate(world.disks.values()):
        disk.capacity = 400_000 if number < 6 else 1_200_000
    async with world.engine() as engine:
        await engine.buckets.create(BUCKET, "alice")
        for number in (6, 7, 8):
            await engine.disk_changes.add(path(world, number))
        for number in range(30):
            await put(engine, b"k%d" % number, LARGE, number)
        held = shards_by_slot(engine)
        assert min(held[slot] for slot in (6, 7, 8)) > 1.5 * max(held[slot] for slot in range(6))


async def test_only_an_empty_folder_becomes_a_disk(world):
    async with world.engine() as engine:
        for bad in ("relative", path(world, 0), "/nowhere/at/all"):
            with pytest.raises((InvalidArgument, ValueError)):
                await engine.disk_changes.add(bad)
        file = world.disk(6).create("something", purpose="test")
        file.close()
        with pytest.raises(InvalidArgument):
            await engine.disk_changes.add(path(world, 6))
        with pytest.raises(InvalidArgument):
            await engine.disk_changes.add(path(world, 7), tier="warm")
        assert engine.disks.slots() == [0, 1, 2, 3, 4, 5]


# --- one less -------------------------------------------------------------------------------------------------


async def test_a_disk_is_emptied_with_full_redundancy_all_the_time_and_removed_for_good(world):
    async with world.engine() as engine:
        await furnish(engine)
        before = await observe(engine, KEYS)
        with pytest.raises(InvalidArgument):  # six shards need six disks
            await engine.disk_changes.drain(2)
        await engine.disk_changes.add(path(world, 6))
        with pytest.raises(Conflict):
            await engine.disk_changes.remove(2)
        await engine.disk_changes.drain(2)
        with pytest.raises(Conflict):  # it is not empty yet
            await engine.disk_changes.remove(2)
        await put(engine, b"new", LARGE)
        assert all(
            2 not in volume.slots for number, volume in volumes_of(engine).items() if number == max(volumes_of(engine))
        )
        await work(engine)
        assert shards_by_slot(engine)[2] == 0
        assert all(not bad for bad in [await engine.volumes.verify(n, v) for n, v in volumes_of(engine).items()])
        row = await engine.disk_changes.remove(2)
        assert row.path == path(world, 2)
        assert engine.disks.slots() == [0, 1, 3, 4, 5, 6]
        assert not world.disk(2).exists(NAME)
        assert await shows(engine, before)
        await put(engine, b"after", PACK)
    async with world.engine() as engine:  # the settings still name it
        assert await shows(engine, before)
        assert 2 not in engine.disks.slots()
        assert (await status(engine))["state"] == "healthy"


async def test_a_disk_that_was_removed_never_comes_back_by_itself(world):
    async with world.engine() as engine:
        await furnish(engine)
        await engine.disk_changes.add(path(world, 6))
        engine.disks.fail(2, "pulled")
        await engine.disk_changes.drain(2)
        await work(engine)
        await engine.disk_changes.remove(2)
        before = await observe(engine, KEYS)
    assert world.disk(2).exists(NAME)
    async with world.engine() as engine:
        assert 2 not in engine.disks.in_service()
        assert await observe(engine, KEYS) == before


async def test_a_lost_disk_is_made_anew_on_the_others(world):
    async with world.engine() as engine:
        await furnish(engine)
        await engine.disk_changes.add(path(world, 6))
        before = await observe(engine, KEYS)
        engine.disks.fail(1, "gone")
        await engine.disk_changes.drain(1)
        await work(engine)
        assert shards_by_slot(engine)[1] == 0
        engine.disks.fail(3, "gone")
        engine.disks.fail(4, "gone")
        assert await observe(engine, KEYS) == before


async def test_emptying_goes_on_after_a_restart_and_can_be_called_off(world):
    async with world.engine() as engine:
        await furnish(engine)
        await engine.disk_changes.add(path(world, 6))
        await engine.disk_changes.drain(0)
    async with world.engine() as engine:
        await work(engine)
        assert shards_by_slot(engine)[0] == 0
        await engine.disk_changes.drain(0, cancel=True)
        with pytest.raises(Conflict):
            await engine.disk_changes.remove(0)
        await put(engine, b"again", LARGE)
        assert engine.relocator.leaving() == {}


async def test_a_shard_that_cannot_be_written_stays_where_it_is(world):
    async with world.engine() as engine:
        await furnish(engine)
        await engine.disk_changes.add(path(world, 6))
        await engine.disk_changes.drain(0)
        world.disk(6).inject(errno.EIO, purpose="shard", op="fsync", times=None)
        before = await observe(engine, KEYS)
        await work(engine)
        assert engine.relocator.trouble
        assert await observe(engine, KEYS) == before
        assert shards_by_slot(engine)[0] > 0


async def test_what_a_relocation_that_failed_left_is_cleared_away(world, monkeypatch):
    def refused(*_):
        raise Busy("not now")

    async with world.engine() as engine:
        await furnish(engine)
        await seal(engine)
        await engine.disk_changes.add(path(world, 6))
        await engine.disk_changes.drain(0)
        with monkeypatch.context() as patch:
            patch.setattr(relocator, "_swap", refused)
            await work(engine)
        await engine.disk_changes.drain(0, cancel=True)
        assert any(name.startswith("volumes/") for name in world.disk(6).paths())
        await settle(engine)
        check_files(world, engine)


# --- anything -------------------------------------------------------------------------------------------------

slots = st.integers(0, 5 + SPARE)
acts = st.one_of(
    st.tuples(st.just("add"), st.integers(6, 5 + SPARE)),
    st.tuples(st.just("drain"), slots),
    st.tuples(st.just("keep"), slots),
    st.tuples(st.just("remove"), slots),
    st.tuples(st.just("put"), st.sampled_from([PACK, LARGE])),
    st.tuples(st.just("work"), st.just(0)),
    st.tuples(st.just("pull"), slots),
    st.tuples(st.just("restart"), st.just(0)),
    st.tuples(st.just("kill"), st.integers(0, 12)),
)


class History:
    """A store that is changed; at most two disks are out at a time."""

    def __init__(self, folder):
        self.world = World(folder, BRISK, spare=SPARE)
        self.count = itertools.count()

    async def run(self, acts):
        async with self.world.engine() as engine:
            await furnish(engine)
            self.state = await observe(engine, KEYS)
        rest = list(acts)
        while rest:
            try:
                with trio.fail_after(HANGS):
                    async with self.world.engine() as engine:
                        assert await shows(engine, self.state)
                        while rest:
                            name, argument = rest.pop(0)
                            if name == "restart":
                                break
                            await self.act(engine, name, argument)
                            check_distinct(engine)
            except* Killed:
                for disk in self.world.disks.values():
                    disk.cut_power(Fixed(0.0))
        async with self.world.engine() as engine:
            await work(engine)
            assert await shows(engine, self.state)
            await settle(engine)
            check_records(engine)

    async def act(self, engine, name, argument):
        changes = engine.disk_changes
        try:
            if name == "add":
                await changes.add(path(self.world, argument))
            elif name == "drain":
                await changes.drain(argument)
            elif name == "keep":
                await changes.drain(argument, cancel=True)
            elif name == "remove":
                await changes.remove(argument)
            elif name == "work":
                await work(engine, 1)
            elif name == "put":
                await put(engine, b"more/%d" % next(self.count), argument)
            elif name == "pull" and argument in engine.disks.in_service() and self.may_pull(engine):
                engine.disks.fail(argument, "pulled")
            elif name == "kill":
                await self.killed_in_the_middle(engine, argument)
        except StratumError:
            return

    def may_pull(self, engine):
        return len(engine.disks.slots()) - len(engine.disks.in_service()) < 2

    async def killed_in_the_middle(self, engine, steps):
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(work, engine)
                for _ in range(steps):
                    await trio.lowlevel.checkpoint()
                scope.cancel()
        await kill(engine)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.lists(acts, min_size=3, max_size=14))
def test_after_anything_every_byte_is_read_and_no_two_shards_share_a_disk(history):
    with tempfile.TemporaryDirectory(dir=fast_folder()) as folder:
        trio.run(History(Path(folder)).run, history)


async def test_the_status_tells_what_the_disks_hold(world):
    async with world.engine() as engine:
        await furnish(engine)
        await engine.disk_changes.add(path(world, 6))
        assert (await status(engine))["state"] == "healthy"
        rows = await engine.disk_changes.list()
        assert [row.slot for row in rows] == list(range(7))
        assert sum(row.shards for row in rows) == sum(shards_by_slot(engine).values())
        assert rows[6].added
        found = engine.disk_changes.capacities()["hot"]
        assert found.usable_bytes > found.free_bytes > 0
