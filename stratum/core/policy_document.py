"""From the JSON text of a policy to its statements: strict, bounded, and telling about what is wrong.

Room: stratum/core. May import: core.{errors, policy_*}.

Invariants
    J1  What is not understood is refused, never skipped: unknown elements, unknown actions and condition keys, a key
        given twice. A policy that means less than its author thinks is worse than none.
    J2  Size and depth are bounded before the JSON is read.
    J3  What takes longest to judge by is bounded too, and weighed: judging takes tens of milliseconds at the most.

Source: docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html,
docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-policies.html
"""

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import NoReturn

from stratum.core.errors import MalformedPolicy
from stratum.core.policy_actions import names_an_action
from stratum.core.policy_conditions import Condition, parse_condition
from stratum.core.policy_keys import known_key
from stratum.core.policy_pattern import Pattern, parse_pattern
from stratum.core.policy_principals import EVERYONE, KINDS, Name, parse_name
from stratum.core.policy_statements import Effect, Policy, Statement

POLICY_BYTES = 20 * 1024
AT_ONCE = 2048  # bytes of a policy that is parsed on the event loop: up to 2 ms
PARSED = 256  # policies that are kept parsed
VARYING_MAX, SEARCHING_MAX = 200, 50  # patterns of a policy that have variables, or `?` between two stars
DEPTH_MAX = 8  # a condition's values are at depth 6
VERSIONS = ("2008-10-17", "2012-10-17")
ARN = "arn:aws:s3:::"

_STRING = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\\?\Z)', re.DOTALL)  # one that does not end, ends at the end: linear
_ACTION = re.compile(r"[a-z0-9-]{1,64}:[A-Za-z0-9*?]{1,128}", re.ASCII | re.IGNORECASE)
_ELEMENTS = {
    "Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition",
}  # fmt: skip


class _Number(str):
    """A JSON number, in its own digits: fit for a condition, for nothing else."""

    __slots__ = ()


@lru_cache(maxsize=PARSED)
def parse_policy(text: str, bucket: str = "") -> Policy:
    """Return the policy of `bucket`, or with no bucket the policy of a user (no principals, any resource).

    Raises MalformedPolicy with words for the client. Equal texts are parsed once; one of 20 KiB takes some 20 ms.
    """
    document = _json(text)
    if not isinstance(document, dict):
        raise MalformedPolicy("Policies must be valid JSON and the first byte must be '{'")
    _only(document, {"Version", "Id", "Statement"})
    version = document.get("Version", VERSIONS[0])
    if version not in VERSIONS:
        raise MalformedPolicy("The policy must contain a valid version string")
    if type(document.get("Id", "")) is not str:
        raise MalformedPolicy("Id must be a string")
    if "Statement" not in document:
        raise MalformedPolicy("Missing required field Statement")
    found = document["Statement"]
    statements = found if isinstance(found, list) else [found]
    if not statements:
        raise MalformedPolicy("Could not parse the policy: Statement is empty!")
    parsed = tuple(_statement(each, bucket, variables=version == VERSIONS[1]) for each in statements)
    return Policy(parsed, _weight(parsed))


