"""Hours that come back: what is read every day, or every week, at the same hour is hot before it is asked for.

Room: stratum/engine. May import: core, store.meta, engine.{heat, pattern_pages, surroundings, tiering_desk,
tiering_queue, tiering_rows}.

A profile of 168 hours per group (prefix and type; never per volume), and which volumes were read at which hour. Before
a peak of a group its regular volumes that are warm are promoted, if what their readers would wait in a week, as often
as they came so far, repays the move and the week's rent; and held there through the troughs of that week. From cold
nothing is promoted by the clock: T* is weeks there, and the evening's rule knows.

Hours that users told (hint `schedule=`, core.tiering.hints) are known without waiting for a habit: before each, a
volume goes where a week of such reads is cheapest, from cold as well, and stays there as long as they repay it.

Invariants
    Y1  Bounded: PROFILES groups, REGULARS (volume, hour) pairs, SCHEDULED volumes, AT_ONCE volumes before one hour; the
        budgets of all moves hold for these, too.
    Y2  Users' constraints and modes hold: a pin, `observe`, `off`.
    Y3  All is kept over a restart (engine.pattern_pages); a crash loses the day.
"""

from collections import Counter, OrderedDict
from itertools import islice
from typing import NamedTuple

import msgspec

from stratum.core.patterns import HOURS, REGULAR_DAYS, SEEN_DAYS, Profile, hour_of_week, profile_of
from stratum.core.records import Volume
from stratum.core.schema import HOUR_PROFILE, hour_profile_key, volume_key
from stratum.core.tiering.arithmetic import ONE
from stratum.core.tiering.costs import access, break_even, holding, moving
from stratum.core.tiering.prices import HOT, TIERS, WARM
from stratum.core.tiering.settings import AUTO
from stratum.core.tiering.situation import Situation
from stratum.core.txn import load, save, scan_records
from stratum.engine.heat import Heat
from stratum.engine.pattern_pages import PatternPages
from stratum.engine.surroundings import Surroundings
from stratum.engine.tiering_desk import Desk
from stratum.engine.tiering_queue import Candidate
from stratum.engine.tiering_rows import Rows

PROFILES = 5_000  # groups; about 4 KB each
REGULARS = 200_000
AT_ONCE = 2_000
RECENT_DAYS = 8  # a habit that was not seen for longer is over
LONGEST_DAYS = 7.0  # of T*: where leaving pays only after longer, the evening's rule decides alone
SCHEDULED = 100_000
PEAK, SCHEDULE = "PEAK", "SCHEDULE"  # why a volume moves
MASK_BYTES = HOURS // 8


class Regular(NamedTuple):
    """On how many days something was read at an hour; the first and the last of them."""

    days: int
    first: int
    last: int

    def rate(self, today: int) -> float:
        """Per day."""
        return self.days / max(1, today - self.first)


