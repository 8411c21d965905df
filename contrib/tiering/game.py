"""Plays the game behind the bound to its end: the worst of all histories, not of those somebody thought of.

    python contrib/tiering/game.py --prices vm.toml --prices aws.toml --prices own.toml [--least]

One unit. A state is: the tier it is in, and by how much the optimum's values of the three tiers differ (two numbers, on
a grid, with linear interpolation). A step is an idle day, a full read or a part of one. For a ratio r, the value of a
state is the most that any history from there on can make cost - r * (growth of the optimum). It is found by repeating
the step until nothing changes; where that ends, the unit costs at most r * optimum + the value, for ever.

    fallback   the least r that core.tiering.guard.fallback keeps, as it is in production
    at 3       its value where r = 3 is kept: the constant of the bound, in reads (or round trips) of the dearest tier
    least      (--least) the least r that any rule can keep which does not know the future
    seeing     (--least) the same for one that sees each step before it pays for it, and may move first: the form of
               metrical task systems, where 5 is known to be enough for three states (docs/tiering.md, section 7)

`day`: reads come with a day's rent and the rule acts in the evening, as in replay. `event`: any number of reads a day,
the rule acts after each. Where a break-even time is long, an idle step is a twelfth of it.
"""

from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from stratum.core.tiering.costs import access, break_even, full_read, holding, moves_from, moving
from stratum.core.tiering.guard import fallback
from stratum.core.tiering.situation import Situation
from stratum.serve.replay_columns import COLUMNS
from stratum.serve.replay_command import read_book

TIERS = range(3)
EDGES = ((0, 1), (0, 2), (1, 2))
SHARES = (0.02, 0.5, 0.98)  # of the bytes, of reads that leave nothing at hand
STEPS = 1200
FAR = 12.0  # a value of so many dearest reads grows for ever
SIZES = (1e-5, 1e-4, 1e-3, 3e-3, 1e-2, 0.1, 10.0)  # GB


@dataclass(frozen=True)
class Step:
    """A step that the adversary may choose, and what follows from it on every point of the grid."""

    costs: np.ndarray  # per tier
    moves: np.ndarray  # 3 x 3
    at_hand: bool
    growth: np.ndarray  # of the optimum
    values: np.ndarray  # of the tiers after the night, points x 3
    corners: np.ndarray  # points x 4, where to interpolate
    weights: np.ndarray


