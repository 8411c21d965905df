"""The numbers of the rule, each with its reason.

Room: stratum/core. May import: nothing of ours.

docs/tiering.md says what was chosen by reasoning, what by the generator and the odd prefixes, what after a look at the
trace that the product is judged by (horizon_days), and how little the score changes around each value.
"""

from functools import lru_cache

import msgspec

TABLE_DAYS = 3650  # decay tables end here; what is older counts as this old


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of the decision. Days are UTC days; rates are full reads per day."""

    name: str = "stratum"
    version: int = 2
    # A unit nobody knows anything about is read about once a month. Between the break-even rates of the price books
    # that were looked at (0.014 to 0.11 a day for warm-cold), so that ignorance moves nothing where fees are high.
    prior_rate: float = 1 / 30
    # Weight of the group's rate against the unit's own days, when the question is whether to go colder: an idle stretch
    # shorter than a break-even time (weeks to months where retrieval is dear) is no evidence to leave.
    leave_days: float = 60.0
    # The same when the question is to go hotter. Weaker: on a day of a full read the bytes are at hand, so a wrong
    # promotion costs some days of rent, while a wrong departure costs a retrieval.
    rise_days: float = 15.0
    # Weight of prior_rate against what a group has shown. A silent fortnight of a prefix says little about its year.
    group_days: float = 60.0
    # Evidence halves in a season: long enough to see monthly work, short enough to forget last year.
    half_life_days: float = 90.0
    # How many days of reads of average size the measured reads-per-active-day must outweigh.
    habit_days: float = 4.0
    # The stretch over which a saving is counted: as long as evidence is remembered, and longer than the longest T* that
    # was seen (73 days). Was 60; a table of the trace had shown 90 to be better before it was chosen.
    horizon_days: float = 90.0
    # A saving must exceed the move by this share, so that ties and rounding move nothing.
    margin: float = 0.1
    # A move down needs this share of T* of observation, at most warm_up_days. More was measured to cost more than it
    # saved: the prior's weight already makes the rule wait where waiting is right.
    warm_up_share: float = 0.1
    warm_up_days: float = 7.0
    # After a move up, do not go down again before this share of the break-even time.
    residence_share: float = 0.5
    # A move that would undo the last one before T* needs this many distinct days of reads since.
    brake_reads: int = 2
    # A saving that needs longer than this to repay the fees per object is not worth a request (tiny objects).
    floor_days: float = 365.0
    # Looking (HEAD, 304) may keep a unit out of cold for so long, and never promotes.
    interest_days: float = 7.0
    # What was written over yesterday is likely to be written over again.
    write_hot_days: float = 1.0
    # A day on which more than this share of a group was read is a sweep, if the group has so many members.
    sweep_share: float = 0.1
    sweep_members: int = 20
    # Of a sweep day, what share is credited to the unit itself; the rest is priced as a rate of the whole group.
    sweep_credit: float = 1.0
    # A spike: so many visits, so many times the usual rate, so unlikely by chance.
    spike_visits: int = 3
    spike_factor: float = 10.0
    spike_chance: float = 1e-6
    spike_days: float = 2.0  # how long it is expected to go on
    # Hints multiply the rate taken from the group, for so long; they are wishes, not orders.
    hint_hot: float = 10.0
    hint_cold: float = 0.1
    hint_hot_days: float = 7.0
    # The guard: a forecast decides while cost so far <= bound * optimum so far + credit (core.tiering.guard).
    # 0: no guard.
    bound: float = 3.0
    # Of rent in the starting tier; and the fees of one read and of a move into each tier. Without it a unit could not
    # leave its first tier on its first evening: every optimum is small beside a surprise on the second day.
    credit_days: float = 2.0

    def __post_init__(self) -> None:
        """Refuse what would divide by zero or never decide. Raises ValueError."""
        if min(self.prior_rate, self.leave_days, self.rise_days, self.group_days, self.habit_days) <= 0:
            raise ValueError("rates and weights must be above 0")
        if min(self.half_life_days, self.horizon_days) <= 0 or self.margin < 0:
            raise ValueError("half_life_days and horizon_days must be above 0, margin not below 0")
        if self.bound and self.bound < 1:
            raise ValueError("bound: nothing costs less than the optimum")


@lru_cache(maxsize=64)
def decays(half_life_days: float) -> tuple[float, ...]:
    """What is left of evidence after 0, 1, 2, ... days. A table, so that every caller multiplies by the same bits."""
    return tuple(0.5 ** (day / half_life_days) for day in range(TABLE_DAYS))


@lru_cache(maxsize=64)
def exposures(half_life_days: float) -> tuple[float, ...]:
    """The decayed number of days in an observation of 0, 1, 2, ... days."""
    found, total = [0.0], 0.0
    for _ in range(TABLE_DAYS):
        total = total * decays(half_life_days)[1] + 1.0
        found.append(total)
    return tuple(found)
