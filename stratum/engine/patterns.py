"""Patterns of reads: streams are read ahead of, across requests and into the next volumes; volumes that are read here
and there (footers of Parquet, directories of zip) belong on disks that seek well; streams do not need those.

Room: stratum/engine. May import: core, store, engine.{heat, tiering, surroundings}.

Invariants
    N1  A read costs a look into a dict. Reading ahead costs a look into the index, at most once for each AHEAD / 2.
    N2  Memory is bounded: READERS and VOLUMES, the longest unused out first. Patterns of volumes outlive a restart
        (engine.pattern_pages; a crash loses the day), readers do not: they show again.
    N3  A pattern never overrules a user: pins, classes and no-cold stand.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

import msgspec

from stratum.core.config import MIB, Limits
from stratum.core.manifest import spans_in, volume_users
from stratum.core.patterns import KEPT_DAYS, Pattern, Steps
from stratum.core.records import Packed, Run
from stratum.core.tiering.policy import exposures
from stratum.core.tiering.prices import HOT, WARM
from stratum.core.tiering.situation import Situation
from stratum.core.tiers import HOLDER
from stratum.core.txn import Txn
from stratum.engine.pattern_pages import PatternPages
from stratum.engine.surroundings import Surroundings
from stratum.store.volumes import Volumes

READERS = 20_000
FILES = 8  # that one client reads at a time, with a pattern of their own each
VOLUMES = 100_000
PIECE = 2 * MIB  # asked for as one

V = TypeVar("V")


class Recent(Generic[V]):
    """A bounded dict: the longest unused goes first."""

    def __init__(self, limit: int, make: Callable[[], V]) -> None:
        self._limit, self._make = limit, make
        self._kept: OrderedDict[int, V] = OrderedDict()

    def get(self, key: int) -> V | None:
        """What is kept, if anything."""
        return self._kept.get(key)

    def use(self, key: int) -> V:
        """What is kept, or a new one."""
        found = self._kept.get(key)
        if found is None:
            found = self._kept[key] = self._make()
            if len(self._kept) > self._limit:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(key)
        return found

    def __len__(self) -> int:
        return len(self._kept)

    def items(self) -> Iterable[tuple[int, V]]:
        """All that is kept."""
        return self._kept.items()


class Patterns:
    """Watches reads (engine.heat), and has a word in decisions (engine.tiering)."""

    def __init__(
        self,
        surroundings: Surroundings,
        volumes: Volumes,
        limits: Limits,
        today: Callable[[], int],
        there: Callable[[int], bool],
    ) -> None:
        """`today`: the day of the tiering clock; `there`: is there such a tier (core.tiering.prices)?"""
        self._around = surroundings
        self._volumes = volumes
        self._limits = limits
        self._today = today
        self._there = there
        self._readers: Recent[Steps] = Recent(READERS, Steps)
        self._lately: Recent[deque[Steps]] = Recent(READERS, lambda: deque(maxlen=FILES))
        self._patterns: Recent[Pattern] = Recent(VOLUMES, Pattern)
        self._pages = PatternPages(surroundings.meta, 4, "4H")
        self._kept = 0  # day
        self.ahead_bytes = 0  # asked for ahead of readers that come back with ranges, since the start

    def start(self) -> None:
        """Read what is kept."""
        for volume, day, seeks, scattered, streamed in sorted(self._pages.load(), key=lambda entry: max(entry[3:])):
            found = self._patterns.use(volume)
            found.day, found.seeks, found.scattered, found.streamed = day, seeks, scattered, streamed

    async def turn(self) -> None:
        """Keep patterns, once a day."""
        if self._kept != self._today():
            self._kept = self._today()
            await self.keep()

    async def keep(self) -> None:
        """Let patterns that say something outlive a restart."""
        today = self._today()
        await self._pages.keep(
            (volume, each.day, min(each.seeks, 0xFFFF), each.scattered, each.streamed)
            for volume, each in self._patterns.items()
            if today - max(each.day, each.scattered, each.streamed) <= KEPT_DAYS
        )

    def seen(self, volume: int, who: int, start: int, stop: int, *, visit: bool) -> None:
        """See heat.Watcher."""
        if start == stop:  # an open says nothing of the order of reads
            return
        reader = self._reader(volume, who, start)
        what = reader.take(start, stop)
        self._patterns.use(volume).note(self._today(), what, streams=reader.streams)
        if what:
            self._pages.changed(volume)
        if reader.streams and self._volumes.held.far and stop + self._limits.cold_ahead_bytes // 2 > reader.asked:
            self._read_ahead(volume, reader, stop)

    def _reader(self, volume: int, who: int, start: int) -> Steps:
        """Where this client is in this volume; if it comes from another, what it did there goes on."""
        reader = self._readers.use(hash((who, volume)))
        if reader.stop < 0:
            lately = self._lately.use(who)
            before = next((each for each in reversed(lately) if each.goes_on(start)), None)  # mostly the latest
            if before is not None:
                reader.stop, reader.streak, reader.asked = before.stop, before.streak, before.asked
            lately.append(reader)
        return reader

    def word(self, volume: int) -> str:
        """How a volume is read: `scattered`, `stream`, or nothing that could be said."""
        found = self._patterns.get(volume)
        return "" if found is None else found.word(self._today())

    def tell(self, volume: int) -> str:
        """See tiering.tellers."""
        return {"scattered": "read here and there: kept hot", "stream": "read front to back"}.get(self.word(volume), "")

    def advise(self, volume: int, situation: Situation) -> Situation:
        """See tiering.advisers: scattered reads want hot, streams are content with warm (N3)."""
        word = self.word(volume)
        if word == "scattered" and situation.hottest == HOT:
            return msgspec.structs.replace(situation, coldest=HOT)
        if word == "stream" and situation.tier > HOT and situation.coldest >= WARM and self._there(WARM):
            return msgspec.structs.replace(situation, hottest=max(situation.hottest, WARM))
        return situation

    def _read_ahead(self, volume: int, reader: Steps, stop: int) -> None:
        """Let what comes next be fetched, where it is far away."""
        until = stop + self._limits.cold_ahead_bytes
        start = max(stop, reader.asked)
        reader.asked = until
        for at in range(start, until, PIECE):
            for _, run in self._around.meta.read(lambda txn: _next(txn, volume, at, at + PIECE)):  # noqa: B023
                if run.extent is not None:
                    self._volumes.fetch_ahead(run.extent, 0, run.length)
                    self.ahead_bytes += run.length


def _next(txn: Txn, volume: int, start: int, stop: int) -> list[tuple[int, Run]]:
    """The runs in a range of the first content that rests in a volume."""
    content = next((each for each, _ in volume_users(txn, volume) if each < HOLDER), 0)
    return spans_in(txn, content, start, stop)


def inheriting(
    inherited: Callable[[int], Packed | None], half_life_days: float
) -> Callable[[int, Situation], Situation]:
    """See tiering.advisers: a volume of pieces that were brought together is as old, and as idle, as they are."""
    table = exposures(half_life_days)

    def advise(volume: int, situation: Situation) -> Situation:
        packed = inherited(volume)
        if packed is None:
            return situation
        days = int(packed.idle)
        age = situation.age + days
        idle = situation.idle + (days if situation.reads == 0.0 else 0)
        return msgspec.structs.replace(situation, age=age, idle=idle, exposure=table[min(age, len(table) - 1)])

    return advise
