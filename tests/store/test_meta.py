"""Visible at once, durable together, never half.

Room: tests.
"""

import shutil
import tempfile
import threading
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from stratum.core.config import KIB, MIB, Limits
from stratum.core.errors import DiskFailed, NoSuchKey, ReadOnly, TooFewDisks
from stratum.core.records import encode
from stratum.core.txn import load, save
from stratum.store import journal_writer
from stratum.store.meta import Meta
from tests.fakes.journal import FakeJournal, FakeReadBack, Medium

STORE = bytes(16)
LONG = b"e" + b"x" * 1500


def recover(folder, journal, limits=Limits()):  # noqa: B008 - frozen
    return Meta.recover(Path(folder), FakeReadBack(journal.medium), journal, STORE, limits)


def rows_of(txn):
    """All rows but the sequence, decoded."""
    return {key: load(txn, key, bytes) for key, _ in txn.scan(b"a", b"\xff") if key != b"ncommit"}


def put(key, value=b"v"):
    return lambda txn: save(txn, key, value)


@asynccontextmanager
async def opened(folder, medium=None, *, run=True, **limits):
    journal = FakeJournal(medium or Medium())
    meta = recover(folder, journal, Limits(**limits))
    async with trio.open_nursery() as nursery:
        if run:
            await nursery.start(meta.run)
        try:
            with trio.fail_after(20):
                yield meta, journal
        finally:
            nursery.cancel_scope.cancel()
            journal.gate.set()
            if meta.failed:
                meta.abandon()
            else:
                await meta.close()


async def turn():
    """Let every task that can run do so."""
    for _ in range(5):
        await trio.testing.wait_all_tasks_blocked()


async def test_what_was_written_is_there_after_a_restart_short_keys_and_long(tmp_path):
    medium = Medium()
    async with opened(tmp_path, medium) as (meta, _):
        assert meta.recovery.kind == "new"
        await meta.write(put(b"a", b"1"))
        await meta.write(put(LONG, b"2"))
        await meta.write(lambda txn: txn.delete(b"a"))
    async with opened(tmp_path, medium) as (meta, _):
        assert meta.recovery.kind == "clean"
        assert meta.read(rows_of) == {LONG: b"2"}


async def test_a_change_that_raises_leaves_nothing_and_costs_no_commit(tmp_path):
    def change(txn):
        save(txn, b"a", b"half")
        raise NoSuchKey

    async with opened(tmp_path) as (meta, _):
        with pytest.raises(NoSuchKey):
            await meta.write(change)
        assert meta.read(rows_of) == {}
        assert meta.sequence == 0


async def test_a_change_is_visible_before_it_is_durable(tmp_path):
    async with opened(tmp_path) as (meta, journal):
        journal.gate.clear()
        _, ticket = meta.apply(put(b"a"))
        assert meta.read(rows_of) == {b"a": b"v"}
        assert meta.seen == ticket > meta.sequence


async def test_a_durable_read_waits_for_what_it_saw_and_for_nothing_else(tmp_path):
    async with opened(tmp_path) as (meta, journal), trio.open_nursery() as nursery:
        await meta.write(put(b"old"))
        journal.gate.clear()
        meta.apply(put(b"new"))
        meta.apply(lambda txn: txn.delete(b"gone"))
        answers = []

        async def ask(query):
            answers.append(await meta.read_durable(query))

        nursery.start_soon(ask, lambda txn: ("old", load(txn, b"old", bytes)))
        nursery.start_soon(ask, lambda txn: ("new", load(txn, b"new", bytes)))
        nursery.start_soon(ask, lambda txn: ("gone", list(txn.scan(b"g", b"h"))))
        nursery.start_soon(ask, lambda txn: ("before", list(txn.scan(b"a", b"b"))))
        await turn()
        assert sorted(answers) == [("before", []), ("old", b"v")]
        journal.gate.set()
    assert sorted(answers) == [("before", []), ("gone", []), ("new", b"v"), ("old", b"v")]


async def test_what_the_writer_is_at_is_still_not_durable(tmp_path):
    async with opened(tmp_path) as (meta, journal), trio.open_nursery() as nursery:
        journal.gate.clear()
        nursery.start_soon(meta.write, put(b"a"))
        await turn()
        assert (meta.read(rows_of), meta.seen, meta.sequence) == ({b"a": b"v"}, 1, 0)
        assert meta._index.sequence() == 0  # the index is never ahead of the journal
        journal.gate.set()


