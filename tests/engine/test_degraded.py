"""Disks missing, damaged, failing, deleted and back: right bytes or a clear error, and full redundancy again."""

import errno
import itertools
import random
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from stratum.core.errors import DiskFailed, NoSuchKey, ReadOnly, TooFewDisks, TooFewShards
from stratum.core.objects import ListQuery
from stratum.engine.health import status
from stratum.store import failpoints
from tests.engine.conftest import get
from tests.engine.crash import SMALL, World, fast_folder
from tests.engine.examination import check_files, check_records, observe, settle, volumes_of
from tests.engine.operations import BUCKET, INLINE, KEY, KEYS, LARGE, NEIGHBOURS, PACK, bytes_of, furnish, put

BRISK = replace(SMALL, disk_check_interval=0.005, repair_interval=0.005, reap_interval=0.005)
IN_VOLUMES = [key for key, size in NEIGHBOURS.items() if size >= PACK]


@pytest.fixture(scope="module")
def furnished():
    """A store with objects of every kind, and what S3 shows of it."""

    async def make(folder: Path) -> tuple[World, object]:
        world = World(folder, BRISK)
        async with world.engine() as engine:
            await furnish(engine)
            return world, await observe(engine, KEYS)

    with tempfile.TemporaryDirectory(dir=fast_folder()) as folder:
        yield trio.run(make, Path(folder))


@pytest.fixture
def world(furnished):
    with tempfile.TemporaryDirectory(dir=fast_folder()) as folder:
        yield furnished[0].twin(Path(folder))


@pytest.fixture
def state(furnished):
    return furnished[1]


async def eventually(condition) -> None:
    """Wait until a service has done its work."""
    with trio.fail_after(20):
        while not condition():
            await trio.sleep(0.001)


async def is_healthy(engine) -> None:
    with trio.fail_after(20):
        while (await status(engine))["state"] != "healthy":
            await trio.sleep(0.001)


async def outcome_of(call) -> object:
    """What an awaitable returns, or the error it raises."""
    try:
        return await call
    except (TooFewDisks, TooFewShards, ReadOnly) as error:
        return type(error)


# --- missing ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("away", list(itertools.combinations(range(6), 2)))
async def test_with_any_two_disks_missing_everything_is_read_and_written(world, state, away):
    world.away = set(away)
    async with world.engine() as engine:
        assert (await status(engine))["state"] == "degraded"
        assert await observe(engine, KEYS) == state
        await put(engine, KEY, LARGE, "degraded")
        written = await observe(engine, KEYS)
    world.away = set(list(set(range(6)) - set(away))[:2])  # those that were there then
    async with world.engine() as engine:
        assert await observe(engine, KEYS) == written


async def test_with_three_disks_missing_at_the_start_nothing_is_wrong_and_nothing_is_said_not_to_exist(world, state):
    world.away = {0, 2, 4}
    async with world.engine() as engine:
        assert (await status(engine))["state"] == "read-only"
        for key, size in NEIGHBOURS.items():
            expected = TooFewShards if key in IN_VOLUMES else bytes_of(size, "neighbour")
            assert await outcome_of(get(engine, key)) == expected
        page = await engine.objects.list(BUCKET, ListQuery())
        assert [view.key for view in page.objects] == sorted(NEIGHBOURS)
        for size in (INLINE, PACK, LARGE):
            with pytest.raises((ReadOnly, TooFewDisks)):
                await put(engine, KEY, size)
        with pytest.raises(NoSuchKey):
            await get(engine, b"never there")
    world.away = set()
    async with world.engine() as engine:
        assert await observe(engine, KEYS) == state


async def test_a_store_that_started_with_too_few_disks_writes_again_when_they_are_back(world, state):
    world.away = {0, 2, 4}
    async with world.engine(quiet=False) as engine:
        assert engine.meta.failed is not None
        world.away = set()
        await eventually(lambda: engine.meta.failed is None and len(engine.disks.in_service()) == 6)
        await is_healthy(engine)
        assert await observe(engine, KEYS) == state
        await eventually(lambda: engine.reaper._first_volume() > 0)  # ids are reserved
        await put(engine, KEY, LARGE, "again")
        await put(engine, KEY, PACK, "again")
        assert await get(engine, KEY) == bytes_of(PACK, "again")


