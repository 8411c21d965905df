"""The redo journal: what was acknowledged is there, whichever disks fail.

Room: tests. May import: stratum.core, stratum.store, tests.fakes.
"""

import errno
import itertools
import shutil
import threading

import pytest

from stratum.core.config import Limits
from stratum.core.errors import ReadOnly, StoreFull, TooFewDisks
from stratum.store import failpoints
from stratum.store.disk import FolderDisk
from stratum.store.disks import Disks
from stratum.store.journal import Journal, read_back
from tests.store.journal_lab import (
    COPIES,
    STORE,
    Found,
    Hang,
    Lab,
    append,
    begin,
    change,
    rows_at,
    state_at,
)


@pytest.fixture
def lab():
    return Lab()


@pytest.fixture
def started(lab):
    """A journal that has begun, and its disks."""
    disks = lab.disks()
    journal = Journal(disks, COPIES, STORE)
    journal.start(1)
    yield journal, disks
    journal.close()


def restarted(lab, next_seq, *, without=()):
    journal = Journal(lab.disks(without=without), COPIES, STORE)
    journal.start(next_seq)
    return journal


def test_what_was_acknowledged_is_read_back_in_order(lab, started):
    append(started[0], range(1, 9))
    found = lab.found()
    assert (found.last, found.snapshot, found.rows) == (8, 0, None)
    assert found.records == [(seq, change(seq)) for seq in range(1, 9)]


def test_a_new_store_has_no_journal(lab):
    found = lab.found()
    assert (found.last, found.snapshot, found.rows, found.records) == (0, 0, None, [])


@pytest.mark.parametrize("lost", list(itertools.combinations(range(6), COPIES - 1)))
def test_losing_any_two_disks_loses_nothing(lab, started, lost):
    journal, _ = started
    append(journal, range(1, 5))
    journal.write_snapshot(4, rows_at(4))
    append(journal, range(5, 8))
    journal.close()
    for slot in lost:
        lab.disk[slot].wipe()
    assert lab.found().state == state_at(7)
    assert lab.found(without=lost).state == state_at(7)


def test_each_record_is_fsynced_once_on_each_of_three_disks(lab, started):
    before = [disk.calls.get(("journal", "fsync"), 0) for disk in lab.disk.values()]
    append(started[0], [1, 2])
    after = [disk.calls.get(("journal", "fsync"), 0) for disk in lab.disk.values()]
    assert [b - a for a, b in zip(before, after, strict=True)] == [2, 2, 2, 0, 0, 0]


def test_a_failing_disk_is_replaced_by_one_that_gets_everything(lab, started):
    journal, disks = started
    for seq in (1, 2, 3):
        append(journal, [seq])
        journal.write_snapshot(seq, rows_at(seq))
    append(journal, [4])
    lab.disk[1].inject(errno.EIO, op="fsync")
    append(journal, range(5, 7))
    assert journal.slots == [0, 2, 3]
    assert disks.in_service() == [0, 2, 3, 4, 5]
    for slot in (0, 1, 2):
        lab.disk[slot].wipe()  # only the replacement is left
    assert lab.found().state == state_at(6)


def test_two_disks_that_fail_at_once_are_both_replaced(lab, started):
    journal, _ = started
    append(journal, [1])
    lab.disk[0].fail()
    lab.disk[2].fail()
    append(journal, [2])
    assert journal.slots == [1, 3, 4]
    lab.disk[1].wipe()
    lab.disk[3].wipe()
    assert lab.found(without=(0, 2)).state == state_at(2)


def test_a_disk_that_others_took_out_of_service_is_replaced(lab, started):
    journal, disks = started
    append(journal, [1])
    disks.fail(0, "a shard could not be synced")
    append(journal, [2])
    assert journal.slots == [1, 2, 3]


def test_a_failed_fsync_is_not_repeated(lab, started):
    journal, _ = started
    before = lab.disk[1].calls["journal", "fsync"]
    lab.disk[1].inject(errno.EIO, op="fsync")
    append(journal, range(1, 5))
    assert lab.disk[1].calls["journal", "fsync"] == before + 1


def test_a_replacement_that_fails_as_well_is_replaced(lab, started):
    journal, _ = started
    append(journal, [1])
    lab.disk[0].fail()
    lab.disk[3].fail()
    append(journal, [2])
    assert journal.slots == [1, 2, 4]


