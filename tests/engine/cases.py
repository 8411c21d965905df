"""One operation, cut at one step: run it, and judge what every kind of next life finds.

Room: tests. May import: stratum, tests.engine.
"""

import hashlib
import random
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import trio

from tests.engine.crash import (
    CHANCES,
    HANGS,
    Fixed,
    Killed,
    Operation,
    Outcome,
    World,
    kill,
    run_until_cut,
)
from tests.engine.examination import State, check_files, check_records, check_uploads, complete_all, observe, settle
from tests.engine.operations import BUCKET, KEYS, PARTS

BODIES = {(hashlib.md5(body).hexdigest(), len(body)): body for body in PARTS}

INDEXES = ("as it is", "lost", "of before")


@dataclass
class Stage:
    """An operation, what it begins on, and what S3 shows after each of its steps."""

    operation: Operation
    folder: Path
    base: World
    prepared: object
    states: list[State]
    points: list[str]


async def rehearse(operation: Operation, folder: Path) -> Stage:
    """Do the operation undisturbed, once to see the states, once to count the steps."""
    base = World(folder / "base", operation.limits_in_force(), tiers=operation.tiers, spare=operation.spare)
    try:
        async with base.engine() as engine:
            prepared = await operation.prepare(engine)
            if operation.killed:
                await kill(engine)
    except* Killed:
        pass
    operation.spoil(base)
    states = await _states(operation, base.twin(folder / "states"), prepared)
    world = base.twin(folder / "count")
    _, power = await run_until_cut(world, operation, prepared, None, Fixed(0.0))
    return Stage(operation, folder, base, prepared, states, power.reached)


async def _states(operation: Operation, world: World, prepared: object) -> list[State]:
    try:
        async with world.engine() as engine:
            states = [await observe(engine, KEYS)]
            for step in operation.steps:
                await step.act(engine, prepared)
                closed = engine.meta.failed is not None
                states.append(states[-1] if closed else await observe(engine, KEYS))
            if closed:
                raise Killed
    except* Killed:
        async with world.engine() as engine:
            states[-1] = await observe(engine, KEYS)
    return states


async def cut_and_judge(stage: Stage, at: int | None, chance: str, indexes: tuple[str, ...], seed: int = 0) -> Outcome:
    """Cut the operation at step `at`; every next life must keep P1 to P5."""
    folder = stage.folder / "case"
    world = stage.base.twin(folder / "cut")
    outcome, _ = await run_until_cut(world, stage.operation, stage.prepared, at, CHANCES[chance](seed))
    allowed = stage.states[outcome.durable : outcome.acknowledged + 2]
    for index in indexes:
        life = world.twin(folder / index.replace(" ", "-"))
        _damage_index(life, stage.base, index)
        with trio.fail_after(HANGS):
            await judge(life, allowed, seed, stage.operation.makes)
    shutil.rmtree(folder)
    return outcome


def _before_its_bytes(found: State, makes: bytes) -> State:
    """What is found, without a file that was made and whose bytes are lost: as on any file system, at both doors."""
    there = found.objects.get((BUCKET, makes))
    if there is None or there.body:
        return found
    return replace(found, objects={key: version for key, version in found.objects.items() if key != (BUCKET, makes)})


def _damage_index(world: World, base: World, index: str) -> None:
    if index != "as it is" and world.meta.exists():
        shutil.rmtree(world.meta)
    if index == "of before" and base.meta.exists():
        shutil.copytree(base.meta, world.meta)


async def judge(world: World, allowed: list[State], seed: int, makes: bytes = b"") -> None:
    """Restart again and again: one of the allowed states is there, whole, and stays (P1 to P5, P9)."""
    random_ = random.Random(seed)
    try:
        async with world.engine() as engine:
            found = await observe(engine, KEYS)
            assert _before_its_bytes(found, makes) in allowed, f"found {found}, allowed {allowed}"
            check_uploads(found)
            if random_.random() < 0.5:
                await kill(engine)
    except* Killed:
        pass
    async with world.engine() as engine:
        assert await observe(engine, KEYS) == found, "what was found first did not last"
        await settle(engine)
        check_files(world, engine)
        check_records(engine)
        assert await observe(engine, KEYS) == found, "the services took or brought something"
    world.away = set(random_.sample(range(6), 2))
    async with world.engine() as engine:
        assert await observe(engine, KEYS) == found, "not everything is there without two disks"
        await complete_all(engine, BODIES)
