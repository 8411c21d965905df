"""hypercorn's HTTP/2 with what an endpoint on the open network needs: bodies with back-pressure, resets, a calm end.

Room: stratum/s3. May import: core.config, s3.{connection_incoming, connection_wire, errors, http2_*}.

Frames, HPACK and states are h2's; streams, answers and who sends next are hypercorn's. Ours is what is overridden here,
each for a reason that decision 0022 names.

Invariants
    H1  Only `_flush` takes bytes out of h2, and what it took reaches the wire: a header block that is lost would make
        every later one mean something else.
    H2  The window of the connection is the sum of those of its streams: none can take another one's room.
    H3  Nothing the client says makes a table grow: encoder, priorities and streams are bounded.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import trio
from h2 import events
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings
from hypercorn.config import Config
from hypercorn.events import Closed
from hypercorn.protocol.events import InformationalResponse
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.trio.worker_context import WorkerContext
from hyperframe.frame import GoAwayFrame

from stratum.core.config import KIB, Limits
from stratum.s3.connection_incoming import BROKEN
from stratum.s3.connection_wire import Wire
from stratum.s3.errors import S3Error
from stratum.s3.http2_exchange import Exchange, Message
from stratum.s3.http2_guard import FRAME_BYTES, Calm, Guard
from stratum.s3.http2_head import BoundedDecoder, check_head

TABLE_BYTES = 4 * KIB  # of HPACK, in both directions
SENT_FRAME_BYTES = 64 * KIB  # at most, whatever a client would take
DEFAULT_WINDOW = 65_535  # of a connection (RFC 9113, 6.9.2)


class _Tasks:
    """Stands where hypercorn's task group stood: streams get our exchange instead of a queue."""

    def __init__(self, nursery: trio.Nursery, start: Callable[[Message, Any], None]) -> None:
        self._nursery, self._start = nursery, start

    async def spawn_app(self, _app: Any, _config: Config, scope: Message, send: Any) -> Any:
        """Start the application. What hypercorn would put into its queue is not looked at."""
        self._start(scope, send)

        async def put(_message: Message) -> None:
            """The exchange is told by the protocol."""

        return put

    def spawn(self, task: Callable[..., Awaitable[None]], *arguments: Any) -> None:
        """As hypercorn's."""
        self._nursery.start_soon(task, *arguments)


