"""The metadata store on its real journal: power cuts, lost disks, full disks.

Room: tests.
"""

import random
import shutil
import tempfile
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from stratum.core.config import KIB, Limits
from stratum.core.errors import ReadOnly, TooFewDisks
from stratum.core.txn import load, save
from stratum.store import batches, journal_writer
from stratum.store.disks import Disks
from stratum.store.identity import Absent
from stratum.store.meta import Meta
from tests.fakes.disk import FakeDisk
from tests.store.journal_lab import Hang

STORE, SLOTS, COPIES = bytes(16), range(6), 3
LIMITS = Limits(journal_segment_bytes=2 * KIB, disk_check_interval=0.001, disk_timeout=0.2)


class Machine:
    """A folder for the index and six disks, which outlive every server that runs on them."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.disks = {slot: FakeDisk(slot) for slot in SLOTS}

    def boot(self, *, without=()):
        present = {slot: disk for slot, disk in self.disks.items() if slot not in without}
        self.slots = Disks(present, LIMITS, absent={slot: Absent("", "not there") for slot in without})
        return Meta.open(self.folder, self.slots, COPIES, STORE, LIMITS)

    def cut_power(self, meta, chance):
        meta.abandon()
        for disk in self.disks.values():
            disk.cut_power(chance)


def put(key, value=b"v"):
    return lambda txn: save(txn, key, value)


def rows_of(txn):
    return {key: load(txn, key, bytes) for key, _ in txn.scan(b"a", b"\xff") if key != b"ncommit"}


changes = st.tuples(st.sampled_from([b"a", b"b", b"c" * 600]), st.none() | st.sampled_from([b"1", b"2", bytes(1500)]))
lives = st.lists(
    st.tuples(
        st.lists(st.tuples(changes, st.booleans()), max_size=8),  # a change, and whether it is waited for
        st.booleans(),  # the index is lost
        st.sets(st.sampled_from(list(SLOTS)), max_size=2),  # disks that are not there at the next start
    ),
    min_size=1,
    max_size=4,
)


@settings(deadline=None, max_examples=15)
@given(lives, st.integers(0, 2**32))
def test_after_power_cuts_with_two_disks_and_the_index_lost_everything_acknowledged_is_there(lives, seed):
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        trio.run(live, Machine(folder), [*lives, ([], False, set())], chance)


async def live(machine, lives, chance):
    at, acknowledged, without = {0: {}}, 0, set()
    for script, index_lost, next_without in lives:
        meta = machine.boot(without=without)
        assert meta.failed is None
        assert meta.sequence >= acknowledged
        rows = meta.read(rows_of)
        assert rows == at[meta.sequence]
        at = {meta.sequence: dict(rows)}
        async with trio.open_nursery() as nursery:
            await nursery.start(meta.run)
            for (key, value), waits in script:
                _, ticket = meta.apply(put(key, value) if value is not None else lambda txn, key=key: txn.delete(key))
                rows.pop(key, None) if value is None else rows.update({key: value})
                at[ticket] = dict(rows)
                if waits:
                    await meta.durable(ticket)
                    acknowledged = ticket
            nursery.cancel_scope.cancel()
        machine.cut_power(meta, chance)
        if index_lost:
            shutil.rmtree(machine.folder / "index")
        without = next_without


async def test_it_goes_on_when_disks_come_back(tmp_path):
    machine = Machine(tmp_path)
    meta = machine.boot()
    await meta.write(put(b"a"))
    await meta.close()
    meta = machine.boot(without=range(1, 6))
    assert "disks" in meta.failed
    assert await meta.read_durable(rows_of) == {b"a": b"v"}
    async with trio.open_nursery() as nursery:
        await nursery.start(meta.run)
        for slot in range(1, 6):
            machine.slots.admit(slot, machine.disks[slot])
        with trio.fail_after(10):
            while meta.failed is not None:
                await trio.lowlevel.checkpoint()
        await meta.write(put(b"b"))
        nursery.cancel_scope.cancel()
    await meta.close()


async def test_without_index_and_most_disks_it_does_not_come_up(tmp_path):
    machine = Machine(tmp_path)
    meta = machine.boot()
    await meta.write(put(b"a"))
    await meta.close()
    shutil.rmtree(tmp_path / "index")
    with pytest.raises(TooFewDisks):
        machine.boot(without=range(2, 6))
    meta = machine.boot()
    assert (meta.recovery.kind, meta.read(rows_of)) == ("rebuilt", {b"a": b"v"})
    await meta.close()


async def test_it_goes_on_when_full_disks_have_room_again(tmp_path, monkeypatch):
    monkeypatch.setattr(journal_writer, "RETRY_PAUSE", 0.001)
    machine = Machine(tmp_path)
    meta = machine.boot()
    await meta.write(put(b"a", b"1"))
    for disk in machine.disks.values():
        disk.capacity = 0
    with pytest.raises(ReadOnly):
        await meta.write(put(b"a", bytes(9000)))
    with pytest.raises(ReadOnly):
        await meta.write(put(b"b"))
    for disk in machine.disks.values():
        disk.capacity = 1 << 40
    with trio.fail_after(10):
        while meta.failed is not None:
            await trio.lowlevel.checkpoint()
    await meta.write(put(b"b"))
    assert await meta.read_durable(rows_of) == {b"a": bytes(9000), b"b": b"v"}
    await meta.close()


async def test_a_failing_disk_costs_nothing_but_itself(tmp_path):
    machine = Machine(tmp_path)
    meta = machine.boot()
    for number, slot in enumerate((0, 3)):
        await meta.write(put(b"a%d" % number))
        machine.disks[slot].fail()
        await meta.write(put(b"b%d" % number))
    assert len(machine.slots.in_service()) <= 5
    machine.cut_power(meta, random.Random(1))
    shutil.rmtree(tmp_path / "index")
    meta = machine.boot(without=(0, 3))
    assert sorted(meta.read(rows_of)) == [b"a0", b"a1", b"b0", b"b1"]
    await meta.close()


async def test_a_disk_that_does_not_answer_is_done_without_and_nobody_waits_for_it_in_vain(tmp_path, monkeypatch):
    monkeypatch.setattr(batches, "DOUBT_S", 0.001)
    machine = Machine(tmp_path)
    meta = machine.boot()
    async with trio.open_nursery() as nursery:
        await nursery.start(meta.run)
        await meta.write(put(b"a"))
        with Hang("before journal.fsync"), trio.fail_after(10):
            await meta.write(put(b"b"))  # on another disk in its place
        assert len(machine.slots.in_service()) == 5
        await meta.write(put(b"c"))
        nursery.cancel_scope.cancel()
    machine.cut_power(meta, random.Random(1))
    shutil.rmtree(tmp_path / "index")
    meta = machine.boot()
    assert sorted(meta.read(rows_of)) == [b"a", b"b", b"c"]
    await meta.close()
