"""What watches reads and writes for decisions, put together: streams, scattered reads, hours, classes, packed volumes.

Room: stratum/engine. May import: core, engine.{classes, file_ahead, files, heat, packing, pattern_hours, patterns,
surroundings, tiering}.
"""

import logging
from collections.abc import Awaitable, Callable

import trio

from stratum.core.errors import StratumError
from stratum.engine.classes import Classes
from stratum.engine.file_ahead import FileAhead
from stratum.engine.files import Files
from stratum.engine.heat import Heat
from stratum.engine.packing import Packing
from stratum.engine.pattern_hours import PatternHours
from stratum.engine.patterns import Patterns, inheriting
from stratum.engine.surroundings import Surroundings
from stratum.engine.tiering import Tiering
from stratum.store.volumes import Volumes

log = logging.getLogger(__name__)
LOOK_S = 60.0  # between two looks at the clock, or a quarter of an hour of a shorter day


class PatternWatch:
    """The patterns of one store."""

    def __init__(
        self,
        surroundings: Surroundings,
        volumes: Volumes,
        files: Files,
        heat: Heat,
        tiering: Tiering,
        packing: Packing,
    ) -> None:
        limits = packing.limits
        self._active = tiering.active
        self._day_seconds = tiering.settings.day_seconds
        self.reads = Patterns(surroundings, volumes, limits, lambda: tiering.today, lambda tier: tiering.there[tier])
        self.hours = PatternHours(surroundings, tiering.rows, heat, tiering)
        self.classes = Classes(surroundings)
        if not self._active:
            return
        files.ahead = FileAhead(surroundings.meta, volumes, limits.cold_ahead_bytes)
        files.xattrs.on_wish = tiering.note_wishes
        self.hours.start()
        surroundings.consequences.add(self.classes)
        tiering.classify = self.classes.type_of
        heat.watchers += [self.reads.seen, self.hours.watch]
        tiering.advisers += [inheriting(packing.inherited, tiering.settings.policy.half_life_days), self.reads.advise]
        tiering.advisers.append(self.hours.advise)
        tiering.tellers += [self.reads.tell, self.hours.tell]
        self.reads.start()
        tiering.closing += [self.hours.close, self.reads.keep]

    @property
    def services(self) -> list[Callable[[], Awaitable[None]]]:
        """What runs for as long as the engine does."""
        return [self.run, *self.classes.services] if self._active else []

    async def run(self) -> None:
        """Look at the clock, until cancelled."""
        while True:
            await trio.sleep(min(LOOK_S, self._day_seconds / 24 / 4))
            try:
                await self.hours.turn()
                await self.reads.turn()
            except StratumError as error:
                log.warning("patterns of hours are put off: %s", error)
