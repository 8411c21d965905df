"""Weeks of tiering in minutes, on the real process: what it moves by itself, why, and what clients see of it.

    python contrib/campaigns/film.py [--day-seconds 2.5] [--film 160] [--delay-ms 120] [--write]

A store with hot and warm disks is mounted and serves S3; its cold tier is a bucket of another Stratum, behind a line
that adds a delay to every request. Its tiering clock is compressed (`[tiering] day_seconds`). A film is written through
the mount, tables and hundreds of tiny notes through S3; then people come and go by a plan. Seen are: every change of
tier, with the reason that `stratum explain` gives; ETag, Last-Modified and bytes of everything at the end; and how long
a player that takes 10 MiB a second waits for each MiB of the film while it is cold, through S3 and through the mount.
`--write`: the page docs/evidence/tiering-run.md. Ends with status 1 if something was not as promised.
"""

import argparse
import datetime
import hashlib
import json
import os
import platform
import random
import sys
import tempfile
import textwrap
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import boto3
import trio
from botocore.config import Config

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "pjdfstest"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "evidence"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mounted import ServedMount
from served import ROOT, Served, commit_of

from tests.engine.troubled_line import TroubledLine

PAGE = ROOT / "docs/evidence/tiering-run.md"
WISHES_PART = "\n<!-- written by contrib/campaigns/tierdays.py from here on -->\n"
MIB = 1 << 20
PACE_S = 0.1  # for a MiB: 80 Mbit a second, a film in 4K
BUFFER_S = 1.0  # what a player holds ahead; it stalls when what it lacks adds up to more
FIRST_VOLUME = 64  # MiB
BUCKET, FILM, NOTES, TABLES = "home", "films/holiday.mkv", 800, 6
NONE = "no numbers on record (the decision changed while the move was under way)"
LATER = 20  # days from the first look at the cold film on, in which it is watched again


def client_of(served: Served):
    """A client of one server."""
    access, secret = served.root
    return boto3.session.Session().client(
        "s3",
        endpoint_url=served.endpoint,
        aws_access_key_id=access,
        aws_secret_access_key=secret,
        region_name="us-east-1",
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )


