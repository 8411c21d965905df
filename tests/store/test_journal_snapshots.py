"""Snapshots bound the journal, and never at the cost of a record that is still needed.

Room: tests. May import: stratum.core, stratum.store, tests.fakes.
"""

import errno

import pytest

from stratum.core.errors import CorruptJournal, ReadOnly, StoreFull, Unavailable
from stratum.core.snapshot_format import BLOCK_BYTES, HEADER_BYTES
from stratum.store.journal import Journal
from tests.store.journal_lab import COPIES, STORE, Hang, Lab, append, begin, change, rows_at, state_at


@pytest.fixture
def lab():
    return Lab()


@pytest.fixture
def journal(lab):
    journal = Journal(lab.disks(), COPIES, STORE)
    journal.start(1)
    yield journal
    journal.close()


def with_snapshots(journal, *at):
    """Append records, with snapshots after the commits `at`, and one record more."""
    before = 0
    for seq in at:
        append(journal, range(before + 1, seq + 1))
        journal.write_snapshot(seq, rows_at(seq))
        before = seq
    append(journal, [before + 1])


def test_a_rebuild_begins_with_the_newest_snapshot(lab, journal):
    with_snapshots(journal, 3, 5)
    found = lab.found()
    assert (found.snapshot, found.rows, found.sequences) == (5, rows_at(5), [6])


def test_the_two_newest_snapshots_and_every_record_after_the_older_stay(lab, journal):
    with_snapshots(journal, 3, 5)
    append(journal, [7, 8])

    def rows():
        append(journal, [9])  # so the newest segment begins before the snapshot ends
        yield from rows_at(8)

    journal.write_snapshot(8, rows())
    for slot in journal.slots:
        assert [path[10:26] for path in lab.paths(slot, ".snap")] == [f"{5:016x}", f"{8:016x}"]
        assert [path[8:24] for path in lab.paths(slot, ".log")] == [f"{6:016x}", f"{9:016x}"]


def test_bytes_since_the_snapshot_are_counted_over_a_restart(lab, journal):
    append(journal, range(1, 6))
    five = journal.bytes_since_snapshot
    journal.write_snapshot(5, rows_at(5))
    assert journal.bytes_since_snapshot == 0
    append(journal, [6])
    one = journal.bytes_since_snapshot
    assert 0 < one < five
    journal.close()
    again = Journal(lab.disks(), COPIES, STORE)
    again.start(7)
    assert again.bytes_since_snapshot == one
    again.close()


def test_the_same_snapshot_is_not_written_twice(lab, journal):
    append(journal, [1])
    journal.write_snapshot(1, rows_at(1))
    journal.write_snapshot(1, iter(()))
    assert lab.found().rows == rows_at(1)


def test_a_snapshot_before_the_first_record_costs_nothing(lab, journal):
    journal.write_snapshot(0, [])
    append(journal, [1, 2])
    journal.write_snapshot(2, rows_at(2))
    assert lab.holders() == journal.slots
    append(journal, [3])
    assert lab.found().sequences == [3]
    assert lab.found().state == state_at(3)


def test_records_go_on_while_a_snapshot_is_written(lab, journal):
    append(journal, [1, 2])
    upcoming = iter([3, 4])

    def rows():
        for row in rows_at(2):
            append(journal, [next(upcoming)])
            yield row

    journal.write_snapshot(2, rows())
    assert (lab.found().snapshot, lab.found().sequences) == (2, [3, 4])
    append(journal, [5])
    assert lab.found().state == state_at(5)


def test_a_copy_that_joins_while_a_snapshot_is_written_is_complete(lab, journal):
    append(journal, [1, 2])

    def rows():
        lab.disk[0].fail()
        append(journal, [3])
        yield from rows_at(2)

    journal.write_snapshot(2, rows())
    append(journal, [4])
    assert journal.slots == [1, 2, 3]
    assert lab.found(without=(0, 1, 2)).state == state_at(4)
    assert lab.found(without=(0, 2, 3)).state == state_at(4)


def test_a_snapshot_that_cannot_be_finished_leaves_everything_as_it_was(lab, journal):
    with_snapshots(journal, 3)

    def rows():
        yield rows_at(4)[0]
        raise Unavailable("closing")

    before = {slot: disk.paths() for slot, disk in lab.disk.items()}
    with pytest.raises(Unavailable):
        journal.write_snapshot(4, rows())
    journal.close()
    assert {slot: disk.paths() for slot, disk in lab.disk.items()} == before
    assert lab.found().state == state_at(4)


def test_full_disks_refuse_a_snapshot_but_not_the_next_record(lab, journal):
    with_snapshots(journal, 3)
    for disk in lab.disk.values():
        disk.inject(errno.ENOSPC, purpose="snapshot", op="append", times=None)
    with pytest.raises(StoreFull):
        journal.write_snapshot(4, rows_at(4))
    append(journal, [5])
    assert lab.found().state == state_at(5)
    assert not lab.paths(0, "4.snap")


def test_a_disk_that_fails_during_a_snapshot_does_not_hinder_the_others(lab, journal):
    with_snapshots(journal, 3)
    lab.disk[1].inject(errno.EIO, purpose="snapshot", op="fsync")
    for _ in range(3):  # again changes nothing
        journal.write_snapshot(4, rows_at(4))
    append(journal, [5])
    assert journal.slots == [0, 2, 3]
    assert lab.found().state == state_at(5)
    assert lab.found(without=(0, 2)).state == state_at(5)