def test_a_disk_that_hangs_delays_a_commit_only_until_the_time_limit():
    lab = Lab(disk_timeout=0.05)
    disks = lab.disks()
    journal = Journal(disks, COPIES, STORE)
    journal.start(1)
    append(journal, [1])
    with Hang("before journal.fsync"):
        append(journal, [2, 3])
        assert len(disks.in_service()) == 5
        assert sorted(journal.slots) == [slot for slot in disks.in_service() if slot in journal.slots]
        assert len(journal.slots) == 3
    journal.close()
    assert lab.found().state == state_at(3)


def test_a_source_that_hangs_while_it_is_copied_from_is_the_one_that_is_blamed():
    lab = Lab(disk_timeout=0.05)
    disks = lab.disks()
    journal = Journal(disks, COPIES, STORE)
    journal.start(1)
    append(journal, [1])
    lab.disk[0].inject(errno.EIO, op="fsync")
    with Hang("before journal.read"):
        append(journal, [2])
    journal.close()
    assert 0 not in disks.in_service()
    assert {3, 4, 5} <= set(disks.in_service())
    assert lab.found().state == state_at(2)


def test_a_copy_that_would_lack_a_record_does_not_count(lab, started):
    """Commit 3 is damaged on two disks when the third fails, and these two have no room for commit 4."""
    journal, _ = started
    append(journal, [1, 2, 3])
    for slot in (1, 2):
        [path] = lab.paths(slot, ".log")
        lab.disk[slot].flip_bit(path, len(lab.disk[slot].content(path).rstrip(b"\0")) - 1)
        lab.disk[slot].inject(errno.ENOSPC, op="append", times=None)
    lab.disk[0].fail()
    pending = begin(journal, 4)
    with pytest.raises(StoreFull):
        pending.wait()
    assert journal.slots == [1, 2]
    assert lab.holders() == [0, 1, 2]


def test_a_full_disk_stays_in_service_and_another_takes_its_copy(lab, started):
    journal, disks = started
    append(journal, [1])
    lab.disk[1].inject(errno.ENOSPC, op="append", written=20)
    append(journal, [2])
    assert journal.slots == [0, 2, 3]
    assert disks.in_service() == list(range(6))


def test_when_all_copies_are_full_other_disks_take_over(lab, started):
    journal, disks = started
    append(journal, [1])
    for slot in (0, 1, 2):
        lab.disk[slot].inject(errno.ENOSPC, op="append", times=None)
    append(journal, [2])
    assert journal.slots == [3, 4, 5]
    assert disks.in_service() == list(range(6))
    assert lab.found(without=(3, 4)).state == state_at(2)


def test_when_all_disks_are_full_the_record_waits_for_room(lab, started):
    journal, disks = started
    append(journal, [1])
    for disk in lab.disk.values():
        disk.inject(errno.ENOSPC, op="append", times=None, written=7)
    pending = begin(journal, 2)
    for _ in range(2):
        with pytest.raises(StoreFull):
            pending.wait()
    with pytest.raises(ReadOnly):
        begin(journal, 3)
    assert lab.found().last == 1
    for disk in lab.disk.values():
        disk.heal()
    pending.wait()
    append(journal, [3])
    assert disks.in_service() == list(range(6))
    assert len(journal.slots) == COPIES
    assert lab.found().state == state_at(3)


def test_with_fewer_disks_than_copies_all_must_have_the_record_but_at_least_two(lab, started):
    journal, disks = started
    append(journal, [1])
    for slot in (2, 3, 4, 5):
        disks.fail(slot, "pulled out")
    append(journal, [2])
    assert journal.slots == [0, 1]
    disks.fail(1, "pulled out")
    pending = begin(journal, 3)
    with pytest.raises(TooFewDisks):
        pending.wait()


def test_disks_that_fail_during_an_append_do_not_make_two_copies_enough(lab, started):
    journal, _ = started
    append(journal, [1])
    for slot in (2, 3, 4, 5):
        lab.disk[slot].fail()
    pending = begin(journal, 2)
    with pytest.raises(TooFewDisks):
        pending.wait()


def test_copies_grow_again_when_disks_come_back(lab, started):
    journal, disks = started
    for slot in (2, 3, 4, 5):
        disks.fail(slot, "pulled out")
    append(journal, [1])
    disks.admit(4, lab.disk[4])
    append(journal, [2])
    assert journal.slots == [0, 1, 4]
    assert lab.found(without=(0, 1)).state == state_at(2)


