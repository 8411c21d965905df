"""Object lock over S3: a bucket's default, retention and legal hold of a version.

Room: stratum/s3. May import: core, engine, s3.{answers, call, errors, headers, http, small_body, xml}.

What may be deleted or shortened is decided in core/locks.py, inside the change that does it.
Source: docs.aws.amazon.com/AmazonS3/latest/API/API_PutObjectLockConfiguration.html, API_PutObjectRetention.html
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec

from stratum.core.locks import KIND, MODES, ObjectLock, with_retention
from stratum.core.objects import ObjectView
from stratum.core.records import Bucket, Inode, Retention
from stratum.core.versions import ENABLED
from stratum.s3.answers import xml_answer
from stratum.s3.call import Call
from stratum.s3.errors import S3Error
from stratum.s3.http import Headers, Response
from stratum.s3.small_body import read_xml
from stratum.s3.xml import Node, child_text, children, node

MODE, UNTIL, HOLD = "x-amz-object-lock-mode", "x-amz-object-lock-retain-until-date", "x-amz-object-lock-legal-hold"
BYPASS = "x-amz-bypass-governance-retention"
DAYS_MAX, YEARS_MAX = 36_500, 100
MILLISECOND = 10**6  # ns
LATEST = 2**63 // MILLISECOND * MILLISECOND  # ns: in the year 2262

_NUMBER = re.compile(r"[+-]?[0-9]{1,9}", re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:?\d\d)?", re.ASCII)


# --- the bucket -----------------------------------------------------------------------------------------------


async def get_object_lock_configuration(call: Call) -> Response:
    """GET /bucket?object-lock."""
    lock = await call.engine.configurations.get(call.bucket, KIND, ObjectLock)
    if not (await call.engine.buckets.get(call.bucket)).lock:
        raise S3Error("ObjectLockConfigurationNotFoundError", BucketName=call.bucket)
    shown = [node("ObjectLockEnabled", "Enabled")]
    if lock is not None and lock.mode:
        period = node("Days", str(lock.days)) if lock.days else node("Years", str(lock.years))
        shown.append(node("Rule", node("DefaultRetention", node("Mode", lock.mode), period)))
    return xml_answer(node("ObjectLockConfiguration", *shown))


async def put_object_lock_configuration(call: Call) -> Response:
    """PUT /bucket?object-lock: also switches object lock on, where versioning is. Raises InvalidBucketState."""
    document = await read_xml(call.payload, call.engine.limits.xml_bytes, "ObjectLockConfiguration")
    lock = parse_configuration(document)

    def switch_on(bucket: Bucket) -> Bucket:
        if bucket.versioning != ENABLED:
            message = "Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration"
            raise S3Error("InvalidBucketState", message)
        return msgspec.structs.replace(bucket, lock=True)

    await call.engine.buckets.amend(call.bucket, switch_on)
    await call.engine.configurations.put(call.bucket, KIND, lock)
    return Response(200, [], b"")


def parse_configuration(document: Node) -> ObjectLock:
    """Read an ObjectLockConfiguration. Raises MalformedXML, InvalidRetentionPeriod."""
    if child_text(document, "ObjectLockEnabled") != "Enabled":
        raise S3Error("MalformedXML")
    rules = children(document, "Rule")
    if not rules:
        return ObjectLock()
    defaults = children(rules[0], "DefaultRetention")
    if len(rules) != 1 or len(defaults) != 1:
        raise S3Error("MalformedXML")
    mode, days, years = (child_text(defaults[0], name) for name in ("Mode", "Days", "Years"))
    if mode not in MODES or (days is None) is (years is None):
        raise S3Error("MalformedXML")
    if days is not None:
        return ObjectLock(mode, days=_period(days, DAYS_MAX))
    return ObjectLock(mode, years=_period(years or "", YEARS_MAX))


def _period(text: str, largest: int) -> int:
    if not _NUMBER.fullmatch(text.strip()):
        raise S3Error("MalformedXML")
    number = int(text)
    if number <= 0:
        raise S3Error("InvalidRetentionPeriod", "Default retention period must be a positive integer value.")
    if number > largest:
        raise S3Error("InvalidRetentionPeriod", f"Default retention period is too long: at most {largest}.")
    return number


# --- retention and legal hold of a version ----------------------------------------------------------------------


async def get_object_retention(call: Call) -> Response:
    """GET /bucket/key?retention."""
    await _must_lock(call)
    view = await call.engine.objects.head(call.bucket, call.key, call.version)
    retention = view.inode.retention
    if retention is None:
        raise S3Error("NoSuchObjectLockConfiguration")
    shown = [node("Mode", retention.mode), node("RetainUntilDate", instant(retention.until))]
    return xml_answer(node("Retention", *shown), _version(view))


async def put_object_retention(call: Call) -> Response:
    """PUT /bucket/key?retention: an empty document takes it away. Raises AccessDenied for what a lock forbids."""
    await _must_lock(call)
    document = await read_xml(call.payload, call.engine.limits.xml_bytes, "Retention")
    mode, date = child_text(document, "Mode"), child_text(document, "RetainUntilDate")
    until = parse_instant(date.strip()) if date is not None else None
    if (mode is None) is not (date is None) or (mode is not None and (mode not in MODES or until is None)):
        raise S3Error("MalformedXML")
    now = call.engine.now_ns()
    wanted = Retention(mode, _in_future(until, now)) if mode is not None and until is not None else None
    bypass = bypasses_governance(call)

    def change(inode: Inode) -> Inode:
        return with_retention(inode, wanted, now, bypass_governance=bypass)

    view = await call.engine.objects.amend(call.bucket, call.key, call.version, change)
    return Response(200, _version(view), b"")


async def get_object_legal_hold(call: Call) -> Response:
    """GET /bucket/key?legal-hold: OFF also where it was never set."""
    await _must_lock(call)
    view = await call.engine.objects.head(call.bucket, call.key, call.version)
    return xml_answer(node("LegalHold", node("Status", "ON" if view.inode.legal_hold else "OFF")), _version(view))


async def put_object_legal_hold(call: Call) -> Response:
    """PUT /bucket/key?legal-hold."""
    await _must_lock(call)
    document = await read_xml(call.payload, call.engine.limits.xml_bytes, "LegalHold")
    status = child_text(document, "Status")
    if status not in ("ON", "OFF"):
        raise S3Error("MalformedXML")

    def change(inode: Inode) -> Inode:
        return msgspec.structs.replace(inode, legal_hold=status == "ON")

    view = await call.engine.objects.amend(call.bucket, call.key, call.version, change)
    return Response(200, _version(view), b"")


async def _must_lock(call: Call) -> None:
    if not (await call.engine.buckets.get(call.bucket)).lock:
        raise _lockless()


def _lockless() -> S3Error:
    return S3Error("InvalidRequest", "Bucket is missing Object Lock Configuration")


def _version(view: ObjectView) -> Headers:
    return [(b"x-amz-version-id", view.version.encode())] if view.version else []


# --- headers of writes and reads --------------------------------------------------------------------------------


def bypasses_governance(call: Call) -> bool:
    """Does the client ask to pass over a GOVERNANCE retention? Whether it may is the authorisation's to say."""
    return call.headers.get(BYPASS, "").lower() == "true"


