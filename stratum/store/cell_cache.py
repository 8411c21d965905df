"""Cells of held volumes kept in memory, least recently used out first, and who is fetching which.

Room: stratum/store. May import: nothing of ours. Nothing here is trusted: whoever takes a frame verifies it.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import trio


class Place(NamedTuple):
    """Where a frame is: volume, shard, position in the shard file."""

    volume: int
    shard: int
    position: int


class CellCache:
    """A bounded number of bytes of frames."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._frames: OrderedDict[Place, bytes] = OrderedDict()
        self._under_way: dict[Place, trio.Event] = {}
        self.size = 0

    def has(self, places: Sequence[Place]) -> bool:
        """Are all of them there?"""
        return all(place in self._frames for place in places)

    def claim(self, places: Sequence[Place], into: dict[Place, bytes]) -> tuple[list[Place], list[trio.Event]]:
        """Put what is there into `into`; return what the caller is to fetch (and then to `release`), and the events
        after which to claim again what others fetch. What is in `into` already is not looked for."""
        mine: list[Place] = []
        others: dict[trio.Event, None] = {}
        for place in places:
            if place in into:
                continue
            frame = self._frames.get(place)
            if frame is not None:
                self._frames.move_to_end(place)
                into[place] = frame
            elif place in self._under_way:
                others[self._under_way[place]] = None
            else:
                mine.append(place)
        if mine:
            event = trio.Event()
            self._under_way.update(dict.fromkeys(mine, event))
        return mine, list(others)

    def release(self, places: Iterable[Place]) -> None:
        """The caller fetches these no longer, whether it got them or not."""
        for place in places:
            event = self._under_way.pop(place, None)
            if event is not None:
                event.set()

    def keep(self, place: Place, frame: bytes) -> None:
        """Remember a frame."""
        self.drop(place)
        self._frames[place] = frame
        self.size += len(frame)
        while self.size > self._limit and self._frames:
            _, old = self._frames.popitem(last=False)
            self.size -= len(old)

    def drop(self, place: Place) -> None:
        """Forget a frame."""
        old = self._frames.pop(place, None)
        self.size -= len(old or b"")

    def forget(self, volume: int) -> None:
        """Forget all of a volume."""
        for place in [place for place in self._frames if place.volume == volume]:
            self.drop(place)
