"""Answers of a server as text for people.

Room: stratum/serve. May import: nothing of ours.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import click
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

STATE_COLOURS = {"healthy": "green", "degraded": "yellow", "read-only": "red"}


def path_segment(text: str) -> str:
    """`text` as one segment of a URL path that needs no further escaping. Raises ClickException for what is no name."""
    if quote(text, safe="") != text:
        raise click.ClickException(f"{text!r} is not a name")
    return text


def moment(nanoseconds: int) -> str:
    """A point in time, in UTC."""
    return datetime.fromtimestamp(nanoseconds / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S")


def rows(titles: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    """Print a plain table, wide enough for programs like grep and awk to work on it."""
    table = Table(*titles, box=None, pad_edge=False, header_style="bold")
    for line in lines:
        table.add_row(*line)
    console().print(table)


def console() -> Console:
    """Standard output; not wrapped where it is not a terminal."""
    found = Console(highlight=False, markup=False)
    return found if found.is_terminal else Console(highlight=False, markup=False, width=1000)


def keys(found: Sequence[Mapping[str, Any]]) -> None:
    """The access keys."""
    lines = [(r["access_key"], moment(r["created"]), r.get("user", "") or "operator", r["name"]) for r in found]
    rows(("ACCESS KEY", "CREATED (UTC)", "USER", "NAME"), lines)


def buckets(found: Sequence[Mapping[str, Any]]) -> None:
    """The buckets."""
    rows(("BUCKET", "CREATED (UTC)", "OWNER"), [(r["name"], moment(r["created"]), r["owner"]) for r in found])


def status(found: Mapping[str, Any]) -> None:
    """Doors, disks, redundancy, counts."""
    redundancy, counts, metadata = found["redundancy"], found["counts"], found["metadata"]
    click.secho(found["state"], fg=STATE_COLOURS.get(found["state"]), bold=True)
    facts = [
        ("S3 endpoint", found["s3"]),
        ("mount", found["mount"] or "none"),
        ("version", f"{found['version']}, process {found['pid']}, since {moment(int(found['since'] * 1e9))} UTC"),
        ("store", f"{found['store']}, code {found['code']}"),
        ("metadata", metadata["failed"] or f"commit {metadata['sequence']}, last start: {metadata['recovery']}"),
        ("volumes", f"{redundancy['volumes']}, of which degraded: {redundancy['volumes_degraded']}"),
        ("shards", f"to rebuild: {redundancy['shards_to_rebuild']}, out of reach: {redundancy['shards_unreachable']}"),
        ("holding", ", ".join(f"{number} {name}" for name, number in counts.items())),
    ]
    facts += [
        (f"room ({tier})", f"{decimal(one['usable_bytes'])} of content, {decimal(one['free_bytes'])} free")
        for tier, one in found.get("capacity", {}).items()
    ]
    facts += _tier_facts(found.get("tiers"))
    for name, fact in facts:
        click.echo(f"  {name:12} {fact}")
    for alarm in alarms(found.get("tiers")):
        click.secho(f"  {alarm}", fg="red")
    click.echo()
    rows(("DISK", "STATE", "FREE", "OF", "PATH"), [_disk(disk) for disk in found["disks"]])


def _tier_facts(tiers: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """What stands in the status of a store with more than one tier."""
    if not tiers:
        return []
    moves = tiers["moves"]
    holding = ", ".join(f"{name} {decimal(one['bytes'])}" for name, one in tiers["tiers"].items())
    done = sum(moves["done"].values())
    return [("tiers", holding), ("moves", f"waiting: {moves['waiting']}, done: {done}, {decimal(moves['bytes'])}")]


def alarms(tiers: Mapping[str, Any] | None) -> list[str]:
    """What is wrong with backends, and what they lost."""
    if not tiers:
        return []
    found = [f"{each['name']}: {each['trouble']}" for each in tiers["backends"] if each["trouble"]]
    return found + [f"volume {volume} is not given back as it was: {why}" for volume, why in tiers["lost"].items()]


def _disk(disk: Mapping[str, Any]) -> tuple[str, ...]:
    state = "in service" if disk["in_service"] else f"out: {disk['reason']}"
    state += ", being emptied" if disk.get("leaving") else ""
    return str(disk["slot"]), state, decimal(disk["free_bytes"]), decimal(disk["total_bytes"]), disk["path"]


def settings(values: Mapping[str, Any], sources: Mapping[str, str]) -> None:
    """A settings file that says the same."""
    section = ""
    for key, value in values.items():
        table, _, name = key.rpartition(".")
        if table != section:
            click.echo(f"{chr(10) if section else ''}[{table}]")
            section = table
        place = f"    # {sources[key]}" if key in sources else ""
        click.echo(f"{name} = {json.dumps(value)}{place}")
