"""Reading volumes that others hold: only what is touched, every cell verified, and a bounded cache in memory.

Room: stratum/store. May import: core.*, store.{backends, cell_cache, together}.

Invariants
    H1  A byte leaves only from a cell that passed its check at its place, wherever it came from (law 5); a cell of the
        cache is checked again at each use.
    H2  Cells that follow each other in a column are asked for in one request; columns are asked at the same time.
        Nobody asks for a cell that somebody else is asking for already.
    H3  Memory: the cache is bounded, and reading ahead never fetches more than the cache can keep.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from stratum.core.config import Limits
from stratum.core.errors import Unavailable
from stratum.core.frames import FRAME_HEADER_BYTES, is_good, shard_seed
from stratum.core.layout import position, touched
from stratum.core.records import Extent, Held, Volume
from stratum.core.tiers import COLD
from stratum.store.backends import Backend, BackendDown, HeldMissing, HeldWrong
from stratum.store.cell_cache import CellCache, Place
from stratum.store.together import together

log = logging.getLogger(__name__)

TRIES = 2  # of a cell that failed its check: what is on the wire may be wrong once


class HeldReader:
    """Reads extents of held volumes."""

    def __init__(self, backends: Mapping[str, Backend], limits: Limits, store_id: bytes) -> None:
        self._backends = backends
        self._store_id = store_id
        self._limit = limits.cold_cache_bytes
        self._cache = CellCache(limits.cold_cache_bytes)
        self._ahead = 0  # bytes being fetched ahead
        self.on_wrong: Callable[[int, str], None] = lambda volume, reason: None
        self.fetched = 0  # bytes asked of backends since the start
        self.served = 0  # bytes given to readers
        self.waited = 0  # reads that had to wait for a backend

    async def read(self, extent: Extent, volume: Volume, start: int, stop: int) -> bytes:
        """Return bytes [start, stop) of the extent. Raises BackendDown, HeldMissing, HeldWrong."""
        cells = touched(extent, start, stop)
        places = self._places(extent, volume, cells.first, cells.last)
        self.waited += not self._cache.has(places)
        found = await self._cells(extent, volume, places)
        self.served += stop - start
        end = cells.start + stop - start
        if len(found) == 1:
            return bytes(found[0][cells.start : end])
        found[0] = found[0][cells.start :]
        found[-1] = found[-1][: end - (cells.last - cells.first) * extent.width]
        return b"".join(found)

    @property
    def far(self) -> bool:
        """Is there a backend for which reading ahead is worth it?"""
        return any(each.tier == COLD for each in self._backends.values())

    def room_ahead(self, size: int) -> bool:
        """May so many bytes more be fetched ahead now (H3)?"""
        return self._ahead + size <= self._limit // 2

    async def fetch_ahead(self, extent: Extent, volume: Volume, start: int, stop: int) -> None:
        """Have the cells of a range in the cache. What fails is met again, and told, by whoever reads there."""
        cells = touched(extent, start, stop)
        size = (cells.last - cells.first + 1) * extent.width
        self._ahead += size
        try:
            await self._fill(extent, volume, self._places(extent, volume, cells.first, cells.last))
        except Unavailable as error:
            log.debug("reading ahead in volume %016x: %s", extent.volume, error)
        finally:
            self._ahead -= size

    def forget(self, number: int) -> None:
        """The volume is gone, or elsewhere: nothing of it is kept."""
        self._cache.forget(number)

    def _places(self, extent: Extent, volume: Volume, first: int, last: int) -> list[Place]:
        k = volume.k
        return [Place(extent.volume, cell % k, position(extent, cell // k)) for cell in range(first, last + 1)]

    async def _cells(self, extent: Extent, volume: Volume, places: Sequence[Place]) -> list[memoryview]:
        good: dict[Place, memoryview] = {}
        for _ in range(TRIES):
            frames = await self._fill(extent, volume, [place for place in places if place not in good])
            for place, frame in frames.items():
                if is_good(shard_seed(self._store_id, place.volume, place.shard), place.position, extent.width, frame):
                    good[place] = memoryview(frame)[FRAME_HEADER_BYTES:]
                else:
                    self._cache.drop(place)
            if len(good) == len(places):
                return [good[place] for place in places]
        bad = next(place for place in places if place not in good)
        reason = f"shard {bad.shard}, byte {bad.position} fails its check"
        self.on_wrong(extent.volume, reason)
        raise HeldWrong(f"volume {extent.volume:016x}: {reason}")

    async def _fill(self, extent: Extent, volume: Volume, places: Sequence[Place]) -> dict[Place, bytes]:
        """The frames at these places, from the cache where it has them."""
        frames: dict[Place, bytes] = {}
        while True:
            missing, waited = self._cache.claim(places, frames)
            if missing:
                try:
                    await self._fetch_all(extent, volume, _runs(missing, FRAME_HEADER_BYTES + extent.width), frames)
                finally:
                    self._cache.release(missing)
            if not waited:
                return frames
            for event in waited:
                await event.wait()

    async def _fetch_all(
        self, extent: Extent, volume: Volume, runs: Sequence[Sequence[Place]], frames: dict[Place, bytes]
    ) -> None:
        try:
            await together([partial(self._fetch, extent.width, volume, run, frames) for run in runs])
        except HeldMissing as error:
            self.on_wrong(extent.volume, str(error))
            raise

    async def _fetch(self, width: int, volume: Volume, run: Sequence[Place], frames: dict[Place, bytes]) -> None:
        held = volume.held
        assert held is not None, "only held volumes are read here"
        size = FRAME_HEADER_BYTES + width
        start = run[0].shard * volume.shard_bytes + run[0].position
        raw = memoryview(await self.backend_of(held).get(held, start, start + size * len(run)))
        self.fetched += len(raw)
        for number, place in enumerate(run):
            frames[place] = bytes(raw[number * size : (number + 1) * size])
            self._cache.keep(place, frames[place])

    def backend_of(self, held: Held) -> Backend:
        """Who holds it. Raises BackendDown if the settings do not name it any more."""
        found = self._backends.get(held.backend)
        if found is None:
            raise BackendDown(f"no backend named {held.backend!r} is configured")
        return found


def _runs(places: Sequence[Place], step: int) -> list[list[Place]]:
    """Places that follow each other in a column, together."""
    runs: list[list[Place]] = []
    for place in sorted(places):
        last = runs[-1][-1] if runs else None
        if last is not None and (last.shard, last.position + step) == (place.shard, place.position):
            runs[-1].append(place)
        else:
            runs.append([place])
    return runs
