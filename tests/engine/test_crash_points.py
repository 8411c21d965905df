"""The power goes at any step of any operation: what was acknowledged is there, the rest is old or new, and lasts.

Here a sample; `contrib/campaigns/crash_points.py` takes every step.
"""

import random
import tempfile
from pathlib import Path

import pytest

from tests.engine.cases import INDEXES, cut_and_judge, rehearse
from tests.engine.crash import CHANCES, fast_folder
from tests.engine.operations import OPERATIONS

SAMPLE = 4  # steps of each operation


@pytest.fixture
def folder():
    with tempfile.TemporaryDirectory(dir=fast_folder()) as made:
        yield Path(made)


@pytest.mark.slow
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name.replace(" ", "-"))
async def test_a_power_cut_at_any_step_loses_nothing_acknowledged_and_leaves_nothing_half_done(folder, operation):
    stage = await rehearse(operation, folder)
    chance = random.Random(operation.name)
    steps = [None, *chance.sample(range(1, len(stage.points) + 1), SAMPLE)]
    steps += [len(stage.points) - stage.points[::-1].index(point) for point in operation.delicate]
    for number, at in enumerate(steps, chance.randrange(9)):
        kind = list(CHANCES)[number % len(CHANCES)] if at is not None else "nothing unsynced survives"
        outcome = await cut_and_judge(stage, at, kind, (INDEXES[number // 3 % len(INDEXES)],), number)
        assert at is not None or outcome.acknowledged == len(operation.steps)


async def test_a_rehearsal_sees_every_step_make_a_difference(folder):
    for operation in OPERATIONS:
        if not operation.from_start and not operation.name.startswith(("repair", "reap")):
            stage = await rehearse(operation, folder / operation.name)
            assert stage.states[0] != stage.states[-1], operation.name
            assert stage.points, operation.name
