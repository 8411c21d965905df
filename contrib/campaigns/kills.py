"""The mount killed (SIGKILL) at random moments under load, again and again: is everything promised still there?

    python contrib/campaigns/kills.py [--kills N] [--seed N] [--transport raw|pyfuse3] [--longest S] [--write]

In each round processes of their own (kills_load.py) append with fsync, replace files and folders by rename, exchange
files, close files, run SQLite and restic on the mount; after a random time the server is killed, now and then once more
while it recovers. Then the same command is started again, with nothing cleaned up before, and kills_check.py judges
what the mount shows against what was acknowledged; every tenth time every object is compared over S3 too.
Rounds alternate, five by five, between close=queued and close=durable. `--write`: the page docs/evidence/kills.md,
about the last commit. Ends with status 1 if anything was found.
"""

import argparse
import datetime
import os
import platform
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import time
from collections import Counter
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), *(str(HERE.parent / name) for name in ("evidence", "pjdfstest", "backup"))]

import kills_check as check  # noqa: E402 - the folders are on the path only now
from both_doors import Disagreement, Doors  # noqa: E402
from kills_load import content, run_restic, write  # noqa: E402
from mounted import ServedMount  # noqa: E402
from served import ROOT, clone_of_head, commit_of  # noqa: E402

PAGE = ROOT / "docs/evidence/kills.md"
BUCKET = "kills"
ALWAYS, TURNS = ("append", "sqlite", "restic"), ("replace", "folders", "exchange", "close")
SHORTEST_S, GONE_WITHIN_S = 0.3, 60
AGAIN_SHARE = 0.2  # of the kills are followed by another while the mount recovers
AGAIN_WITHIN_S = 0.6
SAME_CLOSE = 5  # rounds with the same meaning of close
COMPARED_EVERY = 10  # rounds between comparisons over S3, and between restic check --read-data


@dataclass(slots=True)
class Settings:
    """How much of what."""

    kills: int = 100
    seed: int = 1
    transport: str = "raw"
    longest: float = 5.0  # seconds of load before a kill


@dataclass(slots=True)
class Seen:
    """What all rounds gave, and what one has to tell the next."""

    checked: Counter[str] = field(default_factory=Counter)
    found: list[str] = field(default_factory=list)
    ready_s: list[float] = field(default_factory=list)  # after a kill
    killed_again: int = 0
    seconds: float = 0.0
    appended: int = -1
    replaced: int = -1
    order: int = 0
    snapshots: list[str] = field(default_factory=list)


