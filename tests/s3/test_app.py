"""The web application, in memory and over a real socket: keys arrive intact, bodies wait, answers end truthfully."""

import logging
from collections.abc import AsyncIterator

import pytest
import trio
import trio.testing

from stratum.core.config import Limits
from stratum.core.errors import TooFewShards
from stratum.s3.app import CUT, make_app
from stratum.s3.errors import S3Error
from stratum.s3.http import Request, Response
from stratum.s3.serve import Serving, open_listener, serve_app

LIMITS = Limits()


class ToyDoor:
    """Answers with whatever the test says; remembers what it was asked."""

    def __init__(self, answer=None) -> None:
        self.requests: list[Request] = []
        self.finished = False
        self.cancelled = False
        self._answer = answer or self._whole

    async def _whole(self, request: Request) -> Response:
        received = b"".join([piece async for piece in request.body])
        return Response(200, [(b"x-size", b"%d" % len(received))], request.raw_path)

    async def handle(self, request: Request) -> Response:
        self.requests.append(request)
        try:
            response = await self._answer(request)
        except trio.Cancelled:
            self.cancelled = True
            raise
        self.finished = True
        return response


class Client:
    """One ASGI exchange in memory. `messages`: what the server end would hand to the app, one by one."""

    def __init__(self, messages, method="PUT", path="/b/k", headers=(), version="1.1") -> None:
        self.messages = iter(messages)
        self.taken = 0
        self.sent: list[dict] = []
        self.was_cut = False
        self.scope = {
            "type": "http",
            "http_version": version,
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(b"host", b"x"), *headers],
            "client": ("10.0.0.1", 1),
            "server": ("10.0.0.2", 2),
            "extensions": {},
            "state": {CUT: self.cut},
        }

    def cut(self) -> None:
        self.was_cut = True

    async def receive(self) -> dict:
        await trio.lowlevel.checkpoint()
        for message in self.messages:
            if message is None:
                break
            self.taken += 1
            return message
        return await trio.sleep_forever()

    async def send(self, message: dict) -> None:
        await trio.lowlevel.checkpoint()
        self.sent.append(message)

    async def exchange(self, door: ToyDoor, limits: Limits = LIMITS) -> None:
        await make_app(door, limits)(self.scope, self.receive, self.send)

    @property
    def status(self) -> int:
        return self.sent[0]["status"]

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.sent[0]["headers"])

    @property
    def body(self) -> bytes:
        return b"".join(message["body"] for message in self.sent[1:])

    @property
    def ended_cleanly(self) -> bool:
        return bool(self.sent) and not self.sent[-1].get("more_body", True) and not self.was_cut


def pieces(count: int, size: int = 65536):
    yield from ({"type": "http.request", "body": b"x" * size, "more_body": True} for _ in range(count))
    yield {"type": "http.request", "body": b"", "more_body": False}


NO_BODY = [{"type": "http.request", "body": b"", "more_body": False}]
GONE = {"type": "http.disconnect"}


def length(size: int) -> list[tuple[bytes, bytes]]:
    return [(b"content-length", b"%d" % size)]


async def test_a_body_arrives_whole_and_the_answer_ends():
    client = Client(pieces(5), headers=length(5 * 65536))
    await client.exchange(ToyDoor())
    assert (client.status, client.headers[b"x-size"], client.body) == (200, b"327680", b"/b/k")
    assert client.headers[b"content-length"] == b"4"
    assert client.ended_cleanly


async def test_a_sleeping_handler_takes_nothing_off_the_connection(autojump_clock):
    """With a framework's request object, all 1000 messages would be in memory by now."""

    async def sleepy(request: Request) -> Response:
        await trio.sleep(1000)
        assert client.taken <= 1
        await anext(request.body)
        await trio.sleep(1000)
        assert client.taken <= 2
        return await door._whole(request)

    door, client = ToyDoor(sleepy), Client(pieces(1000), headers=length(1000 * 65536))
    await client.exchange(door)
    assert client.headers[b"x-size"] == b"%d" % (999 * 65536)


async def test_a_client_that_goes_away_in_its_body_cancels_the_handler():
    client = Client([next(pieces(1)), GONE], headers=length(1 << 20))
    door = ToyDoor()
    await client.exchange(door)
    assert (door.finished, door.cancelled, client.sent) == (False, True, [])


