"""Evidence of a group: what the units of one prefix and type are read like, together.

Room: stratum/core. May import: core.tiering.{policy}.

A group's rate is weighted by bytes, because money is: the share of its bytes that is read in a day.
"""

import msgspec

from stratum.core.tiering.policy import Policy, decays


class GroupDay(msgspec.Struct, frozen=True):
    """One day of a group."""

    gb: float = 0.0  # of all members
    gb_read: float = 0.0  # of each member at most its size
    members: int = 0
    touched: int = 0  # members read that day


class GroupEvidence(msgspec.Struct, frozen=True):
    """What is remembered of a group: decayed sums of the days it was observed."""

    read: float = 0.0  # sum of shares read
    swept: float = 0.0  # of those, on sweep days
    exposure: float = 0.0  # sum of days
    sweeps: int = 0  # how many days were sweeps, for people


def is_sweep(day: GroupDay, policy: Policy) -> bool:
    """Was so much of the group touched that the reads say nothing about single members?"""
    return day.members >= policy.sweep_members and day.touched > policy.sweep_share * day.members


def after(evidence: GroupEvidence, day: GroupDay, policy: Policy) -> GroupEvidence:
    """The evidence with one more day, read or not."""
    kept = decays(policy.half_life_days)[1]
    share = day.gb_read / day.gb if day.gb > 0 else 0.0
    sweep = is_sweep(day, policy)
    priced = share * (1.0 - policy.sweep_credit) if sweep else 0.0
    return GroupEvidence(
        read=evidence.read * kept + (share - priced),
        swept=evidence.swept * kept + priced,
        exposure=evidence.exposure * kept + 1.0,
        sweeps=evidence.sweeps + sweep,
    )


def rate_of(evidence: GroupEvidence, policy: Policy) -> float:
    """The rate of a member nothing else is known of, shrunk to the general prior. Full reads per day."""
    known = evidence.read + policy.group_days * policy.prior_rate
    return known / (evidence.exposure + policy.group_days)


def sweep_rate_of(evidence: GroupEvidence, policy: Policy) -> float:
    """The rate of sweeps: they cost retrieval for every member, whatever its own history."""
    return evidence.swept / (evidence.exposure + policy.group_days)
