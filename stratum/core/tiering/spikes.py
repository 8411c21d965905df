"""Spikes: bursts of visits that cannot wait for the evening.

Room: stratum/core. May import: core.tiering.{evidence, policy}.

The counter of recent visits halves every two hours; it is compared with what the unit usually gets in as much time.
"""

from math import exp

from stratum.core.tiering.policy import Policy

HALF_LIFE_MINUTES = 120.0
WINDOW_DAYS = HALF_LIFE_MINUTES / 1440 / 0.6931471805599453  # what the counter averages over: half-life / ln 2


def recent_visits(recent: float, minutes_ago: float) -> float:
    """The counter, so many minutes after it was last written."""
    return recent * float(0.5 ** (minutes_ago / HALF_LIFE_MINUTES))


def poisson_tail(count: int, mean: float) -> float:
    """The chance of at least `count` visits where `mean` are usual."""
    below, term = 0.0, exp(-mean)
    for number in range(count):
        below += term
        term *= mean / (number + 1)
    return max(0.0, 1.0 - below) if below < 0.999 else _far_tail(count, mean)


def _far_tail(count: int, mean: float) -> float:
    """The same where 1 - below would lose its digits: the first terms of the tail, which falls fast."""
    term = exp(-mean)
    for number in range(1, count + 1):
        term *= mean / number
    total = 0.0
    for number in range(count + 1, count + 60):
        total += term
        term *= mean / number
    return total


def spiking(*, visits: float, usual: float, swept: bool, policy: Policy) -> bool:
    """Is this a spike? `visits`: the counter now; `usual`: visits per day of the unit, from its slow evidence.

    A sweep is none: the whole group is read, and its next reader is as far away as before.
    """
    expected = usual * WINDOW_DAYS
    enough = visits >= policy.spike_visits and visits >= policy.spike_factor * expected
    return enough and not swept and poisson_tail(int(visits), expected) < policy.spike_chance
