"""Inodes as the kernel wants them described: what every transport says the same.

Room: stratumfs. May import: core.records, engine.file_history.
"""

from stratum.core.records import Inode, Kind
from stratum.engine.file_history import VIEW

CACHED_S = 60.0  # kernel caches may keep names and attributes so long: every change over S3 invalidates them exactly
NAME_BYTES = 255
BLOCK_BYTES, STAT_BLOCK_BYTES = 4096, 512
FIRST_NS, LAST_NS = -(1 << 63), (1 << 63) - 1  # the years 1677 to 2262; times beyond become these
INODES = 1 << 40  # shown as the number of inodes: nothing limits it


def cached_s(number: int) -> float:
    """For how long kernel caches may keep what they are told of an inode.

    What is in the view of earlier versions has no names that could be invalidated: nobody keeps account of who looked.
    """
    return CACHED_S if number < VIEW else 0.0


def shown_size(inode: Inode) -> int:
    """The size that stat(2) shows."""
    return BLOCK_BYTES if inode.kind is Kind.DIRECTORY else inode.size


def stat_blocks(inode: Inode, size: int) -> int:
    """The room that stat(2) shows, for a shown size: holes take none."""
    return -(-(size - inode.holes) // STAT_BLOCK_BYTES)


def storable(time: int) -> int:
    """A time in ns, or the nearest one that can be kept."""
    return min(max(time, FIRST_NS), LAST_NS)
