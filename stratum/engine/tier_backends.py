"""The backends that the settings name.

Room: stratum/engine. May import: core, store. What remote backends need is imported only where there is one.
"""

from collections.abc import Callable, Sequence

from stratum.core.config import Settings
from stratum.core.txn import Txn
from stratum.store.backends import Backend
from stratum.store.meta import Meta
from stratum.store.volumes import Volumes
from stratum.store.warm import WarmDisks


def backends_of(
    settings: Settings, store_id: bytes, volumes: Volumes, meta: Meta, cold: Sequence[Backend] | None
) -> dict[str, Backend]:
    """By name, the warm one first. `cold`: the cold ones, if they are not to be made from the settings."""
    found: list[Backend] = []
    if settings.warm is not None:

        async def write(change: Callable[[Txn], None]) -> None:
            await meta.write(change)

        found.append(WarmDisks(volumes, write))
    found += _remote(settings, store_id) if cold is None else cold
    return {each.name: each for each in found}


def _remote(settings: Settings, store_id: bytes) -> list[Backend]:
    if not settings.cold:
        return []
    from stratum.store.guarded import Guarded
    from stratum.store.remote import RemoteBucket

    return [Guarded(RemoteBucket(each, store_id, settings.limits), settings.limits) for each in settings.cold]
