"""Why an object is where it is, with every number: for people, programs and the past.

Room: stratum/engine. May import: core, engine.{heat, surroundings, tiering_desk, tiering_look, tiering_rows,
tiering_stock, tiering_subjects, tiering_survey}. Looking is no access (law 12).

A part of an object is what rests of it in one volume. Its decision is made anew, from the evidence as of the last
evening, so it says what would be decided now; `at` tells of the decision that was in force then, from the history.
"""

from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import msgspec
import trio

from stratum.core.manifest import Span, spans_in, volume_users
from stratum.core.objects import ObjectView
from stratum.core.records import Volume, Wish
from stratum.core.schema import wish_key
from stratum.core.tiering.blocks import INTEREST, WRITTEN
from stratum.core.tiering.books import there
from stratum.core.tiering.decide import Decision, decide
from stratum.core.tiering.evidence import Evidence
from stratum.core.tiering.explain import explain
from stratum.core.tiering.groups import GroupEvidence, rate_of, sweep_rate_of
from stratum.core.tiering.prices import TIERS
from stratum.core.tiering.rule import HOLDS, REASONS
from stratum.core.tiering.settings import AUTO, OBSERVE, OFF
from stratum.core.tiering.tables import History, Turn
from stratum.core.tiers import SHOWN, stream_bytes
from stratum.core.txn import Txn, load
from stratum.core.views import object_at
from stratum.engine.heat import Heat
from stratum.engine.surroundings import Surroundings
from stratum.engine.tiering_desk import Desk
from stratum.engine.tiering_look import brought_up, situation_of
from stratum.engine.tiering_rows import Rows
from stratum.engine.tiering_stock import Breath
from stratum.engine.tiering_subjects import Subject
from stratum.engine.tiering_survey import Surveys

PARTS = 64  # explained of an object: the first 4 GB of a large one; how many there are is said
RUNS = 4096  # looked at to find them
SMALL = "objects this small rest in the index, on hot disks"
LEFT = "deciding is off for its bucket, or for one that shares its volume"
OBSERVED = "only observed: nothing is moved"
ALONE = "the store has no other tier"
UNSEEN = "it is new: nobody has decided about it yet; the first look is this evening"


