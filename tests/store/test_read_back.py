"""Reading back: any good copy suffices, and what was never acknowledged does not come back to haunt.

Room: tests. May import: stratum.core, stratum.store, tests.fakes.
"""

import errno
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stratum.core.errors import CorruptJournal
from stratum.core.journal_format import RECORD_MAGIC, SEGMENT_HEADER_BYTES
from stratum.store.journal import Journal, read_back
from tests.store.journal_lab import COPIES, STORE, Lab, append, begin, change, rows_at, state_at

LOG = "journal/0000000000000001-00000001.log"


def journaled(last: int, slots: int = 6) -> Lab:
    """A lab whose journal ended with commit `last`."""
    lab = Lab(slots)
    journal = Journal(lab.disks(), COPIES, STORE)
    journal.start(1)
    append(journal, range(1, last + 1))
    journal.close()
    return lab


def ends(lab: Lab, path: str = LOG) -> list[int]:
    """Where each record of a segment with commits 1, 2 ... ends."""
    raw = lab.disk[0].content(path)
    at, found = SEGMENT_HEADER_BYTES, []
    while raw[at : at + 4] == RECORD_MAGIC:  # zeros follow
        at += 48 + int.from_bytes(raw[at + 4 : at + 8], "little")
        found.append(at)
    return found


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 2))
def test_a_record_torn_on_one_disk_is_read_from_another(cut, slot):
    lab = journaled(4)
    *_, start, stop = ends(lab)
    lab.disk[slot].truncate(LOG, start + cut % (stop - start))
    assert lab.found().state == state_at(4)


@settings(deadline=None)
@given(st.integers(0, 10**6))
def test_a_last_record_torn_everywhere_is_ignored(cut):
    lab = journaled(4)
    *_, start, stop = ends(lab)
    for slot in range(3):
        lab.disk[slot].truncate(LOG, start + cut % (stop - start))
    assert lab.found().records == [(seq, change(seq)) for seq in (1, 2, 3)]


