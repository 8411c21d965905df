"""What deciding remembers in the index, table by table (schema: T, G, D, Y, W; E: core.tiering.blocks).

Room: stratum/core. May import: core.records, core.schema, core.tiering.*, core.txn.

Records are appended to, never changed in meaning (records.py, R2).
"""

from typing import Any

import msgspec

from stratum.core.schema import GROUP, HISTORY, TOUCH, WEEK, YARDSTICK
from stratum.core.tiering.days import Days
from stratum.core.tiering.groups import GroupEvidence
from stratum.core.tiering.situation import Situation

TURNS = 16  # kept for a volume


class Group(msgspec.Struct, frozen=True, array_like=True):
    """Volumes of one prefix and type. `counted`: the day up to which `evidence` is done."""

    bucket: str
    prefix: str
    type: str
    evidence: GroupEvidence = GroupEvidence()
    counted: int = 0
    gb: float = 0.0
    members: int = 0


class Turn(msgspec.Struct, frozen=True, array_like=True):
    """One decision that sent a volume elsewhere, or (`target` = `source`) changed why it stays.

    `situation`, with the price book and the policy of these names (schema Y), makes the decision again.
    """

    time: int  # ns, when it was decided
    source: str
    target: str
    reason: str
    by: str = "rule"  # or operator, class ...: whoever wished it
    situation: Situation | None = None
    prices: str = ""
    policy: str = ""
    predicted: float = 0.0  # saving a month
    move_cost: float = 0.0
    payback_days: float = 0.0
    done: int = 0  # ns, when the bytes were there; 0: not yet, or it was only observed
    realised: float = 0.0  # saving since, the move paid
    observed: bool = False  # nothing moves: only what would have been
    leave_rate: float = 0.0


class History(msgspec.Struct, frozen=True, array_like=True):
    """The last turns of a volume, oldest first; `born` and `start`: since when it is known, and where it was then."""

    turns: tuple[Turn, ...] = ()
    born: int = 0  # ns
    start: str = ""


class Totals(msgspec.Struct, frozen=True, array_like=True):
    """Sums since the store was made."""

    predicted: float = 0.0
    realised: float = 0.0
    flip_flops: int = 0
    sweeps: int = 0
    expected_reads: float = 0.0  # of the calibration, decayed by the week
    seen_reads: float = 0.0
    # What hints were worth: word -> days of volumes, full reads said by the hint, said without it, seen.
    hints: dict[str, tuple[float, float, float, float]] = {}

    def with_hint(self, word: str, days: float, said: float, without: float, seen: float) -> "Totals":
        """With what some days of a hinted volume brought. Of a schedule: hours told, as reads of one each."""
        old = self.hints.get(word, (0.0, 0.0, 0.0, 0.0))
        return msgspec.structs.replace(
            self, hints={**self.hints, word: (old[0] + days, old[1] + said, old[2] + without, old[3] + seen)}
        )

    def judged(self) -> dict[str, dict[str, float | bool]]:
        """Of each hint: was what it said nearer to what was seen than what would have been expected without it?"""
        return {
            word: {
                "days": days, "reads_said": said, "reads_without": without, "reads_seen": seen,
                "helps": abs(seen - said) < abs(seen - without),
            }
            for word, (days, said, without, seen) in self.hints.items()
        }  # fmt: skip


class State(msgspec.Struct, frozen=True, array_like=True):
    """How far deciding has come."""

    closed: int = 0  # the day up to which evenings are done
    days: Days = Days()
    groups: int = 0  # ids given out
    pressure: tuple[float, float, float] = (0.0, 0.0, 0.0)  # of tiers that ran full (core.tiering.capacity)
    totals: Totals = Totals()
    thinned: dict[int, int] = {}  # day -> one in 2**n of its touches was kept


class Regretted(msgspec.Struct, frozen=True, array_like=True):
    """A move that has not paid, or was undone before it had."""

    volume: int
    name: str
    source: str
    target: str
    reason: str
    time: int
    lost: float


class Week(msgspec.Struct, frozen=True, array_like=True):
    """What seven days cost, in the columns of `stratum replay`, beside the best possible and the 48 h rule."""

    last: int  # day
    volumes: int = 0
    gb: float = 0.0
    rent: float = 0.0
    reading: float = 0.0
    moving: float = 0.0
    optimum: float = 0.0
    forty_eight: float = 0.0
    do_nothing: float = 0.0
    gb_moved: float = 0.0
    moves: int = 0
    flip_flops: int = 0
    reads: float = 0.0
    cold_reads: float = 0.0
    regretted: tuple[Regretted, ...] = ()
    regrets: int = 0  # how many there are; the list is bounded
    sampled: float = 1.0  # the share of volumes that was looked at
    currency: str = "USD"
    prices: str = ""
    days: int = 7

    @property
    def cost(self) -> float:
        """All of it."""
        return self.rent + self.reading + self.moving

    @property
    def regret(self) -> float:
        """Cost over optimum."""
        return self.cost / self.optimum if self.optimum > 0 else 1.0


def plain(record: Any) -> Any:
    """A record as plain values with names, for JSON."""
    if isinstance(record, msgspec.Struct):
        return {name: plain(getattr(record, name)) for name in record.__struct_fields__}
    if isinstance(record, list | tuple):
        return [plain(each) for each in record]
    return record


def touch_key(day: int, volume: int) -> bytes:
    """Key of what a day brought for a volume."""
    return TOUCH + day.to_bytes(4, "big") + volume.to_bytes(8, "big")


def touches_prefix(day: int) -> bytes:
    """Below it are the touches of a day."""
    return TOUCH + day.to_bytes(4, "big")


def group_key(number: int) -> bytes:
    """Key of a Group."""
    return GROUP + number.to_bytes(4, "big")


def history_key(volume: int) -> bytes:
    """Key of a History."""
    return HISTORY + volume.to_bytes(8, "big")


def week_key(last_day: int) -> bytes:
    """Key of a Week."""
    return WEEK + last_day.to_bytes(4, "big")


def yardstick_key(name: str) -> bytes:
    """Key of a price book (`p/...`), a policy (`r/...`) or the State (`state`)."""
    return YARDSTICK + name.encode()
