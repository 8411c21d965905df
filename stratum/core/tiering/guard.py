"""The guard: what no forecast, however wrong, may make a unit cost.

Room: stratum/core. May import: core.tiering.{arithmetic, costs, policy, prices, situation}.

A ledger per unit knows what it has cost, and what the optimum has cost if it is in each tier now (its work function).

1.  A forecast decides while: cost so far + its move <= bound * optimum so far + credit.
2.  Otherwise the fallback decides. It needs no forecast: whatever is read from then on, from whatever state, it costs
    at most bound * (growth of the optimum) + a constant.

So at every time cost <= bound * optimum + credit + constant: after the last evening on which a forecast decided, the
fallback was in charge. Statement 2 is computed on a grid (contrib/tiering/game.py), not proved; docs/tiering.md,
section 7, says for which prices and sizes it holds with 3.
"""

from stratum.core.tiering.arithmetic import ONE, Arithmetic, Column, picked
from stratum.core.tiering.costs import full_read, holding, moving
from stratum.core.tiering.policy import Policy
from stratum.core.tiering.prices import TIERS, PriceBook
from stratum.core.tiering.situation import Situation

NEVER = float("inf")
EVERY = range(len(TIERS))
# Where between its two ends the difference of two tiers' values must be for a move. The ends themselves would be the
# work function rule; a read is a lump that overshoots them, so the last tenth at each end is left to it.
UP, DOWN = 0.1, 0.9
CONSTANT = 2.5  # of the fallback, in the dearest reads: contrib/tiering/game.py finds at most 2.4
AT_HAND = 0.9  # up after a full read: the bytes are there, and only a write is paid


def credit_of(book: PriceBook, rent: Column, p: Policy) -> Column:
    """What a unit may cost before its optimum has cost anything: some days of its first tier's rent, and some fees."""
    return p.credit_days * rent + (max(book.per_read) + sum(t.move_in_usd_per_object for t in book.tiers))


def additive_of(book: PriceBook, gb: float, start: int, p: Policy) -> float:
    """What is paid beside `bound` times the optimum, once in the life of a unit.

    The credit, and the fallback's constant: some of the dearest reads, or round trips if one is dearer.
    """
    trips = (moving(ONE, book, gb, 2, g, False) + moving(ONE, book, gb, g, 2, False) for g in (0, 1))
    dearest = max(*full_read(book, gb), *trips)
    return float(credit_of(book, holding(book, gb)[start], p) + CONSTANT * dearest)


def ratios_of(a: Arithmetic, s: Situation, p: Policy, book: PriceBook, moves: tuple[Column, ...]) -> tuple[Column, ...]:
    """For each tier: cost so far with the move there, without the credit, over the optimum so far."""
    best = a.smaller(a.smaller(s.values[0], s.values[1]), s.values[2])
    over = s.spent - credit_of(book, picked(a, s.start, holding(book, s.gb)), p)
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
    """The tier of a rule without forecast: follow the optimum's values, with hysteresis; or keep to a shelter."""
    found, best = s.tier, s.gb * 0.0 + NEVER
    for g in EVERY:
        due = a.where(s.tier == g, False, picked(a, s.tier, [_due(a, s, book, f, g) for f in EVERY]))
        there = s.values[g] + moves[g]
        better = a.where(due, there < best, False)
        found, best = a.where(better, g, found), a.where(better, there, best)
    safe, ratio = shelter(book)
    return a.where(surprise(a, book, s.gb) > max(bound, ratio), _sheltered(a, s, book, safe), found)


def _sheltered(a: Arithmetic, s: Situation, book: PriceBook, safe: int) -> Column:
    """In a shelter, or hotter while reads pay for that: never colder, where the next read is dear.

    The values of two hotter tiers tell nothing of an idle stretch once both are had by way of the coldest one. So what
    would make the optimum leave for the coldest also ends a stay above the shelter.
    """
    found = s.tier * 0 + safe
    for g in range(safe):
        rise = a.where(s.tier >= safe, _due(a, s, book, safe, g), False)
        stay = a.where(_due(a, s, book, g, safe), False, a.denied(_due(a, s, book, g, len(TIERS) - 1)))
        found = a.where(a.where(s.tier == g, stay, rise), g, found)
    return found


def _due(a: Arithmetic, s: Situation, book: PriceBook, source: int, target: int) -> Column:
    """Has the optimum's value of being in `source` come near what it is worth at most, over that of `target`?"""
    if source == target:
        return s.at_hand
    hotter, colder = min(source, target), max(source, target)
    down, up = (moving(a, book, s.gb, f, g, False) for f, g in ((hotter, colder), (colder, hotter)))
    at = a.divided(s.values[hotter] - s.values[colder] + down, down + up)  # 0: hotter is worth it; 1: colder
    if target > source:
        return at >= DOWN if book.rent[target] < book.rent[source] else at > NEVER
    return a.where(s.at_hand, at <= AT_HAND, at <= UP)


def shelter(book: PriceBook) -> tuple[int, float]:
    """The tier in which everything costs at most so many times what it costs elsewhere; and how many times its rent, or
    its reads against those of colder tiers, cost: what is read often goes hotter from there (`_sheltered`)."""
    prices = (book.rent, book.per_read, book.per_gb)

    def worst(tier: int, against: range) -> float:
        pairs = [
            (book.rent[tier], min(book.rent)),
            *((each[tier], min(each[g] for g in against)) for each in prices[1:]),
        ]
        return max(ONE.divided(here, there) if here else 1.0 for here, there in pairs)

    ratios = [worst(tier, EVERY) for tier in EVERY]
    tier = ratios.index(min(ratios))
    return tier, worst(tier, range(tier, len(TIERS)))


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
            kept = a.divided(down + up, gb * (book.rent[hot] - book.rent[cold])) * (gb * book.rent[hot])
            back = moving(a, book, gb, cold, hot, True)
            worst = a.larger(worst, a.divided(kept + down + read[cold] + back, kept + read[hot]))
    return worst
