"""Every operator of IAM: what it compares, what it does without a value, with several, and with nonsense."""

import base64
from datetime import UTC, datetime, timedelta, timezone
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum.core.errors import MalformedPolicy
from stratum.core.policy_conditions import moment, parse_condition, parse_operator

KEY = "s3:prefix"
POSITIVE = ["StringEquals", "StringEqualsIgnoreCase", "StringLike", "NumericEquals", "DateEquals", "IpAddress"]
POSITIVE += ["ArnEquals", "ArnLike"]
ORDERS = ("LessThan", "LessThanEquals", "GreaterThan", "GreaterThanEquals")
ORDERED = [f"{kind}{order}" for kind in ("Numeric", "Date") for order in ORDERS]
NEGATED = {
    "StringNotEquals": "StringEquals",
    "StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase",
    "StringNotLike": "StringLike",
    "NumericNotEquals": "NumericEquals",
    "DateNotEquals": "DateEquals",
    "NotIpAddress": "IpAddress",
    "ArnNotEquals": "ArnEquals",
    "ArnNotLike": "ArnLike",
}
EVERY = [*POSITIVE, *ORDERED, *NEGATED, "Bool", "BinaryEquals"]


def a_value(operator: str) -> str:
    """A value that the policy may give to this operator."""
    for start, value in (
        ("Numeric", "5"),
        ("Date", "2026-11-21T00:00:00Z"),
        ("Bool", "true"),
        ("Binary", "YQ=="),
        ("Arn", "arn:aws:s3:::a"),
        ("IpAddress", "10.0.0.0/8"),
        ("NotIpAddress", "10.0.0.0/8"),
    ):
        if operator.startswith(start):
            return value
    return "a"


def holds(operator: str, policy, request, **context) -> bool:
    values = (policy,) if isinstance(policy, str) else tuple(policy)
    found = {KEY: (request,) if isinstance(request, str) else tuple(request)}
    return parse_condition(operator, KEY, values, variables=True).holds(found | context)


@pytest.mark.parametrize("operator", EVERY)
def test_a_key_without_a_value_meets_only_what_asks_for_nothing(operator):
    value = a_value(operator)
    for found in ({}, {KEY: ()}):
        for spelled, met in {
            operator: operator in NEGATED,
            f"{operator}IfExists": True,
            f"ForAllValues:{operator}": True,
            f"ForAnyValue:{operator}": False,
            f"ForAnyValue:{operator}IfExists": True,
        }.items():
            assert parse_condition(spelled, KEY, (value,), variables=True).holds(found) is met, spelled


@pytest.mark.parametrize("operator", EVERY)
def test_a_value_that_cannot_be_read_matches_nothing(operator):
    assert holds(operator, a_value(operator), "\x00 nonsense") is (operator in NEGATED)


@pytest.mark.parametrize(
    ("operator", "policy", "request_", "met"),
    [
        ("ForAllValues:StringEquals", ["a", "b"], ["a", "b"], True),
        ("ForAllValues:StringEquals", ["a", "b"], ["a", "c"], False),
        ("ForAnyValue:StringEquals", ["a", "b"], ["a", "c"], True),
        ("ForAnyValue:StringEquals", ["a", "b"], ["c", "d"], False),
        ("ForAllValues:StringNotEquals", ["a", "b"], ["c", "d"], True),
        ("ForAllValues:StringNotEquals", ["a", "b"], ["a", "c"], False),
        ("ForAnyValue:StringNotEquals", ["a", "b"], ["a", "c"], True),
        ("ForAnyValue:StringNotEquals", ["a", "b"], ["a", "b"], False),
        ("StringNotEquals", ["a", "b"], ["a", "c"], False),
        ("StringEquals", ["a", "b"], ["a", "c"], True),
    ],
)
def test_sets_of_values(operator, policy, request_, met):
    assert holds(operator, policy, request_) is met


values = st.lists(st.sampled_from("abcd"), min_size=1, max_size=4)


@given(values, values)
def test_a_negated_set_operator_is_not_the_other_one_turned_round(policy, request):
    inside = [each in policy for each in request]
    assert holds("ForAllValues:StringNotEquals", policy, request) is (True not in inside)
    assert holds("ForAnyValue:StringNotEquals", policy, request) is (False in inside)
    assert holds("ForAllValues:StringEquals", policy, request) is (False not in inside)
    assert holds("ForAnyValue:StringEquals", policy, request) is (True in inside)
    assert holds("StringNotEquals", policy, request) is not holds("StringEquals", policy, request)


