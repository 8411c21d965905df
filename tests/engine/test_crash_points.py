"""The power goes at any step of any operation: what was acknowledged is there, the rest is old or new, and lasts.

Here a sample; `contrib/campaigns/crash_points.py` takes every step.
"""

import random
import shutil
import tempfile
from pathlib import Path

import pytest
import trio

from stratum.core.errors import StratumError
from tests.engine.cases import INDEXES, cut_and_judge, judge, rehearse
from tests.engine.crash import CHANCES, Operation, Step, World, fast_folder, run_until_cut
from tests.engine.examination import observe
from tests.engine.operations import BUCKET, INLINE, LARGE, OPERATIONS, PACK, bytes_of, furnish, put

SAMPLE = 4  # steps of each operation


@pytest.fixture
def folder():
    with tempfile.TemporaryDirectory(dir=fast_folder()) as made:
        yield Path(made)


@pytest.mark.slow
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name.replace(" ", "-"))
async def test_a_power_cut_at_any_step_loses_nothing_acknowledged_and_leaves_nothing_half_done(folder, operation):
    stage = await rehearse(operation, folder)
    check_that_steps_make_a_difference(operation, stage)
    chance = random.Random(operation.name)
    steps = [None, *chance.sample(range(1, len(stage.points) + 1), SAMPLE)]
    steps += [len(stage.points) - stage.points[::-1].index(point) for point in operation.delicate]
    for number, at in enumerate(steps, chance.randrange(9)):
        kind = list(CHANCES)[number % len(CHANCES)] if at is not None else "nothing unsynced survives"
        outcome = await cut_and_judge(stage, at, kind, (INDEXES[number // 3 % len(INDEXES)],), number)
        assert at is not None or outcome.acknowledged == len(operation.steps)


def check_that_steps_make_a_difference(operation, stage):
    """Or a cut between them would show nothing. What tidies up changes nothing that is seen."""
    if not operation.from_start and not operation.name.startswith(("repair", "reap", "compact", "move", "pack")):
        assert stage.states[0] != stage.states[-1]
        assert stage.points


class Client:
    """One of many: overwrites and deletes a key of its own until the power goes, and notes what it was told."""

    def __init__(self, number):
        self.key = b"client/%d" % number
        self.chance = random.Random(number)
        self.known = None  # the body that was acknowledged last; None: none
        self.tried = None  # the one under way or acknowledged last

    async def live(self, engine):
        for version in range(6):
            size = self.chance.choice((None, INLINE, PACK, PACK, LARGE))
            self.tried = None if size is None else bytes_of(size, (self.key, version))
            try:
                if size is None:
                    await engine.objects.delete(BUCKET, self.key)
                else:
                    await put(engine, self.key, size, (self.key, version))
            except StratumError:
                return
            self.known = self.tried


async def all_at_once(engine, clients):
    async with trio.open_nursery() as nursery:
        for client in clients:
            nursery.start_soon(client.live, engine)


@pytest.mark.slow
@pytest.mark.parametrize("seed", list(range(8)))
async def test_of_many_operations_in_flight_each_acknowledged_one_is_kept_and_every_other_is_whole(folder, seed):
    clients = [Client(number) for number in range(8)]
    chance = random.Random(seed)
    together = Operation("together", furnish, [Step(all_at_once, durable=False)], {"journal_segment_bytes": 4000})
    base = World(folder / "base", together.limits_in_force())
    async with base.engine() as engine:
        await furnish(engine)
    _, power = await run_until_cut(base, together, clients, chance.randrange(1, 1500), CHANCES["some survives"](seed))
    assert power.gone
    for number, index in enumerate(INDEXES[:2]):
        life = base.twin(folder / str(number))
        if index == "lost":
            shutil.rmtree(life.meta)
        async with life.engine() as engine:
            found = await observe(engine)
            for client in clients:
                version = found.objects.get((BUCKET, client.key))
                assert (version and version.body) in (client.known, client.tried), client.key
        await judge(life, [found], seed)
