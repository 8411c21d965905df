"""The page docs/compatibility/pjdfstest.md and its JSON, from what the suite said."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tap import File, groups, total

PAGE_WIDTH = 120
REPOSITORY = "https://github.com/pjd/pjdfstest"
UNEXPLAINED = "not yet explained"


@dataclass(frozen=True, slots=True)
class Run:
    """What was run, where and when. `verdict`: the last line of prove."""

    date: str
    suite_commit: str
    product_commit: str
    machine: str
    file_system: str
    beside: str  # the file system of the local disk that the suite ran on too
    seconds: float
    verdict: str
    transport: str = "raw"


Others = Mapping[str, Sequence[File]]  # another transport of the mount -> what the suite said on it


def as_json(run: Run, files: Sequence[File], local: Sequence[File], others: Others | None = None) -> dict[str, Any]:
    """The same figures for programs; every check that does not hold is in it."""
    return {
        "date": run.date,
        "suite": {"repository": REPOSITORY, "commit": run.suite_commit},
        "product_commit": run.product_commit,
        "machine": run.machine,
        "file_system": run.file_system,
        "seconds": round(run.seconds),
        "verdict": run.verdict,
        "total": _figures(files),
        "transport": run.transport,
        "other_transports": {name: _figures(found) for name, found in (others or {}).items()},
        "local_disk": {"file_system": run.beside, "total": _figures(local)},
        "groups": {group: _figures(f for f in files if f.group == group) for group in groups(files)},
        "not_held": {
            f"{file.name}.t": {str(check.number): check.said for check in file.checks if check.outcome != "passed"}
            for file in files
            if file.count("passed") < len(file.checks)
        },
    }


def _figures(files: Any) -> dict[str, int]:
    held = list(files)
    return {
        "files": len(held),
        "checks": sum(len(file.checks) for file in held),
        "passed": total(held, "passed"),
        "failed": total(held, "failed"),
        "expected_to_fail": total(held, "expected"),
        "placeholders": sum(file.placeholder for file in held),
    }


def as_markdown(run: Run, files: Sequence[File], local: Sequence[File], others: Others | None = None) -> str:
    """The page."""
    all_of = _figures(files)
    parts = [
        "# The public POSIX suite on the mount",
        _head(run),
        textwrap.fill(
            f"**{all_of['passed']} of {all_of['checks']} checks hold, {all_of['failed']} fail**; "
            f"{all_of['expected_to_fail']} more do not hold and the suite itself expects that on Linux (its TODO, "
            f"listed below). {all_of['placeholders']} of the {all_of['files']} files concern other systems alone; the "
            f"suite counts one check for each of them, and so do these figures. Verdict of prove: `{run.verdict}`.",
            PAGE_WIDTH,
        ),
        _table(files),
        *(_beside(f"with the transport {name}", found) for name, found in (others or {}).items()),
        _beside(f"on the local disk of that machine ({run.beside})", local),
        "## Checks that fail",
        _failing(files),
        *(f"With {name}:\n\n{_failing(found)}" for name, found in (others or {}).items() if total(found, "failed")),
        "## Checks that the suite expects not to hold on Linux",
        _expected(files, local),
    ]
    return "\n\n".join(parts) + "\n"


def _head(run: Run) -> str:
    return textwrap.fill(
        f"Written by `contrib/pjdfstest/run.sh`. {run.date}, product commit {run.product_commit}, an unmodified "
        f"checkout of [pjd/pjdfstest]({REPOSITORY}) at {run.suite_commit[:12]}, run as root by `prove -r` without "
        f"`-j` in {run.seconds / 60:.0f} minutes, in a bucket of a fresh store mounted by `stratumfs` with its "
        f"defaults (transport {run.transport}, `{run.file_system}`), for the root of the mount holds buckets alone; "
        f"{run.machine}.",
        PAGE_WIDTH,
        break_on_hyphens=False,
        break_long_words=False,
    )


def _table(files: Sequence[File]) -> str:
    lines = ["| group | files | checks | hold | fail | expected not to hold |", "|---|---|---|---|---|---|"]
    for group in [*groups(files), "all"]:
        of = _figures(file for file in files if group in (file.group, "all"))
        cells = [of[name] for name in ("files", "checks", "passed", "failed", "expected_to_fail")]
        lines.append(f"| {group} | " + " | ".join(str(cell) for cell in cells) + " |")
    return "\n".join(lines)


def _beside(where: str, files: Sequence[File]) -> str:
    of = _figures(files)
    return textwrap.fill(
        f"The same {where}: {of['passed']} of {of['checks']} hold, {of['failed']} fail, {of['expected_to_fail']} are "
        "expected not to hold.",
        PAGE_WIDTH,
    )


def _failing(files: Sequence[File]) -> str:
    rows = [(file, check) for file in files for check in file.checks if check.outcome == "failed"]
    if not rows:
        return "None."
    lines = ["| file | check | the suite says | reason |", "|---|---|---|---|"]
    for file, check in rows:
        lines.append(f"| `{file.name}.t` | {check.number} | {_cell(check.said)} | {UNEXPLAINED} |")
    return "\n".join(lines)


def _expected(files: Sequence[File], local: Sequence[File]) -> str:
    there = {(file.name, check.number) for file in local for check in file.checks if check.outcome != "passed"}
    rows: dict[tuple[str, str, str], list[int]] = {}
    for file in files:
        for check in file.checks:
            if check.outcome == "expected":
                same = "the same" if (file.name, check.number) in there else "holds"
                rows.setdefault((file.name, check.said, same), []).append(check.number)
    if not rows:
        return "None."
    lines = ["| file | checks | the suite says | on the local disk |", "|---|---|---|---|"]
    for (name, said, same), numbers in rows.items():
        lines.append(f"| `{name}.t` | {', '.join(map(str, numbers))} | {_cell(said)} | {same} |")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
