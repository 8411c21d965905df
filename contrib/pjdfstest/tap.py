"""What `prove --verbose` printed about pjdfstest, check by check."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

Outcome = Literal["passed", "failed", "expected"]
"""expected: it does not hold, and the suite itself says so for this system (TODO)."""

_HEADER = re.compile(r"^(?P<path>\S+/tests/(?P<name>[\w-]+/\w+)\.t) \.+ *(?P<rest>.*)$")
_PLAN = re.compile(r"^1\.\.(\d+)")
_CHECK = re.compile(r"^(?P<bad>not )?ok (?P<number>\d+)(?: # TODO (?P<todo>.*)| - (?P<said>.*))?$")


@dataclass(frozen=True, slots=True)
class Check:
    """One check. `said`: what the suite says of one that does not hold."""

    number: int
    outcome: Outcome
    said: str


@dataclass(slots=True)
class File:
    """One file of the suite. `planned`: the checks it announced; one that it did not come to has failed."""

    name: str  # as "rename/09"
    planned: int = 0
    checks: list[Check] = field(default_factory=list)

    @property
    def group(self) -> str:
        """The system call it is about."""
        return self.name.partition("/")[0]

    @property
    def placeholder(self) -> bool:
        """Nothing in it concerns Linux: then the suite counts a single check that looks at nothing."""
        return self.planned == 1 and [check.outcome for check in self.checks] == ["passed"]

    def count(self, outcome: Outcome) -> int:
        """How many checks ended so."""
        return sum(check.outcome == outcome for check in self.checks)


def read(lines: Iterable[str]) -> list[File]:
    """The files of a run, each with every check it announced."""
    files: list[File] = []
    for line in lines:
        if header := _HEADER.match(line.rstrip()):
            files.append(File(header["name"]))
            line = header["rest"]
        if files:
            _note(files[-1], line.rstrip())
    for file in files:
        _fail_the_missing(file)
    return files


def _note(file: File, line: str) -> None:
    if plan := _PLAN.match(line):
        file.planned = int(plan[1])
    elif check := _CHECK.match(line):
        outcome: Outcome = "passed"
        if check["bad"]:
            outcome = "expected" if check["todo"] else "failed"
        file.checks.append(Check(int(check["number"]), outcome, check["todo"] or check["said"] or ""))


def _fail_the_missing(file: File) -> None:
    seen = {check.number for check in file.checks}
    for number in range(1, file.planned + 1):
        if number not in seen:
            file.checks.append(Check(number, "failed", "the file ended before this check"))


def groups(files: Sequence[File]) -> list[str]:
    """The system calls of a run, sorted."""
    return sorted({file.group for file in files})


def total(files: Iterable[File], outcome: Outcome) -> int:
    """How many checks ended so."""
    return sum(file.count(outcome) for file in files)
