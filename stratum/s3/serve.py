"""Serve the app over HTTP, with our connection or hypercorn's h11: accept, bound, shut down gracefully, close at once.

Room: stratum/s3. May import: core.config, s3.{app, connection, connection_wire, http2}.

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
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.trio.lifespan import Lifespan
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext

from stratum.core.config import Limits
from stratum.s3.app import CUT, TLS
from stratum.s3.connection import Connection, Dates
from stratum.s3.connection_wire import Wire, Wires
from stratum.s3.errors import S3Error, error_response
from stratum.s3.http2 import Http2Connection

log = logging.getLogger(__name__)
http_log = logging.getLogger("stratum.http")

BACKLOG = 1024
TURNED_AWAY_SECONDS = 1.0
_WHY = error_response(S3Error("SlowDown"), resource="", request_id="", host_id="stratum").body
FULL = b"HTTP/1.1 503 Slow Down\r\ncontent-type: application/xml\r\nconnection: close\r\n\r\n%b" % _WHY


@dataclass(frozen=True, slots=True)
class Address:
    """Where the endpoint is bound."""

    host: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """How an endpoint is served. `protocol`: httptools (our connection) or h11 (hypercorn's).

    `tls` is asked for each connection, so that a new certificate is for new connections; None: plain HTTP.
    `http2_tls`: likewise, a context that agrees on HTTP/2 too; None: it is not spoken (docs/decisions/0022).
    """

    limits: Limits = field(default_factory=Limits)
    protocol: str = "httptools"
    tls: Callable[[], ssl.SSLContext] | None = None
    http2_tls: Callable[[], ssl.SSLContext] | None = None


def open_listener(host: str, port: int, limits: Limits | None = None) -> socket.socket:
    """Bind and listen; port 0 takes a free one. Raises OSError."""
    patience = (limits or Limits()).answer_idle
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Accepted sockets inherit it: a peer that vanished, or has its window shut, for so long is dropped.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(patience * 1000))
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
    serving: Serving | None = None,
    task_status: trio.TaskStatus[Address] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve `app` on `listener` until `stop` returns; then take no more, and finish within `grace` seconds.

    Requests still under way after that are cut. Reports the bound address when connections are accepted.
    """
    serving = serving or Serving()
    config = _config(grace, serving.limits)
    state: dict[str, Any] = {}
    lifespan = Lifespan(ASGIWrapper(app), config, state)
    async with trio.open_nursery() as lives:
        await lives.start(lifespan.handle_lifespan)
        await lifespan.wait_for_startup()
        server = _Server(app, config, state, serving)
        accepted = trio.SocketListener(trio.socket.from_stdlib_socket(listener))
        async with trio.open_nursery() as connections:
            try:
                async with trio.open_nursery() as accepting:
                    await accepting.start(partial(server.accept, accepted, connections))
                    task_status.started(Address(*listener.getsockname()[:2]))
                    await stop()
                    accepting.cancel_scope.cancel()
                await server.finish(grace)
            finally:
                server.wires.cut_all()
        await lifespan.wait_for_shutdown()
        lives.cancel_scope.cancel()


def _config(grace: float, limits: Limits) -> Config:
    config = Config()
    config.accesslog, config.errorlog = None, http_log
    config.include_server_header = False
    config.h11_max_incomplete_size = limits.header_bytes
    config.keep_alive_timeout = limits.connection_idle
    config.keep_alive_max_requests = limits.connection_requests
    config.ssl_handshake_timeout = limits.header_time
    config.graceful_timeout = grace
    config.alpn_protocols = ["http/1.1"]
    return config


class _Http1(H11Protocol):
    """HTTP/1.1 that takes up no offer of HTTP/2 (RFC 9110, 7.8: a server may ignore one)."""

    async def _check_protocol(self, event: object) -> None:
        """Neither `Upgrade: h2c` nor the preface mean anything."""


class _OnlyHttp1(TCPServer):
    """hypercorn's connection without its ways into HTTP/2: decision 0022."""

    async def _read_data(self) -> None:
        made: Any = self.protocol.protocol
        whole = (made.app, made.config, made.context, made.task_group, made.connection_state)
        self.protocol = _Http1(*whole, made.ssl, made.client, made.server, made.send)  # type: ignore[assignment]
        await super()._read_data()


@dataclass(eq=False)
class _Server:
    """All connections of one endpoint."""

    app: Any
    config: Config
    state: dict[str, Any]
    serving: Serving
    context: WorkerContext = field(default_factory=lambda: WorkerContext(None))

    def __post_init__(self) -> None:
        self.wires = Wires(self.serving.limits)
        self._dates = Dates(self.config)
        self._ending = trio.Event()
        self._http2 = 0  # connections that speak it, or may come to

    async def accept(
        self, listener: Any, connections: trio.Nursery, *, task_status: trio.TaskStatus[Any] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Accept until cancelled."""
        await trio.serve_listeners(self._accepted, [listener], handler_nursery=connections, task_status=task_status)

    async def _accepted(self, stream: Any) -> None:
        """Serve one connection; whatever happens to it happens to it alone."""
        if self.wires.full():
            await self._turn_away(stream)
            return
        tls = self._tls()
        if tls is not None:
            stream = trio.SSLStream(stream, tls, server_side=True, https_compatible=True)
        wire = self.wires.add(stream)
        try:
            with wire.scope:
                await self._serve(wire, tls is not None)
        except* (OSError, trio.BrokenResourceError, trio.ClosedResourceError, ssl.SSLError) as group:
            log.debug("a connection broke: %s", group.exceptions[0])
        except* Exception:
            log.exception("a connection failed; this is a bug")
        finally:
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(stream)
            self.wires.discard(wire)

    def _tls(self) -> ssl.SSLContext | None:
        """The context for the next connection; where those of HTTP/2 are all taken, it agrees on HTTP/1.1."""
        if self.serving.http2_tls is not None and self._http2 < self.serving.limits.http2_connections:
            return self.serving.http2_tls()
        return self.serving.tls() if self.serving.tls is not None else None

    async def _turn_away(self, stream: trio.SocketStream) -> None:
        """Say why, if that takes no time: it fits into the buffers of a fresh connection, or nobody hears it."""
        try:
            if self.serving.tls is None:
                with trio.move_on_after(TURNED_AWAY_SECONDS):
                    await stream.send_all(FULL)
                    await stream.send_eof()
                    await stream.receive_some(self.serving.limits.header_bytes)  # or a reset would overtake the answer
        except (trio.BrokenResourceError, OSError):
            log.debug("nobody was there to be turned away")
        finally:
            await trio.aclose_forcefully(stream)

    async def _serve(self, wire: Wire, tls: bool) -> None:
        if tls:
            wire.rest()
            with trio.move_on_after(self.serving.limits.header_time) as waiting:
                await wire.do_handshake()
            if waiting.cancelled_caught:
                return
        version = (wire.version() or "").removeprefix("TLSv") if tls else ""
        state: Any = {**self.state, CUT: wire.cut, TLS: version}
        if tls and wire.selected_alpn_protocol() == "h2":
            await self._serve_http2(wire, state)
            return
        if self.serving.protocol == "h11":
            wire.work()
            await _OnlyHttp1(ASGIWrapper(self.app), self.config, self.context, state, wire)  # type: ignore[arg-type]
            return
        await Connection(
            self.app, wire, self.serving.limits, dates=self._dates, ending=self._ending, state=state, tls=tls
        ).run()

    async def _serve_http2(self, wire: Wire, state: Any) -> None:
        limits = self.serving.limits
        if self._http2 >= limits.http2_connections:
            return  # so many shook hands at the same time
        self._http2 += 1
        try:
            await Http2Connection(self.app, wire, limits, config=self.config, ending=self._ending, state=state).run()
        finally:
            self._http2 -= 1

    async def finish(self, grace: float) -> None:
        """Close idle connections, and wait until the others are idle, for at most `grace` seconds."""
        self._ending.set()
        await self.context.terminated.set()
        self.wires.cut_resting()
        with trio.move_on_after(grace):
            await self.wires.wait_emptied()
