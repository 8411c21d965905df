"""The evening of a day: stock, the day of every group, then a look at each volume that is due.

Room: stratum/engine. May import: core, store.meta, engine.{tiering_look, tiering_queue, tiering_rows,
tiering_stock, tiering_subjects, tiering_survey}.

Invariants
    E1  Groups are done before any volume is looked at: what is decided tonight rests on days that are over.
    E2  Every step is short and idempotent for its day, and the day counts as closed at the end: an evening that was cut
        off begins again. Evidence that has counted the day already is not counted twice.
"""

import logging
from collections.abc import Awaitable, Callable
from itertools import islice

import msgspec

from stratum.core.errors import CorruptRecord
from stratum.core.records import Volume, Wish, decode
from stratum.core.schema import id_of, volume_key, wish_key
from stratum.core.tiering.blocks import BLOCKS_BEGIN, NEVER_DUE, WISHED, Block, Touch
from stratum.core.tiering.groups import GroupDay, GroupEvidence, after, is_sweep
from stratum.core.tiering.tables import Group, History, Totals, history_key, touches_prefix
from stratum.core.tiers import stream_bytes
from stratum.core.txn import Txn, load, save, successor
from stratum.engine.heat import read_touch, stored_touch
from stratum.engine.tiering_look import EMPTY, Look, Terms, code_of, look
from stratum.engine.tiering_numbers import Census
from stratum.engine.tiering_queue import Candidate
from stratum.engine.tiering_rows import Rows
from stratum.engine.tiering_stock import SLICE, Breath, Stock
from stratum.engine.tiering_subjects import Classify, Subject, Subjects
from stratum.engine.tiering_survey import Surveys
from stratum.store.meta import Meta

log = logging.getLogger(__name__)

STAYS_NOTED = 100_000  # in a store of so many volumes at most, changes of why one stays are kept as well


