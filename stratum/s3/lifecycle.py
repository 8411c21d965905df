"""Lifecycle rules over S3: stored, shown, and told of in headers.

Room: stratum/s3. May import: core, engine, s3.{answers, call, errors, headers, http, object_lock, small_body, xml}.

The earlier form of the call (PutBucketLifecycle, the prefix in the rule itself) is the same sub-resource.
What clients are told (x-amz-expiration, x-amz-abort-date) is in days of 24 hours, also where `[lifecycle] day_seconds`
lets the service run faster: a client that is tried out against such a server sees what production would tell it.

Source: docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketLifecycleConfiguration.html; the messages are those of AWS.
"""

import re
import secrets
from collections.abc import Callable
from urllib.parse import quote

from stratum.core.lifecycle import (
    ALL_128K,
    CLASSES,
    DAY_NS,
    KIND,
    MINIMUM_SIZES,
    RULES_MAX,
    LifecycleRules,
    Rule,
    Transition,
    check_rules,
)
from stratum.core.lifecycle_due import abort_due, expiry
from stratum.core.objects import ObjectView
from stratum.core.tagging import OBJECT_TAGS, checked_tags
from stratum.s3.answers import xml_answer
from stratum.s3.call import Call
from stratum.s3.errors import S3Error
from stratum.s3.headers import http_date
from stratum.s3.http import Headers, Response
from stratum.s3.object_lock import instant, parse_instant
from stratum.s3.small_body import read_xml
from stratum.s3.xml import Node, child_text, children, node

MINIMUM_SIZE = "x-amz-transition-default-minimum-object-size"
ROOT = "LifecycleConfiguration"

_NUMBER = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)
_RULE = {
    "ID",
    "Status",
    "Prefix",
    "Filter",
    "Expiration",
    "NoncurrentVersionExpiration",
    "AbortIncompleteMultipartUpload",
    "Transition",
    "NoncurrentVersionTransition",
}
_MANY = {"Transition", "NoncurrentVersionTransition"}


# --- the configuration ----------------------------------------------------------------------------------------


async def get_bucket_lifecycle(call: Call) -> Response:
    """GET /bucket?lifecycle."""
    rules = await call.engine.configurations.get(call.bucket, KIND, LifecycleRules)
    if rules is None:
        raise S3Error("NoSuchLifecycleConfiguration", BucketName=call.bucket)
    return xml_answer(node(ROOT, *(_shown(rule) for rule in rules.rules)), _minimum(rules))


async def put_bucket_lifecycle(call: Call) -> Response:
    """PUT /bucket?lifecycle: the rules replace those before, and hold for what is already there."""
    document = await read_xml(call.payload, call.engine.limits.xml_bytes, ROOT)
    minimum = call.headers.get(MINIMUM_SIZE, ALL_128K)
    if minimum not in MINIMUM_SIZES:
        raise S3Error("InvalidArgument", "Unknown minimum object size.", ArgumentName=MINIMUM_SIZE)
    rules = LifecycleRules(parse_rules(document), minimum)
    await call.engine.lifecycle.put(call.bucket, rules)
    return Response(200, _minimum(rules), b"")


async def delete_bucket_lifecycle(call: Call) -> Response:
    """DELETE /bucket?lifecycle: 204 also if there were none."""
    await call.engine.configurations.delete(call.bucket, KIND)
    return Response(204, [], b"")


def _minimum(rules: LifecycleRules) -> Headers:
    return [(MINIMUM_SIZE.encode(), rules.minimum_size.encode())]


# --- reading --------------------------------------------------------------------------------------------------


def parse_rules(document: Node) -> tuple[Rule, ...]:
    """Read a LifecycleConfiguration. Raises MalformedXML, InvalidArgument, InvalidRequest, InvalidTag."""
    found = children(document, "Rule")
    if not 0 < len(found) <= RULES_MAX or len(found) != len(document.children):
        raise S3Error("MalformedXML")
    rules = tuple(_rule(each) for each in found)
    check_rules(rules)
    if len({rule.legacy for rule in rules}) > 1:
        message = "Base level prefix cannot be used in Lifecycle V2, prefixes are only supported in the Filter."
        raise S3Error("InvalidRequest", message)
    for rule in rules:
        _check_together(rule)
    return rules


def _rule(element: Node) -> Rule:
    _only(element, _RULE, many=_MANY)
    status = child_text(element, "Status")
    legacy = children(element, "Prefix")
    filters = children(element, "Filter")
    if status not in ("Enabled", "Disabled") or len(legacy) + len(filters) != 1:
        raise S3Error("MalformedXML")
    prefix, tags, larger, smaller = _filter(filters[0]) if filters else (legacy[0].text, {}, None, None)
    days, date, marker = _expiration(element)
    noncurrent, newer = _noncurrent(element)
    return Rule(
        id=child_text(element, "ID") or secrets.token_urlsafe(36),
        enabled=status == "Enabled",
        legacy=bool(legacy),
        prefix=prefix,
        tags=tags,
        larger=larger,
        smaller=smaller,
        days=days,
        date=date,
        marker=marker,
        noncurrent_days=noncurrent,
        newer=newer,
        abort_days=_abort(element),
        transitions=tuple(_transition(each, "Days") for each in children(element, "Transition")),
        noncurrent_transitions=tuple(
            _transition(each, "NoncurrentDays") for each in children(element, "NoncurrentVersionTransition")
        ),
    )


