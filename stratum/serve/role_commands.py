"""`stratum role`: what somebody may be let in as for a while, and who that may be.

Room: stratum/serve. May import: serve.{options, show}.
"""

import json
from pathlib import Path
from typing import Any

import click

from stratum.serve import show
from stratum.serve.options import Connect, at_server, json_option, load


def role_group(connect: Connect) -> click.Group:
    """The group `stratum role`. `connect`: finds the running server of a store."""
    group = click.Group(
        "role",
        help="""Add, list and remove roles, and end sessions.

        Users, or people whom an identity provider of the settings ([oidc.<name>]) vouches for, take a role on for a
        while (`aws sts assume-role`, `assume-role-with-web-identity`) and may then do what its policies allow.""",
    )
    for command in (_add(connect), _list(connect), _remove(connect), _end(connect)):
        group.add_command(command)
    return group


def _add(connect: Connect) -> click.Command:
    @click.command("add")
    @click.argument("name")
    @click.option(
        "--policy",
        "policies",
        type=click.Path(exists=True, dir_okay=False),
        multiple=True,
        help="File with what it may do, a JSON document as of AWS IAM; repeat for more.",
    )
    @click.option("--user", "users", multiple=True, help="Canonical id of a user who may take it on; * for every user.")
    @click.option("--oidc", "provider", default="", help="Identity provider whose people may, if their claims fit.")
    @click.option("--claim", "claims", multiple=True, help="NAME=VALUE that their token must say, e.g. groups=editors.")
    @click.option("--account", default="", help="Canonical id of the user whose account it belongs to.")
    @click.option("--max-seconds", default=3600, help="A session lasts at most; 900 to 43200.")
    @at_server
    def add(
        name: str,
        policies: tuple[str, ...],
        users: tuple[str, ...],
        provider: str,
        claims: tuple[str, ...],
        account: str,
        max_seconds: int,
        **options: Any,
    ) -> None:
        """Make the role NAME, or let it be as told from now on. Prints its ARN.

        \b
        Example: editors, as the company's login names them
          stratum role add editor --policy editor.json --oidc company --claim groups=editors
        """
        body = {
            "role": name,
            "policies": {Path(path).stem: Path(path).read_text() for path in policies},
            "users": list(users),
            "provider": provider,
            "claims": dict(_pair(text) for text in claims),
            "account": account,
            "seconds": max_seconds,
        }
        connect(load(**options)).ask("POST", "roles", body)
        click.echo(f"arn:aws:iam::{account or 'stratum'}:role/{name}")

    return add


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise click.ClickException(f"--claim {text}: must be NAME=VALUE")
    return name, value


def _list(connect: Connect) -> click.Command:
    @click.command("list")
    @at_server
    @json_option
    def list_roles(as_json: bool, **options: Any) -> None:
        """List the roles, by name."""
        found = connect(load(**options)).ask("GET", "roles")
        if as_json:
            click.echo(json.dumps(found))
            return
        lines = [
            (
                row["role"],
                show.moment(row["created"]),
                " ".join(row["users"]),
                row["provider"],
                " ".join(f"{name}={value}" for name, value in row["claims"].items()),
                " ".join(row["policies"]),
            )
            for row in found
        ]
        show.rows(("ROLE", "CREATED (UTC)", "USERS", "OIDC", "CLAIMS", "POLICIES"), lines)

    return list_roles


def _remove(connect: Connect) -> click.Command:
    @click.command("remove")
    @click.argument("name")
    @at_server
    def remove(name: str, **options: Any) -> None:
        """Remove the role NAME; its sessions end at once."""
        connect(load(**options)).ask("POST", "roles/delete", {"role": name})
        click.echo(f"removed {name}")

    return remove


def _end(connect: Connect) -> click.Command:
    @click.command("end-sessions")
    @at_server
    def end(**options: Any) -> None:
        """End every session of the store, at once: all temporary credentials cease to work."""
        connect(load(**options)).ask("POST", "sessions/end", {})
        click.echo("ended all sessions")

    return end
