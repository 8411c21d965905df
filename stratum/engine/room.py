"""How much content the disks of a tier can hold together, and what of that is free: for status and for statfs.

Room: stratum/engine. May import: core, store.disks.

The same formula as placement works by (core/capacity.py), so for disks of unequal sizes, too, it is what can really be
stored, less parity. Disks that are out of service or to be emptied do not count.
"""

from dataclasses import dataclass

from stratum.core.capacity import usable_bytes
from stratum.core.config import Settings
from stratum.core.tiers import HOT, WARM
from stratum.store.disks import Disks


@dataclass(frozen=True, slots=True)
class Capacity:
    """Bytes of content: all that fits (so much of it with the full code, the rest with narrower ones), and free."""

    usable_bytes: int
    full_code_bytes: int
    free_bytes: int


def code_of(settings: Settings, tier: str) -> tuple[int, int]:
    """(data shards, parity shards) of a tier with disks."""
    warm = settings.warm
    return (warm.k, warm.parity) if tier == WARM and warm is not None else (settings.k, settings.parity)


def capacity_of(disks: Disks, settings: Settings, tier: str = HOT) -> Capacity:
    """Of the disks in service, as of the last look at them. Folders on one device share it."""
    k, parity = code_of(settings, tier)
    spaces = disks.room(disks.taking(tier)).values()
    totals = [space.total for space in spaces]
    return Capacity(
        usable_bytes=usable_bytes(totals, k, parity),
        full_code_bytes=usable_bytes(totals, k, parity, narrower=False),
        free_bytes=usable_bytes([space.free for space in spaces], k, parity),
    )