class GuardedH2(H2Protocol):
    """One connection. `changed` is called when a request begins or ends; `over`: nothing more is to be read."""

    def __init__(
        self, app: Any, config: Config, wire: Wire, limits: Limits, *, nursery: trio.Nursery, scope: Message, state: Any
    ) -> None:
        super().__init__(
            app,
            config,
            WorkerContext(None),  # its shutdown would cut answers short: see `part`
            _Tasks(nursery, self._begin),  # type: ignore[arg-type]
            state,
            True,
            scope["client"],
            scope["server"],
            self._told,  # type: ignore[arg-type]
        )
        self.limits, self._wire, self._nursery = limits, wire, nursery
        self.exchanges: dict[int, Exchange] = {}
        self.guard = Guard(limits, self.exchanges.__contains__)
        self.changed: Callable[[], None] = lambda: None
        self.over = trio.Event()
        self.parting = False
        self._asked = 0
        self._next: Exchange | None = None
        self._writing = trio.Lock()
        self._bound()

    def _bound(self) -> None:
        limits, connection = self.limits, self.connection
        connection.decoder = BoundedDecoder()
        connection.decoder.max_header_list_size = 2 * limits.header_bytes  # more ends the connection
        connection.max_inbound_frame_size = FRAME_BYTES
        connection.local_settings = Settings(
            client=False,
            initial_values={
                SettingCodes.MAX_CONCURRENT_STREAMS: limits.http2_streams,
                SettingCodes.MAX_HEADER_LIST_SIZE: limits.header_bytes,
                SettingCodes.INITIAL_WINDOW_SIZE: limits.http2_window_bytes,
                SettingCodes.MAX_FRAME_SIZE: FRAME_BYTES,
            },
        )

    async def initiate(self, headers: Any = None, settings: Any = None) -> None:
        """Say what we take."""
        await super().initiate()
        # From here on we count ourselves: a stream too many is refused, h2 would end the connection. Clients do not
        # know the limit before they have read it.
        self.connection.local_settings = Settings(
            client=False,
            initial_values={
                SettingCodes.MAX_CONCURRENT_STREAMS: 2**31 - 1,
                SettingCodes.INITIAL_WINDOW_SIZE: self.limits.http2_window_bytes,
            },
        )
        whole = self.limits.http2_streams * self.limits.http2_window_bytes
        if whole > DEFAULT_WINDOW:
            self.connection.increment_flow_control_window(whole - DEFAULT_WINDOW)
        await self._flush()

    async def part(self) -> None:
        """Take no further requests; those under way are finished (RFC 9113, 6.8). h2's own end would cut them."""
        if not self.parting:
            self.parting = True
            farewell = GoAwayFrame(0, last_stream_id=self.connection.highest_inbound_stream_id)
            await self._write(farewell.serialize)
            self.changed()

    async def end(self, calm: Calm) -> None:
        """End the connection, and all that is under way on it."""
        self.connection.close_connection(error_code=calm.code)
        await self._flush()
        self.over.set()

    async def reset(self, stream: int, code: ErrorCodes) -> None:
        """See Streams."""
        try:
            self.connection.reset_stream(stream, code)
        except ProtocolError:
            return  # it has ended by itself
        self.guard.ended()
        await self._window_updated(stream)  # makes the sending task drop what is left of it
        await self._flush()

    async def took(self, stream: int, size: int) -> None:
        """See Streams."""
        self.connection.acknowledge_received_data(size, stream)
        await self._flush()

    async def go_on(self, stream: int) -> None:
        """See Streams."""
        await self.stream_send(InformationalResponse(stream_id=stream, headers=[], status_code=100))

    async def _told(self, event: Any) -> None:
        """hypercorn says that it is over; what it says of being idle we know ourselves."""
        if isinstance(event, Closed):
            self.over.set()

    async def _flush(self) -> None:
        await self._write(self.connection.data_to_send)

    async def _write(self, bytes_of: Callable[[], bytes]) -> None:
        with trio.CancelScope(shield=True):
            async with self._writing:
                if data := bytes_of():
                    self.guard.sent(len(data))
                    try:
                        await self._wire.send_all(data)
                    except BROKEN:
                        self.over.set()
                        self._wire.cut()

    async def _handle_events(self, happened: list[events.Event]) -> None:
        for event in happened:
            if isinstance(event, events.RequestReceived):
                await self._request(event)
            elif isinstance(event, events.DataReceived):
                self._data(event)
            elif isinstance(event, events.StreamEnded):
                self._tell(event.stream_id, Exchange.end)
            elif isinstance(event, events.StreamReset):
                await self._reset_by(event)
            elif isinstance(event, events.RemoteSettingsChanged):
                self.connection.encoder.header_table_size = min(self.connection.encoder.header_table_size, TABLE_BYTES)
                frame = min(self.connection.max_outbound_frame_size, SENT_FRAME_BYTES)
                self.connection.max_outbound_frame_size = frame
                await self._window_updated(None)
            elif isinstance(event, events.WindowUpdated):
                await self._window_updated(event.stream_id)
            elif isinstance(event, events.ConnectionTerminated):
                self.over.set()
        await self._flush()

    async def _reset_by(self, event: events.StreamReset) -> None:
        self._tell(event.stream_id, Exchange.lose)
        await self._close_stream(event.stream_id)
        await self._window_updated(event.stream_id)
        if not event.remote_reset:  # by h2, which the client made do so (CVE-2025-8671)
            self.guard.ended()
            self.guard.refused(trio.current_time())

    def _tell(self, stream: int, what: Callable[[Exchange], None]) -> None:
        if (exchange := self.exchanges.get(stream)) is not None:
            what(exchange)

    def _data(self, event: events.DataReceived) -> None:
        exchange, free = self.exchanges.get(event.stream_id), event.flow_controlled_length
        if exchange is not None and exchange.put(bytes(event.data)):
            free -= len(event.data)  # only the padding
        if free:
            self.connection.acknowledge_received_data(free, event.stream_id)

    async def _request(self, event: events.RequestReceived) -> None:
        stream = event.stream_id
        if self.parting or len(self.exchanges) >= self.limits.http2_streams:
            if not self.parting:
                self.guard.refused(trio.current_time())
            await self.reset(stream, ErrorCodes.REFUSED_STREAM)
            return
        refusal = None
        try:
            check_head(event.headers, self.limits)
        except S3Error as error:
            refusal, event.headers = error, _nothing_asked(event.headers)
        bodiless = event.stream_ended is not None
        self._next = self.exchanges[stream] = Exchange(self, stream, refusal, bodiless=bodiless)
        self.changed()
        await self._create_stream(event)
        self._asked += 1
        if self._asked >= self.limits.http2_requests:
            await self.part()

    def _begin(self, scope: Message, send: Any) -> None:
        assert self._next is not None
        self._nursery.start_soon(self._run, self._next, scope, send)

    async def _run(self, exchange: Exchange, scope: Message, send: Any) -> None:
        try:
            await exchange.run(self.app, scope, send)
        finally:
            del self.exchanges[exchange.stream]
            self.changed()

    async def _send_data(self, stream_id: int) -> None:
        await super()._send_data(stream_id)
        if stream_id not in self.stream_buffers and stream_id in self.exchanges:
            self.exchanges[stream_id].flushed.set()


def _nothing_asked(headers: Any) -> Any:
    """A head that hypercorn can read, of a request that is answered by its refusal."""
    method = b"HEAD" if (b":method", b"HEAD") in headers else b"GET"
    return [(b":method", method), (b":path", b"/"), (b":scheme", b"https"), (b":authority", b"")]
