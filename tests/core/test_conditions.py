"""Conditional requests: the order of RFC 9110, and what S3 makes of it.

Room: tests. May import: stratum.core.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum.core.conditions import check_delete, check_read, check_write
from stratum.core.errors import NoSuchKey, PreconditionFailed
from stratum.core.objects import UNCONDITIONAL, Condition
from stratum.core.records import Inode, Kind

SECOND = 10**9
MODIFIED = 1000  # seconds since the epoch


def an_object(etag: str = "e") -> Inode:
    """Modified well within the second 1000: HTTP dates cannot tell. (The last millisecond is shown as the next.)"""
    moment = MODIFIED * SECOND + 998_999_999
    return Inode(Kind.OBJECT, 0o100644, 0, 0, 1, 0, moment, moment, moment, moment, etag=etag)


def read(current: Inode | None = None, *, copying: bool = False, **condition) -> str:
    try:
        return check_read(Condition(**condition), current or an_object(), copying=copying)
    except PreconditionFailed:
        return "failed"


def write(current: Inode | None, **condition) -> str:
    try:
        check_write(Condition(**condition), current)
    except PreconditionFailed:
        return "failed"
    except NoSuchKey:
        return "missing"
    return "ok"


@pytest.mark.parametrize(
    ("condition", "answer"),
    [
        ({}, "ok"),
        ({"if_match": ("e",)}, "ok"),
        ({"if_match": ("*",)}, "ok"),
        ({"if_match": ("x", "e")}, "ok"),
        ({"if_match": ("x",)}, "failed"),
        ({"if_none_match": ("e",)}, "not_modified"),
        ({"if_none_match": ("*",)}, "not_modified"),
        ({"if_none_match": ("x",)}, "ok"),
        ({"if_modified_since": 999}, "ok"),
        ({"if_modified_since": 1000}, "not_modified"),
        ({"if_unmodified_since": 999}, "failed"),
        ({"if_unmodified_since": 1000}, "ok"),
        ({"if_unmodified_since": 0}, "failed"),
        # an ETag outranks a date
        ({"if_match": ("e",), "if_unmodified_since": 1}, "ok"),
        ({"if_match": ("x",), "if_unmodified_since": 2000}, "failed"),
        ({"if_none_match": ("x",), "if_modified_since": 2000}, "ok"),
        ({"if_none_match": ("e",), "if_modified_since": 1}, "not_modified"),
        # what makes the request fail outranks what makes it needless
        ({"if_match": ("x",), "if_none_match": ("e",)}, "failed"),
        ({"if_match": ("e",), "if_none_match": ("e",)}, "not_modified"),
        ({"if_unmodified_since": 1, "if_none_match": ("e",)}, "failed"),
    ],
)
def test_conditions_of_a_read_are_evaluated_in_the_order_of_the_rfc(condition, answer):
    assert read(**condition) == answer
    assert read(copying=True, **condition) == ("failed" if answer == "not_modified" else answer)


@pytest.mark.parametrize(
    ("condition", "there", "absent"),
    [
        ({}, "ok", "ok"),
        ({"if_match": ("e",)}, "ok", "missing"),
        ({"if_match": ("*",)}, "ok", "missing"),
        ({"if_match": ("x",)}, "failed", "missing"),
        ({"if_none_match": ("*",)}, "failed", "ok"),
        ({"if_none_match": ("e",)}, "failed", "ok"),
        ({"if_none_match": ("x",)}, "ok", "ok"),
        ({"if_unmodified_since": 999}, "failed", "ok"),
        ({"if_unmodified_since": 1000}, "ok", "ok"),
        ({"if_modified_since": 2000}, "ok", "ok"),
        ({"if_match": ("e",), "if_none_match": ("*",)}, "failed", "missing"),
    ],
)
def test_conditions_of_a_write_guard_what_is_there(condition, there, absent):
    assert write(an_object(), **condition) == there
    assert write(None, **condition) == absent


conditions = st.builds(
    Condition,
    if_match=st.sampled_from([(), ("e",), ("x",), ("*",)]),
    if_none_match=st.sampled_from([(), ("e",), ("x",), ("*",)]),
    if_modified_since=st.sampled_from([None, 999, 1000, 1001]),
    if_unmodified_since=st.sampled_from([None, 999, 1000, 1001]),
)


@given(conditions)
def test_a_copy_goes_on_exactly_where_a_read_would_send_the_bytes(condition):
    fields = {name: getattr(condition, name) for name in Condition.__slots__}
    assert (read(copying=True, **fields) == "ok") == (read(**fields) == "ok")


def test_without_conditions_everything_goes():
    assert check_read(UNCONDITIONAL, an_object(etag="")) == "ok"
    check_write(UNCONDITIONAL, None)
    check_write(UNCONDITIONAL, an_object())


def delete(current: Inode | None, *, marker: bool = False, **condition) -> str:
    try:
        check_delete(Condition(**condition), current, marker=marker)
    except PreconditionFailed:
        return "failed"
    return "ok"


@pytest.mark.parametrize(
    ("condition", "answer", "of_a_marker"),
    [
        ({}, "ok", "ok"),
        ({"if_match": ("*",)}, "ok", "ok"),
        ({"if_match": ("e",)}, "ok", "failed"),
        ({"if_match": ("x",)}, "failed", "failed"),
        ({"size": 0}, "ok", "failed"),
        ({"size": 1}, "failed", "failed"),
        ({"modified": MODIFIED}, "ok", "failed"),
        ({"modified": MODIFIED + 1}, "failed", "failed"),
        ({"modified": MODIFIED - 1}, "failed", "failed"),
        ({"if_match": ("e",), "size": 1}, "failed", "failed"),
        ({"if_match": ("x",), "size": 0}, "failed", "failed"),
    ],
)
def test_a_delete_takes_only_what_it_names_and_finds_done_what_is_gone(condition, answer, of_a_marker):
    assert delete(an_object(), **condition) == answer
    assert delete(None, marker=True, **condition) == of_a_marker
    assert delete(None, **condition) == "ok"
