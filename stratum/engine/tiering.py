"""Deciding: which tier each volume belongs in, when to say so, and why.

Room: stratum/engine. May import: core, store, engine.{heat, surroundings, tiers, tiering_*}.

The rule is core.tiering.rule, the same as of `stratum replay`. Every evening (of a UTC day) what the day brought is
folded into the evidence of volumes and of groups, volumes that are due are looked at, and those that belong elsewhere
become wishes (engine.tiers.want) as fast as the budgets allow. A spike is looked at at once.

For doors and other services:

    await engine.tiering.explain_object(bucket, key, version, at_ns=None) -> dict    everything, ready for JSON
    await engine.tiering.sentence(bucket, key, version) -> str                       why it is where it is
    engine.tiering.reason_of(view) -> str                                            a short code, for a header
    engine.tiering.report() -> list[Week]                                            weeks, the newest first
    await engine.tiering.catch_up()                                                  do now all that is due by the clock

Hooks, for services that know more of a volume:

    engine.tiering.classify = f     f(view) -> str: the type that a volume's group is told apart by
    engine.tiering.advisers.append(f)   f(volume, situation) -> situation: a last word before the rule decides
    engine.tiering.tellers.append(f)    f(volume) -> str: what explain says of it
    engine.heat.watchers.append(f)      every read, as it happens

Wishes of users come from the inode: metadata `stratum-pin`, `stratum-hint`, the tags of these names, the attributes
user.stratum.pin and user.stratum.hint of a mounted file, which are the same metadata; and from the bucket.
"""

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from itertools import islice

import msgspec
import trio

from stratum.core.config import Settings
from stratum.core.errors import StratumError
from stratum.core.manifest import spans_in
from stratum.core.objects import ObjectView
from stratum.core.records import Volume
from stratum.core.schema import volume_key
from stratum.core.tiering.books import only
from stratum.core.tiering.capacity import pressed, shadow
from stratum.core.tiering.days import continued
from stratum.core.tiering.prices import TIERS
from stratum.core.tiering.rule import REASONS
from stratum.core.tiering.settings import OFF
from stratum.core.tiering.tables import Week, touches_prefix
from stratum.core.tiers import COLD, SHOWN, STORED, WARM
from stratum.core.txn import Txn, load, successor
from stratum.engine.heat import Heat
from stratum.engine.surroundings import Surroundings
from stratum.engine.tiering_evening import Evening
from stratum.engine.tiering_explain import Explaining
from stratum.engine.tiering_export import Exporting
from stratum.engine.tiering_look import Adviser, Terms
from stratum.engine.tiering_moves import Moves
from stratum.engine.tiering_numbers import Census, FirstBytes
from stratum.engine.tiering_queue import Queue
from stratum.engine.tiering_report import Reporting
from stratum.engine.tiering_rewrites import Rewrites
from stratum.engine.tiering_rows import Rows
from stratum.engine.tiering_spikes import Spikes
from stratum.engine.tiering_subjects import Classify, Subjects, type_of
from stratum.engine.tiers import Tiers
from stratum.store.disks import Disks

log = logging.getLogger(__name__)

SLICE = 500
INTERESTING = 64  # runs of an object that a look, or an overwrite, is counted for
REPORT_DAILY = 100_000  # volumes up to which the last seven days are judged every day; else every seven


