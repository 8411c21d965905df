"""HTTP/1.1 on one connection: requests, one at a time, to an ASGI application, and its answers out; on httptools.

Room: stratum/s3. May import: core.config, s3.{connection_*, errors, http}.

It stands in hypercorn's server where the h11 protocol stood; `[s3] connection = "h11"` switches back. The application
runs in the task of the connection and takes the body straight off the stream; a second task looks on for the peer to
go away.

Invariants
    C1  Nothing is read before it is asked for, but a little while an answer is made, to see the client go.
    C2  100 Continue is sent when the application first reads the body, and never once an answer has begun.
    C3  Every byte belongs to one request: what cannot be framed beyond doubt ends the connection.
    C4  An answer ends as its head said, or the connection is cut (law 5).
    C5  A client that goes away ends what is done for it.
"""

import logging
import secrets
import time
from contextlib import suppress
from itertools import count

import trio
from hypercorn.config import Config
from hypercorn.utils import parse_socket_addr

from stratum.core.config import Limits
from stratum.s3.connection_answer import Answer
from stratum.s3.connection_exchange import App, Circumstances, Exchange, Message
from stratum.s3.connection_head import Head, find_head, parse_head
from stratum.s3.connection_incoming import BROKEN, Incoming
from stratum.s3.connection_wire import Wire
from stratum.s3.errors import S3Error, error_response
from stratum.s3.http import Headers

log = logging.getLogger(__name__)


class Dates:
    """The headers that every answer has, made once a second."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._second, self._headers = 0, Headers()

    def __call__(self) -> Headers:
        """Return them."""
        if (second := int(time.time())) != self._second:
            self._second, self._headers = second, self._config.response_headers("h11")
        return self._headers


class Connection:
    """One client. `ending`: the server is shutting down."""

    def __init__(
        self, app: App, wire: Wire, limits: Limits, *, dates: Dates, ending: trio.Event, state: Message, tls: bool
    ) -> None:
        self._wire, self._limits, self._dates, self._ending = wire, limits, dates, ending
        self._incoming = Incoming(wire)
        sock = wire.transport_stream.socket if tls else wire.socket
        scope = {
            "type": "http",
            "asgi": {"spec_version": "2.1", "version": "3.0"},
            "scheme": "https" if tls else "http",
            "root_path": "",
            "client": parse_socket_addr(sock.family, sock.getpeername()),
            "server": parse_socket_addr(sock.family, sock.getsockname()),
            "extensions": {},
        }
        self._around = Circumstances(
            app=app, wire=wire, incoming=self._incoming, limits=limits, ending=ending, scope=scope, state=state
        )

    async def run(self) -> None:
        """Serve until one side has had enough."""
        sends_on = False
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._incoming.watch)
            try:
                sends_on = await self._requests()
            except BROKEN:
                self._wire.cut()
            nursery.cancel_scope.cancel()
        with trio.move_on_after(self._limits.linger), suppress(*BROKEN):
            await (self._wire.part() if sends_on else self._wire.aclose())

    async def _requests(self) -> bool:
        """Answer all of them; return whether the client may still be sending."""
        for number in count(1):
            try:
                head = await self._next_head()
            except S3Error as error:
                await self._refuse(error)
                return True
            if head is None:
                return False
            exchange = Exchange(self._around, head, self._answer(head, number))
            await self._serve(exchange)
            if self._incoming.lost.is_set():
                return False
            if exchange.answer.close:
                return not exchange.body_ended or bool(self._incoming.buffer)
            if not exchange.body_ended and not await exchange.skip_rest():
                return True
        raise AssertionError("counting does not end")

    def _answer(self, head: Head, number: int) -> Answer:
        close = not head.keep_alive or number >= self._limits.connection_requests
        return Answer(method=head.method, version=head.version, close=close, date=self._dates)

    async def _serve(self, exchange: Exchange) -> None:
        error: Exception | None = None
        try:
            await exchange.run()
        except Exception as caught:
            error = caught
            log.log(weight(caught), "an answer was not given", exc_info=caught)
        if self._incoming.lost.is_set():
            return
        if not exchange.answer.started:
            await self._refuse(said(error))
            exchange.answer.close = True
        elif not exchange.answer.ended:
            exchange.cut()
            await trio.lowlevel.checkpoint()

    async def _next_head(self) -> Head | None:
        """Wait for a request; None: there is none, and nobody to tell. Raises S3Error."""
        incoming, seen = self._incoming, 0
        if not await self._first_bytes():
            return None
        if not (end := find_head(incoming.buffer, seen, self._limits)):
            with trio.move_on_after(self._limits.header_time) as waiting:
                while not (end := find_head(incoming.buffer, seen, self._limits)):
                    seen = len(incoming.buffer)
                    if not await incoming.more():
                        return None
            if waiting.cancelled_caught:
                raise S3Error("RequestTimeout")
        head, incoming.buffer = incoming.buffer[:end], incoming.buffer[end:]
        return parse_head(head, self._limits)

    async def _first_bytes(self) -> bool:
        """Wait until something of a request is there. Empty lines before it are none (RFC 9112, 2.2)."""
        incoming = self._incoming
        if incoming.buffer and not incoming.buffer[:1].isspace():
            return True
        self._wire.rest()
        with trio.move_on_after(self._limits.connection_idle) as waiting:
            while not (found := incoming.buffer.lstrip(b"\r\n")):
                incoming.buffer = b""
                if self._ending.is_set() or not await incoming.more():
                    return False
            incoming.buffer = found
        self._wire.work()
        return not waiting.cancelled_caught

    async def _refuse(self, error: S3Error) -> None:
        """Answer what is no request, or what nobody answered. Another one never follows."""
        log.debug("refused: %s", error)
        answer = Answer(method="GET", version="1.1", close=True, date=self._dates)
        request_id = secrets.token_hex(8).upper()
        response = error_response(error, resource="", request_id=request_id, host_id="stratum")
        assert isinstance(response.body, bytes)
        headers = [*response.headers, (b"content-length", b"%d" % len(response.body))]
        head = answer.begin(response.status, [*headers, (b"x-amz-request-id", request_id.encode())])
        await self._wire.send_all(head + response.body)


def said(error: BaseException | None) -> S3Error:
    """What the client is told of an error, which frameworks like to wrap."""
    if isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        return said(error.exceptions[0])
    return error if isinstance(error, S3Error) else S3Error("InternalError")


def weight(error: BaseException) -> int:
    """How much an error means: what the peer did is worth nothing, our bugs are."""
    if isinstance(error, BaseExceptionGroup):
        return max(weight(part) for part in error.exceptions)
    return logging.DEBUG if isinstance(error, (*BROKEN, S3Error)) else logging.ERROR
