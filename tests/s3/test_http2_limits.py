"""What a client over HTTP/2 may do to us, and for how long: slow, silent, greedy, and at shutdown."""

import h2.errors
import h2.settings
import pytest
import trio
import trio.testing

from stratum.core.config import KIB, MIB, Limits
from stratum.s3.connection_wire import Wires
from stratum.s3.http import Response
from stratum.s3.http2_guard import BATCH, Guard
from tests.s3.connections import ToyDoor, answering
from tests.s3.http2_connections import connected, frame, head

CODES = h2.errors.ErrorCodes


class Waiting(ToyDoor):
    """Answers when `release` is set."""

    def __init__(self) -> None:
        super().__init__(self._wait)
        self.release = trio.Event()

    async def _wait(self, request):
        await self.release.wait()
        return Response(200, [], b"late")


async def test_more_streams_than_allowed_are_refused_and_can_be_tried_again(autojump_clock):
    door = Waiting()
    async with connected(door, Limits(http2_streams=2)) as peer:
        first = [await peer.ask() for _ in range(2)]
        peer.h2.remote_settings.update({h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 100})
        peer.h2.remote_settings.acknowledge()
        refused = await peer.answer(await peer.ask())
        assert refused.reset == CODES.REFUSED_STREAM
        door.release.set()
        assert [(await peer.answer(stream)).body for stream in first] == [b"late"] * 2
        assert (await peer.get()).status == 200
    assert len(door.requests) == 3


async def test_a_body_that_does_not_come_is_answered_in_time(autojump_clock):
    limits = Limits()
    async with connected(ToyDoor(), limits) as peer:
        stream = await peer.ask("PUT", "/k", ("content-length", "10"), body=b"abc", last=False)
        await peer.until(lambda: peer.heard[stream].ended)
        assert trio.current_time() == pytest.approx(limits.body_idle, abs=1)
        assert peer.heard[stream].status >= 400


async def test_a_head_that_does_not_end_is_waited_for_once(autojump_clock):
    """Not even when other frames come, for none may."""
    limits = Limits()
    for begun in (frame(1, 1, b"\x82", 0), frame(1, 1, b"\x82" * 40, 4)[:12]):
        began = trio.current_time()
        async with connected(ToyDoor(), limits) as peer:
            await peer.send(begun)
            await peer.until_closed()
            assert peer.goaway
            assert trio.current_time() - began == pytest.approx(limits.header_time, abs=1)


async def test_who_asks_nothing_is_closed_although_it_sends_pings(autojump_clock):
    limits = Limits()
    async with connected(ToyDoor(), limits) as peer:
        await peer.get()
        began = trio.current_time()
        while not peer.closed:
            await peer.send(frame(6, 0, b"x" * 8))
            await trio.sleep(5)
        assert peer.goaway == [(CODES.NO_ERROR, 1)]
        assert trio.current_time() - began <= limits.connection_idle + 5


async def test_a_request_under_way_is_not_idle(autojump_clock):
    door = Waiting()
    async with connected(door) as peer:
        stream = await peer.ask()
        await trio.sleep(10 * Limits().connection_idle)
        door.release.set()
        assert (await peer.answer(stream)).body == b"late"


async def test_who_takes_nothing_of_an_answer_loses_it_and_others_do_not(autojump_clock):
    limits = Limits()
    big = bytes(MIB)
    async with connected(answering(200, body=big), limits, room=False) as peer:
        stuck = await peer.ask()
        await peer.until(lambda: peer.heard[stuck].over)
        heard = peer.heard[stuck]
        assert heard.reset is not None
        assert len(heard.body) < len(big)
        assert not heard.ended
        assert trio.current_time() <= limits.answer_idle + 1


async def test_one_stream_without_room_does_not_hold_up_the_answers_of_others(autojump_clock):
    async def answer(request):
        return Response(200, [], bytes(200 * KIB))

    async with connected(ToyDoor(answer)) as peer:
        peer.h2.increment_flow_control_window(MIB)
        peer._room = False
        await peer.flush()
        stuck = await peer.ask()
        await peer.until(lambda: len(peer.heard[stuck].body) == 65_535)
        other = await peer.ask()
        peer.h2.increment_flow_control_window(MIB, other)
        await peer.flush()
        assert len((await peer.answer(other)).body) == 200 * KIB


async def test_who_does_not_read_at_all_is_cut(autojump_clock):
    """The socket takes no more; what must be written waits for `answer_idle`."""
    limits = Limits()
    async with connected(answering(200, body=bytes(MIB)), limits) as peer:
        peer.wire._stream.send_stream.send_all_hook = trio.sleep_forever
        await peer.ask()
        await peer.ended.wait()
        assert trio.current_time() <= limits.answer_idle + limits.linger + 1


async def test_shutdown_lets_requests_end_and_takes_no_more(autojump_clock):
    door, ending = Waiting(), trio.Event()
    async with connected(door, ending=ending) as peer:
        stream = await peer.ask()
        await trio.testing.wait_all_tasks_blocked()
        ending.set()
        await peer.until(lambda: peer.goaway == [(CODES.NO_ERROR, stream)])
        refused = await peer.answer(await peer.ask())
        assert refused.reset == CODES.REFUSED_STREAM
        door.release.set()
        assert (await peer.answer(stream)).body == b"late"
        await peer.ended.wait()
    assert len(door.requests) == 1


