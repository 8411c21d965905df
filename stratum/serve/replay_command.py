"""`stratum replay`: what policies would have cost on a trace, beside the best that was possible.

Room: stratum/serve. May import: core.tiering, serve.{options, replay_report}.
"""

import tomllib
from pathlib import Path

import click
import msgspec

from stratum.core.tiering.policy import Policy
from stratum.core.tiering.prices import TIERS, PriceBook
from stratum.serve.options import json_option

PRODUCTION = "stratum"
_file = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("replay")
@click.option("--inventory", required=True, type=_file, help="CSV (or .gz): object,size_bytes,created,content_type.")
@click.option("--events", type=_file, help="CSV (or .gz): time,object,op,bytes. GET is a read.")
@click.option("--log", "logs", type=_file, multiple=True, help="S3 server access log, instead of --events.")
@click.option("--prices", "books", required=True, type=_file, multiple=True, help="A price book (TOML).")
@click.option("--policy", "names", multiple=True, help="A policy, or `all`. Default: stratum.  [see below]")
@click.option("--set", "changes", multiple=True, metavar="NAME=NUMBER", help="Change a parameter of stratum's policy.")
@click.option(
    "--start-tier", type=click.Choice(TIERS), default="warm", show_default=True, help="Where every object begins."
)
@click.option("--moves-out", type=click.Path(dir_okay=False, path_type=Path), help="CSV: time,object,from,to,reason.")
@json_option
def replay_command(
    inventory: Path, events: Path | None, logs: tuple[Path, ...], books: tuple[Path, ...], names: tuple[str, ...],
    changes: tuple[str, ...], start_tier: str, moves_out: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Replay a history of reads: what each policy would have cost, and the best possible in hindsight.

    \b
    The policy `stratum` is the function that a running server decides with, fed day by day. Others, to compare with:
      always-hot always-warm always-cold 48h-96h intelligent-tiering ski-rental second-read
      moving-average gamma-poisson

    Regret is cost divided by the cheapest possible sequence of tiers, known in hindsight: 1 cannot be beaten.

    \b
    Example:
      stratum replay --inventory inventory.csv --events events.csv --prices book.toml --policy stratum --policy 48h-96h
    """
    try:
        from stratum.serve.replay_report import Wanted, report  # only here: numpy is an extra
    except ModuleNotFoundError as missing:
        if missing.name != "numpy":
            raise
        raise click.ClickException("replay needs numpy: pip install 'stratum[replay]'") from None
    if (events is None) == (not logs):
        raise click.UsageError("give --events, or one or more --log")
    report(
        Wanted(
            inventory=inventory,
            events=events,
            logs=logs,
            books=tuple(read_book(path) for path in books),
            names=names or (PRODUCTION,),
            policy=changed(Policy(), changes),
            start=TIERS.index(start_tier),
            moves_out=moves_out,
            as_json=as_json,
        )
    )


def read_book(path: Path) -> PriceBook:
    """A price book. Raises ClickException that says what is wrong with the file."""
    try:
        return msgspec.convert(tomllib.loads(path.read_text("utf-8")), PriceBook)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as wrong:
        raise click.ClickException(f"{path}: {wrong}") from None


def changed(policy: Policy, changes: tuple[str, ...]) -> Policy:
    """The policy with parameters set by `name=number`. Raises UsageError."""
    values: dict[str, str] = {}
    for change in changes:
        name, equals, value = change.partition("=")
        if not equals or name not in Policy.__struct_fields__ or name in ("name", "version"):
            raise click.UsageError(f"--set {change}: no such parameter; docs/tiering.md lists them")
        values[name] = value
    try:
        fields = {**msgspec.structs.asdict(policy), **values}
        return msgspec.convert(fields, Policy, strict=False)
    except msgspec.ValidationError as wrong:
        raise click.UsageError(f"--set: {wrong}") from None
