"""What must be true after a kill: judges what a mount shows against the log of acknowledgements."""

import os
import re
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from kills_load import FOLDER_FILES, RECORD, content, record, run_restic, size_of

PROMPT_NS, PUBLISHED_WITHIN_NS = 500_000_000, 2_000_000_000  # 50 ms are promised of a close: the machine is loaded


@dataclass(slots=True)
class Told:
    """One log, read: values of each kind in order, with their times."""

    values: dict[str, list[tuple[str, int]]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> "Told":
        told = cls()
        for line in path.read_text().splitlines() if path.exists() else []:
            kind, value, when = line.split(" ")
            told.values.setdefault(kind, []).append((value, int(when)))
        return told

    def numbers(self, kind: str) -> list[int]:
        return [int(value) for value, _ in self.values.get(kind, [])]


@dataclass(slots=True)
class Verdict:
    """What was found after one kill. `checked` counts what was looked at, `found` says what is wrong."""

    checked: Counter[str] = field(default_factory=Counter)
    found: list[str] = field(default_factory=list)

    def require(self, holds: bool, message: str) -> None:
        if not holds:
            self.found.append(message)


def appended(path: Path, told: Told, verdict: Verdict, before: int) -> int:
    """Every acknowledged record is whole at its place; what follows is the beginning of what was being written.

    `before`: the last whole record seen earlier, -1 if none. Returns the same of now.
    """
    last = max(told.numbers("append"), default=before)
    body = path.read_bytes() if path.exists() else b""
    verdict.require(
        len(body) >= (last + 1) * RECORD, f"{path.name}: {len(body)} bytes, {last + 1} records were fsynced"
    )
    for at in range(0, len(body), RECORD):
        expected = record(path.name, at // RECORD)
        piece = body[at : at + RECORD]
        if piece != expected[: len(piece)]:
            verdict.found.append(f"{path.name}: record {at // RECORD} (of {last + 1} fsynced) is not what was written")
            break
    verdict.checked["records fsynced"] += len(told.numbers("append"))
    verdict.checked["records found beyond the acknowledged"] += max(0, len(body) // RECORD - (last + 1))
    return len(body) // RECORD - 1


def replaced(folder: Path, told: Told, verdict: Verdict, before: int) -> int:
    """The name always leads to one whole version: the last acknowledged, or the one after it.

    `before`: the version seen earlier, -1 if none. Returns that of now.
    """
    last = max(told.numbers("replace"), default=before)
    path = folder / "current"
    if not path.exists():
        verdict.require(last < 0, f"current is gone, version {last} was acknowledged")
        return before
    body = path.read_bytes()
    match = re.match(rb"version (\d+) of (\d+)\n", body)
    if not match:
        verdict.found.append(f"current is no version at all: {body[:40]!r}, {len(body)} bytes")
        return before
    seen = int(match[1])
    verdict.require(body == content(f"version {seen}", size_of(seen)), f"current is a torn version {seen}")
    verdict.require(last <= seen <= last + 1, f"current is version {seen}, acknowledged was {last}")
    verdict.checked["renames over a file"] += len(told.numbers("replace"))
    return seen


def renamed_folders(folder: Path, told: Told, verdict: Verdict) -> None:
    """A folder under its final name has all its files, whole; every acknowledged one is there."""
    names = {path.name for path in folder.iterdir()}
    for number in told.numbers("folders"):
        verdict.require(f"folder-{number}" in names, f"folder-{number} was acknowledged and is not there")
        verdict.require(f"making-{number}" not in names, f"making-{number} is there beside folder-{number}")
    for name in names:
        if not name.startswith("folder-"):
            continue
        number = int(name.partition("-")[2])
        inside = {path.name: path.read_bytes() for path in (folder / name).iterdir()}
        whole = {str(n): content(f"{name} file {n}", size_of(number + n)) for n in range(FOLDER_FILES)}
        verdict.require(inside == whole, f"{name} was renamed without its files: {sorted(inside)}")
        verdict.checked["folders renamed"] += 1


def exchanged(folder: Path, told: Told, verdict: Verdict, before: int) -> int:
    """Both files are there, in one of the two orders: that of the last acknowledged exchange, or of the next.

    `before`: the order seen earlier, 0 or 1. Returns that of now.
    """
    seen = [(folder / name).read_bytes() for name in ("left", "right")]
    orders = [[content("a", 3000), content("b", 3000)], [content("b", 3000), content("a", 3000)]]
    if seen not in orders:
        verdict.found.append(f"an exchange was torn: {[piece[:10] for piece in seen]}")
        return before
    done = before + len(told.numbers("exchange"))
    verdict.require(orders.index(seen) in (done % 2, (done + 1) % 2), "an exchange is missing")
    verdict.checked["files exchanged"] += len(told.numbers("exchange"))
    return orders.index(seen)


def closed(folder: Path, told: Told, verdict: Verdict, *, killed_ns: int, durable: bool) -> None:
    """Closed long enough before the kill (with close=durable: at all) is whole; else whole, empty or absent."""
    times = {int(value): when for value, when in told.values.get("close", [])}
    for number, when in times.items():
        path = folder / f"closed-{number}"
        body = path.read_bytes() if path.exists() else None
        whole = body == content(path.name, size_of(number))
        if durable:
            verdict.require(whole, f"{path.name} was closed, which was durable: {_said(body)}")
            verdict.checked["files closed, durably"] += 1
        elif when < killed_ns - PUBLISHED_WITHIN_NS:
            verdict.require(
                whole, f"{path.name} was closed {(killed_ns - when) / 1e9:.3f} s before the kill: {_said(body)}"
            )
            verdict.checked["files closed 2 s or more before the kill"] += 1
        else:
            verdict.require(whole or not body, f"{path.name} is torn: {_said(body)}")
            early = when < killed_ns - PROMPT_NS
            verdict.checked[f"files closed {'0.5 to 2' if early else 'less than 0.5'} s before the kill, whole"] += (
                whole
            )
            verdict.checked[
                f"files closed {'0.5 to 2' if early else 'less than 0.5'} s before the kill, lost"
            ] += not whole
    for path in folder.iterdir():
        number = int(path.name.partition("-")[2])
        if number not in times:  # it was being written
            body = path.read_bytes()
            whole = content(path.name, size_of(number))
            verdict.require(body == whole[: len(body)], f"{path.name} holds what was never written: {_said(body)}")


def _said(body: bytes | None) -> str:
    return "absent" if body is None else f"{len(body)} bytes, {body[:30]!r}"


def bank(folder: Path, told: Told, verdict: Verdict) -> None:
    """integrity_check, the sums, every acknowledged row."""
    with closing(sqlite3.connect(folder / "bank.db", timeout=20)) as db:
        said = db.execute("pragma integrity_check").fetchall()
        verdict.require(said == [("ok",)], f"sqlite integrity_check: {said[:3]}")
        total = db.execute("select sum(amount) from account").fetchone()[0]
        verdict.require(total == 5000, f"sqlite: the sum is {total}")
        there = {number for (number,) in db.execute("select id from told")}
    last = max({*told.numbers("sqlite"), *there}, default=0)
    lost = set(range(1, last + 1)) - there  # those of earlier rounds too
    verdict.require(not lost, f"sqlite: acknowledged and lost: {sorted(lost)[:5]}")
    verdict.checked["sqlite transactions"] += len(told.numbers("sqlite"))


def repository(folder: Path, must: list[str], verdict: Verdict, *, read_data: bool) -> None:
    """restic check, and every acknowledged snapshot that was not to be forgotten."""
    run_restic(folder, "unlock", "--remove-all")
    done = run_restic(folder, "check", *(["--read-data"] if read_data else []))
    verdict.require(done.returncode == 0, f"restic check: {(done.stdout + done.stderr)[-600:]}")
    listed = run_restic(folder, "snapshots", "--json").stdout
    lost = [each for each in must if f'"short_id":"{each}"' not in listed]
    verdict.require(not lost, f"restic: acknowledged snapshots are gone: {lost}")
    verdict.checked["restic checks" + (" with --read-data" if read_data else "")] += 1


def must_be_there(before: list[str], told: Told) -> list[str]:
    """Snapshots acknowledged so far, without those that a forget was free to take."""
    must = list(before)
    for value, _ in told.values.get("restic", []):
        if value.startswith("forget:"):
            must = value.removeprefix("forget:").split(",")
        else:
            must.append(value)
    return must


def not_connected(mountpoint: Path) -> bool:
    """Does every call to a killed mount say so, instead of hanging or showing the empty folder below?"""
    try:
        os.statvfs(mountpoint)
    except OSError as error:
        return error.errno == 107  # ENOTCONN
    return False
