"""Serve the app over HTTP with hypercorn's protocol: accept, bound, shut down gracefully, close at once.

Room: stratum/s3. May import: s3.app.

hypercorn's own `worker_serve` is not used, because one broken connection (an OSError inside its nursery) would end all
of them, because nothing bounds a client that stops reading, and because nothing can hang up on a client at once.
"""

import logging
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.lifespan import Lifespan
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext

from stratum.core.config import KIB
from stratum.s3.app import CUT

log = logging.getLogger(__name__)
http_log = logging.getLogger("stratum.http")

BACKLOG = 1024
HEADER_BYTES = 16 * KIB
IDLE_SECONDS = 60.0  # a kept-alive connection without a request, and slow headers
WRITE_SECONDS = 60.0  # for the client to take one piece of an answer
REQUESTS_PER_CONNECTION = 1_000_000
CONNECTIONS_MAX = 4096  # more are closed as they come


@dataclass(frozen=True, slots=True)
class Address:
    """Where the endpoint is bound."""

    host: str
    port: int


def open_listener(host: str, port: int) -> socket.socket:
    """Bind and listen; port 0 takes a free one. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Accepted sockets inherit it: a peer that vanished, or has its window shut, for so long is dropped.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(WRITE_SECONDS * 1000))
        listener.bind((host, port))
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


async def serve_app(
    app: Any,
    listener: socket.socket,
    *,
    stop: Callable[[], Awaitable[object]],
    grace: float,
    tls: ssl.SSLContext | None = None,
    task_status: trio.TaskStatus[Address] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve `app` on `listener` until `stop` returns; then take no more, and finish within `grace` seconds.

    Requests still under way after that are cut. Reports the bound address when connections are accepted.
    """
    wrapped, config = ASGIWrapper(app), _config(grace)
    state: dict[str, Any] = {}
    lifespan = Lifespan(wrapped, config, state)
    async with trio.open_nursery() as lives:
        await lives.start(lifespan.handle_lifespan)
        await lifespan.wait_for_startup()
        server = _Server(wrapped, config, state)
        async with trio.open_nursery() as connections:
            try:
                async with trio.open_nursery() as accepting:
                    await accepting.start(partial(server.accept, _listener(listener, tls), connections))
                    task_status.started(Address(*listener.getsockname()[:2]))
                    await stop()
                    accepting.cancel_scope.cancel()
                await server.finish(grace)
            finally:
                server.cut_all()
        await lifespan.wait_for_shutdown()
        lives.cancel_scope.cancel()


def _listener(raw: socket.socket, tls: ssl.SSLContext | None) -> trio.abc.Listener[Any]:
    plain = trio.SocketListener(trio.socket.from_stdlib_socket(raw))
    return plain if tls is None else trio.SSLListener(plain, tls, https_compatible=True)


def _config(grace: float) -> Config:
    config = Config()
    config.accesslog, config.errorlog = None, http_log
    config.include_server_header = False
    config.h11_max_incomplete_size = HEADER_BYTES
    config.keep_alive_timeout = IDLE_SECONDS
    config.keep_alive_max_requests = REQUESTS_PER_CONNECTION
    config.graceful_timeout = grace
    config.alpn_protocols = ["http/1.1"]
    return config


@dataclass(eq=False)
class _Server:
    """All connections of one endpoint."""

    app: ASGIWrapper
    config: Config
    state: dict[str, Any]
    context: WorkerContext = field(default_factory=lambda: WorkerContext(None))
    open: "set[_Wire]" = field(default_factory=set)
    _emptied: trio.Event = field(default_factory=trio.Event)

    async def accept(
        self, listener: Any, connections: trio.Nursery, *, task_status: trio.TaskStatus[Any] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Accept until cancelled."""
        await trio.serve_listeners(self._connection, [listener], handler_nursery=connections, task_status=task_status)

    async def _connection(self, stream: Any) -> None:
        """Serve one connection; whatever happens to it happens to it alone."""
        if len(self.open) >= CONNECTIONS_MAX:
            await trio.aclose_forcefully(stream)
            return
        wire = _Wire(stream)
        self.open.add(wire)
        state: Any = {**self.state, CUT: wire.cut}
        try:
            with wire.scope:
                await TCPServer(self.app, self.config, self.context, state, wire)  # type: ignore[arg-type]
        except* (OSError, trio.BrokenResourceError, trio.ClosedResourceError, ssl.SSLError) as group:
            log.debug("a connection broke: %s", group.exceptions[0])
        except* Exception:
            log.exception("a connection failed; this is a bug")
        finally:
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(stream)
            self.open.discard(wire)
            if not self.open:
                self._emptied.set()

    async def finish(self, grace: float) -> None:
        """Close idle connections, and wait until the others are idle, for at most `grace` seconds."""
        await self.context.terminated.set()
        with trio.move_on_after(grace):
            while self.open:
                self._emptied = trio.Event()
                await self._emptied.wait()

    def cut_all(self) -> None:
        """Hang up on everybody."""
        for wire in list(self.open):
            wire.cut()


class _Wire:
    """A stream that can be hung up on, and that a client which does not read cannot block for ever.

    hypercorn shields its writes from cancellation; the scope here is inside that shield.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._writing: trio.CancelScope | None = None
        self._is_cut = False
        self.scope = trio.CancelScope()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def cut(self) -> None:
        """Close the connection now, without a clean end."""
        self._is_cut = True
        self.scope.cancel()
        if self._writing is not None:
            self._writing.cancel()

    async def send_all(self, data: bytes) -> None:
        """Write `data`, if the client takes it in time. Raises BrokenResourceError."""
        if self._is_cut:
            raise trio.BrokenResourceError("cut")
        with trio.move_on_after(WRITE_SECONDS) as self._writing:
            await self._stream.send_all(data)
            return
        raise trio.BrokenResourceError("the client takes nothing")
