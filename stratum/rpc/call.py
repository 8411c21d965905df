"""One call between gRPC's threads and the event loop.

Room: stratum/rpc. May import: nothing of ours.

gRPC answers each call in a thread of its own pool. The exchange itself is a task of the server's nursery; the thread
takes the answer piece by piece through a channel that holds one, so a slow client holds up its own exchange only, and
what it costs is bounded. If the client goes, the task is cancelled.

    thread:  ask --------> task: ask(asked) -> answer
             head, pieces <------- channel of one piece
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import grpc
import trio

PIECE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request in the words of S3, by whoever holds `access_key`. `bucket` may be empty; `key` as UTF-8."""

    access_key: str
    peer: str
    method: str
    bucket: str = ""
    key: str = ""
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: AsyncIterator[bytes] | bytes = b""


@dataclass(frozen=True, slots=True)
class Answered:
    """Its answer. Header names are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: AsyncIterator[bytes] | bytes


Ask = Callable[[Asked], Awaitable[Answered]]


class Refused(Exception):
    """The call was refused. `code`: a grpc.StatusCode."""

    def __init__(self, code: Any, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Loop:
    """The event loop, as threads reach it."""

    token: trio.lowlevel.TrioToken
    nursery: trio.Nursery

    def run(self, work: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
        """Run `work` on the loop and return what it returns. Raises Refused when the loop ends."""
        try:
            return trio.from_thread.run(work, *arguments, trio_token=self.token)
        except (trio.RunFinishedError, trio.Cancelled) as error:
            raise Refused(grpc.StatusCode.UNAVAILABLE, "the server is stopping") from error


class Exchange:
    """One request and its answer. Used by one thread, as a context manager."""

    def __init__(self, loop: Loop, ask: Ask, asked: Asked, context: Any) -> None:
        self._loop = loop
        self._scope = trio.CancelScope()
        send, self._pieces = trio.open_memory_channel[Any](1)
        self.answered: Answered = loop.run(self._start, ask, asked, send)
        context.add_callback(self._cancel)

    async def _start(self, ask: Ask, asked: Asked, send: trio.MemorySendChannel[Any]) -> Answered:
        await self._loop.nursery.start(self._exchange, ask, asked, send)
        found = await self._pieces.receive()
        if isinstance(found, Exception):
            raise found
        return found  # type: ignore[no-any-return]

    async def _exchange(
        self,
        ask: Ask,
        asked: Asked,
        send: trio.MemorySendChannel[Any],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        with self._scope, send:
            task_status.started()
            try:
                answered = await ask(asked)
                await send.send(answered)
                await self._give(answered.body, send)
            except trio.BrokenResourceError:
                return  # nobody takes it any more
            except Exception as error:  # the thread tells the client; nothing else of the server is touched
                await send.send(error)

    async def _give(self, body: AsyncIterator[bytes] | bytes, send: trio.MemorySendChannel[Any]) -> None:
        if isinstance(body, bytes):
            if body:
                await send.send(body)
            return
        try:
            async for piece in body:
                await send.send(piece)
        finally:
            close = getattr(body, "aclose", None)
            if close is not None:
                with trio.CancelScope(shield=True):
                    await close()

    def __enter__(self) -> "Exchange":
        return self

    def __exit__(self, *_: object) -> None:
        self._cancel()

    def _cancel(self) -> None:
        try:
            self._loop.token.run_sync_soon(self._end)
        except trio.RunFinishedError:
            return  # with the loop everything of it has ended

    def _end(self) -> None:
        self._scope.cancel()
        self._pieces.close()

    def pieces(self) -> Iterator[bytes]:
        """The body. Raises what went wrong on the way."""
        while True:
            try:
                piece = self._loop.run(self._pieces.receive)
            except (trio.EndOfChannel, trio.ClosedResourceError):
                return
            if isinstance(piece, Exception):
                raise piece
            yield piece

    def whole(self, most: int) -> bytes:
        """The body at once. Raises Refused if it is longer than `most` bytes."""
        found = bytearray()
        for piece in self.pieces():
            found += piece
            if len(found) > most:
                raise Refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "the answer is too long")
        return bytes(found)


async def incoming(messages: Iterator[Any], first: bytes) -> AsyncIterator[bytes]:
    """The data of a stream of PutPiece, `first` first. Each message is waited for in a thread."""
    if first:
        yield first
    while True:
        message = await trio.to_thread.run_sync(next, messages, None, abandon_on_cancel=True)
        if message is None:
            return
        if message.data:
            yield message.data
