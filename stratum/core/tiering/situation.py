"""What the rule looks at: everything known of a unit on one evening, as numbers.

Room: stratum/core. May import: core.tiering.{arithmetic, evidence, groups, policy, prices}.

A field is one number, or a column of them in replay. Nothing here knows a later day.
"""

import msgspec

from stratum.core.tiering.evidence import NO_DAY, NO_TIER, Evidence
from stratum.core.tiering.groups import GroupEvidence, rate_of, sweep_rate_of
from stratum.core.tiering.policy import Policy, exposures
from stratum.core.tiering.prices import COLD, HOT, TIERS

LONG_AGO = 1_000_000  # days: never


class Situation(msgspec.Struct, frozen=True, kw_only=True):
    """One evening of one unit. Days count up to this evening, which is included."""

    gb: float
    tier: int
    start: int  # tier it started in
    age: int  # days observed
    resident: int  # days since it entered the tier; LONG_AGO if it started there
    idle: int  # days since the last read, or since the first observation
    came_from: int = NO_TIER  # the tier before the last move
    since: int = 0  # distinct days with reads since the last move
    reads: float = 0.0  # decayed sum of the share read per day, at most 1 a day
    gb_per_size: float = 0.0  # the same without that limit
    visits: float = 0.0  # decayed sum of reads
    exposure: float = 0.0  # decayed sum of days
    group_rate: float = 0.0  # full reads per day of a member of its group
    sweep_rate: float = 0.0
    at_hand: bool = False  # read in full today
    spike: bool = False
    today_visits: float = 0.0
    today_gb: float = 0.0
    hint: float = 1.0  # multiplies group_rate
    remaining: int = LONG_AGO  # days until nobody needs it any more, as far as its users said
    coldest: int = COLD  # constraints: a pin to a tier is coldest = hottest = that tier; no-cold is coldest = warm
    hottest: int = HOT
    interest: int = LONG_AGO  # days since somebody looked
    written: int = LONG_AGO  # days since it was written over
    shadow: tuple[float, float, float] = (0.0, 0.0, 0.0)  # per GB and day, of tiers that run full
    spent: float = 0.0  # the guard's account of cost so far, this evening included
    values: tuple[float, float, float] = (0.0, 0.0, 0.0)  # least cost so far of being in each tier tomorrow


class Wishes(msgspec.Struct, frozen=True, kw_only=True):
    """What the user said about a unit, by object metadata, tag, xattr or bucket policy."""

    hint: str = ""  # "hot", "cold" or none
    hinted: int = NO_DAY  # the day of the hint
    pin: str = ""  # a tier, or none
    coldest: str = "cold"
    hottest: str = "hot"
    cold_after: int = 0  # days without a read before it may be in cold
    expires: int = NO_DAY  # from this day on nobody needs it
    schedule: frozenset[int] = frozenset()  # hours of the week at which it will be read

    def __post_init__(self) -> None:
        """Refuse words that mean nothing. Raises ValueError."""
        if self.hint not in ("", "hot", "cold"):
            raise ValueError(f"hint {self.hint!r}: hot, cold or nothing")
        for tier in (self.pin or "hot", self.coldest, self.hottest):
            if tier not in TIERS:
                raise ValueError(f"{tier!r} is no tier: {', '.join(TIERS)}")
        if TIERS.index(self.hottest) > TIERS.index(self.coldest):
            raise ValueError("the hottest tier allowed is colder than the coldest")


NO_WISHES = Wishes()


def hint_factor(wishes: Wishes, day: int, policy: Policy) -> float:
    """By what the rate taken from the group is multiplied. A hint `hot` ends by itself, a hint `cold` stays.

    What its users said would be useless by now is read as seldom as what they said was cold.
    """
    if wishes.hint == "cold" or 0 < wishes.expires <= day:
        return policy.hint_cold
    hot = wishes.hint == "hot" and day - wishes.hinted < policy.hint_hot_days
    return policy.hint_hot if hot else 1.0


def on_evening(
    evidence: Evidence,
    gb: float,
    group: GroupEvidence,
    policy: Policy,
    *,
    values: tuple[float, float, float],
    wishes: Wishes = NO_WISHES,
    today: tuple[float, float] = (0.0, 0.0),
    at_hand: bool = False,
    spike: bool = False,
    shadow: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> Situation:
    """The situation of a unit whose evidence is settled up to this evening.

    `values`: as after this night (costs.overnight). `today`: visits, GB.
    """
    e, day, table = evidence, evidence.counted, exposures(policy.half_life_days)
    age = day - e.born + 1
    pinned = TIERS.index(wishes.pin) if wishes.pin else None
    idle = day - (e.last_read or e.born)
    coldest = TIERS.index(wishes.coldest) if idle >= wishes.cold_after else min(COLD - 1, TIERS.index(wishes.coldest))
    return Situation(
        gb=gb,
        tier=e.tier,
        start=e.start,
        age=age,
        resident=day - e.moved if e.moved else LONG_AGO,
        idle=idle,
        came_from=e.came_from,
        since=e.since,
        reads=e.reads,
        gb_per_size=e.gb_per_size,
        visits=e.visits,
        exposure=table[min(age, len(table) - 1)],
        group_rate=rate_of(group, policy),
        sweep_rate=sweep_rate_of(group, policy),
        at_hand=at_hand,
        spike=spike,
        today_visits=today[0],
        today_gb=today[1],
        hint=hint_factor(wishes, day, policy),
        remaining=wishes.expires - day if wishes.expires > day else LONG_AGO,
        coldest=coldest if pinned is None else pinned,
        hottest=TIERS.index(wishes.hottest) if pinned is None else pinned,
        interest=day - e.interest if e.interest else LONG_AGO,
        written=day - e.written if e.written else LONG_AGO,
        shadow=shadow,
        spent=e.spent,
        values=values,
    )
