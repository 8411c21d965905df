"""What a day, a read and a move cost, and when leaving pays.

Room: stratum/core. May import: core.tiering.{arithmetic, prices}.

Written for one unit or for columns of units (see arithmetic). `gb` is a unit's size in GB.

Source: the cost model of docs/tiering.md, section 2.
"""

from collections.abc import Sequence

from stratum.core.tiering.arithmetic import ONE, Arithmetic, Column, picked
from stratum.core.tiering.prices import GB, TIERS, PriceBook

IN_FULL = 0.99  # of the bytes: then they were at hand, and a move up reads nothing again


def reads_of(size: int, sent: int) -> int:
    """How many reads `sent` bytes of a unit of `size` bytes are: whole readings, and at least one."""
    return max(1, int(sent / size + 0.5)) if size else 1


def holding(book: PriceBook, gb: Column) -> tuple[Column, ...]:
    """A day's rent in each tier."""
    return tuple(gb * rent for rent in book.rent)


def access(book: PriceBook, reads: Column, gb_read: Column) -> tuple[Column, ...]:
    """What reading costs from each tier: fees, and somebody's waiting."""
    return tuple(reads * one + gb_read * per_gb for one, per_gb in zip(book.per_read, book.per_gb, strict=True))


def full_read(book: PriceBook, gb: Column) -> tuple[Column, ...]:
    """One read of all bytes, from each tier."""
    return access(book, 1.0, gb)


def read_in_full(gb: Column, gb_read: Column) -> Column:
    """Did the reads of the day bring (nearly) all bytes?"""
    return gb_read >= IN_FULL * gb


def moving(a: Arithmetic, book: PriceBook, gb: Column, source: int, target: int, at_hand: Column) -> Column:
    """One move. `at_hand`: the unit was read in full that day. Down pays no retrieval."""
    if source == target:
        return gb * 0.0
    into, out = book.tiers[target], book.tiers[source]
    paid = gb * into.write_usd_per_gb + into.move_in_usd_per_object
    if target > source:
        return paid
    return paid + a.where(at_hand, 0.0, gb * out.retrieval_usd_per_gb + out.request_usd)


def moves_from(a: Arithmetic, book: PriceBook, gb: Column, tier: Column, at_hand: Column) -> tuple[Column, ...]:
    """The move from each unit's own tier to each tier."""
    every = range(len(TIERS))
    return tuple(picked(a, tier, [moving(a, book, gb, f, g, at_hand) for f in every]) for g in every)


def early_leave(a: Arithmetic, book: PriceBook, gb: Column, tier: Column, days: Column) -> Column:
    """The rent for what is missing of the minimum stay, `days` after entering the tier."""
    per_tier = [t.minimum_days for t in book.tiers]
    missing = a.larger(picked(a, tier, per_tier) - days, 0.0)
    return missing * picked(a, tier, holding(book, gb))


def break_even(a: Arithmetic, book: PriceBook, gb: Column, hotter: int, colder: int) -> Column:
    """T*: the idle days after which having stayed costs as much as leaving and one full read from the colder tier.

    Infinite where the colder tier is not cheaper to hold.
    """
    up, down = book.tiers[hotter], book.tiers[colder]
    read = full_read(book, gb)
    there_and_back = gb * (up.write_usd_per_gb + down.write_usd_per_gb)
    fees = up.move_in_usd_per_object + down.move_in_usd_per_object
    return a.divided(read[colder] - read[hotter] + there_and_back + fees, gb * (book.rent[hotter] - book.rent[colder]))


def day_gb(sent: int) -> float:
    """Bytes in GB."""
    return sent / GB


def worked(
    a: Arithmetic, book: PriceBook, gb: Column, values: Sequence[Column], reads: Column, gb_read: Column
) -> tuple[Column, ...]:
    """The optimum's values after the costs of a day: the least cost so far of being in each tier on that day."""
    held, read = holding(book, gb), access(book, reads, gb_read)
    return tuple(value + rent + cost for value, rent, cost in zip(values, held, read, strict=True))


def overnight(
    a: Arithmetic, book: PriceBook, gb: Column, values: Sequence[Column], at_hand: Column
) -> tuple[Column, ...]:
    """The optimum's values after the night's moves, at most one each."""
    every = range(len(TIERS))
    found = []
    for g in every:
        best = values[g]
        for f in every:
            if f != g:
                best = a.smaller(best, values[f] + moving(a, book, gb, f, g, at_hand))
        found.append(best)
    return tuple(found)


def break_evens(book: PriceBook, gb: float) -> dict[str, float]:
    """T* of every edge, by name, for people."""
    edges = ((0, 1), (0, 2), (1, 2))
    return {f"{TIERS[f]}-{TIERS[g]}": break_even(ONE, book, gb, f, g) for f, g in edges}
