"""Runs what `stratum replay` was asked for, with progress, and prints it.

Room: stratum/serve. May import: core.tiering, serve.{replay_*, show}.
"""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from math import exp, log
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from stratum.core.tiering.policy import Policy
from stratum.core.tiering.prices import TIERS, PriceBook
from stratum.serve import show
from stratum.serve.replay_baselines import BASELINES, baseline
from stratum.serve.replay_log import read_logs
from stratum.serve.replay_rule import Production
from stratum.serve.replay_run import Rule, Run, optimum, replay
from stratum.serve.replay_trace import Trace, assembled, read_events, read_inventory

PRODUCTION = "stratum"
STATIC, SINGLE, BEST = "static-per-object", "best-single-tier", "optimum"
_ALWAYS = ("always-hot", "always-warm", "always-cold")


@dataclass(frozen=True)
class Wanted:
    """What was asked for on the command line."""

    inventory: Path
    events: Path | None
    logs: tuple[Path, ...]
    books: tuple[PriceBook, ...]
    names: tuple[str, ...]
    policy: Policy
    start: int
    moves_out: Path | None
    as_json: bool


@dataclass(frozen=True)
class Cell:
    """One policy under one price book."""

    policy: str
    cost: np.ndarray  # per unit
    run: Run | None  # none for what is made of other runs


Cells = dict[str, list[Cell]]  # by book


def report(wanted: Wanted) -> None:
    """Replay and print. Raises ClickException."""
    names = _names(wanted.names)
    with _progress() as progress:
        trace = _load(wanted, progress)
        found: Cells = {}
        rules = [*dict.fromkeys([*names, *_ALWAYS])]
        task = progress.add_task("replaying", total=len(wanted.books) * (len(rules) + 1) * trace.days)
        for book in wanted.books:
            cells = found.setdefault(_title(book, found), [])
            best = optimum(trace, book, wanted.start, lambda: progress.advance(task))
            cells.append(Cell(BEST, best, None))
            for name in rules:
                listing = wanted.moves_out is not None and name in names
                rule = made(name, trace, book, wanted.policy, wanted.start)
                run = replay(
                    trace, book, rule, wanted.start, listing=listing, passed=lambda: progress.advance(task)
                )  # fmt: skip
                cells.append(Cell(name, run.cost, run))
                if listing and wanted.moves_out is not None:
                    alone = len(names) * len(wanted.books) == 1
                    _write_moves(_moves_path(wanted.moves_out, name, book, alone), trace, run, rule)
            cells[1:1] = in_hindsight(cells)
    shown = [BEST, STATIC, SINGLE, *names]
    _print_json(trace, found, shown) if wanted.as_json else _print(trace, found, shown)


def made(name: str, trace: Trace, book: PriceBook, policy: Policy, start: int) -> Rule:
    """The policy of that name."""
    return Production(trace, book, policy, start) if name == PRODUCTION else baseline(name, trace, book)


def _names(wanted: tuple[str, ...]) -> list[str]:
    names = [PRODUCTION, *BASELINES] if "all" in wanted else [*dict.fromkeys(wanted)]
    for name in names:
        if name not in (PRODUCTION, *BASELINES):
            raise click.UsageError(f"--policy {name}: one of {', '.join((PRODUCTION, *BASELINES))}, or all")
    return names


def _title(book: PriceBook, taken: Cells) -> str:
    return book.name if book.name not in taken else f"{book.name}-{len(taken) + 1}"


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        console=Console(stderr=True), transient=True,
    )  # fmt: skip


def _load(wanted: Wanted, progress: Progress) -> Trace:
    task = progress.add_task("reading", total=None)

    def advance(lines: int) -> None:
        progress.advance(task, lines)

    inventory = read_inventory(wanted.inventory)
    events: Iterator = read_events(wanted.events, advance) if wanted.events else read_logs(wanted.logs, advance)
    trace = assembled(inventory, events)
    progress.update(task, total=trace.events, completed=trace.events)
    return trace


def in_hindsight(cells: list[Cell]) -> list[Cell]:
    """Yardsticks made of the three runs that stay in one tier: per unit, and for all."""
    single = [cell.cost for cell in cells if cell.policy in _ALWAYS]
    return [
        Cell(STATIC, np.minimum(np.minimum(single[0], single[1]), single[2]), None),
        Cell(SINGLE, min(single, key=lambda cost: float(cost.sum())), None),
    ]


def _mean(values: list[float]) -> float:
    """Geometric."""
    return exp(sum(log(value) for value in values) / len(values))


def _regret(cost: np.ndarray, best: np.ndarray) -> float:
    total = float(best.sum())
    return float(cost.sum()) / total if total else 1.0


