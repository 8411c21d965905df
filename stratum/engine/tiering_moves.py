"""Moves as they happen: into evidence, histories and counts, whoever wished them.

Room: stratum/engine. May import: core, engine.{heat, surroundings, tiering_desk, tiering_evening, tiering_look,
tiering_rows}.
"""

from collections import Counter, deque
from dataclasses import dataclass

import msgspec

from stratum.core.records import Volume
from stratum.core.tiering.arithmetic import ONE
from stratum.core.tiering.costs import break_even, moving
from stratum.core.tiering.evidence import at_night, settled
from stratum.core.tiering.prices import TIERS
from stratum.core.tiering.rule import REASONS
from stratum.core.tiering.tables import History, Turn, history_key
from stratum.core.tiers import SHOWN, stream_bytes
from stratum.core.txn import Txn, save
from stratum.engine.heat import Heat
from stratum.engine.surroundings import Surroundings
from stratum.engine.tiering_desk import Desk
from stratum.engine.tiering_rows import Rows, with_turn

WAITING = 100_000  # moves that were not taken into account yet; evidence of what is dropped is put right by a look


@dataclass(frozen=True, slots=True)
class Arrival:
    """A volume that is elsewhere now."""

    volume: int
    record: Volume
    source: str
    target: str
    reason: str
    time: int


class Moves:
    """Takes moves into account."""

    def __init__(self, surroundings: Surroundings, rows: Rows, heat: Heat, desk: Desk) -> None:
        self._around, self._rows, self._heat, self._desk = surroundings, rows, heat, desk
        self._arrived: deque[Arrival] = deque(maxlen=WAITING)
        self.counts: Counter[tuple[str, str, str]] = Counter()
        self.bytes = 0

    @property
    def waiting(self) -> int:
        """Moves that are still to be taken into account."""
        return len(self._arrived)

    def note(self, volume: int, before: Volume, after: Volume, reason: str) -> None:
        """A volume has moved. At once; the rest is done by `take`."""
        source, target = SHOWN[before.tier], SHOWN[after.tier]
        self.counts[source, target, reason or "OTHER"] += 1
        self.bytes += stream_bytes(after)
        self._desk.census.moved(source, target, stream_bytes(after))
        self._arrived.append(Arrival(volume, after, source, target, reason, self._around.now_ns()))
        self._desk.hurry()

    async def take(self) -> None:
        """Take into account what has moved since."""
        while self._arrived:
            self._take(self._arrived.popleft())
            await self._around.meta.room()

    def _take(self, each: Arrival) -> None:
        gb = stream_bytes(each.record) / 1e9
        book, policy = self._desk.book, self._desk.settings.policy
        source, target = TIERS.index(each.source), TIERS.index(each.target)
        history = self._rows.history(each.volume)
        turn = self._turn(history, each, moving(ONE, book, gb, source, target, False))
        previous = next((past for past in reversed(history.turns) if past.done and past.source != past.target), None)
        if previous is not None and previous.source == each.target:
            hotter, colder = sorted((source, target))
            days = self._heat.days.hours(each.time - previous.done) / 24
            if days < break_even(ONE, book, gb, hotter, colder):
                totals = self._rows.state.totals
                more = msgspec.structs.replace(totals, flip_flops=totals.flip_flops + 1)
                self._rows.state = msgspec.structs.replace(self._rows.state, totals=more)
        if turn.by == "rule":
            totals = self._rows.state.totals
            more = msgspec.structs.replace(totals, predicted=totals.predicted + turn.predicted)
            self._rows.state = msgspec.structs.replace(self._rows.state, totals=more)
        block = self._rows.block(each.volume)
        found = block.get(each.volume)
        if found is not None:
            evidence = settled(found[0], gb, max(found[0].counted, self._desk.today - 1), book, policy)
            if evidence.tier != target:
                evidence = at_night(evidence, gb, 0.0, book, target, turn.move_cost)
            code = REASONS.index(turn.reason) if turn.reason in REASONS else found[1]
            block.put(each.volume, evidence, code)

        def change(txn: Txn) -> None:
            save(txn, history_key(each.volume), with_turn(history, turn))
            if found is not None:
                save(txn, block.key, block.stored())

        self._around.meta.apply(change)

    def _turn(self, history: History, each: Arrival, cost: float) -> Turn:
        """The plan that was carried out; or, if somebody else wished the move, one that says so."""
        last = history.turns[-1] if history.turns else None
        planned = last is not None and not last.done and last.source != last.target and last.target == each.target
        if planned and each.reason in REASONS:
            assert last is not None
            return msgspec.structs.replace(last, done=each.time, realised=-last.move_cost, observed=False)
        by = "rule" if each.reason in REASONS else each.reason.lower() or "somebody"
        return Turn(
            time=each.time, source=each.source, target=each.target, reason=each.reason, by=by, move_cost=cost,
            done=each.time, realised=-cost,
        )  # fmt: skip
