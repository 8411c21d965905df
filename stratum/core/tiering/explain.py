"""A decision in words, as JSON, and made again from that JSON.

Room: stratum/core. May import: core.tiering.{books, decide, prices}.
"""

import msgspec

from stratum.core.tiering.books import there
from stratum.core.tiering.decide import Decision, TierCost, decide
from stratum.core.tiering.prices import TIERS

WHY = {
    "CHEAPEST": "no other tier saves enough to pay for the move there",
    "RATE_UP": "it is read more often than staying would pay for",
    "RATE_DOWN": "it is read too seldom to pay for the rent",
    "IDLE_PAST_BREAKEVEN": "it has been idle for longer than the break-even time",
    "PRIOR_ONLY": "nothing read it yet, and what lies beside it is read too seldom or too often for the tier it was in",
    "SPIKE": "a burst of reads has already cost as much as the move",
    "PIN": "a pin or a constraint of the user says so",
    "BOUND": "a wrong forecast could break the bound on what it may cost, so the cautious rule decides",
    "SMALL": "a year's saving would not repay the fees of a move",
    "WARM_UP": "it has not been observed for long enough yet",
    "RESIDENCE": "it went hotter a short while ago",
    "FLIP_FLOP": "it would undo the last move before that has paid",
    "INTEREST": "somebody looked at it lately",
    "JUST_WRITTEN": "it was written a short while ago",
}
"""Why, per code of rule.REASONS."""


def to_json(decision: Decision) -> bytes:
    """The decision with everything that led to it. Infinite values of the optimum become null."""
    return msgspec.json.encode(decision)


def from_json(text: bytes) -> Decision:
    """The decision again. Raises msgspec.ValidationError."""
    return msgspec.json.decode(text, type=Decision)


def recompute(text: bytes) -> Decision:
    """Decide again from nothing but the JSON of a decision. Raises msgspec.ValidationError."""
    found = from_json(text)
    return decide(found.situation, found.prices, found.policy)


def explain(decision: Decision) -> str:
    """One plain sentence (or two) on why a unit is, or goes, where it does."""
    d = decision
    here = _cost(d, d.tier)
    head = f"{d.tier}: " if d.tier == d.was else f"{d.was} to {d.tier}: "
    parts = [head + WHY[d.reason], f"expected reads: {_expected(d)}"]
    parts += [_compared(here, _cost(d, tier), d) for tier in there(d.prices) if tier != d.tier]
    text = "; ".join(parts)
    if d.held_by and d.wished != d.tier:
        text += f"; price alone would choose {d.wished}"
    for name, words in (("HINT", "a hint"), ("CAPACITY", "a tier running full"), ("SWEEPS", "sweeps of its group")):
        if name in d.also_by:
            text += f"; without {words} it would be elsewhere"
    return f"{text}. {_change(d)}"


def _change(d: Decision) -> str:
    """What would change it."""
    found = []
    if d.hotter_above is not None:
        found.append(f"hotter above {_often(d.hotter_above)}")
    if d.colder_below is not None:
        found.append(f"colder below {_often(d.colder_below)}")
    what = ", ".join(found) or "no rate of reads would change it"
    return f"{what[0].upper()}{what[1:]}; next look in {d.look_again_days} days, or when it is read."


def _cost(d: Decision, tier: str) -> TierCost:
    return d.costs[TIERS.index(tier)]


def _compared(here: TierCost, other: TierCost, d: Decision) -> str:
    if not other.allowed:
        return f"{other.tier} is not allowed"
    more = other.month - here.month
    money = f"{abs(more):.3g} {d.prices.currency}"
    return f"{other.tier} would {'cost' if more >= 0 else 'save'} {money} {'more ' if more >= 0 else ''}a month"


def _expected(d: Decision) -> str:
    """The estimate by which it stays or goes, and whose reads it comes from: its own, its group's, sweeps'."""
    s, up = d.situation, TIERS.index(d.tier) < TIERS.index(d.was)
    rate, prior = (d.rise_rate, d.policy.rise_days) if up else (d.leave_rate, d.policy.leave_days)
    own = s.reads / s.exposure if s.exposure > 0 else 0.0
    text = f"{_often(rate)} (its own days say {_often(own)}, its group says {_often(s.group_rate * s.hint)}"
    text += " with a hint" if s.hint != 1.0 else ""
    text += f" and weighs {prior / (s.exposure + prior):.0%}"
    return text + (f", sweeps add {_often(s.sweep_rate)})" if s.sweep_rate > 0 else ")")


def _often(rate: float) -> str:
    """A rate of full reads per day, as people say it."""
    if rate < 1e-9:
        return "no read at all"
    return f"{rate:.2g} full reads a day" if rate >= 1 else f"a full read every {1 / rate:.3g} days"
