"""Every wish by every door: words of hints and pins as metadata (aws-cli), as tags and as attributes on the mount.

For each word three objects of 2 MiB with a prefix of their own, and one that wishes nothing. Looked at each noon.
"""

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from tierdays_store import BUCKET, Living

DOORS = ("metadata", "tag", "attribute")
DAYS = 10
LATE, TOLD = 3, 5  # days on which hours are told: to what is warm, to what is cold
EXPIRES = 5
HOT_ENDS = 7
QUARTER = 0.25
Path = tuple[str, ...]
"""The tier at noon of each day."""


@dataclass(frozen=True)
class Word:
    """What is said, and what must be seen at noons: day -> tier."""

    name: str
    said: str
    meant: str  # in a sentence
    tiers: dict[int, str]
    named: str  # how explain must name it: HINT (without a hint it would be elsewhere), PIN, or a word in its sentence
    at: int  # the day of that explanation; -1: that of its last turn
    key: str = "hint"


def words(date: Callable[[int], str]) -> list[Word]:
    """All of them."""
    cold_from = dict.fromkeys(range(4, 6), "cold")
    warm = dict.fromkeys(range(3, DAYS), "warm")
    hot = dict.fromkeys(range(HOT_ENDS), "hot")
    return [
        Word("plain", "", "wishes nothing: warm from its second evening on", {0: "hot", **warm}, "", 4),
        Word("hot", "hot", "read often for a week, then as its like", hot, "HINT", 4),
        Word("cold", "cold", "cold as soon as it is known", cold_from, "HINT", -1),
        Word(
            "expire", f"expire={date(EXPIRES)}", "moves nothing that would not pay by its day; then cold",
            {**dict.fromkeys(range(EXPIRES + 1), "hot"), 7: "cold", 8: "cold", 9: "cold"}, "HINT", 4,
        ),
        Word("pin-hot", "pin=hot", "an order", dict.fromkeys(range(DAYS), "hot"), "pinned to hot", 4),
        Word("pin-cold", "pin=cold", "an order", dict.fromkeys(range(1, DAYS), "cold"), "PIN", -1),
        Word("pin-warm", "pin=warm cold", "an order, above the hint `cold`", dict.fromkeys(range(1, DAYS), "warm"),
             "PIN", -1),
        Word("no-cold", "no-cold cold", "an order, above the hint `cold`", warm, "cold is not allowed", 6),
        Word("latency", "max-latency=50 cold", "cold would take 150 ms", warm, "cold is not allowed", 6),
        Word("pin", "cold", "`stratum-pin`, a name of its own", dict.fromkeys(range(1, DAYS), "cold"), "PIN", -1,
             key="pin"),
        Word("hours", "schedule=09:00", f"told on day {LATE}, when it is warm: hot an hour before, and kept",
             {2: "warm", 3: "warm", **dict.fromkeys(range(4, DAYS), "hot")}, "SCHEDULE", -1),
    ]  # fmt: skip


@dataclass
class Seen:
    """What came of it."""

    tiers: dict[str, list[str]] = field(default_factory=dict)  # key -> at noon of each day
    named: dict[str, str] = field(default_factory=dict)  # key -> how explain named the wish
    sentences: dict[str, str] = field(default_factory=dict)
    before: dict[str, tuple[str, str]] = field(default_factory=dict)  # key -> tier at 7:45 and 8:59 of its first hour
    wrong: list[str] = field(default_factory=list)


def say(store: Living, key: str, door: str, name: str, said: str) -> None:
    """Wish something of an object that is there (or not yet: metadata)."""
    if door == "metadata":
        source = store.served.base / key.replace("/", "-")
        source.write_bytes(store.body_of(key))
        told = json.dumps({f"stratum-{name}": said})
        store.aws("s3", "cp", str(source), f"s3://{BUCKET}/{key}", "--metadata", told, "--only-show-errors")
        source.unlink()
    elif door == "tag":
        told = json.dumps({"TagSet": [{"Key": f"stratum-{name}", "Value": said}]})
        store.aws("s3api", "put-object-tagging", "--bucket", BUCKET, "--key", key, "--tagging", told)
    else:
        os.setxattr(store.path(key), f"user.stratum.{name}", said.encode())


def say_anew(store: Living, key: str, door: str, said: str) -> None:
    """Another hint for what is there: metadata by a copy onto itself, which moves no bytes."""
    if door != "metadata":
        say(store, key, door, "hint", said)
        return
    told, url = json.dumps({"stratum-hint": said}), f"s3://{BUCKET}/{key}"
    more = ("--metadata", told, "--metadata-directive", "REPLACE", "--only-show-errors")
    store.aws("s3", "cp", url, url, *more)


def furnish(store: Living, told: list[Word]) -> None:
    """Put all, with their wishes; those of hours come later. What starts no program comes first: all is born today."""
    later = ("plain", "hours")
    for word in told:
        for door in DOORS:
            if word.name in later or door != "metadata":
                store.put(f"{word.name}/{door}")
        if word.name not in later:
            say(store, f"{word.name}/attribute", "attribute", word.key, word.said)

    def one(word: Word, door: str) -> None:
        say(store, f"{word.name}/{door}", door, word.key, word.said)

    with ThreadPoolExecutor(3) as pool:
        spoken = [word for word in told if word.name not in later]
        for done in [pool.submit(one, word, door) for door in DOORS[:2] for word in spoken]:
            done.result()


