"""Inodes as the kernel wants them described: what every transport says the same.

Room: stratumfs. May import: core.records.
"""

from stratum.core.records import Inode, Kind

CACHED_S = 60.0  # kernel caches may keep names and attributes so long: every change over S3 invalidates them exactly
NAME_BYTES = 255
BLOCK_BYTES, STAT_BLOCK_BYTES = 4096, 512
FIRST_NS, LAST_NS = -(1 << 63), (1 << 63) - 1  # the years 1677 to 2262; times beyond become these
INODES = 1 << 40  # shown as the number of inodes: nothing limits it


def shown_size(inode: Inode) -> int:
    """The size that stat(2) shows."""
    return BLOCK_BYTES if inode.kind is Kind.DIRECTORY else inode.size


def stat_blocks(inode: Inode, size: int) -> int:
    """The room that stat(2) shows, for a shown size: holes take none."""
    return -(-(size - inode.holes) // STAT_BLOCK_BYTES)


def storable(time: int) -> int:
    """A time in ns, or the nearest one that can be kept."""
    return min(max(time, FIRST_NS), LAST_NS)
