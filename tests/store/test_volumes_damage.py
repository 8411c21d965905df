"""Damage: any two shards of a volume may be anything at all; the bytes still come back, and never wrong ones.

Room: tests. May import: stratum.core, stratum.store, tests.fakes.
"""

import errno
from dataclasses import replace
from threading import Event

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stratum.core.errors import TooFewShards
from stratum.core.layout import columns, touched
from tests.store.volume_world import SMALL, World, bytes_up_to

PATIENT = replace(SMALL, disk_timeout=60.0, straggler_grace=60.0)  # a busy machine must not look like a slow disk
few = settings(max_examples=60, deadline=None)
WHOLE_FILE = ["missing", "empty", "header bit", "other shard", "other volume", "other header", "zeros"]
KINDS = [*WHOLE_FILE, "frame bit", "cut short", "torn", "misdirected frame"]
bodies = bytes_up_to(6000)
damages = st.tuples(st.sampled_from(KINDS), st.integers(0, 2**32))


def spoil(world, number, index, kind, chance, original):
    """Damage one shard; `original`: what its volume's shards held."""
    content = original[index]
    if kind == "missing":
        disk, path = world.shard(number, index)
        disk.remove(path)
        return
    at = 128 + chance % (len(content) - 128)
    changed = bytearray(content)
    if kind == "empty":
        changed = b""
    elif kind == "header bit":
        changed[chance % 128] ^= 1 << chance % 8
    elif kind == "frame bit":
        changed[at] ^= 1 << chance % 8
    elif kind == "other shard":
        changed = original[(index + 1) % len(original)]
    elif kind == "other volume":
        changed = content[:32] + b"\x01" + content[33:]
    elif kind == "other header":
        changed[:128] = original[(index + 1) % len(original)][:128]
    elif kind == "zeros":
        changed = bytes(len(content))
    elif kind == "cut short":
        changed = changed[:at]
    elif kind == "torn":
        changed[at : at + 64] = bytes(b ^ 0x55 for b in changed[at : at + 64])
    elif kind == "misdirected frame":
        changed[128:] = original[(index + 1) % len(original)][128:]
    world.replace(number, index, bytes(changed))


async def stored_world(body, pieces):
    world = World(limits=PATIENT)
    contents = [(body, await world.stored(body))]
    for piece, extents in zip(pieces, await world.volumes.append(pieces), strict=True):
        world.record(extents)
        contents.append((piece, extents))
    await world.volumes.close()
    world.record_seals()
    world.restart()
    return world, contents


def shards_of(world, number):
    return [world.shard(number, index)[0].content(world.shard(number, index)[1]) for index in range(6)]


pieces = st.lists(
    st.tuples(st.randoms(use_true_random=False), st.integers(1, SMALL.pack_bytes)).map(
        lambda it: it[0].randbytes(it[1])
    ),
    max_size=4,
)


@few
@given(bodies, pieces, st.permutations(range(6)), damages, damages)
async def test_with_any_two_shards_spoilt_every_byte_comes_back_and_the_damage_is_told(body, pieces, order, one, two):
    world, contents = await stored_world(body, pieces)
    spoilt = dict(zip(order, (one, two), strict=False))
    for number in world.recorded():
        original = shards_of(world, number)
        for index, (kind, chance) in spoilt.items():
            spoil(world, number, index, kind, chance, original)
    needed = set()
    for data, extents in contents:
        assert await world.read(extents) == data
        for extent in extents:
            for column in columns(touched(extent, 0, extent.length), 4):
                if column.shard in spoilt and spoilt[column.shard][0] in WHOLE_FILE:
                    needed.add((extent.volume, column.shard))
    told = [(number, shard) for number, shard, _ in world.damage]
    assert needed <= set(told)
    assert {shard for _, shard in told} <= set(spoilt)
    assert len(told) == len(set(told)), "each is told once"
    for number, volume in world.recorded().items():
        assert set(await world.volumes.verify(number, volume)) == set(spoilt)


@few
@given(bodies, pieces, st.permutations(range(6)), st.lists(damages, min_size=3, max_size=6))
async def test_with_three_or_more_spoilt_there_are_the_right_bytes_or_none(body, pieces, order, kinds):
    world, contents = await stored_world(body, pieces)
    for number in world.recorded():
        original = shards_of(world, number)
        for index, (kind, chance) in zip(order, kinds, strict=False):
            spoil(world, number, index, kind, chance, original)
    for data, extents in contents:
        try:
            assert await world.read(extents) == data
        except TooFewShards:
            continue


@pytest.mark.parametrize("gone", [(0, 1, 2), (0, 4, 5), (1, 2, 5)])
async def test_with_three_shards_missing_it_says_so(gone):
    body = bytes(range(256)) * 20
    world, [(_, extents)] = await stored_world(body, [])
    for number in world.recorded():
        for index in gone:
            spoil(
                world, number, index, "missing", 0, shards_of(world, number) if index == gone[0] else [b"x" * 200] * 6
            )
    with pytest.raises(TooFewShards):
        await world.read(extents)


async def test_disks_out_of_service_are_not_damage():
    body = bytes(range(256)) * 20
    world, [(_, extents)] = await stored_world(body, [])
    world.slots.fail(0, "taken out")
    world.slots.fail(1, "taken out")
    assert await world.read(extents) == body
    assert world.damage == []
    (volume,) = world.recorded().items()
    assert await world.volumes.verify(*volume) == {}


async def test_a_read_error_is_damage_of_the_shard_and_costs_no_disk():
    body = bytes(range(256)) * 20
    world, [(_, extents)] = await stored_world(body, [])
    world.disks[0].inject(errno.EIO, op="read", times=None)
    world.disks[1].inject(errno.EIO, op="open", times=None)
    assert await world.read(extents) == body
    assert {world.recorded()[number].slots[shard] for number, shard, _ in world.damage} <= {0, 1}
    assert world.slots.in_service() == [0, 1, 2, 3, 4, 5]


async def test_a_small_read_touches_one_shard():
    world, [_, (piece, extents)] = await stored_world(b"x", [b"small" * 40])
    before = sum(disk.calls.get(("shard", "open"), 0) for disk in world.disks)
    assert await world.volumes.read(extents[0], 5, 9) == piece[5:9]
    assert sum(disk.calls.get(("shard", "open"), 0) for disk in world.disks) == before + 1


async def test_no_more_files_stay_open_than_the_limit_says():
    world = World()
    extents = await world.stored(bytes(range(256)) * 300)
    await world.read(extents)
    assert len({extent.volume for extent in extents}) * 4 > SMALL.open_shards
    assert world.open_files() <= SMALL.open_shards
    await world.volumes.close()
    assert world.open_files() == 0


async def test_a_disk_that_does_not_answer_is_taken_out_and_the_read_goes_on(monkeypatch):
    world = World(limits=replace(SMALL, disk_timeout=0.1))
    body = bytes(range(256)) * 8
    extents = await world.stored(body)
    (number,) = world.recorded()
    slot = world.recorded()[number].slots[1]
    hold = Event()
    straight = world.disks[slot].open

    def hang(path, *, purpose):
        hold.wait(10)
        return straight(path, purpose=purpose)

    monkeypatch.setattr(world.disks[slot], "open", hang)
    try:
        assert await world.read(extents) == body
    finally:
        hold.set()
    assert slot not in world.slots.in_service()
    assert world.damage == []