@given(st.sampled_from(sorted(NEGATED.items())), st.sampled_from(["10.1.2.3", "5", "a", "A", "arn:aws:s3:::a", "0"]))
def test_a_negated_operator_is_the_opposite_for_one_value(pair, value):
    negated, positive = pair
    for policy in (a_value(positive), [a_value(positive)] * 2):
        assert holds(negated, policy, value) is not holds(positive, policy, value)


def test_texts_with_and_without_case_and_wildcards():
    assert holds("StringEquals", "a*", "a*") and not holds("StringEquals", "a*", "ab")
    assert not holds("StringEquals", "a", "A") and holds("StringEqualsIgnoreCase", "a", "A")
    assert holds("StringLike", "p?b*/x", "pub/lic/x") and not holds("StringLike", "p?b", "PUB")
    assert holds("StringLike", "", "") and not holds("StringLike", "", "a")


@given(st.decimals(-(10**6), 10**6, places=3), st.decimals(-(10**6), 10**6, places=3))
def test_numbers_are_compared_as_numbers(left, right):
    for operator, met in (
        ("NumericEquals", left == right),
        ("NumericNotEquals", left != right),
        ("NumericLessThan", left < right),
        ("NumericLessThanEquals", left <= right),
        ("NumericGreaterThan", left > right),
        ("NumericGreaterThanEquals", left >= right),
    ):
        assert holds(operator, str(right), str(left)) is met


@pytest.mark.parametrize("text", ["nan", "inf", "", " ", "1" * 100, "0x5", "five"])
def test_what_is_no_number_is_less_and_greater_than_nothing(text):
    assert not any(holds(f"Numeric{order}", "5", text) for order in (*ORDERS, "Equals"))


@pytest.mark.parametrize("text", ["\u0665\u0660", "5_0", "+50", " 50 ", "5e1"])
def test_no_spelling_of_a_large_number_slips_past_a_limit(text):
    assert holds("NumericGreaterThan", "10", text)


