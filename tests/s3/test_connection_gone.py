"""Clients that go away: what was done for them ends, nothing of them stays. Real sockets where descriptors count."""

import logging
import os
import ssl
import struct
import time

import pytest
import trio
import trio.testing

from stratum.core.config import Limits
from stratum.s3.app import make_app
from stratum.s3.http import Request, Response
from stratum.s3.serve import Serving, open_listener, serve_app
from stratum.serve.self_signed import renew
from stratum.serve.tls import load
from tests.s3.connections import ToyDoor, answering, connected, statuses

GET = b"GET /b/k HTTP/1.1\r\nHost: x\r\n\r\n"
PUT = b"PUT /b/k HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"


async def never(request: Request) -> Response:
    return await trio.sleep_forever()


async def endless(request: Request) -> Response:
    async def body():
        while True:
            yield bytes(100_000)

    return Response(200, [(b"content-length", b"%d" % (1 << 50))], body())


WAYS = {
    "in a head": (None, GET[:20]),
    "in a body": (None, PUT + bytes(1000)),
    "in a chunk": (None, PUT.replace(b"Content-Length: 1000000", b"Transfer-Encoding: chunked") + b"ff\r\nabc"),
    "before 100 Continue": (never, PUT.replace(b"Host", b"Expect: 100-continue\r\nHost")),
    "waiting for its answer": (never, GET),
    "waiting, with a further request sent": (never, GET + GET),
    "in its answer": (endless, GET),
    "at rest": (None, b""),
}


@pytest.mark.parametrize(("answer", "sent"), WAYS.values(), ids=WAYS)
async def test_a_client_that_goes_away_leaves_nothing_running(answer, sent):
    door = ToyDoor(answer)
    async with connected(door) as peer:
        await peer.send(sent)
        await trio.sleep(0)
        await peer.leave()
        with trio.fail_after(5):
            await peer.ended.wait()
    assert door.bodies == []
    assert door.cancelled == len(door.requests) or answer is endless


@pytest.fixture
async def served(nursery):
    """Call it with a door to serve it; returns a function that connects, with real sockets."""

    async def start(door: ToyDoor, limits=None, tls=None):
        limits = limits or Limits()
        stop = trio.Event()
        stops.append(stop)
        listener = open_listener("127.0.0.1", 0)

        async def run(task_status):
            serving = Serving(limits=limits, tls=tls)
            await serve_app(
                make_app(door, limits), listener, stop=stop.wait, grace=1, serving=serving, task_status=task_status
            )

        address = await nursery.start(run)
        return lambda: trio.open_tcp_stream(address.host, address.port)

    stops: list[trio.Event] = []
    yield start
    for stop in stops:
        stop.set()


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    return lambda: load(renew(tmp_path_factory.mktemp("tls"), ("127.0.0.1",), time.time()), None)


def sure() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def over(stream, kind: str):
    """What a client of this kind speaks through."""
    if kind == "plain":
        return stream
    context = sure()
    context.maximum_version = ssl.TLSVersion.TLSv1_2 if kind == "tls 1.2" else ssl.TLSVersion.TLSv1_3
    return trio.SSLStream(stream, context, server_hostname="127.0.0.1", https_compatible=True)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def until(true) -> None:
    with trio.fail_after(10):
        while not true():
            await trio.sleep(0.001)


@pytest.mark.parametrize("way", ["closes", "resets"])
@pytest.mark.parametrize(("answer", "sent"), WAYS.values(), ids=WAYS)
async def test_no_descriptor_is_left_of_it(served, answer, sent, way, caplog):
    door = ToyDoor(answer)
    with caplog.at_level(logging.CRITICAL):
        connect = await served(door)
        before = descriptors()
        for _ in range(3):
            streams = [await connect() for _ in range(5)]
            for stream in streams:
                await stream.send_all(sent)
            if b"\r\n\r\n" in sent:
                await until(lambda: len(door.requests) % 5 == 0 and door.requests)
            for stream in streams:
                if way == "resets":
                    stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, struct.pack("ii", 1, 0))
                await stream.aclose()
        await until(lambda: descriptors() <= before)
    assert door.bodies == []