async def test_a_client_that_goes_away_while_it_waits_cancels_the_handler():
    async def slow(request: Request) -> Response:
        return await trio.sleep_forever()

    door, client = ToyDoor(slow), Client([*NO_BODY, GONE], method="GET")
    await client.exchange(door)
    assert (door.cancelled, client.sent) == (True, [])


async def test_a_client_that_goes_away_in_the_answer_ends_it():
    closed = trio.Event()

    async def endless() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x"
        finally:
            closed.set()

    async def answer(request: Request) -> Response:
        return Response(200, [], endless())

    client = Client([*NO_BODY, GONE], method="GET")
    await client.exchange(ToyDoor(answer))
    assert closed.is_set()
    assert not client.ended_cleanly


async def test_a_body_that_stops_midway_is_refused(autojump_clock):
    async def reads(request: Request) -> Response:
        try:
            return await door._whole(request)
        except S3Error as error:
            return Response(error.status, [], error.code.encode())

    door, client = ToyDoor(reads), Client([next(pieces(1)), None], headers=length(1 << 30))
    await client.exchange(door)
    assert (client.status, client.body, client.headers[b"connection"]) == (400, b"RequestTimeout", b"close")
    assert not client.ended_cleanly
    assert trio.current_time() < 2 * (LIMITS.body_idle + LIMITS.linger)


async def test_a_body_that_trickles_is_refused(autojump_clock):
    class Trickle(Client):
        async def receive(self) -> dict:
            await trio.sleep(10)
            return await super().receive()

    async def reads(request: Request) -> Response:
        with pytest.raises(S3Error, match="RequestTimeout"):
            async for _ in request.body:
                pass
        return Response(400)

    door, client = ToyDoor(reads), Trickle(pieces(10_000, 10), headers=length(100_000))
    await client.exchange(door)
    assert client.taken < 10


async def test_a_slow_server_is_not_held_against_the_client(autojump_clock):
    async def slow(request: Request) -> Response:
        async for _ in request.body:
            await trio.sleep(1000)
        return Response(200)

    client = Client(pieces(20, 10), headers=length(200))
    await client.exchange(ToyDoor(slow))
    assert client.status == 200


async def failing(error: Exception) -> AsyncIterator[bytes]:
    yield b"good"
    raise error


@pytest.mark.parametrize("error", [TooFewShards("gone"), ZeroDivisionError()])
async def test_an_answer_that_fails_midway_never_ends_as_if_it_were_whole(error, caplog):
    async def answer(request: Request) -> Response:
        return Response(200, [(b"content-length", b"8")], failing(error))

    client = Client(NO_BODY, method="GET")
    with caplog.at_level(logging.CRITICAL):
        await client.exchange(ToyDoor(answer))
    assert (client.body, client.ended_cleanly, client.was_cut) == (b"good", False, True)


async def forbidden(request: Request) -> Response:
    return Response(403, [], b"no")


async def test_after_an_early_answer_a_small_rest_is_read_and_the_connection_kept():
    client = Client(pieces(4), headers=length(4 * 65536))
    await client.exchange(ToyDoor(forbidden))
    assert b"connection" not in client.headers
    assert (client.taken, client.ended_cleanly) == (5, True)


async def test_after_an_early_answer_a_large_rest_is_read_for_a_while_and_the_connection_closed(autojump_clock):
    class Slow(Client):
        async def receive(self) -> dict:
            await trio.sleep(1)
            return await super().receive()

    client = Slow(pieces(100_000), headers=length(100_000 * 65536))
    await client.exchange(ToyDoor(forbidden))
    assert (client.status, client.body, client.headers[b"connection"]) == (403, b"no", b"close")
    assert client.was_cut
    assert client.taken < 20


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([(b"content-length", b"5"), (b"transfer-encoding", b"chunked")], 400),
        ([(b"x-amz-meta-a", b"x" * 20_000)], 400),
    ],
)
async def test_what_should_never_have_been_sent_is_refused_before_the_door(headers, status):
    client, door = Client(NO_BODY, headers=headers), ToyDoor()
    await client.exchange(door)
    assert (client.status, door.requests) == (status, [])


