"""Drive backup programs and databases on a freshly started mount; write docs/compatibility/backup.md.

Usage: contrib/backup/run.sh [options]; the header of run.sh says what it installs.
"""

import argparse
import datetime
import os
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "evidence"), str(HERE.parent / "pjdfstest")]

import backup_databases  # noqa: E402 - the folders are on the path only now
import backup_page  # noqa: E402
import backup_programs  # noqa: E402
from backup_round import Outcome, Row, perform  # noqa: E402
from both_doors import Disagreement, Doors, programs_that_compare  # noqa: E402
from mounted import ServedMount  # noqa: E402
from served import ROOT, clone_of_head, commit_of  # noqa: E402

PAGE = ROOT / "docs/compatibility/backup.md"
ROWS = (*backup_programs.ROWS, *backup_databases.ROWS)
TREES = ("/usr/local/go/src", "/usr/include", "/usr/share")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", metavar="ROW", help="rows whose names begin so; no report is written")
    parser.add_argument("--tree", type=Path, help=f"what is backed up (default: the first of {', '.join(TREES)})")
    parser.add_argument("--scale", type=float, default=1.0, help="less than 1: shorter load, fewer repetitions")
    parser.add_argument("--options", default="", metavar="OPT,...", help="mount options")
    parser.add_argument("--transport", default="raw", help="of the mount: raw or pyfuse3")
    parser.add_argument("--work-tree", action="store_true", help="test the files as they lie, not the last commit")
    parser.add_argument("--no-report", action="store_true", help="do not write the page")
    parser.add_argument(
        "--tools",
        type=Path,
        default=ROOT / ".clients/backup",
        help="where run.sh installed programs, each in a folder of its own",
    )
    return parser.parse_args()


def wanted(only: list[str] | None) -> list[Row]:
    return [row for row in ROWS if not only or any(row.name.startswith(name) for name in only)]


@dataclass(slots=True)
class Matrix:
    """What a run gave."""

    outcomes: list[Outcome] = field(default_factory=list)
    transport: str = "raw"
    mounted: str = ""  # as /proc/self/mounts has it
    after_remount: str = ""
    exit_code: int = 0


def run_all(server: ServedMount, rows: list[Row], settings: argparse.Namespace, work: Path) -> Matrix:
    """Every row in a bucket of its own, one after the other; then unmount, mount, and compare all once more."""
    server.start(STRATUM_MOUNT_TRANSPORT=settings.transport)
    tree = settings.tree or next(Path(each) for each in TREES if Path(each).is_dir())
    found = Matrix(transport=settings.transport, mounted=server.file_system())
    aws, rclone = programs_that_compare(ROOT)
    doors = Doors(server.mountpoint, server.client_environment(), aws=aws, rclone=rclone)
    for row in rows:
        outcome = perform(row, doors, work, tree.resolve(), settings.tools, scale=settings.scale)
        print(backup_page.line(outcome), flush=True)
        found.outcomes.append(outcome)
        shutil.rmtree(work / row.name, ignore_errors=True)
    found.exit_code = server.stop()
    server.start(STRATUM_MOUNT_TRANSPORT=settings.transport)
    found.after_remount = remounted(server, found.outcomes)
    return found


def remounted(server: ServedMount, outcomes: list[Outcome]) -> str:
    """After unmount and mount: every object of every row that held, once more through both doors."""
    doors = Doors(server.mountpoint, server.client_environment(), aws=None, rclone=None)
    begun, objects, size = time.monotonic(), 0, 0
    try:
        for outcome in outcomes:
            if outcome.holds:
                again = doors.compare(outcome.name, programs=False)
                if outcome.agreement is None or (again.objects, again.bytes) != (
                    outcome.agreement.objects,
                    outcome.agreement.bytes,
                ):
                    return f"failed: {outcome.name} has other objects than before"
                objects += again.objects
                size += again.bytes
    except (Disagreement, OSError) as error:
        return f"failed: {error}"
    return f"ok: {objects:,} objects, {size / 1e6:,.0f} MB, in {time.monotonic() - begun:.0f} s"


def main() -> int:
    settings = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # so that nothing stays mounted
    date = f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC"
    with tempfile.TemporaryDirectory(prefix="stratum-backup-") as name:
        os.chmod(name, 0o755)  # databases run as another user
        tree = ROOT if settings.work_tree or settings.only else clone_of_head(Path(name))
        server = ServedMount(tree, options=settings.options)
        os.chmod(server.base, 0o755)
        try:
            found = run_all(server, wanted(settings.only), settings, Path(name) / "work")
        finally:
            sys.stderr.write(server.log.read_text(errors="replace")[-3000:])
            server.close()
        commit = commit_of(tree)
    print(f"exit code {found.exit_code}; after unmount and mount: {found.after_remount}")
    if not (settings.only or settings.no_report):
        PAGE.write_text(backup_page.page(found, settings, date, commit))
    good = all(outcome.holds or outcome.missing for outcome in found.outcomes)
    return 0 if good and found.after_remount.startswith("ok") and found.exit_code == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
