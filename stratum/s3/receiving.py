"""The body of a request, straight from the connection: as much as is asked for, and never for ever.

Room: stratum/s3. May import: core.config, s3.errors.

Invariants
    B1  Nothing is read before it is asked for, so a slow handler slows the client down (TCP does the rest).
    B2  A client that stops, or sends slower than a minimum rate, is cut. Only time spent waiting for it counts.
    B3  A client that goes away cancels the request: what it began is not published.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import trio

from stratum.core.config import Limits
from stratum.s3.errors import S3Error

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class RequestBody:
    """An async iterator over the pieces of a body. `gone` is called once if the client goes away."""

    def __init__(self, receive: Receive, limits: Limits, gone: Callable[[], None]) -> None:
        self._receive = receive
        self._limits = limits
        self._gone = gone
        self._waited = 0.0
        self._received = 0
        self._answered = False
        self.ended = trio.Event()  # nothing more will come: the whole body came, or the client went away

    def __aiter__(self) -> "RequestBody":
        return self

    async def __anext__(self) -> bytes:
        while not self.ended.is_set():
            piece = await self._next()
            if piece:
                return piece
        raise StopAsyncIteration

    async def skip(self) -> None:
        """Read to the end and drop it. Raises S3Error RequestTimeout."""
        while not self.ended.is_set():
            await self._next()

    async def watch(self) -> None:
        """Once the body has ended, wait for the client to go away. Returns then; `gone` was called."""
        await self.ended.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if not self._answered:
            self._gone()

    def answered(self) -> None:
        """From now on the end of the connection cancels nothing: the server itself reports it as it ends the answer."""
        self._answered = True

    async def _next(self) -> bytes:
        message = await self._in_time()
        if message["type"] == "http.disconnect":
            self.ended.set()
            self._gone()
            await trio.lowlevel.checkpoint_if_cancelled()
            raise S3Error("IncompleteBody", "The connection was closed.")
        if not message.get("more_body", False):
            self.ended.set()
        piece: bytes = message.get("body", b"")
        self._received += len(piece)
        return piece

    async def _in_time(self) -> MutableMapping[str, Any]:
        began = trio.current_time()
        idle = self._limits.body_idle
        with trio.move_on_after(idle):
            message = await self._receive()
            self._waited += trio.current_time() - began
            if self._waited <= idle or self._received >= (self._waited - idle) * self._limits.body_rate_min:
                return message
        raise S3Error("RequestTimeout")