class Campaign:
    """One store, one mount point, one folder for acknowledgements."""

    def __init__(self, server: ServedMount, settings: Settings, work: Path) -> None:
        self.server, self.settings, self.work = server, settings, work
        self.dice = random.Random(settings.seed)
        self.seen = Seen()
        self.bucket = server.mountpoint / BUCKET
        self.loads: list[subprocess.Popen] = []

    def start(self) -> float:
        return self.server.start(STRATUM_MOUNT_TRANSPORT=self.settings.transport)

    def run(self) -> Seen:
        begun = time.monotonic()
        for number in range(self.settings.kills):
            if number % SAME_CLOSE == 0:
                self.remount(durable=self.durable(number))
            if number == 0:
                self.prepare()
            self.round(number)
            if len(self.seen.found) > 20:
                break
        self.compare()
        if (code := self.server.stop()) != 0:
            self.seen.found.append(f"after the last round it ended with {code}")
        self.seen.seconds = time.monotonic() - begun
        return self.seen

    def durable(self, number: int) -> bool:
        return number // SAME_CLOSE % 2 == 1

    def remount(self, *, durable: bool) -> None:
        """A clean end between kills, to change what close means."""
        if self.server.process is not None and (code := self.server.stop()) != 0:
            self.seen.found.append(f"a clean stop ended with {code}")
        self.server.options = ["-o", f"close={'durable' if durable else 'queued'}"]
        self.start()

    def prepare(self) -> None:
        self.bucket.mkdir()
        for name in ("exchange", "restic", "replace", "append"):
            (self.bucket / name).mkdir()
        write(self.bucket / "exchange/left", content("a", 3000), sync=True)
        write(self.bucket / "exchange/right", content("b", 3000), sync=True)
        run_restic(self.bucket / "restic", "init").check_returncode()

    def folder(self, kind: str, number: int) -> Path:
        """Where a kind works in a round; what grows gets a new place now and then."""
        place = {"close": f"close-{number}", "folders": f"folders-{number}", "sqlite": f"sqlite-{number // 10}"}
        return self.bucket / place.get(kind, kind)

    def round(self, number: int) -> None:
        """Load, kill, recover, judge."""
        log = self.work / f"log-{number}"
        kinds = (*ALWAYS, *self.dice.sample(TURNS, 2))
        self.loads = [self.load(kind, number, log) for kind in kinds]
        time.sleep(self.dice.uniform(SHORTEST_S, self.settings.longest))
        killed_ns = time.monotonic_ns()
        self.server.kill()
        for load in self.loads:
            self.ended(load, number)
        if not check.not_connected(self.server.mountpoint):
            self.seen.found.append(f"round {number}: the killed mount does not answer ENOTCONN")
        if self.dice.random() < AGAIN_SHARE:
            self.kill_again()
        self.seen.ready_s.append(self.start())
        verdict = check.Verdict()
        with Judging(verdict):
            self.judge(number, kinds, check.Told.read(log), killed_ns, verdict)
        self.seen.checked.update(verdict.checked)
        self.seen.found += [f"round {number}: {each}" for each in verdict.found]
        said = f"round {number}: {self.seen.ready_s[-1]:.1f} s, {dict(verdict.checked)} {verdict.found}"
        print(said, file=sys.stderr, flush=True)
        if number % COMPARED_EVERY == COMPARED_EVERY - 1:
            self.compare()
        for kind in ("close", "folders"):  # what three rounds ago left has been judged, and compared or not
            shutil.rmtree(self.bucket / f"{kind}-{number - 3}", ignore_errors=True)

    def load(self, kind: str, number: int, log: Path) -> subprocess.Popen:
        folder = self.folder(kind, number)
        folder.mkdir(exist_ok=True)
        if kind == "sqlite":
            make_bank(folder / "bank.db")
        if kind == "append" and number % SAME_CLOSE == 0:
            self.seen.appended = -1  # a new file
        first = {"append": number // SAME_CLOSE, "replace": self.seen.replaced + 1, "exchange": 0}
        seed = first.get(kind, number * 100_000 if kind in ("close", "folders") else self.settings.seed + number)
        command = [sys.executable, str(HERE / "kills_load.py"), kind, str(folder), str(log), str(seed)]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)

    def ended(self, load: subprocess.Popen, number: int) -> None:
        """A load ends by itself when its mount is gone; SIGBUS is what a mapped file of it gives.

        restic tries again for a quarter of an hour, whatever the error is: it is ended.
        """
        if load.args[2] == "restic":
            os.killpg(load.pid, signal.SIGKILL)
            load.communicate()
            return
        try:
            _, said = load.communicate(timeout=GONE_WITHIN_S)
        except subprocess.TimeoutExpired:
            load.kill()
            load.communicate()
            self.seen.found.append(f"round {number}: {load.args[2]} hangs on a killed mount")
            return
        if load.returncode not in (0, -7):
            self.seen.found.append(f"round {number}: {load.args[2]} ended with {load.returncode}: {said[-500:]!r}")

    def end_loads(self) -> None:
        """Leave no process behind, whatever happened."""
        for load in self.loads:
            if load.returncode is None:
                os.killpg(load.pid, signal.SIGKILL)
                load.communicate()

    def kill_again(self) -> None:
        """Kill it while it starts, or just after."""
        self.seen.killed_again += 1
        process = self.server.spawn(STRATUM_MOUNT_TRANSPORT=self.settings.transport)
        time.sleep(self.dice.uniform(0, AGAIN_WITHIN_S))
        process.kill()
        process.wait()

    def judge(
        self, number: int, kinds: tuple[str, ...], told: check.Told, killed_ns: int, verdict: check.Verdict
    ) -> None:
        seen = self.seen
        name = f"append-{number // SAME_CLOSE}"
        seen.appended = check.appended(self.folder("append", number) / name, told, verdict, seen.appended)
        check.bank(self.folder("sqlite", number), told, verdict)
        seen.snapshots = check.must_be_there(seen.snapshots, told)
        deep = number % COMPARED_EVERY == COMPARED_EVERY - 1
        check.repository(self.folder("restic", number), seen.snapshots, verdict, read_data=deep)
        if "replace" in kinds:
            seen.replaced = check.replaced(self.folder("replace", number), told, verdict, seen.replaced)
        if "folders" in kinds:
            check.renamed_folders(self.folder("folders", number), told, verdict)
        if "exchange" in kinds:
            seen.order = check.exchanged(self.folder("exchange", number), told, verdict, seen.order)
        if "close" in kinds:
            place = self.folder("close", number)
            check.closed(place, told, verdict, killed_ns=killed_ns, durable=self.durable(number))

    def compare(self) -> None:
        """Every object over S3 against its file."""
        doors = Doors(self.server.mountpoint, self.server.client_environment(), aws=None, rclone=None)
        try:
            found = doors.compare(BUCKET, programs=False)
            self.seen.checked["objects compared over S3"] += found.objects
        except (Disagreement, OSError) as error:
            self.seen.found.append(f"over S3: {error}")


class Judging:
    """What goes wrong in judging is itself something found."""

    def __init__(self, verdict: check.Verdict) -> None:
        self.verdict = verdict

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if isinstance(error, (OSError, sqlite3.Error, ValueError)):
            self.verdict.found.append(f"cannot be read: {type(error).__name__}: {error}")
            return True
        return False


def make_bank(file: Path) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as db:
        db.execute("pragma synchronous=full")
        db.execute("begin immediate")
        with suppress(sqlite3.OperationalError):  # it is there from an earlier round
            db.execute("create table account (id integer primary key, amount integer)")
            db.execute("create table told (id integer primary key, note text)")
            db.executemany("insert into account values (?, 100)", [(n,) for n in range(50)])
        db.execute("commit")


