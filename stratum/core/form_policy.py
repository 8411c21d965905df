"""The policy of a POST form: what the one who signed it allows a browser to upload.

Room: stratum/core. May import: core.errors.

Invariants
    F1  Every condition must hold, and every field must be named by one, but for those that are the signature itself
        (EXEMPT) and those that only ask for a check of the bytes. A field that nobody spoke of was put there by the
        browser, not by the signer.
    F2  What a condition says of `bucket` is held against the bucket that the request goes to, never against a field.
    F3  Names and operators are compared without regard to case, values exactly.

Source: docs.aws.amazon.com/AmazonS3/latest/API/sigv4-HTTPPOSTConstructPolicy.html
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

import msgspec

from stratum.core.errors import Invalid, NotPermitted

EXEMPT = frozenset(("awsaccesskeyid", "file", "policy", "signature", "x-amz-signature"))
EXEMPT_STARTS = ("x-ignore-", "x-amz-checksum-")

_NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII)
_EXPIRATION = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z", re.ASCII)


class MalformedFormPolicy(Invalid):
    """The policy of a form is not one: nothing can be held against it."""


class FormRefused(NotPermitted):
    """The form is not what its policy allows."""


@dataclass(frozen=True, slots=True)
class FormCondition:
    """`field` (lower case) is, or with `starts` begins with, `value`."""

    field: str
    value: str
    starts: bool = False

    def __str__(self) -> str:
        return f'["{"starts-with" if self.starts else "eq"}", "${self.field}", "{self.value}"]'


@dataclass(frozen=True, slots=True)
class FormPolicy:
    """`expiration`: ISO 8601, UTC. `sizes`: least and most bytes of the file, where the policy says."""

    expiration: str
    conditions: tuple[FormCondition, ...]
    sizes: tuple[int, int] | None = None


def parse_form_policy(document: bytes) -> FormPolicy:
    """Read a policy (JSON). Raises MalformedFormPolicy."""
    try:
        found = msgspec.json.decode(document)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise MalformedFormPolicy("Invalid JSON.") from error
    if not isinstance(found, dict):
        _malformed("Invalid JSON.")
    for name in found:
        if name not in ("expiration", "conditions"):
            _malformed(f"Unexpected: '{name}'")
    expiration, conditions = found.get("expiration"), found.get("conditions")
    if expiration is None:
        _malformed("Policy missing expiration.")
    if not isinstance(expiration, str) or not _EXPIRATION.fullmatch(expiration):
        _malformed("Invalid 'expiration' value.")
    if not isinstance(conditions, list):
        _malformed("Policy missing conditions.")
    sizes: tuple[int, int] | None = None
    kept: list[FormCondition] = []
    for each in conditions:
        read = _condition(each)
        if isinstance(read, FormCondition):
            kept.append(read)
        else:  # of several ranges all must hold
            sizes = read if sizes is None else (max(sizes[0], read[0]), min(sizes[1], read[1]))
    return FormPolicy(expiration, tuple(kept), sizes)


def _condition(each: object) -> FormCondition | tuple[int, int]:
    if isinstance(each, dict):
        if len(each) != 1:
            _malformed("Invalid Simple-Condition: Simple-Conditions must have exactly one property specified.")
        [(name, value)] = each.items()
        if not isinstance(value, str):
            _malformed("Invalid Simple-Condition: value must be a string.")
        return FormCondition(str(name).lower(), value)
    if not isinstance(each, list) or not each or not isinstance(each[0], str):
        _malformed("Invalid condition.")
    operator = each[0].lower()
    if len(each) != 3:
        _malformed(f"Invalid Condition: wrong number of arguments for '{operator}'.")
    if operator == "content-length-range":
        return _sizes(each[1], each[2])
    if operator not in ("eq", "starts-with"):
        _malformed(f"Invalid Condition: unknown operation '{operator}'.")
    field, value = each[1], each[2]
    if not isinstance(field, str) or not field.startswith("$") or len(field) < 2 or not isinstance(value, str):
        _malformed(f"Invalid '{operator}' parameter.")
    return FormCondition(field[1:].lower(), value, starts=operator == "starts-with")


def _sizes(least: object, most: object) -> tuple[int, int]:
    numbers = []
    for each in (least, most):
        if isinstance(each, bool) or not isinstance(each, int | str) or not _NUMBER.fullmatch(str(each)):
            _malformed("Invalid 'content-length-range' parameter.")
        numbers.append(int(each))
    return numbers[0], numbers[1]


def check_form(policy: FormPolicy, fields: Mapping[str, str], bucket: str) -> None:
    """Hold the fields (lower-case names, without the file) of a form posted to `bucket` against its policy (F1, F2).

    Raises FormRefused.
    """
    said = {**fields, "bucket": bucket}
    for condition in policy.conditions:
        if not _holds(condition, said.get(condition.field, "")):
            raise FormRefused(f"Invalid according to Policy: Policy Condition failed: {condition}")
    named = {condition.field for condition in policy.conditions}
    extra = sorted(name for name in said if name not in named | EXEMPT and not name.startswith(EXEMPT_STARTS))
    if extra:
        raise FormRefused(f"Invalid according to Policy: Extra input fields: {', '.join(extra)}")
    if fields.get("bucket", bucket) != bucket:
        raise FormRefused("Invalid according to Policy: the form is for another bucket")


def _holds(condition: FormCondition, value: str) -> bool:
    if not condition.starts:
        return value == condition.value
    if condition.field == "content-type" and "," in value:  # a list: each of them
        return all(each.strip().startswith(condition.value) for each in value.split(","))
    return value.startswith(condition.value)


def _malformed(why: str) -> NoReturn:
    raise MalformedFormPolicy(f"Invalid Policy: {why}")
