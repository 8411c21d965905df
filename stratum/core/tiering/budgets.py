"""Budgets of moves: so much per hour and day, and not more at once.

Room: stratum/core. May import: core.tiering.settings.

Token buckets. One holds an hour's (for money: a day's) worth. What is larger than a bucket goes when it is full, and
leaves it in debt, so that a volume larger than the budget of an hour is moved too, but seldom.
"""

from stratum.core.tiering.settings import Tiering

GIGABYTES, REQUESTS, MONEY = "gigabytes", "requests", "money"


class Tokens:
    """One budget: `per_hour` flow in, at most `most` are kept. 0 an hour: no bound."""

    __slots__ = ("_at", "_left", "most", "per_hour")

    def __init__(self, per_hour: float, most: float) -> None:
        self.per_hour = per_hour
        self.most = most
        self._left = most
        self._at = 0.0

    def left(self, hour: float) -> float:
        """What may be taken at a time (in hours, of any origin); infinite without a bound."""
        if self.per_hour <= 0:
            return float("inf")
        if self._at:
            self._left = min(self.most, self._left + self.per_hour * max(0.0, hour - self._at))
        self._at = hour
        return self._left

    def take(self, amount: float) -> None:
        """Take so much, even into debt; `left` was asked before."""
        self._left -= amount


class Budgets:
    """All that an operator set."""

    def __init__(self, settings: Tiering) -> None:
        self.tokens = {
            GIGABYTES: Tokens(settings.gb_per_hour, settings.gb_per_hour),
            REQUESTS: Tokens(settings.requests_per_hour, settings.requests_per_hour),
            MONEY: Tokens(settings.money_per_day / 24, settings.money_per_day),
        }

    def short_of(self, hour: float, gb: float, money: float) -> str:
        """Which budget does not allow the move now; nothing: it may go."""
        for name, amount in ((GIGABYTES, gb), (REQUESTS, 1.0), (MONEY, money)):
            tokens = self.tokens[name]
            if tokens.left(hour) < min(amount, tokens.most):
                return name
        return ""

    def take(self, gb: float, money: float) -> None:
        """The move goes."""
        for name, amount in ((GIGABYTES, gb), (REQUESTS, 1.0), (MONEY, money)):
            if self.tokens[name].per_hour > 0:
                self.tokens[name].take(amount)

    def left(self, hour: float) -> dict[str, float]:
        """What is left of each budget that is bounded."""
        return {name: each.left(hour) for name, each in self.tokens.items() if each.per_hour > 0}
