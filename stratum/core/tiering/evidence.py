"""Evidence of a unit (a volume; in replay an object): what is remembered of its reads, in at most 64 bytes.

Room: stratum/core. May import: core.tiering.{arithmetic, costs, optimum, policy, prices}.

Days are UTC days since 1970. Counters and accounts are worth what stands here on the evening of the day `counted`; days
without a read are made up for when a unit is looked at next (`settled`), so an idle unit costs no write.

Invariants
    E1  packed() is PACKED_BYTES long, for every evidence.
    E2  What a day adds depends on that day and on earlier ones only.
"""

import struct

import msgspec

from stratum.core.tiering.arithmetic import ONE
from stratum.core.tiering.costs import access, holding, overnight, read_in_full, worked
from stratum.core.tiering.policy import Policy, decays
from stratum.core.tiering.prices import PriceBook

# born, counted, last_read, moved, interest, written, minute: u16; bitmap, group: u32; tiers (2 bits each of tier,
# came_from, start), since: u8; recent: f16; reads, gb_per_size, visits, spent, three values: f32.
# 14 + 8 + 2 + 2 + 28 = 54 bytes, so that 73 records fill a page (core.tiering.blocks).
_LAYOUT = struct.Struct("<7H2I2Be7f")
PACKED_BYTES = _LAYOUT.size
NO_DAY = 0  # 1970-01-01: never
NO_TIER = 3
_MOST_RECENT = 65504.0  # the largest f16
ACTIVE_DAYS = 32


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered of one unit."""

    born: int  # day of the first observation
    counted: int  # day up to which counters and accounts are done
    last_read: int = NO_DAY
    moved: int = NO_DAY
    interest: int = NO_DAY  # looked at (HEAD, 304) without a read
    written: int = NO_DAY  # written over
    active: int = 0  # bit i: a read on day counted - i
    group: int = 0
    minute: int = 0  # of the day last_read: the last visit, for the two-hour counter
    tier: int = 1
    came_from: int = NO_TIER
    start: int = 1
    since: int = 0  # distinct days with reads since the last move
    reads: float = 0.0  # decayed sum of the share read per day, at most 1 a day
    gb_per_size: float = 0.0  # decayed sum of bytes / size, without that limit
    visits: float = 0.0  # decayed sum of reads
    recent: float = 0.0  # visits, half-life two hours
    spent: float = 0.0  # the guard's ledger: cost so far
    values: tuple[float, float, float] = (0.0, 0.0, 0.0)  # the optimum's least cost of being in each tier tonight


def packed(evidence: Evidence) -> bytes:
    """The evidence as stored. Counters keep seven digits, which is far below what they mean."""
    e = evidence
    days = (e.born, e.counted, e.last_read, e.moved, e.interest, e.written, e.minute)
    tiers = e.tier | e.came_from << 2 | e.start << 4
    sums = (e.reads, e.gb_per_size, e.visits, e.spent, *e.values)
    return _LAYOUT.pack(*days, e.active, e.group, tiers, min(e.since, 255), min(e.recent, _MOST_RECENT), *sums)


def unpacked(stored: bytes) -> Evidence:
    """The evidence that was packed. Raises struct.error if `stored` is none."""
    born, counted, last, moved, interest, written, minute, active, group, tiers, since, *sums = _LAYOUT.unpack(stored)
    recent, reads, share, visits, spent, *values = sums
    return Evidence(
        born=born, counted=counted, last_read=last, moved=moved, interest=interest, written=written,
        active=active, group=group, minute=minute, since=since,
        tier=tiers & 3, came_from=tiers >> 2 & 3, start=tiers >> 4 & 3,
        reads=reads, gb_per_size=share, visits=visits, recent=recent,
        spent=spent, values=(values[0], values[1], values[2]),
    )  # fmt: skip


def first(day: int, *, tier: int, group: int = 0) -> Evidence:
    """The evidence of a unit that appears on `day`. Its counters begin empty: the first `after` counts that day."""
    empty = tuple(0.0 if tier == each else float("inf") for each in range(3))
    values = (empty[0], empty[1], empty[2])
    return Evidence(born=day, counted=day - 1, tier=tier, start=tier, group=group, values=values)


def after(
    evidence: Evidence, gb: float, reads: float, gb_read: float, book: PriceBook, policy: Policy, *, swept: bool = False
) -> Evidence:
    """The evidence with the day after `counted`: `reads` visits that sent `gb_read`. Accounts as of that evening."""
    e, kept = evidence, decays(policy.half_life_days)[1]
    share = gb_read / gb if gb > 0 else (1.0 if reads else 0.0)
    credit = policy.sweep_credit if swept else 1.0
    held, read = holding(book, gb)[e.tier], access(book, reads, gb_read)[e.tier]
    values = worked(ONE, book, gb, e.values, reads, gb_read)
    day = e.counted + 1
    return msgspec.structs.replace(
        e,
        counted=day,
        last_read=day if reads else e.last_read,
        active=((e.active << 1) | (1 if reads else 0)) & 0xFFFFFFFF,
        since=e.since + (1 if reads else 0),
        reads=e.reads * kept + credit * min(1.0, share),
        gb_per_size=e.gb_per_size * kept + credit * share,
        visits=e.visits * kept + credit * reads,
        spent=e.spent + held + read,
        values=(values[0], values[1], values[2]),
    )


def at_night(evidence: Evidence, gb: float, gb_read: float, book: PriceBook, target: int, move_cost: float) -> Evidence:
    """The evidence after the night: the unit moves to `target` (or stays), the optimum moves as it likes."""
    values = overnight(ONE, book, gb, evidence.values, read_in_full(gb, gb_read))
    stayed = msgspec.structs.replace(evidence, values=(values[0], values[1], values[2]))
    if target == evidence.tier:
        return stayed
    return msgspec.structs.replace(
        stayed,
        tier=target,
        came_from=evidence.tier,
        moved=evidence.counted,
        since=0,
        spent=evidence.spent + move_cost,
    )


def settled(evidence: Evidence, gb: float, day: int, book: PriceBook, policy: Policy) -> Evidence:
    """The evidence after idle days in which the unit stayed where it is, until the evening of `day`."""
    while evidence.counted < day:
        if evidence.counted >= evidence.born:
            evidence = at_night(evidence, gb, 0.0, book, evidence.tier, 0.0)
        evidence = after(evidence, gb, 0.0, 0.0, book, policy)
    return evidence
