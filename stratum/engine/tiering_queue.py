"""Moves that were decided, and when they may go: the best first, within the budgets.

Room: stratum/engine. May import: core, engine.tiers.

In memory only: what is still here when the process ends is found again by the next evening.
"""

import heapq
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from stratum.core.errors import StratumError
from stratum.core.tiering.budgets import Budgets
from stratum.core.tiering.settings import Tiering
from stratum.engine.tiers import Tiers

log = logging.getLogger(__name__)

QUEUED = 100_000  # moves; the evening finds more of them again tomorrow


@dataclass(frozen=True, slots=True)
class Candidate:
    """A move that is worth making. `saving`: a day. `urgent`: a spike or an order of the user, not to wait behind
    what only saves."""

    volume: int
    tier: str
    reason: str
    backend: str
    gb: float
    cost: float
    saving: float
    urgent: bool = False

    @property
    def rank(self) -> tuple[bool, float, int]:
        """Smaller goes first: saving per money spent on moving."""
        return not self.urgent, -self.saving / max(self.cost, 1e-12), self.volume


class Queue:
    """What waits for its budget."""

    def __init__(self, tiers: Tiers, settings: Tiering) -> None:
        self._tiers = tiers
        self._waiting: list[tuple[tuple[bool, float, int], Candidate]] = []
        self._volumes: set[int] = set()
        self.budgets = Budgets(settings)
        self.short_of = ""  # the budget that held the first one back at the last try

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, volume: int) -> bool:
        return volume in self._volumes

    def clear(self) -> None:
        """A new evening looks at everything again."""
        self._waiting.clear()
        self._volumes.clear()

    def add(self, candidates: Sequence[Candidate]) -> None:
        """Queue some more."""
        for each in candidates:
            if each.volume not in self._volumes:
                heapq.heappush(self._waiting, (each.rank, each))
                self._volumes.add(each.volume)
        if len(self._waiting) > QUEUED:
            self._waiting = heapq.nsmallest(QUEUED, self._waiting)
            self._volumes = {each.volume for _, each in self._waiting}

    async def issue(self, hour: float) -> int:
        """Let go what the budgets allow now; return how many."""
        going: dict[tuple[str, str, str], list[int]] = {}
        count = 0
        self.short_of = ""
        while self._waiting and count < 500:
            each = self._waiting[0][1]
            self.short_of = self.budgets.short_of(hour, each.gb, each.cost)
            if self.short_of:
                break
            heapq.heappop(self._waiting)
            self._volumes.discard(each.volume)
            self.budgets.take(each.gb, each.cost)
            going.setdefault((each.tier, each.reason, each.backend), []).append(each.volume)
            count += 1
        for (tier, reason, backend), volumes in going.items():
            try:
                await self._tiers.want(volumes, tier, reason, backend)
            except StratumError as error:  # the next evening wishes them again
                log.warning("%d volumes could not be wished to %s: %s", len(volumes), tier, error)
        return count
