"""Run an unmodified checkout of ceph/s3-tests against freshly started servers and write the page about it.

Usage: contrib/s3-tests/run.sh PATH [options] [-- pytest arguments]; the header of run.sh says it all.
"""

import argparse
import contextlib
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "evidence"))

import outcomes
import report
from accounts import USERS, make_accounts, make_kms_keys, write_configuration
from served import ROOT, Served, clone_of_head, commit_of

HERE = Path(__file__).resolve().parent
PAGE = ROOT / "docs/compatibility/s3-tests.md"
TEST_TIMEOUT_S = 300  # of one test: nothing hangs
LOG_S = 4  # lines of access logs are written at the latest after; the suite looks after 5.5 (expected_object_roll_time)
DAY_S = 4  # a "day" of lifecycle rules, if the server has that setting; the suite's own default is 10


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path, help="an unmodified checkout of ceph/s3-tests")
    parser.add_argument("--suite-python", default=sys.executable, help="the interpreter with the suite's dependencies")
    parser.add_argument("--only", help="only matching tests (pytest -k), of the work tree; no report is written")
    parser.add_argument("--keep-going", action="store_true", help="with --only: do not stop at the first failure")
    parser.add_argument("--files", action="append", help="files of the suite; default test_s3.py and test_headers.py")
    parser.add_argument("--workers", type=int, default=2, help="workers, each with a server of its own")
    parser.add_argument("--work-tree", action="store_true", help="test the files as they lie, not the last commit")
    parser.add_argument("--failures", type=Path, help="also write one line a failing test to this file")
    parser.add_argument("--junit", type=Path, help="keep pytest's JUnit file here")
    parser.add_argument("--no-report", action="store_true", help="do not write the page")
    parser.add_argument("pytest", nargs="*", help="more arguments for pytest, after --; no report is written")
    return parser.parse_args()


def day_setting(server: Served) -> float | None:
    """DAY_S if this server lets the length of a lifecycle day be set."""
    return DAY_S if "day_seconds" in server.tool("config", "show").stdout else None


def start_servers(stack: contextlib.ExitStack, tree: Path, count: int, folder: Path) -> float | None:
    """Start one server a worker, with users and a configuration file each; return the length of a day."""
    day = None
    for number in range(count):
        server = Served(tree)
        stack.callback(server.close)
        day = day_setting(server)
        more = f"[limits]\naccess_log_interval = {LOG_S}\n"
        if day is not None:
            more += f"[lifecycle]\nday_seconds = {day}\n"
        server.config.write_text(server.config.read_text() + more)
        server.start()
        make_kms_keys(server)
        write_configuration(folder / f"worker-{number}.conf", server, make_accounts(server), day)
    return day


def run_pytest(settings: argparse.Namespace, folder: Path, junit: Path) -> None:
    """Run the suite; its failures are its outcome, not an error of this program."""
    files = settings.files or list(outcomes.HEADLINE_FILES)
    command = [settings.suite_python, "-B", "-m", "pytest", "-p", "markers_plugin", "-p", "no:cacheprovider"]
    command += ["-n", str(settings.workers), "--dist", "worksteal", "--timeout", str(TEST_TIMEOUT_S)]
    command += [f"--junitxml={junit}", "-o", "junit_family=xunit1", "--tb=short", "-q", "-rN"]
    if settings.only:
        command += ["-k", settings.only, "-rfE"] + ([] if settings.keep_going else ["-x"])
    command += settings.pytest + [str(Path("s3tests/functional") / file) for file in files]
    env = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PYTEST_"))}
    env |= {
        "S3TEST_CONFS": str(folder / "worker-{worker}.conf"),
        "S3TEST_SERVERS": str(settings.workers),
        "PYTHONPATH": str(HERE),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    subprocess.run(command, cwd=settings.path, env=env, check=False)


def run_again(
    settings: argparse.Namespace, tree: Path, folder: Path, tests: list[outcomes.Test]
) -> list[outcomes.Test]:
    """Run each function that counts and failed once more, by itself on a fresh server: some expect to find nothing."""
    found: list[outcomes.Test] = []
    for number, each in enumerate(t for t in tests if t.broken and t.counted):
        alone = argparse.Namespace(**{**vars(settings), "workers": 1, "only": None})
        alone.files, place = [f"{each.file}::{each.name}"], folder / f"again-{number}"
        place.mkdir()
        with contextlib.ExitStack() as stack:
            start_servers(stack, tree, 1, place)
            run_pytest(alone, place, place / "junit.xml")
        found += outcomes.read_junit(place / "junit.xml") if (place / "junit.xml").exists() else []
    return found


def machine() -> str:
    return f"{os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}"


def suite_commit(path: Path) -> str:
    done = subprocess.run(["git", "-C", str(path), "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    changed = subprocess.run(["git", "-C", str(path), "status", "--porcelain"], capture_output=True, text=True)
    if changed.stdout.strip():
        raise SystemExit(f"{path} is not an unmodified checkout:\n{changed.stdout}")
    return done.stdout.strip() or "an unknown commit"


def main() -> int:
    settings = parse()
    quick = bool(settings.only)
    with tempfile.TemporaryDirectory(prefix="stratum-s3-tests-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        commit = suite_commit(settings.path)
        tree = ROOT if quick or settings.work_tree else clone_of_head(folder)
        begun, date = time.monotonic(), datetime.datetime.now(datetime.UTC)
        day = start_servers(stack, tree, settings.workers, folder)
        junit = settings.junit.resolve() if settings.junit else folder / "junit.xml"
        run_pytest(settings, folder, junit)
        if not junit.exists():
            return 2
        tests, alone = outcomes.read_junit(junit), []
        if not (quick or settings.pytest):
            stack.close()
            tests, alone = outcomes.with_again(tests, run_again(settings, tree, folder, tests))
        run = report.Run(
            date=f"{date:%Y-%m-%d %H:%M} UTC",
            suite_commit=commit,
            product_commit=commit_of(tree),
            machine=machine(),
            seconds=time.monotonic() - begun,
            workers=settings.workers,
            day_seconds=day,
            users=USERS,
            alone=tuple(alone),
        )
        return finish(settings, run, tests, write=not (quick or settings.pytest or settings.no_report))


def finish(settings: argparse.Namespace, run: report.Run, tests: list[outcomes.Test], *, write: bool) -> int:
    """Print the figures, write what was asked for; 1 if a test that counts did not pass."""
    reasons = outcomes.read_reasons(HERE / "reasons.toml")
    if settings.failures:
        head = f"# {run.date}, product {run.product_commit}, {run.seconds:.0f} s; area, test, first line of the error\n"
        settings.failures.write_text(head + report.failure_lines(tests, reasons))
    if write:
        PAGE.parent.mkdir(parents=True, exist_ok=True)
        PAGE.write_text(report.as_markdown(run, tests, reasons))
        PAGE.with_suffix(".json").write_text(json.dumps(report.as_json(run, tests, reasons), indent=1) + "\n")
    passed, total, percent = outcomes.share(tests)
    print(f"{outcomes.counts(tests)}; counted: {passed} of {total} ({percent:.1f} %); {run.seconds:.0f} s")
    return 0 if passed == total else 1


if __name__ == "__main__":
    sys.exit(main())