class Explaining:
    """Explains objects and volumes."""

    def __init__(self, surroundings: Surroundings, rows: Rows, heat: Heat, desk: Desk) -> None:
        self._around, self._rows, self._heat, self._desk = surroundings, rows, heat, desk

    async def explain_object(self, bucket: str, key: bytes, version: str | None, at_ns: int | None) -> dict[str, Any]:
        """See Tiering.explain_object."""
        await self._around.files.settle(None)
        view = await self._around.meta.read_durable(lambda txn: object_at(txn, bucket, key, version))
        parts, explained = self.parts(view), []
        surveys = Surveys(self._around.meta, self._desk.subjects, self._desk.today - 1, Breath())
        for start, stop, volume in parts[:PARTS]:
            if self._desk.active and volume not in self._desk.subjects.surveyed:
                await surveys.take(volume)
            explained.append({"from": start, "to": stop, **self._explain_part(volume, at_ns, view)})
            await trio.lowlevel.checkpoint()
        return {
            "bucket": bucket,
            "key": key.decode(errors="replace"),
            "version": view.version,
            "size": view.size,
            "at": at_ns if at_ns is not None else self._around.now_ns(),
            "tier": _summary(explained),
            "mode": self._desk.settings.mode if self._desk.active else OFF,
            "tiers": [tier for tier, exists in zip(TIERS, self._desk.there, strict=True) if exists],
            "sentence": self._whole(explained),
            "parts": explained,
            "parts_in_all": len(parts),
        }

    async def sentence(self, bucket: str, key: bytes, version: str | None) -> str:
        """See Tiering.sentence."""
        return self.why(await self._around.meta.read_durable(lambda txn: object_at(txn, bucket, key, version)))

    def why(self, view: ObjectView) -> str:
        """The sentence about the first part of an object."""
        parts = self.parts(view, runs=1)
        if not parts:
            return f"hot: {SMALL}"
        return str(self._explain_part(parts[0][2], None, view)["sentence"])

    def reason_of(self, view: ObjectView) -> str:
        """The code of the last reason of the first part."""
        parts = self.parts(view, runs=1)
        code = self._rows.reason_code(parts[0][2]) if parts else None
        return "" if code is None else REASONS[code]

    def parts(self, view: ObjectView, runs: int = RUNS) -> list[tuple[int, int, int]]:
        """(first byte, byte behind the last, volume) of what is in volumes, in order; neighbours joined."""
        size = 1 if runs == 1 else 2**62  # of one run, only that which the first byte is in

        def read(txn: Txn) -> list[Span]:
            return list(islice(spans_in(txn, view.inode.content, 0, size), runs))

        found: list[tuple[int, int, int]] = []
        for offset, run in self._around.meta.read(read) if view.inode.content else []:
            if run.extent is None:
                continue
            if found and found[-1][2] == run.extent.volume:
                found[-1] = found[-1][0], offset + run.length, run.extent.volume
            else:
                found.append((offset, offset + run.length, run.extent.volume))
        return found

    def _whole(self, explained: list[dict[str, Any]]) -> str:
        if not explained:
            return f"hot: {SMALL}"
        sentences = list(dict.fromkeys(str(each["sentence"]) for each in explained))
        return sentences[0] if len(sentences) == 1 else f"{sentences[0]} (and {len(explained) - 1} other parts)"

    # --- a volume -------------------------------------------------------------------------------------------

    def _explain_part(self, volume: int, at_ns: int | None, view: ObjectView) -> dict[str, Any]:
        record = self._desk.record_of(volume)
        if record is None:
            return {"volume": f"{volume:016x}", "tier": "", "sentence": "the volume is gone", "history": []}
        history = self._rows.history(volume)
        if at_ns is not None:
            return self._as_of(volume, record, history, at_ns)
        tier = SHOWN[record.tier]
        shown = {
            "volume": f"{volume:016x}", "volume_bytes": stream_bytes(record), "shared": self._is_shared(volume),
            "tier": tier, "since": _since(history), "history": _turns(history),
        }  # fmt: skip
        if not self._desk.active:
            why = ALONE if not any(self._desk.there[1:]) else "deciding is off"
            return {**shown, "state": OFF, "sentence": f"{tier}: {why}"}
        kept = self._rows.block(volume).get(volume)
        if kept is None or kept[0].counted < kept[0].born:
            return {**shown, "state": "new", "sentence": f"{tier}: {UNSEEN}"}
        return {**shown, **self._decided(volume, record, kept[0], view)}

    def _is_shared(self, volume: int) -> bool:
        """Do several contents rest in it?"""
        return self._around.meta.read(lambda txn: len(list(islice(volume_users(txn, volume), 2)))) > 1

    def _decided(self, volume: int, record: Volume, kept: Evidence, view: ObjectView) -> dict[str, Any]:
        desk, terms = self._desk, self._desk.terms()

        def read(txn: Txn) -> tuple[Subject, Wish | None]:
            return desk.subjects.of(txn, volume, record, view), load(txn, wish_key(volume), Wish)

        subject, waiting = self._around.meta.read(read)
        if subject.mode == OFF:
            return {"state": OFF, "sentence": f"{SHOWN[record.tier]}: {LEFT}"}
        observed = (OBSERVED,) if subject.mode == OBSERVE else ()
        subject = replace(subject, said=(*subject.said, *desk.words_of(volume), *observed))
        evidence = brought_up(kept, subject, max(kept.counted, desk.today - 1) + 1, terms)
        group = self._rows.groups.get(evidence.group)
        facts = group.evidence if group is not None else GroupEvidence()
        decision = decide(situation_of(evidence, subject, facts, (0.0, 0.0), terms), terms.book, terms.policy)
        touch = self._heat.today(volume)
        return {
            "state": self._state(subject, decision, waiting),
            "reason": decision.reason,
            "sentence": self._sentence(subject, decision, evidence),
            "evidence": {
                "as_of_day": evidence.counted,
                "days_observed": decision.situation.age,
                "read_days_of_last_32": evidence.active.bit_count(),
                "active_days": f"{evidence.active:032b}",
                "idle_days": decision.situation.idle,
                "full_reads_a_day": {"colder": decision.leave_rate, "hotter": decision.rise_rate},
                "own_share": decision.own_share,
                "group_share": 1 - decision.own_share,
                "group": None
                if group is None
                else {
                    "bucket": group.bucket, "prefix": group.prefix, "type": group.type, "members": group.members,
                    "gb": group.gb, "rate": rate_of(facts, terms.policy),
                    "sweep_rate": sweep_rate_of(facts, terms.policy), "sweeps": facts.sweeps,
                },
                "wishes": subject.said,
                "hints_so_far": self._rows.state.totals.judged() if "hint " in " ".join(subject.said) else {},
                "today": {
                    "visits": touch.visits, "bytes": touch.sent, "bytes_of_sweeps": touch.swept,
                    "interest": bool(touch.flags & INTEREST), "overwritten": bool(touch.flags & WRITTEN),
                },
            },
            "costs": [_cost(each) for each in decision.costs if each.tier in there(terms.book)],
            "currency": terms.book.currency,
            "shadow_price": dict(zip(TIERS, terms.shadow, strict=True)),
            "break_even_days": decision.break_even_days,
            "changes": {
                "hotter_above_reads_a_day": decision.hotter_above,
                "colder_below_reads_a_day": decision.colder_below,
                "also": decision.also_by,
            },
            "constraints": [decision.held_by] if decision.held_by in HOLDS else [],
            "wished": decision.wished,
            "next_look_day": evidence.counted + decision.look_again_days,
            "policy": {"name": terms.policy.name, "version": terms.policy.version},
            "decision": msgspec.to_builtins(decision),
        }  # fmt: skip

    def _state(self, subject: Subject, decision: Decision, waiting: Wish | None) -> str:
        if waiting is not None:
            return f"waiting to be moved to {SHOWN[waiting.tier]}"
        if subject.mode != AUTO:
            return "observed" if subject.mode == OBSERVE else OFF
        if subject.number in self._desk.queue:
            return f"queued (MOVE_LIMIT: {self._desk.queue.short_of or 'its turn'})"
        return "pinned" if subject.wishes.coldest == subject.wishes.hottest else "settled"

    def _sentence(self, subject: Subject, decision: Decision, evidence: Evidence) -> str:
        days = min(32, decision.situation.age)
        over = decision.situation.hint == 1.0  # of a hint `hot`
        words = [f"{word}, whose week is over" if word == "hint hot" and over else word for word in subject.said]
        said = f" ({', '.join(words)})" if words else ""
        text = explain(decision)
        head, colon, rest = text.partition(": ")
        return f"{head}{colon}read on {evidence.active.bit_count()} of the last {days} days{said}; {rest}"

    # --- the past -------------------------------------------------------------------------------------------

    def _as_of(self, volume: int, record: Volume, history: History, at_ns: int) -> dict[str, Any]:
        moves = [turn for turn in history.turns if turn.done and turn.source != turn.target]
        before = [turn for turn in moves if turn.done <= at_ns]
        after = [turn for turn in moves if turn.done > at_ns]
        tier = before[-1].target if before else after[0].source if after else SHOWN[record.tier]
        inforce = next((turn for turn in reversed(history.turns) if turn.time <= at_ns), None)
        shown: dict[str, Any] = {
            "volume": f"{volume:016x}",
            "tier": tier,
            "since": before[-1].done if before else 0,
            "history": _turns(
                msgspec.structs.replace(history, turns=tuple(t for t in history.turns if t.time <= at_ns))
            ),
        }
        decision = None if inforce is None else self.again(inforce)
        if inforce is None or decision is None:
            what = "no decision of then is on record" if inforce is None else f"{inforce.reason}, by {inforce.by}"
            return {**shown, "state": "past", "sentence": f"{tier}: {what}"}
        return {
            **shown,
            "state": "past",
            "reason": inforce.reason,
            "decided": inforce.time,
            "sentence": f"decided {_time(inforce.time)}: {explain(decision)}",
            "costs": [_cost(each) for each in decision.costs if each.tier in there(decision.prices)],
            "currency": decision.prices.currency,
            "policy": {"name": decision.policy.name, "version": decision.policy.version},
            "decision": msgspec.to_builtins(decision),
        }

    def again(self, turn: Turn) -> Decision | None:
        """The decision of a turn, made again from what its history keeps."""
        book, policy = self._rows.prices(turn.prices), self._rows.policy(turn.policy)
        if turn.situation is None or book is None or policy is None:
            return None
        return decide(turn.situation, book, policy)


