"""Do the figures of `stratum tier report` and `stratum tier export` add up? Against what clients did and moves seen."""

import csv
import datetime
import json
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from tierdays_store import COMMON, Living

READ = ("read/whole", "read/file", "read/ranges", "read/backup", "read/often")
BACKUP = 3  # day of
NEAR = 1e-6  # relative: floats are added in another order
MONTH_DAYS = 30.4375


@dataclass
class Figures:
    """What was compared."""

    first: int = 0  # the day by the store's count that is our 0
    weeks: list[dict[str, Any]] = field(default_factory=list)  # as the store tells them, and as we count
    mine: list[dict[str, float]] = field(default_factory=list)
    volumes: int = 0
    reads: int = 0  # rows of visits that agree
    swept: int = 0
    replayed: str = ""
    wrong: list[str] = field(default_factory=list)


def furnish(store: Living) -> None:
    """What is read."""
    for key in READ:
        store.put(key)


def read(store: Living, day: int) -> None:
    """The reads of a day, at ten."""
    wrong = []
    if day in (2, 3, 4, 7):  # the export is exact for its last eight days
        wrong.append(store.get("read/whole"))
    if day in (2, 3):
        wrong.append(store.get("read/ranges", bytes_range=(0, 99_999)))
        wrong.append(store.get("read/ranges", bytes_range=(100_000, 299_999)))
        store.reads["read/ranges", day][0] -= 1  # ranges of one client within 15 minutes are one visit
    if day == BACKUP:
        wrong.append(store.get("read/backup", purpose="backup"))
    if day in (2, 4):
        wrong.append(store.read_file("read/file"))
        store.note("read/file", visits=1, sent=0)
    if day == 5:
        for later in (10.5, 11, 11.5):
            wrong.append(store.get("read/often"))
            store.wait(day, later)
    if not all(wrong):
        raise AssertionError(f"wrong bytes on day {day}")


def check(store: Living, keys: list[str]) -> Figures:
    """Compare. `keys`: all that there is, each in one volume."""
    found = Figures(first=store.first)
    export = store.served.base / "trace"
    store.served.tool("tier", "export", "--out", str(export))
    parts = {key: store.part(key) for key in keys}
    sizes = _check_export(store, export, parts, found)
    told = json.loads(store.served.tool("tier", "report", "--json").stdout)["weeks"]
    for week in told[::7]:
        mine = _week(store, week["last"] - store.first, parts, sizes)
        found.weeks.append(week)
        found.mine.append(mine)
        for name, value in mine.items():
            if abs(week[name] - value) > NEAR * max(abs(value), 1e-12):
                found.wrong.append(
                    f"week to day {week['last'] - store.first}: {name} is {week[name]}, we count {value}"
                )
        if not (
            0 < week["optimum"] <= week["cost"] * (1 + NEAR) and week["optimum"] <= week["do_nothing"] * (1 + NEAR)
        ):
            found.wrong.append(f"week to day {week['last'] - store.first}: no optimum: {week['optimum']}")
        if abs(week["regret"] - week["cost"] / week["optimum"]) > NEAR:
            found.wrong.append("regret is not cost / optimum")
    moves = sum(len(_moves(store, part)) for part in parts.values())
    counted = sum(week["moves"] for week in found.weeks)
    last = told[0]["last"] - store.first
    late = sum(day > last for part in parts.values() for day, *_ in _moves(store, part))
    if counted != moves - late:
        found.wrong.append(f"weeks hold {counted} moves, explain tells of {moves - late}")
    _replay(store, export, found)
    return found


