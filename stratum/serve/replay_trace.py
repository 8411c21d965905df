"""Traces for replay: an inventory and its reads, as columns, day by day.

Room: stratum/serve. May import: core.tiering.

Formats (CSV with a header, plain or .gz): inventory `object,size_bytes,created,content_type`; events
`time,object,op,bytes`, sorted or not; times ISO 8601 in UTC. Only GET is a read. The prefix of an object is what stands
before the first `/` of its name.
"""

import csv
import gzip
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from operator import itemgetter
from pathlib import Path

import click
import numpy as np

from stratum.core.tiering.prices import GB

Progress = Callable[[int], None]
Event = tuple[str, str, int]  # date YYYY-MM-DD, object, bytes sent


@dataclass(frozen=True)
class Trace:
    """Units as columns, and for each day which of them were read."""

    names: list[str]
    gb: np.ndarray
    born: np.ndarray  # step of the day of creation
    prefix: np.ndarray  # index into prefixes
    prefixes: list[str]
    group: np.ndarray  # index of (prefix, type)
    groups: int
    first_day: date
    days: int
    reads: list[tuple[np.ndarray, np.ndarray, np.ndarray]]  # per step: units, visits, GB
    unknown: int = 0  # events of objects that the inventory does not have
    events: int = 0

    def on(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Visits and GB of every unit on a day."""
        units, visits, gb_read = self.reads[step]
        all_visits, all_gb = np.zeros(len(self.gb)), np.zeros(len(self.gb))
        all_visits[units], all_gb[units] = visits, gb_read
        return all_visits, all_gb


@dataclass
class Inventory:
    """The rows of an inventory file."""

    names: list[str] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    created: list[str] = field(default_factory=list)
    types: list[str] = field(default_factory=list)


def _rows(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The named columns of a CSV file. Raises ClickException with file and line for what is none."""
    open_it = gzip.open if path.suffix == ".gz" else open
    with open_it(path, "rt", newline="", encoding="utf-8") as source:
        reader = csv.reader(source)
        header = next(reader, [])
        missing = [name for name in columns if name not in header]
        if missing:
            raise click.ClickException(f"{path}: no column {', '.join(missing)} in its first line")
        wanted, width = itemgetter(*(header.index(name) for name in columns)), len(header)
        for row in reader:
            if len(row) < width:
                raise click.ClickException(f"{path}, line {reader.line_num}: {len(row)} fields of {width}")
            yield wanted(row)


def read_inventory(path: Path) -> Inventory:
    """The objects of an inventory. Raises ClickException."""
    found = Inventory()
    for line, (name, size, created, kind) in enumerate(
        _rows(path, ("object", "size_bytes", "created", "content_type")), start=2
    ):
        found.names.append(name)
        found.sizes.append(_whole(size, path, line))
        found.created.append(_day(created, path, line))
        found.types.append(kind)
    return found


def read_events(path: Path, progress: Progress) -> Iterator[Event]:
    """The reads of an events file. Raises ClickException."""
    for line, (time, name, op, sent) in enumerate(_rows(path, ("time", "object", "op", "bytes")), start=2):
        if op == "GET":
            day = time[:10] if time[-1:] == "Z" else _day(time, path, line)
            yield day, name, int(sent) if sent.isdigit() else _whole(sent, path, line)
        if not line % 10_000:
            progress(10_000)


def _whole(text: str, path: Path, line: int) -> int:
    if not text.isdigit():
        raise click.ClickException(f"{path}, line {line}: {text!r} is not a number of bytes")
    return int(text)


def _day(text: str, path: Path, line: int) -> str:
    """The UTC day of a time: most traces say Z, then it is the first ten characters."""
    try:
        if text.endswith("Z") or len(text) == 10:
            return text[:10]
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise click.ClickException(f"{path}, line {line}: {text!r} is not an ISO 8601 time") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC).date().isoformat()


def assembled(inventory: Inventory, events: Iterator[Event]) -> Trace:
    """Columns of an inventory and its events. Raises ClickException if there is nothing to replay."""
    index = {name: at for at, name in enumerate(inventory.names)}
    sizes = inventory.sizes
    found: dict[str, dict[int, list[int]]] = defaultdict(dict)
    unknown = count = 0
    for day, name, sent in events:
        count += 1
        unit = index.get(name)
        if unit is None:
            unknown += 1
            continue
        size, today = sizes[unit], found[day]
        reads = ((2 * sent + size) // (2 * size) or 1) if size else 1
        seen = today.get(unit)
        if seen is None:
            today[unit] = [reads, sent]
        else:
            seen[0] += reads
            seen[1] += sent
    if not index or not found:
        raise click.ClickException("nothing to replay: no object of the inventory is read in the events")
    days = {text: _date(text) for text in {*inventory.created, *found}}
    first, last = min(days.values()), max(days[text] for text in found)
    steps = (last - first).days + 1
    by_step: list[dict[int, list[int]]] = [{} for _ in range(steps)]
    for text, units in found.items():
        by_step[(days[text] - first).days] = units
    prefixes, prefix = _numbered([name.partition("/")[0] if "/" in name else "" for name in inventory.names])
    groups, group = _numbered(list(zip(prefix.tolist(), inventory.types, strict=True)))
    return Trace(
        names=inventory.names,
        gb=np.array(sizes, dtype=float) / GB,
        born=np.array([(days[text] - first).days for text in inventory.created]),
        prefix=prefix,
        prefixes=[str(name) for name in prefixes],
        group=group,
        groups=len(groups),
        first_day=first,
        days=steps,
        reads=[_columns(units) for units in by_step],
        unknown=unknown,
        events=count,
    )


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise click.ClickException(f"{text!r} is not a day") from None


def _numbered(values: list) -> tuple[list, np.ndarray]:
    """The distinct values in sorted order, and the number of each."""
    distinct = sorted(set(values))
    number = {value: at for at, value in enumerate(distinct)}
    return distinct, np.array([number[value] for value in values])


def _columns(units: dict[int, list[int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    at = np.fromiter(units, dtype=np.int64, count=len(units))
    both = np.array(list(units.values()), dtype=float).reshape(-1, 2)
    return at, both[:, 0], both[:, 1] / GB
