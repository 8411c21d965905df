"""The evening of a day: births and deaths, the day of every group, then a look at each volume that is due.

Room: stratum/engine. May import: core, store.meta, engine.{tiering_look, tiering_queue, tiering_rows,
tiering_subjects}.

Invariants
    E1  Groups are done before any volume is looked at: what is decided tonight rests on days that are over.
    E2  Every step is short and idempotent for its day, and the day counts as closed at the end: an evening that was cut
        off begins again. Evidence that has counted the day already is not counted twice.
"""

import logging
from collections.abc import Awaitable, Callable
from itertools import islice

import msgspec
import trio

from stratum.core.errors import CorruptRecord
from stratum.core.records import Volume, Wish, decode
from stratum.core.schema import VOLUME, VOLUME_USER, id_of, volume_key, wish_key
from stratum.core.tiering.blocks import NEVER_DUE, VOLUMES, Block, Touch
from stratum.core.tiering.evidence import first
from stratum.core.tiering.groups import GroupDay, GroupEvidence, after, is_sweep
from stratum.core.tiering.tables import Group, History, block_key, history_key, touches_prefix
from stratum.core.tiers import SHOWN, is_inner, stream_bytes
from stratum.core.txn import Txn, load, save, successor
from stratum.engine.heat import read_touch, stored_touch
from stratum.engine.tiering_look import EMPTY, Look, Terms, code_of, look
from stratum.engine.tiering_numbers import Census
from stratum.engine.tiering_queue import Candidate
from stratum.engine.tiering_rows import Rows, read_block
from stratum.engine.tiering_subjects import Classify, Subject, Subjects
from stratum.store.meta import Meta

log = logging.getLogger(__name__)

SLICE = 250  # rows of one query
STAYS_NOTED = 100_000  # in a store of so many volumes at most, changes of why one stays are kept as well


