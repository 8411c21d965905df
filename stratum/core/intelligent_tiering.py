"""Intelligent-Tiering configurations of a bucket, as S3 clients store them.

Room: stratum/core. May import: nothing.

They speak of objects in the storage class INTELLIGENT_TIERING. See docs/decisions/0011-storage-classes.md for what
follows from one here.
"""

from collections.abc import Mapping

import msgspec

KIND = "intelligent_tiering"
STORAGE_CLASS = "INTELLIGENT_TIERING"
CONFIGURATIONS_MAX = 1000  # of one bucket
ID_CHARACTERS = 64


class ArchiveTier(msgspec.Struct, frozen=True, array_like=True):
    """After how many days without access an object is to move to a tier (ARCHIVE_ACCESS, DEEP_ARCHIVE_ACCESS)."""

    tier: str
    days: int


class TieringConfiguration(msgspec.Struct, frozen=True, array_like=True):
    """One configuration: for the objects with the prefix and all of the tags."""

    enabled: bool
    tiers: tuple[ArchiveTier, ...]
    prefix: str | None = None
    tags: dict[str, str] = {}


class TieringConfigurations(msgspec.Struct, frozen=True, array_like=True):
    """Those of a bucket, by id."""

    configurations: dict[str, TieringConfiguration] = {}


def cold_after(stored: TieringConfigurations, key: bytes, tags: Mapping[str, str]) -> int:
    """The days without a read before an object of the class may be in cold: the fewest that any of them says; 0: none.

    Source: docs.aws.amazon.com/AmazonS3/latest/userguide/intelligent-tiering-overview.html (opt-in archive tiers).
    """
    days = [
        each.days
        for one in stored.configurations.values()
        if one.enabled and key.startswith((one.prefix or "").encode()) and one.tags.items() <= tags.items()
        for each in one.tiers
    ]
    return min(days, default=0)
