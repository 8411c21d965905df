"""The conditions of a policy statement: every operator of IAM, on the values a request has for a condition key.

Room: stratum/core. May import: core.policy_pattern.

Invariants
    T1  A key without values: a positive operator does not hold, a negated one does, `...IfExists` holds,
        `ForAllValues:` holds, `ForAnyValue:` does not.
    T2  A negated operator holds for a value if it matches none of the policy's values. So with one value of the
        request `ForAllValues:StringNotEquals` and `ForAnyValue:StringNotEquals` agree; with several, the first wants
        every value to differ, the second at least one. Without a set operator every value must differ.
    T3  A value of the request that cannot be read as the operator's type matches nothing.

Source: docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html,
reference_policies_condition-single-vs-multi-valued-context-keys.html
"""

import base64
import binascii
import calendar
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from stratum.core.errors import MalformedPolicy
from stratum.core.policy_pattern import STAR, Lookup, Part, Pattern, parse_pattern

Context = Mapping[str, tuple[str, ...]]
Match = Callable[[str, Pattern, Lookup], bool]  # value of the request, value of the policy


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator with its prefix and suffix taken apart."""

    base: str
    negated: bool = False
    all_values: bool = False
    any_value: bool = False
    if_exists: bool = False


@dataclass(frozen=True, slots=True)
class Condition:
    """One line of a Condition element: `key` in lower case, compared with any of `values`."""

    operator: Operator
    key: str
    values: tuple[Pattern, ...]

    def holds(self, context: Context) -> bool:
        """Is it met by a request with this context?"""
        found, operator = context.get(self.key, ()), self.operator
        if operator.base == "Null":
            return any((value.text(_nothing) == "true") is not bool(found) for value in self.values)
        if not found:
            return operator.if_exists or operator.all_values or (operator.negated and not operator.any_value)
        lookup = lookup_in(context)
        match = _MATCHES[operator.base]

        def meets(value: str) -> bool:
            return any(match(value, wanted, lookup) for wanted in self.values) is not operator.negated

        every = operator.all_values or (operator.negated and not operator.any_value)
        return all(map(meets, found)) if every else any(map(meets, found))

    @property
    def keys(self) -> frozenset[str]:
        """Every condition key it looks at, in lower case."""
        return frozenset((self.key,)).union(*(value.keys for value in self.values))


def lookup_in(context: Context) -> Lookup:
    """Values for policy variables: those of keys with exactly one value."""

    def lookup(key: str) -> str | None:
        found = context.get(key.lower(), ())
        return found[0] if len(found) == 1 else None

    return lookup


def _nothing(key: str) -> None:
    return None


# --- types of values ------------------------------------------------------------------------------------------

_DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)(?:T(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?(Z|[+-]\d\d:?\d\d)?)?", re.ASCII)
_NUMBER = re.compile(r"[+-]?\d{1,40}(\.\d{1,40})?", re.ASCII)
DIGITS_MAX = 64


def number(text: str) -> Decimal | None:
    """A decimal number, or None. As liberal as the handlers: a number they would read is never overlooked here."""
    try:
        value = Decimal(text.strip()) if len(text) <= DIGITS_MAX else None
    except InvalidOperation:
        return None
    return value if value is not None and value.is_finite() else None


def moment(text: str) -> Decimal | None:
    """Seconds since the epoch of an ISO 8601 date, or of digits that are such seconds already; or None."""
    if _NUMBER.fullmatch(text):
        return Decimal(text)
    match = _DATE.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(part or 0) for part in match.groups()[:6])
    if not (year and 1 <= month <= 12 and 1 <= day <= 31 and hour < 24 and minute < 60 and second < 61):
        return None
    zone = match[8] or "Z"
    offset = 0 if zone == "Z" else int(zone[0] + "1") * (int(zone[1:3]) * 3600 + int(zone[-2:]) * 60)
    whole = calendar.timegm((year, month, day, hour, minute, second))
    return Decimal(whole - offset) + Decimal(f"0.{match[7] or 0}")


def truth(text: str) -> bool | None:
    """True or false in any case, or None."""
    return {"true": True, "false": False}.get(text.lower())


def binary(text: str) -> bytes | None:
    """Base64, or None."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def in_network(address: str, network: str) -> bool:
    """Is `address` within `network`? An IPv4 address mapped into IPv6 is the IPv4 address."""
    wanted = _network(network)
    try:
        found = ip_address(address)
    except ValueError:
        return False
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return wanted is not None and found in wanted