def _weight(statements: tuple[Statement, ...]) -> int:
    """See Policy. Raises MalformedPolicy for what would take too long to judge by (J3)."""
    patterns = [pattern for each in statements for pattern in each.patterns]
    if sum(pattern.varies for pattern in patterns) > VARYING_MAX:
        raise MalformedPolicy(f"The policy has more than {VARYING_MAX} values with variables")
    if sum(pattern.searches for pattern in patterns) > SEARCHING_MAX:
        raise MalformedPolicy(f"The policy has more than {SEARCHING_MAX} patterns with ? between two *")
    return sum(1 + len(pattern.parts) // 8 + 20 * (pattern.varies + 2 * pattern.searches) for pattern in patterns)


def _json(text: str) -> object:
    if len(text.encode("utf-8", "surrogatepass")) > POLICY_BYTES:
        raise MalformedPolicy(f"Policies may not be larger than {POLICY_BYTES} bytes")
    if not text.lstrip().startswith("{"):
        raise MalformedPolicy("Policies must be valid JSON and the first byte must be '{'")
    depth = deepest = 0
    for char in _STRING.sub("", text):
        depth += (char in "[{") - (char in "]}")
        deepest = max(deepest, depth)
    if deepest > DEPTH_MAX:
        raise MalformedPolicy("The policy is nested too deeply")
    try:
        return json.loads(
            text, object_pairs_hook=_pairs, parse_int=_Number, parse_float=_Number, parse_constant=_no_constant
        )
    except ValueError as error:
        raise MalformedPolicy("This policy contains invalid Json") from error


def _pairs(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise MalformedPolicy("This policy contains a key twice in one object")
    return found


def _no_constant(text: str) -> NoReturn:
    raise MalformedPolicy("This policy contains invalid Json")


def _only(document: Mapping[str, object], known: set[str]) -> None:
    for name in document:
        if name not in known:
            raise MalformedPolicy(f"Unknown field {name[:64]}")


def _texts(value: object, element: str) -> list[str]:
    """One string or a list of them, never empty."""
    found = value if isinstance(value, list) else [value]
    texts = [each for each in found if type(each) is str and each]
    if not texts or len(texts) != len(found):
        raise MalformedPolicy(f"{element} must be a string or a list of strings, and not empty")
    return texts


def _statement(document: object, bucket: str, *, variables: bool) -> Statement:
    if not isinstance(document, dict):
        raise MalformedPolicy("A statement must be an object")
    _only(document, _ELEMENTS)
    effect, sid = document.get("Effect"), document.get("Sid", "")
    if effect not in ("Allow", "Deny"):
        raise MalformedPolicy("Missing required field Effect" if effect is None else f"Invalid effect: {effect!s:.64}")
    if type(sid) is not str:
        raise MalformedPolicy("Sid must be a string")
    principals, not_principals = _principals(document, bucket)
    if not_principals and effect == "Allow":
        raise MalformedPolicy("Allow with NotPrincipal is not allowed: it would let in everyone else.")
    actions, not_actions = _either(document, "Action")
    resources, not_resources = _either(document, "Resource")
    return Statement(
        effect=Effect(effect),
        principals=principals,
        actions=tuple(_action(text, bucket) for text in actions),
        resources=tuple(_resource(text, bucket, variables=variables) for text in resources),
        conditions=_conditions(document.get("Condition", {}), bucket, variables=variables),
        not_principals=not_principals,
        not_actions=not_actions,
        not_resources=not_resources,
        sid=sid,
    )


def _either(document: Mapping[str, object], element: str) -> tuple[list[str], bool]:
    """The texts of `element` or of its negation; exactly one of the two must be there."""
    negation = f"Not{element}"
    if (element in document) is (negation in document):
        both = element in document
        raise MalformedPolicy(
            f"{element} and {negation} exclude each other" if both else f"Missing required field {element}"
        )
    name = element if element in document else negation
    return _texts(document[name], name), name == negation


def _principals(document: Mapping[str, object], bucket: str) -> tuple[tuple[Name, ...], bool]:
    given = [name for name in ("Principal", "NotPrincipal") if name in document]
    if not bucket:
        if given:
            raise MalformedPolicy("The policy of a user names no principal")
        return EVERYONE, False
    if len(given) != 1:
        raise MalformedPolicy(
            "Principal and NotPrincipal exclude each other" if given else "Missing required field Principal"
        )
    value = document[given[0]]
    if value == "*":
        return EVERYONE, given[0] == "NotPrincipal"
    if not isinstance(value, dict) or not value or not value.keys() <= set(KINDS):
        raise MalformedPolicy("Invalid principal in policy")
    names = tuple(parse_name(kind, text) for kind, texts in value.items() for text in _texts(texts, "Principal"))
    return names, given[0] == "NotPrincipal"


def _action(text: str, bucket: str) -> Pattern:
    known = (
        names_an_action(text) if bucket or text.lower().startswith("s3:") or text == "*" else _ACTION.fullmatch(text)
    )
    if not known:
        raise MalformedPolicy(f"Policy has invalid action: {text[:128]}")
    return parse_pattern(text.lower(), variables=False)


def _resource(text: str, bucket: str, *, variables: bool) -> Pattern:
    if bucket and not (text.startswith(ARN) and _may_mean(text.removeprefix(ARN), bucket)):
        raise MalformedPolicy(f"Policy has invalid resource: {text[:256]}")
    if not bucket and text != "*" and not text.startswith("arn:"):
        raise MalformedPolicy(f"Policy has invalid resource: {text[:256]}")
    return parse_pattern(text, variables=variables)


def _may_mean(path: str, bucket: str) -> bool:
    """Could `path`, with its wildcards, name the bucket or something in it?"""
    name = path.partition("/")[0]
    if parse_pattern(name, variables=False).matches(bucket):
        return True
    head, star, _ = name.partition("*")
    whole = f"{bucket}/"
    return bool(star) and parse_pattern(head, variables=False).matches(whole[: len(head)])


def _conditions(document: object, bucket: str, *, variables: bool) -> tuple[Condition, ...]:
    if not isinstance(document, dict):
        raise MalformedPolicy("Condition must be an object")
    found: list[Condition] = []
    for operator, lines in document.items():
        if not isinstance(lines, dict) or not lines:
            raise MalformedPolicy(f"Condition {operator[:64]} must be an object, and not empty")
        for key, value in lines.items():
            if bucket and not known_key(key):
                raise MalformedPolicy(f"Policy has an invalid condition key: {key[:128]}")
            found.append(parse_condition(operator, key, _values(value), variables=variables))
    return tuple(found)


def _values(value: object) -> tuple[str, ...]:
    found = value if isinstance(value, list) else [value]
    if not found or any(not isinstance(each, str | bool) for each in found):
        raise MalformedPolicy("The values of a condition must be strings, numbers or booleans, and not none at all")
    return tuple(str(each).lower() if isinstance(each, bool) else str(each) for each in found)
