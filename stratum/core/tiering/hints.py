"""Hints: what users say of an object's future, in words.

Room: stratum/core. May import: core.tiering.prices.

A hint is words, apart by spaces or commas: of an object as metadata `stratum-hint`, as a tag of that name, or as the
attribute `user.stratum.hint` of a file.

    hot                      read ten times as often as its like, for a week          shifts the estimate
    cold                     read a tenth as often                                    shifts the estimate
    expire=2026-12-31        of no use from that day on (UTC): until then no move that would pay off
                             only later, from then on as `cold`
    schedule=mon-fri@08:00   read at that hour (UTC); without days: daily; several are joined by `+`
                             it is brought where that is cheapest before each hour, and kept there
    pin=warm  no-cold  max-latency=50      orders: this tier; not cold; only tiers with a first byte within so many ms

What cannot be understood is no hint: metadata of S3 are free text.
"""

import re
from datetime import date

import msgspec

from stratum.core.tiering.prices import TIERS

DAYS = ("thu", "fri", "sat", "sun", "mon", "tue", "wed")  # day 0 was a Thursday
_EPOCH = date(1970, 1, 1).toordinal()
_TIME = re.compile(r"(?:([a-z]{3})(?:-([a-z]{3}))?@)?([01]?\d|2[0-3])(?::[0-5]\d)?")
_MOST_HOURS = 168


class Hints(msgspec.Struct, frozen=True, kw_only=True):
    """What one object's hint says."""

    hot: bool = False
    cold: bool = False
    expires: int = 0  # the first day on which it is of no use; 0: not said
    schedule: frozenset[int] = frozenset()  # hours of the week (core.patterns.hour_of_week)
    pin: str = ""
    no_cold: bool = False
    max_latency_ms: float = 0.0  # 0: any
    words: tuple[str, ...] = ()  # what was understood
    wrong: tuple[str, ...] = ()  # what was not


NOTHING_HINTED = Hints()


def parsed(text: str) -> Hints:
    """The hints in a text."""
    found: dict[str, object] = {}
    words: list[str] = []
    wrong: list[str] = []
    for word in text.lower().replace(",", " ").split():
        meant = _meant(word)
        (words if meant else wrong).append(word)
        found.update(meant)
    return msgspec.convert({**found, "words": words, "wrong": wrong}, Hints) if words or wrong else NOTHING_HINTED


def _meant(word: str) -> dict[str, object]:
    name, _, value = word.partition("=")
    if word in ("hot", "cold"):
        return {word: True}
    if word == "no-cold":
        return {"no_cold": True}
    if name == "pin" and value in TIERS:
        return {"pin": value}
    if name == "max-latency" and re.fullmatch(r"\d{1,6}(\.\d{1,3})?(ms)?", value):
        return {"max_latency_ms": float(value.removesuffix("ms"))} if float(value.removesuffix("ms")) else {}
    if name == "expire" and re.fullmatch(r"\d{4}-\d\d-\d\d", value):
        day = _day(value)
        return {"expires": day} if day > 0 else {}
    hours = _hours(value) if name == "schedule" else frozenset()
    return {"schedule": hours} if hours else {}


def _day(text: str) -> int:
    try:
        return date.fromisoformat(text).toordinal() - _EPOCH
    except ValueError:
        return 0


def _hours(text: str) -> frozenset[int]:
    """Hours of the week; none: it is not understood."""
    found: set[int] = set()
    for part in text.split("+"):
        told = _TIME.fullmatch(part)
        first, last = (told[1] or "thu", told[2] or told[1] or "wed") if told else ("", "")
        if told is None or first not in DAYS or last not in DAYS:
            return frozenset()
        at = DAYS.index(first)
        for day in range(at, at + (DAYS.index(last) - at) % 7 + 1):
            found.add(day % 7 * 24 + int(told[3]))
    return frozenset(found)


assert max(_hours("mon-sun@23")) < _MOST_HOURS
