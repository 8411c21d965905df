"""What the order and the hours of reads say: streams, scattered reads, and hours that come back.

Room: stratum/core. May import: core.config. Pure: engine/patterns.py and engine/pattern_hours.py watch and act.
"""

import struct
from dataclasses import dataclass, field

from stratum.core.config import MIB

GAP = 1 * MIB  # a reader that leaves out, or reads again, so much still reads on: kernels read in any order
SHORT = 1 * MIB  # a read of less than this that goes back is a seek
STREAM_STEPS = 2  # reads that follow each other before it counts as a stream
SEEKS = 4  # in a day: the volume is read here and there
KEPT_DAYS = 7  # for so long a pattern says something

HOURS = 168  # of a week
HALF_LIFE_WEEKS = 4.0
PEAK_FACTOR = 4.0  # times the mean of the group's hours
SEEN_DAYS = 3  # on so many days at the same hour before it counts as a habit of the group
REGULAR_DAYS = 2  # and of a volume

_HOUR = struct.Struct("<168f168B")


@dataclass(slots=True)
class Steps:
    """Where one reader is."""

    stop: int = -1
    streak: int = 0
    asked: int = 0  # read ahead up to here

    def take(self, start: int, stop: int) -> str:
        """The next read of this reader: `on` (it follows), `seek` (short, and elsewhere), or nothing to say.

        Only who goes back, or begins in the middle, seeks: what a page cache has left out looks like jumps forward.
        """
        follows, before = self.goes_on(start), self.stop
        self.stop = stop
        if follows:
            self.streak += 1
            return "on"
        self.streak = self.asked = 0
        back = before < 0 or start < before
        return "seek" if back and start > 0 and stop - start < SHORT else ""  # the beginning is where all begin

    def goes_on(self, start: int) -> bool:
        """Would a read from here follow the last one?"""
        return self.stop >= 0 and start > 0 and self.stop - GAP <= start <= self.stop + GAP

    @property
    def streams(self) -> bool:
        """Has it read on often enough to be expected to go on?"""
        return self.streak >= STREAM_STEPS


@dataclass(slots=True)
class Pattern:
    """How a volume was read of late."""

    day: int = 0  # of `seeks`
    seeks: int = 0
    scattered: int = 0  # the last day with SEEKS seeks or more; 0: never
    streamed: int = 0  # the last day with a stream

    def note(self, day: int, what: str, *, streams: bool) -> None:
        """Take in a read."""
        if day != self.day:
            self.day, self.seeks = day, 0
        self.seeks += what == "seek"
        if self.seeks >= SEEKS:
            self.scattered = day
        if streams:
            self.streamed = day

    def word(self, today: int) -> str:
        """`scattered`, `stream`, or nothing. Scattered reads count for more: they are the ones that wait."""
        if self.scattered and today - self.scattered < KEPT_DAYS:
            return "scattered"
        return "stream" if self.streamed and today - self.streamed < KEPT_DAYS else ""


def hour_of_week(day: int, minute: int) -> int:
    """0 to 167."""
    return day % 7 * 24 + minute // 60


@dataclass(slots=True)
class Profile:
    """Visits of a group by hour of the week, decayed; and on how many weeks each hour had any (at most 255)."""

    visits: list[float] = field(default_factory=lambda: [0.0] * HOURS)
    weeks: list[int] = field(default_factory=lambda: [0] * HOURS)

    def note(self, hour: int, visits: float) -> None:
        """An hour is over: what it brought, and the same hour of earlier weeks is worth a little less."""
        kept = 0.5 ** (1 / HALF_LIFE_WEEKS)
        self.visits[hour] = self.visits[hour] * kept + visits
        self.weeks[hour] = min(255, self.weeks[hour] + (visits > 0))

    def expected(self, hour: int) -> float:
        """Visits to expect in an hour: the mean of its weeks, or of its days if that hour returns daily."""
        days = [at for at in range(hour % 24, HOURS, 24) if self.weeks[at]]
        if not days:
            return 0.0
        seen = sum(self.weeks[at] for at in days)
        return sum(self.visits[at] for at in days) / seen if seen else 0.0

    def is_peak(self, hour: int) -> bool:
        """Does this hour come back, on its day of the week or daily, and bring far more than the others?"""
        daily = sum(self.weeks[at] for at in range(hour % 24, HOURS, 24))
        if max(self.weeks[hour], daily) < SEEN_DAYS:
            return False
        by_hour = [sum(self.visits[at] for at in range(each, HOURS, 24)) for each in range(24)]
        weekly = self.weeks[hour] >= SEEN_DAYS and self.visits[hour] * HOURS >= PEAK_FACTOR * sum(self.visits)
        often = sum(1 for at in range(hour % 24, HOURS, 24) if self.weeks[at])
        return weekly or (often >= SEEN_DAYS and by_hour[hour % 24] * 24 >= PEAK_FACTOR * sum(by_hour))

    def stored(self) -> bytes:
        """As the index has it."""
        return _HOUR.pack(*self.visits, *self.weeks)


def profile_of(raw: bytes) -> Profile:
    """A stored profile. Raises ValueError for what is none."""
    if len(raw) != _HOUR.size:
        raise ValueError("not a profile of hours")
    values = _HOUR.unpack(raw)
    return Profile(list(values[:HOURS]), list(values[HOURS:]))
