"""Patterns: wildcards as everyone knows them, matched without backtracking."""

import re

from hypothesis import example, given
from hypothesis import strategies as st

from stratum.core.policy_pattern import STAR, parse_pattern

texts = st.text("ab*?$.\n", max_size=12)


@given(st.text("ab*?", max_size=12), st.text("ab", max_size=12))
@example("a*a", "a")
@example("*a*a*", "aa")
@example("*?", "")
def test_stars_and_question_marks_mean_any_run_and_any_character(source, text):
    wanted = "".join({"*": ".*", "?": "."}.get(char, char) for char in source)
    assert parse_pattern(source).matches(text) is (re.fullmatch(wanted, text, re.DOTALL) is not None)


@given(texts)
def test_what_has_no_wildcards_matches_itself_alone(text):
    assert parse_pattern(text, variables=False, wildcards=False).matches(text)
    assert not parse_pattern(text, variables=False, wildcards=False).matches(text + "x")
    assert parse_pattern(text, variables=False, wildcards=False).fixed


@given(texts, texts)
def test_what_a_variable_is_replaced_by_is_text(value, text):
    assert parse_pattern("${aws:username}").matches(text, lambda key: value) is (value == text)


@given(st.text(max_size=40))
def test_any_text_is_a_pattern_that_matches_itself_with_its_wildcards_read_as_text(source):
    pattern = parse_pattern(source, variables=False)
    assert pattern.matches(source)
    assert pattern.text(lambda key: None) == source


def test_many_stars_end_soon():
    """Backtracking over them would take longer than the universe has."""
    assert not parse_pattern("a*" * 500 + "b").matches("a" * 5000)
    assert parse_pattern("a*" * 500).parts.count(STAR) == 500


def test_what_is_not_a_whole_variable_is_text():
    for source in ("${", "${}", "$aws:username", "{aws:username}", "${a${b}"):
        pattern = parse_pattern(source)
        assert source == "${a${b}" or (pattern.matches(source) and not pattern.keys)
    assert parse_pattern("${a${b}").keys == {"b"}
