"""Many moves to and fro while the remote backend fails in every way, and what is left of it.

Room: tests. May import: stratum, tests.engine, tests.fakes. Also run at length by contrib/campaigns/tiers.py.
"""

import hashlib
import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from stratum.core.config import KIB
from stratum.core.errors import StratumError, Unavailable
from stratum.core.objects import PutSpec
from stratum.store.shards import path_of
from tests.engine.conftest import body_of, get
from tests.engine.tiered import reap, shard_files, tiered_engine
from tests.fakes.backend import FAULTS, FakeBackend

OBJECTS = 24


@dataclass
class Found:
    """What a run came to."""

    moves: int = 0
    attempts: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    reads: int = 0
    refused_reads: int = 0  # with an error, while a fault was on
    wrong: int = 0  # bytes or attributes that were not what was put
    lost: int = 0  # objects that cannot be read once the faults are over
    orphans: int = 0  # objects at the backend, and files, that nothing names in the end
    swept: int = 0  # orphans that only a listing found
    left: list[str] = field(default_factory=list)  # names of some orphans
    gone_remotely: int = 0  # times an object was missing at the backend for a while


class Chance:
    """Which fault a call meets."""

    def __init__(self, seed: int, share: float, found: Found) -> None:
        self._random = random.Random(seed)
        self._share = share
        self._found = found
        self.on = True

    def __call__(self, verb: str) -> str | None:
        if not self.on or self._random.random() >= self._share:
            return None
        fault = self._random.choice(FAULTS)
        self._found.faults[fault] += 1
        return fault


async def run_moves(folder: Path, moves: int, seed: int, share: float = 0.2, cold: Any = None) -> Found:
    """Move objects between three tiers until `moves` are done, with readers beside; then look at everything.

    `cold`: another than the backend in memory, with the same attributes (tests.engine.served_cold).
    """
    found, cold = Found(), cold if cold is not None else FakeBackend()
    chance = Chance(seed, share, found)
    turns = random.Random(seed)
    bodies: dict[bytes, bytes] = {}
    limits = {
        "volume_bytes": 256 * KIB,
        "cold_attempts": 3,
        "cold_pause": 0.001,
        "cold_sweep_pause": 0.001,
        "cold_cache_bytes": 256 * KIB,
    }
    async with tiered_engine(folder, cold, **limits) as engine:
        engine.tiers.mover._pace._rate = 1e12
        await engine.buckets.create("bucket", "alice")
        for number in range(OBJECTS):
            key = b"%d" % number
            bodies[key] = turns.randbytes(turns.choice((20_000, 150_000, 400_000)))
            await engine.objects.put("bucket", key, body_of(bodies[key]), PutSpec())
        before = {key: await engine.objects.head("bucket", key) for key in bodies}
        with _without_pauses(engine):
            cold.fault = chance
            while sum(engine.tiers.mover.moved.values()) < moves:
                await _round(engine, turns, bodies, found, cold, chance)
            found.moves = sum(engine.tiers.mover.moved.values())
            cold.fault = lambda verb: None
            await _finish(engine, bodies, before, found)
        await _judge(engine, folder, cold, found)
    return found


def _without_pauses(engine):
    """Tries again at once: the pauses are of another test."""
    import contextlib

    return contextlib.nullcontext(setattr(engine.tiers._backends["remote"], "_chance", lambda: -0.499))


async def _round(engine, turns, bodies, found, cold, chance) -> None:
    """Wish a few objects elsewhere, let the mover try, read some meanwhile; now and then the mover is killed."""
    for key in turns.sample(sorted(bodies), 6):
        view = await engine.objects.head("bucket", key)
        await engine.tiers.want_object(view, turns.choice(("hot", "warm", "cold", "cold")), "TEST")
    hidden = _hide_one(turns, cold, found)
    async with trio.open_nursery() as nursery:
        for key in turns.sample(sorted(bodies), 2):
            nursery.start_soon(_read, engine, key, bodies[key], found)
        with trio.CancelScope() as killed:
            if turns.random() < 0.15:
                nursery.start_soon(_kill_soon, killed, turns.randrange(60))
            engine.tiers.mover.put_off.clear()
            found.attempts += 1
            await engine.tiers.mover.one_pass()
    cold.objects.update(hidden)
    engine.volumes.held._cache._frames.clear()
    engine.volumes.held._cache.size = 0
    await engine.repairer.record_seals()
    if turns.random() < 0.3:
        await engine.reaper.one_pass()


def _hide_one(turns, cold, found) -> dict[str, tuple[bytes, bytes, str, float]]:
    """An object is missing at the backend for a while."""
    if not cold.objects or turns.random() > 0.1:
        return {}
    key = turns.choice(sorted(cold.objects))
    found.gone_remotely += 1
    return {key: cold.objects.pop(key)}


async def _kill_soon(scope, steps: int) -> None:
    for _ in range(steps):
        await trio.sleep(0)
    scope.cancel()


async def _read(engine, key: bytes, body: bytes, found: Found) -> None:
    found.reads += 1
    try:
        found.wrong += await get(engine, key) != body
    except Unavailable:
        found.refused_reads += 1


async def _finish(engine, bodies, before, found) -> None:
    """The faults are over: every wish comes true."""
    for _ in range(20):
        engine.tiers.mover.put_off.clear()
        await engine.tiers.mover.one_pass()
        await engine.repairer.record_seals()
        if not engine.tiers.mover.waiting:
            break
    for key, body in bodies.items():
        try:
            found.wrong += await get(engine, key) != body
            found.wrong += await engine.objects.head("bucket", key) != before[key]
            found.wrong += hashlib.md5(body).hexdigest() != before[key].etag
        except StratumError:
            found.lost += 1


async def _judge(engine, folder, cold, found) -> None:
    """What is left over: what no row names is an orphan; a listing collects it."""
    await reap(engine)
    assert engine.disks.in_service() == engine.disks.slots(), "no disk is blamed for what a remote does"
    named = await _named(engine)
    orphans = set(cold.objects) - named
    found.orphans = len(orphans)
    for _ in range(2):
        for key in orphans & set(cold.objects):
            content, digest, store, _time = cold.objects[key]
            cold.objects[key] = (content, digest, store, 0.0)
        await engine.tiers.sweeper.sweep("remote")
        await reap(engine)
    found.swept = engine.tiers.sweeper.found
    assert set(cold.objects) == named, "a listing collects every orphan"
    from tests.engine.examination import volumes_of

    await engine.volumes.close()
    await engine.repairer.record_seals()
    wanted = {path_of(number, shard) for number, each in volumes_of(engine).items() for shard in range(len(each.slots))}
    files = [path for disks in ("disks", "warm") for path in shard_files(folder / disks)]
    left = [path for path in files if "/".join(path.parts[-3:]) not in wanted]
    assert len(files) - len(left) == len(wanted), "no file is missing"
    found.orphans += len(left)
    found.left += [str(path.relative_to(folder)) for path in left[:9]]


async def _named(engine) -> set[str]:
    from tests.engine.examination import volumes_of

    volumes = volumes_of(engine).values()
    return {volume.held.key for volume in volumes if volume.held is not None and volume.held.key}