async def test_to_http_1_0_a_failed_answer_of_unknown_length_is_a_reset_and_not_an_end(served, caplog):
    async def fails(request: Request) -> Response:
        async def body():
            yield b"good"
            raise ZeroDivisionError

        return Response(200, [], body())

    with caplog.at_level(logging.CRITICAL):
        connect = await served(ToyDoor(fails))
        async with await connect() as stream:
            await stream.send_all(b"GET /b/k HTTP/1.0\r\n\r\n")
            with pytest.raises(trio.BrokenResourceError), trio.fail_after(5):
                async for _ in stream:
                    pass


@pytest.mark.parametrize("kind", ["plain", "tls", "tls 1.2"])
async def test_an_early_answer_to_an_upload_is_not_lost_to_a_reset_and_seen_to_end_at_once(served, tls, kind):
    """Closing a socket with unread bytes resets the connection: the client would see an error."""
    connect = await served(answering(403, body=b"no"), tls=None if kind == "plain" else tls)
    before = descriptors()
    async with over(await connect(), kind) as stream:
        await stream.send_all(PUT.replace(b"1000000", b"100000000") + bytes(300_000))
        with trio.fail_after(5):
            answer = b"".join([piece async for piece in stream])
    assert (statuses(answer), answer[-2:]) == ([403], b"no")
    await until(lambda: descriptors() <= before)


@pytest.mark.parametrize("kind", ["plain", "tls", "tls 1.2"])
async def test_who_is_refused_and_sends_no_more_sees_the_end_at_once(served, tls, kind):
    connect = await served(ToyDoor(), tls=None if kind == "plain" else tls)
    before = descriptors()
    async with over(await connect(), kind) as stream:
        await stream.send_all(b"what is this\r\n\r\n")
        with trio.fail_after(5):
            assert statuses(b"".join([piece async for piece in stream])) == [400]
    await until(lambda: descriptors() <= before)


async def test_who_finds_no_place_is_told_to_slow_down(served):
    door = ToyDoor(never)
    connect = await served(door, Limits(connections=1))
    async with await connect() as busy:
        await busy.send_all(GET)
        await until(lambda: door.requests)
        async with await connect() as turned_away:
            await turned_away.send_all(GET)
            with trio.fail_after(5):
                answer = b"".join([piece async for piece in turned_away])
    assert statuses(answer) == [503]


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01", GET, bytes(10_000)])
async def test_who_does_not_get_through_the_handshake_is_no_bug_and_leaves_nothing(served, tls, sent, caplog):
    door = ToyDoor()
    connect = await served(door, Limits(header_time=0.2), tls)
    before = descriptors()
    stays, leaves = await connect(), await connect()
    await stays.send_all(sent)
    await leaves.send_all(sent)
    await leaves.aclose()
    with trio.fail_after(5):
        try:
            async for _ in stays:
                pass
        except trio.BrokenResourceError:
            pass
    await stays.aclose()
    await until(lambda: descriptors() <= before)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert door.requests == []


@pytest.mark.parametrize(("answer", "sent"), WAYS.values(), ids=WAYS)
async def test_no_descriptor_is_left_of_it_over_tls(served, tls, answer, sent, caplog):
    door = ToyDoor(answer)
    with caplog.at_level(logging.CRITICAL):
        connect = await served(door, tls=tls)
        before = descriptors()
        for way in ("ends", "vanishes"):
            asked = len(door.requests)
            plain = await connect()
            stream = trio.SSLStream(plain, sure(), server_hostname="127.0.0.1", https_compatible=True)
            await stream.send_all(sent or b"\r\n")
            if b"\r\n\r\n" in sent:
                await until(lambda: len(door.requests) > asked)  # noqa: B023
            await (stream if way == "ends" else plain).aclose()
        await until(lambda: descriptors() <= before)
    assert door.bodies == []


async def test_a_console_page_is_served_over_the_connection_too():
    door = ToyDoor()
    app = make_app(door)

    @app.post("/-/echo")
    async def echo():
        from quart import request

        return await request.get_data()

    sent = b"POST /-/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nabcd"
    async with connected(door, app=app) as peer:
        await peer.send(sent + sent)
        for _ in range(2):
            assert statuses(await peer.read_until(b"abcd")) == [200]
        await peer.send(b"POST /-/echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n")
        assert statuses(await peer.read_all()) == [400]
    assert door.requests == []
