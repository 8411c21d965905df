"""One row of the client matrix: a client, what it did, whether that held, and with which commands."""

import hashlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROGRAMS = HERE / "programs"
TIMEOUT_S = 600


class Failed(Exception):
    """A client did not do what it does against S3."""


class Missing(Exception):
    """The client is not on this machine."""


@dataclass(slots=True)
class Round:
    """What a check has at hand: the endpoint's environment, a bucket name and a folder of its own."""

    environment: Mapping[str, str]
    bucket: str
    folder: Path
    tools: Path  # where run.sh installed clients
    commands: list[str] = field(default_factory=list)
    version: str = ""

    @property
    def endpoint(self) -> str:
        return self.environment["AWS_ENDPOINT_URL"]

    @property
    def host(self) -> str:
        return self.endpoint.partition("://")[2]

    def run(self, *command: str | Path, cwd: Path | None = None, more: Mapping[str, str] | None = None) -> str:
        """Run a client with the endpoint's environment (and `more`); return its standard output. Raises Failed."""
        done = self.attempt(*command, cwd=cwd, more=more)
        if done.returncode:
            raise Failed(f"`{self.commands[-1]}` ended with {done.returncode}: {(done.stdout + done.stderr)[-1500:]}")
        return done.stdout

    def attempt(self, *command: str | Path, cwd: Path | None = None, more: Mapping[str, str] | None = None):
        """As `run`, but return what came of it."""
        words = [str(word) for word in command]
        if shutil.which(words[0]) is None:
            raise Missing(f"{Path(words[0]).name} is not installed here")
        self.commands.append(self.shown(words))
        return subprocess.run(
            words,
            cwd=cwd or self.folder,
            env={**self.environment, "HOME": str(self.folder), **(more or {})},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )

    def program(self, interpreter: Path | str, script: Path, *arguments: str) -> str:
        """Run one of programs/ with bucket and folder; note the version it prints."""
        printed = self.run(interpreter, script, self.bucket, self.folder, *arguments)
        versions = re.findall(r"^(?:version )?(.*\d.*)$", printed, re.MULTILINE)
        self.version = ", ".join(reversed(versions))
        return printed

    def shown(self, words: list[str]) -> str:
        """The command as a reader would type it: no folders of this machine, no secrets."""
        text = " ".join(
            "." if word == str(self.folder) else Path(word).name if word.startswith("/") else word for word in words
        )
        for secret in (self.environment["AWS_SECRET_ACCESS_KEY"], self.environment["AWS_ACCESS_KEY_ID"]):
            text = text.replace(secret, "...")
        return text.replace(self.host, "127.0.0.1:9000").replace(str(self.folder), ".").replace(str(self.tools), "")


@dataclass(frozen=True, slots=True)
class Check:
    """A client and what is done with it. `tls`: done over https too."""

    name: str
    did: str
    work: Callable[[Round], None]
    tls: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """What came of one check."""

    name: str
    scheme: str
    version: str
    did: str
    result: str
    seconds: float
    commands: tuple[str, ...]

    @property
    def holds(self) -> bool:
        return self.result == "ok"


def perform(check: Check, environment: Mapping[str, str], folder: Path, tools: Path) -> Row:
    """Do one check; whatever goes wrong is its result."""
    scheme = environment["AWS_ENDPOINT_URL"].partition(":")[0]
    bucket = re.sub(r"[^a-z0-9]+", "-", f"{check.name}-{scheme}".lower()).strip("-")
    place = folder / bucket
    place.mkdir(parents=True)
    round_ = Round(environment, bucket, place, tools)
    begun = time.monotonic()
    try:
        check.work(round_)
        result = "ok"
    except Missing as error:
        result = f"not run: {error}"
    except (Failed, AssertionError, OSError, subprocess.SubprocessError) as error:
        result = f"failed: {error}"
    took = time.monotonic() - begun
    return Row(check.name, scheme, round_.version, check.did, result, took, tuple(round_.commands))


def sample_tree(folder: Path) -> Path:
    """A small tree with what trips clients: empty, odd names, one file large enough for multipart."""
    tree = folder / "tree"
    sizes = {"empty": 0, "one": 1, "dir/a b+c%.txt": 5_000, "dir/ü/deep.bin": 70_000, "dir/big.bin": 20 << 20}
    for name, size in sizes.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(size))
    for number in range(60):
        (tree / "many").mkdir(exist_ok=True)
        (tree / "many" / f"{number:03}.txt").write_text(f"file {number}\n" * number)
    return tree


def same_trees(one: Path, other: Path) -> None:
    """Raises Failed unless both hold the same names with the same bytes."""
    left, right = digests(one), digests(other)
    if left != right:
        raise Failed(f"{other.name} differs from {one.name}: {sorted(left.items() ^ right.items())[:4]}")


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def require(holds: bool, message: str) -> None:
    if not holds:
        raise Failed(message)
