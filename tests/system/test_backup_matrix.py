"""The backup matrix (contrib/backup) on a small scale: every program on a real mount, then both doors compared."""

import os
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
for folder in ("evidence", "pjdfstest", "backup"):
    sys.path.insert(0, str(ROOT / "contrib" / folder))

import backup_databases  # noqa: E402 - the folders are on the path only now
import backup_programs  # noqa: E402
from backup_round import perform  # noqa: E402
from both_doors import Disagreement, Doors, programs_that_compare  # noqa: E402
from mounted import ServedMount  # noqa: E402

pytestmark = [pytest.mark.fuse, pytest.mark.system, pytest.mark.slow]

TREE = ROOT / "stratum/store"
SCALE = 0.05
REQUIRED = os.environ.get("STRATUM_TEST_REQUIRE_BACKUP") == "1"  # then a skip would be a hole nobody sees
ROWS = (*backup_programs.ROWS, *backup_databases.ROWS)


@pytest.fixture(scope="module")
def doors(tmp_path_factory):
    server = ServedMount(ROOT)
    os.chmod(server.base, 0o755)  # databases run as another user
    try:
        server.start()
        aws, rclone = programs_that_compare(ROOT)
        yield Doors(server.mountpoint, server.client_environment(), aws=aws, rclone=rclone)
        assert server.stop() == 0
    finally:
        server.close()


@pytest.fixture
def outside():
    """A folder that other users may pass through: the one of pytest is closed again by any pytest that starts."""
    with tempfile.TemporaryDirectory(prefix="stratum-backup-") as made:
        os.chmod(made, 0o755)
        yield Path(made)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_program_does_on_the_mount_what_it_does_on_a_disk_and_both_doors_agree(doors, row, outside):
    outcome = perform(row, doors, outside, TREE, ROOT / ".clients/backup", scale=SCALE)
    if outcome.missing and not REQUIRED:
        pytest.skip(f"{outcome.result}: contrib/test.sh installs it")
    assert outcome.holds, outcome.result
    assert outcome.agreement.objects > 0


def test_two_doors_that_differ_in_one_byte_one_key_or_one_time_are_seen_to_differ(doors, tmp_path):
    bucket = doors.make_bucket("differing")
    (bucket / "folder").mkdir()
    (bucket / "folder/file").write_bytes(b"same")
    (bucket / "link").symlink_to("folder/file")
    assert (found := doors.compare("differing")).objects == 2
    assert found.links == 1
    elsewhere = Doors(tmp_path, doors.environment, aws=doors.aws, rclone=doors.rclone)
    copy = tmp_path / "differing"
    (copy / "folder").mkdir(parents=True)
    (copy / "link").symlink_to("folder/file")
    with pytest.raises(Disagreement, match="keys differ"):
        elsewhere.compare("differing")
    (copy / "folder/file").write_bytes(b"sane")
    with pytest.raises(Disagreement, match="other bytes"):
        elsewhere.compare("differing")
    (copy / "folder/file").write_bytes(b"same")
    if doors.aws:
        os.utime(copy / "folder/file", (2**32, 2**32))
        with pytest.raises(Disagreement, match="aws s3 sync"):
            elsewhere.compare("differing")