class PatternHours:
    """Learns hours and promotes before peaks. `watch` is a heat.Watcher; `turn` is called now and then."""

    def __init__(self, surroundings: Surroundings, rows: Rows, heat: Heat, desk: Desk) -> None:
        self._around, self._rows, self._heat, self._desk = surroundings, rows, heat, desk
        self._profiles: dict[int, Profile] = {}
        self._changed: set[int] = set()
        self._visits: dict[tuple[int, int], Counter[int]] = {}  # by day and hour, not learnt from yet; by volume
        self._now: tuple[int, int] | None = None  # day, hour of the day
        self._regulars: OrderedDict[tuple[int, int], Regular] = OrderedDict()  # volume, hour
        self._held: OrderedDict[int, tuple[int, int]] = OrderedDict()  # volume -> day of its promotion, tier
        self._by_hour: dict[int, set[int]] = {}
        self._scheduled: dict[int, frozenset[int]] = {}  # volume -> hours of the week
        self._by_week_hour: dict[int, set[int]] = {}
        self._pages = (
            PatternPages(surroundings.meta, 1, "BHHH"),
            PatternPages(surroundings.meta, 2, "HB"),
            PatternPages(surroundings.meta, 3, f"{MASK_BYTES}s"),
        )
        self.promoted = 0  # volumes queued before a peak, since the start

    def start(self) -> None:
        """Read the profiles. Raises CorruptRecord."""
        stored = self._around.meta.read(lambda txn: list(scan_records(txn, HOUR_PROFILE, bytes)))
        self._profiles = {int.from_bytes(rest, "big"): profile_of(raw) for rest, raw in stored}
        regulars, held, scheduled = self._pages
        for volume, hour, *regular in sorted(regulars.load(), key=lambda entry: entry[-1]):
            self._regulars[volume, hour] = Regular(*regular)
            self._by_hour.setdefault(hour, set()).add(volume)
        self._held.update((volume, (day, tier)) for volume, day, tier in sorted(held.load(), key=lambda each: each[1]))
        for volume, mask in scheduled.load():
            self._schedule(volume, _hours_of(mask))
        self._desk.subjects.on_schedule = self.note_schedule

    def watch(self, volume: int, who: int, start: int, stop: int, *, visit: bool) -> None:
        """See heat.Watcher."""
        if visit:
            self._visits.setdefault(self._heat.latest_hour, Counter())[volume] += 1

    async def turn(self) -> None:
        """If another hour has begun: learn what the last one brought, promote for the one that comes next."""
        day, minute = self._heat.days.at(self._around.now_ns())
        hour = minute // 60
        if self._now is None:
            self._now = day, hour
        if self._now == (day, hour):
            return
        (then, at), self._now = self._now, (day, hour)
        self._judge_schedules(hour_of_week(then, at * 60), self._visits.get((then, at), Counter()))
        for begun in [each for each in self._visits if each < (day, hour)]:
            self._learn(*begun)
        if day != then:
            await self.keep()
        self._promote(*_following(day, hour))

    async def keep(self) -> None:
        """Let all that was learnt outlive a restart."""
        for group in list(self._changed):
            self._around.meta.apply(lambda txn: save(txn, hour_profile_key(group), self._profiles[group].stored()))  # noqa: B023
            self._changed.discard(group)
            await self._around.meta.room()
        regulars, held, scheduled = self._pages
        await regulars.keep((volume, hour, *each) for (volume, hour), each in self._regulars.items())
        await held.keep((volume, *each) for volume, each in self._held.items())
        await scheduled.keep((volume, _mask_of(each)) for volume, each in self._scheduled.items())

    async def close(self) -> None:
        """At shutdown: this hour's reads count for habits of volumes, and all is kept."""
        for (day, hour), visits in self._visits.items():
            for volume in visits:
                self._note_regular(volume, hour, day)
        await self.keep()

    # --- told hours -----------------------------------------------------------------------------------------

    def note_schedule(self, volume: int, hours: frozenset[int]) -> None:
        """What users of a volume say now of the hours when they will read it."""
        if hours == self._scheduled.get(volume, frozenset()):
            return
        if len(self._scheduled) < SCHEDULED or volume in self._scheduled:
            self._schedule(volume, hours)
            self._pages[2].changed(volume)

    def _schedule(self, volume: int, hours: frozenset[int]) -> None:
        for hour in self._scheduled.pop(volume, frozenset()) - hours:
            self._by_week_hour[hour].discard(volume)
        if hours:
            self._scheduled[volume] = hours
        for hour in hours:
            self._by_week_hour.setdefault(hour, set()).add(volume)

    def _judge_schedules(self, of_week: int, visits: Counter[int]) -> None:
        """Were those that were to be read in the hour that is over?"""
        told = self._by_week_hour.get(of_week, ())
        if told:
            seen = sum(volume in visits for volume in told)
            totals = self._rows.state.totals.with_hint("schedule", len(told), float(len(told)), 0.0, float(seen))
            self._rows.state = msgspec.structs.replace(self._rows.state, totals=totals)

    # --- learning -------------------------------------------------------------------------------------------

    def _learn(self, day: int, hour: int) -> None:
        visits = self._visits.pop((day, hour))
        by_group: Counter[int] = Counter()
        for volume, count in visits.items():
            group = self._group(volume)
            if group:
                by_group[group] += count
                self._note_regular(volume, hour, day)
        of_week = hour_of_week(day, hour * 60)
        for group, count in by_group.items():
            profile = self._profiles.get(group)
            if profile is None and len(self._profiles) < PROFILES:
                profile = self._profiles[group] = Profile()
            if profile is not None:
                profile.note(of_week, float(count))
                self._changed.add(group)

    def _group(self, volume: int) -> int:
        block = self._rows.block(volume)
        return block.group(volume) if volume in block else 0

    def _note_regular(self, volume: int, hour: int, day: int) -> None:
        self._pages[0].changed(volume)
        old = self._regulars.pop((volume, hour), Regular(0, day, day))
        if day - old.last > RECENT_DAYS:
            old = Regular(0, day, day)
        self._regulars[volume, hour] = Regular(old.days + (not old.days or old.last != day), old.first, day)
        self._by_hour.setdefault(hour, set()).add(volume)
        if len(self._regulars) > REGULARS:
            (gone, at), _ = self._regulars.popitem(last=False)
            self._by_hour[at].discard(gone)
            self._pages[0].changed(gone)

    # --- promoting ------------------------------------------------------------------------------------------

    def _promote(self, day: int, hour: int) -> None:
        candidates: list[Candidate] = []
        peaks: dict[int, bool] = {}
        for volume in list(self._by_hour.get(hour, ())):
            regular = self._regulars[volume, hour]
            if regular.days < REGULAR_DAYS or day - regular.last > RECENT_DAYS or volume in self._desk.queue:
                continue
            group = self._group(volume)
            profile = self._profiles.get(group)
            if profile is None:
                continue
            if group not in peaks:
                peaks[group] = profile.is_peak(hour_of_week(day, hour * 60))
            if peaks[group] and (found := self._worth_it(volume, regular.rate(day))) is not None:
                candidates.append(found)
                if len(candidates) == AT_ONCE:
                    break
        told = list(islice(self._by_week_hour.get(hour_of_week(day, hour * 60), ()), AT_ONCE))
        queue = self._desk.queue
        candidates += [found for each in told if each not in queue and (found := self._as_told(each, day)) is not None]
        self.promoted += len(candidates)
        for each in candidates:
            self._hold(each.volume, day, TIERS.index(each.tier))
        self._desk.queue.add(candidates)
        if candidates:
            self._desk.hurry()

    def advise(self, volume: int, situation: Situation) -> Situation:
        """See tiering.advisers: what was promoted for its hours stays for the week that was reckoned with."""
        if not self._is_held(volume) or situation.hottest > self._held[volume][1]:
            return situation
        return msgspec.structs.replace(situation, coldest=min(situation.coldest, self._held[volume][1]))

    def tell(self, volume: int) -> str:
        """See tiering.tellers."""
        if not self._is_held(volume):
            return ""
        tier = TIERS[self._held[volume][1]]
        told = volume in self._scheduled
        return f"{'told to be read at certain hours' if told else 'read at the same hour again and again'}: kept {tier}"

    def _is_held(self, volume: int) -> bool:
        since, _ = self._held.get(volume, (None, 0))
        return since is not None and self._desk.today - since < LONGEST_DAYS

    def _hold(self, volume: int, day: int, tier: int) -> None:
        self._held[volume] = day, tier
        self._held.move_to_end(volume)
        self._pages[1].changed(volume)
        if len(self._held) > REGULARS:
            gone, _ = self._held.popitem(last=False)
            self._pages[1].changed(gone)

    def _worth_it(self, volume: int, rate: float) -> Candidate | None:
        """A warm volume whose readers, so many a day, save more in a week than the move and the rent cost."""
        record = self._around.meta.read(lambda txn: load(txn, volume_key(volume), Volume))
        if record is None:
            return None
        subject = self._around.meta.read(lambda txn: self._desk.subjects.of(txn, volume, record))
        if subject.tier != WARM or subject.mode != AUTO or subject.wishes.hottest != "hot":
            return None
        book, gb = self._desk.book, subject.gb
        if break_even(ONE, book, gb, HOT, WARM) > LONGEST_DAYS:
            return None
        reads, rents = access(book, 1.0, gb), holding(book, gb)
        cost = float(moving(ONE, book, gb, WARM, HOT, False))
        week = LONGEST_DAYS * (rate * (reads[WARM] - reads[HOT]) - (rents[HOT] - rents[WARM]))
        if week <= cost:
            return None
        return Candidate(volume, "hot", PEAK, "", gb, cost, float(week) / LONGEST_DAYS, urgent=True)

    def _as_told(self, volume: int, day: int) -> Candidate | None:
        """Where a week with the reads that users told is cheapest, if that is hotter; it is held where that pays."""
        record = self._around.meta.read(lambda txn: load(txn, volume_key(volume), Volume))
        if record is None:
            self.note_schedule(volume, frozenset())
            return None
        subject = self._around.meta.read(lambda txn: self._desk.subjects.of(txn, volume, record))
        rate = len(self._scheduled.get(volume, subject.wishes.schedule)) / 7  # a look may not see all who share it
        if subject.mode != AUTO or not rate:
            return None
        book, gb, here = self._desk.book, subject.gb, subject.tier
        reads, rents = access(book, 1.0, gb), holding(book, gb)
        week = [LONGEST_DAYS * (rent + rate * read) for rent, read in zip(rents, reads, strict=True)]
        moves = [float(moving(ONE, book, gb, here, tier, False)) if tier != here else 0.0 for tier in range(len(TIERS))]
        allowed = range(TIERS.index(subject.wishes.hottest), min(here, TIERS.index(subject.wishes.coldest)) + 1)
        best = min(
            (tier for tier in allowed if self._desk.there[tier]), key=lambda at: week[at] + moves[at], default=here
        )
        if best < len(TIERS) - 1 and week[best] < min(week[best + 1 :]):
            self._hold(volume, day, best)
        if best >= here:
            return None
        saving = (week[here] - week[best]) / LONGEST_DAYS
        return Candidate(volume, TIERS[best], SCHEDULE, "", gb, moves[best], saving, urgent=True)


def _mask_of(hours: frozenset[int]) -> bytes:
    return sum(1 << hour for hour in hours).to_bytes(MASK_BYTES, "little")


def _hours_of(mask: bytes) -> frozenset[int]:
    bits = int.from_bytes(mask, "little")
    return frozenset(hour for hour in range(HOURS) if bits >> hour & 1)


def _following(day: int, hour: int) -> tuple[int, int]:
    return (day, hour + 1) if hour < 23 else (day + 1, 0)


assert HOURS == 7 * 24 and SEEN_DAYS >= REGULAR_DAYS
