"""Clients that are slow, idle, many or take nothing: each is bounded, and none at the cost of the others."""

import pytest
import trio
import trio.testing

from stratum.core.config import Limits
from stratum.s3.connection_wire import Wires
from stratum.s3.errors import S3Error
from stratum.s3.http import Request, Response
from tests.s3.connections import ToyDoor, answering, connected, statuses, talk

LIMITS = Limits(header_time=10, connection_idle=50, body_idle=20, answer_idle=30, linger=5)
GET = b"GET /b/k HTTP/1.1\r\nHost: x\r\n\r\n"


def put(size: int) -> bytes:
    return b"PUT /b/k HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size


async def test_a_connection_without_a_request_is_closed_without_a_word(autojump_clock):
    async with connected(ToyDoor(), LIMITS) as peer:
        assert await peer.read_all() == b""
    assert trio.current_time() == pytest.approx(50, abs=6)


async def test_a_kept_connection_without_a_further_request_is_closed(autojump_clock):
    async with connected(ToyDoor(), LIMITS) as peer:
        await trio.sleep(40)
        await peer.send(GET)
        assert statuses(await peer.read_all()) == [200]
    assert trio.current_time() == pytest.approx(90, abs=6)


@pytest.mark.parametrize("pause", [0.2, 9])
async def test_a_head_that_trickles_in_is_refused_after_its_time(pause, autojump_clock):
    door = ToyDoor()
    async with connected(door, LIMITS) as peer, trio.open_nursery() as nursery:

        async def trickle() -> None:
            for i in range(len(GET) * 1000):
                await peer.send(b"GET /b/" + b"k" if i == 0 else b"k")
                await trio.sleep(pause)

        nursery.start_soon(trickle)
        answer = await peer.read_all()
        nursery.cancel_scope.cancel()
    assert (statuses(answer), door.requests) == ([400], [])
    assert b"<Code>RequestTimeout</Code>" in answer
    assert trio.current_time() <= 10 + LIMITS.linger + 1


async def test_empty_lines_are_no_sign_of_life(autojump_clock):
    async with connected(ToyDoor(), LIMITS) as peer, trio.open_nursery() as nursery:

        async def trickle() -> None:
            while True:
                await peer.send(b"\r\n")
                await trio.sleep(1)

        nursery.start_soon(trickle)
        await peer.read_all()
        nursery.cancel_scope.cancel()
    assert trio.current_time() < 70


async def test_a_body_slower_than_the_least_rate_is_refused(autojump_clock):
    async def reads(request: Request) -> Response:
        try:
            return await door.whole(request)
        except S3Error as error:
            return Response(error.status, [], error.code.encode())

    door = ToyDoor(reads)
    async with connected(door, LIMITS) as peer, trio.open_nursery() as nursery:

        async def trickle() -> None:
            await peer.send(put(10_000))
            while True:
                await peer.send(b"x")
                await trio.sleep(1)

        nursery.start_soon(trickle)
        answer = await peer.read_all()
        nursery.cancel_scope.cancel()
    assert answer.endswith(b"RequestTimeout")
    assert trio.current_time() < 30


