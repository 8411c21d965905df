"""Policies as text: what is understood, and that everything else is refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum.core.errors import MalformedPolicy
from stratum.core.policy import Policy, parse_policy
from stratum.core.policy_actions import ACTIONS
from stratum.core.policy_document import DEPTH_MAX, POLICY_BYTES

GOOD = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::bucket/*"}
FOR_A_USER = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::any/*"}


def parse(statement: object, bucket: str = "bucket", **more) -> Policy:
    return parse_policy(json.dumps({"Statement": statement} | more), bucket)


def without(*names: str, **more) -> dict:
    return {name: value for name, value in (GOOD | more).items() if name not in names}


@pytest.mark.parametrize(
    "more",
    [
        {"Sid": "Allow Public Access to All Objects"},
        {"Principal": {"AWS": "*"}},
        {"Principal": {"AWS": ["arn:aws:iam::s3tenant1:root", "123456789012"], "CanonicalUser": "a" * 64}},
        {"Principal": {"Service": ["logging.s3.amazonaws.com"], "Federated": "arn:aws:iam::1:saml-provider/x"}},
        {"Principal": {"AWS": "arn:aws:sts::123456789012:assumed-role/a/b"}},
        {"Action": ["s3:*", "*", "S3:getobject", "s3:Put*Acl", "s3:?etObject"]},
        {"Resource": ["arn:aws:s3:::*", "arn:aws:s3:::*/*", "arn:aws:s3:::bucket", "arn:aws:s3:::buck*"]},
        {"Resource": ["arn:aws:s3:::bucket/${aws:username}/*", "arn:aws:s3:::b?cket/x", "arn:aws:s3:::*/x"]},
        {"Condition": {}},
        {"Condition": {"NumericLessThanEquals": {"s3:max-keys": 10}, "Bool": {"aws:SecureTransport": [True, "false"]}}},
        {"Condition": {"StringLikeIfExists": {"aws:Referer": "http://www.example.com/*"}}},
        {"Condition": {"ForAnyValue:StringEquals": {"s3:RequestObjectTagKeys": ["a"], "S3:ExistingObjectTag/x": "y"}}},
        {"Condition": {"Null": {"s3:x-amz-server-side-encryption-customer-algorithm": "true"}}},
    ],
)
def test_what_owners_write_is_understood(more):
    assert len(parse(GOOD | more).statements) == 1
    assert parse([GOOD | more], Version="2008-10-17", Id="x") == parse([GOOD | more], Id="y")


def test_sids_mean_nothing_and_may_be_the_same():
    """AWS wants them to differ; other stores never did, and nothing here depends on it."""
    assert len(parse([GOOD | {"Sid": "a"}, GOOD | {"Sid": "a"}]).statements) == 2


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ([], "empty"),
        ("x", "object"),
        (without("Effect"), "Effect"),
        (GOOD | {"Effect": "allow"}, "Invalid effect"),
        (GOOD | {"Effect": ["Allow"]}, "Invalid effect"),
        (GOOD | {"Sid": 5}, "Sid"),
        (GOOD | {"Effects": "Allow"}, "Unknown field"),
        (without("Principal"), "Missing required field Principal"),
        (GOOD | {"NotPrincipal": "*"}, "exclude"),
        (without("Principal", NotPrincipal={"AWS": "acme"}), "NotPrincipal"),
        (GOOD | {"Principal": {}}, "Invalid principal"),
        (GOOD | {"Principal": "acme"}, "Invalid principal"),
        (GOOD | {"Principal": {"AWS": []}}, "Principal"),
        (GOOD | {"Principal": {"AWS": "arn:aws:iam::acme:user/*"}}, "Invalid principal"),
        (GOOD | {"Principal": {"AWS": "arn:aws:iam::acme"}}, "Invalid principal"),
        (GOOD | {"Principal": {"AWS": "acm*"}}, "Invalid principal"),
        (GOOD | {"Principal": {"CanonicalUser": "*"}}, "Invalid principal"),
        (GOOD | {"Principal": {"Aws": "*"}}, "Invalid principal"),
        (GOOD | {"Principal": {"Service": "*"}}, "Invalid principal"),
        (without("Action"), "Missing required field Action"),
        (GOOD | {"NotAction": "s3:GetObject"}, "exclude"),
        (GOOD | {"Action": []}, "Action"),
        (GOOD | {"Action": ""}, "Action"),
        (GOOD | {"Action": [5]}, "Action"),
        (GOOD | {"Action": "s3:GetObjects"}, "invalid action"),
        (GOOD | {"Action": "s3:Foo*"}, "invalid action"),
        (GOOD | {"Action": "iam:*"}, "invalid action"),
        (GOOD | {"Action": "**"}, "invalid action"),
        (GOOD | {"Action": ["s3:GetObject", "GetObject"]}, "invalid action"),
        (without("Resource"), "Missing required field Resource"),
        (GOOD | {"Resource": "*"}, "invalid resource"),
        (GOOD | {"Resource": "bucket/*"}, "invalid resource"),
        (GOOD | {"Resource": "arn:aws:s3:::another/*"}, "invalid resource"),
        (GOOD | {"Resource": "arn:aws:s3:::bucket2"}, "invalid resource"),
        (GOOD | {"Resource": "arn:aws:s3:::bucke"}, "invalid resource"),
        (GOOD | {"Resource": "arn:aws:s3:::other*"}, "invalid resource"),
        (GOOD | {"Resource": "arn:aws:s3:::${aws:username}/*"}, "invalid resource"),
        (GOOD | {"Condition": "x"}, "Condition"),
        (GOOD | {"Condition": {"StringEquals": {}}}, "Condition"),
        (GOOD | {"Condition": {"StringEquals": {"s3:prefix": []}}}, "values"),
        (GOOD | {"Condition": {"StringEquals": {"s3:prefix": None}}}, "values"),
        (GOOD | {"Condition": {"StringEquals": {"s3:prefix": {"a": "b"}}}}, "values"),
        (GOOD | {"Condition": {"StringEqual": {"s3:prefix": "a"}}}, "Condition type"),
        (GOOD | {"Condition": {"StringEquals": {"s3:prefixes": "a"}}}, "condition key"),
        (GOOD | {"Condition": {"StringEquals": {"s3:ExistingObjectTag/": "a"}}}, "condition key"),
        (GOOD | {"Condition": {"StringEquals": {"X-Forwarded-For": "a"}}}, "condition key"),
    ],
)
def test_what_is_not_understood_is_refused_with_words_that_tell_what(statement, words):
    with pytest.raises(MalformedPolicy, match=words):
        parse(statement)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        '"{}"',
        "{}",
        "{",
        '{"Statement": ',
        '{"Statement": NaN}',
        '{"Version": "2012-10-18", "Statement": []}',
        '{"Version": null, "Statement": []}',
        '{"Id": 5, "Statement": []}',
        '{"Statement": [], "Statements": []}',
    ],
)
def test_what_is_no_policy_at_all_is_refused(text):
    with pytest.raises(MalformedPolicy):
        parse_policy(text, "bucket")


def test_a_key_given_twice_is_refused_at_every_depth():
    text = json.dumps({"Statement": GOOD | {"Condition": {"Bool": {"aws:SecureTransport": "true"}}}})
    assert parse_policy(text, "bucket")
    for name in ("Statement", "Effect", "Bool", "aws:SecureTransport"):
        twice = text.replace(f'"{name}":', f'"{name}": "x", "{name}":')
        with pytest.raises(MalformedPolicy, match="twice"):
            parse_policy(twice, "bucket")


def test_size_and_depth_are_bounded():
    text = json.dumps({"Statement": GOOD})
    assert parse_policy(text + " " * (POLICY_BYTES - len(text)), "bucket")
    with pytest.raises(MalformedPolicy, match="larger"):
        parse_policy(text + " " * (POLICY_BYTES - len(text) + 1), "bucket")
    with pytest.raises(MalformedPolicy, match="larger"):
        parse(GOOD | {"Sid": "ü" * (POLICY_BYTES // 2)})
    for opening in ("[", '{"a":'):
        with pytest.raises(MalformedPolicy, match="deep"):
            parse_policy('{"Statement": ' + opening * DEPTH_MAX, "bucket")
    assert parse(GOOD | {"Sid": "[" * 1000 + '"{\\'})


def test_the_policy_of_a_user_names_no_principal_and_any_resource():
    assert parse(FOR_A_USER, "")
    assert parse(FOR_A_USER | {"Resource": "*", "Action": ["s3:*", "iam:ListUsers", "*"]}, "")
    assert parse(FOR_A_USER | {"Condition": {"StringEquals": {"ec2:Region": "x"}}}, "")
    for more in ({"Principal": "*"}, {"NotPrincipal": "*"}, {"Action": "s3:Fly"}, {"Action": "fly"}, {"Resource": "x"}):
        with pytest.raises(MalformedPolicy):
            parse(FOR_A_USER | more, "")


@pytest.mark.parametrize("action", sorted(ACTIONS))
def test_every_action_of_s3_is_known_in_any_case(action):
    assert parse(GOOD | {"Action": [action, action.upper()]})


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
words = st.sampled_from([*GOOD, "NotAction", "Condition", "AWS", "StringLike", "s3:prefix", "*", "Allow", "s3:*"])
anything = st.recursive(
    scalars | words, lambda deeper: st.lists(deeper, max_size=3) | st.dictionaries(words | st.text(max_size=4), deeper)
)


@given(st.dictionaries(st.sampled_from([*GOOD, "Condition", "NotAction"]), anything))
def test_any_statement_is_a_policy_or_malformed(more):
    try:
        assert isinstance(parse(GOOD | more), Policy)
    except MalformedPolicy as error:
        assert str(error)


@given(st.text())
def test_any_text_is_a_policy_or_malformed(text):
    whole = json.dumps({"Statement": GOOD})
    for made in (text, "{" + text, whole[: min(len(text), len(whole) - 1)]):
        with pytest.raises(MalformedPolicy):
            parse_policy(made, "bucket")
