"""Requests over HTTP/2: bodies with back-pressure, answers whole or reset, and what is refused."""

import h2.errors
import pytest
import trio
import trio.testing

from stratum.core.config import KIB, MIB, Limits
from stratum.s3.http import Response
from tests.s3.connections import ToyDoor, answering
from tests.s3.http2_connections import connected

CODES = h2.errors.ErrorCodes
WINDOW = Limits().http2_window_bytes


async def test_a_request_arrives_as_it_would_over_http1(autojump_clock):
    door = ToyDoor()
    async with connected(door) as peer:
        heard = await peer.get("PUT", "/b//k%2F?x=%20&y", ("x-amz-meta-a", "1"), ("content-length", "0"))
    assert (heard.status, heard.body) == (200, b"/b//k%2F")
    request = door.requests[0]
    assert (request.method, request.raw_path, request.raw_query) == ("PUT", b"/b//k%2F", b"x=%20&y")
    assert (request.header("host"), request.header("x-amz-meta-a")) == ("localhost", "1")
    assert (request.peer, request.scheme) == ("10.0.0.1", "https")
    assert heard.headers[b"date"]
    assert b"connection" not in heard.headers


async def test_the_host_may_come_as_a_header_instead_of_the_authority(autojump_clock):
    door = ToyDoor()
    async with connected(door) as peer:
        stream = peer.h2.get_next_available_stream_id()
        pseudo = [(b":method", b"GET"), (b":path", b"/k"), (b":scheme", b"https")]
        peer.h2.send_headers(stream, [*pseudo, (b"host", b"bucket.localhost")], end_stream=True)
        await peer.flush()
        await peer.until(lambda: stream in peer.heard and peer.heard[stream].ended)
    assert door.requests[0].header("host") == "bucket.localhost"


@pytest.mark.parametrize("size", [0, 1, 100_000, 3 * MIB])
@pytest.mark.parametrize("declared", [True, False])
async def test_bodies_arrive_whole_with_a_length_or_without(autojump_clock, size, declared):
    door, body = ToyDoor(), bytes(size)
    async with connected(door) as peer:
        length = [("content-length", str(size))] if declared else []
        stream = await peer.ask("PUT", "/k", *length, body=b"", last=False)
        assert await peer.upload(stream, body) == size
        if not size:
            peer.give(stream, b"")
            await peer.flush()
        assert (await peer.answer(stream)).status == 200
    assert door.bodies == [body]


async def test_an_answer_of_any_size_arrives_whole(autojump_clock):
    whole = bytes(range(256)) * 20_000

    async def pieces():
        for at in range(0, len(whole), 300_000):
            yield whole[at : at + 300_000]

    async def answer(request):
        return Response(200, [(b"content-length", b"%d" % len(whole))], pieces())

    async with connected(ToyDoor(answer)) as peer:
        assert (await peer.get()).body == whole


class Holding(ToyDoor):
    """Requests for /stuck read nothing until `release`."""

    def __init__(self) -> None:
        super().__init__(self._hold)
        self.release = trio.Event()

    async def _hold(self, request):
        if request.raw_path == b"/stuck":
            await self.release.wait()
        return await self.whole(request)


async def test_a_handler_that_does_not_read_holds_up_nobody_and_takes_one_window(autojump_clock):
    """Every stream but one is stuck with a full window; the last one takes a large body all the same."""
    door, limits = Holding(), Limits(http2_streams=4)
    async with connected(door, limits) as peer:
        stuck = [await peer.ask("PUT", "/stuck", body=b"", last=False) for _ in range(3)]
        given = [peer.give(stream, bytes(2 * WINDOW), last=False) for stream in stuck]
        await peer.flush()
        free = await peer.ask("PUT", "/free", body=b"", last=False)
        assert await peer.upload(free, bytes(5 * MIB)) == 5 * MIB
        assert (await peer.answer(free)).status == 200
        await trio.testing.wait_all_tasks_blocked()
        assert given == [WINDOW] * 3
        assert [peer.h2.local_flow_control_window(stream) for stream in stuck] == [0] * 3
        door.release.set()
        for stream in stuck:
            assert await peer.upload(stream, bytes(WINDOW)) == WINDOW
            assert (await peer.answer(stream)).status == 200
    assert [len(body) for body in door.bodies] == [5 * MIB] + [2 * WINDOW] * 3


