"""Run an unmodified checkout of pjd/pjdfstest on a real mount and write the page about it.

Usage: contrib/pjdfstest/run.sh PATH [options]; the header of run.sh says it all.
"""

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import page
import tap
from mounted import ServedMount
from served import ROOT, clone_of_head, commit_of

PAGE = ROOT / "docs/compatibility/pjdfstest.md"
WHOLE_RUN_S = 3600  # of prove: nothing hangs


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path, help="an unmodified checkout of pjd/pjdfstest")
    parser.add_argument(
        "--only", metavar="GROUP", help="one group or file (rename, chown/00), of the work tree; no report"
    )
    parser.add_argument("--work-tree", action="store_true", help="test the files as they lie, not the last commit")
    parser.add_argument("--no-report", action="store_true", help="do not write the page")
    parser.add_argument("--transports", nargs="*", default=["raw", "pyfuse3"], help="of the mount, one after the other")
    parser.add_argument("--output", type=Path, help="keep what prove printed in this file")
    return parser.parse_args()


def suite_commit(path: Path) -> str:
    """The commit of the checkout. Exits if files of it were changed."""
    git = ["git", "-C", str(path)]
    done = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    changed = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, check=False)
    if done.returncode or changed.stdout.strip():
        raise SystemExit(f"{path} is not an unmodified checkout:\n{done.stderr}{changed.stdout}")
    return done.stdout.strip()


def build(path: Path, folder: Path) -> Path:
    """Build the suite of a checkout in `folder`; return where its tests are."""
    suite = folder / "suite"
    subprocess.run(["git", "clone", "-q", str(path.resolve()), str(suite)], check=True)
    log = folder / "build.log"
    with log.open("wb") as out:
        for command in (["autoreconf", "-ifs"], ["./configure"], ["make", "pjdfstest"]):
            if subprocess.run(command, cwd=suite, stdout=out, stderr=subprocess.STDOUT, check=False).returncode:
                raise SystemExit(f"{' '.join(command)} failed:\n{log.read_text()[-3000:]}")
    return suite / "tests"


def prove(tests: Path, only: str | None, where: Path, output: Path) -> tuple[list[tap.File], str]:
    """Run the tests (of one group) in the folder `where`; return what they said, and the verdict of prove."""
    chosen = tests / only if only else tests
    if only and not chosen.is_dir():
        chosen = chosen.with_suffix(".t")
    if not chosen.exists():
        raise SystemExit(f"no such group: {', '.join(sorted(p.name for p in tests.iterdir() if p.is_dir()))}")
    with output.open("wb") as out:
        subprocess.run(
            ["prove", "-rv", str(chosen)],
            cwd=where,
            stdout=out,
            stderr=subprocess.STDOUT,
            check=False,
            timeout=WHOLE_RUN_S,
        )
    lines = output.read_text(errors="replace").splitlines()
    verdict = next((line for line in reversed(lines) if line.startswith("Result:")), "Result: none")
    return tap.read(lines), verdict


def file_system_of(folder: Path) -> str:
    """The type of the file system a folder is on, as df says."""
    done = subprocess.run(["df", "--output=fstype", str(folder)], capture_output=True, text=True, check=True)
    return done.stdout.split()[-1]


def main() -> int:
    settings = parse()
    report = not (settings.only or settings.no_report)
    with tempfile.TemporaryDirectory(prefix="stratum-pjdfstest-") as name:
        folder = Path(name)
        os.chmod(folder, 0o755)  # the suite becomes other users, who need its program
        commit = suite_commit(settings.path)
        tests = build(settings.path, folder)
        tree = ROOT if settings.only or settings.work_tree else clone_of_head(folder)
        date = datetime.datetime.now(datetime.UTC)
        done = {name: on_mount(tree, name, tests, settings, folder) for name in settings.transports}
        if report:
            beside = folder / "beside"
            beside.mkdir()
            local, _ = prove(tests, None, beside, folder / "local.tap")
            name, *others = done
            files, verdict, seconds, mounted_as = done[name]
            write(
                page.Run(
                    date=f"{date:%Y-%m-%d %H:%M} UTC",
                    suite_commit=commit,
                    product_commit=commit_of(tree),
                    machine=f"{os.cpu_count()} cores, Linux {platform.release()}",
                    file_system=mounted_as,
                    beside=file_system_of(beside),
                    seconds=seconds,
                    verdict=verdict,
                    transport=name,
                ),
                files,
                local,
                {other: done[other][0] for other in others},
            )
    return 0 if all(each[1] == "Result: PASS" and not tap.total(each[0], "failed") for each in done.values()) else 1


def on_mount(
    tree: Path, transport: str, tests: Path, settings: argparse.Namespace, folder: Path
) -> tuple[list[tap.File], str, float, str]:
    """Run the tests on a fresh mount: what they said, the verdict of prove, seconds, and how it was mounted."""
    server = ServedMount(tree)
    try:
        os.chmod(server.base, 0o755)
        server.start(STRATUM_MOUNT_TRANSPORT=transport)
        begun = time.monotonic()
        output = settings.output or folder / f"{transport}.tap"
        files, verdict = prove(tests, settings.only, server.bucket("pjdfstest"), output)
        seconds, mounted_as = time.monotonic() - begun, server.file_system()
    finally:
        server.close()
    print(f"{transport}:")
    print_outcome(files, verdict, seconds)
    return files, verdict, seconds, mounted_as


def print_outcome(files: list[tap.File], verdict: str, seconds: float) -> None:
    """The figures, and a line for every check that fails."""
    for file in files:
        for check in file.checks:
            if check.outcome == "failed":
                print(f"{file.name}.t {check.number}: {check.said}")
    figures = [f"{tap.total(files, outcome)} {outcome}" for outcome in ("passed", "failed", "expected")]
    print(f"{', '.join(figures)}; {verdict}; {seconds:.0f} s")


def write(run: page.Run, files: list[tap.File], local: list[tap.File], others: dict[str, list[tap.File]]) -> None:
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page.as_markdown(run, files, local, others))
    PAGE.with_suffix(".json").write_text(json.dumps(page.as_json(run, files, local, others), indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