class Breath:
    """Lets the event loop go on: at most so long at a stretch, and no more than half of the time."""

    def __init__(self, longest_s: float = 0.002) -> None:
        self._longest = longest_s
        self._since = trio.current_time()
        self.longest = 0.0  # stretch that was held, seconds

    async def take(self) -> None:
        """Go on at once, or after others had their turn."""
        spent = trio.current_time() - self._since
        self.longest = max(self.longest, spent)
        if spent >= self._longest:
            await trio.sleep(min(spent, 0.1))
        else:
            await trio.lowlevel.checkpoint()
        self._since = trio.current_time()


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
    ) -> None:
        """`between`: called now and then, when no row is held."""
        self._meta, self._rows, self._subjects, self._terms = meta, rows, subjects, terms
        self._day, self._now_ns, self._classify, self._between = day, now_ns, classify, between
        self._breath = Breath()
        self._sums: dict[int, list[float]] = {}  # group -> GB, members
        self._swept: set[int] = set()
        self._touched: set[int] = set()  # blocks
        self.tracked = 0
        self.census = Census()
        self.looked = 0
        self.sweeps = self.cold_reads = 0
        self.candidates: list[Candidate] = []
        self.cancelled: list[tuple[int, str]] = []  # volume, where it is
        self.realised = self.expected = self.seen = 0.0

    @property
    def longest_stretch(self) -> float:
        """How long the event loop stood still at most, seconds."""
        return self._breath.longest

    async def run(self) -> None:
        """All of it. Raises StratumError: then it is to be run again."""
        await self._take_stock()
        await self._count_objects()
        await self._count_groups()
        await self._look_at_all()

    # --- births and deaths ----------------------------------------------------------------------------------

    async def _take_stock(self) -> None:
        """Let every volume that is used have evidence, and no other; sum up the groups."""
        seen: set[int] = set()
        after_id = 0
        while (found := self._next_block(after_id)) is not None:
            number, volumes = found
            if await self._settle_members(number, volumes):
                seen.add(number)
            after_id = (number + 1) * VOLUMES
            await self._breath.take()
        at = 0
        while rows := self._rows.blocks(at):
            gone = [number for number, _ in rows if number not in seen]
            for number in gone:
                self._meta.apply(lambda txn: _forget_block(txn, number))  # noqa: B023 - runs at once
                await self._breath.take()
            at = rows[-1][0] + 1
            await self._breath.take()

    async def _count_objects(self) -> None:
        """How many objects are in each tier, one for each volume that they are in."""
        last, tier = -1, ""
        after, stop = VOLUME_USER, successor(VOLUME_USER)
        while keys := self._meta.read(lambda txn: [key for key, _ in islice(txn.scan(after, stop), SLICE)]):  # noqa: B023
            for key in keys:
                volume = id_of(key)
                if volume != last:
                    record = self._meta.read(lambda txn: load(txn, volume_key(volume), Volume))  # noqa: B023
                    last, tier = volume, "" if record is None or is_inner(record) else SHOWN[record.tier]
                if tier:
                    self.census.objects[tier] = self.census.objects.get(tier, 0) + 1
            after = keys[-1] + b"\0"
            await self._breath.take()

    def _next_block(self, after_id: int) -> tuple[int, dict[int, Volume]] | None:
        """The number of the next block in which there are volumes, and these."""

        def read(txn: Txn) -> tuple[int, dict[int, Volume]] | None:
            stop = successor(VOLUME)
            begin = next(iter(txn.scan(volume_key(after_id), stop)), None)
            if begin is None:
                return None
            number = id_of(begin[0]) // VOLUMES
            rows = txn.scan(volume_key(number * VOLUMES), volume_key((number + 1) * VOLUMES))
            return number, {id_of(key): decode(key, raw, Volume) for key, raw in rows}

        return self._meta.read(read)

    async def _settle_members(self, number: int, volumes: dict[int, Volume]) -> bool:
        """True: the block has members."""
        block = self._rows.block(number)
        there = {each for each, record in volumes.items() if not is_inner(record)}
        gone = [offset for offset in block.offsets() if number * VOLUMES + offset not in there]
        new: dict[int, tuple[int, str]] = {}
        for each in sorted(there):
            offset = each - number * VOLUMES
            if offset in block:
                group = block.group(offset)
            else:
                subject = self._meta.read(lambda txn: self._subjects.of(txn, each, volumes[each]))  # noqa: B023
                group = self._born(block, offset, subject)
                new[each] = group, subject.record.tier
                await self._breath.take()
            sums = self._sums.setdefault(group, [0.0, 0.0])
            sums[0] += stream_bytes(volumes[each]) / 1e9
            self.census.add(SHOWN[volumes[each].tier], stream_bytes(volumes[each]))
            sums[1] += 1
        self.tracked += len(there)
        if gone or new:
            for offset in gone:
                block.drop(offset)
            self._meta.apply(lambda txn: _keep_members(txn, number, block, gone))
        return bool(there)

    def _born(self, block: Block, offset: int, subject: Subject) -> int:
        bucket, prefix = subject.group
        kind = self._classify(subject.view) if subject.view is not None else ""
        group = self._rows.group_of(bucket, prefix, kind, self._day)
        block.put(offset, first(self._day, tier=subject.tier, group=group), 0)
        block.due = min(block.due, self._day)
        return group

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
        block = self._rows.block(volume // VOLUMES)
        offset = volume % VOLUMES
        if record is None or offset not in block:
            return
        self._touched.add(volume // VOLUMES)
        size = stream_bytes(record) / 1e9
        sums = days.setdefault(block.group(offset), [0.0, 0.0, 0.0])
        sums[0] += min(touch.sent / 1e9, size)
        sums[1] += touch.visits > 0
        sums[2] += min(touch.swept / 1e9, size)

    def _group_after(self, number: int, brought: list[float]) -> Group:
        """A group with the day; days between were without a read. What was said to be a sweep is one."""
        group, policy = self._rows.groups[number], self._terms.policy
        gb, members = self._sums.get(number, [0.0, 0.0])
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
        at = 0
        while rows := self._rows.blocks(at):
            for number, raw in rows:
                block = read_block(raw)
                if block.due <= self._day or number in self._touched:
                    await self._look_at_block(number, all_due=block.due <= self._day)
                    await self._between()
            at = rows[-1][0] + 1
            await self._breath.take()

    async def _look_at_block(self, number: int, *, all_due: bool) -> None:
        block = self._rows.block(number)
        due = NEVER_DUE if all_due else block.due
        looks: dict[int, Look] = {}
        for offset in list(block.offsets()):
            volume = number * VOLUMES + offset
            touch = self._meta.read(lambda txn: stored_touch(txn, self._day, volume))  # noqa: B023
            if not all_due and touch is None:
                continue
            found = self._look_at(block, offset, volume, touch or EMPTY)
            if found is not None:
                looks[volume] = found
                due = min(due, self._day + found.due)
            await self._breath.take()
        block.due = max(due, self._day + 1)
        self._meta.apply(lambda txn: self._keep_looks(txn, number, block, looks))

    def _look_at(self, block: Block, offset: int, volume: int, touch: Touch) -> Look | None:
        before = block.get(offset)
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
        self._sum_up(volume, found)
        block.put(offset, found.evidence, code_of(found, before[1]))
        return found

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

    def _keep_looks(self, txn: Txn, number: int, block: Block, looks: dict[int, Look]) -> None:
        """Inside a change."""
        save(txn, block_key(number), block.stored())
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


def _keep_members(txn: Txn, number: int, block: Block, gone: list[int]) -> None:
    if len(block):
        save(txn, block_key(number), block.stored())
    else:
        txn.delete(block_key(number))
    for offset in gone:
        txn.delete(history_key(number * VOLUMES + offset))


def _forget_block(txn: Txn, number: int) -> None:
    raw = load(txn, block_key(number), bytes)
    for offset in read_block(raw).offsets():
        txn.delete(history_key(number * VOLUMES + offset))
    txn.delete(block_key(number))
