"""Intelligent-Tiering configurations of a bucket, as S3 clients store them.

Room: stratum/core. May import: nothing.

They speak of objects in the storage class INTELLIGENT_TIERING. See docs/decisions/0011-storage-classes.md for what
follows from one here.
"""

import msgspec

KIND = "intelligent_tiering"
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