@pytest.mark.parametrize("verb", ["read_durable", "write"])
async def test_an_error_too_waits_for_what_it_was_decided_on(tmp_path, verb):
    def fails(txn):
        assert txn.get(b"a") is None
        raise NoSuchKey

    async with opened(tmp_path) as (meta, journal), trio.open_nursery() as nursery:
        await meta.write(put(b"a"))
        journal.gate.clear()
        meta.apply(lambda txn: txn.delete(b"a"))
        ended = trio.Event()

        async def ask():
            with pytest.raises(NoSuchKey):
                await getattr(meta, verb)(fails)
            ended.set()

        nursery.start_soon(ask)
        await turn()
        assert not ended.is_set()
        journal.gate.set()


async def test_many_who_wait_share_commits(tmp_path):
    async with opened(tmp_path) as (meta, _):
        async with trio.open_nursery() as nursery:
            for number in range(100):
                nursery.start_soon(meta.write, put(b"k%d" % number))
        assert meta.sequence <= 3
        assert len(meta.read(rows_of)) == 100


async def test_what_nobody_waits_for_becomes_durable_by_itself(tmp_path):
    async with opened(tmp_path, publish_delay=0.001) as (meta, journal):
        for number in range(3):
            _, ticket = meta.apply(put(b"a%d" % number))
            while meta.sequence < ticket:
                await trio.lowlevel.checkpoint()
        assert sorted(journal.medium.records) == [1, 2, 3]


async def test_a_batch_of_many_changes_does_not_wait_to_be_due(tmp_path):
    async with opened(tmp_path, publish_delay=1000, batch_changes=3) as (meta, _):
        for number in range(3):
            _, ticket = meta.apply(put(b"a%d" % number))
        while meta.sequence < ticket:
            await trio.lowlevel.checkpoint()


async def test_room_waits_while_too_much_is_pending(tmp_path):
    async with opened(tmp_path, pending_meta_bytes=64 * KIB) as (meta, journal), trio.open_nursery() as nursery:
        journal.gate.clear()
        await meta.room()
        meta.apply(put(b"a", bytes(80 * KIB)))
        passed = trio.Event()

        async def wait():
            await meta.room()
            passed.set()

        nursery.start_soon(wait)
        await turn()
        assert not passed.is_set()
        journal.gate.set()
        await passed.wait()


async def test_the_map_grows_before_it_is_full(tmp_path):
    async with opened(tmp_path, map_bytes=1 * MIB) as (meta, _):
        for number in range(40):
            await meta.write(put(b"k%d" % number, bytes(256 * KIB)))
        assert len(meta.read(rows_of)) == 40


async def test_while_the_journal_cannot_be_written_changes_are_refused_and_reads_go_on(tmp_path, monkeypatch):
    monkeypatch.setattr(journal_writer, "RETRY_PAUSE", 0.001)
    async with opened(tmp_path) as (meta, journal):
        await meta.write(put(b"old", b"1"))
        journal.gate.clear()
        async with trio.open_nursery() as nursery:

            async def refused(verb, *args):
                with pytest.raises(ReadOnly, match="no disk left"):
                    await verb(*args)

            nursery.start_soon(refused, meta.write, put(b"a"))
            await turn()
            meta.apply(put(b"b"))
            nursery.start_soon(refused, meta.read_durable, rows_of)
            nursery.start_soon(refused, meta.write, put(b"c"))
            await turn()
            journal.failure = "no disk left"
            journal.gate.set()
        await refused(meta.write, put(b"d"))
        await refused(meta.read_durable, rows_of)
        await meta.room()
        assert await meta.read_durable(lambda txn: load(txn, b"old", bytes)) == b"1"
        journal.failure = None
        while meta.failed is not None:
            await trio.lowlevel.checkpoint()
        assert await meta.read_durable(rows_of) == {b"old": b"1", b"a": b"v", b"b": b"v", b"c": b"v"}
        await meta.write(put(b"e"))


