"""What some days of one volume cost, and what they could have cost.

Room: stratum/core. May import: core.tiering.{arithmetic, costs, optimum, prices}.

The columns are those of `stratum replay`. As there, nobody pays for a move after the last day: so a move that was made
on the last evenings, to pay over weeks, shows as dear in a week. The report says so. A move of the night before the
first day is of these days: no week before has paid for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from stratum.core.tiering.arithmetic import ONE
from stratum.core.tiering.costs import access, break_even, early_leave, holding, moving, read_in_full
from stratum.core.tiering.optimum import Day, optimum
from stratum.core.tiering.prices import COLD, HOT, TIERS, WARM, PriceBook

IDLE_WARM, IDLE_COLD = 2, 4  # days, of the rule that everybody starts with


@dataclass(frozen=True, slots=True)
class Account:
    """What some days came to."""

    rent: float
    reading: float
    moving: float
    optimum: float
    forty_eight: float
    do_nothing: float
    moves: int
    flip_flops: int
    reads: float
    cold_reads: float


def account(
    book: PriceBook, gb: float, days: Sequence[Day], path: Sequence[int], idle: int, there: Sequence[bool],
    before: int | None = None, eve: Day = (0.0, 0.0),
) -> Account:  # fmt: skip
    """Judge a volume. `days`: (visits, GB) each; `path`: its tier on each; `idle`: days without a read before them;
    `there`: which tiers exist; `before`: its tier on the day before, none if it was born on the first; `eve`: what
    that day brought."""
    rents = holding(book, gb)
    reads = [access(book, *day) for day in days]
    start = path[0] if before is None else before
    nights = [start, *path]
    moves = [at for at in range(1, len(nights)) if nights[at] != nights[at - 1]]
    return Account(
        rent=sum(rents[tier] for tier in path),
        reading=sum(cost[tier] for cost, tier in zip(reads, path, strict=True)),
        moving=_moving(book, gb, [eve, *days], nights),
        optimum=_least(book, gb, days, start, None if before is None else read_in_full(gb, eve[1])),
        forty_eight=_cost(book, gb, days, forty_eight(days, start, idle, there)),
        do_nothing=_cost(book, gb, days, [start] * len(days)),
        moves=len(moves),
        flip_flops=_undone(book, gb, nights, moves),
        reads=sum(visits for visits, _ in days),
        cold_reads=sum(visits for (visits, _), tier in zip(days, path, strict=True) if tier == COLD),
    )


def _least(book: PriceBook, gb: float, days: Sequence[Day], start: int, at_hand: bool | None) -> float:
    """The optimum, which could have moved in the night before, too: were the bytes at hand then? None: it could not."""
    if at_hand is None:
        return float(optimum(book, gb, days, start))
    every = range(len(TIERS))
    return min(float(moving(ONE, book, gb, start, g, at_hand) + optimum(book, gb, days, g)) for g in every)


def forty_eight(days: Sequence[Day], start: int, idle: int, there: Sequence[bool]) -> list[int]:
    """The path of the rule: hot at a read, at least warm after two idle days, cold after four."""
    path, tier = [], start
    for visits, _ in days:
        path.append(tier)
        idle = 0 if visits else idle + 1
        wanted = HOT if visits else COLD if idle >= IDLE_COLD else max(tier, WARM) if idle >= IDLE_WARM else tier
        tier = wanted if there[wanted] else tier
    return path


def _cost(book: PriceBook, gb: float, days: Sequence[Day], path: Sequence[int]) -> float:
    rents = holding(book, gb)
    spent = sum(rents[tier] + access(book, *day)[tier] for day, tier in zip(days, path, strict=True))
    return float(spent + _moving(book, gb, days, path))


def _moving(book: PriceBook, gb: float, days: Sequence[Day], path: Sequence[int]) -> float:
    spent, entered = 0.0, -1
    for at in range(1, len(path)):
        if path[at] != path[at - 1]:
            at_hand = read_in_full(gb, days[at - 1][1])
            spent += moving(ONE, book, gb, path[at - 1], path[at], at_hand)
            spent += early_leave(ONE, book, gb, path[at - 1], at - entered) if entered >= 0 else 0.0
            entered = at
    return spent


def _undone(book: PriceBook, gb: float, path: Sequence[int], moves: Sequence[int]) -> int:
    """Moves that took the one before back sooner than the break-even time."""
    found = 0
    for before, at in pairwise(moves):
        if path[at] == path[before - 1]:
            hotter, colder = sorted((path[at], path[at - 1]))
            found += at - before < break_even(ONE, book, gb, hotter, colder)
    return found
