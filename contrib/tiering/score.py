"""The tables of docs/tiering.md: every policy on a trace, per prefix, and how the score changes around each parameter.

    python contrib/tiering/score.py FOLDER --prices vm.toml --prices aws.toml --prices own.toml [--sensitivity]

FOLDER holds inventory.csv(.gz) and events.csv(.gz). Only figures are printed, nothing of the trace is kept.
"""

from math import exp, log
from pathlib import Path

import click
import msgspec

from stratum.core.tiering.policy import Policy
from stratum.core.tiering.prices import TIERS
from stratum.serve.replay_baselines import BASELINES
from stratum.serve.replay_command import read_book
from stratum.serve.replay_report import BEST, PRODUCTION, SINGLE, STATIC, Cell, figures, in_hindsight, made
from stratum.serve.replay_run import optimum, replay
from stratum.serve.replay_trace import assembled, read_events, read_inventory

AROUND = {
    "prior_rate": (0.02, 0.025, 0.04, 0.05), "leave_days": (30, 45, 90), "rise_days": (7, 10, 15, 30, 60),
    "group_days": (20, 30, 45, 90), "half_life_days": (30, 45, 60, 180), "horizon_days": (15, 30, 60, 180),
    "habit_days": (1, 2, 8), "margin": (0, 0.3), "warm_up_share": (0, 0.25, 0.5), "residence_share": (0, 0.25, 1),
    "brake_reads": (0, 1, 3), "sweep_credit": (0, 0.5), "bound": (0, 2, 2.5, 4), "credit_days": (0.5, 1, 3),
}  # fmt: skip


def found_file(folder, stem):
    return next(path for path in (folder / f"{stem}.csv.gz", folder / f"{stem}.csv") if path.exists())


def mean(values):
    return exp(sum(map(log, values)) / len(values))


def halves(found):
    """Geometric mean over books and the prefixes with odd and with even index, in sorted order from 0."""
    every = [list(book["prefixes"].values()) for book in found["books"].values()]
    odd, even = [v for row in every for v in row[1::2]], [v for row in every for v in row[::2]]
    return mean(odd or [1.0]), mean(even)


def row(name, found):
    books = found["books"].values()
    cells = " | ".join(f"{book['regret']:.3f}" for book in books)
    odd, even = halves(found)
    moved = " / ".join(f"{book['gb_moved_per_gb']:.2f}" if "moves" in book else "" for book in books)
    flips = " / ".join(f"{book['flip_flops']}" if "moves" in book else "" for book in books)
    cold = " / ".join(f"{100 * book['cold_read_share']:.0f}" if "moves" in book else "" for book in books)
    means = f"{found['regret']:.3f} | {found['regret_prefixes_equal']:.3f} | {odd:.3f} | {even:.3f}"
    return f"| {name} | {cells} | {means} | {moved} | {flips} | {cold} |"


@click.command()
@click.argument("folder", type=click.Path(exists=True, path_type=Path))
@click.option("--prices", "paths", multiple=True, required=True, type=click.Path(path_type=Path))
@click.option("--start-tier", default="warm", type=click.Choice(TIERS))
@click.option("--sensitivity", is_flag=True)
def main(folder, paths, start_tier, sensitivity):
    """Print tables in Markdown."""
    trace = assembled(
        read_inventory(found_file(folder, "inventory")), read_events(found_file(folder, "events"), lambda _: None)
    )
    books, start = [read_book(path) for path in paths], TIERS.index(start_tier)
    best = {book.name: [Cell(BEST, optimum(trace, book, start), None)] for book in books}

    def run(name, policy):
        cells = {}
        for book in books:
            ran = replay(trace, book, made(name, trace, book, policy, start), start)
            cells[book.name] = [*best[book.name], Cell(name, ran.cost, ran)]
        return cells

    names = " | ".join(best)
    head = f"| policy | {names} | geomean | prefixes equal | odd | even | GB moved / GB | flip-flops | cold reads % |"
    click.echo(f"{head}\n|{'---|' * (head.count('|') - 1)}")
    runs = {name: run(name, Policy()) for name in (PRODUCTION, *BASELINES)}
    single = {b: [best[b][0], *in_hindsight([runs[n][b][1] for n in BASELINES[:3]])] for b in best}
    for name, cells in ((STATIC, single), (SINGLE, single), *runs.items()):
        click.echo(row(name, figures(trace, cells, name)))
    click.echo(f"\n| prefix | {' | '.join(f'{b} ({n})' for b in best for n in ('stratum', 'best single'))} |")
    click.echo(f"|{'---|' * (1 + 2 * len(best))}")
    ours = figures(trace, runs[PRODUCTION], PRODUCTION)
    theirs = {b: _best_per_prefix(trace, [best[b][0], *(runs[n][b][1] for n in BASELINES[:3])]) for b in best}
    for prefix in trace.prefixes:
        pairs = (f"{ours['books'][b]['prefixes'][prefix]:.3f} | {theirs[b][prefix]:.3f}" for b in best)
        click.echo(f"| {prefix or '(none)'} | {' | '.join(pairs)} |")
    for field, values in AROUND.items() if sensitivity else ():
        for value in values:
            policy = msgspec.structs.replace(Policy(), **{field: value})
            click.echo(row(f"{field} = {value}", figures(trace, run(PRODUCTION, policy), PRODUCTION)))


def _best_per_prefix(trace, cells):
    """The regret of the single tier that is best for each prefix, in hindsight."""
    total = [[float(cell.cost[trace.prefix == at].sum()) for at in range(len(trace.prefixes))] for cell in cells]
    return {name: min(c[at] for c in total[1:]) / (total[0][at] or 1.0) for at, name in enumerate(trace.prefixes)}


if __name__ == "__main__":
    main()
