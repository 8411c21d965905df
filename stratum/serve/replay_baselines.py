"""Simple rules to compare with, in replay only: none of them runs in production.

Room: stratum/serve. May import: core.tiering, serve.{replay_columns, replay_run, replay_trace}.

Each is defined as in docs/tiering.md, section 5.
"""

import numpy as np

from stratum.core.tiering.costs import break_even, full_read, holding
from stratum.core.tiering.prices import COLD, HOT, TIERS, WARM, PriceBook
from stratum.serve.replay_columns import COLUMNS
from stratum.serve.replay_run import Evening, Rule
from stratum.serve.replay_trace import Trace

Choice = tuple[np.ndarray, np.ndarray]


class _Baseline:
    """A rule that gives no reasons."""

    reasons: tuple[str, ...] = ("BASELINE",)

    def __init__(self, trace: Trace, book: PriceBook) -> None:
        self.trace, self.book, self.gb = trace, book, trace.gb
        self.zero = np.zeros(len(trace.gb), dtype=np.int64)

    def choose(self, e: Evening) -> np.ndarray:
        """The tier of each unit."""
        raise NotImplementedError

    def decide(self, e: Evening) -> Choice:
        """The tier of each unit, without a reason."""
        return self.choose(e), self.zero


class Always(_Baseline):
    """Everything into one tier at the end of the first day."""

    def __init__(self, trace: Trace, book: PriceBook, tier: int) -> None:
        super().__init__(trace, book)
        self.tier = tier

    def choose(self, e: Evening) -> np.ndarray:
        """That tier."""
        return self.zero + self.tier


class Idle(_Baseline):
    """Hot on a read; at least warm after so many idle days, cold after so many more; never up without a read."""

    def __init__(self, trace: Trace, book: PriceBook, warm: np.ndarray | float, cold: np.ndarray | float) -> None:
        super().__init__(trace, book)
        self.limits = warm, cold
        self.idle = self.zero.copy()

    def promoted(self, e: Evening) -> np.ndarray:
        """Where a unit that was read goes."""
        return self.zero + HOT

    def choose(self, e: Evening) -> np.ndarray:
        """By idle days since the last read, from the first day if never read."""
        read = e.visits > 0
        self.idle = np.where(read, 0, np.where(e.alive, self.idle + 1, 0))
        down = np.where(self.idle >= self.limits[1], COLD, np.where(self.idle >= self.limits[0], WARM, HOT))
        return np.where(read, self.promoted(e), np.maximum(e.tier, down))


class SkiRental(Idle):
    """The same with each unit's own break-even times; up on a read (hot only if holding it there for a day can pay)."""

    def __init__(self, trace: Trace, book: PriceBook) -> None:
        self.to_warm = break_even(COLUMNS, book, trace.gb, HOT, WARM)
        cold = np.maximum(self.to_warm, break_even(COLUMNS, book, trace.gb, WARM, COLD))
        super().__init__(trace, book, self.to_warm, cold)

    def promoted(self, e: Evening) -> np.ndarray:
        """Hot or warm, never colder than it is."""
        return np.minimum(e.tier, np.where(self.to_warm >= 1, HOT, WARM))


class SecondRead(SkiRental):
    """The same, up only when reads, losing a tenth a day, have reached 1.5."""

    def __init__(self, trace: Trace, book: PriceBook) -> None:
        super().__init__(trace, book)
        self.heat = np.zeros(len(trace.gb))

    def promoted(self, e: Evening) -> np.ndarray:
        """Stay, until read twice."""
        self.heat = 0.9 * self.heat + e.visits
        return np.where(self.heat >= 1.5, super().promoted(e), e.tier)


class ExpectedCost(_Baseline):
    """The least of 14 days of rent and reads at an estimated rate, and 1.1 times the move."""

    def rate(self, e: Evening) -> np.ndarray:
        """Full reads per day."""
        raise NotImplementedError

    def choose(self, e: Evening) -> np.ndarray:
        """The cheapest tier."""
        rate, held, read = self.rate(e), holding(self.book, self.gb), full_read(self.book, self.gb)
        totals = [14 * (held[g] + rate * read[g]) + 1.1 * e.moves[g] for g in range(len(TIERS))]
        return np.argmin(totals, axis=0)


class MovingAverage(ExpectedCost):
    """EMA of reads per day, half-life 14 days."""

    kept = 0.5 ** (1 / 14)

    def __init__(self, trace: Trace, book: PriceBook) -> None:
        super().__init__(trace, book)
        self.ema = np.zeros(len(trace.gb))

    def rate(self, e: Evening) -> np.ndarray:
        """The average."""
        self.ema = self.kept * self.ema + (1 - self.kept) * e.visits
        return self.ema


class GammaPoisson(ExpectedCost):
    """Days with reads over days, half-life 14 days, shrunk to the prefix (at most 0.05) by 14 days."""

    kept = 0.5 ** (1 / 14)

    def __init__(self, trace: Trace, book: PriceBook) -> None:
        super().__init__(trace, book)
        self.read, self.days = np.zeros(len(trace.gb)), np.zeros(len(trace.gb))

    def rate(self, e: Evening) -> np.ndarray:
        """The shrunk rate."""
        self.read = self.kept * self.read + (e.visits > 0)
        self.days = np.where(e.alive, self.kept * self.days + 1, 0.0)
        count = len(self.trace.prefixes)
        read = np.bincount(self.trace.prefix, weights=self.read, minlength=count)
        days = np.bincount(self.trace.prefix, weights=self.days, minlength=count)
        prior = np.minimum(0.05, read / np.maximum(days, 1e-300))[self.trace.prefix]
        return (self.read + 14 * prior) / (self.days + 14)


BASELINES = (
    "always-hot", "always-warm", "always-cold", "48h-96h", "intelligent-tiering", "ski-rental", "second-read",
    "moving-average", "gamma-poisson",
)  # fmt: skip


def baseline(name: str, trace: Trace, book: PriceBook) -> Rule:
    """The rule of that name. Raises KeyError."""
    if name.startswith("always-"):
        return Always(trace, book, TIERS.index(name.removeprefix("always-")))
    if name == "48h-96h":
        return Idle(trace, book, 2, 4)
    if name == "intelligent-tiering":
        return Idle(trace, book, 30, 90)
    rules = {"ski-rental": SkiRental, "second-read": SecondRead}
    rules |= {"moving-average": MovingAverage, "gamma-poisson": GammaPoisson}
    return rules[name](trace, book)
