"""Looks for the history of reads that makes the rule look worst, and prints the worst cost / optimum it found.

    python contrib/tiering/adversary.py --prices vm.toml --prices aws.toml --prices own.toml [--seed 1]

Every unit has an adversary of its own that sees the tier the unit is in, and then chooses the day: idle, a full read or
a part of one. It may end the history on any day. Adversaries are random at first; the best of each round are varied.
"""

import json
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import click
import numpy as np

from stratum.core.tiering.costs import access, full_read, holding, moves_from, overnight, read_in_full, worked
from stratum.core.tiering.optimum import at_start
from stratum.core.tiering.policy import Policy
from stratum.core.tiering.prices import TIERS
from stratum.core.tiering.rule import CODE
from stratum.serve.replay_baselines import BASELINES, baseline
from stratum.serve.replay_columns import COLUMNS
from stratum.serve.replay_command import read_book
from stratum.serve.replay_rule import Production
from stratum.serve.replay_run import Evening
from stratum.serve.replay_trace import Trace

SIZES = (1e-6, 1e-3, 0.1, 10.0, 300.0)  # GB
TOGETHER = 50  # units in a group: the advice of each is led astray by others


@dataclass
class Adversaries:
    """Per unit: chance of a read by tier and day since the last change, a clock, a share, an end of kindness."""

    by_tier: np.ndarray  # units x 3: chance of a read when the unit is in that tier
    lag: np.ndarray  # days the unit must have been in its tier before by_tier counts; else the other way round
    period: np.ndarray  # every so many days a read, whatever the tier; 0: never
    share: np.ndarray  # of the bytes
    silent: np.ndarray  # first days without a read

    def rows(self, chosen):
        return Adversaries(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))


def some(rng, count):
    share = np.where(rng.random(count) < 0.7, 1.0, rng.random(count) ** 2)
    return Adversaries(
        by_tier=rng.integers(0, 2, (count, 3)) * (0.7 + 0.3 * rng.integers(0, 2, (count, 1))),
        lag=rng.integers(0, 12, count), period=rng.integers(0, 40, count) * rng.integers(0, 2, count),
        share=share, silent=rng.integers(0, 30, count) * rng.integers(0, 2, count),
    )  # fmt: skip


def varied(rng, parents, count):
    """Children of the parents, each changed a little; a quarter new."""
    child = parents.rows(rng.integers(0, len(parents.lag), count))
    new = some(rng, count)
    for name in child.__dataclass_fields__:
        change = rng.random(count) < 0.25
        getattr(child, name)[change] = getattr(new, name)[change]
    step = rng.integers(-2, 3, count)
    child.lag, child.period = np.maximum(0, child.lag + step), np.maximum(0, child.period + rng.permutation(step))
    return child


def blank(gb):
    count = len(gb)
    return Trace(
        names=[], gb=gb, born=np.zeros(count, dtype=np.int64), prefix=np.zeros(count, dtype=np.int64), prefixes=[""],
        group=np.arange(count) // TOGETHER, groups=count // TOGETHER + 1, first_day=date(2026, 1, 1), days=0, reads=[],
    )  # fmt: skip


def duel(rng, book, rule, gb, against, days, start):
    """Worst over days of: (cost - surprises) / optimum, cost / optimum, and the latter from day 30 on."""
    every, tier, count = np.arange(len(gb)), np.full(len(gb), start), len(gb)
    cost, values, since = np.zeros(count), at_start(gb, start), np.zeros(count)
    surprises = 2 * np.maximum.reduce(full_read(book, gb)) + book.rent[start] * gb
    surprises = surprises + 2 * sum(t.move_in_usd_per_object for t in book.tiers)
    plain, credited, late = np.zeros(count), np.zeros(count), np.zeros(count)
    bound_days = 0
    for step in range(days):
        chance = against.by_tier[every, tier]
        chance = np.where(since >= against.lag, chance, 1 - np.round(chance))
        read = rng.random(count) < chance
        clock = (against.period > 0) & (step % np.maximum(against.period, 1) == 0)
        read = (read | clock) & (step >= against.silent)
        visits, gb_read = read * 1.0, np.where(read, against.share * gb, 0.0)
        cost += np.stack(holding(book, gb), 1)[every, tier] + np.stack(access(book, visits, gb_read), 1)[every, tier]
        values = worked(COLUMNS, book, gb, values, visits, gb_read)
        best = np.minimum(np.minimum(values[0], values[1]), values[2])
        plain, credited = np.maximum(plain, cost / best), np.maximum(credited, (cost - surprises) / best)
        late = np.maximum(late, cost / best) if step >= 30 else late
        at_hand = read_in_full(gb, gb_read)
        moves = moves_from(COLUMNS, book, gb, tier, at_hand)
        target, reason = rule.decide(Evening(step, visits, gb_read, tier, at_hand, np.full(count, True), moves))
        bound_days += int((reason == CODE["BOUND"]).sum())
        values = overnight(COLUMNS, book, gb, values, at_hand)
        cost += np.stack(moves, 1)[every, target]
        since = np.where(target == tier, since + 1, 0)
        tier = target
    return credited, plain, late, bound_days / (count * days)


def search(book, policy, name, seed, rounds, count, days, start, size):
    """The worst found for one size."""
    rng = np.random.default_rng(seed)
    gb = np.full(count, size)
    against, worst = some(rng, count), np.zeros(3)
    for _ in range(rounds):
        trace = blank(gb)
        rule = Production(trace, book, policy, start) if name == "stratum" else baseline(name, trace, book)
        credited, plain, late, acted = duel(rng, book, rule, gb, against, days, start)
        worst = np.maximum(worst, [credited.max(), plain.max(), late.max()])
        against = varied(rng, against.rows(np.argsort(-credited)[: max(10, count // 20)]), count)
    return {"bounded": worst[0], "plain": worst[1], "plain from day 30": worst[2], "guard acted": acted}


@click.command()
@click.option("--prices", "books", multiple=True, required=True, type=click.Path(path_type=str))
@click.option("--seed", default=1, show_default=True)
@click.option("--rounds", default=12, show_default=True)
@click.option("--units", default=2000, show_default=True)
@click.option("--days", default=120, show_default=True)
@click.option("--policy", default="stratum", type=click.Choice(["stratum", *BASELINES]), show_default=True)
@click.option("--bound", default=Policy().bound, show_default=True)
@click.option("--start-tier", default="warm", type=click.Choice(TIERS), show_default=True)
@click.option("--json", "as_json", is_flag=True)
def main(books, seed, rounds, units, days, policy, bound, start_tier, as_json):
    """Print the worst cost / optimum per book and size."""
    found = {}
    for path in books:
        book = read_book(Path(path))
        for size in SIZES:
            at = search(
                book, Policy(bound=bound), policy, seed, rounds, units, days, TIERS.index(start_tier), size
            )  # fmt: skip
            found[f"{book.name} {size:g} GB"] = at
            if not as_json:
                click.echo(f"{book.name:4} {size:8g} GB  " + "  ".join(f"{k} {v:.3f}" for k, v in at.items()))
    if as_json:
        click.echo(json.dumps({"seed": seed, "policy": policy, "found": found}, indent=2, default=float))


if __name__ == "__main__":
    main()
