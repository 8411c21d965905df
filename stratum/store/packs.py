"""Packs: small pieces share volumes, and concurrent callers share one group commit.

Room: stratum/store. May import: core.{config, errors, layout, placement, records}, store.open_volume.

Invariants
    K1  `append` returns when its pieces are durable on a quorum of shards.
    K2  There is one pack at a time; it is sealed when it is full, when it lost a shard, to be repaired, and at
        close. After a restart no pack is ever appended to again.
    K3  A commit belongs to all its callers: cancelling one of them does not stop it.
"""

from collections import deque
from collections.abc import Callable, Collection, Sequence

import trio

from stratum.core.config import Limits
from stratum.core.errors import InvalidArgument, ReadOnly, StoreFull, StratumError, TooFewDisks
from stratum.core.placement import pack
from stratum.core.records import Extent
from stratum.store.open_volume import OpenVolume, VolumeBroken

BATCH_WINDOWS = 8  # put windows that one commit may take: its size in memory, and how long others wait behind it
ATTEMPTS = 8  # volumes tried for one commit: each failure takes a disk away, so this is more than enough


class _Request:
    """Pieces of one caller, waiting for a commit."""

    __slots__ = ("error", "extents", "pieces", "size", "wake")

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self.pieces = pieces
        self.size = sum(map(len, pieces))
        self.extents: list[list[Extent]] | None = None
        self.error: StratumError | None = None
        self.wake = trio.Event()

    @property
    def done(self) -> bool:
        return self.extents is not None or self.error is not None


class Packs:
    """The pack that is open now, and who waits for its next commit."""

    def __init__(
        self,
        limits: Limits,
        begin: Callable[[Collection[int]], OpenVolume],
        abandon: Callable[[OpenVolume], None],
    ) -> None:
        """`begin`: makes a volume that avoids some slots; raises TooFewDisks, StoreFull."""
        self._limits = limits
        self._begin = begin
        self._abandon = abandon
        self._pack: OpenVolume | None = None
        self._waiting: deque[_Request] = deque()
        self._committing = False
        self._committed = trio.Event()  # when the commit under way ends
        self._closed = False

    async def append(self, pieces: Sequence[bytes]) -> list[list[Extent]]:
        """Return the extents of each piece (K1). Raises InvalidArgument, TooFewDisks, StoreFull, ReadOnly."""
        if not all(0 < len(piece) <= self._limits.pack_bytes for piece in pieces):
            raise InvalidArgument(f"a piece has 1 to {self._limits.pack_bytes} bytes")
        if not pieces:
            return []
        request = _Request(pieces)
        self._waiting.append(request)
        try:
            while not request.done:
                if self._committing:
                    await request.wake.wait()
                    request.wake = trio.Event()
                else:
                    await self._lead()
        finally:
            if request in self._waiting:  # cancelled before a commit took it
                self._waiting.remove(request)
            self._wake_next()
        if request.error is not None:
            raise request.error
        assert request.extents is not None, "a request ends with extents or an error"
        return request.extents

    def finish(self, number: int) -> None:
        """Seal the pack if it is this volume and no commit is under way: only then can a lost shard be rebuilt."""
        if self._pack is not None and self._pack.number == number and not self._committing:
            self._retire()

    async def close(self) -> None:
        """Seal the pack once the commit under way has ended; nothing is appended after this."""
        self._closed = True
        while self._committing:
            await self._committed.wait()
        self._retire()

    async def _lead(self) -> None:
        """Commit for everyone who waits."""
        self._committing = True
        self._committed = trio.Event()
        with trio.CancelScope(shield=True):
            try:
                await trio.lowlevel.checkpoint()  # callers of this turn of the loop join
                batch = self._take_batch()
                await self._commit_for(batch)
            finally:
                self._committing = False
                self._committed.set()

    def _take_batch(self) -> list[_Request]:
        room = BATCH_WINDOWS * self._limits.put_window_bytes
        batch = [self._waiting.popleft()]
        room -= batch[0].size
        while self._waiting and self._waiting[0].size <= room:
            room -= self._waiting[0].size
            batch.append(self._waiting.popleft())
        return batch

    async def _commit_for(self, batch: Sequence[_Request]) -> None:
        try:
            extents = await self._commit([piece for request in batch for piece in request.pieces])
        except StratumError as error:
            for request in batch:
                request.error = error
        else:
            rest = iter(extents)
            for request in batch:
                request.extents = [next(rest) for _ in request.pieces]
        finally:
            for request in batch:
                if not request.done:
                    request.error = ReadOnly("the commit of a pack ended unexpectedly")
                request.wake.set()

    async def _commit(self, pieces: Sequence[bytes]) -> list[list[Extent]]:
        full: set[int] = set()
        for _ in range(ATTEMPTS):
            volume = self._open(full)
            packed = pack(pieces, volume.k, self._limits.cell_bytes)
            try:
                at = await volume.append(packed.stripes)
                await volume.sync()
            except VolumeBroken as error:
                full |= error.full
                self._retire()
                continue
            if volume.lost or volume.bytes_in >= self._limits.volume_bytes:
                self._retire()
            return packed.extents(volume.number, at)
        message = "no volume could take the bytes durably"
        raise StoreFull(message) if full else TooFewDisks(message)

    def _open(self, full: Collection[int]) -> OpenVolume:
        if self._closed:
            raise ReadOnly("the store is closing")
        if self._pack is None:
            self._pack = self._begin(full)
        return self._pack

    def _retire(self) -> None:
        """Seal the pack; the next commit begins another (K2)."""
        volume, self._pack = self._pack, None
        if volume is not None:
            volume.seal()
            if not volume.used:
                self._abandon(volume)

    def _wake_next(self) -> None:
        if self._waiting and not self._committing:
            self._waiting[0].wake.set()
