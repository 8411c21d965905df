"""One HTTP/2 request and its answer, between hypercorn's stream and the ASGI application.

Room: stratum/s3. May import: core.config, s3.{app, connection, connection_incoming, errors}.

Invariants
    E1  Room for more of a body is given when the application has taken what came: a handler that does not read holds
        up nobody but its own client (H2 of http2_protocol.py).
    E2  An answer ends as its head said, or its stream is reset (law 5).
    E3  A client that gives a request up, or goes away, ends what is done for it.
"""

import logging
import secrets
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Protocol

import trio
from h2.errors import ErrorCodes

from stratum.core.config import Limits
from stratum.s3.app import CUT, OWN
from stratum.s3.connection import said, weight
from stratum.s3.connection_incoming import BROKEN
from stratum.s3.errors import S3Error, error_response

log = logging.getLogger(__name__)

Message = dict[str, Any]
Send = Callable[[Any], Awaitable[None]]


class Streams(Protocol):
    """What an exchange asks of its connection."""

    limits: Limits

    async def took(self, stream: int, size: int) -> None:
        """So many bytes of a body were taken."""
        ...

    async def go_on(self, stream: int) -> None:
        """Send 100 Continue."""
        ...

    async def reset(self, stream: int, code: ErrorCodes) -> None:
        """End a stream; nothing happens if it has ended."""
        ...


class Exchange:
    """`stream`: its number. `ended`: the client has sent its whole body. `flushed`: the answer is on its way."""

    def __init__(self, streams: Streams, stream: int, refusal: S3Error | None, *, bodiless: bool) -> None:
        self._streams, self.stream, self._refusal = streams, stream, refusal
        self._bodiless = bodiless  # the head was all of the request
        self._pieces: deque[bytes] = deque()
        self._arrived = trio.Event()
        self._scope = trio.CancelScope()
        self._waits = self._begun = self._started = self._last = False
        self._deaf = False  # nobody reads the body any more
        self._rest: int | None = None  # bytes of the answer's body to come; None: unknown
        self._declared: int | None = 0  # bytes of the request's body; None: unknown
        self.ended, self.lost = bodiless, False
        self.flushed = trio.Event()

    async def run(self, app: Any, scope: Message, send: Send) -> None:
        """Let the application answer; returns when nothing of the request is left."""
        self._look_at(scope)
        scope["state"] = {**scope["state"], CUT: self._scope.cancel, OWN: True}
        with self._scope:
            await self._answer(app, scope, send)
        if not self._last:
            await self._streams.reset(self.stream, ErrorCodes.INTERNAL_ERROR)
        await send(None)
        if self._last:
            await self._part()

    async def _answer(self, app: Any, scope: Message, send: Send) -> None:
        async def checked(message: Message) -> None:
            await self._send(message, send)

        error: Exception | None = self._refusal
        try:
            if error is None:
                await app(scope, self.receive, checked)
        except Exception as caught:
            error = caught
            log.log(weight(caught), "an answer was not given", exc_info=caught)
        if not self._started:
            with suppress(*BROKEN):  # then it is reset
                await self._refuse(said(error), checked)

    async def _refuse(self, error: S3Error, send: Send) -> None:
        request_id = secrets.token_hex(8).upper()
        response = error_response(error, resource="", request_id=request_id, host_id="stratum")
        assert isinstance(response.body, bytes)
        headers = [*response.headers, (b"content-length", b"%d" % len(response.body))]
        headers.append((b"x-amz-request-id", request_id.encode()))
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        await send({"type": "http.response.body", "body": response.body})

    def _look_at(self, scope: Message) -> None:
        named = dict(scope["headers"])
        self._waits = named.get(b"expect", b"").lower() == b"100-continue"
        length = named.get(b"content-length")
        self._declared = int(length) if length is not None else None
        if length is None and not self._bodiless:
            # A body of unknown length: what HTTP/1.1 says with chunks. Nobody but us can say it here, h2 refuses it.
            scope["headers"] = [*scope["headers"], (b"transfer-encoding", b"chunked")]
        elif length is None and scope["method"] == "PUT":  # the end of the stream says it
            scope["headers"] = [*scope["headers"], (b"content-length", b"0")]
        self._head = scope["method"] == "HEAD"

    def put(self, piece: bytes) -> bool:
        """Something of the body came; False: nobody wants it, there is room again."""
        if self._deaf:
            return False
        self._pieces.append(piece)
        self._arrived.set()
        return True

    def end(self) -> None:
        """All of the body came."""
        self.ended = True
        self._arrived.set()

    def lose(self) -> None:
        """The client gave up, or is gone."""
        self.lost = True
        self._arrived.set()
        self.flushed.set()
        if not self._last:
            self._scope.cancel()

    async def receive(self) -> Message:
        """`receive` of ASGI."""
        if self._waits and not self._started and not self._pieces and not self.ended:
            await self._streams.go_on(self.stream)
        self._waits = False
        while not (self._pieces or (self.ended and not self._begun) or self.lost):
            self._arrived = trio.Event()
            await self._arrived.wait()
        if self.lost:
            return {"type": "http.disconnect"}
        piece = b"".join(self._pieces)
        self._pieces.clear()
        self._begun = self.ended
        if piece:
            await self._streams.took(self.stream, len(piece))
        return {"type": "http.request", "body": piece, "more_body": not self.ended}

    async def _send(self, message: Message, send: Send) -> None:
        if message["type"] == "http.response.start":
            self._started = True
            length = dict(message.get("headers", [])).get(b"content-length")
            bodiless = self._head or message["status"] in (204, 304)
            self._rest = int(length) if length is not None and not bodiless else None
        elif message["type"] == "http.response.body":
            self._count(message)
        with trio.move_on_after(self._streams.limits.answer_idle):
            await send(message)
            return
        self._last = False
        raise trio.BrokenResourceError("the client takes nothing")

    def _count(self, message: Message) -> None:
        last = not message.get("more_body", False)
        if self._rest is not None:
            self._rest -= len(message.get("body", b""))
            if self._rest < 0 or (last and self._rest):
                raise AssertionError("the body is not as long as its head said")
        self._last = last

    async def _part(self) -> None:
        """Wait until the answer is out, and read on for a while if that makes the client see it."""
        limits = self._streams.limits
        with trio.move_on_after(limits.answer_idle):
            await self.flushed.wait()
        if not self.flushed.is_set():
            await self._streams.reset(self.stream, ErrorCodes.CANCEL)
            return
        await self._drop()
        small = self._declared is not None and self._declared <= limits.linger_bytes
        with trio.move_on_after(limits.linger if small else 0):
            while not self.ended and not self.lost:
                self._arrived = trio.Event()
                await self._arrived.wait()
        if not self.ended:
            await self._streams.reset(self.stream, ErrorCodes.NO_ERROR)

    async def _drop(self) -> None:
        self._deaf = True
        if self._pieces:
            size = sum(map(len, self._pieces))
            self._pieces.clear()
            await self._streams.took(self.stream, size)
