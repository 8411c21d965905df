"""Object lock: what is locked stays, and only ever longer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum.core.errors import Locked
from stratum.core.locks import (
    COMPLIANCE,
    DAY_NS,
    GOVERNANCE,
    ObjectLock,
    check_deletable,
    default_retention,
    with_retention,
)
from stratum.core.records import Inode, Kind, Retention

times = st.integers(0, 100)
modes = st.sampled_from([GOVERNANCE, COMPLIANCE, "written by a later release"])
retentions = st.none() | st.builds(Retention, mode=modes, until=times)


def inode(retention: Retention | None = None, legal_hold: bool = False) -> Inode:
    return Inode(Kind.OBJECT, 0, 0, 0, 1, 0, 0, 0, 0, 0, retention=retention, legal_hold=legal_hold)


def deletable(each: Inode, now: int, bypass: bool = False) -> bool:
    try:
        check_deletable(each, now, bypass_governance=bypass)
    except Locked:
        return False
    return True


@given(retentions, times, st.booleans())
def test_a_legal_hold_forbids_every_delete(retention, now, bypass):
    assert not deletable(inode(retention, legal_hold=True), now, bypass)


@given(times, st.booleans())
def test_what_is_not_locked_can_be_deleted(now, bypass):
    assert deletable(inode(), now, bypass)


@given(times, times, st.booleans())
def test_a_compliance_retention_holds_to_its_end_whoever_asks(until, now, bypass):
    assert deletable(inode(Retention(COMPLIANCE, until)), now, bypass) == (now >= until)


@given(times, times, st.booleans())
def test_a_governance_retention_holds_to_its_end_or_to_a_bypass(until, now, bypass):
    assert deletable(inode(Retention(GOVERNANCE, until)), now, bypass) == (now >= until or bypass)


@given(times, times, st.booleans())
def test_a_retention_that_is_not_understood_locks_for_ever(until, now, bypass):
    assert not deletable(inode(Retention("", until)), now, bypass)


@given(retentions, retentions, times, times, st.booleans())
def test_no_change_of_retention_makes_deletable_what_was_locked_unless_bypassed(old, new, now, later, bypass):
    """K2, said from outside: whoever cannot delete a version cannot free it either."""
    before = inode(old)
    try:
        after = with_retention(before, new, now, bypass_governance=bypass)
    except Locked:
        return
    assert after.retention == new
    when = max(now, later)
    if not deletable(before, now, bypass) and not deletable(before, when, bypass):
        assert not deletable(after, when, bypass)


@pytest.mark.parametrize("mode", [GOVERNANCE, COMPLIANCE])
def test_a_running_retention_may_always_grow_longer(mode):
    longer = Retention(mode, 20)
    assert with_retention(inode(Retention(mode, 10)), longer, 5, bypass_governance=False).retention == longer


def test_shortening_governance_needs_the_bypass_and_compliance_is_never_shortened():
    shorter = Retention(GOVERNANCE, 8)
    with pytest.raises(Locked):
        with_retention(inode(Retention(GOVERNANCE, 10)), shorter, 5, bypass_governance=False)
    assert with_retention(inode(Retention(GOVERNANCE, 10)), shorter, 5, bypass_governance=True).retention == shorter
    for wanted in (Retention(COMPLIANCE, 8), Retention(GOVERNANCE, 20), None):
        with pytest.raises(Locked):
            with_retention(inode(Retention(COMPLIANCE, 10)), wanted, 5, bypass_governance=True)


def test_the_default_retention_counts_from_the_write():
    assert default_retention(None, 5) is None
    assert default_retention(ObjectLock(), 5) is None
    assert default_retention(ObjectLock(GOVERNANCE, days=3), 5) == Retention(GOVERNANCE, 10**6 + 3 * DAY_NS)
    assert default_retention(ObjectLock(COMPLIANCE, years=2), 0) == Retention(COMPLIANCE, 730 * DAY_NS)
