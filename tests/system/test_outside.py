"""A small run of the evidence (contrib/evidence/outside.py) on the real process, the real mount and real clients."""

import os
import shutil
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "contrib" / "evidence"))

import outside  # noqa: E402 - the folder is on the path only now
import server as evidence_server  # noqa: E402

pytestmark = [pytest.mark.fuse, pytest.mark.system, pytest.mark.slow]


@pytest.fixture(scope="module")
def server():
    made = evidence_server.Server(fresh=False)
    try:
        made.start()
        yield made
        code, _ = made.stop()
        assert code == 0
    finally:
        made.close()


MISSING = [name for name in ("restic", "borg", "rsync", "git") if shutil.which(name) is None]
REQUIRED = os.environ.get("STRATUM_TEST_REQUIRE_FUSE") == "1"  # then a skip would be a hole nobody sees
TOOLS = pytest.mark.skipif(bool(MISSING) and not REQUIRED, reason=f"not installed: {MISSING}")


@pytest.mark.parametrize(("step", "scale"), [("2", 0.1), pytest.param("3", 0.02, marks=TOOLS), ("4", 0.1), ("5", 0.1)])
def test_a_step_of_the_evidence_holds_on_a_small_scale(server, step, scale):
    outside.STEPS[step](outside.Evidence(server, ROOT / "stratum/store", scale=scale))
