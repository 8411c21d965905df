"""GET and HEAD of objects.

Room: stratum/s3. May import: core, engine, s3.{answers, call, encryption, errors, headers, http,
signals, storage_class, xml}.
"""

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

from stratum.core.conditions import check_read, is_still, last_modified
from stratum.core.errors import RangeNotSatisfiable
from stratum.core.objects import ObjectView
from stratum.core.records import Checksum
from stratum.core.replication import status_of
from stratum.s3.answers import checksum_headers, quoted
from stratum.s3.browsers import guard_headers
from stratum.s3.call import Call
from stratum.s3.encryption import reading_key, sealed_headers
from stratum.s3.errors import S3Error
from stratum.s3.headers import condition_of, http_date, parse_http_date, parse_range, response_overrides
from stratum.s3.http import Response
from stratum.s3.lifecycle import expiration_headers
from stratum.s3.object_lock import lock_headers
from stratum.s3.signals import counted, looked
from stratum.s3.storage_class import tier_headers
from stratum.s3.tagging import tag_headers

Header = tuple[bytes, bytes]


async def get_object(call: Call) -> Response:
    """GET /bucket/key, with one range, conditions, response-* overrides."""
    opened = await call.engine.objects.open(call.bucket, call.key, call.version, reading_key(call))
    view = opened.view
    if not_modified(call, view):
        looked(call, view)
        return Response(304, validators(view), b"")
    status, start, stop, headers = _span(call, view)
    headers = [*headers, *described(call, view, whole=status == 200)]
    if start >= stop:
        return Response(status, headers, b"")
    begun = time.monotonic()
    body = await _begun(opened.stream(start, stop), stop - start)
    call.engine.tiering.first_bytes.note(dict(headers).get(b"x-stratum-tier", b""), time.monotonic() - begun)
    return Response(status, headers, counted(call, opened, start, stop, body))


async def _begun(pieces: AsyncGenerator[bytes, None], size: int) -> bytes | AsyncGenerator[bytes, None]:
    """The body with its first piece read: bytes that cannot be read now are an error, not a 200 that is cut off."""
    try:
        first = await anext(pieces)
    except BaseException:
        await pieces.aclose()
        raise
    if len(first) < size:
        return _behind(first, pieces)
    await pieces.aclose()
    return first


async def _behind(first: bytes, rest: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(rest):
        yield first
        async for piece in rest:
            yield piece


async def head_object(call: Call) -> Response:
    """HEAD /bucket/key: as GET, without the body."""
    customer = reading_key(call)
    view = await call.engine.objects.head(call.bucket, call.key, call.version)
    call.engine.sealing.open_any(view.inode.sealed, customer)
    looked(call, view)
    if not_modified(call, view):
        return Response(304, validators(view), b"")
    status, _, _, headers = _span(call, view)
    return Response(status, [*headers, *described(call, view, whole=status == 200)], b"")


def not_modified(call: Call, view: ObjectView) -> bool:
    """Evaluate the conditions. Raises PreconditionFailed."""
    return check_read(condition_of(call.headers), view.inode) == "not_modified"


def _span(call: Call, view: ObjectView) -> tuple[int, int, int, list[Header]]:
    """(status, first byte, byte after the last, headers that say so)."""
    if "partNumber" in call.query:
        return _part_span(call, view)
    asked = call.headers.get("range") if _is_still(call.headers.get("if-range"), view) else None
    try:
        wanted = parse_range(asked, view.size)
    except RangeNotSatisfiable as error:
        size = str(view.size)
        raise S3Error("InvalidRange", RangeRequested=asked or "", ActualObjectSize=size) from error
    if wanted is None:
        return 200, 0, view.size, [(b"content-length", b"%d" % view.size)]
    return _partial(view, *wanted)


def _is_still(if_range: str | None, view: ObjectView) -> bool:
    """Does the client go on with the object it began with? If not, it gets the whole of the new one."""
    text = (if_range or "").strip()
    date = None if text.startswith(('"', "W/")) else parse_http_date(text)
    return if_range is None or is_still(view.inode, text.strip('"'), date)


def _part_span(call: Call, view: ObjectView) -> tuple[int, int, int, list[Header]]:
    text = call.query["partNumber"]
    if "range" in call.headers:
        raise S3Error("InvalidRequest", "Cannot specify both Range header and partNumber query parameter")
    sizes = view.inode.parts or (view.size,)
    if not text.isdecimal() or not 1 <= int(text) <= call.engine.limits.parts:
        raise S3Error("InvalidArgument", "Part number must be an integer between 1 and 10000, inclusive")
    if int(text) > len(sizes):
        raise S3Error("InvalidPartNumber", "The requested partnumber is not satisfiable")
    start = sum(sizes[: int(text) - 1])
    status, first, stop, headers = _partial(view, start, start + sizes[int(text) - 1])
    if view.inode.parts:
        headers.append((b"x-amz-mp-parts-count", b"%d" % len(sizes)))
    return status, first, stop, headers


def _partial(view: ObjectView, start: int, stop: int) -> tuple[int, int, int, list[Header]]:
    if start == stop:
        return 200, 0, 0, [(b"content-length", b"0")]
    headers = [
        (b"content-length", b"%d" % (stop - start)),
        (b"content-range", b"bytes %d-%d/%d" % (start, stop - 1, view.size)),
    ]
    return 206, start, stop, headers


def validators(view: ObjectView) -> list[Header]:
    """What a 304 carries."""
    return [
        (b"etag", quoted(view.etag).encode()),
        (b"last-modified", http_date(last_modified(view.inode.mtime)).encode()),
        *([(b"x-amz-version-id", view.version.encode())] if view.version else []),
    ]


def described(call: Call, view: ObjectView, *, whole: bool) -> list[Header]:
    """The headers that describe an object; its checksum only for a whole answer."""
    stored = {"content-type": "binary/octet-stream", **view.inode.headers, **response_overrides(call.query)}
    headers = [*validators(view), (b"accept-ranges", b"bytes")]
    headers += [(name.encode(), value.encode("latin-1")) for name, value in stored.items()]
    headers += [
        (b"x-amz-meta-" + name.encode(), value.encode("latin-1", "replace"))
        for name, value in view.inode.metadata.items()
    ]
    headers += [*tag_headers(view), *lock_headers(view), *sealed_headers(view.inode.sealed)]
    headers += [*tier_headers(call, view), *expiration_headers(call, view), *_replication_headers(view)]
    headers += guard_headers(stored["content-type"], own_host=call.request.bucket is not None)
    return [*headers, *checksum_headers(_shown_checksum(call, view, whole=whole))]


def _replication_headers(view: ObjectView) -> list[Header]:
    status = status_of(view.inode, view.key)
    return [(b"x-amz-replication-status", status.encode())] if status else []


def _shown_checksum(call: Call, view: ObjectView, *, whole: bool) -> Checksum | None:
    """The checksum of exactly the bytes of this answer, if it was asked for and is known: never of a range.

    Of a part it is that of the part, with the type of the whole.
    """
    inode = view.inode
    if inode.checksum is None or call.headers.get("x-amz-checksum-mode", "").upper() != "ENABLED":
        return None
    if "partNumber" not in call.query or not inode.parts:
        return inode.checksum if whole or "partNumber" in call.query else None
    if not inode.part_checksums:
        return None
    value = inode.part_checksums[int(call.query["partNumber"]) - 1]
    return Checksum(inode.checksum.algorithm, value, inode.checksum.kind)
