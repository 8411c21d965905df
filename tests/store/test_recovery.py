"""Whatever happened to the index, the store comes up with what was acknowledged, or says plainly why not.

Room: tests.
"""

import os
import random
import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stratum.core.errors import CorruptJournal, DiskFailed, ForeignDisk
from stratum.core.records import encode
from stratum.core.txn import load
from stratum.store import failpoints, recovery
from stratum.store.index import Index, IndexDamaged, find_damage, find_damaged_row
from stratum.store.longkeys import COUNTER_KEY
from stratum.store.recovery import closed_cleanly, decide, open_index, put_in_place
from tests.fakes.journal import FakeReadBack, Medium

STORE = bytes(16)
MAP = 1 << 26
COMMITS = 60


def rows_of(txn):
    return dict(txn.scan(b"a", b"\xff"))


def changes_of(sequence):
    """Some new rows, some long, some removed later."""
    made = [b"k%03d" % sequence, b"l" * 600 + b"%03d" % sequence]
    changes = [(key, encode(key, bytes(100))) for key in made]
    return changes + ([(b"k%03d" % (sequence - 2), None)] if sequence % 3 == 0 else [])


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    """A closed store after COMMITS commits: its folder, its journal (snapshot in the middle), its rows."""
    folder, medium = tmp_path_factory.mktemp("grown"), Medium()
    index = open_index(folder, STORE, FakeReadBack(medium), map_bytes=MAP).index
    index = put_in_place(folder, index, map_bytes=MAP)
    for sequence in range(1, COMMITS + 1):
        medium.records[sequence] = changes_of(sequence)
        index.commit(sequence, medium.records[sequence])
        if sequence == COMMITS // 2:
            medium.snapshots[sequence] = list(index.read(rows_of).items())
            shutil.copytree(folder, folder.parent / "half")
    rows = index.read(rows_of)
    index.close()
    closed_cleanly(folder)
    return folder, medium, rows


@pytest.fixture
def store(grown, tmp_path):
    """A copy of `grown` to be damaged."""
    return copied(grown, tmp_path / "store")


def copied(grown, to):
    folder, medium, rows = grown
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(folder, to)
    return to, medium.copy(), rows


def come_up(folder, medium, store_id=STORE):
    """(how it came up, its rows, whether a snapshot is due); closed without ceremony."""
    opened = open_index(folder, store_id, FakeReadBack(medium), map_bytes=MAP)
    index = opened.index
    if opened.provisional:
        index = put_in_place(folder, index, map_bytes=MAP)
    try:
        assert index.store_id() == store_id
        return opened.recovery, index.read(rows_of), opened.snapshot_due
    finally:
        index.close()


def pages(folder):
    return folder / "index" / "data.mdb"


def overwrite(path, at, content):
    with open(path, "r+b") as file:
        file.seek(at)
        file.write(content)


numbers = st.integers(0, 5)


@given(st.none() | numbers, numbers, numbers, st.sampled_from(["", "torn"]))
def test_the_newest_sequence_wins(have, oldest, newer, damage):
    last = oldest + newer
    if have is None and damage and not last:
        with pytest.raises(IndexDamaged):
            decide(have, oldest, last, damage)
        return
    plan = decide(have, oldest, last, damage)
    known = -1 if have is None else have
    assert plan.rebuild == (known < oldest or have is None)
    assert plan.snapshot == (known > last)
    assert (plan.kind == "clean") == (known == last > 0)
    assert bool(plan.reason) == (plan.kind not in ("clean", "new")) or plan.kind == "new"


def test_a_sound_index_is_used_as_it_is(store):
    folder, medium, rows = store
    how, found, snapshot_due = come_up(folder, medium)
    assert (how.kind, found, snapshot_due) == ("clean", rows, False)
    assert come_up(folder, medium)[0].kind == "clean"  # also after an unclean stop