class Tiering:
    """The deciding service of one store."""

    def __init__(self, surroundings: Surroundings, tiers: Tiers, disks: Disks, heat: Heat, settings: Settings) -> None:
        self._around, self._tiers, self._disks, self.heat = surroundings, tiers, disks, heat
        self.settings = settings.tiering
        self.rows = rows = Rows(surroundings.meta)
        there = frozenset(tiers.tiers())
        self.there: Sequence[bool] = [tier in there for tier in TIERS]
        self.book = only(self.settings.prices, there)
        self.active = tiers.several and self.settings.mode != OFF
        self.subjects = Subjects(settings, self.there, lambda time: heat.days.at(time)[0])
        self.queue = Queue(tiers, self.settings)
        self.classify: Classify = type_of
        self.advisers: list[Adviser] = []
        self.tellers: list[Callable[[int], str]] = []
        self.closing: list[Callable[[], Awaitable[None]]] = []  # what else is written at shutdown
        self.moves = Moves(surroundings, rows, heat, self)
        self.spikes = Spikes(surroundings, rows, heat, self)
        self.explaining = Explaining(surroundings, rows, heat, self)
        self.reporting = Reporting(surroundings, rows, self)
        self.first_bytes, self.census = FirstBytes(), Census()
        self.last_week: Week | None = None
        self.cold_reads = 0  # since the start, as of the last evening
        self.longest_stretch = 0.0  # seconds that the event loop stood still at most, in the last evening
        self.looked = self.tracked = 0  # volumes, in the last evening
        self._reconsidering = False
        self._sooner = trio.Event()
        self._working = trio.Lock()
        if self.active:
            heat.on_spike = self.hurry
            tiers.mover.on_moved = self.moves.note
            surroundings.overwritten = self._note_overwritten
            surroundings.consequences.add(Rewrites(self._note_overwritten, self.note_wishes))

    # --- start, service, stop -------------------------------------------------------------------------------

    def start(self) -> None:
        """Read what is remembered; from now on signals count. Raises CorruptRecord."""
        if not self.active:
            return
        self.rows.load()
        state, now = self.rows.state, self._around.now_ns()
        days = continued(state.days if state.closed else None, state.closed, self.settings.day_seconds, now)
        closed = state.closed or days.at(now)[0] - 1
        self.rows.state = msgspec.structs.replace(state, days=days, closed=closed)
        self.heat.days = days
        self.last_week = next(iter(self.rows.weeks()), None)
        self.heat.on = True

    @property
    def services(self) -> list[Callable[[], Awaitable[None]]]:
        """What runs for as long as the engine does."""
        return [self.run] if self.active else []

    async def run(self) -> None:
        """Do what is due, again and again, until cancelled."""
        while True:
            self._sooner = trio.Event()
            try:
                await self.catch_up()
            except StratumError as error:
                log.warning("deciding about tiers is put off: %s", error)
            with trio.move_on_after(self.settings.check_interval):
                await self._sooner.wait()

    def hurry(self) -> None:
        """There is something to look at at once."""
        self._sooner.set()

    async def catch_up(self) -> None:
        """Do all that is due by the clock. Raises StratumError: then it is to be done again."""
        async with self._working:
            await self._small_things()
            today = self.today
            while self.rows.state.closed < today - 1:
                day = self.rows.state.closed + 1
                if day < today - 1 and not self._has_touches(day):
                    self.rows.state = msgspec.structs.replace(self.rows.state, closed=day)
                    continue
                await self._evening(day)
            await self._small_things()

    async def close(self) -> None:
        """Write what waits in memory."""
        if self.active:
            await self.heat.flush()
            await self.moves.take()
            for keep in self.closing:
                await keep()
            await self._around.meta.write(self.rows.keep_state)

    async def _small_things(self) -> None:
        """What does not wait for an evening."""
        if self.heat.is_due():
            await self.heat.flush()
        await self.moves.take()
        await self.spikes.look()
        await self.queue.issue(self.hour)

    # --- an evening -----------------------------------------------------------------------------------------

    @property
    def today(self) -> int:
        """The day it is."""
        return self.heat.days.at(self._around.now_ns())[0]

    @property
    def hour(self) -> float:
        """The time in hours of such days, from any origin."""
        return self.heat.days.hours(self._around.now_ns())

    def words_of(self, volume: int) -> Sequence[str]:
        """What patterns say of a volume, for people."""
        return [word for tell in self.tellers if (word := tell(volume))]

    def terms(self) -> Terms:
        """By what is decided now."""
        return Terms(self.book, self.settings.policy, self.shadow(), tuple(self.advisers))

    def shadow(self) -> tuple[float, float, float]:
        """What room costs above the rent, per tier."""
        pressure, taken = self.rows.state.pressure, self.taken()
        found = [shadow(pressure[at], taken[at], self.book.rent[at]) if self.there[at] else 0.0 for at in range(3)]
        return found[0], found[1], found[2]

    def taken(self) -> tuple[float, float, float]:
        """How much of each tier's room is taken, 0 to 1; -1: nobody knows."""
        return self._taken(""), self._taken(WARM), -1.0

    def _taken(self, tier: str) -> float:
        states = [self._disks.state(slot) for slot in self._disks.in_service(tier)]
        return max((1.0 - state.free / state.total for state in states if state.total), default=-1.0)

    async def _evening(self, day: int) -> None:
        self.queue.clear()
        rows = self.rows
        evening = Evening(
            self._around.meta, rows, self.subjects, self.terms(), day, self._around.now_ns, self.classify,
            self._small_things_between, everything=self._reconsidering,
        )  # fmt: skip
        reconsidered, self._reconsidering = self._reconsidering, False
        try:
            await evening.run()
        except BaseException:
            self._reconsidering = reconsidered
            raise
        self.queue.add(evening.candidates)
        for volume, tier in evening.cancelled:
            await self._tiers.want([volume], tier, "CANCELLED")
        self._sum_up(day, evening)
        await self._around.meta.write(rows.keep_state)
        await self._forget_touches(day)
        if 0 < evening.tracked <= REPORT_DAILY or day % 7 == 0:
            self.last_week = await self.reporting.judge(day)

    async def _small_things_between(self) -> None:
        """An evening may take long: meanwhile moves arrive and spikes come."""
        if self.heat.spikes or self.moves.waiting:
            await self.moves.take()
            await self.spikes.look()

    def _sum_up(self, day: int, evening: Evening) -> None:
        state, old = self.rows.state, self.rows.state.totals
        kept = 0.5 ** (1 / 7)
        totals = msgspec.structs.replace(
            old,
            realised=old.realised + evening.realised,
            sweeps=old.sweeps + evening.sweeps,
            expected_reads=old.expected_reads * kept + evening.expected,
            seen_reads=old.seen_reads * kept + evening.seen,
        )
        pressure = [pressed(was, taken, 1.0) for was, taken in zip(state.pressure, self.taken(), strict=True)]
        for word, judged in evening.hinted.hints.items():
            totals = totals.with_hint(word, *judged)
        self.rows.state = msgspec.structs.replace(
            state, closed=day, totals=totals, pressure=(pressure[0], pressure[1], pressure[2])
        )
        self.cold_reads += evening.cold_reads
        self.census = evening.census
        self.longest_stretch, self.looked, self.tracked = evening.longest_stretch, evening.looked, evening.tracked

    # --- the ledger of touches ------------------------------------------------------------------------------

    def _has_touches(self, day: int) -> bool:
        begin = touches_prefix(day)
        return self._around.meta.read(lambda txn: next(iter(txn.scan(begin, successor(begin))), None)) is not None

    async def _forget_touches(self, day: int) -> None:
        """Of days that no report asks for; and thin out a day of which there is too much."""
        await self._drop(touches_prefix(0), touches_prefix(day - 8), 0)
        thinned = {at: n for at, n in self.rows.state.thinned.items() if at > day - 9}
        keep = await self.reporting.thinning(day)
        if keep:
            await self._drop(touches_prefix(day), successor(touches_prefix(day)), keep)
            thinned[day] = keep
        self.rows.state = msgspec.structs.replace(self.rows.state, thinned=thinned)

    async def _drop(self, after: bytes, stop: bytes, keep: int) -> None:
        """Remove rows; with `keep`, all but one in 2**keep."""
        while rows := self._around.meta.read(lambda txn: [key for key, _ in islice(txn.scan(after, stop), SLICE)]):  # noqa: B023
            gone = [
                key for key in rows if not keep or not self.reporting.in_sample(int.from_bytes(key[5:], "big"), keep)
            ]
            self._around.meta.apply(lambda txn: _delete(txn, gone))  # noqa: B023 - runs at once
            after = rows[-1] + b"\0"
            await trio.lowlevel.checkpoint()

    # --- for doors ------------------------------------------------------------------------------------------

    async def explain_object(
        self, bucket: str, key: bytes, version: str | None = None, *, at_ns: int | None = None
    ) -> dict[str, object]:
        """Where an object is, why, what else was possible, what would change it. `at_ns`: as of then.

        Raises NoSuchBucket, NoSuchKey, NoSuchVersion, MarkerFound, Unavailable. Ready for JSON.
        """
        return await self.explaining.explain_object(bucket, key, version, at_ns)

    async def sentence(self, bucket: str, key: bytes, version: str | None = None) -> str:
        """Why an object is where it is, in a sentence or two. Raises as `explain_object`."""
        return await self.explaining.sentence(bucket, key, version)

    async def why(self, view: ObjectView) -> str:
        """The same of an object at hand."""
        return self.explaining.why(view)

    def reason_of(self, view: ObjectView) -> str:
        """The code of the last decision about the beginning of an object; empty: nobody decided about it yet."""
        return self.explaining.reason_of(view) if self.active else ""

    def note_interest(self, view: ObjectView) -> None:
        """Somebody looked at an object: interest in its volumes, the first of them if it has many."""
        for _, _, volume in self.explaining.parts(view, runs=INTERESTING):
            self.heat.interest(volume)

    def _note_overwritten(self, txn: Txn, content: int) -> None:
        """Inside a change: what rests in these volumes took the place of something."""
        if self.heat.on:
            for _, run in islice(spans_in(txn, content, 0, 2**62), INTERESTING):
                if run.extent is not None:
                    self.heat.overwritten(run.extent.volume)

    def note_wishes(self, txn: Txn, content: int) -> None:
        """Inside a change: users of a content may wish something else now, so its volumes do not wait for their day."""
        if self.heat.on and content:
            for _, run in islice(spans_in(txn, content, 0, 2**62), INTERESTING):
                if run.extent is not None:
                    self.heat.wished(run.extent.volume)

    def reconsider(self) -> None:
        """What holds for many is other now (a bucket's wishes): this evening everything is looked at, due or not."""
        self._reconsidering = True

    async def export(self, after: int, days: int) -> dict[str, object]:
        """A page of what is known of reads, as plain values (engine.tiering_export)."""
        return await Exporting(self._around, self.rows, self).page(after, days, self.classify)

    def report(self) -> Sequence[Week]:
        """The weeks on record, the newest first: each ends with another day."""
        return self.rows.weeks() if self.active else []

    def status(self) -> dict[str, object]:
        """How deciding stands, as plain values."""
        totals = self.rows.state.totals
        return {
            "mode": self.settings.mode if self.active else OFF,
            "prices": self.book.name,
            "day": self.today,
            "closed": self.rows.state.closed,
            "tracked": self.tracked,
            "looked_last_evening": self.looked,
            "groups": len(self.rows.groups),
            "queued": len(self.queue),
            "short_of": self.queue.short_of,
            "budgets_left": self.queue.budgets.left(self.hour),
            "shadow_price": dict(zip(TIERS, self.shadow(), strict=True)),
            "signals_waiting": self.heat.pending,
            "signals_lost": self.heat.lost,
            "predicted_saving": totals.predicted,
            "realised_saving": totals.realised,
            "flip_flops": totals.flip_flops,
            "sweeps": totals.sweeps,
            "hints": totals.judged(),
        }

    # --- numbers --------------------------------------------------------------------------------------------

    @property
    def moved(self) -> Counter[tuple[str, str, str]]:
        """Moves since the start, by (from, to, reason)."""
        return self.moves.counts

    def record_of(self, volume: int) -> Volume | None:
        """A volume."""
        return self._around.meta.read(lambda txn: load(txn, volume_key(volume), Volume))


def _delete(txn: Txn, keys: Sequence[bytes]) -> None:
    for key in keys:
        txn.delete(key)


assert set(SHOWN.values()) == set(TIERS) and STORED["cold"] == COLD and len(REASONS) < 32
