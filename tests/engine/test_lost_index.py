"""The index destroyed in every way while the server is stopped: the next start has everything, and says what it did."""

import itertools
import os
import random
import shutil
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import trio

from stratum.core.errors import CorruptJournal, ForeignDisk, TooFewDisks
from stratum.engine.health import status
from stratum.store.index import find_damage
from tests.engine.cases import judge
from tests.engine.crash import Killed, World, fast_folder, kill
from tests.engine.examination import observe
from tests.engine.operations import KEY, KEYS, LARGE, Operation, put, upload_with_parts

PAGE = 4096


@pytest.fixture(scope="module")
def stores():
    """Two stores of one history, one closed cleanly, one killed; and the index as it was half-way."""
    with tempfile.TemporaryDirectory(dir=fast_folder()) as folder:
        yield trio.run(_make, Path(folder))


async def _make(folder: Path) -> SimpleNamespace:
    limits = Operation("", upload_with_parts, [], {"journal_segment_bytes": 3000}).limits_in_force()
    clean = World(folder / "clean", limits)
    async with clean.engine() as engine:
        await upload_with_parts(engine)
    shutil.copytree(clean.meta, folder / "half")
    killed = None
    async with clean.engine() as engine:
        for version in range(3):
            await put(engine, KEY, LARGE, version)
        state = await observe(engine, KEYS)
    killed = clean.twin(folder / "killed")
    try:
        async with killed.engine() as engine:
            await put(engine, KEY, LARGE, "last")
            last = await observe(engine, KEYS)
            await kill(engine)
    except* Killed:
        pass
    return SimpleNamespace(folder=folder, clean=clean, killed=killed, states={"clean": state, "killed": last})


@pytest.fixture
def world(stores, request):
    """A copy to be destroyed."""
    with tempfile.TemporaryDirectory(dir=fast_folder()) as folder:
        yield getattr(stores, request.param).twin(Path(folder)), stores.states[request.param], stores.folder / "half"


both = pytest.mark.parametrize("world", ["clean", "killed"], indirect=True)


def index_file(world: World) -> Path:
    return world.meta / "index" / "data.mdb"


def remove_the_folder(world: World, _: Path) -> None:
    shutil.rmtree(world.meta)


def remove_the_index(world: World, _: Path) -> None:
    shutil.rmtree(world.meta / "index")


def remove_the_file(world: World, _: Path) -> None:
    index_file(world).unlink()


def remove_everything(world: World, _: Path) -> None:
    shutil.rmtree(world.folder / "data")


def empty_the_file(world: World, _: Path) -> None:
    index_file(world).write_bytes(b"")


def cut_the_file_in_half(world: World, _: Path) -> None:
    cut(world, 0)


def cut_the_file_inside_a_page(world: World, _: Path) -> None:
    cut(world, 100)


def cut(world: World, more: int) -> None:
    """In half, and again until something that is in use goes: free pages at the end are nobody's loss
    (tests/store/test_recovery.py), and whether there are so many depends on which commits were grouped."""
    pages = len(index_file(world).read_bytes()) // PAGE
    while pages > 2:
        pages //= 2
        os.truncate(index_file(world), pages * PAGE + more)
        if find_damage(index_file(world).parent):
            return
    raise AssertionError("nothing but free pages")


def zero_both_meta_pages(world: World, _: Path) -> None:
    index_file(world).write_bytes(bytes(2 * PAGE) + index_file(world).read_bytes()[2 * PAGE :])


def fill_it_with_noise(world: World, _: Path) -> None:
    index_file(world).write_bytes(random.Random(1).randbytes(20 * PAGE))


def flip_a_bit_of_a_record(world: World, _: Path) -> None:
    """In every copy of a key of ours that the pages hold, live or not."""
    content = bytearray(index_file(world).read_bytes())
    at = content.find(b"alice")
    assert at > 0
    while at > 0:
        content[at] ^= 4
        at = content.find(b"alice")
    index_file(world).write_bytes(content)


def put_back_an_old_copy(world: World, half: Path) -> None:
    shutil.rmtree(world.meta)
    shutil.copytree(half, world.meta)


def put_back_only_the_old_file(world: World, half: Path) -> None:
    shutil.copy(half / "index" / "data.mdb", index_file(world))


LOST = [
    remove_the_folder,
    remove_the_index,
    remove_the_file,
    remove_everything,
    empty_the_file,
    cut_the_file_in_half,
    cut_the_file_inside_a_page,
    zero_both_meta_pages,
    fill_it_with_noise,
    flip_a_bit_of_a_record,
]
OLD = [put_back_an_old_copy, put_back_only_the_old_file]


@both
@pytest.mark.parametrize("destroy", [*LOST, *OLD], ids=lambda destroy: destroy.__name__)
async def test_an_index_destroyed_in_any_way_is_rebuilt_with_everything_acknowledged(world, destroy):
    world, state, half = world
    destroy(world, half)
    async with world.engine() as engine:
        kind = (await status(engine))["metadata"]["recovery"]
        assert kind == "rebuilt" or (destroy in OLD and kind == "rolled-forward")
        assert engine.meta.recovery.reason
        assert await observe(engine, KEYS) == state
    async with world.engine() as engine:
        assert engine.meta.recovery.kind == "clean"
    await judge(world, [state], 1)


@pytest.mark.slow
@both
async def test_the_index_is_rebuilt_with_any_two_disks_gone_at_the_same_time(world, tmp_path):
    world, state, _ = world
    shutil.rmtree(world.meta)
    for number, away in enumerate(itertools.combinations(range(6), 2)):
        life = world.twin(tmp_path / str(number))
        life.away = set(away)
        async with life.engine() as engine:
            assert engine.meta.recovery.kind == "rebuilt"
            assert await observe(engine, KEYS) == state
            await put(engine, KEY, LARGE, "degraded")
            written = await observe(engine, KEYS)
        life.away = set()
        async with life.engine() as engine:
            assert await observe(engine, KEYS) == written


@both
async def test_the_index_is_never_rebuilt_from_too_few_disks_to_know_everything(world):
    world, state, _ = world
    shutil.rmtree(world.meta)
    world.away = {0, 1, 2}
    with pytest.raises((TooFewDisks, CorruptJournal)):
        async with world.engine():
            pass
    world.away = set()
    async with world.engine() as engine:
        assert await observe(engine, KEYS) == state


@both
async def test_disks_may_change_places_and_store_json_may_be_lost(world):
    world, state, _ = world
    paths = list(world.disks)
    moved = dict(zip(paths, random.Random(3).sample(list(world.disks.values()), 6), strict=True))
    for path, disk in moved.items():
        disk.name = path
    world.disks = moved
    (world.folder / "data" / "store.json").unlink()
    await judge(world, [state], 2)


@both
async def test_a_store_json_that_makes_no_sense_is_refused_in_plain_words(world):
    world, state, _ = world
    path = world.folder / "data" / "store.json"
    path.write_text("{}")
    with pytest.raises(ForeignDisk, match="remove it to have it written anew"):
        async with world.engine():
            pass
    path.unlink()
    async with world.engine() as engine:
        assert await observe(engine, KEYS) == state