def _check_export(store: Living, export: Any, parts: dict[str, dict], found: Figures) -> dict[str, int]:
    """Visits and bytes of each day, as clients made them; sizes."""
    with (export / "inventory.csv").open(newline="") as file:
        sizes = {row["object"]: int(row["size_bytes"]) for row in csv.DictReader(file)}
    names = {f"home/{key}#{int(part['volume'], 16):x}": key for key, part in parts.items()}
    if set(sizes) != set(names):
        found.wrong.append(f"inventory: {sorted(set(sizes) ^ set(names))[:4]}")
    seen: dict[tuple[str, int], list[int]] = defaultdict(lambda: [0, 0])
    swept = 0
    with (export / "events.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            day = datetime.datetime.fromisoformat(row["time"]).date() - datetime.date(1970, 1, 1)
            key = names.get(row["object"], row["object"])
            if row["op"] == "SWEEP":
                swept += int(row["bytes"])
                continue
            seen[key, day.days - store.first][0] += 1
            seen[key, day.days - store.first][1] += int(row["bytes"])
    for at in sorted({*seen, *store.reads}):
        if at[1] >= store.now[0]:
            continue
        mine, told = store.reads.get(at, [0, 0]), seen.get(at, [0, 0])
        by_file = at[0] == "read/file"  # what the page cache gave nobody can count
        if told[0] != mine[0] or (told[1] != mine[1] and not by_file):
            found.wrong.append(f"export of {at}: {told} visits and bytes, clients made {mine}")
        found.reads += told[0]
        store.reads[at] = told if by_file else mine
    if swept != len(store.bodies["read/backup"]):
        found.wrong.append(f"{swept} bytes of sweeps")
    found.volumes, found.swept = len(sizes), swept
    return {key: sizes.get(name, 0) for name, key in names.items()}


def _moves(store: Living, part: dict[str, Any]) -> list[tuple[int, str, str]]:
    return [
        (store.day_of(turn["done"])[0], turn["from"], turn["to"])
        for turn in part["history"]
        if turn["done"] and turn["from"] != turn["to"]
    ]


def _week(store: Living, last: int, parts: dict[str, dict], sizes: dict[str, int]) -> dict[str, float]:
    """Rent, reading, moving, moves and GB of seven days, by the prices that we wrote down."""
    sums = dict.fromkeys(("rent", "reading", "moving", "moves", "gb_moved", "reads"), 0.0)
    for key, part in parts.items():
        gb, tier, moves = sizes[key] / 1e9, "hot", _moves(store, part)
        for day in range(-1, last + 1):
            counts = day > last - 7
            for _, source, target in (each for each in moves if each[0] == day):
                into = store.prices[target]
                paid = gb * into["write_usd_per_gb"]
                if ("hot", "warm", "cold").index(target) < ("hot", "warm", "cold").index(source):
                    full = store.reads.get((key, day - 1), [0, 0])[1] >= 0.99 * sizes[key]
                    paid += 0.0 if full else gb * store.prices[source].get("retrieval_usd_per_gb", 0.0)
                sums["moving"] += paid * counts
                sums["moves"] += counts
                sums["gb_moved"] += gb * counts
                tier = target
            if counts and day >= 0:
                visits, sent = store.reads.get((key, day), (0, 0))
                if key == "read/backup" and day == BACKUP:
                    sent = len(store.bodies[key])
                price = store.prices[tier]
                sums["rent"] += gb * price["storage_usd_per_gb_month"] / MONTH_DAYS
                sums["reading"] += sent / 1e9 * price.get("retrieval_usd_per_gb", 0.0)
                sums["reads"] += visits
    return sums


def _replay(store: Living, export: Any, found: Figures) -> None:
    """The two files are what `stratum replay` takes."""
    book = export / "book.toml"
    tiers = "".join(
        f"[tier.{tier}]\n" + "".join(f"{name} = {value}\n" for name, value in {**COMMON, **price}.items())
        for tier, price in store.prices.items()
    )
    book.write_text(f'name = "dear disks"\ndate = "2026-11-21"\nwaiting_usd_per_hour = 0\n{tiers}')
    command = [sys.executable, "-c", "from stratum.serve.cli import main; main()", "replay", "--inventory"]
    command += [str(export / "inventory.csv"), "--events", str(export / "events.csv"), "--prices", str(book)]
    done = subprocess.run(
        [*command, "--start-tier", "hot"], capture_output=True, text=True, env=store.served._environment()
    )
    if done.returncode:
        found.wrong.append(f"replay: {done.stdout[-300:]}{done.stderr[-300:]}")
    found.replayed = done.stdout.rstrip()