def test_a_last_record_that_is_whole_on_one_disk_counts_from_then_on():
    lab = journaled(4)
    for slot in (0, 1):
        lab.disk[slot].truncate(LOG, ends(lab)[2])
    assert lab.found().last == 4
    journal = Journal(lab.disks(), COPIES, STORE)
    journal.start(5)
    journal.close()
    lab.disk[2].wipe()
    assert lab.found().records == [(seq, change(seq)) for seq in range(1, 5)]


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_two_copies_with_damage_anywhere_are_made_good_by_the_third(first, second):
    lab = journaled(6)
    for slot, bit in ((0, first), (2, second)):
        size = 8 * len(lab.disk[slot].content(LOG))
        lab.disk[slot].flip_bit(LOG, bit % size // 8, bit % 8)
    assert lab.found().state == state_at(6)


@settings(deadline=None)
@given(st.permutations(range(6)))
def test_different_records_may_be_damaged_on_every_disk(order):
    lab = journaled(6)
    at = [SEGMENT_HEADER_BYTES, *ends(lab)]
    for number, record in enumerate(order):  # two on each disk: one in its header, one in its body
        lab.disk[number % 3].flip_bit(LOG, at[record] + (60 if number < 3 else 5))
    assert lab.found().state == state_at(6)


def test_a_record_that_no_disk_has_is_a_gap_and_is_said():
    lab = journaled(6)
    for slot in range(3):
        lab.disk[slot].flip_bit(LOG, ends(lab)[2] + 50)
    with pytest.raises(CorruptJournal, match="has commit 5 but not 4"):
        lab.found()


def test_a_gap_before_a_segment_without_records_is_said():
    lab = Lab()
    journal = Journal(lab.disks(), COPIES, STORE)
    journal.start(1)
    append(journal, [1, 2])
    journal.write_snapshot(1, rows_at(1))
    append(journal, [3])
    journal.close()
    later = LOG.replace("1-", "3-")
    for slot in range(3):
        lab.disk[slot].flip_bit(LOG, ends(lab)[0] + 50)  # commit 2
        lab.disk[slot].truncate(later, SEGMENT_HEADER_BYTES)
    with pytest.raises(CorruptJournal, match="segment from commit 3"):
        lab.found()


def test_segments_whose_headers_are_all_damaged_are_not_passed_over():
    lab = journaled(2)
    for slot in range(3):
        lab.disk[slot].flip_bit(LOG, 3)
    with pytest.raises(CorruptJournal):
        lab.found()


def test_bytes_of_a_row_that_look_like_a_record_are_not_taken_for_one():
    lab = journaled(1)
    raw = lab.disk[0].content(LOG)
    forged = raw[SEGMENT_HEADER_BYTES:]  # commit 1, here inside a value
    lab = Lab()
    journal = Journal(lab.disks(), COPIES, STORE)
    journal.start(1)
    append(journal, [1])
    journal.append_begin(2, [(b"forged", forged)]).wait()
    append(journal, [3])
    journal.close()
    lab.disk[0].flip_bit(LOG, ends(lab)[0] + 5)  # the header of commit 2: its length is not to be trusted
    assert lab.found(without=()).sequences == [1, 2, 3]


def test_a_disk_that_cannot_be_read_leaves_service_and_the_others_suffice():
    lab = journaled(3)
    lab.disk[1].inject(errno.EIO, op="read", skip=1)
    disks = lab.disks()
    found = read_back(disks, STORE)
    assert (found.last_seq, [seq for seq, _ in found.records]) == (3, [1, 2, 3])
    assert 1 not in disks.in_service()


def test_files_of_another_store_are_refused():
    lab = journaled(2)
    with pytest.raises(CorruptJournal):
        read_back(lab.disks(), b"another store id")


def test_a_record_never_acknowledged_stays_dead_when_its_disk_comes_back():
    """Commit 4 reaches disk 0 only. A start without disk 0 gives the number 4 to another commit."""
    lab = journaled(3)
    journal = Journal(lab.disks(), COPIES, STORE)
    journal.start(4)
    for slot in (1, 2):
        lab.disk[slot].inject(errno.EIO, purpose="journal", op="append", times=None)
    for slot in (3, 4, 5):
        lab.disk[slot].inject(errno.EIO, purpose="journal", times=None)
    with pytest.raises(Exception, match="journal"):
        begin(journal, 4, b"old").wait()
    journal.close()
    for disk in lab.disk.values():
        disk.heal()
    assert lab.found().records[-1] == (4, change(4, b"old"))

    journal = Journal(lab.disks(without=(0,)), COPIES, STORE)
    journal.start(4)
    assert lab.found(without=()).last == 3  # settled by the start, before anything is written
    append(journal, [4, 5], b"new")
    journal.close()
    assert lab.found().records[3:] == [(4, change(4, b"new")), (5, change(5, b"new"))]
    assert lab.found(without=(1, 2)).records[3:] == [(4, change(4, b"new")), (5, change(5, b"new"))]


def test_a_start_that_was_cut_short_decides_nothing():
    """The first segment of epoch 2 gets its name on one disk, which then is away for a while."""
    lab = journaled(3)
    for slot in (1, 2, 3, 4, 5):
        lab.disk[slot].inject(errno.EIO, purpose="journal", op="rename", times=None)
    with pytest.raises(Exception, match="journal"):
        Journal(lab.disks(), COPIES, STORE).start(4)
    for disk in lab.disk.values():
        disk.heal()
    assert lab.paths(0, "-00000002.log")
    journal = Journal(lab.disks(without=(0,)), COPIES, STORE)
    journal.start(4)
    assert journal.epoch == 3
    append(journal, [4], b"new")
    journal.close()
    assert lab.found().records[3:] == [(4, change(4, b"new"))]


def test_a_snapshot_of_a_state_that_never_was_is_not_used():
    """The index was one commit ahead; its snapshot got its name on disk 0, then the start was cut short."""
    lab = journaled(3)
    journal = Journal(lab.disks(), COPIES, STORE)
    journal.start(5)
    for disk in lab.disk.values():
        disk.inject(errno.EIO, purpose="journal", op="rename", times=None)
    with pytest.raises(Exception, match="journal"):
        journal.write_snapshot(4, [(b"never", b"acknowledged")])
    journal.close()
    for disk in lab.disk.values():
        disk.heal()
    assert lab.paths(0, ".snap")
    assert lab.found().state == state_at(3)
    journal = Journal(lab.disks(without=(0,)), COPIES, STORE)
    journal.start(4)
    append(journal, [4])
    journal.close()
    assert lab.found().state == state_at(4)


def test_reading_back_takes_little_memory():
    lab = Lab()
    journal = Journal(lab.disks(), COPIES, STORE)
    journal.start(1)
    for seq in range(1, 41):
        journal.append_begin(seq, [(b"key", bytes(500_000))]).wait()
    journal.write_snapshot(40, ((b"%03d" % number, bytes(500_000)) for number in range(40)))
    journal.append_begin(41, [(b"key", None)]).wait()
    journal.close()
    recovered = read_back(lab.disks(), STORE)
    tracemalloc.start()
    try:
        assert recovered.last_seq == 41
        assert sum(1 for _ in recovered.rows) == 40
        assert sum(1 for _ in recovered.records) == 1
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 12_000_000  # of 40 MB on each disk
