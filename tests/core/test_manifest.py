"""A manifest equals a byte string with a volume behind it, whatever is written, punched, cut or shared."""

from hypothesis import given
from hypothesis import strategies as st

from stratum.core.manifest import (
    attach,
    copy_spans,
    detach,
    is_used,
    punch,
    spans_in,
    truncate,
    users,
    volume_users,
    write_spans,
)
from stratum.core.records import Extent, Run
from stratum.core.schema import GARBAGE, RUN
from stratum.core.txn import successor
from tests.fakes.txn import MemoryTxn

SIZE = 60
CONTENT = 7


def run_of(volume: int, skip: int, length: int, *, inline: bool) -> Run:
    if inline:
        return Run(None, bytes((volume * 50 + skip + i) % 251 + 1 for i in range(length)))
    return Run(Extent(volume, 64, 64, skip, length))


def byte_at(run: Run, i: int) -> object:
    return (run.extent.volume, run.extent.skip + i) if run.extent is not None else run.inline[i]


def picture(txn: MemoryTxn, content: int, start: int = 0, stop: int = SIZE) -> list[object]:
    shown: list[object] = [None] * SIZE
    last = start
    for offset, run in spans_in(txn, content, start, stop):
        assert start <= last <= offset and offset + run.length <= stop
        last = offset + run.length
        for i in range(run.length):
            shown[offset + i] = byte_at(run, i)
    return shown


writes = st.tuples(st.just("write"), st.integers(0, SIZE - 1), st.integers(1, 20), st.integers(1, 3), st.booleans())
punches = st.tuples(st.just("punch"), st.integers(0, SIZE), st.integers(0, 20))
cuts = st.tuples(st.just("truncate"), st.integers(0, SIZE))


@given(st.lists(writes | punches | cuts, max_size=30), st.integers(0, SIZE), st.integers(0, SIZE))
def test_a_manifest_equals_a_byte_string(steps, a, b):
    txn, model = MemoryTxn(), [None] * SIZE
    for number, step in enumerate(steps):
        if step[0] == "write":
            length = min(step[2], SIZE - step[1])
            run = run_of(step[3], number * 20, length, inline=step[4])
            resting = SIZE - model.count(None)
            more = write_spans(txn, CONTENT, [(step[1], run)])
            model[step[1] : step[1] + length] = [byte_at(run, i) for i in range(length)]
            assert more == SIZE - model.count(None) - resting
        elif step[0] == "punch":
            stop = min(step[1] + step[2], SIZE)
            resting = stop - step[1] - model[step[1] : stop].count(None)
            assert punch(txn, CONTENT, step[1], stop) == resting
            model[step[1] : stop] = [None] * (stop - step[1])
        else:
            truncate(txn, CONTENT, step[1])
            model[step[1] :] = [None] * (SIZE - step[1])
    assert model == picture(txn, CONTENT)
    low, high = min(a, b), max(a, b)
    part = picture(txn, CONTENT, low, high)
    assert part == [None] * low + model[low:high] + [None] * (SIZE - high)
    for volume in (1, 2, 3):
        bytes_used = sum(1 for each in model if isinstance(each, tuple) and each[0] == volume)
        assert dict(volume_users(txn, volume)) == ({CONTENT: bytes_used} if bytes_used else {})
        touched = any(step[0] == "write" and step[3] == volume and not step[4] for step in steps)
        assert not touched or is_used(txn, volume) or txn.get(GARBAGE + volume.to_bytes(8, "big"))


def test_a_shared_content_lives_until_its_last_user_goes():
    txn = MemoryTxn()
    write_spans(txn, 1, [(0, run_of(5, 0, 10, inline=False))])
    attach(txn, 1, b"a")
    attach(txn, 1, b"b")
    assert users(txn, 1) == 2
    assert not detach(txn, 1, b"a")
    assert is_used(txn, 5)
    assert detach(txn, 1, b"b")
    assert not is_used(txn, 5)
    assert not list(txn.scan(RUN, successor(RUN)))


def test_copied_spans_share_the_volume_and_count_for_both():
    txn = MemoryTxn()
    write_spans(txn, 1, [(0, run_of(5, 0, 30, inline=False))])
    copy_spans(txn, 1, 10, 20, 2, 0)
    assert dict(volume_users(txn, 5)) == {1: 30, 2: 10}
    assert [(0, Run(Extent(5, 64, 64, 10, 10)))] == spans_in(txn, 2, 0, 10)
