"""The page about the public suite says what the JUnit file says: nothing filtered, nothing counted twice."""

from dataclasses import replace

import outcomes
import pytest
import report

PROPERTIES = "<properties>{}</properties>"


def case(name: str, inside: str = "", *, file: str = "test_s3.py", marks: tuple[str, ...] = ()) -> str:
    properties = f'<property name="file" value="{file}"/>' + "".join(
        f'<property name="mark" value="{mark}"/>' for mark in marks
    )
    return f'<testcase classname="x" name="{name}" time="0.5">{PROPERTIES.format(properties)}{inside}</testcase>'


FAILURE = '<failure message="AssertionError: assert 501 == 200&#10;more">trace</failure>'
ERROR = '<error message="failed on teardown with &quot;boom&quot;">trace</error>'
SKIPPED = '<skipped message="no such thing configured"/>'


@pytest.fixture
def tests(tmp_path):
    cases = [
        case("test_good"),
        case("test_bad", FAILURE, marks=("versioning",)),
        case("test_teardown"),
        case("test_teardown", ERROR),
        case("test_skipped", SKIPPED, marks=("fails_on_aws",)),
        case("test_foreign", FAILURE, marks=("fails_on_aws",)),
        case("test_many[a]"),
        case("test_many[b]", FAILURE, marks=("fails_on_aws",)),
        case("test_elsewhere", FAILURE, file="test_iam.py"),
    ]
    path = tmp_path / "junit.xml"
    path.write_text(f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>")
    return outcomes.read_junit(path)


RUN = report.Run("2026-01-02 03:04 UTC", "abc", "def", "2 cores", 61.0, 2, 4, "six users")


def test_each_function_has_the_worst_outcome_of_its_cases_and_of_its_teardown(tests):
    assert {test.name: test.outcome for test in tests} == {
        "test_good": "passed",
        "test_bad": "failed",
        "test_teardown": "errored",
        "test_skipped": "skipped",
        "test_foreign": "failed",
        "test_many": "failed",
        "test_elsewhere": "failed",
    }


def test_the_headline_counts_functions_of_the_two_files_that_aws_does_not_fail(tests):
    passed, total, percent = outcomes.share(tests)
    assert (passed, total, round(percent)) == (1, 4, 25)


def test_an_exact_name_gives_its_reason_before_a_pattern_and_the_rest_is_not_yet_explained(tests):
    reasons = {"test_*d": "a pattern", "test_bad": "its own"}
    assert outcomes.reason_for("test_bad", reasons) == "its own"
    assert outcomes.reason_for("test_good", reasons) == "a pattern"
    assert outcomes.reason_for("test_many", reasons) == outcomes.UNEXPLAINED


def test_the_page_names_every_test_that_does_not_pass_once(tests):
    page = report.as_markdown(RUN, tests, {"test_bad": "a | b"})
    for test in tests:
        assert page.count(f"`{test.name}`") == (0 if test.passed else 1)
    assert "**1 of 4 (25.0 %)**" in page
    assert "| versioning | 1 | 0 | 1 | 0 | 0 |" in page
    assert "a \\| b" in page
    assert "no such thing configured" in page


def test_the_figures_for_programs_hold_every_test_with_its_reason(tests):
    figures = report.as_json(RUN, tests, {"test_bad": "why"})
    assert figures["headline"] == {"passed": 1, "of": 4, "percent": 25.0}
    assert figures["tests"]["test_s3.py::test_bad"]["reason"] == "why"
    assert figures["tests"]["test_s3.py::test_many"]["reason"] == outcomes.UNEXPLAINED
    assert len(figures["tests"]) == len(tests)


def test_the_list_for_developers_puts_each_failure_in_an_area(tests):
    lines = report.failure_lines(tests, {})
    assert "versioning  test_bad: AssertionError: assert 501 == 200\n" in lines
    assert "test_skipped" not in lines


def test_the_reasons_that_are_committed_can_be_read():
    reasons = outcomes.read_reasons(outcomes.Path(outcomes.__file__).parent / "reasons.toml")
    assert all(isinstance(why, str) and why for why in reasons.values())


def test_what_passes_by_itself_counts_and_is_named():
    beside = [outcomes.Test("test_s3.py", name, outcome) for name, outcome in (("a", "passed"), ("b", "failed"))]
    beside.append(outcomes.Test("test_s3.py", "c", "errored"))
    again = [outcomes.Test("test_s3.py", "b", "passed"), outcomes.Test("test_s3.py", "c", "failed")]
    kept, named = outcomes.with_again(beside, again)
    assert [each.outcome for each in kept] == ["passed", "passed", "errored"]
    assert named == ["b"]
    page = report.as_markdown(replace(RUN, alone=tuple(named)), kept, {})
    assert "`b` passed there" in page