async def test_an_early_answer_saves_the_upload(autojump_clock):
    async with connected(answering(403, body=b"no")) as peer:
        stream = await peer.ask("PUT", "/k", ("content-length", str(50 * MIB)), body=b"", last=False)
        await peer.upload(stream, bytes(50 * MIB))
        await peer.until(lambda: peer.heard[stream].reset is not None)
        heard = peer.heard[stream]
        assert (heard.status, heard.body, heard.ended, heard.reset) == (403, b"no", True, CODES.NO_ERROR)
        assert (await peer.get()).status == 403  # the connection stays


async def test_the_rest_of_a_small_body_is_read_so_that_the_answer_is_seen(autojump_clock):
    async with connected(answering(403)) as peer:
        stream = await peer.ask("PUT", "/k", ("content-length", str(MIB)), body=b"", last=False)
        assert (await peer.answer(stream)).status == 403
        assert await _rest(peer, stream, MIB) == MIB
        await peer.get()
        assert peer.heard[stream].reset is None


async def _rest(peer, stream: int, size: int) -> int:
    """Send on although the answer has come."""
    sent = 0
    while sent < size and peer.heard[stream].reset is None:
        sent += peer.give(stream, bytes(size - sent))
        await peer.flush()
        await trio.testing.wait_all_tasks_blocked()
    return sent


async def test_a_rest_that_does_not_come_is_not_waited_for_long(autojump_clock):
    async with connected(answering(403), Limits(http2_streams=1)) as peer:
        stream = await peer.ask("PUT", "/k", ("content-length", "9"), body=b"", last=False)
        await peer.until(lambda: peer.heard[stream].reset is not None)
        assert trio.current_time() == pytest.approx(Limits().linger, abs=1)
        assert (await peer.get()).status == 403


async def test_continue_is_said_when_the_body_is_wanted_and_not_before(autojump_clock):
    expect = ("expect", "100-continue")
    async with connected(ToyDoor()) as peer:
        stream = await peer.ask("PUT", "/k", expect, ("content-length", "3"), body=b"", last=False)
        await peer.until(lambda: peer.heard[stream].informed == [100])
        peer.give(stream, b"abc")
        await peer.flush()
        assert (await peer.answer(stream)).status == 200
    async with connected(answering(403)) as peer:
        stream = await peer.ask("PUT", "/k", expect, ("content-length", "3"), body=b"", last=False)
        assert (await peer.answer(stream)).status == 403
        assert peer.heard[stream].informed == []


@pytest.mark.parametrize(("length", "body"), [(5, b"abc"), (2, b"abc")])
async def test_a_body_of_another_length_than_was_said_ends_the_connection(autojump_clock, length, body):
    door = ToyDoor()
    async with connected(door) as peer:
        await peer.ask("PUT", "/k", ("content-length", str(length)), body=body)
        await peer.until_closed()
        assert peer.goaway[0][0] == CODES.PROTOCOL_ERROR
    assert door.bodies == []


