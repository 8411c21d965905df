"""Replaying a trace: days pass one by one, a policy decides every evening, and everything is paid for.

Room: stratum/serve. May import: core.tiering, serve.{replay_columns, replay_trace}.

Invariant: a policy is handed one evening at a time and nothing else of the trace, so none can see a later day.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from stratum.core.tiering.costs import (
    access,
    break_even,
    early_leave,
    holding,
    moves_from,
    overnight,
    read_in_full,
    worked,
)  # fmt: skip
from stratum.core.tiering.optimum import at_start
from stratum.core.tiering.prices import COLD, PriceBook
from stratum.serve.replay_columns import COLUMNS
from stratum.serve.replay_trace import Trace

EDGES = ((0, 1), (0, 2), (1, 2))
STAYED_SINCE_START = 1_000_000  # days: the starting tier is exempt from minimum stays


@dataclass(frozen=True)
class Evening:
    """What is known on the evening of a step, as columns over units."""

    step: int
    visits: np.ndarray
    gb_read: np.ndarray
    tier: np.ndarray
    at_hand: np.ndarray
    alive: np.ndarray
    moves: tuple[np.ndarray, ...]  # cost of moving tonight to each tier


class Rule(Protocol):
    """A policy: told of every evening once, in order."""

    def decide(self, evening: Evening) -> tuple[np.ndarray, np.ndarray]:
        """The tier of each unit from midnight on, and why (an index into `reasons`)."""

    reasons: tuple[str, ...]


@dataclass
class Run:
    """What a policy came to."""

    cost: np.ndarray  # per unit
    rent: float = 0.0
    reading: float = 0.0
    moving: float = 0.0
    gb_moved: float = 0.0
    moves: int = 0
    flip_flops: int = 0
    reads: float = 0.0
    cold_reads: float = 0.0
    worst: np.ndarray | None = None
    listed: list[tuple[int, np.ndarray, np.ndarray, np.ndarray, np.ndarray]] = field(default_factory=list)

    @property
    def cold_share(self) -> float:
        """The share of reads that cold answered."""
        return self.cold_reads / self.reads if self.reads else 0.0


def replay(
    trace: Trace, book: PriceBook, rule: Rule, start: int, *, listing: bool = False,
    passed: Callable[[], None] = lambda: None,
) -> Run:  # fmt: skip
    """Run one policy through the trace. `listing` keeps every move; `passed` is called after each day."""
    a, count, every = COLUMNS, len(trace.gb), np.arange(len(trace.gb))
    held = np.stack(holding(book, trace.gb), axis=1)
    tier = np.full(count, start)
    before, moved_at = np.full(count, -1), np.full(count, -STAYED_SINCE_START)
    breaks = {edge: break_even(a, book, trace.gb, *edge) for edge in EDGES}
    run = Run(cost=np.zeros(count))
    for step in range(trace.days):
        visits, gb_read = trace.on(step)
        alive = trace.born <= step
        rent = np.where(alive, held[every, tier], 0.0)
        reading = np.stack(access(book, visits, gb_read), axis=1)[every, tier]
        run.cost += rent + reading
        run.rent, run.reading = run.rent + float(rent.sum()), run.reading + float(reading.sum())
        run.reads += float(visits.sum())
        run.cold_reads += float(visits[tier == COLD].sum())
        if step < trace.days - 1:
            at_hand = read_in_full(trace.gb, gb_read)
            moves = moves_from(a, book, trace.gb, tier, at_hand)
            target, reason = rule.decide(Evening(step, visits, gb_read, tier, at_hand, alive, moves))
            going = np.flatnonzero(alive & (target != tier))
            leave = early_leave(a, book, trace.gb[going], tier[going], step - moved_at[going])
            fee = np.stack(moves, axis=1)[going, target[going]] + leave
            run.cost[going] += fee
            run.moving += float(fee.sum())
            run.gb_moved += float(trace.gb[going].sum())
            run.moves += len(going)
            run.flip_flops += _undone(breaks, going, tier, target, before, step - moved_at)
            if listing:
                run.listed.append((step, going, tier[going], target[going], reason[going]))
            before[going], moved_at[going] = tier[going], step
            tier = tier.copy()
            tier[going] = target[going]
        passed()
    return run


def _undone(
    breaks: dict[tuple[int, int], np.ndarray], going: np.ndarray, tier: np.ndarray, target: np.ndarray,
    before: np.ndarray, since: np.ndarray,
) -> int:  # fmt: skip
    """How many of the moves undo the previous one sooner than the break-even time."""
    found = 0
    undoing = going[before[going] == target[going]]
    for (hotter, colder), limit in breaks.items():
        low, high = np.minimum(tier, target)[undoing], np.maximum(tier, target)[undoing]
        of_edge = undoing[(low == hotter) & (high == colder)]
        found += int((since[of_edge] < limit[of_edge]).sum())
    return found


def optimum(trace: Trace, book: PriceBook, start: int, passed: Callable[[], None] = lambda: None) -> np.ndarray:
    """The clairvoyant optimum of every unit (core.tiering.optimum, over columns)."""
    a = COLUMNS
    values = at_start(trace.gb, start)
    paid = values
    for step in range(trace.days):
        visits, gb_read = trace.on(step)
        alive = trace.born <= step
        today = worked(a, book, trace.gb, values, visits, gb_read)
        night = overnight(a, book, trace.gb, today, read_in_full(trace.gb, gb_read))
        paid = tuple(np.where(alive, new, old) for new, old in zip(today, paid, strict=True))
        values = tuple(np.where(alive, new, old) for new, old in zip(night, values, strict=True))
        passed()
    return np.where(trace.born < trace.days, np.minimum(np.minimum(*paid[:2]), paid[2]), 0.0)
