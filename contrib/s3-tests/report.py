"""The page docs/compatibility/s3-tests.md and its JSON, from outcomes and reasons."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from outcomes import UNEXPLAINED, Test, counts, reason_for, share

PAGE_WIDTH = 120
OUTCOMES = ("passed", "failed", "errored", "skipped")


@dataclass(frozen=True, slots=True)
class Run:
    """What was run, where and when."""

    date: str
    suite_commit: str
    product_commit: str
    machine: str
    seconds: float
    workers: int
    day_seconds: float | None  # a "day" of lifecycle rules, None: a real one
    users: str  # what the suite's users are
    alone: tuple[str, ...] = ()  # functions that failed beside others and passed by themselves


def as_json(run: Run, tests: Sequence[Test], reasons: Mapping[str, str]) -> dict[str, Any]:
    """The same figures for programs; every test is in it."""
    passed, total, percent = share(tests)
    return {
        "date": run.date,
        "suite": {"repository": "https://github.com/ceph/s3-tests", "commit": run.suite_commit},
        "product_commit": run.product_commit,
        "machine": run.machine,
        "seconds": round(run.seconds),
        "headline": {"passed": passed, "of": total, "percent": round(percent, 1)},
        "files": {file: counts(t for t in tests if t.file == file) for file in _files(tests)},
        "markers": {mark: counts(t for t in tests if mark in t.markers) for mark in _markers(tests)},
        "tests": {f"{test.file}::{test.name}": _entry(test, reasons) for test in _sorted(tests)},
    }


def _entry(test: Test, reasons: Mapping[str, str]) -> dict[str, Any]:
    entry: dict[str, Any] = {"outcome": test.outcome}
    if test.broken:
        entry |= {"error": test.message, "reason": reason_for(test.name, reasons)}
    elif test.outcome == "skipped":
        entry["reason"] = test.message
    if "fails_on_aws" in test.markers:
        entry["fails_on_aws"] = True
    return entry


def _files(tests: Sequence[Test]) -> list[str]:
    return sorted({test.file for test in tests})


def _markers(tests: Sequence[Test]) -> list[str]:
    return sorted({mark for test in tests for mark in test.markers})


def _sorted(tests: Sequence[Test]) -> list[Test]:
    return sorted(tests, key=lambda test: (test.file, test.name))


def _alone(run: Run) -> str:
    names = ", ".join(f"`{name}`" for name in run.alone)
    words = f"What counts and failed was run once more, by itself on a fresh server; {names} passed there and count as"
    why = "passed: they expect to find nothing of other tests, whose locked objects nobody can delete."
    return textwrap.fill(f"{words} {why}", PAGE_WIDTH, break_on_hyphens=False)


def as_markdown(run: Run, tests: Sequence[Test], reasons: Mapping[str, str]) -> str:
    """The page."""
    passed, total, percent = share(tests)
    by_file = [(file, [t for t in tests if t.file == file]) for file in _files(tests)]
    by_marker = [(mark, [t for t in tests if mark in t.markers]) for mark in _markers(tests)]
    parts = [
        "# The public S3 suite, whole",
        _head(run),
        textwrap.fill(
            f"**{passed} of {total} ({percent:.1f} %)** of the functions of `test_s3.py` and `test_headers.py` that "
            "the suite does not mark as failing on AWS pass. Nothing is filtered: what is skipped, fails or "
            "errors has not passed.",
            PAGE_WIDTH,
        ),
        *([_alone(run)] if run.alone else []),
        _counts_table("file", by_file, tests),
        "## By marker of the suite",
        "A function may have several markers or none; `fails_on_aws` is the suite's own word.",
        _counts_table("marker", by_marker, None),
        "## What does not pass, and why",
        "First those that count for the figure above, then those that AWS fails too.",
        _failing("Counted", [t for t in tests if t.broken and t.counted], reasons),
        _failing("Not counted", [t for t in tests if t.broken and not t.counted], reasons),
        _skipped([t for t in tests if t.outcome == "skipped"]),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(run: Run) -> str:
    day = (
        "a day of lifecycle rules is a real one"
        if run.day_seconds is None
        else f"a day of lifecycle rules is {run.day_seconds:g} s, and access logs are written within 4 s (settings, as "
        "the suite asks)"
    )
    return textwrap.fill(
        f"Written by `contrib/s3-tests/run.sh`. {run.date}, product commit {run.product_commit}, an unmodified "
        f"checkout of [ceph/s3-tests](https://github.com/ceph/s3-tests) at {run.suite_commit[:12]}, run in "
        f"{run.seconds / 60:.0f} minutes by {run.workers} workers with a freshly started `stratum serve` each "
        f"(loopback, six disk folders); {run.machine}; {day}; {run.users}.",
        PAGE_WIDTH,
        break_on_hyphens=False,
    )


def _counts_table(what: str, rows: list[tuple[str, list[Test]]], whole: Sequence[Test] | None) -> str:
    lines = [f"| {what} | functions | passed | failed | errored | skipped |", "|---|---|---|---|---|---|"]
    if whole is not None:
        rows = [*rows, ("all", list(whole))]
    for name, tests in rows:
        found = counts(tests)
        lines.append(f"| {name} | {len(tests)} | " + " | ".join(str(found[outcome]) for outcome in OUTCOMES) + " |")
    return "\n".join(lines)


def _failing(title: str, tests: list[Test], reasons: Mapping[str, str]) -> str:
    if not tests:
        return f"### {title}: none"
    unexplained = sum(reason_for(test.name, reasons) == UNEXPLAINED for test in tests)
    lines = [f"### {title}: {len(tests)}" + (f", of which {unexplained} are {UNEXPLAINED}" if unexplained else "")]
    lines += ["", "| test | outcome | reason |", "|---|---|---|"]
    for test in _sorted(tests):
        lines.append(f"| `{test.name}` | {test.outcome} | {_cell(reason_for(test.name, reasons))} |")
    return "\n".join(lines)


def _skipped(tests: list[Test]) -> str:
    if not tests:
        return ""
    lines = [f"### Skipped by the suite itself: {len(tests)}", "", "| test | its reason |", "|---|---|"]
    lines += [f"| `{test.name}` | {_cell(test.message)} |" for test in _sorted(tests)]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def failure_lines(tests: Sequence[Test], reasons: Mapping[str, str]) -> str:
    """One line a failing test, grouped by area, for those who work on them."""
    broken = sorted((test for test in tests if test.broken), key=lambda test: (not test.counted, test.area, test.name))
    lines = []
    for test in broken:
        mark = "" if test.counted else "  [not counted: fails on AWS]"
        why = reason_for(test.name, reasons)
        known = "" if why == UNEXPLAINED else f"  [reason: {why}]"
        lines.append(f"{test.area:<11} {test.name}{mark}: {test.message}{known}")
    return "\n".join(lines) + "\n"