async def test_writes_get_narrower_with_five_and_four_disks_and_are_refused_with_three(world):
    async with world.engine() as engine:
        codes = []
        for slot, key in enumerate((b"six", b"five", b"four")):
            await put(engine, key, LARGE, key)
            newest = max(volumes_of(engine))
            codes.append((volumes_of(engine)[newest].k, volumes_of(engine)[newest].m))
            engine.disks.fail(slot, "pulled")
        assert codes == [(4, 6), (3, 5), (2, 4)]
        assert len(engine.disks.in_service()) == 3
        for size in (PACK, LARGE):
            with pytest.raises(TooFewDisks):
                await put(engine, KEY, size)
        assert await get(engine, b"four") == bytes_of(LARGE, b"four")  # one of its four is gone
        assert await get(engine, b"five") == bytes_of(LARGE, b"five")  # two of its five
        assert await outcome_of(get(engine, b"six")) == TooFewShards  # three of its six
        with pytest.raises(NoSuchKey):
            await get(engine, KEY)
    async with world.engine() as engine:
        for key in (b"six", b"five", b"four"):
            assert await get(engine, key) == bytes_of(LARGE, key)
        await settle(engine)
        check_files(world, engine)


# --- damaged ------------------------------------------------------------------------------------------------------


def rewrite(disk, path: str, content: bytes) -> None:
    disk.remove(path)
    file = disk.create(path, purpose="damage")
    file.append([content], purpose="damage")
    file.fsync(purpose="damage")
    file.close()
    disk.fsync_directory(path.rpartition("/")[0], purpose="damage")


def shards_of(world: World) -> dict[tuple[int, int], tuple[object, str]]:
    """(volume, shard) -> its disk and path."""
    found = {}
    for disk in world.disks.values():
        for path in disk.paths():
            if path.startswith("volumes/"):
                name = path.rpartition("/")[2]
                found[int(name[:16], 16), int(name[17:])] = disk, path
    return found


def flip_bits(world: World, chance: random.Random, volume: int, shard: int) -> None:
    disk, path = shards_of(world)[volume, shard]
    for _ in range(chance.choice((1, 1, 5))):
        disk.flip_bit(path, chance.randrange(len(disk.content(path))), chance.randrange(8))


def flip_a_bit_everywhere(world: World, chance: random.Random, volume: int, shard: int) -> None:
    disk, path = shards_of(world)[volume, shard]
    for offset in range(0, len(disk.content(path)), 50):
        disk.flip_bit(path, offset, chance.randrange(8))


def remove(world: World, chance: random.Random, volume: int, shard: int) -> None:
    disk, path = shards_of(world)[volume, shard]
    disk.remove(path)


def truncate(world: World, chance: random.Random, volume: int, shard: int) -> None:
    disk, path = shards_of(world)[volume, shard]
    disk.truncate(path, chance.randrange(len(disk.content(path))))


def put_another_volume_there(world: World, chance: random.Random, volume: int, shard: int) -> None:
    disk, path = shards_of(world)[volume, shard]
    other = next(place for number, place in shards_of(world).items() if number[0] != volume)
    rewrite(disk, path, other[0].content(other[1]))


def put_another_shard_there(world: World, chance: random.Random, volume: int, shard: int) -> None:
    disk, path = shards_of(world)[volume, shard]
    other = shards_of(world)[volume, (shard + 1) % 6]
    rewrite(disk, path, other[0].content(other[1]))


DAMAGES = [flip_bits, flip_a_bit_everywhere, remove, truncate, put_another_volume_there, put_another_shard_there]