async def header_lock(call: Call) -> tuple[Retention | None, bool]:
    """(retention, legal hold) that a write gives to the new version. Raises InvalidArgument, InvalidRequest."""
    headers = call.headers
    if not any(name in headers for name in (MODE, UNTIL, HOLD)):
        return None, False
    retention = _header_retention(headers, call.engine.now_ns())
    hold = headers.get(HOLD, "OFF")
    if hold not in ("ON", "OFF"):
        raise S3Error("InvalidArgument", "Legal Hold must be either of 'ON' or 'OFF'", ArgumentName=HOLD)
    await _must_lock(call)
    return retention, hold == "ON"


def _header_retention(headers: Mapping[str, str], now: int) -> Retention | None:
    mode, date = headers.get(MODE), headers.get(UNTIL)
    if mode is None and date is None:
        return None
    if mode is None or date is None:
        raise S3Error("InvalidArgument", f"{UNTIL} and {MODE} must both be supplied", ArgumentName=MODE)
    if mode not in MODES:
        raise S3Error("InvalidArgument", "Unknown wormMode directive.", ArgumentName=MODE, ArgumentValue=mode)
    until = parse_instant(date)
    if until is None:
        message = "The retain until date must be provided in ISO 8601 format"
        raise S3Error("InvalidArgument", message, ArgumentName=UNTIL, ArgumentValue=date)
    return Retention(mode, _in_future(until, now))


def lock_headers(view: ObjectView) -> Headers:
    """What GET and HEAD tell of the lock of a version."""
    retention = view.inode.retention
    headers: Headers = []
    if retention is not None:
        headers.append((MODE.encode(), retention.mode.encode()))
        headers.append((UNTIL.encode(), instant(retention.until).encode()))
    return [*headers, (HOLD.encode(), b"ON")] if view.inode.legal_hold else headers


def _in_future(until: int, now: int) -> int:
    if until <= now:
        raise S3Error("InvalidArgument", "The retain until date must be in the future!", ArgumentName=UNTIL)
    return until


def parse_instant(text: str) -> int | None:
    """Return the nanoseconds since the epoch, whole milliseconds, of an ISO 8601 date and time (UTC unless it says
    otherwise), or None if it is none, or too far away."""
    if not _DATE.fullmatch(text):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)
    until = ((seconds.days * 86_400 + seconds.seconds) * 1000 + seconds.microseconds // 1000) * MILLISECOND
    return until if 0 <= until < LATEST else None


def instant(time_ns: int) -> str:
    """Return nanoseconds since the epoch as ISO 8601 with milliseconds; never earlier than it is."""
    milliseconds = -(-time_ns // MILLISECOND)
    moment = datetime.fromtimestamp(milliseconds // 1000, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S") + f".{milliseconds % 1000:03d}Z"
