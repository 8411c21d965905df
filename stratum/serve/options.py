"""What the commands share: where the store and its settings are, and how errors become a line and an exit code.

Room: stratum/serve. May import: core, serve.{admin_client, credentials_file, mountpoint, settings_file, tls}.
"""

import logging
import os
import sys
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import Any, NoReturn

import click

from stratum.core.errors import StratumError
from stratum.serve.admin_client import AdminClient, Refused, Unreachable
from stratum.serve.credentials_file import BadCredentials
from stratum.serve.master_key import BadMasterKey
from stratum.serve.mountpoint import BadMountpoint
from stratum.serve.settings_file import BadSettings, Loaded, load_settings
from stratum.serve.tls import BadCertificate

log = logging.getLogger(__name__)

EXIT_FAILED, EXIT_USAGE, EXIT_BUG = 1, 2, 70  # 70: EX_SOFTWARE of sysexits(3)
NOT_OUR_FAULT = (
    StratumError,
    OSError,
    BadSettings,
    BadCredentials,
    BadMasterKey,
    BadMountpoint,
    BadCertificate,
    Refused,
    Unreachable,
    click.ClickException,
)

Command = Callable[..., Any]
Connect = Callable[[Loaded], AdminClient]
"""Finds the running server of a store."""

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


def with_store_options(command: Command) -> Command:
    """Add --data, --config and --log-level."""
    for option in (
        click.option(
            "--log-level",
            metavar="LEVEL",
            help="debug, info, warning or error. [default: info]",
        ),
        click.option(
            "--config",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            envvar="STRATUM_CONFIG",
            metavar="FILE",
            help="Settings in TOML: disks, code, addresses, limits. Every setting is also an environment "
            "variable, e.g. STRATUM_S3_ADDRESS; 'stratum config show' lists them.",
        ),
        click.option(
            "--data",
            metavar="DIR",
            help="Folder of the store: index, credentials, and the disks if none are named. "
            "[default: /var/lib/stratum as root, else ~/.local/share/stratum]",
        ),
    ):
        command = option(command)
    return command


def s3_option(command: Command) -> Command:
    """Add --s3."""
    return click.option(
        "--s3",
        metavar="HOST:PORT",
        help='Address of the S3 endpoint; port 0 takes any free one; "none": no endpoint. [default: 127.0.0.1:9000]',
    )(command)


def load(
    *,
    data: str | None = None,
    config: str | Path | None = None,
    s3: str | None = None,
    log_level: str | None = None,
    close: str | None = None,
    transport: str | None = None,
) -> Loaded:
    """Read the settings, options over environment over file over defaults. Raises BadSettings."""
    given = {
        "store.data": data,
        "s3.address": s3,
        "log.level": log_level,
        "mount.close": close,
        "mount.transport": transport,
    }
    return load_settings(Path(config) if config else None, os.environ, given)


def reports_errors(command: Command) -> Command:
    """What the world did wrong becomes one line `error: ...` and exit code 1; what we did wrong, a traceback and 70."""

    @wraps(command)
    def reporting(*arguments: Any, **named: Any) -> Any:
        try:
            return command(*arguments, **named)
        except BrokenPipeError:  # who reads what we print has seen enough: click ends without a word
            raise
        except (*NOT_OUR_FAULT, BaseExceptionGroup) as error:
            _report(error)

    return reporting


def at_server(command: Command) -> Command:
    """Of a command that asks the running server: the options that find it, and errors as `reports_errors` has them."""
    return with_store_options(s3_option(reports_errors(command)))


def _report(error: BaseException) -> NoReturn:
    leaves = list(_leaves(error))
    bugs = [leaf for leaf in leaves if not isinstance(leaf, NOT_OUR_FAULT)]
    if bugs and not all(isinstance(leaf, KeyboardInterrupt) for leaf in bugs):
        log.critical("a bug in Stratum ended the process", exc_info=error)
        sys.exit(EXIT_BUG)
    for leaf in leaves:
        if isinstance(leaf, click.UsageError):  # with the usage line above it
            leaf.show()
            sys.exit(EXIT_USAGE)
        click.echo(f"error: {describe(leaf)}", err=True)
    sys.exit(EXIT_USAGE if isinstance(leaves[0], BadSettings) else EXIT_FAILED)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            yield from _leaves(part)
    else:
        yield error


def describe(error: BaseException) -> str:
    """What happened, in words for the operator."""
    if isinstance(error, click.ClickException):
        return error.format_message()
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error) or type(error).__name__
