"""The services that work off what follows from writes and requests, put together.

Room: stratum/engine. May import: core, store.webhooks, engine.{access_logs, inventories, lifecycle,
notifications, objects, replications, surroundings}.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from stratum.core.config import Settings
from stratum.engine.access_logs import AccessLogs
from stratum.engine.inventories import InventoryLists
from stratum.engine.lifecycle import Lifecycle
from stratum.engine.notifications import Notifying, Sender
from stratum.engine.objects import Objects
from stratum.engine.replications import Remote, Replications
from stratum.engine.resyncs import Resyncs
from stratum.engine.surroundings import Surroundings
from stratum.store.webhooks import Webhooks


@dataclass(slots=True)
class FollowUps:
    """Lifecycle rules, and what is told of writes."""

    lifecycle: Lifecycle
    notifying: Notifying
    access_logs: AccessLogs
    inventories: InventoryLists
    replications: Replications
    resyncs: Resyncs

    @property
    def services(self) -> list[Callable[[], Awaitable[None]]]:
        """What runs for as long as the engine does."""
        running = [self.lifecycle.run, self.notifying.run, self.access_logs.run, self.inventories.run]
        return [*running, self.replications.run, self.resyncs.run]

    async def close(self) -> None:
        """Write what waits in memory."""
        await self.access_logs.deliver_all()


def follow_ups(
    around: Surroundings, objects: Objects, settings: Settings, store_id: bytes, sender: Sender | None = None
) -> FollowUps:
    """Make them, and let the consequences of writes reach them. `sender`: None: over HTTP."""
    classes = frozenset(name for name, _ in settings.storage_classes)
    lifecycle = Lifecycle(around, objects, settings.day_seconds, classes)
    around.consequences.add(lifecycle)
    notifying = Notifying(around, settings.notify, settings.limits, settings.region, sender or Webhooks())
    around.consequences.add(notifying)
    access_logs = AccessLogs(around, objects, settings.limits, settings.region)
    replications = Replications(around, objects, settings, store_id, _remotes(settings, store_id))
    around.consequences.add(replications)
    inventories = InventoryLists(around, objects, settings)
    resyncs = Resyncs(around, objects, replications, settings.limits)
    return FollowUps(lifecycle, notifying, access_logs, inventories, replications, resyncs)


def _remotes(settings: Settings, store_id: bytes) -> dict[str, Remote]:
    """What they need is imported only where there is one."""
    if not settings.replication:
        return {}
    from stratum.store.replicas import RemoteBuckets

    return {each.name: RemoteBuckets(each, store_id, settings.limits) for each in settings.replication}
