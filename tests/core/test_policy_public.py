"""What "public" means, and what a public access block takes away."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum.core.policy import AccessRequest, Policy, Verdict, evaluate, parse_policy
from stratum.core.policy_public import is_public
from stratum.core.principals import ANONYMOUS, OPERATOR, Principal
from stratum.core.public_access import NO_BLOCK, PublicAccessBlock, policy_counts

EVERYONE = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/*"}


def policy(*statements: dict) -> Policy:
    return parse_policy(json.dumps({"Version": "2012-10-17", "Statement": list(statements)}), "b")


def public(**more) -> bool:
    return is_public(policy(EVERYONE | more))


def test_everyone_is_the_public_and_a_named_one_is_not():
    assert public() and public(Principal={"AWS": "*"}) and public(Principal={"AWS": ["arn:aws:iam::a:root", "*"]})
    for named in ({"AWS": "arn:aws:iam::a:root"}, {"CanonicalUser": "a"}, {"Service": "logging.s3.amazonaws.com"}):
        assert not public(Principal=named)
    assert not public(Effect="Deny")
    assert is_public(policy(EVERYONE | {"Effect": "Deny"}, EVERYONE))


@pytest.mark.parametrize(
    ("operator", "key", "value", "narrow"),
    [
        ("IpAddress", "aws:SourceIp", "10.0.0.0/32", True),
        ("IpAddress", "aws:SourceIp", ["10.0.0.0/8", "172.16.0.0/12", "203.0.113.0/24"], True),
        ("IpAddress", "aws:SourceIp", "203.0.0.0/8", True),
        ("IpAddress", "aws:SourceIp", "202.0.0.0/7", False),
        ("IpAddress", "aws:SourceIp", "0.0.0.0/0", False),
        ("IpAddress", "aws:SourceIp", "0.0.0.0/1", False),
        ("IpAddress", "aws:SourceIp", ["203.0.113.0/24", "0.0.0.0/0"], False),
        ("IpAddress", "aws:SourceIp", "2001:db8::/32", True),
        ("IpAddress", "aws:SourceIp", "2001:d00::/24", False),
        ("IpAddress", "aws:SourceIp", "fd00::/8", True),
        ("IpAddress", "aws:SourceIp", "::/0", False),
        ("IpAddress", "aws:SourceIp", "${aws:SourceIp}", False),
        ("NotIpAddress", "aws:SourceIp", "10.0.0.0/32", False),
        ("IpAddressIfExists", "aws:SourceIp", "10.0.0.0/32", False),
        ("ForAllValues:IpAddress", "aws:SourceIp", "10.0.0.0/32", False),
        ("StringEquals", "aws:PrincipalArn", "arn:aws:iam::a:root", True),
        ("ArnEquals", "aws:PrincipalArn", "arn:aws:iam::a:user/*", False),
        ("ArnLike", "aws:SourceArn", "arn:aws:s3:::source", True),
        ("StringLike", "aws:userid", "ann", True),
        ("StringLike", "aws:userid", "AROA*", False),
        ("StringEquals", "aws:userid", ["ann", "${aws:userid}"], False),
        ("StringEquals", "aws:userid", ["ann", "bob"], True),
        ("ForAnyValue:StringEquals", "aws:userid", "ann", True),
        ("ForAllValues:StringEquals", "aws:userid", "ann", False),
        ("StringNotEquals", "aws:SourceVpc", "vpc-1", False),
        ("StringEquals", "AWS:SourceVpce", "vpce-1", True),
        ("StringEquals", "aws:Referer", "http://example.org/", False),
        ("StringEquals", "s3:prefix", "a", False),
        ("Bool", "aws:SecureTransport", "true", False),
        ("Null", "aws:userid", "false", False),
        ("DateLessThan", "aws:CurrentTime", "2030-01-01", False),
    ],
)
def test_only_fixed_values_of_who_and_from_where_keep_the_public_out(operator, key, value, narrow):
    assert public(Condition={operator: {key: value}}) is not narrow
    assert public(Condition={operator: {key: value}, "Bool": {"aws:SecureTransport": True}}) is not narrow


def test_one_public_statement_makes_a_policy_public():
    tied = EVERYONE | {"Condition": {"StringEquals": {"aws:userid": "ann"}}}
    assert not is_public(policy(tied, tied)) and is_public(policy(tied, EVERYONE))


keys = st.sampled_from(["aws:userid", "aws:sourceip", "s3:prefix"])
lines = st.tuples(
    st.sampled_from(
        ["StringEquals", "StringLike", "StringNotEquals", "StringEqualsIfExists", "ForAllValues:StringLike"]
    ),
    keys,
    st.sampled_from(["ann", "bob", "*", "a*"]),
)


@given(st.lists(lines, max_size=3))
def test_a_policy_that_lets_in_a_stranger_with_any_values_is_public(found):
    """Whoever is let in though nobody ever wrote down his values, is the public."""
    conditions: dict = {}
    for operator, key, value in found:
        conditions.setdefault(operator, {})[key] = value
    made = policy(EVERYONE | {"Condition": conditions})
    for context in ({}, {"aws:userid": ("stranger",), "aws:sourceip": ("192.0.2.1",), "s3:prefix": ("ann",)}):
        asked = AccessRequest(principal=ANONYMOUS, action="s3:GetObject", resource="arn:aws:s3:::b/k", context=context)
        if evaluate([made], asked) is Verdict.ALLOW:
            assert is_public(made)


@given(st.builds(PublicAccessBlock, st.booleans(), st.booleans(), st.booleans(), st.booleans()), st.booleans())
def test_a_restricted_public_bucket_lets_in_its_owners_account_alone(block, open_to_all):
    made = policy(EVERYONE if open_to_all else EVERYONE | {"Principal": {"AWS": "other"}})
    mine = [Principal(user="owner"), Principal(user="ann", account="owner")]
    others = [ANONYMOUS, OPERATOR, Principal(user="ann", account="other"), Principal(user="own", account="owne")]
    kept_out = block.restrict_public_buckets and open_to_all
    assert all(policy_counts(block, made, principal, "owner") for principal in mine)
    assert [policy_counts(block, made, principal, "owner") for principal in others] == [not kept_out] * len(others)
    assert policy_counts(NO_BLOCK, made, ANONYMOUS, "owner")
    assert policy_counts(block, made, ANONYMOUS, "") is not kept_out