@lru_cache(maxsize=4096)
def _network(text: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None


def _is_network(text: str) -> bool:
    return _network(text) is not None


def arn_matches(value: str, wanted: Pattern, lookup: Lookup) -> bool:
    """Six parts between colons, each matched for itself: a `*` does not reach over the first five colons."""
    resolved = wanted.resolve(lookup)
    if resolved is None:
        return False
    if resolved.parts == (STAR,):
        return True
    found, fields = value.split(":", 5), _fields(resolved)
    return len(found) == len(fields) == 6 and all(
        field.matches(part) for field, part in zip(fields, found, strict=True)
    )


def _fields(pattern: Pattern) -> list[Pattern]:
    """The pattern of an ARN cut at its first five colons."""
    fields: list[list[Part]] = [[]]
    for part in pattern.parts:
        if not isinstance(part, str):
            fields[-1].append(part)
            continue
        first, *more = part.split(":", 6 - len(fields))
        fields[-1].append(first)
        fields += [[text] for text in more]
    return [Pattern(tuple(parts)) for parts in fields]


# --- operators ------------------------------------------------------------------------------------------------


def _texts(compare: Callable[[str, str], bool]) -> Match:
    """Compare with what the policy's value stands for; wildcards in it mean themselves."""

    def match(value: str, wanted: Pattern, lookup: Lookup) -> bool:
        text = wanted.text(lookup)
        return text is not None and compare(value, text)

    return match


def _read(read: Callable[[str], object | None], compare: Callable[[object, object], bool]) -> Match:
    def compared(value: str, text: str) -> bool:
        left, right = read(value), read(text)
        return left is not None and right is not None and compare(left, right)

    return _texts(compared)


def _like(value: str, wanted: Pattern, lookup: Lookup) -> bool:
    return wanted.matches(value, lookup)


_ORDERS: Mapping[str, Callable[[object, object], bool]] = {
    "Equals": lambda left, right: left == right,
    "LessThan": lambda left, right: left < right,  # type: ignore[operator]
    "LessThanEquals": lambda left, right: left <= right,  # type: ignore[operator]
    "GreaterThan": lambda left, right: left > right,  # type: ignore[operator]
    "GreaterThanEquals": lambda left, right: left >= right,  # type: ignore[operator]
}

_MATCHES: Mapping[str, Match] = {
    "StringEquals": _texts(lambda value, text: value == text),
    "StringEqualsIgnoreCase": _texts(lambda value, text: value.casefold() == text.casefold()),
    "StringLike": _like,
    **{f"Numeric{order}": _read(number, compare) for order, compare in _ORDERS.items()},
    **{f"Date{order}": _read(moment, compare) for order, compare in _ORDERS.items()},
    "Bool": _read(truth, lambda left, right: left == right),
    "BinaryEquals": _read(binary, lambda left, right: left == right),
    "IpAddress": _texts(in_network),
    "ArnEquals": arn_matches,  # at AWS both do the same
    "ArnLike": arn_matches,
}

_NEGATED = {
    "StringNotEquals": "StringEquals",
    "StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase",
    "StringNotLike": "StringLike",
    "NumericNotEquals": "NumericEquals",
    "DateNotEquals": "DateEquals",
    "NotIpAddress": "IpAddress",
    "ArnNotEquals": "ArnEquals",
    "ArnNotLike": "ArnLike",
}
_SPELLINGS = {name.lower(): name for name in (*_MATCHES, *_NEGATED, "Null")}

# A value of the policy that could never be met would make a Deny that denies nothing: refused when it is stored.
_READABLE: tuple[tuple[str, Callable[[str], bool]], ...] = (
    ("Numeric", lambda text: number(text) is not None),
    ("Date", lambda text: moment(text) is not None),
    ("Bool", lambda text: truth(text) is not None),
    ("Null", lambda text: text in ("true", "false")),
    ("Binary", lambda text: binary(text) is not None),
    ("IpAddress", _is_network),
    ("Arn", lambda text: text == "*" or text.count(":") >= 5),
)


def parse_operator(text: str) -> Operator:
    """Return the operator of that name, in any case. Raises MalformedPolicy."""
    prefix, colon, name = text.rpartition(":")
    folded, prefix = name.lower(), prefix.lower()
    if_exists = folded.endswith("ifexists")
    found = _SPELLINGS.get(folded.removesuffix("ifexists"))
    unknown = colon and prefix not in ("forallvalues", "foranyvalue")
    if found is None or unknown or (found == "Null" and (colon or if_exists)):
        raise MalformedPolicy(f"Invalid Condition type : {text[:64]}")
    return Operator(
        base=_NEGATED.get(found, found),
        negated=found in _NEGATED,
        all_values=prefix == "forallvalues",
        any_value=prefix == "foranyvalue",
        if_exists=if_exists,
    )


def parse_condition(operator: str, key: str, values: tuple[str, ...], *, variables: bool) -> Condition:
    """Return one condition. Raises MalformedPolicy for an unknown operator or a value it could never be met by."""
    parsed = parse_operator(operator)
    wildcards = parsed.base in ("StringLike", "ArnEquals", "ArnLike")
    texts = tuple(value.lower() if parsed.base in ("Bool", "Null") else value for value in values)
    patterns = tuple(
        parse_pattern(text, variables=variables and parsed.base != "Null", wildcards=wildcards) for text in texts
    )
    readable = next((check for start, check in _READABLE if parsed.base.startswith(start)), lambda text: True)
    for text, pattern in zip(texts, patterns, strict=True):
        if not pattern.keys and not readable(text):
            raise MalformedPolicy(f"Invalid value for condition operator {operator[:64]}: {text[:64]}")
    return Condition(parsed, key.lower(), patterns)