def figures(trace: Trace, cells: Cells, policy: str) -> dict[str, Any]:
    """Everything reported of one policy, over all books."""
    per_book: dict[str, Any] = {}
    for title, found in cells.items():
        best = found[0].cost
        cell = next(cell for cell in found if cell.policy == policy)
        prefixes = {
            name: _regret(cell.cost[trace.prefix == at], best[trace.prefix == at])
            for at, name in enumerate(trace.prefixes)
        }
        per_book[title] = {"cost": float(cell.cost.sum()), "regret": _regret(cell.cost, best), "prefixes": prefixes}
        if cell.run:
            run = cell.run
            per_book[title] |= {
                "rent": run.rent, "reading": run.reading, "moving": run.moving,
                "gb_moved_per_gb": run.gb_moved / float(trace.gb.sum() or 1.0), "moves": run.moves,
                "flip_flops": run.flip_flops, "cold_read_share": run.cold_share,
            }  # fmt: skip
    regrets = [book["regret"] for book in per_book.values()]
    every = [value for book in per_book.values() for value in book["prefixes"].values()]
    return {
        "regret": _mean(regrets), "worst": max(regrets), "regret_prefixes_equal": _mean(every), "books": per_book,
    }  # fmt: skip


def _print_json(trace: Trace, cells: Cells, shown: list[str]) -> None:
    of_trace = {
        "objects": len(trace.names), "gb": float(trace.gb.sum()), "days": trace.days, "events": trace.events,
        "events_of_unknown_objects": trace.unknown,
    }  # fmt: skip
    found = {name: figures(trace, cells, name) for name in shown}
    click.echo(json.dumps({"trace": of_trace, "policies": found}, indent=2))


def _print(trace: Trace, cells: Cells, shown: list[str]) -> None:
    click.echo(
        f"{len(trace.names)} objects, {trace.gb.sum():,.1f} GB, {trace.events} reads in {trace.days} days"
        + (f" ({trace.unknown} of objects that the inventory lacks, left out)" if trace.unknown else "")
    )
    for title in cells:
        click.echo(f"\nprice book {title}")
        show.rows(
            ("POLICY", "COST", "REGRET", "RENT", "READS", "MOVES", "GB MOVED/GB", "COLD READS %", "FLIP-FLOPS"),
            [_line(name, figures(trace, cells, name)["books"][title]) for name in shown],
        )
    click.echo("\nregret, per book and prefix")
    found = {name: figures(trace, cells, name) for name in shown}
    columns = [(title, prefix) for title in cells for prefix in trace.prefixes[:_MOST_PREFIXES]]
    show.rows(("BOOK", "PREFIX", *(name.upper() for name in shown[1:])), [
        (title, prefix or "(none)", *(f"{found[name]['books'][title]['prefixes'][prefix]:.3f}" for name in shown[1:]))
        for title, prefix in columns
    ])  # fmt: skip
    if len(trace.prefixes) > _MOST_PREFIXES:
        click.echo(f"({len(trace.prefixes) - _MOST_PREFIXES} more prefixes: --json shows all)")
    click.echo("\nover all books")
    show.rows(("POLICY", "REGRET (GEOMETRIC MEAN)", "WORST BOOK", "PREFIXES EQUAL"), [
        (name, f"{f['regret']:.3f}", f"{f['worst']:.3f}", f"{f['regret_prefixes_equal']:.3f}")
        for name, f in found.items()
    ])  # fmt: skip


_MOST_PREFIXES = 20


def _line(name: str, f: dict[str, Any]) -> tuple[str, ...]:
    head = (name, f"{f['cost']:,.4g}" if f["cost"] < 100 else f"{f['cost']:,.2f}", f"{f['regret']:.3f}")
    if "rent" not in f:
        return (*head, "", "", "", "", "", "")
    money = tuple(f"{f[part]:,.4g}" for part in ("rent", "reading", "moving"))
    share = f"{100 * f['cold_read_share']:.1f}"
    return (*head, *money, f"{f['gb_moved_per_gb']:.2f}", share, str(f["flip_flops"]))


def _moves_path(path: Path, policy: str, book: PriceBook, alone: bool) -> Path:
    return path if alone else path.with_name(f"{path.stem}.{policy}.{book.name}{path.suffix}")


def _write_moves(path: Path, trace: Trace, run: Run, rule: Rule) -> None:
    """Every move as `time,object,from,to,reason`; the time is the last second of the day that decided it."""
    with path.open("w", newline="", encoding="utf-8") as target:
        rows = csv.writer(target)
        rows.writerow(("time", "object", "from", "to", "reason"))
        for step, units, before, after, reasons in run.listed:
            time = f"{trace.first_day + timedelta(days=step)}T23:59:59Z"
            for unit, f, g, why in zip(units, before, after, reasons, strict=True):
                rows.writerow((time, trace.names[unit], TIERS[f], TIERS[g], rule.reasons[why]))
