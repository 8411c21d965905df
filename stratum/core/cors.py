"""Which web pages may use a bucket from a browser: the rules of a bucket, and which of them a request meets.

Room: stratum/core. May import: nothing of ours.

Invariants
    C1  The first rule that allows origin, method and headers together counts; rules are never added up.
    C2  A `*` stands for any run of characters, once in a value. Origins and methods are compared exactly, header
        names without regard to case.

Source: docs.aws.amazon.com/AmazonS3/latest/userguide/ManageCorsUsing.html
"""

from collections.abc import Iterable, Sequence

import msgspec

KIND = "cors"
RULES_MAX = 100
METHODS = ("GET", "PUT", "HEAD", "POST", "DELETE")


class CorsRule(msgspec.Struct, frozen=True, array_like=True):
    """One rule. `max_age` in seconds: how long a browser may remember a preflight; None: as it likes."""

    origins: tuple[str, ...]
    methods: tuple[str, ...]
    headers: tuple[str, ...] = ()
    expose: tuple[str, ...] = ()
    max_age: int | None = None
    id: str = ""


class CorsRules(msgspec.Struct, frozen=True, array_like=True):
    """The rules of a bucket, in the order in which they are tried."""

    rules: tuple[CorsRule, ...] = ()


def matches(pattern: str, text: str) -> bool:
    """Does `text` meet `pattern`, in which one `*` stands for anything (C2)?"""
    before, star, after = pattern.partition("*")
    if not star:
        return pattern == text
    return len(text) >= len(before) + len(after) and text.startswith(before) and text.endswith(after)


def matching_rule(rules: CorsRules, origin: str, method: str, headers: Iterable[str] = ()) -> CorsRule | None:
    """The first rule that allows a page of `origin` to send `method` with `headers`, or None (C1)."""
    wanted = [name.lower() for name in headers]
    return next((rule for rule in rules.rules if _allows(rule, origin, method, wanted)), None)


def _allows(rule: CorsRule, origin: str, method: str, headers: Sequence[str]) -> bool:
    return (
        method in rule.methods
        and any(matches(pattern, origin) for pattern in rule.origins)
        and all(any(matches(pattern.lower(), name) for pattern in rule.headers) for name in headers)
    )


def allowed_origin(rule: CorsRule, origin: str) -> str:
    """What Access-Control-Allow-Origin says: `*` only where the rule itself names every origin, else the one asked."""
    named = any(pattern != "*" and matches(pattern, origin) for pattern in rule.origins)
    return origin if named else "*"