async def test_a_journal_record_that_cannot_be_begun_ends_writing_for_good(tmp_path, monkeypatch):
    async with opened(tmp_path) as (meta, journal):
        await meta.write(put(b"a", b"1"))

        def append_begin(seq, changes):
            raise TooFewDisks("no disk left")

        monkeypatch.setattr(journal, "append_begin", append_begin)
        with pytest.raises(ReadOnly, match="no disk left"):
            await meta.write(put(b"a", b"2"))
        assert await meta.read_durable(rows_of) == {b"a": b"1"}
        with pytest.raises(ReadOnly):
            meta.apply(put(b"b"))


async def test_a_commit_that_only_the_journal_holds_stays_visible_and_survives(tmp_path, monkeypatch):
    medium = Medium()
    async with opened(tmp_path, medium) as (meta, _):
        await meta.write(put(b"a", b"1"))

        def commit(sequence, changes):
            raise DiskFailed("index")

        monkeypatch.setattr(meta._index, "commit", commit)
        await meta.write(put(b"a", b"2"))  # the journal has it
        while meta.failed is None:
            await trio.lowlevel.checkpoint()
        with pytest.raises(ReadOnly):
            await meta.write(put(b"a", b"3"))
        assert await meta.read_durable(rows_of) == {b"a": b"2"}
    async with opened(tmp_path, medium) as (meta, _):
        assert meta.recovery.kind == "rolled-forward"
        assert meta.read(rows_of) == {b"a": b"2"}


@asynccontextmanager
async def held_index(meta, monkeypatch):
    """The commits of the index, as (number, rows), which are held back until the test lets go."""
    commits, gate, commit = [], threading.Event(), meta._index.commit

    def held(sequence, changes):
        commits.append((sequence, changes))
        gate.wait()
        commit(sequence, changes)

    monkeypatch.setattr(meta._index, "commit", held)
    try:
        yield commits, gate
    finally:
        gate.set()


async def test_who_waits_is_told_when_the_journal_has_it_and_the_index_gets_many_batches_at_once(tmp_path, monkeypatch):
    medium = Medium()
    async with opened(tmp_path, medium) as (meta, journal), held_index(meta, monkeypatch) as (commits, gate):
        journal.prompt = True
        for number in range(6):
            await meta.write(put(b"a", b"%d" % number))  # returns: it is durable
            assert await meta.read_durable(rows_of) == {b"a": b"%d" % number}
        await meta.write(put(b"b"))
        assert medium.records.keys() == set(range(1, 8))
        gate.set()
        await meta._batches.drain()
        assert [(sequence, len(changes)) for sequence, changes in commits] == [(1, 1), (7, 2)]
        assert meta.read(rows_of) == {b"a": b"5", b"b": b"v"}
    assert meta.recovery.kind == "new"


async def test_the_journal_is_not_ahead_of_the_index_by_more_than_may_be_pending(tmp_path, monkeypatch):
    medium = Medium()
    async with (
        opened(tmp_path, medium, pending_meta_bytes=8 * KIB) as (meta, journal),
        held_index(meta, monkeypatch) as (_, gate),
        trio.open_nursery() as nursery,
    ):
        journal.prompt = True
        for number in range(8):
            nursery.start_soon(meta.write, put(b"%d" % number, bytes(3 * KIB)))
            await turn()
        assert medium.records.keys() == {1, 2, 3, 4}  # one in the index's hands, three behind it
        gate.set()
    assert len(medium.records) == 5 or not medium.records  # the other four came together; close takes a snapshot


@pytest.mark.parametrize("rows", [journal_writer.LOOP_ROWS, journal_writer.LOOP_ROWS + 1])
async def test_a_batch_of_many_rows_is_put_into_the_journal_by_a_thread(tmp_path, monkeypatch, rows):
    async with opened(tmp_path) as (meta, journal):
        journal.prompt, threads, begin = True, [], journal.append_begin

        def append_begin(seq, changes):
            threads.append(threading.current_thread())
            return begin(seq, changes)

        monkeypatch.setattr(journal, "append_begin", append_begin)
        await meta.write(edit([(b"%05d" % number, b"v") for number in range(rows)]))
        assert [thread is threading.main_thread() for thread in threads] == [rows <= journal_writer.LOOP_ROWS]


