"""Lifecycle rules of a bucket: what they are, and which of them S3 allows.

Room: stratum/core. May import: core.errors. What follows from rules, and when, is core/lifecycle_due.py.

Invariants
    L1  A filter is a conjunction: a rule speaks of what meets every part of it. A filter that is not understood never
        widens what a rule deletes.

Source: docs.aws.amazon.com/AmazonS3/latest/userguide/intro-lifecycle-rules.html, lifecycle-conflicts.html,
API/API_LifecycleRule.html. The messages are those of AWS.
"""

from collections.abc import Iterator, Sequence

import msgspec

from stratum.core.errors import InvalidArgument

KIND = "lifecycle"
RULES_MAX = 1000
ID_CHARACTERS = 255
NEWER_MAX = 100  # of NewerNoncurrentVersions
DAYS_MAX = 2**31 - 1
DAY_NS = 86_400 * 10**9

ALL_128K, VARIES = "all_storage_classes_128K", "varies_by_storage_class"
MINIMUM_SIZES = (ALL_128K, VARIES)  # x-amz-transition-default-minimum-object-size
MINIMUM_BYTES = 128 * 1024
# In the order in which objects go down; no transition goes up again.
CLASSES = ("STANDARD_IA", "INTELLIGENT_TIERING", "ONEZONE_IA", "GLACIER_IR", "GLACIER", "DEEP_ARCHIVE")


class Transition(msgspec.Struct, frozen=True, array_like=True):
    """A change of storage class: after `days` (of a version that is not current: since then) or from `date` on (ns)."""

    storage_class: str
    days: int | None = None
    date: int | None = None
    newer: int | None = None  # NewerNoncurrentVersions


class Rule(msgspec.Struct, frozen=True, array_like=True):
    """One rule. Dates are nanoseconds at midnight UTC. What is None is not asked for.

    `legacy`: the prefix stands in the rule itself, as before there were filters. `larger`: sizes above it, `smaller`:
    sizes below it, in bytes. `marker`: ExpiredObjectDeleteMarker.
    """

    id: str
    enabled: bool
    legacy: bool = False
    prefix: str | None = None
    tags: dict[str, str] = {}
    larger: int | None = None
    smaller: int | None = None
    days: int | None = None
    date: int | None = None
    marker: bool | None = None
    noncurrent_days: int | None = None
    newer: int | None = None
    abort_days: int | None = None
    transitions: tuple[Transition, ...] = ()
    noncurrent_transitions: tuple[Transition, ...] = ()

    @property
    def expires(self) -> bool:
        """Does it let current objects expire?"""
        return self.days is not None or self.date is not None

    @property
    def acts(self) -> bool:
        """Does it ask for anything at all?"""
        numbers = (self.noncurrent_days, self.newer, self.abort_days, self.marker)
        return self.expires or any(each is not None for each in numbers) or bool(self.all_transitions)

    @property
    def all_transitions(self) -> tuple[Transition, ...]:
        """Of current and other versions."""
        return (*self.transitions, *self.noncurrent_transitions)


class LifecycleRules(msgspec.Struct, frozen=True, array_like=True):
    """The rules of a bucket. `minimum_size`: TransitionDefaultMinimumObjectSize."""

    rules: tuple[Rule, ...] = ()
    minimum_size: str = ALL_128K


def check_rules(rules: Sequence[Rule]) -> None:
    """Raise InvalidArgument for values that no rule may have; whether elements go together is the door's to say."""
    if len({rule.id for rule in rules}) < len(rules):
        raise InvalidArgument("Rule ID must be unique. Found same ID for more than one rule")
    for rule in rules:
        for message in _wrong(rule):
            raise InvalidArgument(message)


def _wrong(rule: Rule) -> Iterator[str]:
    """What AWS says of each value that is out of range."""
    if len(rule.id) > ID_CHARACTERS:
        yield f"ID length should not exceed allowed limit of {ID_CHARACTERS}"
    for action, name, days in (
        ("Expiration", "Days", rule.days),
        ("NoncurrentVersionExpiration", "NoncurrentDays", rule.noncurrent_days),
        ("AbortIncompleteMultipartUpload", "DaysAfterInitiation", rule.abort_days),
    ):
        if days is not None and not 0 < days <= DAYS_MAX:
            yield f"'{name}' for {action} action must be a positive integer"
    for number in (rule.newer, *(each.newer for each in rule.noncurrent_transitions)):
        if number is not None and not 0 < number <= NEWER_MAX:
            yield f"'NewerNoncurrentVersions' must be an integer from 1 to {NEWER_MAX}"
    for date in (rule.date, *(each.date for each in rule.transitions)):
        if date is not None and date % DAY_NS:
            yield "'Date' must be at midnight GMT"
    yield from _wrong_transitions(rule)


def _wrong_transitions(rule: Rule) -> Iterator[str]:
    for each in rule.all_transitions:
        if each.days is not None and not 0 <= each.days <= DAYS_MAX:
            yield "'Days' for Transition action must be nonnegative"
        if each.days is not None and each in rule.transitions and rule.days is not None and rule.days <= each.days:
            yield _later("Days", "Expiration", rule)
        if each.date is not None and rule.date is not None and rule.date <= each.date:
            yield _later("Date", "Expiration", rule)
    for each in rule.noncurrent_transitions:
        if rule.noncurrent_days is not None and each.days is not None and rule.noncurrent_days <= each.days:
            yield _later("NoncurrentDays", "NoncurrentVersionExpiration", rule)


def _later(name: str, action: str, rule: Rule) -> str:
    prefix = rule.prefix or ""
    return f"'{name}' in the {action} action for prefix '{prefix}' must be greater than in the Transition action"


def in_scope(rule: Rule, key: bytes) -> bool:
    """Is the rule in force, and does its prefix fit the key?"""
    return rule.enabled and key.startswith((rule.prefix or "").encode())


def meets(rule: Rule, tags: dict[str, str], size: int) -> bool:
    """Do tags and size of a version meet the filter of a rule whose prefix fits? (L1)"""
    return (
        all(tags.get(name) == value for name, value in rule.tags.items())
        and (rule.larger is None or size > rule.larger)
        and (rule.smaller is None or size < rule.smaller)
    )
