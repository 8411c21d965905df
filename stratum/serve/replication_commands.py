"""`stratum replication`: what goes to other buckets, and what was in a bucket before its rules.

Room: stratum/serve. May import: serve.{options, show}.
"""

import json
from collections.abc import Mapping
from typing import Any

import click
from rich.filesize import decimal

from stratum.serve import show
from stratum.serve.options import Connect, at_server, json_option, load


def replication_group(connect: Connect) -> click.Group:
    """The group `stratum replication`. `connect`: finds the running server of a store."""
    group = click.Group(
        "replication",
        help="""Show how replication stands, and replicate what was in a bucket before its rules.

        Rules themselves are told over S3, by PutBucketReplication.""",
    )
    for command in (_resync(connect), _status(connect), _stop(connect)):
        group.add_command(command)
    return group


def _resync(connect: Connect) -> click.Command:
    @click.command("resync")
    @click.argument("bucket")
    @at_server
    def resync(bucket: str, **options: Any) -> None:
        """Replicate what is in BUCKET already, by its rules of now: in the background, also over restarts.

        Of each key go the versions that are later than the last one that has gone, oldest first, the newest 100 at
        most; what was given up (FAILED) or lost by its target is sent again where it is the current version.
        """
        connect(load(**options)).ask("POST", "replication/resync", {"bucket": bucket})
        click.echo(f"bucket {bucket} is being looked through; `stratum replication status` says how far it has come")

    return resync


def _status(connect: Connect) -> click.Command:
    @click.command("status")
    @at_server
    @json_option
    def status(as_json: bool, **options: Any) -> None:
        """Show what waits for each target, and how far resyncs have come."""
        found = connect(load(**options)).ask("GET", "replication")
        if as_json:
            click.echo(json.dumps(found))
            return
        _print_targets(found["targets"])
        if found["resyncs"]:
            click.echo()
            _print_resyncs(found["resyncs"])

    return status


def _stop(connect: Connect) -> click.Command:
    @click.command("stop")
    @click.argument("bucket")
    @at_server
    def stop(bucket: str, **options: Any) -> None:
        """Stop the resync of BUCKET. What is queued already goes."""
        connect(load(**options)).ask("POST", "replication/stop", {"bucket": bucket})
        click.echo(f"no resync of bucket {bucket} goes on")

    return stop


def _print_targets(found: list[Mapping[str, Any]]) -> None:
    lines = [
        (r["target"], str(r["waiting"]), str(r["sent"]), decimal(r["bytes"]), str(r["failed"]), r["trouble"] or "-")
        for r in found
    ]
    show.rows(("TARGET", "WAITING", "SENT", "BYTES", "FAILED", "TROUBLE"), lines)


def _print_resyncs(found: list[Mapping[str, Any]]) -> None:
    lines = [
        (
            row["bucket"],
            show.moment(row["begun"]),
            f"ended {show.moment(row['ended'])}" if row["ended"] else "goes on",
            str(row["looked"]),
            str(row["queued"]),
            str(row["behind"]),
            row["after"] or "-",
        )
        for row in found
    ]
    show.rows(("RESYNC", "BEGUN (UTC)", "STATE", "LOOKED AT", "QUEUED", "STAY BEHIND", "LAST KEY"), lines)
