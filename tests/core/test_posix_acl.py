"""Access control lists and modes say the same, whichever of them changes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum.core import posix_acl
from stratum.core.errors import InvalidArgument
from stratum.core.posix_acl import GROUP, GROUP_OBJ, MASK, OTHER, USER, USER_OBJ, AclEntry, PosixAcl, parse

NOBODY = 0xFFFFFFFF
permissions = st.integers(0, 7)
named = st.dictionaries(st.tuples(st.sampled_from([USER, GROUP]), st.integers(0, 9)), permissions, max_size=4)


@st.composite
def lists(draw):
    users = draw(named)
    entries = [AclEntry(tag, draw(permissions), NOBODY) for tag in (USER_OBJ, GROUP_OBJ, OTHER)]
    entries += [AclEntry(tag, may, who) for (tag, who), may in users.items()]
    if users or draw(st.booleans()):
        entries.append(AclEntry(MASK, draw(permissions), NOBODY))
    return PosixAcl(tuple(sorted(entries, key=lambda entry: (entry.tag, entry.who))))


@given(lists())
def test_a_list_is_read_as_it_was_written(acl):
    assert parse(acl.dump()) == acl


@given(lists(), st.integers(0, 0o777))
def test_after_chmod_the_list_stands_for_that_mode_and_named_entries_stay(acl, mode):
    changed = acl.with_mode(mode)
    assert changed.mode == mode
    assert [e for e in changed.entries if e.tag in (USER, GROUP)] == [e for e in acl.entries if e.tag in (USER, GROUP)]
    group = [[e for e in each.entries if e.tag == GROUP_OBJ] for each in (acl, changed)]
    assert group[0] == group[1] or not any(e.tag == MASK for e in acl.entries)


@given(lists(), st.integers(0, 0o777))
def test_what_is_made_under_a_default_list_gets_no_more_than_both_allow(acl, mode):
    made = acl.limited_to(mode)
    assert made.mode == acl.mode & mode


@given(lists(), st.data())
def test_a_list_with_an_entry_missing_twice_or_out_of_order_is_refused(acl, data):
    place = data.draw(st.integers(0, len(acl.entries) - 1))
    one = acl.entries[place]
    for entries in (
        (*acl.entries[:place], one, *acl.entries[place:]),
        tuple(entry for entry in acl.entries if entry.tag not in (USER_OBJ,)),
        (*acl.entries[1:], acl.entries[0]),
        (*acl.entries[:-1], AclEntry(OTHER, 8, NOBODY)),
        (*acl.entries, AclEntry(0x40, 0, NOBODY)),
    ):
        with pytest.raises(InvalidArgument):
            parse(PosixAcl(entries).dump())


@pytest.mark.parametrize("value", [b"", b"\2\0\0", b"\1\0\0\0", b"\2\0\0\0", b"\2\0\0\0" + b"x" * 7])
def test_what_is_no_list_is_refused(value):
    with pytest.raises(InvalidArgument):
        posix_acl.parse(value)
