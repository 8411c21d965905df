"""HTTP/2 on one connection, behind `[s3] http2 = true` and TLS: read, count, pass on, and end in time.

Room: stratum/s3. May import: core.config, s3.{connection_exchange, connection_incoming, connection_wire, http2_*}.

See decision 0022: hypercorn's protocol (http2_protocol.py) behind a guard that counts frames (http2_guard.py).
"""

import logging
import math
from typing import Any

import trio
from hypercorn.config import Config
from hypercorn.events import RawData
from hypercorn.utils import parse_socket_addr

from stratum.core.config import KIB, Limits
from stratum.s3.connection_exchange import App, Message
from stratum.s3.connection_incoming import BROKEN
from stratum.s3.connection_wire import Wire
from stratum.s3.http2_guard import Calm
from stratum.s3.http2_protocol import GuardedH2

log = logging.getLogger(__name__)

PIECE = 64 * KIB  # received at once


class Http2Connection:
    """One client. `ending`: the server is shutting down."""

    def __init__(
        self, app: App, wire: Wire, limits: Limits, *, config: Config, ending: trio.Event, state: Message
    ) -> None:
        self._app, self._wire, self._limits, self._config = app, wire, limits, config
        self._ending, self._state = ending, state
        self._reading = trio.CancelScope()
        self._block_since = math.inf  # when the header block began that has not ended

    async def run(self) -> None:
        """Serve until one side has had enough."""
        self._wire.takes_leave = True
        async with trio.open_nursery() as nursery:
            self._protocol = GuardedH2(
                self._app,
                self._config,
                self._wire,
                self._limits,
                nursery=nursery,
                scope=_ends(self._wire.transport_stream.socket),
                state=self._state,
            )
            self._protocol.changed = self._changed
            nursery.start_soon(self._leave)
            await self._protocol.initiate()
            self._changed()
            with self._reading:
                await self._read()
            nursery.cancel_scope.cancel()
        await self._part()

    async def _read(self) -> None:
        while not self._protocol.over.is_set():
            try:
                received = bytes(await self._wire.receive_some(PIECE))
            except BROKEN:
                return
            if not received:
                return
            await self._take(received)

    async def _take(self, received: bytes) -> None:
        protocol, now = self._protocol, trio.current_time()
        with trio.CancelScope(shield=True):  # what h2 has seen is dealt with
            try:
                for batch in protocol.guard.batches(received, now):
                    await protocol.handle(RawData(batch))
                    await trio.lowlevel.checkpoint()
                    if protocol.over.is_set():
                        return
            except Calm as calm:
                log.debug("ended: %s", calm)
                await protocol.end(calm)
        if not protocol.guard.in_block:
            self._block_since = math.inf
        elif self._block_since == math.inf:
            self._block_since = now
        self._set_deadline()

    def _changed(self) -> None:
        """A request began or ended."""
        if self._protocol.exchanges:
            self._wire.work()
            self._idle_since = math.inf
        else:
            self._wire.rest()
            self._idle_since = -math.inf if self._protocol.parting else trio.current_time()
        self._set_deadline()

    def _set_deadline(self) -> None:
        limits = self._limits
        self._reading.deadline = min(self._idle_since + limits.connection_idle, self._block_since + limits.header_time)

    async def _leave(self) -> None:
        """When the server shuts down, say so."""
        await self._ending.wait()
        await self._protocol.part()

    async def _part(self) -> None:
        """Say farewell, and read on for a while, so that what was said last is not lost to a reset."""
        with trio.move_on_after(self._limits.linger):
            if self._reading.cancelled_caught:  # it rested too long, or its head did not come
                await self._protocol.part()
            else:
                await self._read_on()
            await self._wire.aclose()

    async def _read_on(self) -> None:
        rest = self._limits.linger_bytes
        try:
            while rest > 0 and (piece := await self._wire.receive_some(PIECE)):
                rest -= len(piece)
        except BROKEN:
            self._wire.cut()


def _ends(sock: Any) -> Message:
    return {
        "client": parse_socket_addr(sock.family, sock.getpeername()),
        "server": parse_socket_addr(sock.family, sock.getsockname()),
    }
