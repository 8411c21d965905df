"""Is a history of one key that of one register? An exact search, and the linear zones algorithm beside it.

Every value written is unique, so a read names the write it saw. The search (just-in-time linearisation, after Wing,
Gong and Lowe) walks the history in time and keeps every state that could be: (value, operations under way that have
had their effect). It is exact for puts, deletes, reads, conditional puts and operations that never got an answer. The
zones algorithm (Gibbons and Korach) knows only puts and reads, but takes linear time whatever the concurrency.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

Kind = Literal["put", "get", "delete", "create", "swap"]  # create: If-None-Match: *, swap: If-Match
ABSENT = ""
NEVER = 1 << 62  # the end of an operation without an answer
STATES_MAX = 200_000  # more than the search may hold at once


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation on one key, as its client saw it. Times in nanoseconds of one clock."""

    client: int
    kind: Kind
    key: str
    begin: int
    end: int = NEVER
    value: str = ABSENT  # what it writes, or what was read
    expected: str = ABSENT  # of a swap
    refused: bool = False  # a conditional put whose condition did not hold

    @property
    def mutates(self) -> bool:
        return self.kind != "get" and not self.refused

    def after(self, state: str) -> str | None:
        """The value once it has had its effect on `state`, None: it cannot happen there."""
        match self.kind:
            case "get":
                return state if state == self.value else None
            case "put":
                return self.value
            case "delete":
                return ABSENT
            case "create":
                holds = state == ABSENT
            case "swap":
                holds = state == self.expected
        if self.refused:
            return None if holds else state
        return self.value if holds else None


@dataclass(frozen=True, slots=True)
class Violation:
    """No order of the operations explains this one."""

    key: str
    operation: Operation
    why: str

    def __str__(self) -> str:
        return f"{self.key}: {self.why}: {self.operation}"


class TooWide(Exception):
    """More operations of one key at once than the search can follow."""


State = tuple[str, frozenset[int]]  # the value, and which operations under way have had their effect


def check(operations: Iterable[Operation], initial: str = ABSENT) -> list[Violation]:
    """Check every key; at most one violation a key. Raises TooWide."""
    by_key: dict[str, list[Operation]] = defaultdict(list)
    for operation in operations:
        by_key[operation.key].append(operation)
    found = [_zones(key, history) or _search(key, history, initial) for key, history in sorted(by_key.items())]
    return [each for each in found if each is not None]


def _search(key: str, history: Sequence[Operation], initial: str) -> Violation | None:
    events = sorted(
        [(op.begin, 0, number) for number, op in enumerate(history)]
        + [(op.end, 1, number) for number, op in enumerate(history) if op.end < NEVER]
    )
    under_way: set[int] = set()
    states: set[State] = {(initial, frozenset())}
    for _, ends, number in events:
        if not ends:
            under_way.add(number)
            continue
        states = _with_effect(history, under_way, states, number)
        under_way.discard(number)
        if not states:
            return Violation(key, history[number], "no order of the operations explains it")
    return None


def _with_effect(history: Sequence[Operation], under_way: set[int], states: set[State], ended: int) -> set[State]:
    """All states in which operation `ended` has had its effect, which is then forgotten."""
    kept: set[State] = set()
    seen: set[State] = set()
    stack = [_satisfied(history, under_way, state) for state in states]
    while stack:
        state = stack.pop()
        if state in seen:
            continue
        seen.add(state)
        if len(seen) > STATES_MAX:
            raise TooWide(f"{len(under_way)} operations of {history[ended].key} at once")
        value, done = state
        if ended in done:
            kept.add((value, done - {ended}))
            continue
        for number in under_way - done:
            following = history[number].after(value)
            if following is not None:
                stack.append(_satisfied(history, under_way, (following, done | {number})))
    return kept


def _satisfied(history: Sequence[Operation], under_way: set[int], state: State) -> State:
    """What changes nothing may as well happen as soon as it can."""
    value, done = state
    idle = {n for n in under_way - done if not history[n].mutates and history[n].after(value) is not None}
    return value, done | idle if idle else done


@dataclass(slots=True)
class _Zone:
    write: Operation | None = None
    first_end: int = NEVER
    last_begin: int = -1
    last: Operation | None = None  # the operation that begins last

    def add(self, operation: Operation) -> None:
        self.first_end = min(self.first_end, operation.end)
        if operation.begin > self.last_begin:
            self.last_begin, self.last = operation.begin, operation


def _zones(key: str, history: Sequence[Operation]) -> Violation | None:
    """Puts and reads alone: forward zones may not overlap, no backward zone may lie inside a forward one."""
    zones: dict[str, _Zone] = defaultdict(_Zone)
    for operation in history:
        writes = operation.kind in ("put", "create", "swap") and not operation.refused
        if operation.value == ABSENT or not (writes or operation.kind == "get"):
            continue
        zone = zones[operation.value]
        zone.add(operation)
        if writes:
            zone.write = operation
    for operation in history:
        if operation.kind == "get" and operation.value != ABSENT:
            write = zones[operation.value].write
            if write is None or operation.end < write.begin:
                return Violation(key, operation, "it read what nobody had written yet")
    written = [zone for zone in zones.values() if zone.write is not None]
    forward = sorted((z for z in written if z.first_end < z.last_begin), key=lambda zone: zone.first_end)
    for one, next_one in pairwise(forward):
        if next_one.first_end < one.last_begin:
            return Violation(key, one.last, "it read a value that had been replaced before it began")
    backward = sorted((z for z in written if z.first_end >= z.last_begin), key=lambda zone: zone.last_begin)
    return _inside(key, forward, backward)


def _inside(key: str, forward: list[_Zone], backward: list[_Zone]) -> Violation | None:
    position = 0
    for zone in backward:
        while position < len(forward) and forward[position].last_begin < zone.last_begin:
            position += 1
        if position == len(forward):
            return None
        outer = forward[position]
        if outer.first_end < zone.last_begin and zone.first_end < outer.last_begin:
            return Violation(key, outer.last, "it read a value that had been replaced before it began")
    return None


def lost_updates(operations: Iterable[Operation]) -> list[tuple[Operation, Operation]]:
    """Two swaps that both replaced the same value: each successful If-Match names its predecessor."""
    winners: dict[tuple[str, str], Operation] = {}
    lost = []
    for operation in operations:
        if operation.kind == "swap" and not operation.refused and operation.end < NEVER:
            other = winners.setdefault((operation.key, operation.expected), operation)
            if other is not operation:
                lost.append((other, operation))
    return lost
