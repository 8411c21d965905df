"""Our HTTP/2 connection in memory, and a client of h2's that keeps what it was told. Time is trio's clock."""

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace

import h2.config
import h2.connection
import h2.events
import h2.settings
import trio
import trio.testing

from stratum.core.config import Limits
from stratum.s3.app import make_app
from stratum.s3.connection_wire import Wires
from stratum.s3.http2 import Http2Connection
from tests.s3.connections import CONFIG, SOCKET

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind: int, stream: int, body: bytes = b"", flags: int = 0) -> bytes:
    return len(body).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + body


def head(method="GET", path="/bucket/key", *more, authority="localhost") -> list[tuple[bytes, bytes]]:
    pseudo = {":method": method, ":path": path, ":scheme": "https", ":authority": authority}
    named = [(name, value) for name, value in [*pseudo.items(), *more] if value is not None]
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in named]


def client() -> h2.connection.H2Connection:
    """A client that may say anything."""
    checks = {"validate_outbound_headers": False, "normalize_outbound_headers": False}
    made = h2.connection.H2Connection(config=h2.config.H2Configuration(header_encoding=None, **checks))
    made.initiate_connection()
    return made


@dataclass
class Heard:
    """What came on one stream."""

    status: int = 0
    informed: list[int] = field(default_factory=list)
    headers: dict[bytes, bytes] = field(default_factory=dict)
    body: bytes = b""
    ended: bool = False
    reset: int | None = None

    @property
    def over(self) -> bool:
        return self.ended or self.reset is not None


class Peer:
    """The client's end. `room`: whether it says that there is room again for what it has read."""

    def __init__(self, stream, wire, *, room: bool = True) -> None:
        self._stream, self.wire, self._room = stream, wire, room
        self.h2 = client()
        self.heard: dict[int, Heard] = {}
        self.goaway: list[tuple[int, int]] = []  # (code, last stream)
        self.closed = False
        self.strict = True  # what the server says must make sense to us
        self.ended = trio.Event()  # the server's end is done
        self._news = trio.Event()
        self._sending = trio.Lock()

    async def listen(self) -> None:
        """Be the task that reads."""
        try:
            async for piece in self._stream:
                for event in self._events(piece):
                    self._keep(event)
                await self.flush()
                self._tell()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        self.closed = True
        self._tell()

    def _events(self, piece: bytes):
        try:
            return self.h2.receive_data(piece)
        except h2.exceptions.ProtocolError as error:
            if not self.strict:
                return []
            raise AssertionError(f"the server broke the protocol: {error!r}") from error

    def _keep(self, event) -> None:
        if isinstance(event, h2.events.ConnectionTerminated):
            self.goaway.append((int(event.error_code), event.last_stream_id))
            self.h2.state_machine.state = h2.connection.ConnectionState.CLIENT_OPEN  # it is not over for us
        stream = getattr(event, "stream_id", None)
        if not stream:
            return
        heard = self.heard.setdefault(stream, Heard())
        if isinstance(event, h2.events.InformationalResponseReceived):
            heard.informed.append(int(dict(event.headers)[b":status"]))
        elif isinstance(event, h2.events.ResponseReceived):
            heard.headers = dict(event.headers)
            heard.status = int(heard.headers[b":status"])
        elif isinstance(event, h2.events.DataReceived):
            heard.body += event.data
            if self._room:
                self.h2.acknowledge_received_data(event.flow_controlled_length, stream)
        elif isinstance(event, h2.events.StreamEnded):
            heard.ended = True
        elif isinstance(event, h2.events.StreamReset):
            heard.reset = int(event.error_code)

    def _tell(self) -> None:
        self._news.set()
        self._news = trio.Event()

    async def until(self, said) -> None:
        """Wait until `said()`."""
        while not said():
            assert not self.closed, (self.heard, self.goaway)
            await self._news.wait()

    async def until_closed(self) -> None:
        while not self.closed:
            await self._news.wait()

    async def flush(self) -> None:
        await self.send(self.h2.data_to_send())

    async def send(self, data: bytes) -> None:
        if data:
            try:
                async with self._sending:
                    await self._stream.send_all(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                self.closed = True

    async def ask(self, *what, body: bytes | None = None, last: bool = True) -> int:
        """Send the head of a request, and as much of `body` as there is room for; returns its stream."""
        stream = self.h2.get_next_available_stream_id()
        self.heard[stream] = Heard()
        self.h2.send_headers(stream, head(*what), end_stream=body is None and last)
        if body is not None:
            self.give(stream, body, last=last)
        await self.flush()
        return stream

    def give(self, stream: int, body: bytes, *, last: bool = True) -> int:
        """Put into h2 what of a body there is room for; returns how much that was."""
        at = 0
        while at < len(body) and (room := self.h2.local_flow_control_window(stream)) > 0:
            piece = body[at : at + min(room, 16_000)]
            self.h2.send_data(stream, piece)
            at += len(piece)
        if last and at == len(body):
            self.h2.end_stream(stream)
        return at

    async def upload(self, stream: int, body: bytes) -> int:
        """Send a body as there comes to be room; returns how much was taken before the answer ended it."""
        at = 0
        while at < len(body) and not self.heard[stream].over:
            taken = self.give(stream, body[at:])
            at += taken
            await self.flush()
            await (trio.lowlevel.checkpoint() if taken else self._news.wait())
        return at

    async def answer(self, stream: int) -> Heard:
        """Wait for the end of the answer."""
        await self.until(lambda: self.heard[stream].over)
        return self.heard[stream]

    async def get(self, *what) -> Heard:
        return await self.answer(await self.ask(*what))

    async def leave(self) -> None:
        await self._stream.aclose()


@asynccontextmanager
async def connected(door, limits=None, *, pair=trio.testing.memory_stream_pair, ending=None, room=True, wires=None):
    """Serve one connection; yields its peer, who has read our settings. What is left of it at the end is cut."""
    limits = limits or Limits()
    ours, theirs = pair()
    ours.transport_stream = SimpleNamespace(socket=SOCKET)
    wires = wires or Wires(limits)
    wire = wires.add(ours)
    peer = Peer(theirs, wire, room=room)
    ending = trio.Event() if ending is None else ending
    made = Http2Connection(make_app(door, limits), wire, limits, config=CONFIG, ending=ending, state={})

    async def serve() -> None:
        with wire.scope:
            await made.run()
        await trio.aclose_forcefully(ours)
        wires.discard(wire)
        peer.ended.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        nursery.start_soon(peer.listen)
        await peer.flush()
        await peer.until(lambda: peer.h2.remote_settings.max_concurrent_streams == limits.http2_streams)
        yield peer
        await peer.leave()
        nursery.cancel_scope.cancel()
