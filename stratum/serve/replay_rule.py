"""The production rule over columns: the same evidence, the same rule, many units at once.

Room: stratum/serve. May import: core.tiering, serve.{replay_columns, replay_run, replay_trace}.
"""

import numpy as np

from stratum.core.tiering.costs import access, holding, overnight, worked
from stratum.core.tiering.evidence import NO_TIER
from stratum.core.tiering.groups import GroupDay, GroupEvidence, after, is_sweep, rate_of, sweep_rate_of
from stratum.core.tiering.optimum import at_start
from stratum.core.tiering.policy import Policy, decays, exposures
from stratum.core.tiering.prices import PriceBook
from stratum.core.tiering.rule import REASONS, outcome
from stratum.core.tiering.situation import LONG_AGO, Situation
from stratum.serve.replay_columns import COLUMNS
from stratum.serve.replay_run import Evening
from stratum.serve.replay_trace import Trace


class Production:
    """The rule that a running server follows. Of the trace it knows sizes, births and groups, never reads."""

    reasons = REASONS

    def __init__(self, trace: Trace, book: PriceBook, policy: Policy, start: int) -> None:
        count = len(trace.gb)
        self._book, self._policy = book, policy
        self._gb, self._born, self._group, self._start = trace.gb, trace.born, trace.group, start
        self._groups = [GroupEvidence() for _ in range(trace.groups)]
        self._reads, self._share, self._visits = np.zeros(count), np.zeros(count), np.zeros(count)
        self._spent, self._values = np.zeros(count), at_start(trace.gb, start)
        self._last = trace.born.copy()
        self._moved, self._came = np.full(count, -LONG_AGO), np.full(count, NO_TIER)
        self._since = np.zeros(count, dtype=np.int64)

    def decide(self, evening: Evening) -> tuple[np.ndarray, np.ndarray]:
        """Count the day, then decide."""
        self._count(evening)
        found = outcome(COLUMNS, self._situation(evening), self._book, self._policy)
        target = np.where(evening.alive, found.tier, evening.tier)
        going = target != evening.tier
        fee = np.choose(target, found.moves)
        self._spent = np.where(going, self._spent + fee, self._spent)
        self._came = np.where(going, evening.tier, self._came)
        self._moved = np.where(going, evening.step, self._moved)
        self._since = np.where(going, 0, self._since)
        return target, found.reason

    def _count(self, e: Evening) -> None:
        """What the evening adds to evidence and accounts (evidence.after and at_night, over columns)."""
        kept = decays(self._policy.half_life_days)[1]
        sized = self._gb > 0
        share = np.where(sized, e.gb_read / np.where(sized, self._gb, 1.0), np.where(e.visits > 0, 1.0, 0.0))
        credit = np.where(self._count_groups(e)[self._group], self._policy.sweep_credit, 1.0)
        self._reads = self._reads * kept + credit * np.minimum(1.0, share)
        self._share = self._share * kept + credit * share
        self._visits = self._visits * kept + credit * e.visits
        self._last = np.where(e.visits > 0, e.step, self._last)
        self._since = self._since + (e.visits > 0)
        held = np.choose(e.tier, holding(self._book, self._gb))
        read = np.choose(e.tier, access(self._book, e.visits, e.gb_read))
        self._spent = np.where(e.alive, self._spent + held + read, self._spent)
        paid = worked(COLUMNS, self._book, self._gb, self._values, e.visits, e.gb_read)
        night = overnight(COLUMNS, self._book, self._gb, paid, e.at_hand)
        self._values = tuple(np.where(e.alive, new, old) for new, old in zip(night, self._values, strict=True))

    def _count_groups(self, e: Evening) -> np.ndarray:
        """The day of every group; which of them were swept."""
        count = len(self._groups)
        units = np.flatnonzero(e.alive)
        of = self._group[units]
        gb = np.bincount(of, weights=self._gb[units], minlength=count)
        read = np.bincount(of, weights=np.minimum(e.gb_read, self._gb)[units], minlength=count)
        members = np.bincount(of, minlength=count)
        touched = np.bincount(of, weights=(e.visits > 0)[units], minlength=count)
        swept = np.zeros(count, dtype=bool)
        for at in np.flatnonzero(members):
            day = GroupDay(float(gb[at]), float(read[at]), int(members[at]), int(touched[at]))
            swept[at] = is_sweep(day, self._policy)
            self._groups[at] = after(self._groups[at], day, self._policy)
        return swept

    def _situation(self, e: Evening) -> Situation:
        """Columns of what situation.on_evening gathers for one unit. No wishes, hours or full tiers in a trace."""
        table = np.array(exposures(self._policy.half_life_days))
        age = e.step - self._born + 1
        resident = np.where(self._came == NO_TIER, LONG_AGO, e.step - self._moved)
        rates = np.array([rate_of(group, self._policy) for group in self._groups])
        sweeps = np.array([sweep_rate_of(group, self._policy) for group in self._groups])
        return Situation(
            gb=self._gb, tier=e.tier, start=self._start, age=age, resident=resident, idle=e.step - self._last,
            came_from=self._came, since=self._since,
            reads=self._reads, gb_per_size=self._share, visits=self._visits,
            exposure=table[np.clip(age, 0, len(table) - 1)],
            group_rate=rates[self._group], sweep_rate=sweeps[self._group], at_hand=e.at_hand,
            today_visits=e.visits, today_gb=e.gb_read,
            spent=self._spent, values=tuple(np.where(e.alive, value, 0.0) for value in self._values),
        )  # fmt: skip
