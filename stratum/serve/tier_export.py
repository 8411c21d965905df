"""`stratum tier export`: what a running server knows of reads, as the two files that `stratum replay` takes.

Room: stratum/serve. May import: serve.{admin_client, options, settings_file}.

Formats: inventory.csv `object,size_bytes,created,content_type`, events.csv `time,object,op,bytes`, sorted by time. An
object here is a volume, named after the first object in it. A visit is a row; op GET counts in replay, SWEEP (reads
said to be a backup's) does not. A day's rows are stamped at noon: hours are not kept.
"""

import csv
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

from stratum.serve.admin_client import AdminClient
from stratum.serve.options import at_server, load
from stratum.serve.settings_file import Loaded

INVENTORY, EVENTS = ("object", "size_bytes", "created", "content_type"), ("time", "object", "op", "bytes")
VISITS = 50  # rows for a volume and day; beyond, each stands for several


def export_command(connect: Callable[[Loaded], AdminClient]) -> click.Command:
    """The command `stratum tier export`."""

    @click.command("export")
    @click.option(
        "--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder for the files."
    )
    @click.option("--days", default=32, show_default=True, type=click.IntRange(1, 32), help="Days that are over.")
    @at_server
    def export(out: Path, days: int, **options: Any) -> None:
        """Write what is known of reads as inventory.csv and events.csv, for `stratum replay`.

        One row for each volume (that is what moves), and one for each visit. The last eight days are exact; before,
        the days of reads are known and what they brought is an average.

        \b
        Example:
          stratum tier export --out trace
          stratum replay --inventory trace/inventory.csv --events trace/events.csv --prices book.toml --policy all
        """
        client = connect(load(**options))
        pages = _pages(lambda after: client.ask("POST", "tiers/export", {"after": after, "days": days}))
        volumes, events, estimated = write_trace(pages, out)
        if not volumes:
            raise click.ClickException("no volume is known yet: the first evening is not over, or deciding is off")
        click.echo(f"{out}: {volumes} volumes, {events} reads, {estimated} of them estimated from averages")

    return export


def _pages(ask: Callable[[int], dict[str, Any]]) -> Iterator[dict[str, Any]]:
    after = -1
    while True:
        page = ask(after)
        yield page
        if page["next"] is None:
            return
        after = page["next"]


def write_trace(pages: Iterator[dict[str, Any]], out: Path) -> tuple[int, int, int]:
    """Write both files; return volumes, events and how many of these are estimated. Memory holds one page."""
    out.mkdir(parents=True, exist_ok=True)
    counts = [0, 0, 0]
    with TemporaryDirectory(dir=out) as parts, ExitStack() as opened:
        inventory = csv.writer(opened.enter_context((out / "inventory.csv").open("w", newline="", encoding="utf-8")))
        inventory.writerow(INVENTORY)
        by_day: dict[int, Any] = {}
        for page in pages:
            for volume in page["volumes"]:
                counts[0] += 1
                day = _day(volume["born"])
                inventory.writerow((volume["name"], volume["size"], f"{day}T00:00:00Z", volume["type"]))
                for at, *read in volume["reads"]:
                    if at not in by_day:
                        file = (Path(parts) / str(at)).open("w", newline="", encoding="utf-8")
                        by_day[at] = csv.writer(opened.enter_context(file))
                    rows = list(_rows(at, volume["name"], *read))
                    by_day[at].writerows(rows)
                    counts[1] += len(rows)
                    counts[2] += len(rows) if read[-1] else 0
        opened.close()
        with (out / "events.csv").open("w", newline="", encoding="utf-8") as target:
            csv.writer(target).writerow(EVENTS)
            for at in sorted(by_day):
                with (Path(parts) / str(at)).open(newline="", encoding="utf-8") as part:
                    shutil.copyfileobj(part, target)
    return counts[0], counts[1], counts[2]


def _rows(day: int, name: str, visits: int, sent: int, swept: int, _: bool) -> Iterator[tuple[str, str, str, int]]:
    time, count = f"{_day(day)}T12:00:00Z", min(visits, VISITS)
    for number in range(count):
        yield time, name, "GET", sent * (number + 1) // count - sent * number // count
    if swept:
        yield time, name, "SWEEP", swept


def _day(number: int) -> date:
    return date(1970, 1, 1) + timedelta(days=number)