def spoil(world: World, damage, seed: int, count: int) -> set[tuple[int, int]]:
    """Damage `count` shards of every volume; return which."""
    chance = random.Random(f"{damage.__name__}/{seed}")
    spoiled = set()
    before = world.twin(world.folder / "before")  # what is copied from is not damaged yet
    for volume in sorted({volume for volume, _ in shards_of(world)}):
        for shard in chance.sample(range(6), count):
            twin = shards_of(before)[volume, shard]
            damage(world, chance, volume, shard)
            disk, path = shards_of(world).get((volume, shard), (None, ""))
            if disk is None or disk.content(path) != twin[0].content(twin[1]):
                spoiled.add((volume, shard))
    shutil.rmtree(before.folder)
    return spoiled


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
async def test_two_damaged_shards_of_every_volume_are_read_around_and_healed(world, state, damage, seed):
    spoiled = spoil(world, damage, seed, 2)
    async with world.engine() as engine:
        assert await observe(engine, KEYS) == state
        assert set(engine.repairer.waiting()) <= spoiled
        found = set()
        for number, volume in volumes_of(engine).items():
            found |= {(number, shard) for shard in await engine.scrubber.verify(number, volume)}
        assert found == spoiled == set(engine.repairer.waiting())
        assert (await status(engine))["state"] == "degraded"
        await engine.repairer.one_pass()
        assert engine.repairer.rebuilt == len(spoiled)
        assert (await status(engine))["state"] == "healthy"
        await settle(engine)
        check_files(world, engine)
        check_records(engine)
        assert await observe(engine, KEYS) == state
    world.away = {1, 3}
    async with world.engine() as engine:
        assert await observe(engine, KEYS) == state


@pytest.mark.parametrize("damage", [flip_a_bit_everywhere, remove, put_another_shard_there], ids=lambda it: it.__name__)
async def test_three_damaged_shards_give_an_error_never_wrong_bytes_and_nothing_is_deleted(world, damage):
    spoil(world, damage, 0, 3)
    async with world.engine() as engine:
        volumes = volumes_of(engine)
        files = {disk.slot: disk.paths() for disk in world.disks.values()}
        for _ in range(2):
            for key, size in NEIGHBOURS.items():
                found = await outcome_of(get(engine, key))
                assert found in (TooFewShards, bytes_of(size, "neighbour")), key
                assert found == TooFewShards or key not in IN_VOLUMES
            for number, volume in volumes.items():
                await engine.scrubber.verify(number, volume)
            await engine.repairer.one_pass()
            await engine.reaper.one_pass()
        assert len(engine.repairer.waiting()) == 3 * len(volumes)
        assert (await status(engine))["state"] == "degraded"
        assert {disk.slot: disk.paths() for disk in world.disks.values()} == files
        assert volumes_of(engine) == volumes


# --- failing and coming back --------------------------------------------------------------------------------------


@pytest.mark.parametrize("op", ["create", "append", "fsync", "fsync_directory"])
async def test_a_disk_that_fails_under_a_put_leaves_service_and_the_put_goes_on(world, op):
    async with world.engine() as engine:
        world.disk(3).inject(errno.EIO, purpose="shard", op=op, times=None)
        await put(engine, KEY, LARGE, "during")
        await put(engine, KEY, PACK, "during")
        assert 3 not in engine.disks.in_service()
        assert (await status(engine))["state"] == "degraded"
        assert await get(engine, KEY) == bytes_of(PACK, "during")
    world.disk(3).heal()
    async with world.engine() as engine:
        assert await get(engine, KEY) == bytes_of(PACK, "during")
        await settle(engine)
        check_files(world, engine)
        assert (await status(engine))["state"] == "healthy"


async def test_a_put_that_lost_two_disks_on_its_way_is_acknowledged_with_full_redundancy(world):
    async with world.engine() as engine:
        for number in (0, 1):
            world.disk(number).inject(errno.EIO, purpose="shard", op="fsync", times=None)
        await put(engine, KEY, LARGE, "narrow")
        await put(engine, b"copy", PACK, "narrow")
        assert len(engine.disks.in_service()) == 4
        for slot in (2, 3):
            engine.disks.fail(slot, "pulled")
        assert await get(engine, KEY) == bytes_of(LARGE, "narrow")
        assert await get(engine, b"copy") == bytes_of(PACK, "narrow")


async def test_a_stop_with_too_few_disks_to_write_is_quiet_and_the_next_start_has_everything(world):
    async with world.engine() as engine:
        await put(engine, KEY, PACK, "last")
        written = await observe(engine, KEYS)
        for slot in (0, 1, 2):
            engine.disks.fail(slot, "pulled")
        with pytest.raises(ReadOnly):
            await put(engine, KEY, INLINE, "refused")
    async with world.engine() as engine:
        found = await observe(engine, KEYS)
        if found != written:  # what was refused may have been done all the same, but whole
            assert found.objects.pop((BUCKET, KEY)).body == bytes_of(INLINE, "refused")
            del written.objects[BUCKET, KEY]
        assert found == written
        await settle(engine)
        check_files(world, engine)
        check_records(engine)