async def test_more_requests_than_the_limit_are_told_to_slow_down():
    full, release = trio.Event(), trio.Event()

    async def busy(request: Request) -> Response:
        full.set()
        await release.wait()
        return Response(200)

    door = ToyDoor(busy)
    app = make_app(door, Limits(requests=1))
    first, second = Client(NO_BODY, method="GET"), Client(NO_BODY, method="GET")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(app, first.scope, first.receive, first.send)
        await full.wait()
        await app(second.scope, second.receive, second.send)
        release.set()
    assert (first.status, second.status) == (200, 503)
    assert b"<Code>SlowDown</Code>" in second.body


async def test_a_head_answer_has_no_body_and_keeps_its_length():
    async def answer(request: Request) -> Response:
        return Response(200, [(b"content-length", b"8")], b"")

    client = Client(NO_BODY, method="HEAD")
    await client.exchange(ToyDoor(answer))
    assert (client.headers[b"content-length"], client.body) == (b"8", b"")


@pytest.mark.parametrize("path", ["/-", "/-x/y", "/--/", "//-/", "/b/-/"])
async def test_only_paths_below_the_console_go_to_quart(path):
    client, door = Client(NO_BODY, method="GET", path=path), ToyDoor()
    await client.exchange(door)
    assert door.requests[0].raw_path == path.encode()


async def test_paths_below_the_console_are_quarts():
    door = ToyDoor()
    app = make_app(door)

    @app.get("/-/health")
    async def health() -> str:
        return "well"

    for path, status in [("/-/health", 200), ("/-/other", 404)]:
        client = Client(NO_BODY, method="GET", path=path)
        await app(client.scope, client.receive, client.send)
        assert client.status == status
    assert door.requests == []


# --- over a real socket ---------------------------------------------------------------------------------------


@pytest.fixture
async def served(nursery, connection):
    """Call it with a door to get a function that connects; `stop` ends the server."""

    async def start(door: ToyDoor, grace: float = 5.0):
        stop = trio.Event()
        listener = open_listener("127.0.0.1", 0)

        async def run(task_status):
            await serve_app(
                make_app(door),
                listener,
                stop=stop.wait,
                grace=grace,
                serving=Serving(protocol="h11" if connection == "h11" else "httptools"),
                task_status=task_status,
            )
            ended.set()

        ended = trio.Event()
        address = await nursery.start(run)

        async def connect() -> trio.SocketStream:
            return await trio.open_tcp_stream(address.host, address.port)

        return connect, stop, ended

    return start


async def read_all(stream: trio.SocketStream) -> bytes:
    with trio.fail_after(10):
        return b"".join([piece async for piece in stream])


async def ask(stream: trio.SocketStream, target: str, *headers: str, method: str = "GET") -> None:
    lines = [f"{method} {target} HTTP/1.1", "Host: x", *headers, "", ""]
    await stream.send_all("\r\n".join(lines).encode())


TARGETS = ["/b//k", "/b/", "/b/a%2Fb", "/b/../x", "/", "/b/%00", "/b/a+b", "/b/./", "/b/%e2%82%ac?x=%2F&y", "/-"]


@pytest.mark.parametrize("target", TARGETS)
async def test_every_target_arrives_as_it_was_sent(served, target):
    door = ToyDoor()
    connect, _, _ = await served(door)
    async with await connect() as stream:
        await ask(stream, target, "Connection: close")
        answer = await read_all(stream)
    path, _, query = target.partition("?")
    assert (door.requests[0].raw_path, door.requests[0].raw_query) == (path.encode(), query.encode())
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"server:" not in answer.lower()


async def test_a_sender_cannot_push_more_than_a_bounded_amount_while_the_handler_sleeps(served):
    resume = trio.Event()

    async def sleepy(request: Request) -> Response:
        await resume.wait()
        return await door._whole(request)

    door = ToyDoor(sleepy)
    connect, _, _ = await served(door)
    async with await connect() as stream:
        stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_SNDBUF, 65536)
        size, pushed = 64 << 20, 0
        await ask(stream, "/b/k", f"Content-Length: {size}", "Connection: close", method="PUT")
        block = bytes(65536)
        with trio.move_on_after(0.5):
            while pushed < size:
                await stream.send_all(block)
                pushed += len(block)
        assert pushed < size / 4  # socket buffers and ten messages
        await stream.aclose()
    resume.set()