@pytest.mark.parametrize("kept", [0, 4096, 8192, 24_576])
def test_a_truncated_index_is_rebuilt_and_set_aside(store, kept):
    folder, medium, rows = store
    with open(pages(folder), "r+b") as file:
        file.truncate(kept)
    before = pages(folder).read_bytes()
    how, found, _ = come_up(folder, medium)
    assert (how.kind, how.records, found) == ("rebuilt", COMMITS // 2, rows)
    assert (folder / "index.damaged-1" / "data.mdb").read_bytes() == before
    assert come_up(folder, medium)[0].kind == "clean"


def test_an_index_that_is_gone_is_rebuilt(store):
    folder, medium, rows = store
    shutil.rmtree(folder / "index")
    assert come_up(folder, medium)[:2] == (recovery.Recovery("rebuilt", 30, "the index is missing"), rows)


def test_an_index_without_its_head_is_rebuilt(store):
    folder, medium, rows = store
    overwrite(pages(folder), 0, bytes(8192))
    assert come_up(folder, medium)[1] == rows


def test_every_damaged_index_is_kept(store):
    folder, medium, rows = store
    for _ in range(3):
        overwrite(pages(folder), 0, bytes(8192))
        assert come_up(folder, medium)[1] == rows
    assert sorted(path.name for path in folder.glob("index.damaged-*")) == [f"index.damaged-{n}" for n in (1, 2, 3)]


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_flipped_bit_anywhere_never_shows(grown, tmp_path, data):
    folder, medium, rows = copied(grown, tmp_path / "flip")
    size = pages(folder).stat().st_size
    at = data.draw(st.integers(0, size - 1))
    byte = pages(folder).read_bytes()[at]
    overwrite(pages(folder), at, bytes([byte ^ (1 << data.draw(st.integers(0, 7)))]))
    assert come_up(folder, medium)[1] == rows


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_page_of_noise_or_of_another_page_never_shows(grown, tmp_path, data):
    folder, medium, rows = copied(grown, tmp_path / "page")
    content = pages(folder).read_bytes()
    count = len(content) // 4096
    at = data.draw(st.integers(0, count - 1)) * 4096
    other = data.draw(st.integers(0, count - 1)) * 4096
    noise = random.Random(data.draw(st.integers(0, 2**32))).randbytes(4096)
    overwrite(pages(folder), at, data.draw(st.sampled_from([noise, content[other : other + 4096], bytes(4096)])))
    assert come_up(folder, medium)[1] == rows


def test_an_index_from_a_backup_is_rolled_forward(grown, store):
    folder, medium, rows = store
    shutil.rmtree(folder / "index")
    shutil.copytree(grown[0].parent / "half" / "index", folder / "index")
    how, found, snapshot_due = come_up(folder, medium)
    assert (how.kind, how.records, found, snapshot_due) == ("rolled-forward", COMMITS // 2, rows, False)


def test_an_index_older_than_the_journal_is_rebuilt(grown, store):
    folder, medium, rows = store
    index = Index(folder / "index", map_bytes=MAP)
    medium.snapshots[COMMITS] = list(index.read(rows_of).items())
    index.close()
    shutil.rmtree(folder / "index")
    shutil.copytree(grown[0].parent / "half" / "index", folder / "index")
    how, found, _ = come_up(folder, medium)
    assert (how.kind, found) == ("rebuilt", rows)
    assert (folder / "index.damaged-1").is_dir()


def test_a_snapshot_of_an_emptied_store_keeps_its_number(tmp_path):
    medium = Medium()
    medium.snapshots[7] = []
    opened = open_index(tmp_path, STORE, FakeReadBack(medium), map_bytes=MAP)
    assert opened.index.sequence() == 7
    opened.index.close()


def test_a_lost_journal_leaves_the_index_in_charge(store):
    folder, _, rows = store
    how, found, snapshot_due = come_up(folder, Medium())
    assert (how.kind, how.reason, found, snapshot_due) == (
        "rolled-forward", "journal missing, rebuilt from the index", rows, True,
    )  # fmt: skip


def test_an_index_ahead_of_the_journal_asks_for_a_snapshot(store):
    folder, medium, rows = store
    del medium.records[COMMITS]
    assert come_up(folder, medium)[1:] == (rows, True)


def test_a_damaged_index_without_a_journal_is_left_alone(store):
    folder, _, _ = store
    overwrite(pages(folder), 0, bytes(8192))
    with pytest.raises(IndexDamaged, match="no disk has a journal"):
        come_up(folder, Medium())
    assert pages(folder).exists()


def test_a_gap_in_the_journal_is_not_papered_over(store):
    folder, medium, _ = store
    del medium.records[COMMITS - 3]
    shutil.rmtree(folder / "index")
    with pytest.raises(CorruptJournal):
        come_up(folder, medium)


def test_the_index_of_another_store_is_refused(store):
    folder, medium, _ = store
    with pytest.raises(ForeignDisk):
        come_up(folder, medium, b"another store id")


def test_a_damaged_counter_of_long_keys_is_found(store):
    folder, medium, rows = store
    index = Index(folder / "index", map_bytes=MAP)
    index.commit(COMMITS, [(COUNTER_KEY, encode(b"another key", 16))])
    index.close()
    how, found, _ = come_up(folder, medium)
    assert (how.kind, found) == ("rebuilt", rows)


def test_a_large_index_is_checked_only_after_an_unclean_stop(store, monkeypatch):
    folder, medium, _ = store
    monkeypatch.setattr(recovery, "ALWAYS_CHECKED", 0)
    monkeypatch.setattr(recovery, "find_damage", lambda folder: "checked")
    assert come_up(folder, medium)[0].kind == "clean"  # and leaves the mark of an open index
    assert come_up(folder, medium)[0].reason == "checked"
    closed_cleanly(folder)
    assert come_up(folder, medium)[0].kind == "clean"


def test_what_a_killed_rebuild_left_is_not_used(store):
    folder, medium, rows = store
    (folder / "index").rename(folder / "index.building")
    overwrite(folder / "index.building" / "data.mdb", 0, bytes(8192))
    assert come_up(folder, medium)[1] == rows


@pytest.mark.parametrize("damage", ["missing", "damaged"])
def test_a_rebuild_may_be_killed_before_and_after_every_call(grown, tmp_path, damage):
    """Fail the N-th point, N = 1, 2, 3 ... until none is reached any more."""
    reached = 0
    for number in range(1, 100):
        folder, medium, rows = copied(grown, tmp_path / "store")
        shutil.rmtree(folder / "index") if damage == "missing" else overwrite(pages(folder), 0, bytes(8192))
        if kill_at(number, folder, medium):
            reached += 1
            assert come_up(folder, medium)[1] == rows
        else:
            break
    assert reached > 10


def kill_at(number, folder, medium):
    """Come up with the `number`-th failpoint raising; whether it was reached."""
    names = []

    def hook(name):
        names.append(name)
        if len(names) == number:
            raise OSError(5, "killed")

    failpoints.set_hook(hook)
    try:
        come_up(folder, medium)
    except DiskFailed:
        return True
    finally:
        failpoints.set_hook(None)
    return len(names) >= number


@pytest.mark.parametrize("more", [0, 100])
def test_an_index_that_lost_free_pages_at_its_end_is_whole_and_can_be_written_on(tmp_path, more):
    keys = [b"b%05d" % number for number in range(2000)]
    index = Index(tmp_path, map_bytes=1 << 26)
    index.commit(1, [(key, encode(key, "x" * 200)) for key in keys])
    index.commit(2, [(key, None) for key in keys[20:]])
    for sequence in range(3, 8):
        index.commit(sequence, [(keys[1], encode(keys[1], sequence))])
    index.close()
    file = tmp_path / "data.mdb"
    os.truncate(file, file.stat().st_size // 2 // 4096 * 4096 + more)
    assert find_damage(tmp_path) == ""
    for sequence in range(8, 40):
        index = Index(tmp_path, map_bytes=1 << 26)
        assert find_damaged_row(index) == ""
        index.commit(sequence, [(key, encode(key, str(sequence) * 60)) for key in keys[sequence::7]])
        index.close()
        assert find_damage(tmp_path) == ""
    index = Index(tmp_path, map_bytes=1 << 26)
    wanted = {key: next(s for s in range(39, 7, -1) if key in keys[s::7]) for key in keys[39:]}
    assert index.read(lambda txn: {key: load(txn, key, str) for key in wanted}) == {
        key: str(sequence) * 60 for key, sequence in wanted.items()
    }
    index.close()
