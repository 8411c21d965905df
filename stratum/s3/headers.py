"""Request headers: which are stored with an object, conditions, ranges, dates.

Room: stratum/s3. May import: core.{conditions, config, errors, objects}, s3.errors.

`headers` is everywhere a map of lower-case names to values, repeated fields joined by commas (`Request.header_map`).

Invariants
    H1  What a client sends comes back in a response header only after it has passed here: printable ASCII, no CR,
        LF or NUL. Anything else is refused with 400 when it is stored, not when it is read; metadata is encoded.
    H2  A precondition we do not know how to keep is refused with 501; ignoring one loses locks and updates.
"""

import re
from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import formatdate, parsedate_to_datetime
from functools import lru_cache

from stratum.core.conditions import MILLISECOND, last_modified
from stratum.core.config import KIB
from stratum.core.errors import RangeNotSatisfiable
from stratum.core.objects import Condition
from stratum.s3.errors import S3Error

STORED = (
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-type",
    "expires",
)
REDIRECT_LOCATION = "x-amz-website-redirect-location"  # stored with an object like a header of its own
META = "x-amz-meta-"
METADATA_BYTES = 2 * KIB
HEADER_VALUE_BYTES = 4 * KIB
WORD_CHARACTERS = 11  # of an encoded word, which has 75 bytes at most (RFC 2047, 2): 4 bytes each, in base64
REDIRECT_BYTES = 2 * KIB
DEFAULT_CONTENT_TYPE = "binary/octet-stream"  # as AWS answers when none was sent

_PRINTABLE = re.compile(r"[\t\x20-\x7e]*")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_META_NAME = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+")
_RANGE = re.compile(r"bytes=\s*(\d*)\s*-\s*(\d*)\s*", re.ASCII | re.IGNORECASE)
_COPY_RANGE = re.compile(r"bytes=(\d{1,18})-(\d{1,18})", re.ASCII)
_SIZE = re.compile(r"[0-9]{1,18}", re.ASCII)
_ETAG = re.compile(r'\s*(?:(W/)?"([^"]*)"|([^",\s]+))\s*(?:,|$)')
NANOSECONDS = 10**9


def checked(name: str, value: str) -> str:
    """Return a value that may come back in a response header (H1). Raises InvalidArgument."""
    if not _PRINTABLE.fullmatch(value) or len(value) > HEADER_VALUE_BYTES:
        raise S3Error("InvalidArgument", f"The value of {name} is too long or not printable ASCII.", ArgumentName=name)
    return value


def object_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the system headers that are stored with an object: `aws-chunked` is framing and not among them."""
    found = {name: headers[name] for name in STORED if name in headers}
    codings = [each.strip() for each in found.get("content-encoding", "").split(",")]
    if "aws-chunked" in map(str.lower, codings):  # otherwise it is stored as it was sent
        del found["content-encoding"]
        kept = ",".join(each for each in codings if each and each.lower() != "aws-chunked")
        found |= {"content-encoding": kept} if kept else {}
    return {name: checked(name, value) for name, value in found.items() if value} | redirect_location(headers)


def redirect_location(headers: Mapping[str, str]) -> dict[str, str]:
    """Where a web site sends those who ask for the object, if it says so. Raises InvalidRedirectLocation."""
    value = headers.get(REDIRECT_LOCATION, "")
    if value and (len(value) > REDIRECT_BYTES or not value.startswith(("/", "http://", "https://"))):
        raise S3Error("InvalidRedirectLocation")
    return {REDIRECT_LOCATION: checked(REDIRECT_LOCATION, value)} if value else {}


def user_metadata(headers: Mapping[str, str], limit: int = METADATA_BYTES) -> dict[str, str]:
    """Return x-amz-meta-* without the prefix. Raises MetadataTooLarge over `limit` bytes of names and values."""
    found: dict[str, str] = {}
    for full in headers:
        if full.startswith(META):
            name = full.removeprefix(META)
            if not _META_NAME.fullmatch(name):
                raise S3Error("InvalidArgument", "The name of a metadata header is not valid.", ArgumentName=META)
            found[name] = checked(full, mail_safe(_meant(headers[full])))
    size = sum(len(name) + len(value) for name, value in found.items())
    if size > limit:
        raise S3Error("MetadataTooLarge", Size=str(size), MaxSizeAllowed=str(limit))
    return found


def _meant(value: str) -> str:
    """The text of a header: its bytes come here as Latin-1, but nearly all clients mean UTF-8."""
    try:
        return value if value.isascii() else value.encode("latin-1").decode()
    except UnicodeError:
        return value


def mail_safe(text: str) -> str:
    """The text of metadata as it is stored and shown: what is not ASCII, encoded as in mails (RFC 2047).

    Source: docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html
    """
    if text.isascii() or _CONTROL.search(text):
        return text
    pieces = (text[at : at + WORD_CHARACTERS].encode() for at in range(0, len(text), WORD_CHARACTERS))
    return " ".join(f"=?UTF-8?B?{b64encode(piece).decode()}?=" for piece in pieces)


def response_overrides(query: Mapping[str, str]) -> dict[str, str]:
    """Return what response-content-type and its like put in place of the stored headers (H1)."""
    found = {name: query.get(f"response-{name}", "") for name in STORED}
    return {name: checked(f"response-{name}", value) for name, value in found.items() if value}


# --- dates ----------------------------------------------------------------------------------------------------


def http_date(time_ns: int) -> str:
    """Return nanoseconds since the epoch as a header shows them (RFC 9110, 5.6.7); fractions are cut off."""
    return formatdate(time_ns // NANOSECONDS, usegmt=True)


def iso_date(time_ns: int) -> str:
    """Return nanoseconds since the epoch as XML shows them, rounded up to milliseconds (core.conditions)."""
    seconds, rest = divmod(last_modified(time_ns), NANOSECONDS)
    return f"{_iso_second(seconds)}.{rest // MILLISECOND:03}Z"


@lru_cache(maxsize=4096)
def _iso_second(seconds: int) -> str:
    """A listing shows many objects of the same second."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def parse_http_date(text: str) -> int | None:
    """Return whole seconds since the epoch, or None if it is not an HTTP date (it is then ignored, RFC 9110, 13.1)."""
    try:
        moment = parsedate_to_datetime(text)
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError, TypeError, IndexError):
        return None


