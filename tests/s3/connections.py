"""Our HTTP/1.1 connection in memory: a door, a client that sends bytes, and what came of it. Time is trio's clock."""

import re
import socket
from contextlib import asynccontextmanager
from functools import partial
from types import SimpleNamespace

import trio
import trio.testing
from hypercorn.config import Config

from stratum.core.config import Limits
from stratum.s3.app import make_app
from stratum.s3.connection import Connection, Dates
from stratum.s3.connection_wire import Wires
from stratum.s3.http import Request, Response
from stratum.s3.serve import http_log

CONFIG = Config()
CONFIG.include_server_header = False
CONFIG.errorlog = http_log  # as the server has it; hypercorn's own would set its logger's level for every later test
SOCKET = SimpleNamespace(
    family=socket.AF_INET, getpeername=lambda: ("10.0.0.1", 1), getsockname=lambda: ("10.0.0.2", 2)
)


class ToyDoor:
    """Reads the body and answers with the path, or does what `answer` says. Remembers what it was asked."""

    def __init__(self, answer=None) -> None:
        self.requests: list[Request] = []
        self.bodies: list[bytes] = []
        self.cancelled = 0
        self._answer = answer or self.whole

    async def whole(self, request: Request) -> Response:
        self.bodies.append(b"".join([piece async for piece in request.body]))
        return Response(200, [], request.raw_path)

    async def handle(self, request: Request) -> Response:
        self.requests.append(request)
        try:
            return await self._answer(request)
        except trio.Cancelled:
            self.cancelled += 1
            raise

    @property
    def paths(self) -> list[bytes]:
        return [request.raw_path for request in self.requests]


def answering(status=200, headers=(), body=b""):
    """A door that answers without looking at the body."""

    async def answer(request: Request) -> Response:
        return Response(status, list(headers), body)

    return ToyDoor(answer)


class Peer:
    """The client's end."""

    def __init__(self, stream, wire) -> None:
        self._stream = stream
        self.wire = wire
        self.ended = trio.Event()  # the server's end is done
        self.received = b""

    async def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            await self._stream.send_all(piece)

    async def read_until(self, end: bytes) -> bytes:
        """Read on until `end` stands in what came since the last time; return it up to there."""
        while end not in self.received:
            piece = await self._stream.receive_some()
            assert piece, f"the connection ended after {self.received!r}"
            self.received += piece
        text, _, self.received = self.received.partition(end)
        return text + end

    async def read_all(self) -> bytes:
        """Read until the server closes."""
        async for piece in self._stream:
            self.received += piece
        return self.received

    async def end(self) -> None:
        """Send no more."""
        await self._stream.send_eof()

    async def leave(self) -> None:
        await self._stream.aclose()


@asynccontextmanager
async def connected(door, limits=None, *, pair=trio.testing.memory_stream_pair, ending=None, app=None, wires=None):
    """Serve one connection; yields its peer. What is left of it at the end is cut."""
    limits = limits or Limits()
    ours, theirs = pair()
    ours.socket = SOCKET
    wires = wires or Wires(limits)
    wire = wires.add(ours)
    peer = Peer(theirs, wire)
    app = app or make_app(door, limits)
    ending = trio.Event() if ending is None else ending
    make = partial(Connection, app, wire, limits, dates=Dates(CONFIG), ending=ending, tls=False)

    async def serve() -> None:
        with wire.scope:
            await make(state={}).run()
        await trio.aclose_forcefully(ours)
        wires.discard(wire)
        peer.ended.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        yield peer
        nursery.cancel_scope.cancel()


async def talk(door, *pieces: bytes, limits=None) -> bytes:
    """Send `pieces` over a fresh connection, return all that is answered until it is closed."""
    async with connected(door, limits) as peer:
        await peer.send(*pieces)
        return await peer.read_all()


def statuses(answers: bytes) -> list[int]:
    """The statuses of all answers in it."""
    return [int(found) for found in re.findall(rb"HTTP/1\.1 (\d{3}) ", answers)]
