"""A line to an HTTP server that is slow or fails as told: what a remote backend meets, at the level of bytes.

Room: tests. May import: nothing of ours. Used by contrib/campaigns, too.

One request a connection (`Connection: close` is put in, which no signature covers), so that each can meet a fault.
"""

import re
import socket
import struct
from collections.abc import Callable
from contextlib import suppress

import trio

CANNED = {
    "500": (b"500 Internal Server Error", b"InternalError"),
    "503": (b"503 Slow Down", b"SlowDown"),
    "403": (b"403 Forbidden", b"AccessDenied"),
}
FAULTS = (*CANNED, "cut", "reset", "short body", "wrong ETag", "applied, then no answer")
HEAD_END = b"\r\n\r\n"
PIECE = 64 * 1024
GONE = (trio.BrokenResourceError, trio.ClosedResourceError, OSError)  # the one at an end has had enough


class TroubledLine:
    """`fault(method, path)` names the fault that a request meets, or None. `delay`: seconds before each answer."""

    def __init__(self, target: str) -> None:
        """`target`: host:port, or a URL of that."""
        host, _, port = target.removeprefix("http://").partition(":")
        self._target = host, int(port)
        self.fault: Callable[[str, str], str | None] = lambda method, path: None
        self.delay = 0.0
        self.rate = 0.0  # bytes per second of one answer; 0: as fast as it goes
        self.requests = 0
        self.url = ""

    async def run(self, task_status=trio.TASK_STATUS_IGNORED) -> None:
        """Serve on loopback until cancelled; `url` is set when the task has started."""
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        task_status.started(self.url)
        await trio.serve_listeners(self._serve, [listener])

    async def _serve(self, client: trio.SocketStream) -> None:
        with suppress(*GONE):
            head, rest = await _head_of(client)
            if not head:
                return
            self.requests += 1
            method, path, _ = head.split(b" ", 2)
            fault = self.fault(method.decode(), path.decode())
            await trio.sleep(self.delay)
            if fault in CANNED:
                await _answer(client, head, rest, *CANNED[fault])
            else:
                await self._forward(client, head, rest, fault)

    async def _forward(self, client: trio.SocketStream, head: bytes, rest: bytes, fault: str | None) -> None:
        async with await trio.open_tcp_stream(*self._target) as server, trio.open_nursery() as nursery:
            await server.send_all(_closing(head) + rest)
            nursery.start_soon(_pump, client, server, nursery.cancel_scope)
            with suppress(*GONE):
                await self._back(client, server, fault)
            nursery.cancel_scope.cancel()

    async def _back(self, client: trio.SocketStream, server: trio.SocketStream, fault: str | None) -> None:
        head, rest = await _head_of(server)
        while head.startswith(b"HTTP/1.1 100"):
            await client.send_all(head)
            head, rest = await _head_of(server, rest)
        if fault == "applied, then no answer":
            await trio.sleep_forever()  # until the client has had enough: `_pump` ends it then
        if fault == "reset":
            linger = struct.pack("ii", 1, 0)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            return
        if fault == "cut":
            await client.send_all(head[: len(head) // 2])
            return
        if fault == "wrong ETag":
            head = re.sub(rb'(?i)(etag: *"?)[0-9a-f]{4}', rb"\g<1>ffff", head)
        await client.send_all(head)
        await self._body(client, server, rest, short=fault == "short body")

    async def _body(self, client: trio.SocketStream, server: trio.SocketStream, rest: bytes, *, short: bool) -> None:
        while rest or (rest := await server.receive_some(PIECE)):
            if short:
                await client.send_all(rest[: len(rest) // 2])
                return
            await client.send_all(rest)
            if self.rate:
                await trio.sleep(len(rest) / self.rate)
            rest = b""
        await client.send_eof()


async def _head_of(stream: trio.SocketStream, got: bytes = b"") -> tuple[bytes, bytes]:
    """Read a head; return it and what came behind it. Two times nothing at the end of the stream."""
    while HEAD_END not in got:
        more = await stream.receive_some(PIECE)
        if not more:
            return b"", b""
        got += more
    head, _, rest = got.partition(HEAD_END)
    return head + HEAD_END, rest


def _closing(head: bytes) -> bytes:
    lines = [each for each in head[:-4].split(b"\r\n") if not each.lower().startswith(b"connection:")]
    return b"\r\n".join([*lines, b"Connection: close"]) + HEAD_END


async def _answer(client: trio.SocketStream, head: bytes, rest: bytes, status: bytes, code: bytes) -> None:
    body = b"<Error><Code>" + code + b"</Code><Message>as told</Message></Error>"
    sized = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    left = int(sized[1]) - len(rest) if sized and b"100-continue" not in head.lower() else 0
    while left > 0 and (piece := await client.receive_some(PIECE)):
        left -= len(piece)
    no_body = head.startswith(b"HEAD ")
    length = b"\r\nContent-Type: application/xml\r\nConnection: close\r\nContent-Length: %d" % len(body)
    await client.send_all(b"HTTP/1.1 " + status + length + HEAD_END + (b"" if no_body else body))
    await client.send_eof()
    await _drain(client)


async def _pump(source: trio.SocketStream, sink: trio.SocketStream, both: trio.CancelScope) -> None:
    with suppress(*GONE):
        while piece := await source.receive_some(PIECE):
            await sink.send_all(piece)
    both.cancel()  # whoever asked is gone: so are we


async def _drain(stream: trio.SocketStream) -> None:
    while await stream.receive_some(PIECE):
        pass
