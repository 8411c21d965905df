"""One look at one volume: what its days brought becomes evidence, the rule decides, what changed is noted.

Room: stratum/engine. May import: core, engine.{tiering_rows, tiering_subjects}.

Invariant: a look reads and computes; nothing is written before its caller applies it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from stratum.core.records import Wish
from stratum.core.tiering.arithmetic import ONE
from stratum.core.tiering.blocks import INTEREST, WRITTEN, Touch
from stratum.core.tiering.costs import access, holding, overnight
from stratum.core.tiering.decide import MONTH, Decision, decide
from stratum.core.tiering.evidence import Evidence, after, at_night, settled
from stratum.core.tiering.groups import GroupEvidence, rate_of
from stratum.core.tiering.policy import Policy
from stratum.core.tiering.prices import TIERS, PriceBook
from stratum.core.tiering.rule import CODE, REASONS
from stratum.core.tiering.settings import AUTO, OFF
from stratum.core.tiering.situation import Situation, hint_factor, on_evening
from stratum.core.tiering.tables import History, Turn
from stratum.engine.tiering_queue import Candidate
from stratum.engine.tiering_rows import with_turn
from stratum.engine.tiering_subjects import Subject

EMPTY = Touch()
URGENT = ("SPIKE", "PIN")
Adviser = Callable[[int, Situation], Situation]


@dataclass(frozen=True, slots=True)
class Terms:
    """By what is decided on one evening."""

    book: PriceBook
    policy: Policy
    shadow: tuple[float, float, float]
    advisers: Sequence[Adviser] = ()


@dataclass(slots=True)
class Look:
    """What was found. `due`: in how many days to look again."""

    evidence: Evidence
    decision: Decision | None = None
    candidate: Candidate | None = None
    history: History | None = None  # as it is to be stored; None: as it was
    turn: Turn | None = None  # the one that is new; its yardsticks are to be named
    cancel: bool = False  # a wish of an earlier evening no longer holds
    due: int = 1
    realised: float = 0.0  # saving of the days looked at
    expected: float = 0.0  # reads, and seen, for the calibration
    seen: float = 0.0
    cold_reads: int = 0
    hinted: tuple[str, float, float, float, float] | None = None  # word, days, reads said, without the hint, seen


def brought_up(evidence: Evidence, subject: Subject, day: int, terms: Terms) -> Evidence:
    """The evidence on the evening before `day`, in the tier where the volume is."""
    evidence = settled(evidence, subject.gb, day - 1, terms.book, terms.policy)
    if evidence.tier == subject.tier:
        return evidence
    return at_night(evidence, subject.gb, 0.0, terms.book, subject.tier, 0.0)


def counted(
    evidence: Evidence, subject: Subject, touch: Touch, day: int, terms: Terms, *, swept: bool
) -> tuple[Evidence, tuple[float, float]]:
    """The evidence with what `day` brought; and that as visits and GB."""
    today = float(touch.visits), touch.sent / 1e9
    evidence = after(evidence, subject.gb, *today, terms.book, terms.policy, swept=swept)
    flags = touch.flags
    return msgspec.structs.replace(
        evidence,
        interest=day if flags & INTEREST else evidence.interest,
        written=day if flags & WRITTEN else evidence.written,
        minute=touch.minute,
        recent=touch.recent,
    ), today


def situation_of(
    evidence: Evidence, subject: Subject, group: GroupEvidence, today: tuple[float, float], terms: Terms,
    *, spike: bool = False,
) -> Situation:  # fmt: skip
    """What the rule looks at. Bytes are never at hand for a move: it reads them where they are, and pays for it."""
    found = on_evening(
        evidence,
        subject.gb,
        group,
        terms.policy,
        values=_three(overnight(ONE, terms.book, subject.gb, evidence.values, False)),
        wishes=subject.wishes,
        today=today,
        spike=spike,
        shadow=terms.shadow,
    )
    for advise in terms.advisers:
        found = advise(subject.number, found)
    return found


def look(
    subject: Subject,
    before: tuple[Evidence, int],
    touch: Touch,
    day: int,
    group: GroupEvidence,
    history: History,
    terms: Terms,
    *,
    swept: bool,
    waiting: Wish | None,
    now_ns: int,
    note_stays: bool,
) -> Look:
    """Look at a volume on the evening of `day`. `before`: evidence and last reason; `waiting`: a wish there is."""
    old, code = before
    before_turns, history = history, arrived(history, subject.tier, now_ns)
    evidence = brought_up(old, subject, day, terms)
    evidence, today = counted(evidence, subject, touch, day, terms, swept=swept)
    found = Look(evidence, cold_reads=touch.visits if subject.tier == len(TIERS) - 1 else 0)
    found.expected = (day - old.counted) * _usual(old, group, terms.policy) * subject.gb
    found.seen = min(1.0, today[1] / subject.gb) * subject.gb if subject.gb else 0.0
    found.hinted = _hinted(old, subject, group, terms.policy, day, found.seen / subject.gb if subject.gb else 0.0)
    if subject.mode == OFF:
        found.evidence, found.due = at_night(evidence, subject.gb, 0.0, terms.book, evidence.tier, 0.0), 32
        return found
    decision = decide(situation_of(evidence, subject, group, today, terms), terms.book, terms.policy)
    found.evidence = at_night(evidence, subject.gb, 0.0, terms.book, evidence.tier, 0.0)
    found.decision, found.due = decision, decision.look_again_days
    found.realised, history = _realised(history, subject, old, today, day, terms.book)
    moves = decision.tier != decision.was
    ours = waiting is not None and waiting.reason in REASONS
    found.cancel = ours and not moves
    if moves and (waiting is None or ours):
        found.due = 1
        found.turn = turn_of(decision, subject, now_ns)
        if subject.mode == AUTO:
            found.candidate = candidate_of(decision, subject)
        last = history.turns[-1] if history.turns else None
        if last is not None and last.observed and (last.target, last.reason) == (decision.tier, decision.reason):
            found.turn = None
    elif note_stays and not moves and REASONS[code] != decision.reason:
        found.turn = turn_of(decision, subject, now_ns)
    if found.turn is not None:
        history = with_turn(history, found.turn)
    found.history = history if history is not before_turns else None
    return found


def arrived(history: History, tier: int, now_ns: int) -> History:
    """The history in which the last plan is carried out, if the volume is there: a crash may have hidden that."""
    last = history.turns[-1] if history.turns else None
    if last is None or last.done or last.source == last.target or TIERS.index(last.target) != tier:
        return history
    done = msgspec.structs.replace(last, done=now_ns, realised=-last.move_cost, observed=False)
    return msgspec.structs.replace(history, turns=(*history.turns[:-1], done))


def candidate_of(decision: Decision, subject: Subject) -> Candidate:
    """The move that a decision asks for."""
    was, tier = TIERS.index(decision.was), TIERS.index(decision.tier)
    costs = decision.costs
    return Candidate(
        volume=subject.number,
        tier=decision.tier,
        reason=decision.reason,
        backend=subject.backend if decision.tier == "cold" else "",
        gb=subject.gb,
        cost=costs[tier].move,
        saving=(costs[was].month - costs[tier].month) / MONTH,
        urgent=decision.reason in URGENT,
    )


def turn_of(decision: Decision, subject: Subject, now_ns: int) -> Turn:
    """A decision as its history keeps it."""
    was, tier = decision.costs[TIERS.index(decision.was)], decision.costs[TIERS.index(decision.tier)]
    saving = was.month - tier.month
    return Turn(
        time=now_ns,
        source=decision.was,
        target=decision.tier,
        reason=decision.reason,
        situation=decision.situation,
        predicted=saving,
        move_cost=tier.move,
        payback_days=tier.move / saving * MONTH if saving > 0 else 0.0,
        observed=subject.mode != AUTO,
        leave_rate=decision.leave_rate,
    )


def code_of(found: Look, code: int) -> int:
    """The code of the reason to keep."""
    return code if found.decision is None else CODE[found.decision.reason]


def _realised(
    history: History, subject: Subject, old: Evidence, today: tuple[float, float], day: int, book: PriceBook
) -> tuple[float, History]:
    """What the last move has saved in the days since the last look; and the history that says so."""
    at = next((i for i in reversed(range(len(history.turns))) if history.turns[i].done), None)
    if at is None or history.turns[at].source == history.turns[at].target:
        return 0.0, history
    turn = history.turns[at]
    was, here = TIERS.index(turn.source), subject.tier
    rents, reads = holding(book, subject.gb), access(book, *today)
    saved = (day - old.counted) * (rents[was] - rents[here]) + reads[was] - reads[here]
    turns = list(history.turns)
    turns[at] = msgspec.structs.replace(turn, realised=turn.realised + saved)
    return saved, msgspec.structs.replace(history, turns=tuple(turns))


def _hinted(
    old: Evidence, subject: Subject, group: GroupEvidence, policy: Policy, day: int, seen: float
) -> tuple[str, float, float, float, float] | None:
    """What a hint that shifts the estimate said of the days since the last look, and what they brought."""
    wishes, factor = subject.wishes, hint_factor(subject.wishes, day, policy)
    if factor == 1.0:
        return None
    word = wishes.hint if factor > 1.0 or wishes.hint == "cold" else "expire"
    days = day - old.counted
    said, without = (days * _usual(old, group, policy, each) for each in (factor, 1.0))
    return word, days, said, without, seen


def _usual(evidence: Evidence, group: GroupEvidence, policy: Policy, hint: float = 1.0) -> float:
    """Full reads per day that were to be expected, by the stronger prior; decayed exposure is near enough here."""
    days = min(evidence.counted - evidence.born + 1, policy.half_life_days * 1.4426950408889634)
    return (evidence.reads + policy.leave_days * hint * rate_of(group, policy)) / (max(days, 0.0) + policy.leave_days)


def _three(values: Sequence[float]) -> tuple[float, float, float]:
    return values[0], values[1], values[2]