def parse_date(text: str) -> int | None:
    """Return whole seconds since the epoch of an HTTP or an ISO 8601 date (UTC unless it says otherwise), or None."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return parse_http_date(text)
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


# --- ranges ---------------------------------------------------------------------------------------------------


def parse_range(value: str | None, size: int) -> tuple[int, int] | None:
    """Return the half-open [start, stop) that a Range header asks of `size` bytes, or None for the whole object.

    As AWS: several ranges, other units and what is not well formed mean the whole object. Raises RangeNotSatisfiable.
    """
    match = _RANGE.fullmatch(value or "")
    if match is None or match.group(1) == match.group(2) == "":
        return None
    first, last = (int(text[:20]) if text else None for text in match.groups())
    if first is None:
        assert last is not None, "one side is there"
        start, stop = max(0, size - last), size
    elif last is not None and last < first:
        return None
    else:
        start, stop = first, size if last is None else min(size, last + 1)
    if start >= size or start >= stop:
        raise RangeNotSatisfiable(f"{value} of {size} bytes")
    return start, stop


def parse_copy_range(value: str | None) -> tuple[int, int] | None:
    """Return the half-open range of x-amz-copy-source-range, which is strict. Raises InvalidArgument."""
    if value is None:
        return None
    match = _COPY_RANGE.fullmatch(value)
    if match is None or int(match.group(1)) > int(match.group(2)):
        raise S3Error(
            "InvalidArgument",
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the "
            "zero-based offsets of the first and last bytes to copy",
            ArgumentName="x-amz-copy-source-range",
            ArgumentValue=value,
        )
    return int(match.group(1)), int(match.group(2)) + 1


# --- conditions -----------------------------------------------------------------------------------------------


def parse_etags(value: str | None, name: str = "If-Match") -> tuple[str, ...]:
    """Return ETags without quotes (`*` stays), strong and weak alike. Raises InvalidArgument."""
    etags: list[str] = []
    at, text = 0, value or ""
    while at < len(text.rstrip()):
        match = _ETAG.match(text, at)
        if match is None:
            raise S3Error("InvalidArgument", "An ETag is not well formed.", ArgumentName=name)
        etags.append(match.group(2) if match.group(3) is None else match.group(3))
        at = match.end()
    return tuple(etags)


def condition_of(headers: Mapping[str, str]) -> Condition:
    """Return the conditions of a GET or HEAD."""
    return _condition(headers, "")


def copy_source_condition(headers: Mapping[str, str]) -> Condition:
    """Return the conditions on the source of a copy (x-amz-copy-source-if-*)."""
    return _condition(headers, "x-amz-copy-source-")


def rename_source_condition(headers: Mapping[str, str]) -> Condition:
    """Return the conditions on the source of a rename (x-amz-rename-source-if-*)."""
    return _condition(headers, "x-amz-rename-source-")


def _condition(headers: Mapping[str, str], prefix: str) -> Condition:
    def etags(name: str) -> tuple[str, ...]:
        return parse_etags(headers.get(prefix + name), prefix + name)

    def date(name: str) -> int | None:
        value = headers.get(prefix + name)
        return None if value is None else parse_http_date(value)

    return Condition(
        if_match=etags("if-match"),
        if_none_match=etags("if-none-match"),
        if_modified_since=date("if-modified-since"),
        if_unmodified_since=date("if-unmodified-since"),
    )


def write_condition(headers: Mapping[str, str]) -> Condition:
    """Return the conditions of a PUT, Complete, or the destination of a copy (H2): `If-Match` and `If-None-Match`.

    AWS keeps `If-None-Match` only for `*`; it is kept for any ETag here. Dates are NotImplemented.
    """
    _refuse(headers, "if-modified-since", "if-unmodified-since")
    return _condition(headers, "")


def delete_condition(headers: Mapping[str, str]) -> Condition:
    """Return the condition of a DELETE: `If-Match`, the size, the Last-Modified (H2)."""
    _refuse(headers, "if-modified-since", "if-unmodified-since", "if-none-match")
    names = ("if-match", "x-amz-if-match-size", "x-amz-if-match-last-modified-time")
    return named_condition(*(headers.get(name) for name in names))


def named_condition(etag: str | None, size: str | None, modified: str | None) -> Condition:
    """Return the condition of a delete, from a header or from a key of DeleteObjects. Raises InvalidArgument."""
    if size is not None and not _SIZE.fullmatch(size.strip()):
        raise S3Error("InvalidArgument", "The size is not a number.", ArgumentName="Size", ArgumentValue=size)
    seconds = None if modified is None else parse_date(modified.strip())
    if modified is not None and seconds is None:
        raise S3Error("InvalidArgument", "The time is not well formed.", ArgumentName="LastModifiedTime")
    return Condition(if_match=parse_etags(etag), size=None if size is None else int(size), modified=seconds)


def _refuse(headers: Mapping[str, str], *names: str) -> None:
    for name in names:
        if name in headers:
            raise _unknown(name)


def _unknown(name: str) -> S3Error:
    message = "A header you provided implies functionality that is not implemented"
    return S3Error("NotImplemented", message, Header=name)
