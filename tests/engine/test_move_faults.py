"""Moves while the remote backend fails in every way: nothing is lost, nothing wrong is read, nothing stays behind.

Here a few; contrib/campaigns/tiers.py makes thousands, and writes docs/evidence/tiers.md.
"""

import pytest

from tests.engine.move_faults import run_moves


# A read that a fault cuts off leaves its generator to the collector, which complains: no data is concerned.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
async def test_moves_under_faults_lose_nothing_and_leave_nothing(tmp_path, seed):
    found = await run_moves(tmp_path, 60, seed)
    assert found.moves >= 60
    assert len(found.faults) >= 8 and found.refused_reads < found.reads
    assert (found.wrong, found.lost, found.orphans) == (0, 0, 0)