class Game:
    """The game for one price book and size. `points`: of the grid, along each side."""

    def __init__(self, book, gb, *, points=32, event=False, shares=SHARES):
        self.book, self.gb, self.points = book, gb, points
        self.fetch, self.write = (
            np.array([[moving(COLUMNS, book, gb, f, g, hand) for g in TIERS] for f in TIERS]) for hand in (False, True)
        )
        self.sides = [(-self.fetch[f, 2], self.fetch[2, f]) for f in (0, 1)]
        self.dearest = max(self.fetch[2, 0] + self.fetch[0, 2], *full_read(book, gb))
        grid = np.meshgrid(*(np.linspace(*side, points) for side in self.sides), indexing="ij")
        self.start = np.stack([*grid, 0 * grid[0]], axis=-1).reshape(-1, 3)
        for _ in range(2):  # what cannot be becomes the nearest that can
            self.start = np.min(self.start[:, :, None] + self.fetch, axis=1)
        self.start -= self.start.min(1, keepdims=True)
        rent = np.array(holding(book, gb))
        longest = min(
            (t for edge in EDGES if 0 < (t := float(break_even(COLUMNS, book, gb, *edge))) < np.inf), default=1
        )
        days = max(1 / 24 if event else 1.0, longest / 12)
        with_rent = 0.0 if event or days > 1 else 1.0
        reads = [np.array(access(book, 1.0, share * gb)) for share in (1.0, *shares)]
        self.steps = [self._step(rent * days, False), self._step(with_rent * rent + reads[0], True)]
        self.steps += [self._step(with_rent * rent + read, False) for read in reads[1:]]

    def _step(self, costs, at_hand):
        moves = self.write if at_hand else self.fetch
        paid = self.start + costs
        values = np.min(paid[:, :, None] + moves, axis=1)
        values -= values.min(1, keepdims=True)
        return Step(costs, moves, at_hand, paid.min(1), values, *self.near(values))

    def near(self, values):
        """Where points lie on the grid: four corners and their weights."""
        at, share = [], []
        for side, (low, high) in enumerate(self.sides):
            place = (values[:, side] - values[:, 2] - low) / ((high - low) or 1.0) * (self.points - 1)
            place = np.clip(place, 0, self.points - 1 - 1e-9)
            at.append(place.astype(int))
            share.append(place - at[-1])
        (x, y), (s, t) = at, share
        corners = np.stack([x * self.points + y, (x + 1) * self.points + y, x * self.points + y + 1,
                            (x + 1) * self.points + y + 1], axis=-1)  # fmt: skip
        return corners, np.stack([(1 - s) * (1 - t), s * (1 - t), (1 - s) * t, s * t], axis=-1)

    def chosen(self, step, tier):
        """Where the fallback goes after a step from a tier, for every point."""
        count = len(self.start)
        gb, tiers, hand = np.full(count, self.gb), np.full(count, tier), np.full(count, step.at_hand)
        at = Situation(
            gb=gb, tier=tiers, start=tiers, age=1, resident=1, idle=1, at_hand=hand, values=tuple(step.values.T)
        )
        return fallback(COLUMNS, at, self.book, moves_from(COLUMNS, self.book, gb, tiers, hand), 3.0)

    def values(self, ratio, *, rule=True, seeing=False):
        """The value of every state (3 x points), or None where it grows for ever. Without `rule`: of the best one."""
        value, every = np.zeros((3, len(self.start))), np.arange(len(self.start))
        goes = [[self.chosen(step, tier) if rule else None for tier in TIERS] for step in self.steps]
        for _ in range(STEPS):
            before, value = value, value.copy()
            for step, targets in zip(self.steps, goes, strict=True):
                later = (before[:, step.corners] * step.weights).sum(-1)
                if seeing:
                    after = np.stack([(step.moves[g][:, None] + later).min(0) for g in TIERS])
                    paid = step.costs[:, None] + np.maximum(after, 0.0) - ratio * step.growth
                    best = (self.fetch[:, :, None] + paid[None]).min(1)
                    value = np.maximum(value, best)
                    continue
                for tier in TIERS:
                    totals = step.moves[tier][:, None] + later
                    total = totals[targets[tier], every] if rule else totals.min(0)
                    worst = step.costs[tier] - ratio * step.growth + np.maximum(total, 0.0)
                    value[tier] = np.maximum(value[tier], worst)
            if (value - before).max() < 1e-6 * self.dearest:
                return value
            if value.max() > FAR * self.dearest:
                return None
        return None

    def ratio(self, *, rule=True, seeing=False, low=1.0, high=20.0):
        """The least ratio that is kept, to 0.05; infinite if none below `high`."""
        if self.values(high, rule=rule, seeing=seeing) is None:
            return float("inf")
        while high - low > 0.05:
            middle = (low + high) / 2
            low, high = (low, middle) if self.values(middle, rule=rule, seeing=seeing) is not None else (middle, high)
        return high


@click.command()
@click.option("--prices", "books", multiple=True, required=True, type=click.Path(path_type=Path))
@click.option("--points", default=32, show_default=True)
@click.option("--least", is_flag=True, help="Also what any rule can keep at best.")
def main(books, points, least):
    """Print the ratios per book, size and form of the game."""
    for path in books:
        book = read_book(path)
        for event in (False, True):
            for gb in SIZES:
                game = Game(book, gb, points=points, event=event)
                three = game.values(3.0)
                constant = "   -" if three is None else f"{three.max() / game.dearest:4.2f}"
                line = f"{book.name:4} {'event' if event else 'day':5} {gb:7g} GB  fallback {game.ratio():5.2f}"
                line += f"  at 3: {constant}" + (f"  least {game.ratio(rule=False):5.2f}" if least else "")
                line += f"  seeing {game.ratio(seeing=True):5.2f}" if least else ""
                click.echo(line)


if __name__ == "__main__":
    main()
