"""Spikes: bursts of visits that do not wait for the evening.

Room: stratum/engine. May import: core, engine.{heat, surroundings, tiering_desk, tiering_look, tiering_rows}.
"""

from stratum.core.tiering.decide import decide
from stratum.core.tiering.groups import GroupDay, GroupEvidence, is_sweep
from stratum.core.tiering.policy import exposures
from stratum.core.tiering.prices import HOT, TIERS
from stratum.core.tiering.rule import CODE
from stratum.core.tiering.settings import AUTO, OFF
from stratum.core.tiering.spikes import spiking
from stratum.core.tiering.tables import history_key
from stratum.core.txn import Txn, save
from stratum.engine.heat import Heat
from stratum.engine.surroundings import Surroundings
from stratum.engine.tiering_desk import Desk
from stratum.engine.tiering_evening import named
from stratum.engine.tiering_look import brought_up, candidate_of, counted, situation_of, turn_of
from stratum.engine.tiering_rows import Rows, with_turn
from stratum.engine.tiering_stock import Breath

KNOWN = 200_000  # touched volumes whose groups are counted, to tell a sweep from a spike


class Spikes:
    """Looks at volumes that may have one."""

    def __init__(self, surroundings: Surroundings, rows: Rows, heat: Heat, desk: Desk) -> None:
        self._around, self._rows, self._heat, self._desk = surroundings, rows, heat, desk
        self._day = 0
        self._known: set[int] = set()
        self._touched: dict[int, int] = {}  # group -> members touched today
        self.found = 0

    async def look(self) -> None:
        """Look at all that came up since the last time."""
        if not self._heat.spikes:
            return
        breath = Breath()
        await self._count_touched(breath)
        while self._heat.spikes:
            self._look_at(self._heat.spikes.pop())
            await breath.take()

    async def _count_touched(self, breath: Breath) -> None:
        if self._day != self._desk.today or len(self._known) > KNOWN:
            self._day, self._known, self._touched = self._desk.today, set(), {}
        for volume in self._heat.touched():
            if volume not in self._known:
                self._known.add(volume)
                block = self._rows.block(volume)
                if volume in block:
                    group = block.group(volume)
                    self._touched[group] = self._touched.get(group, 0) + 1
                await breath.take()

    def _is_swept(self, number: int) -> bool:
        group = self._rows.groups.get(number)
        if group is None:
            return False
        day = GroupDay(group.gb, 0.0, group.members, self._touched.get(number, 0))
        return is_sweep(day, self._desk.settings.policy)

    def _look_at(self, volume: int) -> None:
        block, day = self._rows.block(volume), self._desk.today
        found, record = block.get(volume), self._desk.record_of(volume)
        if found is None or record is None or TIERS.index(record.tier or "hot") == HOT or volume in self._desk.queue:
            return
        subject = self._around.meta.read(lambda txn: self._desk.subjects.of(txn, volume, record))
        old, terms = found[0], self._desk.terms()
        if subject.mode == OFF or old.counted >= day:
            return
        evidence = brought_up(old, subject, day, terms)
        table = exposures(terms.policy.half_life_days)
        usual = evidence.visits / max(table[min(max(day - evidence.born, 1), len(table) - 1)], 1e-9)
        touch = self._heat.today(volume)
        swept = self._is_swept(evidence.group)
        if not spiking(visits=touch.recent, usual=usual, swept=swept, policy=terms.policy):
            return
        self.found += 1
        evidence, today = counted(evidence, subject, touch, day, terms, swept=False)
        group = self._rows.groups.get(evidence.group)
        facts = group.evidence if group is not None else GroupEvidence()
        decision = decide(situation_of(evidence, subject, facts, today, terms, spike=True), terms.book, terms.policy)
        if TIERS.index(decision.tier) >= subject.tier:
            return
        history = with_turn(self._rows.history(volume), turn_of(decision, subject, self._around.now_ns()))
        block.put(volume, old, CODE[decision.reason])

        def change(txn: Txn) -> None:
            save(txn, history_key(volume), named(txn, self._rows, history, terms))
            save(txn, block.key, block.stored())

        self._around.meta.apply(change)
        if subject.mode == AUTO:
            self._desk.queue.add([candidate_of(decision, subject)])
