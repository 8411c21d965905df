"""Take a body from a door: hash it, seal it if asked to, and put it into volumes; the client waits for slow disks.

Room: stratum/engine. May import: core, engine.{contents, sealing}.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

import trio

from stratum.core.checksums import Digests
from stratum.core.config import KIB, Limits
from stratum.core.errors import TooLarge
from stratum.core.manifest import Span
from stratum.core.records import Sealed
from stratum.engine.contents import Contents, ContentWriter
from stratum.engine.sealing import Run

HASH_INLINE_BYTES = 64 * KIB  # below, a thread hop costs more than the hash (measured in contrib/bench)


@dataclass(frozen=True, slots=True)
class Ingested:
    """A body that is durable but not yet visible. `size` and `digests` are of its plain bytes."""

    spans: list[Span]
    size: int
    digests: Mapping[str, bytes]
    run: Run | None = None  # what it was sealed as

    @property
    def md5(self) -> str:
        """Lower-case hex."""
        return self.digests["md5"].hex()

    @property
    def etag(self) -> str:
        """As S3 shows it, without quotes."""
        return self.md5 if self.run is None else self.run.key.etag(self.md5)

    @property
    def sealed(self) -> Sealed | None:
        """The record of an object that is this body."""
        return None if self.run is None else self.run.recorded(self.size)


class Ingest:
    """One body on its way in."""

    def __init__(
        self, contents: Contents, limits: Limits, algorithms: frozenset[str], size_max: int, run: Run | None = None
    ) -> None:
        self._contents = contents
        self._run = run
        self._window = limits.put_window_bytes
        self._size_max = size_max
        self._digests = Digests(algorithms | {"md5"})
        self._writer: ContentWriter | None = None
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._size = 0

    async def take(self, body: AsyncIterator[bytes]) -> Ingested:
        """Read `body` to its end. On any failure nothing stays behind but work for the reaper. Raises TooLarge."""
        try:
            async for piece in body:
                await self._feed(piece)
            spans = await self._finish()
        except BaseException:
            if self._writer is not None:
                with trio.CancelScope(shield=True):
                    await self._writer.abort()
            raise
        return Ingested(spans, self._size, self._digests.results(), self._run)

    async def _feed(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > self._size_max:
            raise TooLarge(f"over {self._size_max} bytes")
        self._waiting.append(piece)
        self._waiting_bytes += len(piece)
        if self._waiting_bytes > self._window:
            await self._push()

    async def _push(self) -> None:
        """Hand the collected bytes to the hash and to the disks, side by side."""
        block = self._collected()
        if self._writer is None:
            self._writer = self._contents.writer()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._hash, block)
                await self._writer.write(block if self._run is None else await self._sealed(block))
        except ExceptionGroup as group:
            raise _only(group) from None

    async def _finish(self) -> list[Span]:
        if self._writer is None:
            block = self._collected()
            await self._hash(block)
            if self._run is not None:
                block = await self._sealed(block) + self._run.sealer.finish()
            return await self._contents.store(block)
        if self._waiting:
            await self._push()
        if self._run is not None:
            await self._writer.write(self._run.sealer.finish())
        return await self._writer.finish()

    def _collected(self) -> bytes:
        block = self._waiting[0] if len(self._waiting) == 1 else b"".join(self._waiting)
        self._waiting, self._waiting_bytes = [], 0
        return block

    async def _sealed(self, block: bytes) -> bytes:
        """What of the body is sealed by now; its last segment waits for the end."""
        assert self._run is not None
        if len(block) <= HASH_INLINE_BYTES:
            return self._run.sealer.feed(block)
        return await trio.to_thread.run_sync(self._run.sealer.feed, block)

    async def _hash(self, block: bytes) -> None:
        if len(block) <= HASH_INLINE_BYTES:
            self._digests.update(block)
        else:
            await trio.to_thread.run_sync(self._digests.update, block)


def _only(group: ExceptionGroup[Exception]) -> Exception:
    """The first error inside: callers know the errors of the engine, not the nursery that they came through."""
    first = group.exceptions[0]
    return _only(first) if isinstance(first, ExceptionGroup) else first
