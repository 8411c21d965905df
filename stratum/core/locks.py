"""Object lock: which versions must stay, and what may still be said about them.

Room: stratum/core. May import: core.errors, core.records.

Invariants
    K1  A version under legal hold, or under a retention that has not ended, is not deleted by anyone: not by a client,
        not by lifecycle. GOVERNANCE alone may be bypassed, by who is allowed to and says so.
    K2  A COMPLIANCE retention only ever grows longer.
    K3  Fail closed: a retention that is not understood (unknown mode) locks for ever.

Source: docs.aws.amazon.com/AmazonS3/latest/userguide/object-lock.html
"""

import msgspec

from stratum.core.errors import Locked
from stratum.core.records import Inode, Retention

KIND = "object_lock"  # of the configuration
GOVERNANCE, COMPLIANCE = "GOVERNANCE", "COMPLIANCE"
MODES = (GOVERNANCE, COMPLIANCE)
DAY_NS = 86_400 * 10**9
MILLISECOND = 10**6  # ns
YEAR_DAYS = 365


class ObjectLock(msgspec.Struct, frozen=True, array_like=True):
    """What a bucket with object lock gives to versions that come without a retention. `mode` empty: nothing.

    Exactly one of `days` and `years` (of 365 days) is not 0 where there is a mode.
    """

    mode: str = ""
    days: int = 0
    years: int = 0


def default_retention(lock: ObjectLock | None, now: int) -> Retention | None:
    """The retention of a version written at `now` (ns) that brings none of its own."""
    if lock is None or not lock.mode:
        return None
    until = now + (lock.days + YEAR_DAYS * lock.years) * DAY_NS
    return Retention(lock.mode, -(-until // MILLISECOND) * MILLISECOND)  # as S3 shows it, so that it compares equal


def is_retained(inode: Inode, now: int) -> bool:
    """Is its retention, if any, still running at `now` (ns)? (K3)"""
    retention = inode.retention
    return retention is not None and (retention.mode not in MODES or retention.until > now)


def is_locked(inode: Inode, now: int) -> bool:
    """Does anything hold this version at `now` (ns)?"""
    return inode.legal_hold or is_retained(inode, now)


def check_deletable(inode: Inode, now: int, *, bypass_governance: bool) -> None:
    """May this version be deleted at `now` (ns)? Evaluate it in the change that deletes. Raises Locked (K1)."""
    if inode.legal_hold:
        raise Locked("the version is under legal hold")
    if not is_retained(inode, now):
        return
    assert inode.retention is not None, "it is retained"
    if not (bypass_governance and inode.retention.mode == GOVERNANCE):
        raise Locked(f"the version is under {inode.retention.mode} retention")


def with_retention(inode: Inode, wanted: Retention | None, now: int, *, bypass_governance: bool) -> Inode:
    """The version with another retention, or (None) without one. Raises Locked (K2).

    Making a running one longer in the same mode is free; anything else of a GOVERNANCE one needs the bypass.
    """
    old = inode.retention
    if old is not None and is_retained(inode, now):
        longer = wanted is not None and wanted.mode == old.mode and wanted.until >= old.until and old.mode in MODES
        if not longer and not (bypass_governance and old.mode == GOVERNANCE):
            raise Locked(f"a {old.mode} retention is not taken back")
    return msgspec.structs.replace(inode, retention=wanted)