def _filter(element: Node) -> tuple[str | None, dict[str, str], int | None, int | None]:
    """(prefix, tags, above size, below size). Parts beside each other mean the same as inside And: all of them."""
    _only(element, {"Prefix", "Tag", "And", "ObjectSizeGreaterThan", "ObjectSizeLessThan"})
    both = children(element, "And")
    for each in both:
        _only(each, {"Prefix", "Tag", "ObjectSizeGreaterThan", "ObjectSizeLessThan"}, many={"Tag"})
        if len(each.children) < 2:
            raise S3Error("MalformedXML")
    parts = [each for each in (element, *both) if each.children]
    pairs = [(_text(tag, "Key"), _text(tag, "Value")) for part in parts for tag in children(part, "Tag")]
    if len({key for key, _ in pairs}) < len(pairs):
        raise S3Error("InvalidRequest", "Duplicate Tag Keys are not allowed.")
    larger = [_number(each.text) for part in parts for each in children(part, "ObjectSizeGreaterThan")]
    smaller = [_number(each.text) for part in parts for each in children(part, "ObjectSizeLessThan")]
    above, below = max(larger, default=None), min(smaller, default=None)
    if (above is not None and above < 0) or (below is not None and below <= (above or 0)):
        raise S3Error("InvalidRequest", "'ObjectSizeLessThan' has to be a value greater than 'ObjectSizeGreaterThan'.")
    prefixes = [each.text for part in parts for each in children(part, "Prefix")]
    return _longest(prefixes), checked_tags(pairs, OBJECT_TAGS), above, below


def _longest(prefixes: list[str]) -> str | None:
    """The prefix that means all of them together."""
    longest = max(prefixes, key=len, default=None)
    if longest is not None and not all(longest.startswith(each) for each in prefixes):
        raise S3Error("MalformedXML")
    return longest


def _expiration(element: Node) -> tuple[int | None, int | None, bool | None]:
    found = children(element, "Expiration")
    if not found:
        return None, None, None
    _only(found[0], {"Days", "Date", "ExpiredObjectDeleteMarker"})
    if len(found[0].children) != 1:
        raise S3Error("MalformedXML")
    marker = child_text(found[0], "ExpiredObjectDeleteMarker")
    if marker is not None and marker.strip().lower() not in ("true", "false"):
        raise S3Error("MalformedXML")
    return (
        _optional(found[0], "Days", _number),
        _optional(found[0], "Date", _date),
        None if marker is None else marker.strip().lower() == "true",
    )


def _noncurrent(element: Node) -> tuple[int | None, int | None]:
    found = children(element, "NoncurrentVersionExpiration")
    if not found:
        return None, None
    _only(found[0], {"NoncurrentDays", "NewerNoncurrentVersions"})
    if not found[0].children:
        raise S3Error("MalformedXML")
    return _optional(found[0], "NoncurrentDays", _number), _optional(found[0], "NewerNoncurrentVersions", _number)


def _abort(element: Node) -> int | None:
    found = children(element, "AbortIncompleteMultipartUpload")
    if not found:
        return None
    _only(found[0], {"DaysAfterInitiation"})
    return _number(_text(found[0], "DaysAfterInitiation"))


def _transition(element: Node, days: str) -> Transition:
    _only(element, {days, "StorageClass", "Date" if days == "Days" else "NewerNoncurrentVersions"})
    made = Transition(
        _text(element, "StorageClass"),
        days=_optional(element, days, _number),
        date=_optional(element, "Date", _date),
        newer=_optional(element, "NewerNoncurrentVersions", _number),
    )
    if made.storage_class not in CLASSES or (made.days is None) is (made.date is None):
        raise S3Error("MalformedXML")
    return made


def _only(element: Node, known: set[str], many: set[str] | frozenset[str] = frozenset()) -> None:
    """Refuse what is not known, and what is there twice."""
    names = [each.name for each in element.children]
    if not set(names) <= known or any(names.count(name) > 1 for name in known - many):
        raise S3Error("MalformedXML")


def _text(element: Node, name: str) -> str:
    text = child_text(element, name)
    if text is None:
        raise S3Error("MalformedXML")
    return text


def _optional(element: Node, name: str, read: Callable[[str], int]) -> int | None:
    text = child_text(element, name)
    return None if text is None else read(text)


def _number(text: str) -> int:
    if not _NUMBER.fullmatch(text.strip()):
        raise S3Error("MalformedXML")
    return int(text)


