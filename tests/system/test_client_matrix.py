"""Some rows of the client matrix (contrib/clients) on the real process: those whose clients install in seconds."""

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "contrib" / "evidence"))
sys.path.insert(0, str(ROOT / "contrib" / "clients"))

import checks  # noqa: E402 - the folders are on the path only now
import matrix  # noqa: E402
from served import Served  # noqa: E402

pytestmark = [pytest.mark.system, pytest.mark.slow]

TOOLS = Path(os.environ.get("STRATUM_TEST_CLIENTS", ROOT / ".clients"))  # contrib/test.sh installs there
REQUIRED = os.environ.get("STRATUM_TEST_REQUIRE_CLIENTS") == "1"  # then a skip would be a hole nobody sees
NAMES = ("boto3", "aioboto3", "s3fs", "minio-py", "s3cmd")
CHECKS = [check for check in checks.CHECKS if check.name in NAMES]


@pytest.fixture(scope="module")
def server():
    with Served() as started:
        yield started


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_a_client_does_its_round_with_nothing_but_endpoint_and_credentials(server, check, tmp_path):
    if check.name != "boto3" and not (TOOLS / "ci").exists() and not REQUIRED:
        pytest.skip("its clients are not installed: contrib/test.sh does that")
    row = matrix.perform(check, server.client_environment(), tmp_path, TOOLS)
    assert row.holds, row.result


def test_what_goes_wrong_in_a_client_is_the_result_of_its_row(tmp_path):
    def broken(round_):
        round_.run(sys.executable, "-c", "raise SystemExit('no such thing: ' + 'SECRET')")

    def absent(round_):
        round_.run("no-such-client-at-all")

    environment = {"AWS_ENDPOINT_URL": "http://h:1", "AWS_ACCESS_KEY_ID": "KEY", "AWS_SECRET_ACCESS_KEY": "SECRET"}
    rows = [
        matrix.perform(matrix.Check(name, "x", work), environment, tmp_path, tmp_path)
        for name, work in (("broken", broken), ("absent", absent))
    ]
    assert not any(row.holds for row in rows)
    assert "ended with 1" in rows[0].result and "SECRET" not in rows[0].commands[0]
    assert rows[1].result == "not run: no-such-client-at-all is not installed here"


def test_trees_that_differ_in_one_byte_or_one_name_are_seen_to_differ(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_bytes(b"same")
    matrix.same_trees(tmp_path / "a", tmp_path / "b")
    (tmp_path / "b" / "file").write_bytes(b"sane")
    with pytest.raises(matrix.Failed):
        matrix.same_trees(tmp_path / "a", tmp_path / "b")
    (tmp_path / "b" / "file").rename(tmp_path / "b" / "other")
    with pytest.raises(matrix.Failed):
        matrix.same_trees(tmp_path / "a", tmp_path / "b")