async def test_what_only_the_journal_had_when_it_was_acknowledged_survives_a_failure_of_the_index(
    tmp_path, monkeypatch
):
    medium = Medium()
    async with opened(tmp_path, medium) as (meta, journal):
        failed = threading.Event()

        def commit(sequence, changes):
            failed.wait()
            raise DiskFailed("index")

        monkeypatch.setattr(meta._index, "commit", commit)
        journal.prompt = True
        await meta.write(put(b"a", b"1"))
        failed.set()
        while meta.failed is None:
            await trio.lowlevel.checkpoint()
        assert await meta.read_durable(rows_of) == {b"a": b"1"}
    async with opened(tmp_path, medium) as (meta, _):
        assert meta.read(rows_of) == {b"a": b"1"}


async def test_without_a_journal_it_comes_up_for_reading_until_disks_are_back(tmp_path):
    medium = Medium()
    async with opened(tmp_path, medium) as (meta, _):
        await meta.write(put(b"a"))
    journal = FakeJournal(medium)
    journal.failure = "one disk of three"
    meta = recover(tmp_path, journal, Limits(disk_check_interval=0.001))
    assert "one disk of three" in meta.failed
    assert await meta.read_durable(rows_of) == {b"a": b"v"}
    with pytest.raises(ReadOnly, match="one disk of three"):
        await meta.write(put(b"b"))
    async with trio.open_nursery() as nursery:
        await nursery.start(meta.run)
        journal.failure = None
        with trio.fail_after(10):
            while meta.failed is not None:
                await trio.lowlevel.checkpoint()
        await meta.write(put(b"b"))
        nursery.cancel_scope.cancel()
    await meta.close()


async def test_an_index_built_from_too_few_disks_is_not_served_and_not_kept(tmp_path):
    medium = Medium()
    async with opened(tmp_path, medium) as (meta, _):
        await meta.write(put(b"a", b"1"))
        seen_by_few = medium.copy()
        await meta.write(put(b"a", b"2"))
    shutil.rmtree(tmp_path / "index")
    journal = FakeJournal(seen_by_few)
    journal.failure = "two disks of six"
    with pytest.raises(TooFewDisks):
        recover(tmp_path, journal)
    assert not (tmp_path / "index").exists()
    async with opened(tmp_path, medium) as (meta, _):
        assert meta.read(rows_of) == {b"a": b"2"}


async def test_a_long_journal_is_cut_short_by_a_snapshot(tmp_path):
    medium = Medium()
    async with opened(tmp_path, medium, journal_segment_bytes=4 * KIB) as (meta, _):
        for number in range(20):
            await meta.write(put(b"k%02d" % number, bytes(KIB)))
        while not medium.snapshots:
            await trio.lowlevel.checkpoint()
        expected = meta.read(rows_of)
    at = max(medium.snapshots)
    assert dict(medium.snapshots[at]) == {key: encode(key, value) for key, value in expected.items()}
    assert at == 20  # the one of the clean close


async def test_a_snapshot_under_way_gives_up_when_the_store_stops(tmp_path):
    medium = Medium()
    async with opened(tmp_path, medium, run=False, journal_segment_bytes=1) as (meta, journal):
        journal.snapshot_gate.clear()
        async with trio.open_nursery() as nursery:
            await nursery.start(meta.run)
            await meta.write(lambda txn: [save(txn, b"k%d" % number, b"v") for number in range(9)])
            while not journal.snapshots_begun:
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                await turn()
                journal.snapshot_gate.set()
        assert medium.snapshots == {}
    assert len(medium.snapshots[1]) == 9


async def test_when_the_journal_was_lost_a_snapshot_is_taken_at_once(tmp_path):
    async with opened(tmp_path) as (meta, _):
        await meta.write(put(b"a"))
    medium = Medium()
    async with opened(tmp_path, medium) as (meta, _):
        assert meta.recovery.kind == "rolled-forward"
        assert dict(medium.snapshots[1]) == {b"a": encode(b"a", b"v")}


async def test_a_damaged_row_is_never_copied_into_a_snapshot(tmp_path):
    medium = Medium()
    async with opened(tmp_path, medium) as (meta, _):
        await meta.write(put(b"a"))
        await meta._batches.drain()
        meta._index.commit(1, [(b"a", encode(b"b", b"v"))])
    assert medium.snapshots == {}
    async with opened(tmp_path, medium) as (meta, _):
        assert meta.recovery.kind == "rebuilt"
        assert meta.read(rows_of) == {b"a": b"v"}