def test_a_disk_that_hangs_during_a_snapshot_is_left_behind():
    lab = Lab(disk_timeout=0.05)
    disks = lab.disks()
    journal = Journal(disks, COPIES, STORE)
    journal.start(1)
    append(journal, [1])
    with Hang("before snapshot.fsync"):
        journal.write_snapshot(1, rows_at(1))
        append(journal, [2])
    assert len(disks.in_service()) == 5
    journal.close()
    assert lab.found().state == state_at(2)


def test_a_damaged_block_is_read_from_another_disk(lab, journal):
    append(journal, [1])
    rows = [(b"%04d" % number, bytes(BLOCK_BYTES // 4)) for number in range(12)]  # three blocks
    journal.write_snapshot(1, rows)
    journal.close()
    [path] = lab.paths(0, ".snap")
    for slot in range(3):  # a different block on each disk
        lab.disk[slot].flip_bit(path, HEADER_BYTES + slot * BLOCK_BYTES + 1000)
    assert lab.found().rows == rows


def test_a_snapshot_that_no_disk_has_whole_gives_way_to_the_one_before(lab, journal):
    with_snapshots(journal, 3, 5)
    journal.close()
    for slot in range(3):
        lab.disk[slot].flip_bit(lab.paths(slot, ".snap")[1], HEADER_BYTES + 40)
    found = lab.found()
    assert (found.snapshot, found.sequences) == (3, [4, 5, 6])
    assert found.state == state_at(6)


def test_a_snapshot_without_a_footer_is_ignored(lab, journal):
    with_snapshots(journal, 3, 5)
    journal.close()
    for slot in range(3):
        path = lab.paths(slot, ".snap")[1]
        lab.disk[slot].truncate(path, lab.disk[slot].size(path) - 1)
    found = lab.found()
    assert (found.snapshot, found.state) == (3, state_at(6))


def test_the_snapshot_before_still_serves_after_a_restart(lab, journal):
    with_snapshots(journal, 3, 5)
    journal.close()
    again = Journal(lab.disks(), COPIES, STORE)
    again.start(7)
    append(again, [7])
    again.close()
    for slot in range(3):
        lab.disk[slot].flip_bit(lab.paths(slot, ".snap")[1], HEADER_BYTES + 40)
    found = lab.found()
    assert (found.snapshot, found.state) == (3, state_at(7))


def test_damage_that_cannot_be_made_good_is_said_not_skipped(lab, journal):
    with_snapshots(journal, 3, 5, 8)
    journal.close()
    for slot in range(3):
        for path in lab.paths(slot, ".snap"):
            lab.disk[slot].flip_bit(path, HEADER_BYTES + 40)
    with pytest.raises(CorruptJournal):
        lab.found()


def test_a_snapshot_damaged_on_its_source_is_copied_from_others(lab, journal):
    with_snapshots(journal, 3)
    [path] = lab.paths(1, ".snap")
    lab.disk[1].flip_bit(path, HEADER_BYTES + 40)
    lab.disk[0].fail()
    append(journal, [5])
    assert journal.slots == [1, 2, 3]
    assert lab.found(without=(0, 1, 2)).state == state_at(5)


def test_an_index_ahead_of_the_journal_begins_with_a_snapshot(lab, journal):
    append(journal, [1, 2])
    journal.close()
    again = Journal(lab.disks(), COPIES, STORE)
    again.start(4)  # commit 3 reached the index only
    with pytest.raises(ReadOnly):
        begin(again, 4)
    assert lab.found().last == 2
    again.write_snapshot(3, rows_at(3))
    append(again, [4])
    again.close()
    found = lab.found()
    assert (found.snapshot, found.records) == (3, [(4, change(4))])
    assert found.state == state_at(4)
    for slot in range(2):
        lab.disk[slot].wipe()
    assert lab.found().state == state_at(4)


def test_a_lost_journal_begins_again_with_a_snapshot(lab):
    journal = Journal(lab.disks(), COPIES, STORE)
    journal.start(100)
    journal.write_snapshot(99, rows_at(99))
    append(journal, [100])
    journal.close()
    assert lab.found().state == state_at(100)


def test_other_files_in_the_folders_are_left_alone(lab, journal):
    disk = lab.disk[0]
    for path in ("journal/notes.txt", "snapshots/0000.snap", "journal/lost.log.tmp-1"):
        disk.create(path, purpose="test").close()
    with_snapshots(journal, 2, 4, 6)
    journal.close()
    again = Journal(lab.disks(), COPIES, STORE)
    again.start(8)
    again.close()
    assert {"journal/notes.txt", "snapshots/0000.snap", "journal/lost.log.tmp-1"} <= set(disk.paths())


def test_what_was_being_written_at_a_kill_is_cleared_away_at_the_next_start(lab, journal):
    append(journal, [1])
    journal.close()
    left = "snapshots/0000000000000001-00000001.snap.tmp-aabbccdd"
    lab.disk[5].create(left, purpose="test").close()
    again = Journal(lab.disks(), COPIES, STORE)
    again.start(2)
    again.close()
    assert left not in lab.disk[5].paths()
