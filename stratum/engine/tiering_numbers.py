"""Numbers of deciding for the metrics.

Room: stratum/engine. May import: nothing of ours.
"""

from bisect import bisect_left

TIERS = ("hot", "warm", "cold", "mixed")
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Census:
    """What is in each tier."""

    def __init__(self) -> None:
        self.bytes: dict[str, int] = {}
        self.objects: dict[str, int] = {}

    def add(self, tier: str, size: int) -> None:
        """A volume of so many bytes."""
        self.bytes[tier] = self.bytes.get(tier, 0) + size

    def moved(self, source: str, target: str, size: int) -> None:
        """A volume is elsewhere now."""
        self.bytes[source] = max(0, self.bytes.get(source, 0) - size)
        self.add(target, size)


class FirstBytes:
    """How long first bytes took, per tier: a histogram each."""

    def __init__(self) -> None:
        self.counts = {tier: [0] * (len(SECONDS) + 1) for tier in TIERS}
        self.sums = dict.fromkeys(TIERS, 0.0)

    def note(self, tier: bytes, seconds: float) -> None:
        """One read of an object whose bytes are where `tier` says, as the header does."""
        name = tier.decode()
        name = name if name in self.counts else "mixed"
        self.counts[name][bisect_left(SECONDS, seconds)] += 1
        self.sums[name] += seconds

    def buckets(self, tier: str) -> list[tuple[str, float]]:
        """(upper bound, how many up to it), as Prometheus has them."""
        found, total = [], 0
        for bound, count in zip((*(f"{each:g}" for each in SECONDS), "+Inf"), self.counts[tier], strict=True):
            total += count
            found.append((bound, float(total)))
        return found
