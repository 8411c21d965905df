"""`stratum user` and `stratum policy`: who may use the store, and what each may do.

Room: stratum/serve. May import: serve.{options, show}.
"""

import json
from typing import Any

import click

from stratum.serve import show
from stratum.serve.options import Connect, at_server, json_option, load


def user_group(connect: Connect) -> click.Group:
    """The group `stratum user`. `connect`: finds the running server of a store."""
    group = click.Group(
        "user",
        help="""Create, list and delete users.

        A user owns the buckets it creates and may do everything with them; what belongs to others it may do where a
        bucket policy, an ACL or a policy of its own (`stratum policy`) lets it. Give it access keys with
        `stratum key create --user ID`.""",
    )
    for command in (_create(connect), _list(connect), _delete(connect)):
        group.add_command(command)
    return group


def _create(connect: Connect) -> click.Command:
    @click.command("create")
    @click.argument("name")
    @click.option("--id", "user", default="", help="Canonical id, when it comes from another store; else one is made.")
    @click.option("--email", default="", help="E-mail address that an ACL may grant to.")
    @click.option("--account", default="", help="Canonical id of the user whose account it joins; else its own.")
    @at_server
    @json_option
    def create(name: str, user: str, email: str, account: str, as_json: bool, **options: Any) -> None:
        """Make a user with the display name NAME."""
        body = {"name": name, "user": user, "email": email, "account": account}
        made = connect(load(**options)).ask("POST", "users", body)
        click.echo(json.dumps(made) if as_json else made["user"])

    return create


def _list(connect: Connect) -> click.Command:
    @click.command("list")
    @at_server
    @json_option
    def list_users(as_json: bool, **options: Any) -> None:
        """List the users, by canonical id."""
        found = connect(load(**options)).ask("GET", "users")
        if as_json:
            click.echo(json.dumps(found))
            return
        lines = [
            (row["user"], row["name"], row["email"], show.moment(row["created"]), " ".join(row["policies"]))
            for row in found
        ]
        show.rows(("ID", "NAME", "E-MAIL", "CREATED (UTC)", "POLICIES"), lines)

    return list_users


def _delete(connect: Connect) -> click.Command:
    @click.command("delete")
    @click.argument("user")
    @at_server
    def delete(user: str, **options: Any) -> None:
        """Delete the user with the canonical id USER and its access keys. One that owns buckets stays."""
        connect(load(**options)).ask("POST", "users/delete", {"user": user})
        click.echo(f"deleted {user}")

    return delete


def policy_group(connect: Connect) -> click.Group:
    """The group `stratum policy`. `connect`: finds the running server of a store."""
    group = click.Group(
        "policy",
        help="""Give users policies: JSON documents as of AWS IAM, about actions and resources of S3.

        An explicit Deny always wins. For policies of buckets use S3 itself (`aws s3api put-bucket-policy`).""",
    )
    for command in (_put_policy(connect), _list_policies(connect), _delete_policy(connect)):
        group.add_command(command)
    return group


def _put_policy(connect: Connect) -> click.Command:
    @click.command("put")
    @click.argument("user")
    @click.argument("name")
    @click.argument("file", type=click.File())
    @at_server
    def put(user: str, name: str, file: Any, **options: Any) -> None:
        """Give USER (canonical id) the policy in FILE ("-": standard input) under NAME, or replace that one."""
        body = {"user": user, "policy": name, "text": file.read()}
        connect(load(**options)).ask("POST", "users/policies/put", body)
        click.echo(f"{user} has the policy {name}")

    return put


def _list_policies(connect: Connect) -> click.Command:
    @click.command("list")
    @click.argument("user")
    @at_server
    def list_policies(user: str, **options: Any) -> None:
        """Print the policies of USER as JSON: name to document."""
        found = connect(load(**options)).ask("POST", "users/policies", {"user": user})
        click.echo(json.dumps({name: json.loads(text) for name, text in found.items()}, indent=2))

    return list_policies


def _delete_policy(connect: Connect) -> click.Command:
    @click.command("delete")
    @click.argument("user")
    @click.argument("name")
    @at_server
    def delete(user: str, name: str, **options: Any) -> None:
        """Take the policy NAME away from USER."""
        connect(load(**options)).ask("POST", "users/policies/delete", {"user": user, "policy": name})
        click.echo(f"deleted {name}")

    return delete