moments = st.datetimes(min_value=datetime(1900, 1, 1), max_value=datetime(2200, 1, 1))
zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(moments, zones)
def test_dates_are_read_as_the_calendar_has_them(naive, zone):
    when = naive.replace(tzinfo=zone)
    seconds = (when - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1)
    assert moment(when.isoformat()) * 10**6 == int(seconds)
    assert moment(str(int(seconds) // 10**6)) == int(seconds) // 10**6


def test_dates_are_compared_as_moments():
    assert holds("DateEquals", "2026-11-21T00:00:00Z", "2026-11-21T01:00:00+01:00")
    assert holds("DateEquals", "1795219200", "2026-11-21T00:00:00Z")
    assert holds("DateLessThan", "2026-11-21", "2026-11-20T23:59:59Z")
    assert not holds("DateGreaterThan", "2026-11-21", "2026-11-21T00:00:00Z")
    assert holds("DateGreaterThanEquals", "2026-11-21", "2026-11-21T00:00:00Z")


@pytest.mark.parametrize(
    "text",
    ["2026-13-01", "2026-00-01", "0000-01-01", "2026-01-01T24:00:00Z", "now", "\u0662\u0660\u0662\u0666-01-01"],
)
def test_what_is_no_date_is_none(text):
    assert moment(text) is None


def test_truth_and_bytes():
    assert holds("Bool", "TRUE", "true") and not holds("Bool", "true", "false") and not holds("Bool", "false", "yes")
    one = base64.b64encode(b"\xff\x00").decode()
    assert (
        holds("BinaryEquals", one, one)
        and not holds("BinaryEquals", one, "AAAA")
        and not holds("BinaryEquals", one, "?")
    )


networks = st.builds(
    lambda address, bits: ip_network((address, bits), strict=False), st.ip_addresses(v=4), st.integers(0, 32)
)


@given(networks, st.ip_addresses(v=4))
def test_addresses_are_inside_networks(network, address):
    assert holds("IpAddress", str(network), str(address)) is (address in network)
    assert holds("NotIpAddress", str(network), str(address)) is (address not in network)
    assert holds("IpAddress", str(network), f"::ffff:{address}") is (address in network)


def test_an_address_of_one_family_is_not_in_a_network_of_the_other():
    assert not holds("IpAddress", "0.0.0.0/0", "2001:db8::1") and holds("IpAddress", "2001:db8::/32", "2001:db8::1")
    assert holds("IpAddress", "192.0.2.7", str(ip_address("192.0.2.7")))


@pytest.mark.parametrize("operator", ["ArnEquals", "ArnLike"])
def test_a_star_of_an_arn_does_not_reach_over_its_colons(operator):
    assert holds(operator, "arn:aws:iam::acme:user/*", "arn:aws:iam::acme:user/a:b")
    assert holds(operator, "arn:*:iam::*:user/ann", "arn:aws:iam::acme:user/ann")
    assert holds(operator, "*", "anything")
    assert not holds(operator, "arn:*:::acme:user/ann", "arn:aws:iam::acme:user/ann")
    assert not holds(operator, "arn:aws:iam::*:user/ann", "arn:aws:iam::a:b:user/ann")
    assert not holds(operator, "arn:aws:iam::acme:user/ann", "not an arn")


def test_null_asks_whether_there_is_a_value():
    for word, present in (("true", False), ("false", True), ("TRUE", False)):
        assert holds("Null", word, "" if present else [])
        assert not holds("Null", word, [] if present else "x")


def test_a_value_of_a_variable_is_text_and_none_matches_nothing():
    assert holds("StringLike", "home/${aws:username}/*", "home/ann/x", **{"aws:username": ("ann",)})
    assert holds("StringEquals", "${AWS:UserName}", "ann", **{"aws:username": ("ann",)})
    assert not holds("StringLike", "home/${aws:username}/*", "home/bob/x", **{"aws:username": ("*",)})
    assert not holds(
        "ArnLike", "arn:aws:iam::x:user/${aws:username}", "arn:aws:iam::x:user/b", **{"aws:username": ("*",)}
    )
    assert not holds("StringLike", "${aws:username}*", "x")
    assert holds("StringNotLike", "${aws:username}*", "x")
    assert not holds("StringEquals", "${aws:username}", "a", **{"aws:username": ("a", "b")})
    assert holds("StringEquals", "${aws:username, 'nobody'}", "nobody")
    assert holds("StringLike", "a${*}${?}${$}", "a*?$") and not holds("StringLike", "a${*}", "ab")


def test_the_old_version_has_no_variables():
    condition = parse_condition("StringEquals", KEY, ("${aws:username}",), variables=False)
    assert condition.holds({KEY: ("${aws:username}",)}) and not condition.holds({KEY: ("a",), "aws:username": ("a",)})


@pytest.mark.parametrize("operator", [*EVERY, "Null"])
def test_operators_are_known_in_any_case(operator):
    assert parse_operator(operator.upper()) == parse_operator(operator)
    assert parse_operator(operator).negated is (operator in NEGATED)


@pytest.mark.parametrize(
    "operator",
    [
        *("", "Equals", "StringEqual", "NullIfExists", "ForAllValues:Null", "ForEveryValue:StringEquals", ":Bool"),
        *("StringEqualsIfExist", "IfExists", "ForAllValues:ForAnyValue:Bool", "BinaryNotEquals", "BoolNot"),
    ],
)
def test_an_operator_nobody_knows_is_refused(operator):
    with pytest.raises(MalformedPolicy):
        parse_operator(operator)


@pytest.mark.parametrize(
    ("operator", "value"),
    [
        ("NumericEquals", "many"),
        ("DateLessThan", "soon"),
        ("Bool", "yes"),
        ("Null", "maybe"),
        ("BinaryEquals", "?"),
        ("IpAddress", "10.0.0.0/33"),
        ("NotIpAddress", "localhost"),
        ("ArnLike", "user/ann"),
    ],
)
def test_a_value_that_nothing_could_ever_equal_is_refused(operator, value):
    with pytest.raises(MalformedPolicy, match="Invalid value"):
        parse_condition(operator, KEY, (value,), variables=True)


requests = st.text(max_size=20) | st.text("0123456789.:-+TZeE%/ ", max_size=24) | st.ip_addresses().map(str)


@given(st.sampled_from(EVERY), st.sampled_from(["", "ForAllValues:", "ForAnyValue:"]), st.lists(requests, max_size=3))
def test_no_request_breaks_an_operator(operator, prefix, found):
    for suffix in ("", "IfExists"):
        assert holds(prefix + operator + suffix, a_value(operator), found) in (True, False)


@given(st.sampled_from([*EVERY, "Null"]), st.lists(requests, min_size=1, max_size=3), requests)
def test_no_policy_breaks_an_operator(operator, policy, found):
    try:
        assert holds(operator, policy, found) in (True, False)
    except MalformedPolicy as error:
        assert str(error)
