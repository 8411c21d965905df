"""One request and its answer on a connection of ours: what the ASGI application receives and sends.

Room: stratum/s3. May import: core.config, s3.{app, connection_*}.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import trio

from stratum.core.config import KIB, Limits
from stratum.s3.app import CUT, OWN
from stratum.s3.connection_answer import Answer
from stratum.s3.connection_body import framing_of
from stratum.s3.connection_head import Head
from stratum.s3.connection_incoming import Incoming
from stratum.s3.connection_wire import Wire

log = logging.getLogger(__name__)

JOINED = 64 * KIB  # a piece of a body up to this goes out together with its head
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

Message = dict[str, Any]
App = Callable[[Any, Any, Any], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What the exchanges of a connection have in common."""

    app: App
    wire: Wire
    incoming: Incoming
    limits: Limits
    ending: trio.Event  # the server is shutting down
    scope: Message  # of ASGI: scheme, client, server ...
    state: Message


class Exchange:
    """`answer`: how far the answer has come."""

    def __init__(self, around: Circumstances, head: Head, answer: Answer) -> None:
        self._around, self._head, self.answer = around, head, answer
        self._incoming, self._wire = around.incoming, around.wire
        self._framing = framing_of(head.length, head.chunked, around.limits)
        self._waits = head.expects  # for 100 Continue, even before an empty body: see `_rest_can_be_skipped`
        self._begun = False  # the application has received something
        self._unsent = b""  # the head of the answer, until its first piece comes

    async def run(self) -> None:
        """Let the application answer. What it raises, and what it left undone, shows in `answer`."""
        incoming = self._incoming
        incoming.exchange = trio.CancelScope()
        if self._framing.ended or self._waits:
            incoming.look_on()
        with incoming.exchange:
            await self._around.app(self._scope(), self.receive, self.send)

    @property
    def body_ended(self) -> bool:
        """Whether the request has been read to its end."""
        return self._framing.ended

    async def skip_rest(self) -> bool:
        """Read the rest of the request for a while; False: it did not end."""
        with trio.move_on_after(self._around.limits.linger):
            while not self._framing.ended and await self._piece() is not None:
                pass
        return self._framing.ended

    async def receive(self) -> Message:
        """`receive` of ASGI. Raises S3Error where the framing of the body is broken."""
        if self._framing.ended and self._begun:
            await self._incoming.lost.wait()
            return {"type": "http.disconnect"}
        self._begun = True
        if self._waits:
            self._waits = False
            if not self.answer.started and not self._incoming.buffer:
                await self._wire.send_all(CONTINUE)
        if self._framing.ended:
            return {"type": "http.request", "body": b"", "more_body": False}
        piece = await self._piece()
        if piece is None:
            return {"type": "http.disconnect"}
        if self._framing.ended:
            self._incoming.look_on()
        return {"type": "http.request", "body": piece, "more_body": not self._framing.ended}

    async def _piece(self) -> bytes | None:
        """The next bytes of the body, none only at its end; None: the client went away."""
        framing, incoming = self._framing, self._incoming
        while True:
            if incoming.buffer:
                piece, incoming.buffer = framing.split(incoming.buffer)
                if piece or framing.ended:
                    return piece
            if not await incoming.more(framing.most()):
                return None

    async def send(self, message: Message) -> None:
        """`send` of ASGI. Raises BadAnswer, BrokenResourceError."""
        if message["type"] == "http.response.start":
            self.answer.close |= self._around.ending.is_set() or not self._rest_can_be_skipped()
            self._unsent = self.answer.begin(message["status"], message.get("headers", []))
        elif message["type"] == "http.response.body":
            last = not message.get("more_body", False)
            piece = self.answer.piece(message.get("body", b""))
            await self._write(piece, self.answer.end() if last else b"")

    async def _write(self, piece: bytes, end: bytes) -> None:
        head, self._unsent = self._unsent, b""
        if head and len(piece) > JOINED:
            await self._wire.send_all(head)
            head = b""
        if whole := head + piece + end if head or end else piece:
            await self._wire.send_all(whole)

    def _rest_can_be_skipped(self) -> bool:
        """Whether the next request can be reached.

        Who still waits for 100 Continue may send its body or not; and botocore, which does not, keeps the status of
        this answer for later ones on the connection, unless it is closed.
        """
        most = self._framing.most()
        small = most is not None and most <= self._around.limits.linger_bytes
        return not self._waits and (small or self._framing.ended)

    def cut(self) -> None:
        """Close the connection at once: the answer is not whole, and must not look so."""
        self._wire.reset() if self.answer.by_closing else self._wire.cut()

    def _scope(self) -> Message:
        head, around = self._head, self._around
        return {
            **around.scope,
            "http_version": head.version,
            "method": head.method,
            "path": unquote(head.raw_path.decode("ascii")),
            "raw_path": head.raw_path,
            "query_string": head.raw_query,
            "headers": head.headers,
            "state": {**around.state, CUT: self.cut, OWN: True},
        }