def _date(text: str) -> int:
    """A date, or a time, which must be midnight then. In ns."""
    stripped = text.strip()
    found = parse_instant(stripped if "T" in stripped else stripped + "T00:00:00Z")
    if found is None:
        raise S3Error("MalformedXML")
    return found


def _check_together(rule: Rule) -> None:
    """Raise InvalidRequest where the parts of a rule do not go together."""
    sized = rule.larger is not None or rule.smaller is not None
    dated = {each.date is not None for each in rule.transitions} | ({rule.date is not None} if rule.expires else set())
    for wrong, message in (
        (not rule.acts, "At least one action needs to be specified in a rule."),
        (rule.tags and rule.abort_days is not None, "AbortIncompleteMultipartUpload cannot be specified with Tags."),
        (sized and rule.abort_days is not None, "AbortIncompleteMultipartUpload cannot be specified with Object Size."),
        (rule.tags and rule.marker is not None, "ExpiredObjectDeleteMarker cannot be specified with Tags."),
        (sized and rule.marker is not None, "ExpiredObjectDeleteMarker cannot be specified with Object Size."),
        (
            len(dated) > 1,
            "Found mixed 'Date' and 'Days' based Expiration and Transition actions in lifecycle rule "
            f"for prefix '{rule.prefix or ''}'",
        ),
        (
            len({each.storage_class for each in rule.transitions}) < len(rule.transitions),
            "Two transitions of a rule must not have the same StorageClass.",
        ),
    ):
        if wrong:
            raise S3Error("InvalidRequest", message)


# --- showing --------------------------------------------------------------------------------------------------


def _shown(rule: Rule) -> Node:
    return node(
        "Rule",
        node("ID", rule.id),
        node("Prefix", rule.prefix or "") if rule.legacy else _shown_filter(rule),
        node("Status", "Enabled" if rule.enabled else "Disabled"),
        *_shown_transitions(rule),
        *_shown_expirations(rule),
    )


def _shown_filter(rule: Rule) -> Node:
    inside = [] if rule.prefix is None else [node("Prefix", rule.prefix)]
    inside += [node("Tag", node("Key", key), node("Value", value)) for key, value in rule.tags.items()]
    inside += _numbers(("ObjectSizeGreaterThan", rule.larger), ("ObjectSizeLessThan", rule.smaller))
    return node("Filter", *([node("And", *inside)] if len(inside) > 1 else inside))


def _shown_expirations(rule: Rule) -> list[Node]:
    current = _numbers(("Days", rule.days))
    current += [] if rule.date is None else [node("Date", instant(rule.date))]
    current += [] if rule.marker is None else [node("ExpiredObjectDeleteMarker", "true" if rule.marker else "false")]
    older = _numbers(("NoncurrentDays", rule.noncurrent_days), ("NewerNoncurrentVersions", rule.newer))
    abort = _numbers(("DaysAfterInitiation", rule.abort_days))
    named = (
        ("Expiration", current),
        ("NoncurrentVersionExpiration", older),
        ("AbortIncompleteMultipartUpload", abort),
    )
    return [node(name, *inside) for name, inside in named if inside]


def _shown_transitions(rule: Rule) -> list[Node]:
    shown = []
    for name, days, transitions in (
        ("Transition", "Days", rule.transitions),
        ("NoncurrentVersionTransition", "NoncurrentDays", rule.noncurrent_transitions),
    ):
        for each in transitions:
            inside = _numbers((days, each.days), ("NewerNoncurrentVersions", each.newer))
            inside += [] if each.date is None else [node("Date", instant(each.date))]
            shown.append(node(name, *inside, node("StorageClass", each.storage_class)))
    return shown


def _numbers(*pairs: tuple[str, int | None]) -> list[Node]:
    return [node(name, str(number)) for name, number in pairs if number is not None]


# --- headers of other calls -------------------------------------------------------------------------------------


def expiration_headers(call: Call, view: ObjectView) -> Headers:
    """x-amz-expiration of a current object that a rule lets expire; for GET, HEAD, PUT, Copy and Complete."""
    rules = None if call.version else call.engine.configurations.read(view.bucket, KIND, LifecycleRules)
    found = expiry(rules, view.key, view.inode, DAY_NS) if rules is not None else None
    if found is None:
        return []
    when, rule = found
    value = f'expiry-date="{http_date(when)}", rule-id="{quote(rule.id, safe=" /")}"'
    return [(b"x-amz-expiration", value.encode())]


def abort_headers(call: Call, created: int) -> Headers:
    """x-amz-abort-date and x-amz-abort-rule-id of an upload to `call.key`; for CreateMultipartUpload and ListParts."""
    rules = call.engine.configurations.read(call.bucket, KIND, LifecycleRules)
    found = abort_due(rules, call.key, created, DAY_NS) if rules is not None else None
    if found is None:
        return []
    when, rule = found
    shown = quote(rule.id, safe=" /").encode()
    return [(b"x-amz-abort-date", http_date(when).encode()), (b"x-amz-abort-rule-id", shown)]
