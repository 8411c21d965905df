"""The services that work off what follows from writes and requests, put together.

Room: stratum/engine. May import: core, engine.{lifecycle, objects, surroundings}.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from stratum.core.config import Settings
from stratum.engine.lifecycle import Lifecycle
from stratum.engine.objects import Objects
from stratum.engine.surroundings import Surroundings


@dataclass(slots=True)
class FollowUps:
    """Lifecycle rules, and what is told of writes."""

    lifecycle: Lifecycle

    @property
    def services(self) -> list[Callable[[], Awaitable[None]]]:
        """What runs for as long as the engine does."""
        return [self.lifecycle.run]


def follow_ups(around: Surroundings, objects: Objects, settings: Settings) -> FollowUps:
    """Make them, and let the consequences of writes reach them."""
    lifecycle = Lifecycle(around, objects, settings.day_seconds)
    around.consequences.add(lifecycle)
    return FollowUps(lifecycle)