class Evening:
    """One evening of one store."""

    def __init__(
        self,
        meta: Meta,
        rows: Rows,
        subjects: Subjects,
        terms: Terms,
        day: int,
        now_ns: Callable[[], int],
        classify: Classify,
        between: Callable[[], Awaitable[None]],
        *,
        everything: bool = False,
    ) -> None:
        """`between`: called now and then, when no row is held; `everything`: look at volumes that are not due, too."""
        self._everything = everything
        self._meta, self._rows, self._subjects, self._terms = meta, rows, subjects, terms
        self._day, self._now_ns, self._classify, self._between = day, now_ns, classify, between
        self._breath = Breath()
        self._stock = Stock(meta, rows, subjects, day, classify, self._breath)
        self._surveys = Surveys(meta, subjects, day, self._breath)
        self._swept: set[int] = set()
        self._touched: set[bytes] = set()  # keys of blocks
        self.looked = 0
        self.sweeps = self.cold_reads = 0
        self.candidates: list[Candidate] = []
        self.cancelled: list[tuple[int, str]] = []  # volume, where it is
        self.realised = self.expected = self.seen = 0.0
        self.hinted = Totals()

    @property
    def longest_stretch(self) -> float:
        """How long the event loop stood still at most, seconds."""
        return self._breath.longest

    @property
    def tracked(self) -> int:
        """How many volumes there are."""
        return self._stock.tracked

    @property
    def census(self) -> Census:
        """What there is in each tier."""
        return self._stock.census

    async def run(self) -> None:
        """All of it. Raises StratumError: then it is to be run again."""
        await self._stock.take()
        await self._stock.count_objects()
        await self._count_groups()
        await self._look_at_all()

    # --- groups ---------------------------------------------------------------------------------------------

    async def _count_groups(self) -> None:
        """What the day brought to each group; then its evidence."""
        days: dict[int, list[float]] = {}  # group -> GB read, touched, GB swept
        key, stop = touches_prefix(self._day), successor(touches_prefix(self._day))
        while rows := self._meta.read(lambda txn: list(islice(txn.scan(key, stop), SLICE))):  # noqa: B023
            for at, (row, raw) in enumerate(rows):
                self._count_touch(id_of(row, 5), read_touch(decode(row, raw, bytes)), days)
                if at % 20 == 19:
                    await self._breath.take()
            key = rows[-1][0] + b"\0"
            await self._breath.take()
        numbers = [number for number, group in self._rows.groups.items() if group.counted < self._day]
        for at in range(0, len(numbers), SLICE):
            some = numbers[at : at + SLICE]
            for number in some:
                self._rows.groups[number] = self._group_after(number, days.get(number, [0.0, 0.0, 0.0]))
            self._meta.apply(lambda txn: self._keep_groups(txn, some))  # noqa: B023 - runs at once
            await self._breath.take()

    def _count_touch(self, volume: int, touch: Touch, days: dict[int, list[float]]) -> None:
        record = self._meta.read(lambda txn: load(txn, volume_key(volume), Volume))
        block = self._rows.block(volume)
        if record is None or volume not in block:
            return
        self._touched.add(block.key)
        size = stream_bytes(record) / 1e9
        sums = days.setdefault(block.group(volume), [0.0, 0.0, 0.0])
        sums[0] += min(touch.sent / 1e9, size)
        sums[1] += touch.visits > 0
        sums[2] += min(touch.swept / 1e9, size)

    def _group_after(self, number: int, brought: list[float]) -> Group:
        """A group with the day; days between were without a read. What was said to be a sweep is one."""
        group, policy = self._rows.groups[number], self._terms.policy
        gb, members = self._stock.sums.get(number, [0.0, 0.0])
        evidence: GroupEvidence = group.evidence
        for _ in range(min(self._day - group.counted - 1, 400)):
            evidence = after(evidence, GroupDay(gb, 0.0, int(members), 0), policy)
        day = GroupDay(gb, brought[0], int(members), int(brought[1]))
        evidence = after(evidence, day, policy)
        if brought[2] and gb:
            evidence = msgspec.structs.replace(
                evidence, swept=evidence.swept + brought[2] / gb, sweeps=evidence.sweeps + 1
            )
            self.sweeps += 1
        if is_sweep(day, policy):
            self._swept.add(number)
            self.sweeps += 1
        return msgspec.structs.replace(group, evidence=evidence, counted=self._day, gb=gb, members=int(members))

    def _keep_groups(self, txn: Txn, numbers: list[int]) -> None:
        live = [number for number in numbers if self._rows.groups[number].members]
        self._rows.keep_groups(txn, live)
        for number in set(numbers) - set(live):
            self._rows.drop_group(txn, number)

    # --- looks ----------------------------------------------------------------------------------------------

    async def _look_at_all(self) -> None:
        at = BLOCKS_BEGIN
        while blocks := self._rows.blocks(at):
            for block in blocks:
                due = self._everything or block.due <= self._day
                if due or block.key in self._touched:
                    await self._look_at_block(block.key, all_due=due)
                    await self._between()
            at = blocks[-1].key + b"\0"
            await self._breath.take()

    async def _look_at_block(self, key: bytes, *, all_due: bool) -> None:
        block = next(iter(self._rows.blocks(key)))  # again: moves may have arrived since
        due = NEVER_DUE if all_due else block.due
        looks: dict[int, Look] = {}
        for volume in list(block.volumes()):
            touch = self._meta.read(lambda txn: stored_touch(txn, self._day, volume))  # noqa: B023
            if not all_due and touch is None:
                continue
            found = self._look_at(block, volume, touch or EMPTY)
            asked = self._everything or (touch is not None and touch.flags & WISHED) or self._surveys.is_old(volume)
            if found is not None and (asked or found.candidate is not None) and await self._surveys.take(volume):
                found = self._look_at(block, volume, touch or EMPTY)  # by what all of its users say
            if found is not None:
                self._take(block, volume, found)
                looks[volume] = found
                due = min(due, self._day + found.due)
            await self._breath.take()
        block.due = max(due, self._day + 1)
        self._meta.apply(lambda txn: self._keep_looks(txn, block, looks))

    def _look_at(self, block: Block, volume: int, touch: Touch) -> Look | None:
        before = block.get(volume)
        assert before is not None
        if before[0].counted >= self._day:  # E2
            return None

        def read(txn: Txn) -> tuple[Subject | None, History, Wish | None]:
            record = load(txn, volume_key(volume), Volume)
            subject = None if record is None else self._subjects.of(txn, volume, record)
            return subject, load(txn, history_key(volume), History) or History(), load(txn, wish_key(volume), Wish)

        subject, history, waiting = self._meta.read(read)
        if subject is None:
            return None
        group = self._rows.groups.get(before[0].group)
        try:
            found = look(
                subject,
                before,
                touch,
                self._day,
                group.evidence if group is not None else GroupEvidence(),
                history,
                self._terms,
                swept=before[0].group in self._swept,
                waiting=waiting,
                now_ns=self._now_ns(),
                note_stays=self.tracked <= STAYS_NOTED,
            )
        except (ValueError, OverflowError) as error:
            raise CorruptRecord(f"volume {volume:016x}: {error}") from error
        return found

    def _take(self, block: Block, volume: int, found: Look) -> None:
        """What a look found counts."""
        before = block.get(volume)
        assert before is not None
        self._sum_up(volume, found)
        block.put(volume, found.evidence, code_of(found, before[1]))

    def _sum_up(self, volume: int, found: Look) -> None:
        self.looked += 1
        self.cold_reads += found.cold_reads
        if found.candidate is not None:
            self.candidates.append(found.candidate)
        if found.cancel and found.decision is not None:
            self.cancelled.append((volume, found.decision.was))
        self.realised += found.realised
        self.expected += found.expected
        self.seen += found.seen
        if found.hinted is not None:
            self.hinted = self.hinted.with_hint(*found.hinted)

    def _keep_looks(self, txn: Txn, block: Block, looks: dict[int, Look]) -> None:
        """Inside a change."""
        save(txn, block.key, block.stored())
        for volume, found in looks.items():
            if found.history is not None:
                save(txn, history_key(volume), named(txn, self._rows, found.history, self._terms))


def named(txn: Txn, rows: Rows, history: History, terms: Terms) -> History:
    """Inside a change: the history with the yardsticks of its newest turn kept and named."""
    if not history.turns or history.turns[-1].prices or history.turns[-1].situation is None:
        return history
    last = msgspec.structs.replace(
        history.turns[-1], prices=rows.yardstick(txn, terms.book), policy=rows.yardstick(txn, terms.policy)
    )
    return msgspec.structs.replace(history, turns=(*history.turns[:-1], last))