def _cost(cost: Any) -> dict[str, Any]:
    return {**msgspec.to_builtins(cost), "month": cost.month}


def _since(history: History) -> int:
    """ns; 0: since it was written."""
    return next((turn.done for turn in reversed(history.turns) if turn.done and turn.source != turn.target), 0)


def _turns(history: History) -> list[dict[str, Any]]:
    return [
        {
            "time": turn.time, "from": turn.source, "to": turn.target, "reason": turn.reason, "by": turn.by,
            "done": turn.done, "predicted_a_month": turn.predicted, "realised": turn.realised,
            "move_cost": turn.move_cost, "payback_days": turn.payback_days, "observed": turn.observed,
            "policy": turn.policy, "prices": turn.prices,
        }
        for turn in history.turns
    ]  # fmt: skip


def _summary(explained: list[dict[str, Any]]) -> str:
    """One word, or each tier with its share of the bytes."""
    sizes: dict[str, int] = {}
    for each in explained:
        sizes[each["tier"]] = sizes.get(each["tier"], 0) + each["to"] - each["from"]
    if len(sizes) <= 1:
        return next(iter(sizes), "hot")
    whole = sum(sizes.values())
    return "mixed; " + ", ".join(f"{tier}={100 * sizes[tier] / whole:.0f}%" for tier in TIERS if tier in sizes)


def _time(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns // 10**9, UTC).strftime("%Y-%m-%d %H:%M UTC")
