"""One row of the backup matrix: a program on a bucket of the mount, and what came of it."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from both_doors import Agreement, Disagreement, Doors

TIMEOUT_S = 1800
PART_FILES = 2_500
LISTENING = {"LC_ALL": "C", "TZ": "UTC"}  # what programs print is read here


class Failed(Exception):
    """A program did not do on the mount what it does on a local disk."""


class Missing(Exception):
    """The program is not on this machine."""


def require(holds: bool, message: str) -> None:
    if not holds:
        raise Failed(message)


@dataclass(slots=True)
class Round:
    """What a row has at hand: a bucket of the mount, a folder of its own elsewhere, and what to back up.

    `scale`: 1 for a whole run; less for a quick look (fewer repetitions, shorter load).
    """

    bucket: Path
    outside: Path
    tree: Path
    scale: float
    tools: Path  # where run.sh installed newer programs than the system's
    commands: list[str] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    versions: list[str] = field(default_factory=list)

    def times(self, count: int) -> int:
        """How often to do what a whole run does `count` times."""
        return max(1, round(count * self.scale))

    def find(self, name: str, *more: Path) -> str:
        """Where a program is: newest first. Raises Missing."""
        for folder in (*sorted(self.tools.glob("*/bin")), *more):
            if (folder / name).exists():
                return str(folder / name)
        found = shutil.which(name)
        if found is None:
            raise Missing(f"{name} is not installed here")
        return found

    def version(self, program: str, *arguments: str) -> None:
        """Note the version a program tells."""
        said = self._start((self.find(program) if "/" not in program else program, *arguments), None, {})
        self.versions.append((said.stdout.strip() or said.stderr.strip()).splitlines()[0].strip())

    def run(
        self,
        *words: str | Path,
        cwd: Path | None = None,
        more: Mapping[str, str] | None = None,
        allowed: tuple[int, ...] = (0,),
    ) -> str:
        """Run a program; return what it printed. Raises Failed unless it ends with an `allowed` code."""
        done = self.attempt(*words, cwd=cwd, more=more)
        if done.returncode not in allowed:
            said = (done.stdout + done.stderr)[-2000:]
            raise Failed(f"`{self.commands[-1]}` ended with {done.returncode}: {said}")
        return done.stdout

    def attempt(
        self, *words: str | Path, cwd: Path | None = None, more: Mapping[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        """As `run`, but return what came of it."""
        plain = [str(word) for word in words]
        self.commands.append(self.shown(plain))
        return self._start((self.find(plain[0]) if "/" not in plain[0] else plain[0], *plain[1:]), cwd, more or {})

    def _start(
        self, words: tuple[str, ...], cwd: Path | None, more: Mapping[str, str]
    ) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            words,
            cwd=cwd or self.outside,
            env=self.environment(more),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT_S,
            check=False,
        )

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """That of a program: a home of its own outside the mount."""
        return {**os.environ, **LISTENING, "HOME": str(self.outside), **(more or {})}

    def shown(self, words: list[str]) -> str:
        """The command as a reader would type it: no folders of this machine."""
        text = " ".join(Path(words[0]).name if n == 0 else word for n, word in enumerate(words))
        names = {self.bucket: f"/mnt/stratum/{self.bucket.name}", self.outside: "/tmp/work", self.tools: ""}
        for folder, name in names.items():
            text = text.replace(str(folder), name)
        return text

    def note(self, what: str) -> None:
        """What was seen, for the page."""
        self.seen.append(what)

    def same(self, one: Path, other: Path) -> None:
        """Raises Failed unless both trees hold the same names, links and bytes."""
        self.run("diff", "-r", "--no-dereference", one, other)


@dataclass(frozen=True, slots=True)
class Row:
    """A program and what is done with it. `whole`: with the whole tree, else with a part of it."""

    name: str
    did: str
    work: Callable[[Round], None]
    whole: bool = False


def part_of(tree: Path) -> Path:
    """The fullest folder of a large tree that has at most PART_FILES files; the tree itself if there is none."""
    counts = {each: sum(len(names) for _, _, names in os.walk(each)) for each in tree.iterdir() if each.is_dir()}
    fitting = [(count, str(each)) for each, count in counts.items() if 100 <= count <= PART_FILES]
    return tree if sum(counts.values()) <= PART_FILES or not fitting else Path(max(fitting)[1])


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one row."""

    name: str
    did: str
    versions: tuple[str, ...]
    result: str
    seen: tuple[str, ...]
    commands: tuple[str, ...]
    seconds: float  # of the program's work
    agreement: Agreement | None = None  # None: it did not come to that

    @property
    def holds(self) -> bool:
        return self.result == "ok"

    @property
    def missing(self) -> bool:
        return self.result.startswith("not run")


def perform(row: Row, doors: Doors, outside: Path, tree: Path, tools: Path, *, scale: float = 1.0) -> Outcome:
    """Do one row in a bucket of its own, then compare both doors; whatever goes wrong is its result."""
    place = outside / row.name
    place.mkdir(parents=True)
    round_ = Round(doors.make_bucket(row.name), place, tree if row.whole else part_of(tree), scale, tools)
    agreement = None
    begun, took = time.monotonic(), 0.0
    try:
        row.work(round_)
        took = time.monotonic() - begun
        agreement = doors.compare(row.name)
        result = "ok"
    except Missing as error:
        result = f"not run: {error}"
    except (Failed, Disagreement, AssertionError, OSError, subprocess.SubprocessError) as error:
        result = f"failed: {error}"
    return Outcome(
        row.name,
        row.did,
        tuple(round_.versions),
        result,
        tuple(round_.seen),
        tuple(round_.commands),
        took or time.monotonic() - begun,
        agreement,
    )
