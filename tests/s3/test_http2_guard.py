"""The guard in front of HTTP/2: the same verdict however the bytes arrive, and nothing a client sends breaks us."""

import logging

import h2.connection
import h2.exceptions
import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stratum.core.config import Limits
from stratum.s3.http2_guard import BATCH, CONTINUATIONS, PREFACE, Calm, Guard, Kind
from tests.s3.connections import ToyDoor
from tests.s3.http2_connections import client, connected, frame, head

LIMITS = Limits(http2_resets=5, http2_settings=5, http2_pings=5, http2_priorities=5, http2_small_frames=10)
CALM = Limits()

frames = st.builds(
    frame,
    st.one_of(st.sampled_from(list(Kind)), st.integers(0, 255)).map(int),
    st.sampled_from([0, 1, 3, 5, 2**31 - 1]),
    st.binary(max_size=40),
    st.sampled_from([0, 1, 4, 5, 8, 32, 255]),
)


def verdict(pieces, limits=LIMITS, now=0.0) -> tuple[bytes, object]:
    """(what passed, the code that it ended with)."""
    guard, passed = Guard(limits, lambda stream: True), []
    try:
        for piece in pieces:
            passed += guard.batches(piece, now)
    except Calm as calm:
        return b"".join(passed), calm.code
    return b"".join(passed), None


@given(st.lists(frames, max_size=40), st.lists(st.integers(1, 60), min_size=1))
def test_however_the_bytes_arrive_the_verdict_is_the_same(sent, sizes):
    whole, at, pieces = bytes(PREFACE) + b"".join(sent), 0, []
    while at < len(whole):
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(whole[at : at + size])
        at += size
    passed, code = verdict([whole])
    cut_passed, cut_code = verdict(pieces)
    assert cut_code == code
    assert cut_passed.startswith(passed)
    if code is None:
        assert cut_passed == passed


@given(st.lists(frames, max_size=40))
def test_what_passes_is_what_was_sent_without_what_means_nothing(sent):
    passed, code = verdict([bytes(PREFACE) + b"".join(sent)])
    if code is None and not any(one[3] in (1, 9) for one in sent):
        kept = [one for one in sent if one[3] in set(Kind) - {Kind.PRIORITY}]
        assert passed == bytes(PREFACE) + b"".join(kept)


@given(st.lists(frames, max_size=60))
def test_the_library_gets_a_few_frames_at_once(sent):
    guard = Guard(CALM, lambda stream: True)
    try:
        for batch in guard.batches(bytes(PREFACE) + b"".join(sent), 0.0):
            assert len(batch) <= PREFACE + BATCH * (9 + 40)
    except Calm:
        pass


ALLOWED = {
    "resets": (frame(3, 1, bytes(4)), CALM.http2_resets),
    "settings": (frame(4, 0), CALM.http2_settings),
    "pings": (frame(6, 0, bytes(8)), CALM.http2_pings),
    "priorities": (frame(2, 1, bytes(5)), CALM.http2_priorities),
    "unknown": (frame(99, 1, bytes(5)), CALM.http2_priorities),
    "windows": (frame(8, 0, bytes(4)), CALM.http2_small_frames),
    "empty data": (frame(0, 1), CALM.http2_small_frames),
}


@pytest.mark.parametrize("name", ALLOWED)
def test_each_kind_of_frame_has_its_allowance_and_gets_it_again_with_time(name):
    one, many = ALLOWED[name]
    guard = Guard(CALM, lambda stream: True)
    list(guard.batches(bytes(PREFACE), 0.0))
    for second in range(10):  # a tenth of the time, a tenth of the allowance: for ever
        list(guard.batches(one * (many // 10), second * CALM.http2_calm_time / 10))
    list(guard.batches(one * many, 1000.0))
    with pytest.raises(Calm):
        list(guard.batches(one, 1000.0))


def test_large_frames_of_data_cost_nothing_and_make_up_for_small_ones():
    """aws-chunked, as some SDKs write it: a line of 80 bytes and 64 KiB, again and again."""
    guard = Guard(CALM, lambda stream: True)
    list(guard.batches(bytes(PREFACE) + frame(1, 1, b"\x82", 4), 0.0))
    chunk = frame(0, 1, bytes(80)) + frame(0, 1, bytes(16_384)) * 4
    for _ in range(2000):
        list(guard.batches(chunk, 0.0))


def test_room_for_what_we_sent_may_be_said_often():
    """Once for each 512 bytes, as clients with small buffers do."""
    guard = Guard(CALM, lambda stream: True)
    list(guard.batches(bytes(PREFACE), 0.0))
    for _ in range(5000):
        guard.sent(1024)
        list(guard.batches(frame(8, 0, bytes(4)) * 2, 0.0))


def test_a_header_block_has_a_size_and_so_many_frames():
    begun, more = bytes(PREFACE) + frame(1, 1, b"\x82"), frame(9, 1)
    assert verdict([begun, more * (CONTINUATIONS - 1), frame(9, 1, b"", 4)], CALM)[1] is None
    assert verdict([begun, more * CONTINUATIONS, more], CALM)[1] == h2.errors.ErrorCodes.ENHANCE_YOUR_CALM
    large = frame(9, 1, bytes(CALM.header_bytes // 4))
    assert verdict([begun, large * 3], CALM)[1] is None
    assert verdict([begun, large * 4], CALM)[1] == h2.errors.ErrorCodes.ENHANCE_YOUR_CALM


def test_trailers_on_one_stream_again_and_again_are_too_many():
    """On a stream that was reset, h2 would decode each of them and answer it."""
    begun, more = bytes(PREFACE) + frame(1, 1, b"\x82", 5), frame(1, 1, b"\x82", 5)
    assert verdict([begun, more * CALM.http2_resets], CALM)[1] is None
    assert verdict([begun, more * (CALM.http2_resets + 1)], CALM)[1] == h2.errors.ErrorCodes.ENHANCE_YOUR_CALM


def test_a_promise_is_no_clients_to_make():
    assert verdict([bytes(PREFACE), frame(5, 1, bytes(9))])[1] == h2.errors.ErrorCodes.PROTOCOL_ERROR


hostile = st.one_of(
    frames,
    st.builds(lambda stream, flags: ("head", stream, flags), st.sampled_from([1, 3, 5]), st.sampled_from([0, 4, 5])),
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(hostile, max_size=25))
def test_no_sequence_of_frames_breaks_us(caplog, sent):
    """Whatever comes, the connection ends in good order or goes on; nothing is logged as a bug, nothing is left."""
    caplog.clear()
    made = client()
    block = made.encoder.encode(head())
    pieces = [frame(1, one[1], block, one[2]) if isinstance(one, tuple) else one for one in sent]

    async def attack() -> None:
        async with connected(ToyDoor()) as peer:
            peer.strict = False
            for piece in pieces:
                await peer.send(piece)
            await trio.testing.wait_all_tasks_blocked()
            await peer.leave()
            with trio.fail_after(1000):
                await peer.ended.wait()

    trio.run(attack, clock=trio.testing.MockClock(autojump_threshold=0))
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