async def test_after_close_nothing_is_written_and_no_mark_of_use_is_left(tmp_path):
    async with opened(tmp_path) as (meta, _):
        assert (tmp_path / "index.open").exists()
    assert not (tmp_path / "index.open").exists()
    with pytest.raises(ReadOnly):
        meta.apply(put(b"a"))


# --- the model: any script of changes, killed anywhere, index lost or not ----------------------------------------

keys = st.sampled_from([b"a", b"b", b"c", LONG, LONG + b"1", LONG + b"2", LONG[:511]])
edits = st.lists(st.tuples(keys, st.none() | st.binary(max_size=4)), max_size=4)
actions = st.lists(
    st.one_of(
        st.tuples(st.just("apply"), edits),
        st.tuples(st.just("raise"), edits),
        st.tuples(st.just("write"), edits),
        st.tuples(st.just("turn"), st.none()),
        st.tuples(st.just("snapshot"), st.none()),
    ),
    max_size=14,
)
faults = st.sampled_from(["none", "index lost", "journal behind", "index behind", "journal lost"])


class Raised(Exception):
    """What a change raises in the model test."""


def edit(changes, *, fails=False):
    def change(txn):
        for key, value in changes:
            txn.delete(key) if value is None else save(txn, key, value)
        if fails:
            raise Raised

    return change


class Model:
    """What the store must hold, and must have held at each commit."""

    def __init__(self):
        self.rows = {}
        self.at = {0: {}}  # commit: the rows after it
        self.acknowledged = 0

    def apply(self, meta, changes):
        _, ticket = meta.apply(edit(changes))
        for key, value in changes:
            if value is None:
                self.rows.pop(key, None)
            else:
                self.rows[key] = value
        if changes:
            self.at[ticket] = dict(self.rows)
        return ticket


async def play(meta, script, model):
    for verb, changes in script:
        if verb == "turn":
            await turn()
        elif verb == "snapshot":
            await trio.to_thread.run_sync(meta._snapshot)
        elif verb == "raise":
            with pytest.raises(Raised):
                meta.apply(edit(changes, fails=True))
        else:
            ticket = model.apply(meta, changes)
            if verb == "write":
                await meta.durable(ticket)
                model.acknowledged = max(model.acknowledged, ticket)
        assert meta.read(rows_of) == model.rows


async def live_and_die(folder, medium, script, fault, prompt, model):
    """Run `script` on the store in `folder`, then kill it; with `fault`, one of its halves has stopped before.

    `prompt`: the journal is durable without a thread that waits for it.
    """
    journal = FakeJournal(medium)
    journal.prompt = prompt
    meta = recover(folder, journal)
    indexed, commit = [meta.sequence], meta._index.commit

    def noting(sequence, changes):
        commit(sequence, changes)
        indexed.append(sequence)

    meta._index.commit = noting
    assert meta.sequence >= model.acknowledged
    assert meta.read(rows_of) == model.at[meta.sequence]
    model.rows, model.at = dict(model.at[meta.sequence]), {meta.sequence: model.at[meta.sequence]}
    await play(meta, script, model)
    if fault == "journal behind":
        journal.failure = "killed"
    elif fault == "index behind":
        meta._index.commit = lambda sequence, changes: None
    if meta._batches.open.rows:
        meta._batches.want(meta._batches.open)
        await turn()
    meta.abandon()
    if fault == "index lost":
        shutil.rmtree(Path(folder) / "index")
    elif fault == "journal lost":
        medium.records.clear()
        medium.snapshots.clear()
        model.acknowledged = indexed[-1]  # more disks than parity are gone: what the index has is what is left


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(actions, faults, st.booleans()), min_size=1, max_size=3))
def test_killed_anywhere_it_comes_back_with_all_that_was_acknowledged_and_nothing_half(lives):
    medium, model = Medium(), Model()
    with tempfile.TemporaryDirectory() as folder:
        for script, fault, prompt in [*lives, ([], "none", False)]:
            trio.run(live_and_die, folder, medium, script, fault, prompt, model)
