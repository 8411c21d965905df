"""The warm backend: streams rest in inner volumes on the warm disks, which are ordinary volumes of that tier.

Room: stratum/store. May import: core.*, store.{backends, volume_writer}. The engine hands in `Volumes`.

What `put` returns is durable but not recorded: the change that makes a volume held here records it (core/tiers.py).
Until then its files are orphans, as those of any write that nobody recorded.
"""

import hashlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Protocol

from stratum.core.errors import TooFewDisks
from stratum.core.manifest import is_used
from stratum.core.records import Extent, Garbage, Held
from stratum.core.schema import garbage_key
from stratum.core.tiers import WARM
from stratum.core.txn import Txn, save
from stratum.store.backends import BackendDown, Head, HeldWrong, Stream
from stratum.store.volume_writer import VolumeWriter

READ_PIECE = 1024**2


class InnerVolumes(Protocol):
    """What the warm backend needs of `Volumes`."""

    def writer(self, tier: str = "", volume_bytes: int | None = None) -> VolumeWriter:
        """Begin a stream into volumes of a tier."""
        ...

    async def read(self, extent: Extent, start: int, stop: int) -> bytes:
        """Verified bytes."""
        ...

    def record(self, txn: Txn, extents: Iterable[Extent]) -> None:
        """Inside a change: make their volumes known."""
        ...

    def has_room(self, tier: str) -> str:
        """Why nothing can be written to a tier; empty: it can."""
        ...


class WarmDisks:
    """See `Backend`."""

    name = WARM
    tier = WARM

    def __init__(self, volumes: InnerVolumes, write: Callable[[Callable[[Txn], None]], Awaitable[None]]) -> None:
        """`write`: makes a change of the index durable."""
        self._volumes = volumes
        self._write = write

    def plan(self, size: int, sha256: bytes) -> Held:
        """See Backend."""
        return Held(self.name, "", size, sha256)

    async def put(self, stream: Stream, planned: Held) -> Held:
        """See Backend."""
        writer = self._volumes.writer(WARM, volume_bytes=2 * planned.size)  # one inner volume, not one and a bit
        digest = hashlib.sha256()
        size = 0
        try:
            pieces = stream()
            async for piece in pieces:
                digest.update(piece)
                size += len(piece)
                await writer.write(piece)
            if (size, digest.digest()) != (planned.size, planned.sha256):
                raise HeldWrong(f"{size} bytes came that are not those that were planned")
            extents = await writer.finish()
        except TooFewDisks as error:
            await writer.abort()
            raise BackendDown(f"warm disks: {error}") from error
        except BaseException:
            await writer.abort()
            raise
        return Held(self.name, "", planned.size, planned.sha256, tuple(extents))

    async def get(self, held: Held, start: int, stop: int) -> bytes:
        """See Backend."""
        pieces: list[bytes] = []
        at = 0
        for extent in held.extents:
            low, high = max(start - at, 0), min(stop - at, extent.length)
            while low < high:
                end = min(high, low + READ_PIECE)
                pieces.append(await self._volumes.read(extent, low, end))
                low = end
            at += extent.length
        found = b"".join(pieces)
        if len(found) != stop - start:
            raise HeldWrong(f"bytes {start} to {stop} are not all there")
        return found

    async def head(self, held: Held) -> Head | None:
        """See Backend: reads and verifies all of it, for that is what local disks cost least to vouch for."""
        if not held.extents:
            return None
        digest = hashlib.sha256()
        for at in range(0, held.size, READ_PIECE):
            digest.update(await self.get(held, at, min(at + READ_PIECE, held.size)))
        return Head(held.size, digest.digest())

    async def delete(self, held: Held) -> None:
        """See Backend: what nothing refers to is left to the reaper."""
        if held.extents:
            await self._write(lambda txn: self._let_go(txn, held.extents))

    def _let_go(self, txn: Txn, extents: Sequence[Extent]) -> None:
        self._volumes.record(txn, extents)
        for number in {extent.volume for extent in extents}:
            if not is_used(txn, number):
                save(txn, garbage_key(number), Garbage(since=0, reason="a stream that no volume rests in"))

    async def health(self) -> None:
        """See Backend."""
        trouble = self._volumes.has_room(WARM)
        if trouble:
            raise BackendDown(trouble)
