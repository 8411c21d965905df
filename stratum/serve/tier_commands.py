"""`stratum tier`: where data is, and moving it by hand.

Room: stratum/serve. May import: serve.{admin_client, explain_command, options, show, tier_export}.
"""

import json
import time
from collections.abc import Mapping
from typing import Any

import click
from rich.filesize import decimal

from stratum.serve import show
from stratum.serve.admin_client import AdminClient
from stratum.serve.explain_command import policy_command, report_command
from stratum.serve.options import Connect, at_server, json_option, load
from stratum.serve.tier_export import export_command

POLL_SECONDS = 0.25

_version = click.option("--version-id", "version", default="", help="Of a version that is not the current one.")


def tier_group(connect: Connect) -> click.Group:
    """The group `stratum tier`. `connect`: finds the running server of a store."""
    group = click.Group(
        "tier",
        help="""Show the tiers, and move objects between them.

        Data is moved by volumes of up to 64 MiB. A large object has volumes of its own, small ones share them: moving
        one moves what lies beside it, and `tier move` says what that is. Content, ETag, version and date of an object
        never change by it, and it can be read wherever it is.

        The tiers are those of the settings: [tier.hot], [tier.warm], [tier.cold.NAME].""",
    )
    for command in (_list(connect), _status(connect), _show(connect), _move(connect), _check(connect)):
        group.add_command(command)
    for command in (report_command(connect), policy_command(connect), export_command(connect)):
        group.add_command(command)
    return group


def _list(connect: Connect) -> click.Command:
    @click.command("list")
    @at_server
    @json_option
    def list_tiers(as_json: bool, **options: Any) -> None:
        """List the tiers with what they hold, and the backends behind them."""
        found = connect(load(**options)).ask("GET", "tiers")
        if as_json:
            click.echo(json.dumps({"tiers": found["tiers"], "backends": found["backends"]}))
            return
        lines = [(tier, str(one["volumes"]), decimal(one["bytes"])) for tier, one in found["tiers"].items()]
        show.rows(("TIER", "VOLUMES", "HOLDING"), lines)
        if found["backends"]:
            click.echo()
            backends = [(each["name"], each["tier"], each["trouble"] or "in order") for each in found["backends"]]
            show.rows(("BACKEND", "TIER", "STATE"), backends)

    return list_tiers


def _status(connect: Connect) -> click.Command:
    @click.command("status")
    @at_server
    @json_option
    def tier_status(as_json: bool, **options: Any) -> None:
        """Show moves: waiting, under way, put off and why, done since the start; and what backends lost."""
        found = connect(load(**options)).ask("GET", "tiers")
        click.echo(json.dumps(found, indent=2)) if as_json else _print_status(found)

    return tier_status


def _print_status(found: Mapping[str, Any]) -> None:
    moves = found["moves"]
    for alarm in show.alarms(found):
        click.secho(alarm, fg="red")
    done = ", ".join(f"{count} {way}" for way, count in moves["done"].items()) or "none"
    click.echo(f"  moves waiting      {moves['waiting']}")
    click.echo(f"  done since start   {done}; {decimal(moves['bytes'])}; failed attempts: {moves['failed']}")
    for each in moves["under_way"]:
        share = 100 * each["done"] // max(1, each["bytes"])
        click.echo(f"  under way          {each['volume']} {each['from']} to {each['to']}: {share} %")
    for each in moves["put_off"]:
        click.echo(f"  put off            {each['volume']} for {each['seconds']:.0f} s: {each['why']}")


def _show(connect: Connect) -> click.Command:
    @click.command("show")
    @click.argument("object_url", metavar="s3://BUCKET/KEY")
    @_version
    @at_server
    @json_option
    def show_object(object_url: str, version: str, as_json: bool, **options: Any) -> None:
        """Show the tier of an object, and what shares its volumes."""
        bucket, key = _parsed(object_url)
        body = {"bucket": bucket, "key": key, "version": version}
        found = connect(load(**options)).ask("POST", "tiers/object", body)
        click.echo(json.dumps(found)) if as_json else _print_object(found)

    return show_object


def _print_object(found: Mapping[str, Any]) -> None:
    click.echo(found["tier"])
    sizes = ", ".join(f"{decimal(size)} {tier}" for tier, size in found["bytes"].items())
    click.echo(f"  {sizes or 'empty'}, in {len(found['volumes'])} volumes; waiting to be moved: {found['waiting']}")
    if found["why"]:
        click.echo(f"  put off: {found['why']}")
    if found["neighbours"]:
        click.echo(f"  in the same volumes: {found['neighbours']} others, {decimal(found['neighbours_bytes'])}")
        for each in found["neighbours_named"]:
            click.echo(f"    {decimal(each['bytes']):>12}  {each['name']}")


def _move(connect: Connect) -> click.Command:
    @click.command("move")
    @click.argument("object_url", metavar="s3://BUCKET/KEY")
    @click.option("--to", "tier", required=True, type=click.Choice(("hot", "warm", "cold")), help="Where to.")
    @click.option("--backend", default="", help="Which cold one; else as the routes have it, or the first.")
    @click.option("--wait", is_flag=True, help="Return when the bytes are there.")
    @_version
    @at_server
    @json_option
    def move(object_url: str, tier: str, backend: str, wait: bool, version: str, as_json: bool, **options: Any) -> None:
        """Move the volumes that hold an object, whatever else lies in them.

        \b
        Example:
          stratum tier move s3://films/old.mkv --to cold --wait

        Objects of up to 4 KiB rest in the index, on hot disks, and stay there.
        """
        bucket, key = _parsed(object_url)
        client = connect(load(**options))
        asked = {"bucket": bucket, "key": key, "version": version}
        found = client.ask("POST", "tiers/move", {**asked, "to": tier, "backend": backend})
        if wait and found["queued"]:
            found = _wait(client, asked, len(found["queued"]), quiet=as_json)
        click.echo(json.dumps(found)) if as_json else _print_object(found)

    return move


def _wait(client: AdminClient, asked: Mapping[str, str], total: int, *, quiet: bool) -> Any:
    """Ask until no volume of the object waits; tell of it on the way."""
    said = ""
    while (found := client.ask("POST", "tiers/object", asked))["waiting"]:
        now = f"{total - found['waiting']} of {total} volumes moved" + (f"; {found['why']}" if found["why"] else "")
        if now != said and not quiet:
            click.echo(now, err=True)
        said = now
        time.sleep(POLL_SECONDS)
    return found


def _check(connect: Connect) -> click.Command:
    @click.command("check")
    @click.argument("name")
    @at_server
    def check(name: str, **options: Any) -> None:
        """Ask the backend NAME whether it can be used with the settings as they are."""
        found = connect(load(**options)).ask("GET", f"tiers/check/{show.path_segment(name)}")
        if found["trouble"]:
            raise click.ClickException(found["trouble"])
        click.echo(f"{name} is in order")

    return check


def _parsed(object_url: str) -> tuple[str, str]:
    bucket, _, key = object_url.removeprefix("s3://").partition("/")
    if not object_url.startswith("s3://") or not bucket or not key:
        raise click.ClickException(f"{object_url!r} is not s3://BUCKET/KEY")
    return bucket, key
