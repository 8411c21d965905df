"""PUT, copy and DELETE of objects.

Room: stratum/s3. May import: core, engine, s3.{answers, call, encryption, errors, headers, http, routes, service, xml}.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import trio

from stratum.core.errors import MarkerFound, NoSuchVersion, StratumError
from stratum.core.objects import CopySpec, Deleted, ObjectView, PutSpec
from stratum.core.replication import BY_REPLICATION
from stratum.core.replication import HEADER as REPLICA
from stratum.core.versions import is_version_id
from stratum.s3.access_control import acl_of_new
from stratum.s3.answers import checksum_headers, checksum_nodes, quoted, xml_answer
from stratum.s3.call import Call
from stratum.s3.checksum_headers import wanted_algorithm
from stratum.s3.encryption import seal_spec, source_key, written_headers
from stratum.s3.errors import S3Error, answer_for
from stratum.s3.headers import (
    REDIRECT_LOCATION,
    copy_source_condition,
    delete_condition,
    iso_date,
    named_condition,
    object_headers,
    redirect_location,
    user_metadata,
    write_condition,
)
from stratum.s3.http import Response
from stratum.s3.lifecycle import expiration_headers
from stratum.s3.long_keys import check_deletion_of
from stratum.s3.object_lock import bypasses_governance, header_lock
from stratum.s3.routes import Op, parse_copy_source
from stratum.s3.small_body import read_xml
from stratum.s3.storage_class import storage_class_of
from stratum.s3.tagging import copied_tags, header_tags
from stratum.s3.xml import Node, child_text, children, node

DELETES_AT_ONCE = 64  # of one DeleteObjects
# Headers with which an object may be copied onto itself, beside new metadata and another redirect.
CHANGING = (
    "x-amz-storage-class",
    "x-amz-checksum-algorithm",
    "x-amz-server-side-encryption",
    "x-amz-copy-source-server-side-encryption",
)


async def put_object(call: Call) -> Response:
    """PUT /bucket/key. If-Match and If-None-Match are evaluated at commit."""
    owner, acl = await acl_of_new(call)
    must_say_its_length(call)
    if call.payload.size is not None and call.payload.size > call.engine.limits.part_bytes_max:
        raise S3Error("EntityTooLarge", "Your proposed upload exceeds the maximum allowed size")
    retention, legal_hold = await header_lock(call)
    spec = PutSpec(
        headers=object_headers(call.headers),
        metadata=user_metadata(call.headers, call.engine.limits.metadata_bytes),
        algorithms=call.payload.algorithms,
        check=call.payload.check,
        condition=write_condition(call.headers),
        owner=owner,
        acl=acl,
        principal=call.principal.user,
        size=call.payload.size,
        tags=header_tags(call.headers),
        retention=retention,
        legal_hold=legal_hold,
        storage_class=storage_class_of(call),
        seal=seal_spec(call),
        event="ObjectCreated:Post" if call.route.op is Op.POST_OBJECT else "ObjectCreated:Put",
    )
    view = await call.engine.objects.put(call.bucket, call.key, call.payload.body, spec)
    return Response(200, [*written(view), *expiration_headers(call, view)], b"")


def must_say_its_length(call: Call) -> None:
    """Raise MissingContentLength for a PUT of bytes that does not say how many, nor that it comes in chunks.

    By HTTP it has none; by AWS, and most likely, its sender lost them.
    """
    told = "content-length" in call.headers or "transfer-encoding" in call.headers
    if call.payload.size == 0 and not told:
        raise S3Error("MissingContentLength")


def written(view: ObjectView) -> list[tuple[bytes, bytes]]:
    """The headers that say what was stored."""
    shown = [*checksum_headers(view.inode.checksum), *version_header(view), *written_headers(view.inode.sealed)]
    return [(b"etag", quoted(view.etag).encode()), *shown]


def version_header(view: ObjectView) -> list[tuple[bytes, bytes]]:
    """Which version was written; as at AWS, a null version is not named where it is written."""
    return [(b"x-amz-version-id", view.inode.version.encode())] if view.inode.version else []


async def copy_object(call: Call) -> Response:
    """PUT /bucket/key with x-amz-copy-source. No byte moves, unless it has to be sealed or opened."""
    owner, acl = await acl_of_new(call)
    bucket, key, version = parse_copy_source(call.headers["x-amz-copy-source"])
    replace = _directive(call, "x-amz-metadata-directive")
    retention, legal_hold = await header_lock(call)
    redirected = REDIRECT_LOCATION in call.headers
    unchanged = not replace and not redirected and not any(name.startswith(CHANGING) for name in call.headers)
    seal = seal_spec(call)
    if (bucket, key) == (call.bucket, call.key) and unchanged and version is None:
        raise S3Error(
            "InvalidRequest",
            "This copy request is illegal because it is trying to copy an object to itself without changing the "
            "object's metadata, storage class, website redirect location or encryption attributes.",
        )
    spec = CopySpec(
        headers=object_headers(call.headers) if replace else None,
        own_headers={REDIRECT_LOCATION: "", **redirect_location(call.headers)},
        metadata=user_metadata(call.headers, call.engine.limits.metadata_bytes) if replace else None,
        source_condition=copy_source_condition(call.headers),
        condition=write_condition(call.headers),
        owner=owner,
        acl=acl,
        principal=call.principal.user,
        checksum_algorithm=wanted_algorithm(call.headers),
        tags=copied_tags(call.headers),
        retention=retention,
        legal_hold=legal_hold,
        storage_class=storage_class_of(call),
        seal=seal,
        source_customer=source_key(call),
    )
    with source_is_no_marker():
        view = await call.engine.objects.copy(bucket, key, call.bucket, call.key, spec, version)
    shown = [node(name, text) for name, text in checksum_nodes(view.inode.checksum)]
    return xml_answer(
        node(
            "CopyObjectResult",
            node("LastModified", iso_date(view.inode.mtime)),
            node("ETag", quoted(view.etag)),
            *shown,
        ),
        [
            *version_header(view),
            *written_headers(view.inode.sealed),
            *expiration_headers(call, view),
            *([(b"x-amz-copy-source-version-id", version.encode())] if version else []),
        ],
    )


@contextmanager
def source_is_no_marker() -> Iterator[None]:
    """Around a copy: turn a delete marker as its source into what S3 says of one."""
    try:
        yield
    except MarkerFound as error:
        if not error.asked:
            raise S3Error("NoSuchKey") from error
        message = "The source of a copy request may not specifically refer to a delete marker by version id."
        raise S3Error("InvalidRequest", message) from error


def _directive(call: Call, name: str) -> bool:
    text = call.headers.get(name, "COPY")
    if text not in ("COPY", "REPLACE"):
        raise S3Error("InvalidArgument", "Unknown metadata directive.")
    return text == "REPLACE"


async def delete_object(call: Call) -> Response:
    """DELETE /bucket/key: 204 also if there was none."""
    deleted = await call.engine.objects.delete(
        call.bucket,
        call.key,
        delete_condition(call.headers),
        version=call.version,
        bypass_governance=bypasses_governance(call),
        principal=BY_REPLICATION if REPLICA in call.headers else call.principal.user,
    )
    headers = [(b"x-amz-delete-marker", b"true")] if deleted.marker else []
    if deleted.version:
        headers.append((b"x-amz-version-id", deleted.version.encode()))
    return Response(204, headers, b"")


async def delete_objects(call: Call) -> Response:
    """POST /bucket?delete. Each key is settled by itself."""
    limits = call.engine.limits
    digest_given = "content-md5" in call.headers or any(name.startswith("x-amz-checksum-") for name in call.headers)
    if not digest_given and "x-amz-trailer" not in call.headers:
        raise S3Error("InvalidRequest", "Missing required header for this request: Content-MD5 OR x-amz-checksum-*")
    document = await read_xml(call.payload, limits.multi_delete_xml_bytes, "Delete")
    objects = children(document, "Object")
    if not 1 <= len(objects) <= limits.delete_keys:
        raise S3Error("MalformedXML")
    await call.engine.buckets.get(call.bucket)
    quiet = (child_text(document, "Quiet") or "").lower() == "true"
    shown = await _delete_all(call, objects)
    kept = [each for name, each in shown if not (quiet and name == "Deleted")]
    return xml_answer(node("DeleteResult", *kept))


async def _delete_all(call: Call, objects: list[Node]) -> list[tuple[str, Node]]:
    """What came of each, in order. Several are under way at once, so that they share the commits they wait for."""
    shown: list[tuple[str, Node]] = [("", element) for element in objects]
    places = iter(range(len(objects)))

    async def work() -> None:
        for place in places:
            shown[place] = await _delete_one(call, objects[place])

    if any(not child_text(each, "Key") for each in objects):
        raise S3Error("MalformedXML")
    async with trio.open_nursery() as nursery:
        for _ in range(min(DELETES_AT_ONCE, len(objects))):
            nursery.start_soon(work)
    return shown


async def _delete_one(call: Call, element: Node) -> tuple[str, Node]:
    key, version = child_text(element, "Key") or "", child_text(element, "VersionId")
    try:
        if version is not None and not is_version_id(version):
            raise NoSuchVersion(key)
        await check_deletion_of(call, key.encode(), version)
        deleted = await call.engine.objects.delete(
            call.bucket,
            key.encode(),
            named_condition(*(child_text(element, name) for name in ("ETag", "Size", "LastModifiedTime"))),
            version=version,
            bypass_governance=bypasses_governance(call),
            principal=call.principal.user,
        )
    except StratumError as error:
        answer = answer_for(error)
        named = [node("VersionId", version)] if version else []
        return "Error", node(
            "Error", node("Key", key), *named, node("Code", answer.code), node("Message", answer.message)
        )
    return "Deleted", node("Deleted", node("Key", key), *_deleted_nodes(deleted, version))


def _deleted_nodes(deleted: Deleted, version: str | None) -> list[Node]:
    shown = [node("VersionId", version)] if version else []
    if deleted.marker:
        shown += [node("DeleteMarker", "true"), node("DeleteMarkerVersionId", deleted.version)]
    return shown
