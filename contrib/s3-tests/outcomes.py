"""What a run of the suite came to: read from pytest's JUnit file, folded to one outcome a test."""

import fnmatch
import re
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from defusedxml.ElementTree import parse

ORDER = ("failed", "errored", "skipped", "passed")  # of a function: the worst of its cases and of its teardown
FAILS_ON_AWS = "fails_on_aws"  # a marker of the suite
UNEXPLAINED = "not yet explained"
HEADLINE_FILES = ("test_s3.py", "test_headers.py")
LINE_CHARACTERS = 240  # of an error message kept

# Where a failure most likely belongs, for those who look for their own: the first that matches test or markers.
AREAS = (
    ("logging", r"logging"),
    ("lock", r"object_lock|legal_hold|retention"),
    ("lifecycle", r"lifecycle|expiration"),
    ("sse", r"sse|encrypt|kms"),
    ("cors", r"cors"),
    ("post", r"post_object"),
    ("checksum", r"checksum|cksum"),
    ("tagging", r"tag"),
    ("policy", r"policy|public_block|public_access|block_public"),
    ("acl", r"acl|grant|ownership|access_bucket|anon|object_raw|allow_headers"),
    ("versioning", r"version|delete_marker"),
    ("website", r"website"),
    ("listing", r"list"),
)


@dataclass(frozen=True, slots=True)
class Test:
    """One test function: all its cases together."""

    file: str
    name: str
    outcome: str  # one of ORDER
    markers: tuple[str, ...] = ()
    message: str = ""  # first line of the error
    seconds: float = 0.0
    cases: int = 1
    reason: str = ""  # why it does not pass; set by `explained`

    @property
    def passed(self) -> bool:
        return self.outcome == "passed"

    @property
    def broken(self) -> bool:
        return self.outcome in ("failed", "errored")

    @property
    def counted(self) -> bool:
        """In the headline: the suite does not say that AWS itself fails it."""
        return self.file in HEADLINE_FILES and FAILS_ON_AWS not in self.markers

    @property
    def area(self) -> str:
        words = f"{self.name} {' '.join(self.markers)}"
        return next((area for area, pattern in AREAS if re.search(pattern, words)), "other")


@dataclass(slots=True)
class _Function:
    outcomes: dict[str, str] = field(default_factory=dict)  # case -> worst outcome
    markers: set[str] = field(default_factory=set)
    on_aws: bool = False  # the suite does not say of every case that AWS fails it
    message: str = ""
    seconds: float = 0.0


def with_again(tests: list[Test], again: list[Test]) -> tuple[list[Test], list[str]]:
    """The outcomes, where what failed beside others and passed by itself has passed; and the names of those."""
    alone = {(each.file, each.name) for each in again if each.passed}
    kept = [replace(t, outcome="passed", message="") if t.broken and (t.file, t.name) in alone else t for t in tests]
    return kept, sorted(t.name for t in tests if t.broken and (t.file, t.name) in alone)


def read_junit(path: Path) -> list[Test]:
    """All tests of a JUnit file that markers_plugin annotated. A case may appear twice: call, then teardown."""
    found: dict[tuple[str, str], _Function] = defaultdict(_Function)
    for case in parse(path).getroot().iter("testcase"):
        properties = [(each.get("name"), each.get("value")) for each in case.iter("property")]
        file = next((value for name, value in properties if name == "file"), _file_of(case.get("classname", "")))
        name = case.get("name", "")
        function = found[file, name.partition("[")[0]]
        outcome, message = _outcome(case)
        function.outcomes[name] = min(outcome, function.outcomes.get(name, "passed"), key=ORDER.index)
        markers = {value for key, value in properties if key == "mark"}
        function.markers |= markers
        function.on_aws |= FAILS_ON_AWS not in markers
        function.message = function.message or message
        function.seconds += float(case.get("time", 0))
    return [_test(file, name, function) for (file, name), function in found.items()]


def _file_of(classname: str) -> str:
    return classname.rpartition(".")[2] + ".py"


def _outcome(case) -> tuple[str, str]:
    for tag, outcome in (("failure", "failed"), ("error", "errored"), ("skipped", "skipped")):
        element = case.find(tag)
        if element is not None:
            return outcome, first_line(element.get("message") or element.text or "")
    return "passed", ""


def first_line(text: str) -> str:
    """The first line that says something, without what differs between two runs."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    line = re.sub(r"0x[0-9a-f]{6,}", "0x..", line)
    return line[:LINE_CHARACTERS]


def _test(file: str, name: str, function: _Function) -> Test:
    worst = min(function.outcomes.values(), key=ORDER.index)
    return Test(
        file,
        name,
        worst,
        tuple(sorted(function.markers - ({FAILS_ON_AWS} if function.on_aws else set()))),
        function.message if worst != "passed" else "",
        round(function.seconds, 2),
        len(function.outcomes),
    )


def read_reasons(path: Path) -> dict[str, str]:
    """Pattern of test names -> why they do not pass, from a table [reasons]."""
    return tomllib.loads(path.read_text()).get("reasons", {})


def reason_for(name: str, reasons: Mapping[str, str]) -> str:
    """The reason with that very name, else of the first pattern that matches, else UNEXPLAINED."""
    if name in reasons:
        return reasons[name]
    return next((why for pattern, why in reasons.items() if fnmatch.fnmatchcase(name, pattern)), UNEXPLAINED)


def counts(tests: Iterable[Test]) -> dict[str, int]:
    """How many of each outcome, always all four."""
    counter = Counter(test.outcome for test in tests)
    return {outcome: counter[outcome] for outcome in ("passed", "failed", "errored", "skipped")}


def share(tests: Iterable[Test]) -> tuple[int, int, float]:
    """(passed, all, percent) of those that count for the headline. A skipped test has not passed."""
    counted = [test for test in tests if test.counted]
    passed = sum(test.passed for test in counted)
    return passed, len(counted), 100 * passed / len(counted) if counted else 0.0
