"""The few operations in which one number and a column of numbers differ.

Room: stratum/core. May import: nothing of ours.

The rule is written once, over these and `+ - * /` and comparisons. Production calls it with ONE, replay with the same
operations over numpy columns. All of them round the same way (IEEE 754, no logarithm, no power), so that both forms
give the same bits: a property test holds them to it.
"""

from collections.abc import Sequence
from typing import Any, Protocol

Column = Any  # a float, int or bool; or a numpy array of them


class Arithmetic(Protocol):
    """What the rule needs."""

    def where(self, condition: Column, yes: Column, no: Column) -> Column:
        """`yes` where the condition holds, else `no`."""

    def smaller(self, a: Column, b: Column) -> Column:
        """The smaller one."""

    def larger(self, a: Column, b: Column) -> Column:
        """The larger one."""

    def divided(self, a: Column, b: Column) -> Column:
        """a / b; infinite where b is not above 0."""

    def denied(self, condition: Column) -> Column:
        """True where the condition does not hold."""

    def some(self, condition: Column) -> bool:
        """Does the condition hold anywhere?"""


class _One:
    """One number at a time."""

    def where(self, condition: Column, yes: Column, no: Column) -> Column:
        return yes if condition else no

    def smaller(self, a: Column, b: Column) -> Column:
        return a if a < b else b

    def larger(self, a: Column, b: Column) -> Column:
        return a if a > b else b

    def divided(self, a: Column, b: Column) -> Column:
        return a / b if b > 0 else float("inf")

    def denied(self, condition: Column) -> Column:
        return not condition

    def some(self, condition: Column) -> bool:
        return bool(condition)


ONE: Arithmetic = _One()


def picked(a: Arithmetic, tier: Column, per_tier: Sequence[Column]) -> Column:
    """The entry of each unit's own tier."""
    return a.where(tier == 0, per_tier[0], a.where(tier == 1, per_tier[1], per_tier[2]))


def least(a: Arithmetic, per_tier: Sequence[Column]) -> Column:
    """The index of the smallest of three; the hotter tier when equal."""
    first = a.where(per_tier[1] < per_tier[0], 1, 0)
    return a.where(per_tier[2] < a.smaller(per_tier[0], per_tier[1]), 2, first)
