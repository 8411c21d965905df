"""`stratum disk`: add, list, empty and remove the disks of a running store.

Room: stratum/serve. May import: serve.{options, show}.
"""

import json
import os
from collections.abc import Mapping
from typing import Any

import click
from rich.filesize import decimal

from stratum.serve import show
from stratum.serve.options import Connect, at_server, json_option, load


def disk_group(connect: Connect) -> click.Group:
    """The group `stratum disk`. `connect`: finds the running server of a store."""
    group = click.Group(
        "disk",
        help="""Add, list, empty and remove disks, one at a time, of any size, while the store is in use.

        \b
        A larger disk for a smaller one:   stratum disk add /srv/new
                                           stratum disk drain 3
                                           stratum disk list          (until nothing is on 3)
                                           stratum disk remove 3

        ID is the number that `list` shows. Shards move by themselves onto a disk that was added.""",
    )
    for command in (_add(connect), _list(connect), _drain(connect), _remove(connect)):
        group.add_command(command)
    return group


def _add(connect: Connect) -> click.Command:
    @click.command("add")
    @click.argument("path", type=click.Path())
    @click.option("--tier", type=click.Choice(["hot", "warm"]), default="hot", help="Which set of disks it joins.")
    @at_server
    def add(path: str, tier: str, **options: Any) -> None:
        """Use the empty folder PATH, best a file system of its own, as a new disk."""
        path = os.path.abspath(path)
        made = connect(load(**options)).ask("POST", "disks", {"path": path, "tier": tier})
        click.echo(f"disk {made['slot']} is in service")
        click.echo(f"The store remembers {path}; write it into the settings ([tier.{tier}] disks), too.", err=True)

    return add


def _list(connect: Connect) -> click.Command:
    @click.command("list")
    @at_server
    @json_option
    def list_disks(as_json: bool, **options: Any) -> None:
        """Show the disks, what is on them, and what they can hold together."""
        found = connect(load(**options)).ask("GET", "disks")
        if as_json:
            click.echo(json.dumps(found))
            return
        show.rows(
            ("ID", "TIER", "STATE", "SHARDS", "HOLDS", "FREE", "OF", "PATH"), [_line(row) for row in found["disks"]]
        )
        click.echo()
        for tier, one in found["capacity"].items():
            words = f"{decimal(one['usable_bytes'])} of content, {decimal(one['free_bytes'])} free"
            narrow = one["usable_bytes"] - one["full_code_bytes"]
            click.echo(f"{tier}: {words}" + (f"; {decimal(narrow)} of it with a narrower code" if narrow else ""))
        moved = found["relocation"]
        if moved["shards"]:
            click.echo(f"moved since the start: {moved['shards']} shards, {decimal(moved['bytes'])}")
        if moved["trouble"]:
            click.secho(f"shards stay where they are: {moved['trouble']}", fg="yellow")

    return list_disks


def _line(row: Mapping[str, Any]) -> tuple[str, ...]:
    state = "in service" if row["in_service"] else f"out: {row['reason']}"
    if row["leaving_since"] is not None:
        state += ", being emptied" if row["shards"] else ", empty: can be removed"
    sizes = (decimal(row[name]) for name in ("shard_bytes", "free_bytes", "total_bytes"))
    return (str(row["slot"]), row["tier"], state, str(row["shards"]), *sizes, row["path"])


def _drain(connect: Connect) -> click.Command:
    @click.command("drain")
    @click.argument("slot", metavar="ID", type=int)
    @click.option("--cancel", is_flag=True, help="Keep the disk after all.")
    @at_server
    def drain(slot: int, cancel: bool, **options: Any) -> None:
        """Empty the disk ID: its shards move to others, with full redundancy all the time.

        Of a disk that is lost, they are made anew from the others. It goes on after a restart; `list` shows how far it
        is.
        """
        row = connect(load(**options)).ask("POST", "disks/drain", {"slot": slot, "cancel": cancel})
        click.echo(f"disk {slot} stays" if cancel else f"disk {slot}: {row['shards']} shards are to go")

    return drain


def _remove(connect: Connect) -> click.Command:
    @click.command("remove")
    @click.argument("slot", metavar="ID", type=int)
    @at_server
    def remove(slot: int, **options: Any) -> None:
        """Take the emptied disk ID out of the store for good."""
        row = connect(load(**options)).ask("POST", "disks/remove", {"slot": slot})
        click.echo(f"disk {slot} is no longer of this store")
        click.echo(f"Take {row['path']} out of the settings, too, if it is there.", err=True)

    return remove
