"""`stratum quota`: what buckets and users hold, and the most they may.

Room: stratum/serve. May import: serve.{options, settings_values, show}.
"""

import json
from collections.abc import Mapping
from typing import Any

import click
from rich.filesize import decimal

from stratum.serve import show
from stratum.serve.options import Connect, at_server, json_option, load
from stratum.serve.settings_values import Malformed, parse_count


def quota_group(connect: Connect) -> click.Group:
    """The group `stratum quota`. `connect`: finds the running server of a store."""
    group = click.Group(
        "quota",
        help="""Limit what buckets and users may hold, and show what they do hold.

        A limit of a user is for all buckets that it owns. Earlier versions and parts of uploads count; delete markers
        do not. What would go over a limit is refused: QuotaExceeded over S3, "disk quota exceeded" in the mount.""",
    )
    for command in (_set(connect), _show(connect), _clear(connect), _verify(connect)):
        group.add_command(command)
    return group


def _which(bucket: str, user: str) -> dict[str, str]:
    if bool(bucket) == bool(user):
        raise click.UsageError("name a bucket, or a user with --user")
    return {"bucket": bucket} if bucket else {"user": user}


def _count(text: str) -> int | None:
    if text == "none":
        return None
    if text == "0":
        return 0
    try:
        return parse_count(text)
    except Malformed as error:
        raise click.UsageError(str(error)) from error


def _set(connect: Connect) -> click.Command:
    @click.command("set")
    @click.argument("bucket", default="")
    @click.option("--user", default="", help="Canonical id of a user, instead of a bucket; `stratum`: the operator.")
    @click.option("--bytes", "bytes_max", metavar="SIZE", help='At most so many bytes, e.g. 500GB or 2TiB; or "none".')
    @click.option("--objects", "objects_max", metavar="COUNT", help='At most so many objects and versions; or "none".')
    @at_server
    def set_quota(bucket: str, user: str, bytes_max: str | None, objects_max: str | None, **options: Any) -> None:
        """Limit BUCKET, or with --user all buckets of a user. What is not given stays as it is."""
        which = _which(bucket, user)
        if bytes_max is None and objects_max is None:
            raise click.UsageError("say what the limit is: --bytes, --objects, or both")
        told = {"bytes_max": bytes_max, "objects_max": objects_max}
        given = {name: _count(text) for name, text in told.items() if text is not None}
        client = connect(load(**options))
        before = _row(client.ask("GET", "quotas"), which)
        limits = {name: given.get(name) if name in given else before.get(name) for name in told}
        _print([client.ask("POST", "quotas", {**which, **limits})])

    return set_quota


def _row(found: Mapping[str, Any], which: Mapping[str, str]) -> Mapping[str, Any]:
    rows = found["buckets"] if "bucket" in which else found["users"]
    return next((row for row in rows if row["name"] in which.values()), {})


def _show(connect: Connect) -> click.Command:
    @click.command("show")
    @click.argument("bucket", default="")
    @click.option("--user", default="", help="Canonical id of a user: only it, and its buckets.")
    @at_server
    @json_option
    def show_quotas(bucket: str, user: str, as_json: bool, **options: Any) -> None:
        """Show what every bucket and every owner holds and may hold, or only one of them."""
        found = connect(load(**options)).ask("GET", "quotas")
        rows = {
            "buckets": [row for row in found["buckets"] if _meant(row, bucket, user)],
            "users": [row for row in found["users"] if not bucket and user in ("", row["name"])],
        }
        if as_json:
            click.echo(json.dumps({**found, **rows}))
            return
        if not found["complete"]:
            click.secho("what was there before is still being counted", fg="yellow")
        _print(rows["buckets"], "BUCKET")
        if rows["users"]:
            click.echo()
            _print(rows["users"], "USER")

    return show_quotas


def _meant(row: Mapping[str, Any], bucket: str, user: str) -> bool:
    return bucket in ("", row["name"]) and user in ("", row["owner"])


def _clear(connect: Connect) -> click.Command:
    @click.command("clear")
    @click.argument("bucket", default="")
    @click.option("--user", default="", help="Canonical id of a user, instead of a bucket.")
    @at_server
    def clear(bucket: str, user: str, **options: Any) -> None:
        """Take the limits of BUCKET, or of a user, away."""
        which = _which(bucket, user)
        connect(load(**options)).ask("POST", "quotas", which)
        click.echo(f"{bucket or user} has no quota")

    return clear


def _verify(connect: Connect) -> click.Command:
    @click.command("verify")
    @click.option("--repair", is_flag=True, help="Set the counters to what was counted.")
    @at_server
    @json_option
    def verify(repair: bool, as_json: bool, **options: Any) -> None:
        """Count everything anew, while the store is in use, and compare. The exit code is 1 if anything is wrong."""
        found = connect(load(**options)).ask("POST", "quotas/count", {"repair": repair})
        if as_json:
            click.echo(json.dumps(found))
        for row in found["wrong"] if not as_json else ():
            click.echo(f"{row['bucket']}: counter {_amount(row['stored'])}, counted {_amount(row['counted'])}")
        if found["wrong"] and not repair:
            raise click.ClickException(f"{len(found['wrong'])} counters are wrong")
        if not as_json:
            click.echo("repaired" if found["wrong"] else "every counter is right")

    return verify


def _amount(amount: Mapping[str, int]) -> str:
    return f"{amount['bytes']} bytes in {amount['objects']} objects"


def _print(found: list[Mapping[str, Any]], title: str = "NAME") -> None:
    lines = [
        (
            row["name"],
            row["owner_name"],
            decimal(row["bytes"]),
            "-" if row["bytes_max"] is None else decimal(row["bytes_max"]),
            str(row["objects"]),
            "-" if row["objects_max"] is None else str(row["objects_max"]),
        )
        for row in found
    ]
    show.rows((title, "OWNER", "BYTES", "AT MOST", "OBJECTS", "AT MOST"), lines)
