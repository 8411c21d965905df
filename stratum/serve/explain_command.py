"""`stratum explain`, `stratum tier report` and `stratum tier policy`: why data is where it is, and what that came to.

Room: stratum/serve. May import: serve.{options, show}.
"""

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import click
from rich.filesize import decimal

from stratum.serve import show
from stratum.serve.options import Connect, at_server, json_option, load

TURNS_SHOWN = 6


def explain_command(connect: Connect) -> click.Command:
    """The command `stratum explain`. `connect`: finds the running server of a store."""

    @click.command("explain")
    @click.argument("object_url", metavar="s3://BUCKET/KEY")
    @click.option("--at", default="", metavar="TIME", help="As of then: 2026-11-20T12:00:00Z, or seconds since 1970.")
    @click.option("--version-id", "version", default="", help="Of a version that is not the current one.")
    @at_server
    @json_option
    def explain(object_url: str, at: str, version: str, as_json: bool, **options: Any) -> None:
        """Say why an object is in the tier it is in, what each tier would cost, and what would change it.

        With --json, every number is there: the decision can be made again from nothing else. Asking is no access.

        \b
        Example:
          stratum explain s3://films/old.mkv
        """
        bucket, _, key = object_url.removeprefix("s3://").partition("/")
        if not object_url.startswith("s3://") or not bucket or not key:
            raise click.ClickException(f"{object_url!r} is not s3://BUCKET/KEY")
        body = {"bucket": bucket, "key": key, "version": version, "at": at}
        found = connect(load(**options)).ask("POST", "tiers/explain", body)
        click.echo(json.dumps(found, indent=2)) if as_json else _print(found)

    return explain


def _print(found: Mapping[str, Any]) -> None:
    parts = found["parts"]
    count = found["parts_in_all"]
    where = f"in {count} volume{'' if count == 1 else 's'}" if count else "in the index"
    click.echo(f"{found['tier']}, {decimal(found['size'])} {where}; deciding: {found['mode']}")
    if not parts:
        click.echo(f"  {found['sentence']}")
    same: dict[str, list[Mapping[str, Any]]] = {}
    for part in parts:
        same.setdefault(part["sentence"], []).append(part)
    for sentence, group in same.items():
        first = group[0]
        where = ", ".join(f"{decimal(each['from'])} to {decimal(each['to'])}" for each in group[:3])
        more = f" and {len(group) - 3} more" if len(group) > 3 else ""
        shares = f", in a volume of {decimal(first['volume_bytes'])} that it shares" if first.get("shared") else ""
        click.echo(f"\n{where}{more}{shares}: {first.get('state', '')}, since {_time(first.get('since', 0))}")
        click.echo(f"  {sentence}")
        _print_costs(first)
        _print_history(first)


def _print_costs(part: Mapping[str, Any]) -> None:
    if not part.get("costs"):
        return
    money = part.get("currency", "")
    lines = [
        (each["tier"], *(f"{each[name]:.3g}" for name in ("month", "storage", "reads", "waiting", "move")))
        for each in part["costs"]
    ]
    show.rows(("  TIER", f"{money} A MONTH", "STORAGE", "READS", "WAITING", "MOVE THERE"), [
        (f"  {tier}", *rest) for tier, *rest in lines
    ])  # fmt: skip
    if part.get("shared"):
        click.echo("  of the whole volume, for it moves as one")
    if part.get("constraints"):
        click.echo(f"  held back by {', '.join(part['constraints'])}; price alone: {part['wished']}")
    if "next_look_day" in part:
        click.echo(f"  next look: {date(1970, 1, 1) + timedelta(days=part['next_look_day'])}, or when it is read")


def _print_history(part: Mapping[str, Any]) -> None:
    for each in part["history"][-TURNS_SHOWN:]:
        done = "moved" if each["done"] else "observed" if each["observed"] else "decided"
        way = f"{each['from']} to {each['to']}" if each["from"] != each["to"] else f"stays {each['to']}"
        word = "saved" if each["realised"] >= 0 else "cost, net,"
        told = each["done"] and each["from"] != each["to"]
        saved = f"; {word} {abs(each['realised']):.3g} so far" if told else ""
        click.echo(f"  {_time(each['time'])}  {done}: {way}, {each['reason']} (by {each['by']}){saved}")


