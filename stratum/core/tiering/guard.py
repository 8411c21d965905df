"""The guard: what no forecast, however wrong, may make a unit cost.

Room: stratum/core. May import: core.tiering.{arithmetic, costs, policy, prices, situation}.

A ledger per unit knows what it has cost, and what the optimum has cost if it is in each tier now (its work function).

1.  A forecast decides while: cost so far + its move <= bound * optimum so far + credit.
2.  Otherwise the fallback decides. It needs no forecast: whatever is read from then on, from whatever state, it costs
    at most bound * (growth of the optimum) + a constant.

So at every time cost <= bound * optimum + credit + constant: after the last evening on which a forecast decided, the
fallback was in charge. docs/tiering.md, section 7, says what the constant is and where a bound of 3 can be had at all;
contrib/tiering/game.py computes both over all histories.
"""

from stratum.core.tiering.arithmetic import Arithmetic, Column, picked
from stratum.core.tiering.costs import full_read, holding, moving
from stratum.core.tiering.policy import Policy
from stratum.core.tiering.prices import TIERS, PriceBook
from stratum.core.tiering.situation import Situation

NEVER = float("inf")
EVERY = range(len(TIERS))
# Where between its two ends the difference of two tiers' values must be for a move. The ends themselves would be the
# work function rule; a read is a lump that overshoots them, so the last tenth at each end is left to it.
UP, DOWN = 0.1, 0.9
AT_HAND = 0.9  # up after a full read: the bytes are there, and only a write is paid


def credit_of(a: Arithmetic, s: Situation, p: Policy, book: PriceBook) -> Column:
    """What a unit may cost before its optimum has cost anything: some days of rent, and the fees of a round trip."""
    fees = max(book.per_read) + sum(t.move_in_usd_per_object for t in book.tiers)
    return p.credit_days * picked(a, s.start, holding(book, s.gb)) + fees


def ratios_of(a: Arithmetic, s: Situation, p: Policy, book: PriceBook, moves: tuple[Column, ...]) -> tuple[Column, ...]:
    """For each tier: cost so far with the move there, without the credit, over the optimum so far."""
    best = a.smaller(a.smaller(s.values[0], s.values[1]), s.values[2])
    over = s.spent - credit_of(a, s, p, book)
    return tuple(a.where(over + move > 0.0, a.divided(over + move, best), 0.0) for move in moves)


def guarded(
    a: Arithmetic, s: Situation, p: Policy, book: PriceBook, chosen: Column, rise: tuple[Column, ...],
    moves: tuple[Column, ...], ratios: tuple[Column, ...],
) -> Column:  # fmt: skip
    """The choice if the bound allows it; else the fallback's. `rise`: infinite where the user wants the unit not."""
    if not p.bound:
        return chosen
    over = picked(a, chosen, ratios) > p.bound
    if not a.some(over):
        return chosen
    safe = fallback(a, s, book, moves, p.bound)
    welcome = picked(a, safe, rise) < NEVER  # the user's constraints are above the bound
    return a.where(a.where(over, welcome, False), safe, chosen)


def fallback(a: Arithmetic, s: Situation, book: PriceBook, moves: tuple[Column, ...], bound: float) -> Column:
    """The tier of a rule without forecast: follow the optimum's values, with hysteresis; or stay in a shelter."""
    found, best = s.tier, s.gb * 0.0 + NEVER
    for g in EVERY:
        due = a.where(s.tier == g, False, picked(a, s.tier, [_due(a, s, book, f, g) for f in EVERY]))
        there = s.values[g] + moves[g]
        better = a.where(due, there < best, False)
        found, best = a.where(better, g, found), a.where(better, there, best)
    safe = shelter(book, bound)
    if safe is None:
        return found
    return a.where(surprise(a, book, s.gb) > bound, safe, found)


def _due(a: Arithmetic, s: Situation, book: PriceBook, source: int, target: int) -> Column:
    """Has the optimum's value of being in `source` come near what it is worth at most, over that of `target`?"""
    if source == target:
        return s.at_hand
    hotter, colder = min(source, target), max(source, target)
    down, up = (moving(a, book, s.gb, f, g, False) for f, g in ((hotter, colder), (colder, hotter)))
    at = a.divided(s.values[hotter] - s.values[colder] + down, down + up)  # 0: hotter is worth it; 1: colder
    if target > source:
        return at >= DOWN if book.rent[target] < book.rent[source] else at < 0.0
    return a.where(s.at_hand, at <= AT_HAND, at <= UP)


def shelter(book: PriceBook, bound: float) -> int | None:
    """A tier in which nothing ever costs more than `bound` times what it costs elsewhere; the hottest, if any."""
    for tier in EVERY:
        prices = (book.rent, book.per_read, book.per_gb)
        if all(per_tier[tier] <= bound * min(per_tier) for per_tier in prices):
            return tier
    return None


def surprise(a: Arithmetic, book: PriceBook, gb: Column) -> Column:
    """What it costs to be idle until leaving pays, to leave, to be read and to come back, over having stayed.

    Of the two tiers for which it is worst. High where waiting for a first byte costs more than fetching the unit.
    """
    worst, read = gb * 0.0, full_read(book, gb)
    for hot in EVERY:
        for cold in range(hot + 1, len(TIERS)):
            if book.rent[hot] <= book.rent[cold]:
                continue
            down, up = (moving(a, book, gb, f, g, False) for f, g in ((hot, cold), (cold, hot)))
            kept = (a.divided(down + up, gb * (book.rent[hot] - book.rent[cold])) + 1.0) * (gb * book.rent[hot])
            back = moving(a, book, gb, cold, hot, True)
            worst = a.larger(worst, a.divided(kept + down + read[cold] + back, kept + read[hot]))
    return worst
