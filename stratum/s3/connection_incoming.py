"""What a connection has received and not yet used, and the task that looks on while an answer is made.

Room: stratum/s3. May import: core.config.
"""

from typing import Any

import trio

from stratum.core.config import KIB

PIECE = 256 * KIB  # received at once
AHEAD = 64 * KIB  # of further requests, kept while one is answered

BROKEN = (trio.BrokenResourceError, trio.ClosedResourceError, OSError)


class Incoming:
    """`lost`: nothing more will come. `exchange`: what ends when that is seen while somebody looks on."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._looks_on = self._reads = False
        self._wake, self._arrived = trio.Event(), trio.Event()
        self.buffer = b""
        self.lost = trio.Event()
        self.exchange = trio.CancelScope()

    def look_on(self) -> None:
        """From now on, until `more`, the other task reads ahead as far as there is room, to see the peer go away."""
        self._looks_on = True
        self._wake.set()

    async def watch(self) -> None:
        """Be the other task; returns when the peer is gone."""
        while not self.lost.is_set():
            await self._wake.wait()
            self._wake = trio.Event()
            while self._looks_on and len(self.buffer) < AHEAD and not self.lost.is_set():
                self._reads = True
                await self._receive(AHEAD)
                self._reads = False
                self._arrived.set()
        self.exchange.cancel()

    async def more(self, most: int | None = None) -> bool:
        """Wait for further bytes, at most `most`; False: there will be none."""
        self._looks_on = False
        if self._reads:
            self._arrived = trio.Event()
            await self._arrived.wait()
        elif not self.lost.is_set():
            await self._receive(min(PIECE, most or PIECE))
        return not self.lost.is_set()

    async def _receive(self, most: int) -> None:
        try:
            piece = bytes(await self._stream.receive_some(most))
        except BROKEN:
            piece = b""
        if not piece:
            self.lost.set()
        self.buffer = self.buffer + piece if self.buffer else piece
