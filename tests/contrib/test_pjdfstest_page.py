"""The page about the POSIX suite says what prove printed: every check, also one that a file did not come to."""

import json

import page
import pytest
import tap

PRINTED = """\
/x/suite/tests/chmod/00.t .......... 
1..3
ok 1
not ok 2 - tried 'chmod a 0', expected 0, got EPERM
not ok 3 # TODO Linux does not
Failed 1/3 subtests
/x/suite/tests/chmod/01.t .......... 
1..4
ok 1
ok 2 # TODO it holds all the same
Dubious, test returned 1
/x/suite/tests/rename/00.t ......... 
1..1
ok 1
ok
Result: FAIL
"""  # noqa: W291 - as prove prints it
RUN = page.Run("2026-01-02 03:04 UTC", "abc", "def", "2 cores", "fuse", "ext4", 61.0, "Result: FAIL")


@pytest.fixture
def files():
    return tap.read(PRINTED.splitlines())


def test_every_check_is_counted_once_and_those_that_never_came_have_failed(files):
    assert [(file.name, file.group, len(file.checks)) for file in files] == [
        ("chmod/00", "chmod", 3),
        ("chmod/01", "chmod", 4),
        ("rename/00", "rename", 1),
    ]
    assert [tap.total(files, outcome) for outcome in ("passed", "failed", "expected")] == [4, 3, 1]


def test_a_file_that_looks_at_nothing_is_told_apart(files):
    assert [file.placeholder for file in files] == [False, False, True]


def test_the_page_names_each_failing_check_and_the_expected_ones_apart(files):
    text = page.as_markdown(RUN, files, [])
    assert "**4 of 8 checks hold, 3 fail**" in text
    assert "| `chmod/00.t` | 2 | tried 'chmod a 0', expected 0, got EPERM | not yet explained |" in text
    assert "| `chmod/01.t` | 4 | the file ended before this check | not yet explained |" in text
    assert "| `chmod/00.t` | 3 | Linux does not | holds |" in text
    assert "| `chmod/00.t` | 3 | Linux does not | the same |" in page.as_markdown(RUN, files, files)


def test_the_json_holds_the_same_figures(files):
    figures = json.loads(json.dumps(page.as_json(RUN, files, files)))
    assert figures["total"] == {
        "files": 3, "checks": 8, "passed": 4, "failed": 3, "expected_to_fail": 1, "placeholders": 1,
    }  # fmt: skip
    assert figures["groups"]["chmod"]["failed"] == 3
    assert set(figures["not_held"]) == {"chmod/00.t", "chmod/01.t"}