async def test_shutdown_says_farewell_to_who_rests(autojump_clock):
    limits, ending = Limits(), trio.Event()
    wires = Wires(limits)
    async with connected(ToyDoor(), limits, ending=ending, wires=wires) as peer:
        await peer.get()
        await trio.testing.wait_all_tasks_blocked()
        ending.set()
        wires.cut_resting()
        await peer.ended.wait()
        await peer.until_closed()
        assert peer.goaway == [(CODES.NO_ERROR, 1)]
    assert trio.current_time() < 1


async def test_after_so_many_requests_a_connection_is_left_in_good_order(autojump_clock):
    door = ToyDoor()
    async with connected(door, Limits(http2_requests=3)) as peer:
        for _ in range(3):
            assert (await peer.get()).status == 200
        await peer.ended.wait()
        await peer.until_closed()
        assert peer.goaway == [(CODES.NO_ERROR, 5)]


async def test_a_connection_that_rests_makes_room_for_a_new_one(autojump_clock):
    limits = Limits(connections=1)
    wires = Wires(limits)
    async with connected(ToyDoor(), limits, wires=wires) as peer:
        await peer.get()
        await trio.testing.wait_all_tasks_blocked()
        assert not wires.full()
        await peer.ended.wait()


@pytest.mark.parametrize("size", [1 << 16, 1 << 30])
async def test_no_table_grows_because_the_client_says_so(autojump_clock, size):
    """Its encoder's is fixed, ours is what it grants, up to 4 KiB."""
    codes = h2.settings.SettingCodes
    seen = []

    async def answer(request):
        return Response(200, [(b"x-amz-meta-%d" % len(seen), b"v" * 500)])

    async with connected(ToyDoor(answer)) as peer:
        peer.h2.update_settings({codes.HEADER_TABLE_SIZE: size, codes.MAX_FRAME_SIZE: 2**24 - 1})
        await peer.flush()
        for _ in range(30):
            seen.append(await peer.get())
        assert {heard.status for heard in seen} == {200}
        assert peer.h2.decoder.header_table.maxsize <= 4096


async def test_one_header_block_changes_the_size_of_the_table_twice_at_most(autojump_clock):
    for often, code in ((2, None), (3, CODES.PROTOCOL_ERROR)):
        async with connected(ToyDoor()) as peer:
            peer.h2.send_headers(1, head(), end_stream=True)
            block = b"\x20" * (often - 1) + b"\x3f\xe1\x1f" + peer.h2.data_to_send()[9:]
            await peer.send(frame(1, 1, block, 5))
            if code is None:
                await peer.until(lambda: 1 in peer.heard and peer.heard[1].ended)
            else:
                await peer.until_closed()
                assert peer.goaway[0][0] == code


async def test_a_frame_that_is_too_large_ends_the_connection_before_it_has_come(autojump_clock):
    async with connected(ToyDoor()) as peer:
        await peer.send(frame(0, 1, bytes(16 * KIB + 1))[:9])
        await peer.until_closed()
        assert peer.goaway[0][0] == CODES.FRAME_SIZE_ERROR


async def test_headers_over_twice_the_limit_end_the_connection(autojump_clock):
    """hpack stops as soon as it sees it: one large header, put into its table once and named a thousand times."""
    async with connected(ToyDoor()) as peer:
        large = peer.h2.encoder.encode([*head(), (b"x", b"y" * 4000)])
        await peer.send(frame(1, 1, large + b"\xbe" * 1000, 5))
        await peer.until_closed()
        assert peer.goaway[0][0] == CODES.ENHANCE_YOUR_CALM


async def test_padding_is_given_back_at_once(autojump_clock):
    """A client could fill its windows with it, and nobody would ever take it out."""
    async with connected(Waiting()) as peer:
        stream = await peer.ask("PUT", "/k", body=b"", last=False)
        for _ in range(30):
            await peer.until(lambda: peer.h2.local_flow_control_window(stream) > 16_000)
            peer.h2.send_data(stream, b"x", pad_length=255)
            for _ in range(60):
                peer.h2.send_data(stream, b"", pad_length=255)
            await peer.flush()
        await peer.until(lambda: peer.h2.local_flow_control_window(stream) > Limits().http2_window_bytes // 2)


async def test_data_for_requests_that_were_answered_long_ago_ends_the_connection(autojump_clock):
    """At most a window of it may have been on its way."""
    limits, sent = Limits(), 0
    async with connected(answering(403), limits) as peer:
        stream = await peer.ask("PUT", "/k", ("content-length", str(50 * MIB)), body=b"", last=False)
        await peer.until(lambda: peer.heard[stream].reset is not None)
        while not peer.goaway and sent < 50 * MIB:
            await peer.send(frame(0, stream, bytes(16 * KIB)))
            await trio.testing.wait_all_tasks_blocked()
            sent += 16 * KIB
        assert peer.goaway[0][0] == CODES.ENHANCE_YOUR_CALM
        assert sent <= limits.http2_window_bytes + 64 * KIB


def test_the_library_gets_a_few_frames_at_once():
    guard = Guard(Limits(), lambda stream: True)
    pings = frame(6, 0, b"x" * 8) * 90
    batches = list(guard.batches(bytes(24) + pings, 0.0))
    assert b"".join(batches) == bytes(24) + pings
    assert max(len(batch) for batch in batches[1:]) <= BATCH * 17