REFUSED = {
    "fragment": (("GET", "/k#x"), 400),
    "absolute form": (("GET", "http://localhost/k"), 400),
    "space": (("GET", "/a b"), 400),
    "not ASCII": (("GET", "/\xe9"), 400),
    "control character": (("GET", "/\x01"), 400),
    "long target": (("GET", "/" + "a" * 13_000), 400),
    "large": (("GET", "/k", ("x-a", "v" * 16_380)), 400),
    "many": (("GET", "/k", *((f"x-{n}", "") for n in range(300)), *((f"y-{n}", "") for n in range(300))), 400),
    "method": (("get", "/k"), 405),
    "method of no letters": (("\xc3", "/k"), 405),
    "CONNECT": (("CONNECT", None), 405),
    "two lengths": (("PUT", "/k", ("content-length", "0"), ("content-length", "0")), 400),
    "control character in a header": (("GET", "/k", ("x-a", "a\x01b")), 400),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_what_http1_would_not_take_is_refused_and_the_connection_goes_on(autojump_clock, name):
    what, status = REFUSED[name]
    door = ToyDoor()
    async with connected(door, Limits(header_count=400)) as peer:
        stream = peer.h2.get_next_available_stream_id()
        heads = [*_pseudo(*what[:2]), *((one.encode(), value.encode("latin-1")) for one, value in what[2:])]
        peer.h2.send_headers(stream, heads, end_stream=True)
        await peer.flush()
        await peer.until(lambda: stream in peer.heard and peer.heard[stream].ended)
        assert peer.heard[stream].status == status
        assert b"<Code>" in peer.heard[stream].body
        assert peer.heard[stream].headers[b"x-amz-request-id"]
        assert (await peer.get()).status == 200
    assert len(door.requests) == 1


def _pseudo(method, path):
    if method == "CONNECT":
        return [(b":method", b"CONNECT"), (b":authority", b"localhost:1")]
    named = [(b":method", method.encode("latin-1")), (b":path", path.encode("latin-1"))]
    return [*named, (b":scheme", b"https"), (b":authority", b"localhost")]


ENDED = {
    "Transfer-Encoding": ("PUT", "/k", ("transfer-encoding", "chunked")),
    "Connection": ("GET", "/k", ("connection", "close")),
    "Upgrade": ("GET", "/k", ("upgrade", "h2c")),
    "upper case": ("GET", "/k", ("X-A", "1")),
    "a line in a value": ("GET", "/k", ("x-a", "1\r\nx-b: 2")),
    "a host beside the authority": ("GET", "/k", ("host", "other")),
    "two hosts": ("GET", "/k", ("host", "localhost"), ("host", "localhost")),
    "a length that is none": ("PUT", "/k", ("content-length", "+5")),
    "two lengths that differ": ("PUT", "/k", ("content-length", "5"), ("content-length", "6")),
    "no path": ("GET", ""),
}


@pytest.mark.parametrize("name", ENDED)
async def test_what_has_two_readings_ends_the_connection(autojump_clock, name):
    door = ToyDoor()
    async with connected(door) as peer:
        await peer.ask(*ENDED[name])
        await peer.until_closed()
        assert peer.goaway[0][0] == CODES.PROTOCOL_ERROR
    assert door.requests == []


async def test_an_answer_that_fails_is_reset_and_never_looks_whole(autojump_clock):
    async def broken():
        yield b"half"
        raise OSError("a disk")

    async def short():
        yield b"half"

    async def long():
        yield b"more than that"

    answers = {
        b"/broken": lambda: Response(200, [(b"content-length", b"8")], broken()),
        b"/broken-unsized": lambda: Response(200, [], broken()),
        b"/short": lambda: Response(200, [(b"content-length", b"8")], short()),
        b"/long": lambda: Response(200, [(b"content-length", b"8")], long()),
        b"/good": lambda: Response(200, [], b"good"),
    }

    async def answer(request):
        return answers[request.raw_path]()

    async with connected(ToyDoor(answer)) as peer:
        for path in ("/broken", "/broken-unsized", "/short", "/long"):
            heard = await peer.get("GET", path)
            assert (heard.reset, heard.ended) == (CODES.INTERNAL_ERROR, False)
        assert (await peer.get("GET", "/good")).body == b"good"


async def test_no_answer_at_all_is_an_internal_error(autojump_clock, caplog):
    async def answer(request):
        raise ZeroDivisionError

    async with connected(ToyDoor(answer)) as peer:
        heard = await peer.get()
    assert (heard.status, heard.ended) == (500, True)
    assert b"<Code>InternalError" in heard.body


async def test_head_has_a_length_and_no_body(autojump_clock):
    async with connected(answering(200, [(b"content-length", b"70000")])) as peer:
        heard = await peer.get("HEAD")
    assert (heard.status, heard.headers[b"content-length"], heard.body) == (200, b"70000", b"")


async def test_a_request_that_is_given_up_is_cancelled_and_the_others_go_on(autojump_clock):
    door = Holding()
    async with connected(door) as peer:
        stuck, other = await peer.ask("PUT", "/stuck"), await peer.ask("PUT", "/stuck")
        await trio.testing.wait_all_tasks_blocked()
        peer.h2.reset_stream(stuck)
        await peer.flush()
        await trio.testing.wait_all_tasks_blocked()
        assert door.cancelled == 1
        door.release.set()
        assert (await peer.answer(other)).status == 200


async def test_who_goes_away_ends_all_that_is_done_for_it(autojump_clock):
    door = Holding()
    async with connected(door) as peer:
        for _ in range(3):
            await peer.ask("PUT", "/stuck", body=b"x" * 10 * KIB, last=False)
        await trio.testing.wait_all_tasks_blocked()
        await peer.leave()
        await peer.ended.wait()
    assert door.cancelled == 3