def _time(time_ns: int) -> str:
    if not time_ns:
        return "it was written"
    return datetime.fromtimestamp(time_ns // 10**9, UTC).strftime("%Y-%m-%d %H:%M")


def report_command(connect: Connect) -> click.Command:
    """The command `stratum tier report`."""

    @click.command("report")
    @click.option("--weeks", default=4, show_default=True, help="How many weeks to show.")
    @at_server
    @json_option
    def report(weeks: int, as_json: bool, **options: Any) -> None:
        """Show what tiering cost last week, the best possible in hindsight, and which moves are regretted.

        Costs are those of the price book. Regret is cost divided by the optimum: 1 cannot be beaten. A move that is to
        pay over weeks makes its own week dear: look at several.
        """
        found = connect(load(**options)).ask("GET", "tiers/report")
        if as_json:
            click.echo(json.dumps(found, indent=2))
            return
        chosen = found["weeks"][: weeks * 7 : 7]
        if not chosen:
            click.echo(f"nothing to report yet; deciding: {found['mode']}")
            return
        _print_weeks(chosen)
        _print_hints(found.get("hints", {}))

    return report


def _print_hints(hints: Mapping[str, Mapping[str, Any]]) -> None:
    """Were hints of any use?"""
    for word, each in hints.items():
        words = f"{each['reads_said']:.3g} full reads said, {each['reads_without']:.3g} without it"
        click.echo(
            f"hint {word}: {words}, {each['reads_seen']:.3g} came, in {each['days']:.0f} days of volumes: "
            f"{'it helps' if each['helps'] else 'it misleads'}"
        )


def _print_weeks(weeks: list[Mapping[str, Any]]) -> None:
    show.rows(
        ("7 DAYS TO", "COST", "RENT", "READS", "MOVES", "OPTIMUM", "REGRET", "48 H RULE", "NO MOVES", "GB MOVED/GB"),
        [
            (
                str(date(1970, 1, 1) + timedelta(days=each["last"])),
                *(f"{each[name]:.4g}" for name in ("cost", "rent", "reading", "moving", "optimum")),
                f"{each['regret']:.3f}",
                *(f"{each[name]:.4g}" for name in ("forty_eight", "do_nothing")),
                f"{each['gb_moved'] / each['gb'] if each['gb'] else 0:.2f}",
            )
            for each in weeks
        ],
    )
    last = weeks[0]
    share = "" if last["sampled"] == 1 else f", of a sample of {last['sampled']:.1%} of the volumes"
    click.echo(f"\nin {last['currency']}{share}; decisions regretted: {last['regrets']}")
    for each in last["regretted"]:
        click.echo(f"  {each['lost']:.3g}  {each['source']} to {each['target']}, {each['reason']}: {each['name']}")


def policy_command(connect: Connect) -> click.Command:
    """The command `stratum tier policy`."""

    @click.command("policy")
    @click.argument("bucket")
    @click.option(
        "--mode", type=click.Choice(("auto", "observe", "off", "default")), help="Decide, only explain, or not."
    )
    @click.option("--pin", type=click.Choice(("hot", "warm", "cold", "none")), help="All of it stays in this tier.")
    @click.option("--no-cold/--cold", "no_cold", default=None, help="Nothing of it goes to a remote tier, or may.")
    @click.option("--max-latency", type=float, metavar="MS", help="No tier whose first byte takes longer; 0: any.")
    @click.option("--clear", is_flag=True, help="Forget what the bucket said.")
    @at_server
    @json_option
    def policy(
        bucket: str, mode: str | None, pin: str | None, no_cold: bool | None, max_latency: float | None, clear: bool,
        as_json: bool, **options: Any,
    ) -> None:  # fmt: skip
        """Show or set what BUCKET wishes of tiering. Objects may say more: x-amz-meta-stratum-pin, stratum-hint."""
        client, path = connect(load(**options)), f"tiers/policy/{show.path_segment(bucket)}"
        if clear:
            client.ask("DELETE", path)
        said = {
            "mode": "" if mode == "default" else mode, "pin": "" if pin == "none" else pin,
            "no_cold": no_cold, "max_latency_ms": max_latency,
        }  # fmt: skip
        body = {name: value for name, value in said.items() if value is not None}
        found = client.ask("PUT", path, body) if body else client.ask("GET", path)
        if as_json:
            click.echo(json.dumps(found))
            return
        for name, value in found.items():
            click.echo(f"{name:16} {value or 'not set'}")

    return policy
