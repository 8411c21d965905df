"""The decision about one unit, with all its numbers.

Room: stratum/core. May import: core.tiering.*.

The same rule as replay's (rule.outcome), for one unit, and beside it what a person asks next: what it costs in each
tier, what would change it, and when it is looked at again.

Invariant: a Decision carries its situation, prices and policy, so that it can be made again from nothing else.
"""

from typing import Any

import msgspec

from stratum.core.tiering.arithmetic import ONE
from stratum.core.tiering.costs import break_evens, holding, overnight, worked
from stratum.core.tiering.policy import Policy, decays
from stratum.core.tiering.prices import TIERS, PriceBook
from stratum.core.tiering.rule import REASONS, Outcome, outcome
from stratum.core.tiering.situation import LONG_AGO, Situation

LOOK_AHEAD = (1, 2, 4, 8, 16, 32)  # days; further than the last, prices and groups will have changed
MONTH = 30.4375  # days
_DENIED = 1e308  # JSON has no infinity


class TierCost(msgspec.Struct, frozen=True):
    """What a unit costs in one tier, per month, and once for moving there from where it is."""

    tier: str
    storage: float
    reads: float  # fees
    waiting: float
    move: float
    allowed: bool

    @property
    def month(self) -> float:
        """Per month, without the move."""
        return self.storage + self.reads + self.waiting


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """Where a unit belongs, why, and every number that led there."""

    tier: str
    was: str
    reason: str  # a code of rule.REASONS
    wished: str  # what price alone wished for
    held_by: str  # the constraint that stopped the wish, or nothing
    also_by: tuple[str, ...]  # what it would not be without: HINT, CAPACITY, SWEEPS
    leave_rate: float  # full reads per day, for the question "colder?"
    rise_rate: float  # and for "hotter?"
    own_share: float  # of the estimate: what comes from the unit's own days, the rest is its group's
    costs: tuple[TierCost, ...]
    break_even_days: dict[str, float | None]  # T* per edge; none: never
    hotter_above: float | None  # full reads per day (rise_rate) from which it would go hotter
    colder_below: float | None  # and (leave_rate) below which it would go colder
    bound_ratio: float  # the guard's: cost so far without credit, over the optimum
    look_again_days: int  # unless it is read before
    situation: Situation
    prices: PriceBook
    policy: Policy


def decide(situation: Situation, prices: PriceBook, policy: Policy) -> Decision:
    """Where the unit belongs from tonight on."""
    found = outcome(ONE, situation, prices, policy)
    held = REASONS[found.held_by] if found.held_by else ""
    hotter, colder = _turning_points(situation, found, policy)
    return Decision(
        tier=TIERS[found.tier],
        was=TIERS[situation.tier],
        reason=REASONS[found.reason],
        wished=TIERS[found.wish],
        held_by=held,
        also_by=_also_by(situation, prices, policy, found),
        leave_rate=found.leave_rate,
        rise_rate=found.rise_rate,
        own_share=situation.exposure / (situation.exposure + policy.leave_days),
        costs=tuple(_tier_cost(situation, prices, found, tier, policy) for tier in range(len(TIERS))),
        break_even_days={
            edge: days if days < LONG_AGO else None for edge, days in break_evens(prices, situation.gb).items()
        },
        hotter_above=hotter,
        colder_below=colder,
        bound_ratio=min(found.ratios[found.tier], _DENIED),
        look_again_days=_look_again(situation, prices, policy, found),
        situation=situation,
        prices=prices,
        policy=policy,
    )


def _tier_cost(s: Situation, book: PriceBook, found: Outcome, tier: int, policy: Policy) -> TierCost:
    price = book.tiers[tier]
    visits = (s.visits + policy.habit_days) / (s.reads + policy.habit_days) * found.leave_rate
    gb_read = (s.gb_per_size + policy.habit_days) / (s.reads + policy.habit_days) * found.leave_rate * s.gb
    fees = visits * price.request_usd + gb_read * price.retrieval_usd_per_gb
    return TierCost(
        tier=TIERS[tier],
        storage=MONTH * found.rents[tier],
        reads=MONTH * fees,
        waiting=MONTH * max(0.0, found.reads[tier] - fees) * bool(book.waiting_usd_per_hour),  # or rounding shows
        move=found.moves[tier],
        allowed=s.hottest <= tier <= s.coldest,
    )


