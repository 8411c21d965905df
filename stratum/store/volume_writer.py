"""A stream on its way into volumes of its own.

Room: stratum/store. May import: core.*, store.{open_volume, volume_reader}.

Invariants
    W1  `finish` returns extents that are durable on a quorum of shards; until then nothing is promised.
    W2  Memory: one window being filled, one being written. A full volume is fsynced while the next one is filled; there
        is never more than one such seal behind.
    W3  If a volume breaks, what it holds is read back (verified) and written again into another one, with the code that
        the disks in service allow.
"""

from collections.abc import Awaitable, Callable, Collection
from typing import Protocol

import trio

from stratum.core.config import Limits
from stratum.core.errors import ReadOnly, StoreFull, TooFewDisks, TooFewShards
from stratum.core.layout import merge, stripe
from stratum.core.records import Extent
from stratum.store.open_volume import OpenVolume, VolumeBroken

ATTEMPTS = 8  # volumes tried for the same bytes: each failure takes a disk away, so this is more than enough


class Home(Protocol):
    """What a writer needs of `Volumes`."""

    def begin(self, avoid: Collection[int]) -> OpenVolume:
        """Make a volume that avoids some slots. Raises TooFewDisks, StoreFull."""
        ...

    def abandon(self, volume: OpenVolume) -> None:
        """Nobody will ever refer to the volume."""
        ...

    def behind(self, job: Callable[[], Awaitable[object]]) -> bool:
        """Run an async job in the service nursery; False if there is none."""
        ...

    async def read(self, extent: Extent, start: int, stop: int) -> bytes:
        """Return verified bytes. Raises TooFewShards."""
        ...


class _Part:
    """One volume of the stream and the stream's extents in it, in order."""

    def __init__(self, volume: OpenVolume) -> None:
        self.volume = volume
        self.extents: list[Extent] = []
        self.error: VolumeBroken | None = None
        self.sealed = trio.Event()

    async def append(self, data: bytes | memoryview, cell_bytes: int) -> None:
        """Write bytes. Raises VolumeBroken."""
        runs = stripe(data, self.volume.k, cell_bytes)
        at = await self.volume.append(runs)
        for run in runs:
            self.extents.append(Extent(self.volume.number, at, run.width, 0, len(run.parts[0])))
            at += run.shard_bytes()

    async def seal(self) -> None:
        """Make the volume durable; the outcome is in `error`."""
        self.error = VolumeBroken("the seal did not end", frozenset())
        try:
            await self.volume.sync()
            self.error = None
        except VolumeBroken as error:
            self.error = error
        finally:
            self.volume.seal()
            self.sealed.set()


class VolumeWriter:
    """Takes a stream of unknown length."""

    def __init__(
        self, home: Home, limits: Limits, k: int, avoid: Collection[int] = (), attempts: int = ATTEMPTS
    ) -> None:
        """`k`: data shards to expect before the first volume is begun; `avoid`: slots without room."""
        self._home = home
        self._limits = limits
        self._k = k
        self._avoid = set(avoid)
        self._attempts = attempts
        self._held: list[bytes | memoryview] = []
        self._held_bytes = 0
        self._parts: list[_Part] = []
        self._filling: _Part | None = None  # the last of the parts, or none
        self._behind: _Part | None = None  # being sealed
        self._ended = False

    async def write(self, data: bytes) -> None:
        """Take the next bytes. Raises TooFewDisks, StoreFull."""
        self._check()
        self._held.append(data if isinstance(data, bytes) else bytes(data))
        self._held_bytes += len(data)
        while self._held_bytes >= (window := self._window()):
            await self._flush(self._take(window))

    async def finish(self) -> list[Extent]:
        """Return the extents of everything written, in order (W1). Raises TooFewDisks, StoreFull."""
        parts = await self._finish_parts()
        extents = [extent for part in parts for extent in part.extents]
        return merge(extents, {part.volume.number: part.volume.k for part in parts})

    async def abort(self) -> None:
        """Give up; does nothing after `finish` has returned."""
        if not self._ended:
            self._ended = True
            self._held.clear()
            for part in self._parts:
                self._home.abandon(part.volume)
        await trio.lowlevel.checkpoint()

    def _check(self) -> None:
        if self._ended:
            raise ReadOnly("the stream has ended")

    def _window(self) -> int:
        stripe_bytes = self._k * self._limits.cell_bytes
        return max(1, self._limits.put_window_bytes // stripe_bytes) * stripe_bytes

    def _take(self, size: int) -> bytes | memoryview:
        """Return the next `size` bytes that are held, without a copy if they came as one."""
        taken: list[bytes | memoryview] = []
        self._held_bytes -= size
        while size:
            piece = self._held[0]
            if len(piece) <= size:
                taken.append(self._held.pop(0))
                size -= len(piece)
            else:
                view = memoryview(piece)
                taken.append(view[:size])
                self._held[0] = view[size:]
                size = 0
        return taken[0] if len(taken) == 1 else b"".join(taken)

    async def _flush(self, data: bytes | memoryview) -> None:
        for _ in range(self._attempts):
            part = self._filling or self._begin()
            try:
                await part.append(data, self._limits.cell_bytes)
            except VolumeBroken as error:
                self._filling = None
                await self._replace(part, error)
                continue
            if part.volume.bytes_in + self._window() > self._limits.volume_bytes:
                self._filling = None
                await self._seal(part)
            return
        raise self._refusal("no volume could take the bytes")

    def _begin(self) -> _Part:
        part = self._filling = _Part(self._home.begin(self._avoid))
        self._parts.append(part)
        self._k = part.volume.k
        return part

    async def _seal(self, part: _Part) -> None:
        """Seal a volume, if possible while the next one is filled (W2)."""
        await self._wait_behind()
        self._behind = part
        if not self._home.behind(part.seal):
            await part.seal()

    async def _wait_behind(self) -> None:
        part, self._behind = self._behind, None
        if part is not None:
            await part.sealed.wait()
            if part.error is not None:
                await self._replace(part, part.error)

    async def _replace(self, part: _Part, error: VolumeBroken) -> None:
        """Write again what rests in a broken volume (W3)."""
        self._avoid |= error.full
        if self._attempts <= 1:
            raise self._refusal(str(error)) from error
        copy = VolumeWriter(self._home, self._limits, self._k, self._avoid, self._attempts - 1)
        try:
            for extent in part.extents:
                await self._copy(extent, copy)
            parts = await copy._finish_parts()
        except BaseException:
            await copy.abort()
            raise
        at = self._parts.index(part)
        self._parts[at : at + 1] = parts
        self._home.abandon(part.volume)

    async def _copy(self, extent: Extent, copy: "VolumeWriter") -> None:
        step = self._limits.put_window_bytes
        try:
            for start in range(0, extent.length, step):
                await copy.write(await self._home.read(extent, start, min(start + step, extent.length)))
        except TooFewShards as error:
            raise self._refusal(f"disks failed under a stream: {error}") from error

    def _refusal(self, message: str) -> StoreFull | TooFewDisks:
        """Why the bytes cannot be taken: if any disk was full, that."""
        return StoreFull(message) if self._avoid else TooFewDisks(message)

    async def _finish_parts(self) -> list[_Part]:
        self._check()
        if self._held_bytes:
            await self._flush(self._take(self._held_bytes))
        part, self._filling = self._filling, None
        if part is not None:
            await self._seal(part)
        await self._wait_behind()
        self._ended = True
        return self._parts
