"""A small run of the kill campaign on the real mount; and that it would see what it is there to see."""

from collections import Counter

import kills
import kills_check as check
import pytest
from kills_load import RECORD, content, record, size_of
from served import ROOT


@pytest.mark.fuse
@pytest.mark.system
@pytest.mark.slow
def test_two_kills_of_the_mount_under_load_break_no_promise():
    settings = kills.Settings(kills=2, seed=11, longest=2.0)
    seen = kills.campaign(ROOT, settings)
    assert seen.found == []
    assert len(seen.ready_s) == 2
    assert seen.checked["objects compared over S3"] > 0
    assert "nothing found" in kills.page(settings, seen, "abc", "today")


def judged(work, *arguments, **more):
    verdict = check.Verdict()
    work(*arguments[:2], verdict, *arguments[2:], **more)
    return verdict.found


def told(tmp_path, kind, *values, at=0):
    log = tmp_path / "log"
    log.write_text("".join(f"{kind} {value} {at}\n" for value in values))
    return check.Told.read(log)


def test_a_record_that_was_fsynced_and_is_gone_or_other_is_found(tmp_path):
    path, log = tmp_path / "append-0", told(tmp_path, "append", 0, 1)
    whole = b"".join(record("append-0", number) for number in range(2))
    path.write_bytes(whole + record("append-0", 2)[:100])
    assert judged(check.appended, path, log, -1) == []
    path.write_bytes(whole[:-1])
    assert "were fsynced" in judged(check.appended, path, log, -1)[0]
    path.write_bytes(whole[:RECORD] + bytes(RECORD))
    assert "not what was written" in judged(check.appended, path, log, -1)[0]
    path.write_bytes(b"")
    assert judged(check.appended, path, told(tmp_path, "append"), 5)  # seen whole after an earlier kill


@pytest.mark.parametrize(
    ("number", "size", "holds"), [(4, None, True), (5, None, True), (3, None, False), (6, None, False), (4, 50, False)]
)
def test_a_name_that_leads_to_an_older_a_later_or_half_a_version_is_found(tmp_path, number, size, holds):
    (tmp_path / "current").write_bytes(content(f"version {number}", size_of(number))[:size])
    assert (judged(check.replaced, tmp_path, told(tmp_path, "replace", 3, 4), -1) == []) == holds


def test_a_folder_renamed_without_its_files_or_not_there_is_found(tmp_path):
    place = tmp_path / "place"
    (place / "folder-1").mkdir(parents=True)
    for which in range(check.FOLDER_FILES):
        (place / "folder-1" / str(which)).write_bytes(content(f"folder-1 file {which}", size_of(1 + which)))
    assert judged(check.renamed_folders, place, told(tmp_path, "folders", 1)) == []
    assert judged(check.renamed_folders, place, told(tmp_path, "folders", 1, 2))
    (place / "folder-1/2").write_bytes(b"")
    assert "without its files" in judged(check.renamed_folders, place, told(tmp_path, "folders", 1))[0]


def test_an_exchange_that_is_torn_or_undone_is_found(tmp_path):
    (tmp_path / "left").write_bytes(content("b", 3000))
    (tmp_path / "right").write_bytes(content("a", 3000))
    assert judged(check.exchanged, tmp_path, told(tmp_path, "exchange", 0), 0) == []
    assert judged(check.exchanged, tmp_path, told(tmp_path, "exchange"), 0) == []  # done, and not acknowledged yet
    (tmp_path / "right").write_bytes(content("b", 3000))
    assert "torn" in judged(check.exchanged, tmp_path, told(tmp_path, "exchange", 0), 0)[0]


@pytest.mark.parametrize(
    ("body", "long_ago", "just_before", "durable"),
    [(slice(None), True, True, True), (slice(0), False, True, False), (slice(50), False, False, False)],
)
def test_a_closed_file_is_whole_or_was_closed_just_now_and_is_never_torn(
    tmp_path, body, long_ago, just_before, durable
):
    place, second = tmp_path / "place", 10**9
    place.mkdir()
    (place / "closed-0").write_bytes(content("closed-0", size_of(0))[body])
    log = told(tmp_path, "close", 0, at=5 * second)
    assert (judged(check.closed, place, log, killed_ns=8 * second, durable=False) == []) == long_ago
    assert (judged(check.closed, place, log, killed_ns=5 * second + 1, durable=False) == []) == just_before
    assert (judged(check.closed, place, log, killed_ns=5 * second + 1, durable=True) == []) == durable


def test_an_acknowledged_row_that_is_gone_and_a_wrong_sum_are_found(tmp_path):
    kills.make_bank(tmp_path / "bank.db")
    assert judged(check.bank, tmp_path, told(tmp_path, "sqlite")) == []
    assert "acknowledged and lost" in judged(check.bank, tmp_path, told(tmp_path, "sqlite", 1))[0]


def test_only_what_a_forget_was_free_to_take_may_be_gone(tmp_path):
    log = told(tmp_path, "restic", "a", "b", "c", "forget:b,c", "d")
    assert check.must_be_there(["z"], log) == ["b", "c", "d"]


def test_a_promise_broken_is_named_on_the_page():
    seen = kills.Seen(Counter(), ["round 3: lost"], [0.5, 1.0], seconds=9.0)
    text = kills.page(kills.Settings(kills=2), seen, "abc", "today")
    assert "**1 promises broken**" in text
    assert "round 3: lost" in text