@pytest.mark.parametrize(
    ("sent", "limits"),
    [
        (b"GET /b/k HTTP/1.1\r\nHost: x\r\nA: %b\r\n\r\n" % (b"a" * 500), Limits(header_bytes=500)),
        (b"GET /b/k HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 500, Limits(header_bytes=500)),
        (b"GET /b/k HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 10 + b"\r\n", Limits(header_count=10)),
        (b"GET /b/%b HTTP/1.1\r\nHost: x\r\n\r\n" % (b"k" * 98), Limits(target_bytes=100)),
    ],
)
async def test_more_of_a_head_than_the_limit_is_refused_at_once(sent, limits, autojump_clock):
    door = ToyDoor()
    answer = await talk(door, sent, limits=limits)
    assert (statuses(answer), door.requests) == ([400], [])
    assert b"<Code>RequestHeaderSectionTooLarge</Code>" in answer


async def test_what_just_fits_is_taken(autojump_clock):
    head = b"GET /b/%b HTTP/1.1\r\nHost: x\r\n" % (b"k" * 97) + b"A: b\r\n" * 8 + b"Connection: close\r\n\r\n"
    limits = Limits(header_bytes=len(head), header_count=10, target_bytes=100)
    assert statuses(await talk(ToyDoor(), head, limits=limits)) == [200]


async def test_a_client_that_takes_nothing_of_its_answer_is_cut(autojump_clock):
    closed = trio.Event()

    async def endless():
        try:
            while True:
                yield bytes(1000)
        finally:
            closed.set()

    door = answering(body=endless())
    async with connected(door, LIMITS, pair=trio.testing.lockstep_stream_pair) as peer:
        await peer.send(GET)
        await peer.ended.wait()
    assert closed.is_set()
    assert trio.current_time() == pytest.approx(30, abs=6)


async def test_nothing_is_taken_off_the_connection_while_the_handler_takes_nothing(autojump_clock):
    """Every send of this pair ends only when the other side has received it."""
    resume = trio.Event()

    async def sleepy(request: Request) -> Response:
        await anext(request.body)
        await resume.wait()
        return await door.whole(request)

    door, sent = ToyDoor(sleepy), 0
    async with connected(door, LIMITS, pair=trio.testing.lockstep_stream_pair) as peer, trio.open_nursery() as nursery:

        async def push() -> None:
            nonlocal sent
            await peer.send(put(100_000))
            for _ in range(100):
                await peer.send(bytes(1000))
                sent += 1000

        nursery.start_soon(push)
        await trio.sleep(1)
        assert sent <= 2000
        resume.set()
        assert statuses(await peer.read_until(b"/b/k")) == [200]
    assert len(door.bodies[0]) >= 98_000


async def test_only_a_little_is_read_ahead_while_an_answer_is_made(autojump_clock):
    async def stuck(request: Request) -> Response:
        return await trio.sleep_forever()

    sent = 0
    async with connected(ToyDoor(stuck), LIMITS, pair=trio.testing.lockstep_stream_pair) as peer:
        await peer.send(GET)
        with trio.move_on_after(5):
            while True:
                await peer.send(GET)
                sent += len(GET)
    assert sent <= 64 * 1024 + 100


async def test_after_an_early_answer_to_a_large_upload_reading_ends_in_time(autojump_clock):
    async with connected(answering(403, body=b"no"), LIMITS) as peer, trio.open_nursery() as nursery:

        async def push() -> None:
            await peer.send(put(1 << 40))
            while True:
                await peer.send(bytes(100_000))
                await trio.sleep(0.1)

        nursery.start_soon(push)
        answer = await peer.read_all()
        await peer.ended.wait()
        nursery.cancel_scope.cancel()
    assert statuses(answer) == [403]
    assert b"connection: close" in answer
    assert trio.current_time() <= LIMITS.linger + 1


async def test_when_all_places_are_taken_the_one_that_rested_longest_makes_room(autojump_clock):
    wires = Wires(Limits(connections=2))
    async with connected(ToyDoor(), wires=wires) as first:
        await trio.sleep(1)
        async with connected(ToyDoor(), wires=wires) as second:
            await trio.sleep(1)
            await first.send(GET)
            await first.read_until(b"/b/k")
            await trio.sleep(1)  # now the first rests too, but not as long
            assert not wires.full()
            await second.ended.wait()
            assert trio.current_time() < 4  # not for its idleness
            assert not first.ended.is_set()


async def test_when_every_place_has_a_request_nobody_makes_room(autojump_clock):
    async def stuck(request: Request) -> Response:
        return await trio.sleep_forever()

    wires = Wires(Limits(connections=1))
    async with connected(ToyDoor(stuck), wires=wires) as peer:
        await peer.send(GET)
        await trio.sleep(1)
        assert wires.full()
        assert not peer.ended.is_set()
