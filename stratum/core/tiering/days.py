"""Days as the rule counts them, and how long one takes.

Room: stratum/core. May import: nothing of ours.

A day is a UTC day and takes 86,400 seconds. With a shorter one, for tests and staging, weeks pass in minutes: days are
then counted on from an origin that the index remembers.
"""

import msgspec

DAY_SECONDS = 86_400
DAY_MINUTES = 1440


class Days(msgspec.Struct, frozen=True, array_like=True):
    """A calendar: at `origin_ns` (since the epoch) the day `origin_day` began."""

    day_seconds: float = float(DAY_SECONDS)
    origin_ns: int = 0
    origin_day: int = 0

    def at(self, now_ns: int) -> tuple[int, int]:
        """Day, and minute of it (0 to 1439)."""
        day_ns = int(self.day_seconds * 1e9)
        day, rest = divmod(now_ns - self.origin_ns, day_ns)
        return self.origin_day + day, rest * DAY_MINUTES // day_ns

    def begins(self, day: int) -> int:
        """When a day begins: ns since the epoch."""
        return self.origin_ns + (day - self.origin_day) * int(self.day_seconds * 1e9)

    def hours(self, span_ns: int) -> float:
        """A stretch of time in hours of such days."""
        return span_ns / 1e9 / self.day_seconds * 24


UTC_DAYS = Days()


def continued(before: Days | None, last_day: int, day_seconds: float, now_ns: int) -> Days:
    """The calendar for a start with this length of the day, if the one before was `before` and `last_day` is over."""
    if before is not None and before.day_seconds == day_seconds:
        return before
    today, _ = UTC_DAYS.at(now_ns)
    if day_seconds == DAY_SECONDS and today > last_day:
        return UTC_DAYS
    if before is None:
        return (
            Days(day_seconds, UTC_DAYS.begins(today), today)
            if day_seconds == DAY_SECONDS
            else Days(day_seconds, now_ns, today)
        )
    return Days(day_seconds, now_ns, last_day + 1)
