"""Bytes in and out: from a stream to spans in volumes, and from spans back to verified bytes.

Room: stratum/engine. May import: core, store, engine.read_ahead.

Invariants
    C1  Spans returned by `store` or `finish` are durable on at least k + 1 shards (inline ones become so with the
        metadata commit that records them). They are invisible until a change records them (law 1).
    C2  What was staged and then not wanted is handed to the reaper by `discard`, never deleted here (law 2).
"""

from collections.abc import AsyncGenerator, Iterable, Sequence
from itertools import islice

from stratum.core.config import MIB, Limits
from stratum.core.manifest import Span, extents_of, first_at, is_used, write_spans
from stratum.core.records import Extent, Garbage, Run
from stratum.core.schema import garbage_key
from stratum.core.txn import Txn, save
from stratum.engine.read_ahead import ReadAhead
from stratum.store.meta import Meta
from stratum.store.volume_writer import VolumeWriter
from stratum.store.volumes import Volumes

STREAM_BYTES = MIB  # one piece of a streamed body


def spans_of(extents: Iterable[Extent]) -> list[Span]:
    """Lay extents one behind the other, from offset 0."""
    spans: list[Span] = []
    at = 0
    for extent in extents:
        spans.append((at, Run(extent)))
        at += extent.length
    return spans


class ContentWriter:
    """A stream of unknown length on its way into volumes of its own."""

    def __init__(self, writer: VolumeWriter) -> None:
        self._writer = writer

    async def write(self, data: bytes) -> None:
        """Take the next bytes; waits while the disks are slow. Raises TooFewDisks, StoreFull."""
        await self._writer.write(data)

    async def finish(self) -> list[Span]:
        """Return the spans, durable (C1). Raises TooFewDisks, StoreFull."""
        return spans_of(await self._writer.finish())

    async def abort(self) -> None:
        """Give up; nothing remains but files for the reaper."""
        await self._writer.abort()


class Contents:
    """Every byte of every object and file passes here."""

    def __init__(self, meta: Meta, volumes: Volumes, limits: Limits) -> None:
        self._meta = meta
        self._volumes = volumes
        self._limits = limits

    async def store(self, data: bytes) -> list[Span]:
        """Return spans from offset 0 that hold `data` (C1): inline, in a pack, or in volumes of its own.

        Raises TooFewDisks, StoreFull.
        """
        if not data:
            return []
        self._volumes.check_room()
        if len(data) <= self._limits.inline_bytes:
            return [(0, Run(None, bytes(data)))]
        if len(data) <= self._limits.pack_bytes:
            return spans_of((await self._volumes.append([data]))[0])
        writer = self.writer()
        try:
            await writer.write(data)
            return await writer.finish()
        except BaseException:
            await writer.abort()
            raise

    def writer(self) -> ContentWriter:
        """Begin a stream into volumes of its own."""
        return ContentWriter(self._volumes.writer())

    def record(self, txn: Txn, content: int, spans: Sequence[Span]) -> int:
        """Inside a change: make `spans` part of `content`, their volumes known; return how many bytes more it is."""
        more = write_spans(txn, content, spans)
        self._volumes.record(txn, extents_of(spans))
        return more

    async def discard(self, spans: Sequence[Span]) -> None:
        """Leave staged spans that no change recorded to the reaper (C2)."""
        extents = extents_of(spans)
        if not extents:
            return

        def change(txn: Txn) -> None:
            self._volumes.record(txn, extents)
            for volume in {extent.volume for extent in extents}:
                if not is_used(txn, volume):
                    save(txn, garbage_key(volume), Garbage(since=0, reason="staged, then abandoned"))

        await self._meta.write(change)

    async def read(self, spans: Iterable[Span], start: int, stop: int) -> bytes:
        """Return bytes [start, stop), zeros where no span is. Raises TooFewShards."""
        pieces: list[bytes] = []
        at = start
        for offset, run in spans:
            low, high = max(offset, start), min(offset + run.length, stop)
            if offset >= stop:
                break
            if low >= high:
                continue
            if low > at:
                pieces.append(bytes(low - at))
            pieces.append(await self._read_run(run, low - offset, high - offset))
            at = high
        if at < stop:
            pieces.append(bytes(stop - at))
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def _read_run(self, run: Run, start: int, stop: int) -> bytes:
        if run.extent is not None:
            return await self._volumes.read(run.extent, start, stop)
        return (run.inline or b"")[start:stop]

    async def stream(self, spans: Sequence[Span], start: int, stop: int) -> AsyncGenerator[bytes, None]:
        """Yield bytes [start, stop) in pieces of at most 1 MiB; their volumes cannot be reaped meanwhile."""
        with self._volumes.pinned({extent.volume for extent in extents_of(spans)}):
            ahead = self._read_ahead(spans, start, stop)
            while start < stop:
                end = min(stop, start - start % STREAM_BYTES + STREAM_BYTES)
                if ahead is not None and end < stop:
                    ahead.taken(end)
                first = first_at(spans, start)
                yield await self.read(islice(spans, first, None), start, end)
                start = end

    def _read_ahead(self, spans: Sequence[Span], start: int, stop: int) -> ReadAhead | None:
        """For those who read on, and only where there are tiers far away."""
        if stop - start <= STREAM_BYTES or not self._volumes.held.far:
            return None
        return ReadAhead(self._volumes, spans, start, stop, self._limits.cold_ahead_bytes)
