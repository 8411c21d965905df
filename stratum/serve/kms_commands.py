"""`stratum kms`: the key store of SSE-KMS.

Room: stratum/serve. May import: serve.{options, show}.
"""

import json
from typing import Any

import click

from stratum.serve import show
from stratum.serve.options import Connect, at_server, json_option, load


def kms_group(connect: Connect) -> click.Group:
    """The group of commands. `connect`: finds the running server of a store."""
    kms = click.Group(
        "kms",
        help="""Create, list and rotate the named keys of SSE-KMS.

        A request names one with `--sse aws:kms --sse-kms-key-id NAME`; without a name it is aws/s3. The keys themselves
        never leave the store: they are sealed by the master key (see `encryption.master_key_file` in `stratum config
        show`), without which what they encrypt is lost.

        No key can be deleted: somebody may still need it to read.""",
    )
    for command in (_create(connect), _list(connect), _rotate(connect)):
        kms.add_command(command)
    return kms


def _create(connect: Connect) -> click.Command:
    @click.command("create")
    @click.argument("name")
    @at_server
    def create(name: str, **options: Any) -> None:
        """Make the key NAME: letters, digits and / _ . -"""
        connect(load(**options)).ask("POST", "kms", {"name": name})
        click.echo(f"created {name}")

    return create


def _list(connect: Connect) -> click.Command:
    @click.command("list")
    @at_server
    @json_option
    def list_keys(as_json: bool, **options: Any) -> None:
        """List the keys, by name. stratum/s3 is the one of SSE-S3; it and aws/s3 are made when first needed."""
        rows = connect(load(**options)).ask("GET", "kms")
        if as_json:
            click.echo(json.dumps(rows))
            return
        lines = [(row["name"], show.moment(row["created"]), str(row["generations"])) for row in rows]
        show.rows(("KEY", "CREATED (UTC)", "GENERATIONS"), lines)

    return list_keys


def _rotate(connect: Connect) -> click.Command:
    @click.command("rotate")
    @click.argument("name")
    @at_server
    def rotate(name: str, **options: Any) -> None:
        """Give the key NAME a new generation, for all objects to come.

        Objects from before stay as they are and readable; one that is copied onto itself moves to the new generation.
        """
        made = connect(load(**options)).ask("POST", "kms/rotate", {"name": name})
        click.echo(f"{name} has {made['generations']} generations")

    return rotate