def page(settings: Settings, seen: Seen, commit: str, date: str) -> str:
    """The page about one run."""
    words = " ".join(f"--{name} {getattr(settings, name)}" for name in Settings.__slots__)
    ready = sorted(seen.ready_s)
    rows = "\n".join(f"| {name} | {count:,} |" for name, count in sorted(seen.checked.items()))
    parts = [
        "# The mount killed, a hundred times" if settings.kills == 100 else "# The mount killed",
        _wrapped(
            f"Written by `python contrib/campaigns/kills.py {words} --write`. {date}, commit {commit}, "
            f"{os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}, transport "
            f"{settings.transport}."
        ),
        f"Verdict: **{f'{len(seen.found)} promises broken' if seen.found else 'nothing found'}**",
        "\n".join(f"- {each}" for each in seen.found[:20]),
        _wrapped(
            f"{len(ready)} kills (SIGKILL) in {seen.seconds / 60:.0f} minutes, {seen.killed_again} of them followed by "
            f"another while the mount came back. The same command was started again each time, with nothing cleaned up "
            f"before: it took the dead mount away by itself and was ready after {ready[0]:.1f} s at best, "
            f"{ready[len(ready) // 2]:.1f} s in the middle, {ready[-1]:.1f} s at worst."
        ),
        "| acknowledged before a kill, and whole after it | count |\n|---|---|\n" + rows,
        JUDGED,
        _wrapped(
            ("" if seen.found else bound(len(ready)))
            + "What it does not show: power cuts (see crash-points.md), damaged disks at the same time."
        ),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def bound(kills: int) -> str:
    """What it says that none of so many broke a promise."""
    percent = min(100, 300 / kills)
    return f"0 of {kills} bounds the rate of kills that break a promise at about {percent:.0f} % with 95 % confidence. "


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False)


JUDGED = """\
How it is judged

- The loads are processes of their own; each acknowledgement is written to a file outside the mount after the call
  returned. Content names itself (file, number, length), so nothing can pass for it but itself.
- Appending with fsync and fdatasync by turns: every acknowledged 4 KiB record is whole at its place; what follows is
  the beginning of what was being written, never anything else.
- Rename over a file (after fsync): the name leads to one whole version, the last acknowledged or the one after it.
  Rename of a filled folder: under its final name it has all its files. RENAME_EXCHANGE: one order or the other.
- Closed files: with `close=durable` whole, always. Else whole if closed 2 s before the kill (50 ms are promised, but
  the machine is loaded); later ones whole, empty or absent, never torn.
- SQLite (by turns a write-ahead log with synchronous=full, a deleted journal with synchronous=extra: with full, SQLite
  does not sync the folder, as it documents, and may roll its last transaction back; one acknowledged row was gone in 2
  rounds of an earlier run so): integrity_check, sums, every row acknowledged while the mount was there (killed between
  the removal of the journal and the fsync of the folder, SQLite cannot open the folder, takes that for a file system
  that has no such fsync, and says the commit is done: 3 of 180 kills of a store that lost nothing). restic:
  `check`, every acknowledged snapshot; every tenth time `check --read-data`, and all objects over S3.
- A call into the killed mount answers ENOTCONN; no load hangs (restic tries again for minutes, and is ended).
- It was seen to fail: with an fsync that returns at once, in each of 3 rounds (629 of 629 acknowledged records gone);
  with one that publishes and does not wait for the commit, in 2 of 5 (the last record, the last SQLite transaction).
  It found that a file being written at the kill stood in the mount and was not known to S3, which is mended."""


def parse() -> tuple[Settings, bool]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    defaults = Settings()
    for name in Settings.__slots__:
        value = getattr(defaults, name)
        parser.add_argument(f"--{name}", type=type(value), default=value)
    parser.add_argument("--write", action="store_true", help="write the page; the last commit is tested, not the tree")
    found = parser.parse_args()
    return Settings(**{name: getattr(found, name) for name in Settings.__slots__}), found.write


def campaign(tree: Path, settings: Settings) -> Seen:
    """Run it on a mount of `tree`."""
    with tempfile.TemporaryDirectory(prefix="stratum-kills-") as name:
        server = ServedMount(tree)
        made = Campaign(server, settings, Path(name))
        try:
            seen = made.run()
            if seen.found:
                sys.stderr.write(server.log.read_text(errors="replace")[-20_000:])
        finally:
            made.end_loads()
            server.close()
    return seen


def main() -> int:
    settings, to_write = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # so that nothing stays mounted
    date = f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC"
    with tempfile.TemporaryDirectory(prefix="stratum-kills-tree-") as name:
        tree = clone_of_head(Path(name)) if to_write else ROOT
        seen = campaign(tree, settings)
        text = page(settings, seen, commit_of(tree), date)
    print(text)
    if to_write:
        PAGE.write_text(text)
    return 1 if seen.found else 0


if __name__ == "__main__":
    sys.exit(main())