@pytest.mark.parametrize("slots", [(1,), (0, 5)])
async def test_disks_deleted_while_running_are_filled_again_when_they_are_back_empty(world, state, slots):
    async with world.engine(quiet=False) as engine:
        world.away = set(slots)
        await eventually(lambda: len(engine.disks.in_service()) == 6 - len(slots))
        assert (await status(engine))["state"] == "degraded"
        assert await observe(engine, KEYS) == state
        await put(engine, KEY, LARGE, "meanwhile")
        written = await observe(engine, KEYS)
        for slot in slots:
            world.disk(slot).wipe()
        world.away = set()
        await eventually(lambda: len(engine.disks.in_service()) == 6 and engine.repairer.rebuilt)
        await is_healthy(engine)
        for number, volume in volumes_of(engine).items():
            assert await engine.volumes.verify(number, volume) == {}
        assert await observe(engine, KEYS) == written
    world.away = set(list(set(range(6)) - set(slots))[:2])
    async with world.engine() as engine:
        assert await observe(engine, KEYS) == written


async def test_a_disk_that_comes_back_as_it_was_brings_nothing_deleted_back(world):
    async with world.engine(quiet=False) as engine:
        world.away = {2}
        await eventually(lambda: len(engine.disks.in_service()) == 5)
        for key in NEIGHBOURS:
            await engine.objects.delete(BUCKET, key)
        await put(engine, KEY, LARGE, "meanwhile")
        await eventually(lambda: set(volumes_of(engine)) == {max(volumes_of(engine)) - i for i in range(3)})
        written = await observe(engine, KEYS)
        world.away = set()
        await eventually(lambda: len(engine.disks.in_service()) == 6)
        await is_healthy(engine)
        assert await observe(engine, KEYS) == written
    async with world.engine() as engine:
        await settle(engine)
        check_files(world, engine)
        check_records(engine)
        assert await observe(engine, KEYS) == written


async def test_a_commit_of_the_index_that_fails_stops_writes_but_not_reads(world, state):
    def no_commits(point: str) -> None:
        if point == "before index.commit":
            raise OSError(errno.EIO, "the index cannot be written")

    async with world.engine() as engine:
        failpoints.set_hook(no_commits)
        try:
            acknowledged = True
            try:  # the journal has it, and is mostly heard of before the index
                await put(engine, KEY, INLINE)
            except ReadOnly:
                acknowledged = False
            while engine.meta.failed is None:
                await trio.lowlevel.checkpoint()
            for size in (INLINE, PACK, LARGE):
                with pytest.raises(ReadOnly):
                    await put(engine, KEY, size)
        finally:
            failpoints.set_hook(None)
        assert (await status(engine))["state"] == "read-only"
        for key, size in NEIGHBOURS.items():
            assert await get(engine, key) == bytes_of(size, "neighbour")
        with pytest.raises(ReadOnly):
            await engine.objects.delete(BUCKET, b"a")
    async with world.engine() as engine:
        await settle(engine)
        check_files(world, engine)
        found = await observe(engine, KEYS)
        first = found.objects.pop((BUCKET, KEY), None)  # the first put: its commit is in the journal
        assert first is not None or not acknowledged
        assert found == state


async def test_a_full_disk_is_no_reason_to_fail(world):
    async with world.engine() as engine:
        world.disk(4).capacity = 0
        await put(engine, KEY, LARGE, "full")
        assert await get(engine, KEY) == bytes_of(LARGE, "full")
        assert 4 in engine.disks.in_service()
        world.disk(4).capacity = 1 << 40
        await engine.volumes.close()
        await settle(engine)
        check_files(world, engine)
        assert (await status(engine))["state"] == "healthy"


async def test_a_missing_identity_is_a_missing_disk_not_an_empty_one(world):
    async with world.engine():
        pass  # it learns where the disks are
    world.disk(0).remove("stratum-disk.json")
    async with world.engine() as engine:
        assert 0 not in engine.disks.in_service()
        with pytest.raises(DiskFailed, match="holds files but no"):
            engine.disks.get(0)
        assert await get(engine, b"dir/other") == bytes_of(LARGE, "neighbour")
