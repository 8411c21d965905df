"""One accepted connection as a stream: it can be hung up on, and no peer blocks a write for ever.

Room: stratum/s3. May import: core.config.
"""

import socket
import struct
from contextlib import suppress
from typing import Any

import trio

from stratum.core.config import KIB, Limits

THROWN_AWAY = 64 * KIB  # received at once of what nobody reads


class Wires:
    """All open connections of one endpoint; those at rest (no request under way) in the order they came to it."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._resting: dict[Wire, None] = {}
        self._emptied = trio.Event()
        self.open: set[Wire] = set()

    def add(self, stream: Any) -> "Wire":
        """Take a connection in; see `full`."""
        wire = Wire(stream, self._limits, self._resting)
        self.open.add(wire)
        return wire

    def discard(self, wire: "Wire") -> None:
        """It is closed."""
        self.open.discard(wire)
        self._resting.pop(wire, None)
        if not self.open:
            self._emptied.set()

    def full(self) -> bool:
        """Whether there is room for no other; if so, the one that has rested longest is closed to make it."""
        if len(self.open) < self._limits.connections:
            return False
        longest = next(iter(self._resting), None)
        if longest is None:
            return True
        self.discard(longest)
        longest.cut()
        return False

    def cut_resting(self) -> None:
        """Hang up where no request is under way, unless its connection takes leave by itself."""
        for wire in list(self._resting):
            if not wire.takes_leave:
                wire.cut()

    def cut_all(self) -> None:
        """Hang up on everybody."""
        for wire in list(self.open):
            wire.cut()

    async def wait_emptied(self) -> None:
        """Return when the last one is closed."""
        while self.open:
            self._emptied = trio.Event()
            await self._emptied.wait()


class Wire:
    """A stream with a scope of its own. hypercorn shields its writes from cancellation; that of a write is inside."""

    def __init__(self, stream: Any, limits: Limits, resting: "dict[Wire, None]") -> None:
        self._stream = stream
        self._limits = limits
        self._resting = resting
        self._writing: trio.CancelScope | None = None
        self._is_cut = False
        self.scope = trio.CancelScope()
        self.takes_leave = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def cut(self) -> None:
        """Close the connection now, without a clean end."""
        self._is_cut = True
        self.scope.cancel()
        if self._writing is not None:
            self._writing.cancel()

    def reset(self) -> None:
        """Close the connection now, so that the peer sees an error even where the end of it would mean all is well."""
        sock = getattr(self._stream, "socket", None)
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.cut()

    def rest(self) -> None:
        """From now on no request is under way."""
        self._resting[self] = None

    def work(self) -> None:
        """A request comes in."""
        self._resting.pop(self, None)

    async def send_all(self, data: bytes) -> None:
        """Write `data`, if the client takes it in time. Raises BrokenResourceError."""
        if self._is_cut:
            raise trio.BrokenResourceError("cut")
        with trio.move_on_after(self._limits.answer_idle) as self._writing:
            await self._stream.send_all(data)
            return
        raise trio.BrokenResourceError("the client takes nothing")

    async def part(self) -> None:
        """End our half, throw away what the peer still sends, and close once it has ended too.

        Closed earlier, unread bytes would reset the connection, and the peer might never see what it was answered.
        Over TLS the rest is not even deciphered. Takes as long as the peer likes. Raises as the stream does.
        """
        stream = self._stream
        over_tls = isinstance(stream, trio.SSLStream)
        if over_tls:
            stream = stream.transport_stream
        try:
            if over_tls:
                with suppress(trio.BrokenResourceError):  # it sends on, instead of the farewell that is waited for
                    await self._stream.unwrap()
            await stream.send_eof()
            while await stream.receive_some(THROWN_AWAY):
                pass
        finally:
            await trio.aclose_forcefully(stream)
