"""Small pieces of like temperature come together, sparse volumes are emptied, and nobody sees it."""

import random
from dataclasses import replace

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stratum.core.config import KIB
from stratum.core.errors import StoreFull
from stratum.core.manifest import volume_users
from stratum.core.objects import CopySpec, PutSpec
from stratum.core.packing import DAY_NS
from stratum.core.schema import ROOT_INODE
from tests.engine.conftest import body_of, get, read_all
from tests.engine.crash import SMALL, World
from tests.engine.examination import _check_contents, check_files, check_records, settle, volumes_of
from tests.engine.tiered import move, tiered_engine
from tests.fakes.backend import FakeBackend

COLD_DAYS = 40
LIMITS = {"packing_bytes_min": 4 * KIB, "packing_interval": 1e6, "packing_bytes_per_second": 10**12}


def body(key, size=30_000):
    return random.Random(f"{key}/{size}").randbytes(size)


async def put(engine, key, size, **spec):
    await engine.objects.put("bucket", key, body_of(body(key, size)), PutSpec(**spec))


async def furnish(engine, count=20, size=30_000, inline=1000):
    """Packs and inline contents, of which every second is read later."""
    await engine.buckets.create("bucket", "alice")
    sizes = {}
    for number in range(count):
        for kind, each in (("pack", size), ("inline", inline)):
            key = f"{kind}/{number}".encode()
            await put(engine, key, each)
            sizes[key] = each
    await seal(engine)
    return sizes


async def seal(engine):
    """Let the open pack be full."""
    for number in volumes_of(engine):
        engine.volumes.finish(number)
    await engine.repairer.record_seals()


async def weeks_pass(engine, days=COLD_DAYS):
    engine.objects._around.now_ns.ns += days * DAY_NS


def is_used(key):
    return int(key.split(b"/")[1]) % 2 == 0


async def use(engine, sizes):
    for key, size in sizes.items():
        if is_used(key):
            assert await get(engine, key) == body(key, size)


async def all_as_before(engine, sizes, before):
    for key, size in sizes.items():
        assert await engine.objects.head("bucket", key) == before[key]
        assert await get(engine, key) == body(key, size)


async def volumes_with(engine, keys):
    found = set()
    for key in keys:
        found |= set(await engine.tiers.volumes_of((await engine.objects.head("bucket", key)).inode.content))
    return found


async def heads(engine, sizes):
    return {key: await engine.objects.head("bucket", key) for key in sizes}


async def test_cold_small_objects_leave_their_neighbours_and_the_index_and_move_as_one(tmp_path):
    cold = FakeBackend()
    async with tiered_engine(tmp_path, cold, **LIMITS) as engine:
        sizes = await furnish(engine)
        before = await heads(engine, sizes)
        await weeks_pass(engine)
        await use(engine, sizes)
        await engine.packing.walk()
        await all_as_before(engine, sizes, before)
        unused = [key for key in sizes if not is_used(key)]
        (apart,) = await volumes_with(engine, unused)
        assert apart not in await volumes_with(engine, [key for key in sizes if is_used(key)])
        assert engine.packing.inherited(apart).idle >= COLD_DAYS - 1
        await engine.repairer.record_seals()
        await engine.tiers.want([apart], "cold", "TEST")
        await engine.tiers.mover.one_pass()
        for key in sizes:
            where = engine.tiers.tier_of(await engine.objects.head("bucket", key)).summary
            assert where == ("hot" if is_used(key) else "cold"), "tiny ones, too"
        assert len(cold.objects) == 1
        await all_as_before(engine, sizes, before)


async def test_a_second_walk_finds_nothing_to_do(tmp_path):
    async with tiered_engine(tmp_path, **LIMITS) as engine:
        sizes = await furnish(engine)
        await weeks_pass(engine)
        await use(engine, sizes)
        for _ in range(3):
            await engine.packing.walk()
            await engine.repairer.record_seals()
        packed = engine.packing.packed
        assert packed
        await engine.packing.walk()
        assert engine.packing.packed == packed