class Line:
    """The delayed line, in a thread of its own."""

    def __init__(self, url: str, delay_s: float) -> None:
        self._line = TroubledLine(url)
        self._line.delay = delay_s
        self._ready = threading.Event()
        self._token = None
        self._scope = trio.CancelScope()
        self._thread = threading.Thread(target=trio.run, args=(self._run,), daemon=True)
        self._thread.start()
        self._ready.wait(10)

    async def _run(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        with self._scope:
            async with trio.open_nursery() as nursery:
                await nursery.start(self._line.run)
                self._ready.set()

    @property
    def url(self) -> str:
        return self._line.url

    @property
    def requests(self) -> int:
        return self._line.requests

    def close(self) -> None:
        self._token.run_sync_soon(self._scope.cancel)
        self._thread.join(10)


@dataclass
class Seen:
    """What the run came to."""

    moves: list[tuple[int, str, str, str, str, int]] = field(default_factory=list)  # day, what, from, to, why, volumes
    sentences: dict[str, str] = field(default_factory=dict)  # key -> what explain says in the end
    waits: dict[str, list[float]] = field(default_factory=dict)  # door -> seconds for each MiB
    streamed: dict[str, bool] = field(default_factory=dict)  # door -> were the bytes right
    tier_when_streamed: dict[str, str] = field(default_factory=dict)
    watched: dict[str, tuple[int, int]] = field(default_factory=dict)  # door -> days from, to
    film_moves: list[tuple[int, str, str, str]] = field(default_factory=list)  # day, volume, way, why in words
    wrong: list[str] = field(default_factory=list)
    objects: int = 0
    remote_objects: int = 0
    notes_cold: int = 0
    status: dict = field(default_factory=dict)
    report: str = ""
    days: int = 0
    seconds: float = 0.0
    requests: int = 0


def settings_of(warm: Path, url: str, day_seconds: float) -> str:
    disks = [str(warm / str(slot)) for slot in range(4)]
    for disk in disks:
        Path(disk).mkdir(parents=True)
    return (
        f'[tier.warm]\ndisks = {json.dumps(disks)}\ncode = "2+1"\n'
        f'[tier.cold.remote]\nbucket = "cold"\nendpoint_url = "{url}"\naccess_key_ref = "env:COLD_ACCESS"\n'
        'secret_key_ref = "env:COLD_SECRET"\naddressing = "path"\nallow_private = true\n'
        f'[tiering]\nprices = "rented"\nday_seconds = {day_seconds}\ncheck_interval = "{day_seconds / 10}s"\n'
        "[tiering.price.cold]\nretrieval_usd_per_gb = 0.05\n"
        '[limits]\nreap_delay = "5s"\nreap_interval = "2s"\npacking_interval = "0.02s"\nseal_delay = "2s"\n'
    )


class Run:
    """One run."""

    def __init__(self, served: ServedMount, day_seconds: float, film_mib: int) -> None:
        self.served = served
        self.client = client_of(served)
        self.day_seconds = day_seconds
        self.film_mib = film_mib
        self.seen = Seen()
        self.bodies: dict[str, str] = {}  # key -> sha256
        self.before: dict[str, tuple] = {}
        self.begun = self.wall = 0.0

    @property
    def day(self) -> int:
        return int((time.monotonic() - self.begun) / self.day_seconds)

    # --- writing --------------------------------------------------------------------------------------------

    def furnish(self) -> None:
        """The film through the mount, the rest through S3."""
        self.begun, self.wall = time.monotonic(), time.time()
        turns = random.Random(7)
        folder = self.served.bucket(BUCKET)
        (folder / "films").mkdir()
        digest = hashlib.sha256()
        with (folder / FILM).open("wb") as film:
            for _ in range(self.film_mib):
                piece = turns.randbytes(MIB)
                digest.update(piece)
                film.write(piece)
            film.flush()
            os.fsync(film.fileno())
        self.bodies[FILM] = digest.hexdigest()
        for number in range(TABLES):
            self._put(f"tables/{number}.csv", turns.randbytes(5 * MIB))
        for number in range(NOTES):
            self._put(f"notes/{number:03}.txt", turns.randbytes(turns.randrange(200, 4000)))
        for key in self.bodies:
            self.before[key] = self._facts(key)

    def _put(self, key: str, body: bytes) -> None:
        self.client.put_object(Bucket=BUCKET, Key=key, Body=body)
        self.bodies[key] = hashlib.sha256(body).hexdigest()

    def _facts(self, key: str) -> tuple:
        head = self.client.head_object(Bucket=BUCKET, Key=key)
        return head["ETag"], head["LastModified"], head["ContentLength"]

    # --- living ---------------------------------------------------------------------------------------------

    def live(self, longest: int) -> None:
        """Day by day, until everything was seen or `longest` days are over."""
        watched, done = None, set()
        while self.day < longest:
            day = self.day
            for at, read in ((2, self._read_file), (5, self._read)):
                if day >= at and at not in done:
                    done.add(at)
                    read(FILM)
            if day // 2 not in done and day % 2 == 0:
                self._read("tables/0.csv")
            if watched is None and day > 14 and self._tier(FILM) == "cold":
                self._watch()
                watched = self.day
            if watched is not None and watched + 3 <= day < watched + LATER:
                for _ in range(3):
                    self._read(FILM)
            if watched is not None and day >= watched + LATER:
                break
            self._wait_for(day + 1)
        self.seen.days = self.day

    def _tier(self, key: str) -> str:
        """By the mount: looking is no access there, nor anywhere."""
        return os.getxattr(self.served.mountpoint / BUCKET / key, "user.stratum.tier").decode()

    def _wait_for(self, day: int) -> None:
        time.sleep(max(0.0, self.begun + day * self.day_seconds - time.monotonic()))

    def _read(self, key: str) -> None:
        body = self.client.get_object(Bucket=BUCKET, Key=key)["Body"]
        digest = hashlib.sha256()
        for piece in body.iter_chunks(MIB):
            digest.update(piece)
        if digest.hexdigest() != self.bodies[key]:
            self.seen.wrong.append(f"{key}: wrong bytes")

    def _read_file(self, key: str) -> None:
        if hashlib.sha256((self.served.mountpoint / BUCKET / key).read_bytes()).hexdigest() != self.bodies[key]:
            self.seen.wrong.append(f"{key}: wrong bytes through the mount")

    def tell(self) -> None:
        """What moved, when and why, as the store tells it: from the history of every volume of every object."""
        notes = [f"notes/{number:03}.txt" for number in range(0, NOTES, NOTES // 8)]
        moved: dict[tuple[int, str, str, str, str], int] = {}
        known: set[str] = set()
        for key in [FILM, *(f"tables/{number}.csv" for number in range(TABLES)), *notes]:
            told = json.loads(self.served.tool("explain", f"s3://{BUCKET}/{key}", "--json").stdout)
            for part in told["parts"]:
                if part["volume"] in known:
                    continue  # notes share volumes
                known.add(part["volume"])
                what = "notes (a volume of them)" if key in notes else key
                for turn in part["history"]:
                    if turn["from"] != turn["to"] and turn.get("done"):
                        day = int((_seconds(turn["done"]) - self.wall) / self.day_seconds)
                        row = day, what, turn["from"], turn["to"], turn["reason"]
                        moved[row] = moved.get(row, 0) + 1
                        if key == FILM:
                            self._tell_of(part["volume"], day, turn)
            self.seen.sentences[key] = "; ".join(told["sentence"].split("; ")[:3])
        self.seen.moves = [(*row, count) for row, count in sorted(moved.items())]
        self.seen.notes_cold = sum(self._tier(key) == "cold" for key in self.bodies if key.startswith("notes/"))

    def _tell_of(self, volume: str, day: int, turn: dict) -> None:
        """Why a volume of the film went, with the numbers of that evening."""
        at = f"{(turn['time'] + 10**6) / 1e9:.3f}"
        told = json.loads(self.served.tool("explain", f"s3://{BUCKET}/{FILM}", "--json", "--at", at).stdout)
        part = next(each for each in told["parts"] if each["volume"] == volume)
        words = next((each for each in part["sentence"].split("; ") if each.startswith("expected reads")), NONE)
        self.seen.film_moves.append((day, volume[-4:], f"{turn['from']} to {turn['to']}", f"{turn['reason']}: {words}"))

    # --- watching it while it is cold ---------------------------------------------------------------------------

    def _watch(self) -> None:
        opened: list = []

        def read(size: int) -> bytes:
            if not opened:
                opened.append(self.client.get_object(Bucket=BUCKET, Key=FILM)["Body"])
            return opened[0].read(size)

        self._play("S3", read)
        path = self.served.mountpoint / BUCKET / FILM
        with path.open("rb", buffering=0) as film:
            os.posix_fadvise(film.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            self._play("mount", lambda size: _full(film, size))

    def _play(self, door: str, read) -> None:
        """Take a MiB every PACE_S, as a player does; how long was each waited for?"""
        self.seen.tier_when_streamed[door] = self._tier(FILM)
        digest, waits = hashlib.sha256(), []
        first = self.day
        for _ in range(self.film_mib):
            begun = time.monotonic()
            piece = read(MIB)
            waits.append(time.monotonic() - begun)
            digest.update(piece)
            time.sleep(max(0.0, PACE_S - waits[-1]))
        self.seen.waits[door], self.seen.watched[door] = waits, (first, self.day)
        print(self.day, door, [round(1000 * wait) for wait in waits[::8]], flush=True)
        self.seen.streamed[door] = digest.hexdigest() == self.bodies[FILM]

    # --- judging ----------------------------------------------------------------------------------------------

    def judge(self, remote) -> Seen:
        """Everything is as it was put, through both doors."""
        seen = self.seen
        for key, facts in self.before.items():
            if self._facts(key) != facts:
                seen.wrong.append(f"{key}: ETag, date or size changed")
            self._read(key)
            self._read_file(key)
        seen.objects = len(self.before)
        pages = remote.get_paginator("list_objects_v2").paginate(Bucket="cold")
        seen.remote_objects = sum(len(page.get("Contents", ())) for page in pages)
        seen.status = json.loads(self.served.tool("status", "--json").stdout).get("tiers", {})
        seen.report = self.served.tool("tier", "report", check=False).stdout
        return seen


def _seconds(told: object) -> float:
    """A time of explain: seconds since the epoch, or as text."""
    if isinstance(told, int | float):
        return float(told) / (1e9 if told > 1e12 else 1)
    return datetime.datetime.fromisoformat(str(told)).timestamp()


def _full(film, size: int) -> bytes:
    pieces = []
    while size and (piece := film.read(size)):
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def run(day_seconds: float, film_mib: int, delay_s: float, longest: int) -> Seen:
    """All of it."""
    begun = time.monotonic()
    with ExitStack() as stack:
        remote = stack.enter_context(Served())
        client_of(remote).create_bucket(Bucket="cold")
        line = Line(remote.endpoint, delay_s)
        stack.callback(line.close)
        warm = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        served = ServedMount(ROOT, settings=settings_of(warm, line.url, day_seconds))
        stack.callback(served.close)
        access, secret = remote.root
        served.mountpoint.mkdir(exist_ok=True)
        served.start(COLD_ACCESS=access, COLD_SECRET=secret)
        one = Run(served, day_seconds, film_mib)
        one.furnish()
        one.live(longest)
        one.tell()
        seen = one.judge(client_of(remote))
        seen.requests = line.requests
    seen.seconds = time.monotonic() - begun
    return seen


def stalls(waits: list[float]) -> int:
    """How often a player with a second in hand stands still."""
    found, behind = 0, 0.0
    for wait in waits:
        behind = max(0.0, behind + wait - PACE_S)
        if behind > BUFFER_S:
            found, behind = found + 1, 0.0
    return found


def good(seen: Seen) -> bool:
    """Was everything as promised?"""
    ways = {(source, target) for _, what, source, target, *_ in seen.moves if what == FILM}
    there_and_back = any(target == "cold" for _, target in ways) and any(source == "cold" for source, _ in ways)
    smooth = all(stalls(waits[FIRST_VOLUME:]) == 0 for waits in seen.waits.values())
    return not seen.wrong and there_and_back and smooth and len(seen.waits) == 2 and all(seen.streamed.values())


def page(seen: Seen, asked: argparse.Namespace) -> str:
    """The page."""
    told = (
        f"`python contrib/campaigns/film.py --day-seconds {asked.day_seconds:g} --film {asked.film} --delay-ms "
        f"{asked.delay_ms:g} --write`, {datetime.date.today()}, commit {commit_of(ROOT)}, Linux {platform.release()}, "
        f"Python {platform.python_version()}, {os.cpu_count()} cores, shared with others.",
        f"{seen.days} days of the tiering clock in {seen.seconds:.0f} s. A mounted store with six hot disks (4+2), "
        "four warm ones (2+1) and a bucket of another Stratum as cold tier, each request to it "
        f"{asked.delay_ms:g} ms late; prices `rented`, but retrieval from cold at 0.05 USD a GB, as dear services ask. "
        f"A film of {asked.film} MiB was written through the mount, {TABLES} tables of 5 MiB and {NOTES} notes of 200 "
        "to 4,000 bytes through S3. The film was read on days 2 and 5, then not; watched through both doors when it "
        f"was cold, and read three times a day from three days later on until {LATER} days later. One table is read "
        "every other day, the rest never again.",
    )
    lines = ["# Weeks of tiering on the real process", ""]
    lines += ["\n".join(textwrap.wrap(each, 160, break_on_hyphens=False)) + "\n" for each in told]
    lines += ["## What moved by itself, and why", ""]
    lines += ["| day | what | from | to | reason | volumes |", "|---|---|---|---|---|---|"]
    lines += [f"| {' | '.join(map(str, row))} |" for row in seen.moves]
    lines += [
        "",
        "Watching is reading: the player takes days of this clock for each volume, and counts like any client. It",
        f"watched {' and '.join(f'through {door} on days {a} to {b}' for door, (a, b) in seen.watched.items())}.",
        "What the film's volumes went by, from `stratum explain --at` of the evenings that decided:",
        "",
        "| day | volume | way | why |",
        "|---|---|---|---|",
        *(f"| {' | '.join(map(str, row))} |" for row in sorted(seen.film_moves)),
    ]
    lines += ["", "In the end `stratum explain` says, for one of each kind:", ""]
    shown = (FILM, "tables/0.csv", "tables/1.csv", "notes/000.txt")
    lines += [f"- {key}: {seen.sentences[key]}" for key in shown]
    lines += ["", "## What clients saw", "", "| | |", "|---|---|"]
    lines += [
        f"| objects compared at the end, through both doors | {seen.objects} |",
        f"| of them with other bytes, ETag, date or size | {len(seen.wrong)} |",
        f"| of the {NOTES} notes in cold | {seen.notes_cold} |",
        f"| objects at the remote in the end | {seen.remote_objects} |",
        f"| requests over the delayed line | {seen.requests} |",
        "",
        f"A player takes one MiB every {1000 * PACE_S:.0f} ms (84 Mbit a second) and times how long it waits for each.",
        f"Late: it waited longer than that, behind the first volume ({FIRST_VOLUME} MiB). A stall: what it lacks is",
        f"more than the {BUFFER_S:g} s that it holds in hand.",
        "",
        "| door | tier | bytes right | first MiB, ms | slowest of the first 64 | behind it | late | stalls |",
        "|---|---|---|---|---|---|---|---|",
        *(_watched(door, seen) for door in seen.waits),
    ]
    done = seen.status.get("moves", {})
    lines += [
        "",
        f"Moves done, by volume: {json.dumps(done.get('done', {}))}; failed attempts: {done.get('failed')}.",
        "",
    ]
    if seen.report:
        lines += ["What the store says of itself (`stratum tier report`):", "", "```", seen.report.rstrip(), "```", ""]
    return "\n".join(lines)


def _watched(door: str, seen: Seen) -> str:
    waits = seen.waits[door]
    first, behind = waits[:FIRST_VOLUME], waits[FIRST_VOLUME:]
    right = "yes" if seen.streamed[door] else "**NO**"
    slow = f"{1000 * waits[0]:.0f} | {1000 * max(first):.0f} | {1000 * max(behind, default=0):.0f}"
    late = sum(each > PACE_S for each in behind)
    return f"| {door} | {seen.tier_when_streamed[door]} | {right} | {slow} | {late} | {stalls(behind)} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--day-seconds", type=float, default=2.5)
    parser.add_argument("--film", type=int, default=160, help="MiB")
    parser.add_argument("--delay-ms", type=float, default=120.0)
    parser.add_argument("--longest", type=int, default=130, help="days")
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    seen = run(asked.day_seconds, asked.film, asked.delay_ms / 1000, asked.longest)
    print(seen.wrong, {door: (waits[0], max(waits[FIRST_VOLUME:], default=0)) for door, waits in seen.waits.items()})
    if asked.write:
        _, mark, rest = (PAGE.read_text() if PAGE.exists() else "").partition(WISHES_PART)
        PAGE.write_text(page(seen, asked) + mark + rest)
    return 0 if good(seen) else 1


if __name__ == "__main__":
    sys.exit(main())
