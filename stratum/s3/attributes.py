"""GetObjectAttributes: size, ETag, checksum, class and parts of an object in one answer, without its bytes.

Room: stratum/s3. May import: core, engine, s3.{answers, call, encryption, errors, http, object_read,
storage_class, xml}.

Source: docs.aws.amazon.com/AmazonS3/latest/API/API_GetObjectAttributes.html
"""

import re

from stratum.core.objects import ObjectView
from stratum.s3.answers import checksum_nodes, xml_answer
from stratum.s3.call import Call
from stratum.s3.encryption import reading_key
from stratum.s3.errors import S3Error
from stratum.s3.http import Response
from stratum.s3.object_read import validators
from stratum.s3.storage_class import shown_class, truthful
from stratum.s3.xml import Node, node

ATTRIBUTES = frozenset(("ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"))
PARTS_MAX = 1000  # in one answer

_NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)


async def get_object_attributes(call: Call) -> Response:
    """GET /bucket/key?attributes: what x-amz-object-attributes asks for."""
    wanted = {each.strip() for each in call.headers.get("x-amz-object-attributes", "").split(",") if each.strip()}
    if not wanted or wanted - ATTRIBUTES:
        message = "Invalid attribute name specified."
        raise S3Error("InvalidArgument", message, ArgumentName="x-amz-object-attributes")
    limit = min(_number(call, "x-amz-max-parts", PARTS_MAX), PARTS_MAX)
    after = _number(call, "x-amz-part-number-marker", 0)
    customer = reading_key(call)
    view = await call.engine.objects.head(call.bucket, call.key, call.version)
    call.engine.sealing.open_any(view.inode.sealed, customer)
    shown: list[Node] = []
    if "ETag" in wanted:
        shown.append(node("ETag", view.etag))
    if "Checksum" in wanted and view.inode.checksum is not None:
        shown.append(node("Checksum", *(node(name, text) for name, text in checksum_nodes(view.inode.checksum))))
    if "ObjectParts" in wanted and view.inode.parts:
        shown.append(_parts(view, after, limit))
    if "StorageClass" in wanted:
        shown.append(node("StorageClass", shown_class(truthful(call, view).inode.storage_class)))
    if "ObjectSize" in wanted:
        shown.append(node("ObjectSize", str(view.size)))
    headers = [each for each in validators(view) if each[0] != b"etag"]
    return xml_answer(node("GetObjectAttributesResponse", *shown), headers)


def _number(call: Call, name: str, default: int) -> int:
    text = call.headers.get(name)
    if text is None:
        return default
    if not _NUMBER.fullmatch(text):
        raise S3Error("InvalidArgument", f"{name} must be a number.", ArgumentName=name, ArgumentValue=text)
    return int(text)


def _parts(view: ObjectView, after: int, limit: int) -> Node:
    """A page of parts: those with numbers above `after`. They count from 1 here, whatever numbers the upload used."""
    sizes = view.inode.parts
    last = min(after + limit, len(sizes))
    truncated = last < len(sizes)
    return node(
        "ObjectParts",
        node("PartsCount", str(len(sizes))),
        node("PartNumberMarker", str(after)),
        *([node("NextPartNumberMarker", str(last))] if truncated else []),
        node("MaxParts", str(limit)),
        node("IsTruncated", "true" if truncated else "false"),
        *(_part(view, number) for number in range(after + 1, last + 1)),
    )


def _part(view: ObjectView, number: int) -> Node:
    inode = view.inode
    named = [node("PartNumber", str(number)), node("Size", str(inode.parts[number - 1]))]
    if inode.checksum is not None and inode.part_checksums:
        named.append(node("Checksum" + inode.checksum.algorithm.upper(), inode.part_checksums[number - 1]))
    return node("Part", *named)