async def test_without_another_tier_only_garbage_is_a_reason(engine):
    engine.packing.walking.rule = engine.packing.walking._bins._rule = type(engine.packing.walking.rule)(
        bin_bytes_min=4 * KIB
    )
    for number in range(20):
        await put(engine, b"k/%d" % number, 30_000)
        await put(engine, b"i/%d" % number, 500)
    await seal(engine)
    await weeks_pass(engine, 400)
    await engine.packing.walk()
    assert engine.packing.packed == 20, "each was put alone, and three of four columns were padding"
    await engine.repairer.record_seals()
    await engine.packing.walk()
    assert engine.packing.packed == 20
    (number,) = await volumes_with(engine, [b"k/1"])
    for gone in range(2, 20):
        await engine.objects.delete("bucket", b"k/%d" % gone)
    await engine.packing.walk()
    assert engine.packing.packed == 22
    assert await volumes_with(engine, [b"k/1", b"k/0"]) != {number}
    assert not engine.meta.read(lambda txn: list(volume_users(txn, number))), "the sparse volume is the reaper's"
    assert await get(engine, b"k/1") == body(b"k/1", 30_000)


async def test_a_sparse_volume_of_a_remote_is_repacked_and_goes_back_there(tmp_path):
    cold = FakeBackend()
    async with tiered_engine(tmp_path, cold, **LIMITS) as engine:
        sizes = await furnish(engine, inline=10)
        await move(engine, b"pack/0", "cold")
        (before,) = cold.objects
        for key in list(sizes)[2:-6]:
            await engine.objects.delete("bucket", key)
            del sizes[key]
        await engine.packing.walk()
        await engine.repairer.record_seals()
        await engine.tiers.mover.one_pass()
        for _ in range(4):
            await engine.reaper.one_pass()
        (after,) = cold.objects
        assert len(cold.objects[after][0]) < 200_000 and after != before
        for key, size in sizes.items():
            assert await get(engine, key) == body(key, size)


async def test_what_is_pinned_or_hinted_hot_is_not_taken_for_cold_and_pins_do_not_mix(tmp_path):
    async with tiered_engine(tmp_path, **LIMITS) as engine:
        await engine.buckets.create("bucket", "alice")
        said = {
            b"hot": {"stratum-pin": "hot"},
            b"hint": {"stratum-hint": "hot"},
            b"warm": {"stratum-pin": "warm"},
            b"": {},
        }
        for name, metadata in said.items():
            for number in range(6):
                await put(engine, name + b"/%d" % number, 3000, metadata=metadata)
        await weeks_pass(engine)
        await engine.packing.walk()
        found = {name: await volumes_with(engine, [name + b"/%d" % each for each in range(6)]) for name in said}
        assert not found[b"hot"] and not found[b"hint"]
        assert len(found[b"warm"]) == len(found[b""]) == 1 and found[b"warm"] != found[b""]


async def test_a_piece_that_changes_meanwhile_stays_as_it_was_changed(tmp_path):
    async with tiered_engine(tmp_path, **LIMITS) as engine:
        sizes = await furnish(engine, count=8)
        await weeks_pass(engine)
        append = engine.packing._append
        root = engine.files.names.lookup(ROOT_INODE, b"bucket")[0]
        directory = engine.files.names.lookup(root, b"pack")[0]
        handle = engine.files.open(engine.files.names.lookup(directory, b"5")[0], writes=True)

        async def late(pack, batch):
            done = await append(pack, batch)
            await engine.files.write(handle, 100, b"written through the mount")
            await engine.files.fsync(handle)
            await put(engine, b"pack/1", 20_000)
            await engine.objects.delete("bucket", b"pack/3")
            return done

        engine.packing._append = late
        await engine.packing.walk()
        sizes[b"pack/1"] = 20_000
        del sizes[b"pack/3"], sizes[b"pack/5"]
        written = await get(engine, b"pack/5")
        assert written[100:125] == b"written through the mount" and written[125:] == body(b"pack/5")[125:]
        await engine.files.release(handle)
        engine.meta.read(_check_contents)
        for key, size in sizes.items():
            assert await get(engine, key) == body(key, size)


