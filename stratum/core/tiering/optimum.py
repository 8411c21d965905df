"""The clairvoyant optimum: what the cheapest sequence of tiers would have cost, known in hindsight.

Room: stratum/core. May import: core.tiering.{arithmetic, costs, prices}.

A dynamic programme over days and three tiers. Units do not interact (capacity is free), so the sum of their optima is
the optimum of all. Exact for books without minimum stays; with them, where the day of entering would belong to the
state, it leaves their fee out and is a lower bound.
"""

from collections.abc import Iterable, Sequence

from stratum.core.tiering.arithmetic import ONE, Arithmetic, Column
from stratum.core.tiering.costs import access, early_leave, holding, moving, overnight, read_in_full, worked
from stratum.core.tiering.prices import TIERS, PriceBook

Day = tuple[Column, Column]  # reads, GB read

NEVER = float("inf")


def at_start(gb: Column, start: int) -> tuple[Column, ...]:
    """The values before the first day: 0 in the starting tier, infinite elsewhere."""
    return tuple(gb * 0.0 + (0.0 if tier == start else NEVER) for tier in range(len(TIERS)))


def optimum(book: PriceBook, gb: Column, days: Iterable[Day], start: int, a: Arithmetic = ONE) -> Column:
    """The least cost of holding and reading a unit through `days` (or a column of units, with `a` of columns)."""
    values, paid = at_start(gb, start), None
    for reads, gb_read in days:
        paid = worked(a, book, gb, values, reads, gb_read)
        values = overnight(a, book, gb, paid, read_in_full(gb, gb_read))
    if paid is None:
        return gb * 0.0
    return a.smaller(a.smaller(paid[0], paid[1]), paid[2])


def cost_of_path(book: PriceBook, gb: float, days: Sequence[Day], path: Sequence[int]) -> float:
    """What one given sequence of tiers costs, `path[t]` the tier of day t. For judging, and for tests."""
    paid, entered = 0.0, -1
    for day, (tier, (reads, gb_read)) in enumerate(zip(path, days, strict=True)):
        paid += holding(book, gb)[tier] + access(book, reads, gb_read)[tier]
        if day + 1 < len(path) and path[day + 1] != tier:
            paid += moving(ONE, book, gb, tier, path[day + 1], read_in_full(gb, gb_read))
            paid += early_leave(ONE, book, gb, tier, day - entered) if entered >= 0 else 0.0
            entered = day
    return paid
