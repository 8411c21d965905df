"""Looks for the history of reads that makes the rule look worst, and prints the worst cost / optimum it found.

    python contrib/tiering/adversary.py --prices vm.toml --prices aws.toml --prices own.toml [--seed 1]

Every unit has an adversary of its own that sees each decision, and then chooses the day: idle, a full read or a part of
one. It may end the history on any day. Two kinds:

    habits    chances by tier and days since the last move, a clock, a share; at random first, then by local search:
              the best of each round are varied
    informed  tries every kind of day on a copy of the rule, and takes what gains most: the day's cost less 3 times the
              optimum's growth, and what game.py says the state it leads to is worth
"""

import copy
import json
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import click
import numpy as np
from game import Game

from stratum.core.tiering.costs import access, holding, moves_from, overnight, read_in_full, worked
from stratum.core.tiering.guard import additive_of
from stratum.core.tiering.optimum import at_start
from stratum.core.tiering.policy import Policy
from stratum.core.tiering.prices import TIERS, PriceBook, ThreeTiers, TierPrice
from stratum.core.tiering.rule import CODE
from stratum.serve.replay_columns import COLUMNS
from stratum.serve.replay_command import read_book
from stratum.serve.replay_rule import Production
from stratum.serve.replay_run import Evening
from stratum.serve.replay_trace import Trace

SIZES = (1e-6, 1e-3, 1e-2, 0.1, 10.0, 300.0)  # GB
TOGETHER = 50  # units in a group: the advice of each is led astray by others
KINDS = ((0, 0.0), (1, 1.0), (1, 0.02), (1, 0.5), (1, 0.98))  # days: visits, share of the bytes
LATE = 30


@dataclass
class Habits:
    """Per unit: chance of a read by tier and day since the last change, a clock, a share, an end of kindness."""

    by_tier: np.ndarray  # units x 3: chance of a read when the unit is in that tier
    lag: np.ndarray  # days the unit must have been in its tier before by_tier counts; else the other way round
    period: np.ndarray  # every so many days a read, whatever the tier; 0: never
    share: np.ndarray  # of the bytes
    silent: np.ndarray  # first days without a read

    def rows(self, chosen):
        return Habits(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))

    def day(self, rng, duel, step):
        chance = self.by_tier[duel.every, duel.tier]
        chance = np.where(duel.since >= self.lag, chance, 1 - np.round(chance))
        clock = (self.period > 0) & (step % np.maximum(self.period, 1) == 0)
        read = ((rng.random(len(chance)) < chance) | clock) & (step >= self.silent)
        return read * 1.0, np.where(read, self.share, 0.0)