async def test_who_reads_while_it_is_repacked_reads_on(tmp_path):
    async with tiered_engine(tmp_path, **LIMITS) as engine:
        await furnish(engine, count=8, size=900_000)
        await weeks_pass(engine)
        opened = await engine.objects.open("bucket", b"pack/1")
        await engine.packing.walk()
        for _ in range(4):
            await engine.reaper.one_pass()
        assert await read_all(opened) == body(b"pack/1", 900_000)


async def test_a_full_store_ends_the_walk_and_leaves_all_as_it_was(tmp_path):
    async with tiered_engine(tmp_path, **LIMITS) as engine:
        sizes = await furnish(engine)
        before = await heads(engine, sizes)
        await weeks_pass(engine)

        async def full(pack, batch):
            raise StoreFull("no room")

        engine.packing._append = full
        with pytest.raises(StoreFull):
            await engine.packing.walk()
        await all_as_before(engine, sizes, before)


async def test_when_small_contents_were_used_outlasts_a_restart(tmp_path):
    cold = FakeBackend()
    async with tiered_engine(tmp_path, cold, **LIMITS) as engine:
        sizes = await furnish(engine)
        await weeks_pass(engine)
        await use(engine, sizes)
        await engine.packing.uses.flush()
    async with tiered_engine(tmp_path, cold, **LIMITS) as engine:
        await weeks_pass(engine)
        await engine.packing.walk()
        used = await volumes_with(engine, [key for key in sizes if is_used(key)])
        unused = await volumes_with(engine, [key for key in sizes if not is_used(key)])
        assert not used & unused
        await engine.objects.delete("bucket", b"inline/0")
        await engine.packing.uses.forget_old(0)


# --- anything, in any order ----------------------------------------------------------------------------------------

DEEDS = st.lists(
    st.tuples(
        st.sampled_from(["put", "put", "put", "delete", "days", "read", "walk", "walk", "cold", "hot", "reap", "copy"]),
        st.integers(0, 7),
        st.sampled_from([40, 70, 300, 1000, 1400, 5000]),
    ),
    min_size=5,
    max_size=40,
)
PACKED = {"packing_bytes_min": 500, "packing_interval": 1e6, "packing_bytes_per_second": 10**12}


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(deeds=DEEDS)
def test_whatever_is_put_deleted_moved_and_packed_every_byte_stays(tmp_path_factory, deeds):
    world = World(tmp_path_factory.mktemp("world"), replace(SMALL, **PACKED), tiers=True)
    trio.run(_live, world, deeds)


async def _live(world, deeds):
    known = {}
    async with world.engine() as engine:
        await engine.buckets.create("bucket", "alice")
        for deed, number, size in deeds:
            await _do(engine, deed, b"%d" % number, size, known)
        for key, content in known.items():
            assert await get(engine, key) == content
    async with world.engine() as engine:
        for key, content in known.items():
            assert await get(engine, key) == content
        await settle(engine)
        check_files(world, engine)
        check_records(engine)


async def _do(engine, deed, key, size, known):
    await engine.repairer.record_seals()
    if deed == "put":
        await put(engine, key, size)
        known[key] = body(key, size)
    elif deed == "delete":
        await engine.objects.delete("bucket", key)
        known.pop(key, None)
    elif deed == "days":
        await weeks_pass(engine, size // 10)
    elif deed == "read" and key in known:
        assert await get(engine, key) == known[key]
    elif deed == "walk":
        await seal(engine)
        await engine.packing.walk()
    elif deed in ("cold", "hot"):
        await engine.tiers.want(volumes_of(engine), deed, "TEST")
        await engine.tiers.mover.one_pass()
    elif deed == "reap":
        await engine.reaper.one_pass()
    elif deed == "copy" and key in known:
        await engine.objects.copy("bucket", key, "bucket", b"copy", CopySpec())
        known[b"copy"] = known[key]
