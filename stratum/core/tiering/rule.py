"""The rule: from a situation to a tier, with every number on the way.

Room: stratum/core. May import: core.tiering.{arithmetic, costs, guard, policy, prices, situation}.

Written once for one unit and for columns of units (see arithmetic). In order:

1.  estimate: the rate of full reads per day, twice: with a strong prior for the question "colder?", a weaker one for
    "hotter?"; what a day with reads is like (visits, GB) from the unit's own habit;
2.  price: rent and reads over the horizon in every tier, and the move there with its margin; the cheapest is the wish;
3.  constraints that stop a wished move (SMALL, WARM_UP, RESIDENCE, FLIP_FLOP, INTEREST, JUST_WRITTEN), a spike that
    promotes at once, and pins, which are orders;
4.  guard: a forecast decides while the cost so far is within the bound; then a rule decides that needs no forecast, so
    no advice however wrong can cost more (core.tiering.guard; docs/tiering.md derives it).
"""

from dataclasses import dataclass

from stratum.core.tiering.arithmetic import Arithmetic, Column, least, picked
from stratum.core.tiering.costs import access, break_even, early_leave, holding, moves_from
from stratum.core.tiering.guard import guarded, ratios_of
from stratum.core.tiering.policy import Policy
from stratum.core.tiering.prices import COLD, TIERS, PriceBook
from stratum.core.tiering.situation import Situation

NEVER = float("inf")
EVERY = range(len(TIERS))

