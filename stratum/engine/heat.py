"""Heat: what clients do with volumes, counted as both doors see it.

Room: stratum/engine. May import: core, store.meta.

What counts (docs/tiering.md, section 1). A *visit* is what one client does with one volume within 15 minutes: ranges
of a GET, reads of an opened file, again and again, are one. Bytes are counted exactly, for cost. Looking (HEAD, 304,
an open that the page cache answers) is *interest*. Listing, tags, scrub, verify, moves, copies inside the store,
console and explain call nothing here. Reads said to be for a backup count as bytes of a *sweep*.

    heat.read(volume, who, sent)                     one signal; `who`: a number for a client (heat.who)
    heat.read_spans(spans, start, stop, who)         the volumes below some bytes of a content
    heat.interest(volume), heat.overwritten(volume)
    heat.watchers.append(watcher)                    also wants to know of reads: time of day, patterns
    heat.today(volume) -> Touch                      what this day has brought so far

Invariants
    H1  A signal touches a dict in memory and nothing else: no await, no index, no commit. It costs some microseconds.
    H2  What was counted reaches the index at most every FLUSH_MINUTES, in slices, and at shutdown. A crash loses the
        minutes since: heat is an estimate.
    H3  Memory is bounded: PENDING volumes wait for the index, VISITS visits are remembered. Beyond, the index is
        written sooner, and a visit may count twice.
    H4  Only touched volumes cost anything: a row for each day, which the evening folds into 54 bytes of evidence.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Protocol

import trio

from stratum.core.errors import CorruptRecord, StratumError
from stratum.core.manifest import Span, first_at
from stratum.core.tiering.blocks import INTEREST, WISHED, WRITTEN, Touch, touch_of
from stratum.core.tiering.days import DAY_MINUTES, UTC_DAYS, Days
from stratum.core.tiering.spikes import HALF_LIFE_MINUTES
from stratum.core.tiering.tables import touch_key
from stratum.core.txn import Txn, load, save
from stratum.store.meta import Meta

log = logging.getLogger(__name__)

FLUSH_MINUTES = 10
VISIT_MINUTES = 15
PENDING = 100_000  # volumes touched since the last flush; about 25 MB
VISITS = 200_000  # remembered for 15 to 30 minutes; about 20 MB in each of two generations
SLICE = 100  # rows of one change: about 2 ms
SPIKE_VISITS = 2  # more visits than these in a day may be a spike


class Watcher(Protocol):
    """Somebody else who wants to know of reads. Called on the event loop: must be quick."""

    def __call__(self, volume: int, who: int, start: int, stop: int, *, visit: bool) -> None:
        """`who` read the bytes [start, stop) (of the content) that rest in `volume`; none: it opened them."""


class Heat:
    """The signals of one store."""

    def __init__(self, meta: Meta, now_ns: Callable[[], int]) -> None:
        self._meta = meta
        self._now_ns = now_ns
        self.on = False  # set by who decides; while nobody does, doors need not call
        self.days: Days = UTC_DAYS
        self.watchers: list[Watcher] = []
        self.spikes: set[int] = set()  # volumes that may have one: whoever decides takes them out
        self.on_spike: Callable[[], None] = lambda: None
        self.lost = 0  # touches that could not be kept
        self._day, self._minute = 0, 0
        self._known_until = 0  # ns: until then _day and _minute are right
        self._pending: dict[int, Touch] = {}
        self._closed: list[tuple[int, dict[int, Touch]]] = []  # of days that are over
        self._visits: dict[int, int] = {}
        self._earlier: dict[int, int] = {}
        self._generation = 0  # minute, counted from 1970, when _visits was begun
        self._flushed = 0  # the same, of the last flush
        self._flushing = trio.Lock()

    # --- signals --------------------------------------------------------------------------------------------

    @staticmethod
    def who(*client: object) -> int:
        """A number for a client: its access key and address; or, at the mount, its process."""
        return hash(client)

    def read(self, volume: int, who: int, sent: int, *, sweep: bool = False) -> bool:
        """A client got `sent` bytes that rest in the volume. True: it was the first of a visit."""
        touch = self._touch(volume)
        if sweep:
            touch.swept += sent
            return False
        touch.sent += sent
        now = self._day * DAY_MINUTES + self._minute
        key = hash((who, volume))
        since = self._visits.get(key)
        if since is None:
            since = self._earlier.get(key)
        if since is not None and now - since < VISIT_MINUTES:
            return False
        self._visits[key] = now
        if len(self._visits) > VISITS or now - self._generation >= VISIT_MINUTES:
            self._earlier, self._visits, self._generation = self._visits, {}, now
        touch.visits += 1
        touch.recent = touch.recent * 0.5 ** ((self._minute - touch.minute) / HALF_LIFE_MINUTES) + 1.0
        touch.minute = self._minute
        if touch.visits > touch.asked:
            touch.asked *= 2
            self.spikes.add(volume)
            self.on_spike()
        return True

    def read_spans(self, spans: Sequence[Span], start: int, stop: int, who: int, *, sweep: bool = False) -> None:
        """A client got the bytes [start, stop) of a content whose runs are `spans`. Inline ones are in no volume."""
        for offset, run in islice(spans, first_at(spans, start), None):
            low, high = max(offset, start), min(offset + run.length, stop)
            if low >= high:
                return
            if run.extent is not None:
                visit = self.read(run.extent.volume, who, high - low, sweep=sweep)
                for watch in self.watchers:
                    watch(run.extent.volume, who, low, high, visit=visit)

    @property
    def latest_hour(self) -> tuple[int, int]:
        """Day, and hour of it, of the latest signal."""
        return self._day, self._minute // 60

    def interest(self, volume: int) -> None:
        """Somebody looked."""
        self._touch(volume).flags |= INTEREST

    def overwritten(self, volume: int) -> None:
        """What is written into the volume took the place of something: it may be replaced again soon."""
        self._touch(volume).flags |= WRITTEN

    def wished(self, volume: int) -> None:
        """Users of the volume say something else of it now: it is to be looked at this evening."""
        self._touch(volume).flags |= WISHED

    def opened(self, volume: int, who: int) -> None:
        """A process opened a file that begins in the volume: a visit, whatever the page cache answers; and interest."""
        if self.read(volume, who, 0):  # the reads that follow are of this visit: nobody would hear of it
            for watch in self.watchers:
                watch(volume, who, 0, 0, visit=True)
        self.interest(volume)

    def _touch(self, volume: int) -> Touch:
        now = self._now_ns()
        if now >= self._known_until:
            self._look_at_the_clock(now)
        touch = self._pending.get(volume)
        if touch is None:
            touch = self._pending[volume] = Touch(minute=self._minute)
        return touch

    def _look_at_the_clock(self, now: int) -> None:
        day, minute = self.days.at(now)
        if day > self._day:
            if self._pending:
                self._closed.append((self._day, self._pending))
                self._pending = {}
            self._day = day
        self._minute = max(minute, self._minute) if day < self._day else minute
        self._known_until = now + int(self.days.day_seconds * 1e9) // DAY_MINUTES // 2

    # --- to the index ---------------------------------------------------------------------------------------

    @property
    def pending(self) -> int:
        """Touches that wait for the index."""
        return len(self._pending) + sum(len(each) for _, each in self._closed)

    def is_due(self) -> bool:
        """Is it time for a flush?"""
        self._look_at_the_clock(self._now_ns())
        waited = self._day * DAY_MINUTES + self._minute - self._flushed
        return bool(self._closed) or self.pending > PENDING or (waited >= FLUSH_MINUTES and bool(self._pending))

    async def flush(self) -> None:
        """Write what waits, in slices, durable on return. What cannot be written is lost, and counted."""
        async with self._flushing:
            self._look_at_the_clock(self._now_ns())
            self._flushed = self._day * DAY_MINUTES + self._minute
            waiting, self._closed = [*self._closed, (self._day, self._pending)], []
            self._pending = {}
            ticket = 0
            for day, touches in waiting:
                rows = iter(touches.items())
                while some := list(islice(rows, SLICE)):
                    try:
                        await self._meta.room()
                        _, ticket = self._meta.apply(lambda txn: _merge(txn, day, some))  # noqa: B023 - runs at once
                    except StratumError as error:
                        self.lost += len(some)
                        log.warning("%d signals of use are lost: %s", len(some), error)
                    await trio.lowlevel.checkpoint()
            if ticket:
                await self._meta.durable(ticket)

    def today(self, volume: int) -> Touch:
        """What this day has brought for the volume so far. A copy."""
        self._look_at_the_clock(self._now_ns())
        found = self._meta.read(lambda txn: stored_touch(txn, self._day, volume)) or Touch()
        waiting = self._pending.get(volume)
        if waiting is not None:
            found.add(waiting)
        found.recent *= 0.5 ** ((self._minute - found.minute) / HALF_LIFE_MINUTES)
        found.minute = self._minute
        return found

    def touched(self) -> Iterable[int]:
        """Volumes touched this day that the index does not know of yet."""
        return list(self._pending)


def stored_touch(txn: Txn, day: int, volume: int) -> Touch | None:
    """What a day brought, as far as the index knows; None: nothing. Raises CorruptRecord."""
    raw = load(txn, touch_key(day, volume), bytes)
    return None if raw is None else read_touch(raw)


def read_touch(raw: bytes) -> Touch:
    """A stored touch. Raises CorruptRecord."""
    try:
        return touch_of(raw)
    except ValueError as error:
        raise CorruptRecord(str(error)) from error


def _merge(txn: Txn, day: int, touches: Sequence[tuple[int, Touch]]) -> None:
    for volume, touch in touches:
        before = stored_touch(txn, day, volume)
        if before is not None:
            before.add(touch)
        save(txn, touch_key(day, volume), (before or touch).stored())