class Wishes:
    """The days."""

    def __init__(self, store: Living) -> None:
        self.store, self.seen = store, Seen()
        self.words = words(store.date)
        self.keys = [f"{word.name}/{door}" for word in self.words for door in DOORS]

    def live(self, each_day: Callable[[int], None]) -> Seen:
        """`each_day`: what else happens at ten of a day."""
        store = self.store
        furnish(store, self.words)
        if store.now[0]:
            self.seen.wrong.append(f"furnishing took until day {store.now[0]}")
        for day in range(DAYS):
            if day == TOLD + 1:
                self._around_eight(day, [f"cold/{door}" for door in DOORS])
            if day == LATE + 1:
                self._around_eight(day, [f"hours/{door}" for door in DOORS])
            store.wait(day, 10)
            each_day(day)
            store.wait(day, 12)
            for key in self.keys:
                self.seen.tiers.setdefault(key, []).append(store.tier(key))
            self._explain(day)
            if day in (LATE, TOLD):
                self._tell_hours("hours" if day == LATE else "cold")
            print(
                f"day {day}:", {word.name: self.seen.tiers[f"{word.name}/tag"][-1] for word in self.words}, flush=True
            )
        store.wait(DAYS)
        self._judge()
        return self.seen

    def _tell_hours(self, name: str) -> None:
        with ThreadPoolExecutor(3) as pool:
            for done in [pool.submit(say_anew, self.store, f"{name}/{d}", d, "schedule=09:00") for d in DOORS]:
                done.result()

    def _around_eight(self, day: int, keys: list[str]) -> None:
        self.store.wait(day, 7.75)
        early = {key: self.store.tier(key) for key in keys}
        self.store.wait(day, 8.98)
        for key in keys:
            self.seen.before[key] = early[key], self.store.tier(key)

    def _explain(self, day: int) -> None:
        for word in self.words:
            for door in DOORS if word.named and word.at == day else ():
                self._name(word, f"{word.name}/{door}", self.store.part(f"{word.name}/{door}"))
            if word.named and word.at < 0 and day == (TOLD if word.name == "cold" else DAYS - 1):
                for door in DOORS:
                    self._name_turn(word, f"{word.name}/{door}")

    def _name(self, word: Word, key: str, part: dict[str, Any]) -> None:
        said = [each for each in part["evidence"]["wishes"] if each.startswith(("hint ", "pinned "))]
        found = [*part["changes"]["also"], part["reason"]] + ([word.named] if word.named in part["sentence"] else [])
        if word.named in found and said:
            self.seen.named[key] = f"{word.named}: {', '.join(said)}"
        self.seen.sentences[key] = part["sentence"]

    def _name_turn(self, word: Word, key: str) -> None:
        """Of its last move, as of the evening that decided it."""
        part = self.store.part(key, by_command=key.endswith(DOORS[0]))
        said = [each for each in part["evidence"]["wishes"] if each.startswith(("hint ", "pinned "))]
        moves = [turn for turn in part["history"] if turn["done"] and turn["from"] != turn["to"]]
        self.seen.sentences[key] = part["sentence"]
        if not moves:
            return
        then = self.store.part(key, moves[-1]["time"] + 10**6)
        also = then.get("decision", {}).get("also_by", ())
        if said and word.named in (*also, moves[-1]["reason"]):
            self.seen.named[key] = f"{word.named}: {', '.join(said)}"

    def _judge(self) -> None:
        for word in self.words:
            for door in DOORS:
                key = f"{word.name}/{door}"
                for day, tier in word.tiers.items():
                    if self.seen.tiers[key][day] != tier:
                        self.seen.wrong.append(f"{key}: {self.seen.tiers[key][day]}, not {tier}, on day {day}")
                if word.named and key not in self.seen.named:
                    self.seen.wrong.append(f"{key}: explain names no {word.named}: {self.seen.sentences.get(key)}")
        for key, (early, then) in self.seen.before.items():
            if (early, then) != ("cold" if key.startswith("cold") else "warm", "hot"):
                self.seen.wrong.append(f"{key}: {early} at 7:45, {then} at 8:59")
        for key in [f"cold/{door}" for door in DOORS] + self.keys:
            if not self.store.get(key):
                self.seen.wrong.append(f"{key}: wrong bytes")


def rows(seen: Seen, told: list[Word]) -> list[str]:
    """For the page."""
    lines = ["| wish | by | hot, warm or cold at noon of days 0 to 9 | named by explain |", "|---|---|---|---|"]
    for word in told:
        same: dict[tuple[str, str], list[str]] = {}
        for door in DOORS:
            key = f"{word.name}/{door}"
            path = "".join(tier[0].upper() if tier in ("hot", "warm", "cold") else "?" for tier in seen.tiers[key])
            same.setdefault((path, seen.named.get(key, "" if not word.named else "**no**")), []).append(door)
        said = f"`{word.said}`" if word.said else "(nothing)"
        for (path, named), doors in same.items():
            lines.append(f"| {said}: {word.meant} | {', '.join(doors)} | `{path}` | {named} |")
    return lines
