"""The policy of a form: what is one, and that no form passes that breaks it in a single place."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum.core.form_policy import (
    EXEMPT,
    EXEMPT_STARTS,
    FormCondition,
    FormPolicy,
    FormRefused,
    MalformedFormPolicy,
    check_form,
    parse_form_policy,
)

EXPIRATION = "2030-01-01T00:00:00.000Z"

names = st.sampled_from(["key", "acl", "x-amz-meta-a", "content-type", "success_action_status", "tagging"])
values = st.text("ab/$", max_size=4)


def allowed(policy: FormPolicy, fields: dict[str, str], bucket: str = "b") -> bool:
    try:
        check_form(policy, fields, bucket)
    except FormRefused:
        return False
    return True


@st.composite
def policies_with_a_form(draw):
    """A policy, and a form that it allows."""
    fields = draw(st.dictionaries(names, values))
    conditions = [FormCondition("bucket", "b")]
    for name, value in fields.items():
        starts = draw(st.booleans())
        length = draw(st.integers(0, len(value))) if starts else len(value)
        conditions.append(FormCondition(name, value[:length], starts))
    return FormPolicy(EXPIRATION, tuple(draw(st.permutations(conditions)))), fields


@given(policies_with_a_form(), st.data())
def test_a_form_passes_and_any_single_break_of_its_policy_does_not(made, data):
    policy, fields = made
    assert allowed(policy, fields)
    assert not allowed(policy, fields, bucket="other")
    assert not allowed(policy, {**fields, "bucket": "other"})
    assert not allowed(policy, {**fields, data.draw(st.sampled_from(["acl2", "x-amz-meta-b", "expires"])): ""})
    broken = data.draw(st.sampled_from(policy.conditions))
    if broken.field != "bucket" and (broken.value or not broken.starts):
        assert not allowed(policy, {**fields, broken.field: "z" + fields[broken.field]})
        without = {name: value for name, value in fields.items() if name != broken.field}
        assert allowed(policy, without) == (broken.value == "")
    for gone in policy.conditions:
        rest = tuple(each for each in policy.conditions if each != gone)
        if gone.field == "bucket" or gone.field in fields:
            assert not allowed(FormPolicy(EXPIRATION, rest), fields), "a field that nobody spoke of"


def test_signatures_checksums_and_ignored_fields_need_no_condition():
    policy = FormPolicy(EXPIRATION, (FormCondition("bucket", "b"),))
    for name in (*EXEMPT, *(start + "x" for start in EXEMPT_STARTS)):
        assert allowed(policy, {name: "x"})
    assert not allowed(policy, {"x-amz-credential": "x"})


def test_every_type_of_a_list_of_types_must_begin_as_allowed():
    policy = FormPolicy(
        EXPIRATION, (FormCondition("bucket", "b"), FormCondition("content-type", "image/", starts=True))
    )
    assert allowed(policy, {"content-type": "image/jpeg, image/png"})
    assert not allowed(policy, {"content-type": "image/jpeg, text/html"})


def parsed(conditions: object, **fields: object) -> FormPolicy:
    return parse_form_policy(json.dumps({"expiration": EXPIRATION, "conditions": conditions, **fields}).encode())


def test_all_forms_of_conditions_are_read_without_regard_to_the_case_of_names():
    policy = parsed(
        [{"bUcKeT": "B"}, ["EQ", "$Key", "K"], ["Starts-With", "$aCl", ""], ["content-length-range", 1, "20"],
         ["content-length-range", 0, 9]]
    )  # fmt: skip
    assert policy.conditions == (
        FormCondition("bucket", "B"),
        FormCondition("key", "K"),
        FormCondition("acl", "", starts=True),
    )
    assert policy.sizes == (1, 9), "of several ranges all must hold"


@pytest.mark.parametrize(
    "condition",
    [
        {}, {"a": "b", "c": "d"}, {"a": 1}, {"a": None}, {"a": ["b"]}, [], ["eq"], ["eq", "$a"], ["eq", "$a", "b", "c"],
        ["eq", "a", "b"], ["eq", "$", "b"], ["eq", 1, "b"], ["eq", "$a", 1], ["ends-with", "$a", "b"], "eq", 1, None,
        ["content-length-range", 0], ["content-length-range", -1, 0], ["content-length-range", "a", "b"],
        ["content-length-range", True, 2], ["content-length-range", 1.5, 2], [["eq"], "$a", "b"],
    ],
)  # fmt: skip
def test_what_is_no_condition_makes_the_whole_policy_malformed(condition):
    with pytest.raises(MalformedFormPolicy):
        parsed([{"bucket": "b"}, condition])


@pytest.mark.parametrize(
    "document",
    [
        b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000,
        b'{"expiration": "2030-01-01T00:00:00Z"}', b'{"conditions": []}',
        b'{"EXPIRATION": "2030-01-01T00:00:00Z", "conditions": []}',
        b'{"expiration": "2030-01-01T00:00:00Z", "CONDITIONS": []}',
        b'{"expiration": "2030-01-01T00:00:00Z", "conditions": {}}',
        b'{"expiration": "2030-01-01T00:00:00Z", "conditions": [], "more": 1}',
        b'{"expiration": "2030-01-01 00:00:00+00:00", "conditions": []}',
        b'{"expiration": "tomorrow", "conditions": []}', b'{"expiration": 1893456000, "conditions": []}',
        b'{"expiration": "2030-01-01T00:00:00", "conditions": []}',
    ],
)  # fmt: skip
def test_what_is_no_policy_is_malformed(document):
    with pytest.raises(MalformedFormPolicy):
        parse_form_policy(document)


@given(st.binary(max_size=60) | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(
    lambda found: json.dumps({"expiration": EXPIRATION, "conditions": found}).encode()
))  # fmt: skip
def test_no_document_is_anything_but_a_policy_or_malformed(document):
    with contextlib.suppress(MalformedFormPolicy):
        parse_form_policy(document)
