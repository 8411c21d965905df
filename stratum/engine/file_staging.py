"""The way of a mounted file's bytes from memory into volumes, before they are published.

Room: stratum/engine. May import: core, engine.contents.

Invariants
    T1  What is kept unpublished for long rests in volumes of its own, never in a shared pack: those a reaper may take
        away when everybody else has left them.
    T2  Where the bytes of an unfinished stream rest is not known yet.
    T3  Bytes that left memory and whose stream then broke are lost: `lost` says why, for good.
"""

from collections.abc import Sequence

from stratum.core.config import Limits
from stratum.core.errors import StratumError, Unavailable
from stratum.core.manifest import Span, shift
from stratum.core.ranges import Block, deal
from stratum.engine.contents import Contents, ContentWriter

STREAM_BYTES_MAX = 512 * 1024 * 1024  # a stream is finished after so much: what can be lost with it is bounded


class _Stream:
    """Bytes of the file on their way into volumes of their own. `released`: below it they have left memory."""

    def __init__(self, writer: ContentWriter, start: int) -> None:
        self.writer = writer
        self.start = self.stop = self.released = start

    async def write(self, block: Block) -> None:
        for buffer in block.buffers:
            await self.writer.write(bytes(buffer))
        self.stop = block.stop


class Staging:
    """Stores the bytes of one file, large runs as one stream. For one task at a time."""

    def __init__(self, contents: Contents, limits: Limits) -> None:
        self.lost: StratumError | None = None
        self._contents = contents
        self._limits = limits
        self._stream: _Stream | None = None
        self._stored: list[Span] = []

    @property
    def streaming(self) -> tuple[int, int]:
        """The range whose bytes are in an unfinished stream; empty if there is none."""
        return (0, 0) if self._stream is None else (self._stream.start, self._stream.stop)

    async def store(self, blocks: Sequence[Block], *, final: bool) -> list[Span]:
        """Store blocks; return the spans that are known and durable: all of them if `final`.

        Raises TooFewDisks, StoreFull; then the caller must keep the blocks and may try again.
        """
        spans: list[Span] = []
        scattered: list[Block] = []
        for block in blocks:
            if self._stream is not None and self._stream.stop == block.start:
                await self._write(self._stream, block)
            elif len(block) >= self._limits.pack_bytes:
                spans += await self.finish()
                self._stream = _Stream(self._contents.writer(), block.start)
                await self._write(self._stream, block)
            else:
                scattered.append(block)
        if self._stream is not None and (final or self._stream.stop - self._stream.start >= STREAM_BYTES_MAX):
            spans += await self.finish()
        if scattered:
            spans += deal(await self._store_joined(scattered, shared=final), scattered)
        if self._stream is not None:
            self._stream.released = self._stream.stop
        return spans

    async def finish(self) -> list[Span]:
        """Return where the bytes of the stream are, durable. Raises TooFewDisks, StoreFull."""
        stream = self._stream
        if stream is None:
            return []
        try:
            spans = shift(await stream.writer.finish(), stream.start)
        except StratumError as error:
            self._broke(stream, error)
            raise
        self._stream = None
        self._stored += spans
        return spans

    async def abort(self) -> None:
        """Give up an unfinished stream."""
        stream, self._stream = self._stream, None
        if stream is not None:
            await stream.writer.abort()

    def unused(self, published: Sequence[Span]) -> list[Span]:
        """Take stock at a publication: return what was stored since the last one in volumes that it does not use."""
        used = {run.extent.volume for _, run in published if run.extent is not None}
        stored, self._stored = self._stored, []
        return [span for span in stored if span[1].extent is not None and span[1].extent.volume not in used]

    async def _write(self, stream: _Stream, block: Block) -> None:
        try:
            await stream.write(block)
        except BaseException as error:
            self._broke(stream, error if isinstance(error, StratumError) else Unavailable("writing was interrupted"))
            await stream.writer.abort()
            raise

    def _broke(self, stream: _Stream, error: StratumError) -> None:
        self._stream = None
        if stream.released > stream.start:
            self.lost = error

    async def _store_joined(self, blocks: Sequence[Block], *, shared: bool) -> list[Span]:
        """Store many small blocks as one: one group commit, one extent."""
        joined = b"".join(buffer for block in blocks for buffer in block.buffers)
        if shared or len(joined) <= self._limits.inline_bytes:
            spans = await self._contents.store(joined)
        else:
            writer = self._contents.writer()
            try:
                await writer.write(joined)
                spans = await writer.finish()
            except BaseException:
                await writer.abort()
                raise
        self._stored += spans
        return spans