async def test_a_failed_answer_closes_the_connection_short_of_its_length(served, caplog):
    async def answer(request: Request) -> Response:
        return Response(200, [(b"content-length", b"1000")], failing(TooFewShards("gone")))

    with caplog.at_level(logging.CRITICAL):
        connect, _, _ = await served(ToyDoor(answer))
        async with await connect() as stream:
            await ask(stream, "/b/k")
            whole = await read_all(stream)
    head, _, body = whole.partition(b"\r\n\r\n")
    assert b"content-length: 1000" in head.lower()
    assert body == b"good"


async def test_a_failed_answer_of_unknown_length_has_no_last_chunk(served, caplog):
    async def answer(request: Request) -> Response:
        return Response(200, [], failing(TooFewShards("gone")))

    with caplog.at_level(logging.CRITICAL):
        connect, _, _ = await served(ToyDoor(answer))
        async with await connect() as stream:
            await ask(stream, "/b/k")
            whole = await read_all(stream)
    assert whole.endswith(b"4\r\ngood\r\n")


async def test_an_early_answer_to_an_endless_upload_is_seen_and_the_connection_ends(served):
    connect, _, _ = await served(ToyDoor(forbidden))
    async with await connect() as stream:
        await ask(stream, "/b/k", f"Content-Length: {1 << 40}", method="PUT")
        with trio.fail_after(5):
            received = b""
            while not received.endswith(b"no"):
                await stream.send_all(bytes(1000))
                received += await stream.receive_some()
    assert received.startswith(b"HTTP/1.1 403 ")
    assert b"connection: close" in received.lower()


async def test_two_lengths_over_the_wire_are_refused_and_nothing_is_smuggled(served):
    door = ToyDoor()
    connect, _, _ = await served(door)
    async with await connect() as stream:
        await ask(stream, "/b/k", "Content-Length: 4", "Transfer-Encoding: chunked", method="PUT")
        await stream.send_all(b"0\r\n\r\nGET /b/smuggled HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = await read_all(stream)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 400 ")  # hypercorn may close before the answer is out
    assert (answer.count(b"HTTP/1.1") <= 1, door.requests) == (True, [])


async def test_two_requests_share_a_connection(served):
    door = ToyDoor()
    connect, _, _ = await served(door)
    async with await connect() as stream:
        await ask(stream, "/b/1", "Content-Length: 3", method="PUT")
        await stream.send_all(b"abc")
        assert b"x-size: 3" in (await stream.receive_some()).lower()
        await ask(stream, "/b/2", "Connection: close")
        assert b"x-size: 0" in (await read_all(stream)).lower()


async def test_shutdown_finishes_what_is_under_way_and_closes_what_is_idle(served):
    begun, release = trio.Event(), trio.Event()

    async def slow(request: Request) -> Response:
        begun.set()
        await release.wait()
        return Response(200, [], b"done")

    connect, stop, ended = await served(ToyDoor(slow))
    async with await connect() as idle, await connect() as busy:
        await ask(busy, "/b/k")
        await begun.wait()
        stop.set()
        assert await read_all(idle) == b""
        assert not ended.is_set()
        release.set()
        assert (await read_all(busy)).endswith(b"done")
        with trio.fail_after(2):
            await ended.wait()


async def test_shutdown_cuts_what_does_not_finish_in_time(served):
    begun = trio.Event()

    async def stuck(request: Request) -> Response:
        begun.set()
        return await trio.sleep_forever()

    door = ToyDoor(stuck)
    connect, stop, ended = await served(door, grace=0.05)
    async with await connect() as stream:
        await ask(stream, "/b/k")
        await begun.wait()
        stop.set()
        assert await read_all(stream) == b""
        with trio.fail_after(2):
            await ended.wait()
    assert door.cancelled


async def test_a_client_that_stops_reading_does_not_stop_the_shutdown(served):
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(1 << 20)

    async def answer(request: Request) -> Response:
        return Response(200, [], endless())

    connect, stop, ended = await served(ToyDoor(answer), grace=0.05)
    async with await connect() as stream:
        await ask(stream, "/b/k")
        await stream.receive_some(100)
        stop.set()
        with trio.fail_after(2):
            await ended.wait()
