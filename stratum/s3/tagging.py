"""Tags of objects and buckets over S3.

Room: stratum/s3. May import: core, engine, s3.{answers, call, errors, headers, http, small_body, xml}.

Source: docs.aws.amazon.com/AmazonS3/latest/API/API_PutObjectTagging.html, API_PutBucketTagging.html
"""

from collections.abc import Callable, Mapping
from urllib.parse import parse_qsl

import msgspec

from stratum.core.objects import ObjectView
from stratum.core.records import Inode
from stratum.core.tagging import BUCKET_TAGS, KIND, OBJECT_TAGS, BucketTags, checked_tags
from stratum.s3.answers import xml_answer
from stratum.s3.call import Call
from stratum.s3.errors import S3Error
from stratum.s3.http import Headers, Response
from stratum.s3.small_body import read_xml
from stratum.s3.xml import Node, child_text, children, node

HEADER = "x-amz-tagging"
DIRECTIVE = "x-amz-tagging-directive"
FIELDS_MAX = 100  # of the header; more tags than an object may have are told from more than anyone should send

_NOT_QUERY = (
    "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name "
    "duplicates."
)


# --- the header -----------------------------------------------------------------------------------------------


def header_tags(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the tags that x-amz-tagging gives to a new object. Raises InvalidArgument, InvalidTag."""
    text = headers.get(HEADER, "")
    try:
        pairs = parse_qsl(text, keep_blank_values=True, encoding="utf-8", errors="strict", max_num_fields=FIELDS_MAX)
    except ValueError as error:
        raise S3Error("InvalidArgument", _NOT_QUERY, ArgumentName=HEADER) from error
    if len({key for key, _ in pairs}) < len(pairs):
        raise S3Error("InvalidArgument", _NOT_QUERY, ArgumentName=HEADER, ArgumentValue=text)
    return checked_tags(pairs, OBJECT_TAGS)


def copied_tags(headers: Mapping[str, str]) -> dict[str, str] | None:
    """Return the tags of a copy; None: those of its source. Raises InvalidArgument, InvalidTag."""
    directive = headers.get(DIRECTIVE, "COPY")
    if directive not in ("COPY", "REPLACE"):
        raise S3Error("InvalidArgument", "Unknown tagging directive.", ArgumentName=DIRECTIVE, ArgumentValue=directive)
    return header_tags(headers) if directive == "REPLACE" else None


def tag_headers(view: ObjectView) -> Headers:
    """How many tags GET and HEAD tell of."""
    return [(b"x-amz-tagging-count", b"%d" % len(view.inode.tags))] if view.inode.tags else []


# --- the document ---------------------------------------------------------------------------------------------


def parse_tagging(document: Node, limit: int) -> dict[str, str]:
    """Return the tags of a Tagging document. Raises MalformedXML, InvalidTag."""
    sets = children(document, "TagSet")
    if len(sets) != 1 or len(document.children) != 1:
        raise S3Error("MalformedXML")
    return checked_tags([_pair(each) for each in sets[0].children], limit)


def _pair(tag: Node) -> tuple[str, str]:
    key, value = child_text(tag, "Key"), child_text(tag, "Value")
    if tag.name != "Tag" or key is None or value is None or len(tag.children) != 2:
        raise S3Error("MalformedXML")
    return key, value


def _shown(tags: Mapping[str, str]) -> Node:
    return node("Tagging", node("TagSet", *(node("Tag", node("Key", k), node("Value", v)) for k, v in tags.items())))


# --- objects --------------------------------------------------------------------------------------------------


async def get_object_tagging(call: Call) -> Response:
    """GET /bucket/key?tagging: an empty set where there are none."""
    view = await call.engine.objects.head(call.bucket, call.key, call.version)
    return xml_answer(_shown(view.inode.tags), _version(view))


async def put_object_tagging(call: Call) -> Response:
    """PUT /bucket/key?tagging: the set replaces the one before."""
    document = await read_xml(call.payload, call.engine.limits.xml_bytes, "Tagging")
    tags = parse_tagging(document, OBJECT_TAGS)
    if call.rejudge is not None:
        await call.rejudge(tags)
    view = await call.engine.objects.amend(call.bucket, call.key, call.version, _with(tags), "ObjectTagging:Put")
    return Response(200, _version(view), b"")


async def delete_object_tagging(call: Call) -> Response:
    """DELETE /bucket/key?tagging."""
    view = await call.engine.objects.amend(call.bucket, call.key, call.version, _with({}), "ObjectTagging:Delete")
    return Response(204, _version(view), b"")


def _with(tags: dict[str, str]) -> Callable[[Inode], Inode]:
    return lambda inode: msgspec.structs.replace(inode, tags=tags)


def _version(view: ObjectView) -> Headers:
    return [(b"x-amz-version-id", view.version.encode())] if view.version else []


# --- buckets --------------------------------------------------------------------------------------------------


async def get_bucket_tagging(call: Call) -> Response:
    """GET /bucket?tagging."""
    found = await call.engine.configurations.get(call.bucket, KIND, BucketTags)
    if found is None:
        raise S3Error("NoSuchTagSet", BucketName=call.bucket)
    return xml_answer(_shown(found.tags))


async def put_bucket_tagging(call: Call) -> Response:
    """PUT /bucket?tagging: the set replaces the one before."""
    document = await read_xml(call.payload, call.engine.limits.xml_bytes, "Tagging")
    await call.engine.configurations.put(call.bucket, KIND, BucketTags(parse_tagging(document, BUCKET_TAGS)))
    return Response(204, [], b"")


async def delete_bucket_tagging(call: Call) -> Response:
    """DELETE /bucket?tagging: 204 also if there were none."""
    await call.engine.configurations.delete(call.bucket, KIND)
    return Response(204, [], b"")
