"""ListObjects, both versions.

Room: stratum/s3. May import: core, engine, s3.{answers, call, errors, http, storage_class, xml}.

A continuation token is the last key or common prefix of the page before, in URL-safe base64: it needs no state here
and stays right while keys come and go.
"""

import base64
import binascii
from dataclasses import dataclass, replace

from stratum.core.objects import ListPage, ListQuery
from stratum.s3.answers import contents_node, prefix_nodes, shown, xml_answer
from stratum.s3.call import Call
from stratum.s3.errors import S3Error
from stratum.s3.http import Response
from stratum.s3.owners import Owners
from stratum.s3.storage_class import truthful
from stratum.s3.xml import Node, node, printable


@dataclass(frozen=True, slots=True)
class Wanted:
    """What both versions have in common."""

    prefix: bytes
    delimiter: bytes
    limit: int
    encode: bool

    @classmethod
    def of(cls, call: Call) -> "Wanted":
        """Read the query. Raises S3Error InvalidArgument."""
        encoding = call.query.get("encoding-type", "")
        if encoding not in ("", "url"):
            raise S3Error("InvalidArgument", "Invalid Encoding Method specified in Request")
        return cls(
            prefix=call.query.get("prefix", "").encode(),
            delimiter=call.query.get("delimiter", "").encode(),
            limit=page_limit(call, "max-keys"),
            encode=encoding == "url",
        )


def page_limit(call: Call, name: str) -> int:
    """A page size from the query; more than the limit is cut to it. Raises S3Error InvalidArgument."""
    text = call.query.get(name) or str(call.engine.limits.list_keys)
    if not text.isdecimal() or not text.isascii() or len(text) > 10 or int(text) >= 2**31:
        raise S3Error("InvalidArgument", f"Provided {name} not an integer or within integer range")
    return min(int(text), call.engine.limits.list_keys)


async def list_objects_v1(call: Call) -> Response:
    """GET /bucket."""
    wanted = Wanted.of(call)
    marker = call.query.get("marker", "").encode()
    page = await _page(call, wanted, marker)
    parts = [
        node("Name", call.bucket),
        node("Prefix", _prefix_v1(wanted)),
        node("Marker", shown(marker, encode=wanted.encode)),
        node("MaxKeys", str(wanted.limit)),
    ]
    if page.next_after is not None and wanted.delimiter:
        parts.append(node("NextMarker", shown(page.next_after, encode=wanted.encode)))
    return xml_answer(node("ListBucketResult", *parts, *_common(wanted, page, Owners(call))))


def _prefix_v1(wanted: Wanted) -> str:
    """botocore decodes everything of this listing but the prefix: it stays as it came, unless XML cannot hold it."""
    text = wanted.prefix.decode(errors="replace")
    return shown(wanted.prefix, encode=wanted.encode and printable(text) != text)


async def list_objects_v2(call: Call) -> Response:
    """GET /bucket?list-type=2."""
    wanted = Wanted.of(call)
    token = call.query.get("continuation-token")
    start_after = call.query.get("start-after", "").encode()
    page = await _page(call, wanted, start_after if token is None else _decode(token))
    parts = [
        node("Name", call.bucket),
        node("Prefix", shown(wanted.prefix, encode=wanted.encode)),
        node("MaxKeys", str(wanted.limit)),
        node("KeyCount", str(len(page.objects) + len(page.common_prefixes))),
    ]
    if start_after:
        parts.append(node("StartAfter", shown(start_after, encode=wanted.encode)))
    if token is not None:
        parts.append(node("ContinuationToken", token))
    if page.next_after is not None:
        parts.append(node("NextContinuationToken", _encode(page.next_after)))
    owners = Owners(call) if call.query.get("fetch-owner", "").lower() == "true" else None
    return xml_answer(node("ListBucketResult", *parts, *_common(wanted, page, owners)))


async def _page(call: Call, wanted: Wanted, after: bytes) -> ListPage:
    if wanted.limit == 0:
        await call.engine.buckets.get(call.bucket)
        return ListPage(objects=(), common_prefixes=(), next_after=None)
    query = ListQuery(prefix=wanted.prefix, delimiter=wanted.delimiter, after=after, limit=wanted.limit)
    page = await call.engine.objects.list(call.bucket, query)
    if not call.engine.tiers.several:
        return page
    return replace(page, objects=tuple(truthful(call, view) for view in page.objects))


def _common(wanted: Wanted, page: ListPage, owners: Owners | None) -> list[Node]:
    parts = [node("IsTruncated", "false" if page.next_after is None else "true")]
    if wanted.delimiter:
        parts.append(node("Delimiter", shown(wanted.delimiter, encode=wanted.encode)))
    if wanted.encode:
        parts.append(node("EncodingType", "url"))
    for view in page.objects:
        owner = None if owners is None else owners.node(view.inode.owner)
        parts.append(contents_node(view, encode=wanted.encode, owner=owner))
    return parts + prefix_nodes(page.common_prefixes, encode=wanted.encode)


def _encode(after: bytes) -> str:
    return base64.urlsafe_b64encode(after).decode()


def _decode(token: str) -> bytes:
    try:
        return base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise S3Error("InvalidArgument", "The continuation token provided is incorrect") from error