def _also_by(s: Situation, book: PriceBook, policy: Policy, found: Outcome) -> tuple[str, ...]:
    """Inputs without which the choice would be another."""
    without: dict[str, dict[str, Any]] = {
        "HINT": {"hint": 1.0, "remaining": LONG_AGO},
        "CAPACITY": {"shadow": (0.0, 0.0, 0.0)},
        "SWEEPS": {"sweep_rate": 0.0},
    }
    names = []
    for name, change in without.items():
        if any(getattr(s, key) != value for key, value in change.items()):
            other = outcome(ONE, msgspec.structs.replace(s, **change), book, policy)
            names += [name] if other.tier != found.tier else []
    return tuple(names)


def _turning_points(s: Situation, found: Outcome, policy: Policy) -> tuple[float | None, float | None]:
    """The rates at which price alone would wish for a hotter or a colder tier. Totals are linear in the rate."""
    here = found.tier
    days = min(policy.horizon_days, s.remaining)
    above = [_crossing(found.rise, found, here, g, found.rise_rate, days) for g in range(s.hottest, here)]
    below = [_crossing(found.leave, found, here, g, found.leave_rate, days) for g in range(here + 1, s.coldest + 1)]
    up = min((rate for rate in above if rate is not None), default=None)
    down = max((rate for rate in below if rate is not None and rate > 0), default=None)
    return up, down


def _crossing(
    totals: tuple[float, ...], found: Outcome, here: int, there: int, rate: float, horizon: float
) -> float | None:
    """The rate at which two tiers cost the same over the horizon; none if they never do."""
    per_rate = horizon * (found.reads[there] - found.reads[here]) / found.leave_rate
    if per_rate == 0.0 or abs(totals[there]) > _DENIED or abs(totals[here]) > _DENIED:
        return None
    crossing = rate - (totals[there] - totals[here]) / per_rate
    return float(max(0.0, crossing))


def _look_again(s: Situation, book: PriceBook, policy: Policy, found: Outcome) -> int:
    """In how many days the choice may change if nothing is read, by doubling; rechecked on every read anyway."""
    moved = found.tier != s.tier
    later, passed = s, 0
    for days in LOOK_AHEAD:
        if days > s.remaining:
            return max(1, s.remaining)  # when it has expired all is different
        later, passed = _idle(later, found, book, policy, days - passed), days
        if outcome(ONE, later, book, policy).tier != found.tier:
            return max(1, days // 2) if days > 1 else 1
        if moved and days >= policy.warm_up_days:
            break
    return LOOK_AHEAD[-1] if not moved else int(policy.warm_up_days)


def _idle(s: Situation, found: Outcome, book: PriceBook, policy: Policy, days: int) -> Situation:
    """The situation after so many days without a read in the tier that was chosen."""
    kept, tier, values = decays(policy.half_life_days)[days], found.tier, s.values
    for _ in range(days):
        values = overnight(ONE, book, s.gb, worked(ONE, book, s.gb, values, 0.0, 0.0), False)
    return msgspec.structs.replace(
        s,
        tier=tier,
        came_from=s.tier if tier != s.tier else s.came_from,
        resident=(0 if tier != s.tier else s.resident) + days,
        since=0 if tier != s.tier else s.since,
        age=s.age + days,
        idle=s.idle + days,
        reads=s.reads * kept,
        gb_per_size=s.gb_per_size * kept,
        visits=s.visits * kept,
        exposure=s.exposure * kept + (1.0 - kept) / (1.0 - decays(policy.half_life_days)[1]),
        at_hand=False,
        spike=False,
        today_visits=0.0,
        today_gb=0.0,
        remaining=s.remaining - days if s.remaining < LONG_AGO else LONG_AGO,
        interest=s.interest + days,
        written=s.written + days,
        spent=s.spent + (found.moves[tier] if tier != s.tier else 0.0) + days * holding(book, s.gb)[tier],
        values=values,
    )