# Why a unit stays or goes. One documented list (docs/tiering.md); the index is what a column holds.
REASONS = (
    "CHEAPEST", "RATE_UP", "RATE_DOWN", "IDLE_PAST_BREAKEVEN", "PRIOR_ONLY", "SPIKE", "PIN", "BOUND",
    "SMALL", "WARM_UP", "RESIDENCE", "FLIP_FLOP", "INTEREST", "JUST_WRITTEN",
)  # fmt: skip
CODE = {name: index for index, name in enumerate(REASONS)}
HOLDS = ("SMALL", "WARM_UP", "RESIDENCE", "FLIP_FLOP", "INTEREST", "JUST_WRITTEN")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the rule found. Every field is a number, or a column of them."""

    tier: Column  # where the unit belongs
    reason: Column  # index into REASONS
    wish: Column  # what price alone wished for
    held_by: Column  # index into REASONS of the constraint that stopped the wish, or 0
    leave_rate: Column  # full reads per day
    rise_rate: Column
    rents: tuple[Column, ...]  # per tier and day
    reads: tuple[Column, ...]  # per tier and day, at leave_rate
    moves: tuple[Column, ...]  # from the unit's tier to each
    leave: tuple[Column, ...]  # totals over the horizon, by which "colder?" is decided
    rise: tuple[Column, ...]  # and "hotter?"
    breaks: tuple[Column, ...]  # T* of hot-warm, hot-cold, warm-cold
    ratios: tuple[Column, ...]  # of the guard: cost so far without credit, over the optimum, per tier


def outcome(a: Arithmetic, s: Situation, book: PriceBook, p: Policy) -> Outcome:
    """Decide."""
    leave_rate, rise_rate = rates(a, s, p)
    rents = tuple(rent + s.gb * more for rent, more in zip(holding(book, s.gb), s.shadow, strict=True))
    per_day = _habit(book, s, p)
    moves = moves_from(a, book, s.gb, s.tier, s.at_hand)
    fee = early_leave(a, book, s.gb, s.tier, s.resident)
    moves = tuple(a.where(s.tier == g, 0.0, moves[g] + fee) for g in EVERY)
    leave, rise = (
        _totals(a, s, p, rents, tuple(rate * read for read in per_day), moves) for rate in (leave_rate, rise_rate)
    )
    breaks = tuple(break_even(a, book, s.gb, f, g) for f, g in ((0, 1), (0, 2), (1, 2)))
    wish = _wish(a, s, p, leave, rise, moves)
    held_by = _held(a, s, p, book, wish, breaks, rents, per_day, (leave_rate, rise_rate))
    held_by = a.where(_fees_decide(a, s, p, book, wish, leave, rise, moves), CODE["SMALL"], held_by)
    chosen = a.where(held_by > 0, s.tier, wish)
    spiked = _spiked(a, s, p, book, moves)
    spikes = a.where(s.spike, spiked < chosen, False)
    chosen = a.where(spikes, spiked, chosen)
    ratios = ratios_of(a, s, p, book, moves)
    kept = guarded(a, s, p, book, chosen, rise, moves, ratios)
    pinned = a.where(s.tier > s.coldest, True, s.tier < s.hottest)
    pinned = a.where(s.coldest == s.hottest, True, pinned)
    final = a.where(pinned, wish, kept)
    reason = _reason(a, s, final, held_by, breaks)
    reason = a.where(spikes, CODE["SPIKE"], reason)
    reason = a.where(kept == chosen, reason, CODE["BOUND"])
    reason = a.where(pinned, CODE["PIN"], reason)
    reads = tuple(leave_rate * read for read in per_day)
    return Outcome(
        final, reason, wish, held_by, leave_rate, rise_rate, rents, reads, moves, leave, rise, breaks, ratios
    )


def rates(a: Arithmetic, s: Situation, p: Policy) -> tuple[Column, Column]:
    """Full reads per day to expect: for the question "colder?", and for "hotter?"."""
    group = s.group_rate * s.hint
    leave = (s.reads + p.leave_days * group) / (s.exposure + p.leave_days) + s.sweep_rate
    rise = (s.reads + p.rise_days * group) / (s.exposure + p.rise_days) + s.sweep_rate
    return leave, rise


def _habit(book: PriceBook, s: Situation, p: Policy) -> tuple[Column, ...]:
    """What one full read's worth of the unit's reading costs in each tier, with its own visits and repetitions."""
    visits = (s.visits + p.habit_days) / (s.reads + p.habit_days)
    share = (s.gb_per_size + p.habit_days) / (s.reads + p.habit_days)
    return access(book, visits, share * s.gb)


def _totals(
    a: Arithmetic, s: Situation, p: Policy, rents: tuple[Column, ...], reads: tuple[Column, ...],
    moves: tuple[Column, ...],
) -> tuple[Column, ...]:  # fmt: skip
    """Rent, reads and move over the horizon; infinite where the user does not want the unit."""
    found, horizon = [], a.smaller(p.horizon_days, s.remaining)
    for g in EVERY:
        total = horizon * (rents[g] + reads[g]) + (1.0 + p.margin) * moves[g]
        total = a.where(s.coldest < g, NEVER, total)
        found.append(a.where(s.hottest > g, NEVER, total))
    return tuple(found)


def _wish(
    a: Arithmetic, s: Situation, p: Policy, leave: tuple[Column, ...], rise: tuple[Column, ...],
    moves: tuple[Column, ...],
) -> Column:  # fmt: skip
    """What price alone wishes for. Down by the stronger prior; up by the weaker one, if the stronger does not disagree.

    It disagrees where the hotter tier would cost more by the day, the move left aside.
    """
    down, up = least(a, leave), least(a, rise)
    daily = [
        a.where(total < NEVER, total - (1.0 + p.margin) * move, NEVER) for total, move in zip(leave, moves, strict=True)
    ]
    agreed = a.where(picked(a, up, daily) < picked(a, s.tier, daily), True, picked(a, s.tier, daily) >= NEVER)
    return a.where(a.where(up < s.tier, agreed, False), up, a.where(down > s.tier, down, s.tier))


def _edge(a: Arithmetic, tier: Column, other: Column, breaks: tuple[Column, ...]) -> Column:
    """T* of the edge between two tiers; 0 between a tier and itself."""
    hotter, colder = a.smaller(tier, other), a.larger(tier, other)
    from_hot = a.where(colder == 1, breaks[0], breaks[1])
    return a.where(hotter == colder, 0.0, a.where(hotter == 0, from_hot, breaks[2]))


def _held(
    a: Arithmetic, s: Situation, p: Policy, book: PriceBook, wish: Column, breaks: tuple[Column, ...],
    rents: tuple[Column, ...], per_day: tuple[Column, ...], rates: tuple[Column, Column],
) -> Column:  # fmt: skip
    """Which constraint stops the wish: an index into REASONS, or 0. The first that applies is named."""
    back = _edge(a, s.tier, wish, breaks)
    down, up = wish > s.tier, wish < s.tier
    rate = a.where(up, rates[1], rates[0])
    daily = tuple(rent + rate * read for rent, read in zip(rents, per_day, strict=True))
    saving = picked(a, s.tier, daily) - picked(a, wish, daily)
    fees = [t.move_in_usd_per_object + t.request_usd for t in book.tiers]
    small = a.where(s.tier == wish, False, a.smaller(p.floor_days, s.remaining) * saving < picked(a, wish, fees))
    warming = a.where(down, s.age < a.smaller(p.warm_up_share * back, p.warm_up_days), False)
    rested = s.resident >= a.smaller(p.residence_share * back, a.smaller(p.horizon_days, s.remaining))
    came_up = a.where(down, s.came_from > s.tier, False)
    undoes = a.where(up, s.came_from == wish, False)
    early = a.where(undoes, s.resident < a.smaller(back, a.smaller(p.horizon_days, s.remaining)), False)
    cold = a.where(down, wish == COLD, False)
    tests = (
        small,
        warming,
        a.where(came_up, a.denied(rested), False),
        a.where(early, s.since < p.brake_reads, False),
        a.where(cold, s.interest < p.interest_days, False),
        a.where(cold, s.written < p.write_hot_days, False),
    )
    found: Column = s.tier * 0
    for name, applies in reversed(tuple(zip(HOLDS, tests, strict=True))):
        found = a.where(applies, CODE[name], found)
    return found


def _fees_decide(
    a: Arithmetic, s: Situation, p: Policy, book: PriceBook, wish: Column, leave: tuple[Column, ...],
    rise: tuple[Column, ...], moves: tuple[Column, ...],
) -> Column:  # fmt: skip
    """Does it stay only for the fees per object? True of tiny ones: bytes alone would have moved it."""
    fees = [a.where(s.tier == g, 0.0, (1.0 + p.margin) * book.tiers[g].move_in_usd_per_object) for g in EVERY]
    down, up = (tuple(total - fee for total, fee in zip(totals, fees, strict=True)) for totals in (leave, rise))
    return a.where(wish == s.tier, _wish(a, s, p, down, up, moves) != s.tier, False)


def _spiked(a: Arithmetic, s: Situation, p: Policy, book: PriceBook, moves: tuple[Column, ...]) -> Column:
    """Where a spike wants the unit: today's reads go on for some days, and have already cost as much as the move."""
    reads = access(book, s.today_visits, s.today_gb)
    here = picked(a, s.tier, reads)
    found = []
    for g in EVERY:
        total = p.spike_days * (holding(book, s.gb)[g] + reads[g]) + moves[g]
        paid = a.where(s.tier == g, True, here - reads[g] >= moves[g])
        total = a.where(s.tier >= g, a.where(paid, total, NEVER), NEVER)
        found.append(a.where(s.hottest > g, NEVER, total))
    return least(a, found)


def _reason(a: Arithmetic, s: Situation, final: Column, held_by: Column, breaks: tuple[Column, ...]) -> Column:
    """Why: of a move, what moved it; of a stay, what held it."""
    past = s.idle >= _edge(a, s.tier, final, breaks)
    down = a.where(past, CODE["IDLE_PAST_BREAKEVEN"], CODE["RATE_DOWN"])
    moved = a.where(final < s.tier, CODE["RATE_UP"], down)
    moved = a.where(s.reads > 0.0, moved, CODE["PRIOR_ONLY"])
    return a.where(final == s.tier, held_by, moved)
