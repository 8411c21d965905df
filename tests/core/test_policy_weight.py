"""Policies that are made to take long: refused, or known for what they are; and matched as ever."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum.core import policy_pattern
from stratum.core.errors import MalformedPolicy
from stratum.core.policy import is_heavy, parse_policy
from stratum.core.policy_pattern import parse_pattern


def policy(*resources):
    statement = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": [f"arn:aws:s3:::b/{r}" for r in resources]}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def test_what_takes_longest_is_bounded():
    parse_policy(policy(*["*a?b*"] * 50))
    with pytest.raises(MalformedPolicy, match="between two"):
        parse_policy(policy(*["*a?b*"] * 51))
    parse_policy(policy(*["${aws:userid}"] * 200))
    with pytest.raises(MalformedPolicy, match="variables"):
        parse_policy(policy(*["${aws:userid}"] * 201))
    parse_policy(policy(*["a?b", "*.???", "?*"] * 150))  # at the ends nothing is searched for


def test_a_policy_for_people_is_light_and_one_against_us_is_heavy():
    assert not is_heavy([parse_policy(policy("*", "${aws:userid}/*", "a?b*"))])
    assert is_heavy([parse_policy(policy(*[f"*{number}*" for number in range(300)]))])
    assert is_heavy([parse_policy(policy(*["*a?b*"] * 10))])


@pytest.mark.parametrize("attempts", [0, 1, 16])
@given(
    pattern=st.text("ab*?", max_size=12).map(lambda text: f"*{text}*"),
    text=st.text("ab", max_size=24),
)
def test_every_way_of_searching_finds_the_same(attempts, pattern, text):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(policy_pattern, "ATTEMPTS", attempts)
        as_regex = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
        found = parse_pattern(pattern, variables=False).matches(text)
        assert found is (re.fullmatch(as_regex, text, re.DOTALL) is not None)
