"""The store judges itself: what seven days cost, the best possible with hindsight, the rule of 48 hours, and regrets.

Room: stratum/engine. May import: core, engine.{heat, surroundings, tiering_desk, tiering_evening, tiering_rows,
tiering_subjects}.

Bounded: of each of the last eight days, LEDGER touched volumes are kept; where there were more, all are judged by a
sample, chosen by volume id, and the report says which share it saw.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, zip_longest

import msgspec

from stratum.core.schema import WEEK
from stratum.core.tiering.blocks import BLOCKS_BEGIN
from stratum.core.tiering.evidence import Evidence
from stratum.core.tiering.ledger import Account, account
from stratum.core.tiering.optimum import Day
from stratum.core.tiering.prices import TIERS
from stratum.core.tiering.tables import History, Regretted, Turn, Week, touches_prefix, week_key
from stratum.core.tiers import SHOWN, stream_bytes
from stratum.core.txn import Txn, save, successor
from stratum.engine.heat import stored_touch
from stratum.engine.surroundings import Surroundings
from stratum.engine.tiering_desk import Desk
from stratum.engine.tiering_rows import WEEKS, Rows, name_of
from stratum.engine.tiering_stock import Breath

LEDGER = 200_000  # touched volumes kept of a day
DAYS = 7
LISTED = 50  # regrets
COLUMNS = ("rent", "reading", "moving", "optimum", "forty_eight", "do_nothing", "reads", "cold_reads")


@dataclass(slots=True)
class _Sums:
    week: Week
    regretted: list[Regretted]


class Reporting:
    """Weeks."""

    def __init__(self, surroundings: Surroundings, rows: Rows, desk: Desk) -> None:
        self._around, self._rows, self._desk = surroundings, rows, desk

    @staticmethod
    def in_sample(volume: int, thinned: int) -> bool:
        """Is the volume in a sample of one in 2**thinned?"""
        return (volume * 0x9E3779B97F4A7C15 >> 40) % (1 << thinned) == 0

    async def thinning(self, day: int) -> int:
        """n, if one in 2**n touches of a day can be kept; 0: all."""
        count, breath = 0, Breath()
        after, stop = touches_prefix(day), successor(touches_prefix(day))
        while keys := self._around.meta.read(lambda txn: [key for key, _ in islice(txn.scan(after, stop), 1000)]):  # noqa: B023
            count += len(keys)
            after = keys[-1] + b"\0"
            await breath.take()
        keep = 0
        while count >> keep > LEDGER:
            keep += 1
        return keep

    async def judge(self, last: int) -> Week:
        """Judge the seven days up to `last`, and keep what was found."""
        thinned = max((n for day, n in self._rows.state.thinned.items() if last - DAYS < day <= last), default=0)
        prices = name_of(self._desk.book)
        found = _Sums(
            Week(last=last, sampled=1.0 / (1 << thinned), currency=self._desk.book.currency, prices=prices), []
        )
        breath, at = Breath(), BLOCKS_BEGIN
        while blocks := self._rows.blocks(at):
            for block in blocks:
                for volume in block.volumes():
                    kept = block.get(volume)
                    if kept is not None and (not thinned or self.in_sample(volume, thinned)):
                        self._judge_volume(volume, kept[0], last, found)
                        await breath.take()
            at = blocks[-1].key + b"\0"
        found.regretted.sort(key=lambda each: -each.lost)
        week = msgspec.structs.replace(
            found.week, regretted=tuple(found.regretted[:LISTED]), regrets=len(found.regretted)
        )
        await self._around.meta.write(lambda txn: _keep(txn, week))
        return week

    def _judge_volume(self, volume: int, evidence: Evidence, last: int, found: _Sums) -> None:
        record = self._desk.record_of(volume)
        begin = max(last - DAYS + 1, evidence.born)
        if record is None or begin > last:
            return
        gb, history = stream_bytes(record) / 1e9, self._rows.history(volume)
        then, *path = self._path(history, TIERS.index(SHOWN[record.tier]), begin - 1, last)
        before = then if begin > evidence.born else None
        eve, *days = self._around.meta.read(lambda txn: list(_days(txn, volume, begin - 1, last)))
        judged = account(self._desk.book, gb, days, path, _idle(evidence, begin), self._desk.there, before, eve)
        found.week = _added(found.week, judged, gb)
        self._regret(volume, history, last, found)

    def _path(self, history: History, now: int, begin: int, last: int) -> list[int]:
        """The tier on each day: where the last move up to it went, or where the first one after it came from."""
        moves = [(self._rows.state.days.at(turn.done)[0], turn) for turn in moved(history)]

        def tier_on(day: int) -> int:
            before = [turn for at, turn in moves if at <= day]
            if before:
                return TIERS.index(before[-1].target)
            return TIERS.index(moves[0][1].source) if moves else now

        return [tier_on(day) for day in range(begin, last + 1)]

    def _regret(self, volume: int, history: History, last: int, found: _Sums) -> None:
        """A move is regretted when it was undone, or should have paid by now, and has cost more than it saved."""
        days, moves = self._rows.state.days, moved(history)
        for turn, later in zip_longest(moves, moves[1:]):
            if turn.realised >= 0:
                continue
            age = last - days.at(turn.done)[0]
            undone = later is not None and later.target == turn.source and days.at(later.done)[0] > last - DAYS
            overdue = later is None and turn.by == "rule" and age - DAYS < turn.payback_days <= age
            if undone or overdue:
                name, lost = self._name(volume), -turn.realised
                found.regretted.append(Regretted(volume, name, turn.source, turn.target, turn.reason, turn.done, lost))

    def _name(self, volume: int) -> str:
        record = self._desk.record_of(volume)
        if record is None:
            return ""
        view = self._around.meta.read(lambda txn: self._desk.subjects.of(txn, volume, record)).view
        return "" if view is None else f"{view.bucket}/{view.key.decode(errors='replace')}"


def moved(history: History) -> list[Turn]:
    """The moves among the turns, oldest first."""
    return [turn for turn in history.turns if turn.done and turn.source != turn.target]


def _days(txn: Txn, volume: int, begin: int, last: int) -> Iterator[Day]:
    for day in range(begin, last + 1):
        touch = stored_touch(txn, day, volume)
        yield (0.0, 0.0) if touch is None else (float(touch.visits), (touch.sent + touch.swept) / 1e9)


def _idle(evidence: Evidence, begin: int) -> int:
    """Days without a read before `begin`."""
    for ago in range(32):
        day = evidence.counted - ago
        if day < begin and evidence.active >> ago & 1:
            return begin - 1 - day
    return max(0, begin - evidence.born)


def _added(week: Week, judged: Account, gb: float) -> Week:
    more = {name: getattr(week, name) + getattr(judged, name) for name in COLUMNS}
    return msgspec.structs.replace(
        week,
        volumes=week.volumes + 1,
        gb=week.gb + gb,
        moves=week.moves + judged.moves,
        flip_flops=week.flip_flops + judged.flip_flops,
        gb_moved=week.gb_moved + judged.moves * gb,
        **more,
    )


def _keep(txn: Txn, week: Week) -> None:
    save(txn, week_key(week.last), week)
    for key in [key for key, _ in txn.scan(WEEK, week_key(max(0, week.last - WEEKS * DAYS)))]:
        txn.delete(key)
