"""The `stratum` command: serve, and ask or change a running server.

Room: stratum/serve. May import: serve.*. Files of a running store are never opened a second time: it is asked.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import click

from stratum.serve import show
from stratum.serve.admin_client import AdminClient
from stratum.serve.credentials_file import metrics_token, root_credential
from stratum.serve.disk_commands import disk_group
from stratum.serve.explain_command import explain_command
from stratum.serve.kms_commands import kms_group
from stratum.serve.options import at_server, json_option, load, reports_errors, s3_option, with_store_options
from stratum.serve.quota_commands import quota_group
from stratum.serve.replay_command import replay_command
from stratum.serve.replication_commands import replication_group
from stratum.serve.role_commands import role_group
from stratum.serve.settings_file import Loaded, as_keys
from stratum.serve.settings_values import join_address
from stratum.serve.store_lock import holder_of
from stratum.serve.tenant_commands import tenant_group
from stratum.serve.tier_commands import tier_group
from stratum.serve.user_commands import policy_group, user_group


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="stratum", prog_name="stratum")
def main() -> None:
    """An object store on your own disks: S3 for programs, a mount for people, the same data in both.

    \b
    Start one:         stratumfs /mnt/stratum      S3 endpoint and mount
                       stratum serve               S3 endpoint only
    Look at it:        stratum status
    Give out access:   stratum key create backup-laptop

    Every command but `serve` talks to the running server of the store named by --data (or STRATUM_STORE_DATA), with
    the root credentials kept there (or STRATUM_ROOT_ACCESS_KEY and STRATUM_ROOT_SECRET_KEY).
    """


@main.command()
@with_store_options
@s3_option
@click.option("--guide", is_flag=True, help="Print how to use it once it is ready.")
@reports_errors
def serve(guide: bool, **options: Any) -> None:
    """Serve S3 in the foreground, without a mount.

    Prints one line beginning with `ready` when it answers. Ctrl-C or SIGTERM finishes what is under way and ends it;
    a second one ends it at once (nothing that was acknowledged is lost either way).

    \b
    Example: two servers on one machine
      stratum serve --data /srv/a --s3 127.0.0.1:9000
      stratum serve --data /srv/b --s3 127.0.0.1:9001
    """
    from stratum.serve.start import start  # only here: the other commands need no engine

    sys.exit(start(load(**options), guide=guide))


@main.command()
@at_server
@json_option
def status(as_json: bool, **options: Any) -> None:
    """Show doors, disks, redundancy and counts of the running server.

    \b
    healthy     every disk in service, every shard in place
    degraded    something is missing; reads and writes go on, redundancy is being restored
    read-only   metadata cannot be committed: look at the log, then restart

    The exit code is 0 when a server answered, whatever it said; with --json, ask for `.state`.
    """
    found = connect(load(**options)).ask("GET", "status")
    click.echo(json.dumps(found, indent=2)) if as_json else show.status(found)


@main.command("console")
@at_server
def console_link(**options: Any) -> None:
    """Print a link that opens the web console, logged in as root. It is good once, for a minute."""
    made = connect(load(**options)).ask("POST", "console")
    click.echo(f"{made['console']}/#ticket={made['ticket']}")


@main.group()
def key() -> None:
    """Create, list and delete access keys.

    A key is an access key and a secret key, as S3 clients know them. The secret is shown once, by `create`.
    Deleting a key takes its access away at once; it deletes no data.
    """


@key.command("create")
@click.argument("name", default="")
@click.option("--user", default="", help="Canonical id of the user it is for; without it, it may do everything.")
@click.option("--access-key", default="", help="Keep this pair, from another store, instead of making one.")
@click.option("--secret-key-file", type=click.File(), help='The secret key of --access-key; "-": standard input.')
@at_server
@json_option
def create_key(name: str, user: str, access_key: str, secret_key_file: Any, as_json: bool, **options: Any) -> None:
    """Make an access key. NAME is a note for you, e.g. the program or person it is for."""
    secret = secret_key_file.read().strip() if secret_key_file is not None else ""
    body = {"name": name, "user": user, "access_key": access_key, "secret_key": secret}
    made = connect(load(**options)).ask("POST", "keys", body)
    if as_json:
        click.echo(json.dumps(made))
        return
    click.echo(f"export AWS_ACCESS_KEY_ID={made['access_key']}")
    click.echo(f"export AWS_SECRET_ACCESS_KEY={made['secret_key']}")
    click.echo("The secret key is shown only this once.", err=True)


@key.command("list")
@at_server
@json_option
def list_keys(as_json: bool, **options: Any) -> None:
    """List the access keys, without their secrets. The root key is not among them."""
    rows = connect(load(**options)).ask("GET", "keys")
    click.echo(json.dumps(rows)) if as_json else show.keys(rows)


@key.command("delete")
@click.argument("access_key")
@at_server
def delete_key(access_key: str, **options: Any) -> None:
    """Take away the access of ACCESS_KEY, at once."""
    connect(load(**options)).ask("DELETE", f"keys/{show.path_segment(access_key)}")
    click.echo(f"deleted {access_key}")


@key.command("metrics")
@with_store_options
@reports_errors
def metrics_key(**options: Any) -> None:
    """Print the bearer token that may read /-/metrics, and nothing else.

    \b
    For prometheus.yml:
      metrics_path: /-/metrics
      authorization: {credentials: <the token>}

    It is derived from the root secret key and changes with it.
    """
    root = root_credential(Path(load(**options).settings.data), os.environ, generate=False)
    click.echo(metrics_token(root.credential))


@main.group()
def bucket() -> None:
    """Create, list and delete buckets (in the mount: the folders at its top)."""


@bucket.command("create")
@click.argument("name")
@at_server
def create_bucket(name: str, **options: Any) -> None:
    """Make the bucket NAME: 3 to 63 lower-case letters, digits, dots and hyphens."""
    connect(load(**options)).ask("POST", "buckets", {"name": name})
    click.echo(f"created {name}")


@bucket.command("list")
@at_server
@json_option
def list_buckets(as_json: bool, **options: Any) -> None:
    """List the buckets, by name."""
    rows = connect(load(**options)).ask("GET", "buckets")
    click.echo(json.dumps(rows)) if as_json else show.buckets(rows)


@bucket.command("delete")
@click.argument("name")
@at_server
def delete_bucket(name: str, **options: Any) -> None:
    """Delete the bucket NAME. Only an empty one: nothing is ever deleted by the way."""
    connect(load(**options)).ask("DELETE", f"buckets/{show.path_segment(name)}")
    click.echo(f"deleted {name}")


@main.group()
def config() -> None:
    """Show the settings: what a start would use, or what a running server uses."""


@config.command("show")
@click.option("--running", is_flag=True, help="Ask the running server, instead of showing what a start would use.")
@at_server
@json_option
def show_config(running: bool, as_json: bool, **options: Any) -> None:
    """Show every setting with its value and where it comes from.

    The output (without --json) is a settings file: save it, change it, start with --config. A line
    `volume_bytes = 67108864` under [limits] is the environment variable STRATUM_LIMITS_VOLUME_BYTES.
    """
    loaded = load(**options)
    values = connect(loaded).ask("GET", "config") if running else as_keys(loaded.settings)
    if as_json:
        click.echo(json.dumps(values, indent=2))
    else:
        show.settings(values, {} if running else loaded.sources)


def connect(loaded: Loaded) -> AdminClient:
    """A client for the server of the store. Raises ClickException if there is none that can be asked."""
    settings = loaded.settings
    holder = holder_of(Path(settings.data))
    if holder is not None and holder.pid and not holder.address:
        raise click.ClickException(
            f"the server of {settings.data} (process {holder.pid}) runs without an S3 endpoint (--s3 none), "
            "so it cannot be asked"
        )
    if holder is not None:
        address, certificate = holder.address, holder.certificate
    elif "s3.address" in loaded.sources and settings.s3_port:
        address, certificate = join_address(settings.s3_host, settings.s3_port), str(settings.tls_certificate or "")
    else:
        raise click.ClickException(f"no server runs on the store in {settings.data} (--data names another)")
    root = root_credential(Path(settings.data), os.environ, generate=False)
    return AdminClient(address, root.credential, settings.region, certificate)


main.add_command(kms_group(connect))
main.add_command(tier_group(connect))
main.add_command(explain_command(connect))
main.add_command(user_group(connect))
main.add_command(policy_group(connect))
main.add_command(role_group(connect))
main.add_command(quota_group(connect))
main.add_command(replication_group(connect))
main.add_command(tenant_group(connect))
main.add_command(disk_group(connect))
main.add_command(replay_command)