def some(rng, count):
    share = np.where(rng.random(count) < 0.7, 1.0, rng.random(count) ** 2)
    return Habits(
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


class Informed:
    """Each unit believes in the game's values to a degree of its own, is a little blind, and quiet at first."""

    def __init__(self, rng, game, count):
        found = (game.values(ratio) for ratio in (3.0, 4.0, 6.0, 10.0, 20.0))
        self.value = next((value for value in found if value is not None), np.zeros((3, len(game.start))))
        self.game, self.belief, self.blind = game, rng.random(count) * 1.5, rng.random(count) ** 3
        self.silent = rng.integers(0, 60, count) * rng.integers(0, 2, count)

    def day(self, rng, duel, step):
        gains = np.stack([self._gain(duel, kind, step) for kind in KINDS])
        best = np.where(rng.random(len(duel.tier)) < self.blind / 4, rng.integers(0, len(KINDS)), gains.argmax(0))
        best = np.where(step < self.silent, 0, best)
        return tuple(np.array(KINDS)[best].T)

    def _gain(self, duel, kind, step):
        after = duel.after(np.full(len(duel.tier), float(kind[0])), np.full(len(duel.tier), kind[1]), step)
        left = np.stack(after.values, axis=1)
        least = left.min(1, keepdims=True)
        corners, weights = self.game.near(left - least)
        worth = (self.value[after.tier[:, None], corners] * weights).sum(1)
        return after.cost - duel.cost - 3.0 * (after.best - duel.best) + self.belief * worth


@dataclass
class Duel:
    """Where all units of one size stand."""

    book: PriceBook
    gb: np.ndarray
    rule: Production
    tier: np.ndarray
    values: tuple
    cost: np.ndarray
    best: np.ndarray
    since: np.ndarray
    acted: int = 0

    @property
    def every(self):
        return np.arange(len(self.gb))

    def after(self, visits, share, step):
        """A day later, the rule having decided; this one stays as it is."""
        rule = copy.copy(self.rule)
        rule._groups = list(rule._groups)
        gb_read, every = share * self.gb, self.every
        held, read = (np.stack(c, 1)[every, self.tier] for c in (
            holding(self.book, self.gb), access(self.book, visits, gb_read)))  # fmt: skip
        values = worked(COLUMNS, self.book, self.gb, self.values, visits, gb_read)
        best, hand = np.minimum(np.minimum(*values[:2]), values[2]), read_in_full(self.gb, gb_read)
        moves = moves_from(COLUMNS, self.book, self.gb, self.tier, hand)
        tier, reason = rule.decide(Evening(step, visits, gb_read, self.tier, hand, every >= 0, moves))
        return Duel(
            self.book, self.gb, rule, tier, overnight(COLUMNS, self.book, self.gb, values, hand),
            self.cost + held + read + np.stack(moves, 1)[every, tier], best,
            np.where(tier == self.tier, self.since + 1, 0), int((reason == CODE["BOUND"]).sum()),
        )  # fmt: skip


def blank(gb):
    count = len(gb)
    return Trace(
        names=[], gb=gb, born=np.zeros(count, dtype=np.int64), prefix=np.zeros(count, dtype=np.int64), prefixes=[""],
        group=np.arange(count) // TOGETHER, groups=count // TOGETHER + 1, first_day=date(2026, 1, 1), days=0, reads=[],
    )  # fmt: skip


def fought(rng, book, policy, size, against, count, days, start):
    """Worst per unit over days of: (cost - additive part) / optimum, cost / optimum, the latter from day 30 on."""
    gb, zero = np.full(count, size), np.zeros(count)
    rule = Production(blank(gb), book, policy, start)
    duel = Duel(book, gb, rule, np.full(count, start), at_start(gb, start), zero, zero, zero)
    additive, bounded, plain, late, acted = additive_of(book, size, start, policy), zero, zero, zero, 0
    for step in range(days):
        duel = duel.after(*against.day(rng, duel, step), step)
        bounded, plain = (
            np.maximum(bounded, (duel.cost - additive) / duel.best),
            np.maximum(plain, duel.cost / duel.best),
        )
        late = np.maximum(late, duel.cost / duel.best) if step >= LATE else late
        acted += duel.acted
    return bounded, plain, late, acted / (count * days)


def search(book, policy, seed, rounds, count, days, start, size):
    """The worst found for one size."""
    rng = np.random.default_rng(seed)
    against, worst, share = some(rng, count), np.zeros(3), 0.0
    for _ in range(rounds):
        *found, acted = fought(rng, book, policy, size, against, count, days, start)
        worst, share = np.maximum(worst, [each.max() for each in found]), max(share, acted)
        against = varied(rng, against.rows(np.argsort(-found[0])[: max(10, count // 20)]), count)
    few = max(TOGETHER, count // 5)
    *found, acted = fought(rng, book, policy, size, Informed(rng, Game(book, size, points=24), few), few, days, start)
    worst, share = np.maximum(worst, [each.max() for each in found]), max(share, acted)
    return {"bounded": worst[0], "plain": worst[1], "plain from day 30": worst[2], "guard acted": share}


def any_book(rng, number):
    """A book at random in which rents fall and reads get dearer from tier to tier, and nobody is paid to wait."""
    rents, reads = np.sort(10 ** rng.uniform(-3, -1, 3))[::-1], np.sort(10 ** rng.uniform(-4, -1.3, 3))
    tiers = [
        TierPrice(storage_usd_per_gb_month=float(rent), retrieval_usd_per_gb=float(read),
                  write_usd_per_gb=float(10 ** rng.uniform(-6, -3)))
        for rent, read in zip(rents, reads, strict=True)
    ]  # fmt: skip
    return PriceBook(name=f"any{number}", tier=ThreeTiers(*tiers), waiting_usd_per_hour=0.0)


@click.command()
@click.option("--prices", "books", multiple=True, type=click.Path(path_type=Path))
@click.option("--any-books", default=0, show_default=True, help="Also so many books at random, at 1 GB.")
@click.option("--seed", default=1, show_default=True)
@click.option("--rounds", default=10, show_default=True)
@click.option("--units", default=1000, show_default=True)
@click.option("--days", default=240, show_default=True)
@click.option("--bound", default=Policy().bound, show_default=True)
@click.option("--start-tier", default="warm", type=click.Choice(TIERS), show_default=True)
@click.option("--json", "as_json", is_flag=True)
def main(books, any_books, seed, rounds, units, days, bound, start_tier, as_json):
    """Print the worst cost / optimum per book and size."""
    found, rng = {}, np.random.default_rng(seed)
    cells = [(read_book(path), size) for path in books for size in SIZES]
    cells += [(any_book(rng, number), 1.0) for number in range(any_books)]
    for book, size in cells:
        at = search(book, Policy(bound=bound), seed, rounds, units, days, TIERS.index(start_tier), size)
        found[f"{book.name} {size:g} GB"] = at
        if not as_json:
            click.echo(f"{book.name:5} {size:8g} GB  " + "  ".join(f"{k} {v:.3f}" for k, v in at.items()))
    if as_json:
        click.echo(json.dumps({"seed": seed, "days": days, "found": found}, indent=2, default=float))


if __name__ == "__main__":
    main()
