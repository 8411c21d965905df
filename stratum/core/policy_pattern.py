"""Patterns of policies: `*`, `?` and policy variables, matched in bounded time.

Room: stratum/core. May import: nothing of ours.

Invariants
    G1  What a variable is replaced by is text: a `*` in a user's name is a star, never a wildcard.
    G2  A pattern with a variable that the request has no value for, and that names no default, matches nothing.
    G3  No backtracking over stars: each run between two stars is searched for once, from left to right.
    G4  A search reads the text once: by its rarest-looking literal, or (where that is everywhere) all places at a time.

Source: docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache

Lookup = Callable[[str], str | None]  # the one value of a condition key, or None

_VARIABLE = re.compile(r"\$\{([^{}$]{1,256}|[*?$])\}")
_DEFAULT = re.compile(r"(.*?)\s*,\s*'(.*)'", re.DOTALL)
_SPECIAL = ("*", "?", "$")
ATTEMPTS = 16  # at places where the literal of a run stands, before all are followed at a time


@dataclass(frozen=True, slots=True)
class Variable:
    """`${key}` or `${key, 'default'}`."""

    key: str
    default: str | None


# A pattern is a sequence of literal texts, wildcards and variables. Wildcards are one character each.
STAR, ONE = object(), object()
Part = str | Variable | object


@dataclass(frozen=True)
class Pattern:
    """A parsed pattern; `parts` in order. What it needs to match is made once, at its first match."""

    parts: tuple[Part, ...]

    @cached_property
    def varies(self) -> bool:
        """Has it variables?"""
        return any(isinstance(part, Variable) for part in self.parts)

    @cached_property
    def _runs(self) -> tuple["_Run", ...]:
        """What stands between the stars, without variables."""
        runs: list[list[Part]] = [[]]
        for part in self.parts:
            if part is STAR:
                runs.append([])
            else:
                runs[-1].append(part)
        return tuple(map(_Run, runs))

    @property
    def searches(self) -> bool:
        """Must places with a `?` be searched for, between two stars? Such patterns take the longest (G4)."""
        return any(run.searched for run in self._runs[1:-1])

    @property
    def keys(self) -> frozenset[str]:
        """Condition keys that its variables name, in lower case."""
        return frozenset(part.key.lower() for part in self.parts if isinstance(part, Variable))

    @property
    def fixed(self) -> bool:
        """Has it neither wildcards nor variables?"""
        return all(isinstance(part, str) for part in self.parts)

    def resolve(self, lookup: Lookup) -> "Pattern | None":
        """The pattern with its variables replaced, or None if one has no value (G1, G2)."""
        if not self.varies:
            return self
        parts: list[Part] = []
        for part in self.parts:
            if isinstance(part, Variable):
                value = lookup(part.key)
                value = part.default if value is None else value
                if value is None:
                    return None
                part = value
            parts.append(part)
        return Pattern(tuple(parts))

    def matches(self, text: str, lookup: Lookup = lambda key: None) -> bool:
        """Does the whole of `text` match?"""
        resolved = self.resolve(lookup)
        return resolved is not None and _matches(resolved._runs, text)

    def text(self, lookup: Lookup) -> str | None:
        """What the pattern stands for where wildcards mean themselves, or None (G2)."""
        resolved = self.resolve(lookup)
        if resolved is None:
            return None
        return "".join("*" if part is STAR else "?" if part is ONE else str(part) for part in resolved.parts)


@lru_cache(maxsize=4096)
def parse_pattern(source: str, *, variables: bool = True, wildcards: bool = True) -> Pattern:
    """Parse `source`. `variables`: as policies of version 2012-10-17 have them; else `${` is text."""
    parts: list[Part] = []
    at = 0
    for match in _VARIABLE.finditer(source) if variables else ():
        _literal(source[at : match.start()], parts, wildcards)
        parts.append(match[1] if match[1] in _SPECIAL else _variable(match[1]))
        at = match.end()
    _literal(source[at:], parts, wildcards)
    return Pattern(tuple(parts))


def _literal(text: str, parts: list[Part], wildcards: bool) -> None:
    for piece in re.split(r"([*?])", text) if wildcards else [text]:
        if wildcards and piece in ("*", "?"):
            parts.append(STAR if piece == "*" else ONE)
        elif piece:
            parts.append(piece)


def _variable(inside: str) -> Variable:
    match = _DEFAULT.fullmatch(inside)
    return Variable(match[1], match[2]) if match else Variable(inside.strip(), None)


class _Run:
    """What stands between two stars: of a fixed length, so that finding it cannot backtrack."""

    __slots__ = ("_anchor", "_offset", "_parts", "_regex", "_text", "length")

    def __init__(self, parts: list[Part]) -> None:
        self._parts = parts
        self._text = "".join(str(part) for part in parts if part is not ONE)
        self.length = len(self._text) + parts.count(ONE)
        self._regex: re.Pattern[str] | None = None
        self._anchor, self._offset = "", 0  # its longest literal, and where that stands in it
        if ONE in parts:
            source = "".join("." if part is ONE else re.escape(str(part)) for part in parts)
            self._regex = re.compile(source, re.DOTALL)
            offset = 0
            for part in parts:
                if part is not ONE and len(str(part)) > len(self._anchor):
                    self._anchor, self._offset = str(part), offset
                offset += 1 if part is ONE else len(str(part))

    @property
    def searched(self) -> bool:
        """Has it a `?` and a literal?"""
        return self._regex is not None and bool(self._text)

    def starts(self, text: str, at: int) -> bool:
        """Does it stand at `at`?"""
        return text.startswith(self._text, at) if self._regex is None else self._regex.match(text, at) is not None

    def find(self, text: str, at: int, stop: int) -> int:
        """Where it first stands within [at, stop), or -1."""
        if self._regex is None:
            return text.find(self._text, at, stop)
        if not self._anchor:
            return at if at + self.length <= stop else -1
        rest = self.length - self._offset - len(self._anchor)
        for _ in range(ATTEMPTS):
            hit = text.find(self._anchor, at + self._offset, stop - rest)
            if hit < 0:
                return -1
            if self._regex.match(text, hit - self._offset) is not None:
                return hit - self._offset
            at = hit - self._offset + 1
        return self._everywhere(text, at, stop)

    def _everywhere(self, text: str, at: int, stop: int) -> int:
        """As `find`, following all places at a time, one bit each (Baeza-Yates and Gonnet, 1992, "shift-and")."""
        masks: dict[str, int] = {}
        any_one = place = 0
        for part in self._parts:
            if part is ONE:
                any_one |= 1 << place
                place += 1
                continue
            for char in str(part):
                masks[char] = masks.get(char, 0) | 1 << place
                place += 1
        followed, whole = 0, 1 << (self.length - 1)
        for number in range(at, stop):
            followed = (followed << 1 | 1) & (masks.get(text[number], 0) | any_one)
            if followed & whole:
                return number - self.length + 1
        return -1


def _matches(runs: tuple[_Run, ...], text: str) -> bool:
    first, last = runs[0], runs[-1]
    if len(runs) == 1:
        return len(text) == first.length and first.starts(text, 0)
    at, stop = first.length, len(text) - last.length
    if stop < at or not first.starts(text, 0) or not last.starts(text, stop):
        return False
    for run in runs[1:-1]:  # G3: the leftmost place leaves the most room for the rest
        found = run.find(text, at, stop)
        if found < 0:
            return False
        at = found + run.length
    return True