def test_a_store_of_one_disk_has_a_journal_on_it():
    lab = Lab(slots=1)
    journal = Journal(lab.disks(), 1, STORE)
    journal.start(1)
    append(journal, [1, 2])
    journal.close()
    assert lab.found().state == state_at(2)


def test_a_start_that_might_overlook_acknowledged_records_is_refused(lab, started):
    journal, _ = started
    append(journal, [1])
    journal.close()
    with pytest.raises(TooFewDisks):
        restarted(lab, 2, without=(0, 1, 2))
    restarted(lab, 2, without=(0, 1)).close()


def test_a_start_on_full_disks_says_that_they_are_full(lab):
    for disk in lab.disk.values():
        disk.inject(errno.ENOSPC, op="create", times=None)
    with pytest.raises(StoreFull):
        restarted(lab, 1)


def test_a_commit_that_the_disks_know_is_not_overwritten(lab, started):
    append(started[0], [1, 2])
    started[0].close()
    with pytest.raises(ValueError, match="holds commit 2"):
        restarted(lab, 2)


def test_commits_follow_each_other(started):
    append(started[0], [1])
    with pytest.raises(ValueError, match="cannot follow"):
        begin(started[0], 3)


def test_a_record_begins_only_when_the_one_before_is_durable(started):
    begin(started[0], 1)
    with pytest.raises(ReadOnly):
        begin(started[0], 2)


def test_before_start_and_after_close_nothing_is_taken(lab):
    journal = Journal(lab.disks(), COPIES, STORE)
    with pytest.raises(ReadOnly):
        begin(journal, 1)
    journal.start(1)
    journal.close()
    with pytest.raises(ReadOnly):
        begin(journal, 1)
    with pytest.raises(ReadOnly):
        journal.write_snapshot(0, [])


def test_closing_ends_the_threads_and_lets_go_of_the_files(lab, started):
    journal, _ = started
    append(journal, [1])
    journal.write_snapshot(1, rows_at(1))
    journal.close()
    assert not [thread.name for thread in threading.enumerate() if "disk" in thread.name]
    assert [disk.open_files for disk in lab.disk.values()] == [0] * 6


def test_on_real_folders_it_is_the_same(tmp_path):
    folders = {slot: tmp_path / str(slot) for slot in range(4)}
    for folder in folders.values():
        folder.mkdir()
    disks = Disks({slot: FolderDisk(slot, folder) for slot, folder in folders.items()}, Limits())
    journal = Journal(disks, COPIES, STORE)
    journal.start(1)
    append(journal, range(1, 5))
    journal.write_snapshot(4, rows_at(4))
    append(journal, [5])
    shutil.rmtree(folders[1])
    append(journal, [6])
    assert journal.slots == [0, 2, 3]
    journal.close()
    found = Found(read_back(disks, STORE))
    assert (found.snapshot, found.sequences, found.state) == (4, [5, 6], state_at(6))


def test_that_the_disks_have_answered_is_told_once_and_only_when_the_last_of_them_has(started):
    journal, _ = started
    told = threading.Semaphore(0)
    with Hang("before journal.fsync") as hang:
        pending = begin(journal, 1)
        pending.when_answered(told.release)
        hang.reached.wait()
        assert not told.acquire(timeout=0)
        assert not pending.went_well()
    assert told.acquire(timeout=10)
    assert pending.went_well()
    append(journal, [2, 3])
    assert not told.acquire(timeout=0)


def test_where_a_disk_fails_it_is_for_wait_to_say_whether_the_record_is_durable(started):
    journal, _ = started
    told = threading.Semaphore(0)

    def fails(name, left=itertools.count()):  # noqa: B008 - one count for the one hook
        if name == "before journal.fsync" and next(left) == 0:
            raise OSError(errno.EIO, "broken")

    failpoints.set_hook(fails)
    try:
        pending = begin(journal, 1)
        pending.when_answered(told.release)
        assert told.acquire(timeout=10)
        assert not pending.went_well()
        pending.wait()  # another disk has taken its place
    finally:
        failpoints.set_hook(None)
    append(journal, [2])
    assert not told.acquire(timeout=0)
