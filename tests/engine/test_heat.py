"""The tracker of use: what it keeps, for how long, how little it takes, and what a stop or a crash costs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum.core.errors import CorruptRecord
from stratum.core.tiering.blocks import INTEREST, WRITTEN, Block, Touch, touch_of
from stratum.core.tiering.evidence import first
from stratum.engine import heat as heat_module
from stratum.engine.heat import Heat, stored_touch
from stratum.engine.tiering_rows import read_block
from tests.engine.deciding import DAY, NOON, HandClock, deciding_engine
from tests.engine.mounted import FakeMeta

MINUTE = 60 * 10**9


@pytest.fixture
def clock():
    return HandClock()


@pytest.fixture
def heat(clock):
    made = Heat(FakeMeta(), clock)
    made.on = True
    return made


async def test_a_signal_is_no_commit_and_ten_minutes_of_them_are_one_row_a_volume(heat, clock):
    for _ in range(1000):
        heat.read(7, 1, 100)
    assert heat._meta.ticket == 0 and heat.pending == 1
    await heat.flush()
    assert not heat.is_due()
    heat.read(7, 1, 100)
    clock.ns += 9 * MINUTE
    assert not heat.is_due()
    clock.ns += 2 * MINUTE
    assert heat.is_due()
    await heat.flush()
    assert heat.today(7).sent == 100_100 and heat.pending == 0


async def test_what_came_before_midnight_belongs_to_the_day_before(heat, clock):
    day = NOON // DAY
    heat.read(7, 1, 100)
    clock.ns += DAY
    heat.read(7, 1, 5)
    await heat.flush()
    found = heat._meta.read(lambda txn: [stored_touch(txn, at, 7).sent for at in (day, day + 1)])
    assert found == [100, 5] and heat.today(7).visits == 1


async def test_the_two_hour_counter_halves_whether_it_was_flushed_or_not(heat, clock):
    for who in range(8):
        heat.read(7, who, 1)
    clock.ns += 120 * MINUTE
    assert heat.today(7).recent == pytest.approx(4.0, rel=0.02)
    await heat.flush()
    assert heat.today(7).recent == pytest.approx(4.0, rel=0.02)
    heat.read(7, 99, 1)
    assert heat.today(7).recent == pytest.approx(5.0, rel=0.02)


async def test_memory_is_bounded_however_many_clients_and_volumes_there_are(heat, monkeypatch):
    monkeypatch.setattr(heat_module, "PENDING", 100)
    monkeypatch.setattr(heat_module, "VISITS", 50)
    for volume in range(1000):
        heat.read(volume, volume, 1)
        if heat.is_due():
            await heat.flush()
    assert heat.pending <= 101 and len(heat._visits) + len(heat._earlier) <= 102
    assert heat.today(3).visits == 1


async def test_what_cannot_be_written_is_lost_and_counted_and_the_store_goes_on(heat, monkeypatch):
    def fails(change):
        raise CorruptRecord("no")

    heat.read(7, 1, 1)
    monkeypatch.setattr(heat._meta, "apply", fails)
    await heat.flush()
    assert (heat.lost, heat.pending) == (1, 0)


async def test_a_stop_keeps_the_last_minutes(tmp_path):
    clock = HandClock()
    async with deciding_engine(tmp_path, clock=clock) as store:
        await store.put("a")
        (volume,) = await store.volumes("a")
        store.engine.heat.read(volume, 1, 77)
        store.engine.heat.interest(volume)
    async with deciding_engine(tmp_path, clock=clock) as store:
        found = store.engine.heat.today(volume)
        assert (found.visits, found.sent, found.flags) == (1, 77, INTEREST)


touches = st.builds(
    Touch,
    st.integers(0, 2**32 - 1), st.integers(0, 2**63), st.integers(0, 2**63), st.integers(0, INTEREST | WRITTEN),
    st.integers(0, 1439), st.floats(0, 1e6, width=32),
)  # fmt: skip


@given(touches)
def test_a_touch_comes_back_as_it_was(touch):
    again = touch_of(touch.stored())
    assert all(getattr(again, name) == getattr(touch, name) for name in ("visits", "sent", "swept", "flags", "minute"))
    assert again.recent == touch.recent


ids = st.one_of(st.integers(0, 200), st.integers(0, 2**40), st.integers(0, 2**62))


@given(st.dictionaries(ids, st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 31)), max_size=70))
def test_a_block_comes_back_as_it_was(members):
    block = Block()
    block.due = 20_000
    for volume, (group, reason) in members.items():
        block.put(volume, first(19_000 + volume % 100, tier=volume % 3, group=group), reason)
    assert block.size == len(block.stored())
    again = Block(block.stored())
    assert list(again.volumes()) == sorted(members) and again.due == 20_000
    for volume, (group, reason) in members.items():
        evidence, found = again.get(volume)
        assert (evidence.group, found, evidence.born) == (group, reason, 19_000 + volume % 100)
        assert (again.group(volume), again.reason(volume)) == (group, reason)


@given(st.binary(max_size=300))
def test_what_is_no_block_is_refused(raw):
    for some in (raw, b"\x01" + raw, b"\x02" + raw):
        try:
            block = Block(some)
        except ValueError:
            continue
        assert some[0] in (1, 2) and all(block.get(volume) is not None for volume in block.volumes())


@pytest.mark.parametrize("raw", [b"", b"\x01", b"\x02", b"\x03" + bytes(11), Block().stored() + b"x"])
def test_a_block_that_is_cut_or_of_another_version_is_refused(raw):
    with pytest.raises(CorruptRecord):
        read_block(raw)
