"""`stratum tenant`: accounts that know nothing of each other.

Room: stratum/serve. May import: serve.{options, show}.
"""

import json
from typing import Any

import click
from rich.filesize import decimal

from stratum.serve import show
from stratum.serve.options import Connect, at_server, json_option, load


def tenant_group(connect: Connect) -> click.Group:
    """The group `stratum tenant`. `connect`: finds the running server of a store."""
    group = click.Group(
        "tenant",
        help="""Add, list and remove tenants: accounts with users and buckets of their own.

        A tenant sees nothing of others, unless their bucket policies or ACLs let it. Whoever has a key of its root
        administers its users: `stratum user`, `stratum policy` and `stratum key` with that key in
        STRATUM_ROOT_ACCESS_KEY and STRATUM_ROOT_SECRET_KEY. Its quota: `stratum quota set --user ID`.""",
    )
    for command in (_add(connect), _list(connect), _remove(connect)):
        group.add_command(command)
    return group


def _add(connect: Connect) -> click.Command:
    @click.command("add")
    @click.argument("name")
    @click.option("--id", "tenant", default="", help="Canonical id, when it comes from elsewhere; else one is made.")
    @click.option("--email", default="", help="E-mail address that an ACL may grant to.")
    @at_server
    @json_option
    def add(name: str, tenant: str, email: str, as_json: bool, **options: Any) -> None:
        """Make the tenant NAME, and the first key of its root."""
        made = connect(load(**options)).ask("POST", "tenants", {"name": name, "tenant": tenant, "email": email})
        if as_json:
            click.echo(json.dumps(made))
            return
        click.echo(f"tenant {made['tenant']}")
        click.echo(f"export AWS_ACCESS_KEY_ID={made['access_key']}")
        click.echo(f"export AWS_SECRET_ACCESS_KEY={made['secret_key']}")
        click.echo("The secret key is shown only this once.", err=True)

    return add


def _list(connect: Connect) -> click.Command:
    @click.command("list")
    @at_server
    @json_option
    def list_tenants(as_json: bool, **options: Any) -> None:
        """List the tenants, and what each has."""
        found = connect(load(**options)).ask("GET", "tenants")
        if as_json:
            click.echo(json.dumps(found))
            return
        lines = [
            (
                row["tenant"],
                row["name"],
                str(row["users"]),
                str(row["buckets"]),
                decimal(row["bytes"]),
                "-" if row["bytes_max"] is None else decimal(row["bytes_max"]),
            )
            for row in found
        ]
        show.rows(("ID", "NAME", "USERS", "BUCKETS", "BYTES", "AT MOST"), lines)

    return list_tenants


def _remove(connect: Connect) -> click.Command:
    @click.command("remove")
    @click.argument("tenant")
    @at_server
    def remove(tenant: str, **options: Any) -> None:
        """Remove TENANT (its id) with all its users and keys. One that owns buckets stays."""
        connect(load(**options)).ask("POST", "tenants/remove", {"tenant": tenant})
        click.echo(f"removed {tenant}")

    return remove
