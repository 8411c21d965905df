"""Multipart uploads over S3.

Room: stratum/s3. May import: core, engine, s3.{answers, call, encryption, errors, headers, http, listing,
object_write, routes, service, xml}.
"""

import re

import trio

from stratum.core.checksums import ALGORITHMS
from stratum.core.multipart import algorithm_of
from stratum.core.objects import PartName, UploadSpec
from stratum.core.principals import ANONYMOUS_ID
from stratum.core.records import Part, Upload
from stratum.s3.access_control import acl_of_new
from stratum.s3.answers import checksum_headers, checksum_nodes, prefix_nodes, quoted, shown, xml_answer
from stratum.s3.call import Call
from stratum.s3.checksum_headers import check_part_algorithm, checksum_plan, claimed_checksum
from stratum.s3.encryption import customer_key, part_key, seal_spec, sealed_headers, source_key, written_headers
from stratum.s3.errors import S3Error
from stratum.s3.headers import (
    copy_source_condition,
    iso_date,
    object_headers,
    parse_copy_range,
    user_metadata,
    write_condition,
)
from stratum.s3.http import Response
from stratum.s3.lifecycle import abort_headers, expiration_headers
from stratum.s3.listing import page_limit
from stratum.s3.object_lock import header_lock
from stratum.s3.object_write import must_say_its_length, source_is_no_marker, version_header
from stratum.s3.owners import Owners
from stratum.s3.routes import parse_copy_source
from stratum.s3.small_body import read_xml_as
from stratum.s3.storage_class import shown_class, storage_class_of
from stratum.s3.tagging import header_tags
from stratum.s3.xml import Node, children, node

SHOWN_AT_ONCE = 250  # parts, 10 us each; a page of more is written in a thread
NUMBER = re.compile("[0-9]{1,9}")
CHECKSUM_ELEMENTS = {"Checksum" + name.upper(): name for name in ALGORITHMS}


async def create_upload(call: Call) -> Response:
    """POST /bucket/key?uploads."""
    owner, acl = await acl_of_new(call)
    algorithm, kind = checksum_plan(call.headers)
    retention, legal_hold = await header_lock(call)
    spec = UploadSpec(
        headers=object_headers(call.headers),
        metadata=user_metadata(call.headers, call.engine.limits.metadata_bytes),
        checksum_algorithm=algorithm,
        checksum_type=kind,
        owner=owner,
        acl=acl,
        tags=header_tags(call.headers),
        retention=retention,
        legal_hold=legal_hold,
        storage_class=storage_class_of(call),
        seal=seal_spec(call),
        principal=call.principal.user or ANONYMOUS_ID,
    )
    upload = await call.engine.uploads.create(call.bucket, call.key, spec)
    headers = []
    if algorithm:
        headers = [(b"x-amz-checksum-algorithm", algorithm.upper().encode()), (b"x-amz-checksum-type", kind.encode())]
    made = await call.engine.uploads.get(call.bucket, call.key, upload)
    headers += [*written_headers(made.sealed), *abort_headers(call, made.created)]
    return xml_answer(
        node(
            "InitiateMultipartUploadResult",
            node("Bucket", call.bucket),
            node("Key", call.key.decode(errors="replace")),
            node("UploadId", upload),
        ),
        headers,
    )


def _part_number(call: Call) -> int:
    text = call.query.get("partNumber", "")
    if not re.fullmatch(r"[0-9]{1,6}", text) or not 1 <= int(text) <= call.engine.limits.parts:
        raise S3Error("InvalidArgument", "Part number must be an integer between 1 and 10000, inclusive")
    return int(text)


async def upload_part(call: Call) -> Response:
    """PUT /bucket/key?partNumber&uploadId."""
    number = _part_number(call)
    must_say_its_length(call)
    if call.payload.size is not None and call.payload.size > call.engine.limits.part_bytes_max:
        raise S3Error("EntityTooLarge", "Your proposed upload exceeds the maximum allowed size")
    upload = await call.engine.uploads.get(call.bucket, call.key, call.query["uploadId"])
    check_part_algorithm(upload.checksum_algorithm, call.payload.algorithm)
    payload = call.payload.storing(algorithm_of(upload))
    part = await call.engine.uploads.part(
        call.bucket,
        call.key,
        call.query["uploadId"],
        number,
        payload.body,
        algorithms=payload.algorithms,
        check=payload.check,
        customer=part_key(call, upload.sealed),
        size=payload.size,
    )
    shown = checksum_headers(payload.sent() or part.checksum)
    headers = [pair for pair in shown if pair[0] != b"x-amz-checksum-type"]
    return Response(200, [(b"etag", quoted(part.etag).encode()), *headers, *sealed_headers(upload.sealed)], b"")


async def upload_part_copy(call: Call) -> Response:
    """PUT /bucket/key?partNumber&uploadId with x-amz-copy-source. Bytes move only to be sealed or opened."""
    number = _part_number(call)
    bucket, key, version = parse_copy_source(call.headers["x-amz-copy-source"])
    upload = await call.engine.uploads.get(call.bucket, call.key, call.query["uploadId"])
    with source_is_no_marker():
        part = await call.engine.uploads.copy_part(
            call.bucket,
            call.key,
            call.query["uploadId"],
            number,
            bucket,
            key,
            parse_copy_range(call.headers.get("x-amz-copy-source-range")),
            copy_source_condition(call.headers),
            version,
            customer=part_key(call, upload.sealed),
            source_customer=source_key(call),
        )
    return xml_answer(
        node(
            "CopyPartResult",
            node("LastModified", iso_date(part.modified)),
            node("ETag", quoted(part.etag)),
            *_checksum_nodes(part),
        ),
        [
            *sealed_headers(upload.sealed),
            *([(b"x-amz-copy-source-version-id", version.encode())] if version else []),
        ],
    )


async def complete_upload(call: Call) -> Response:
    """POST /bucket/key?uploadId."""
    size_max = call.engine.limits.complete_xml_bytes
    names = await read_xml_as(call.payload, size_max, "CompleteMultipartUpload", _part_names)
    if not 1 <= len(names) <= call.engine.limits.parts:
        raise S3Error("MalformedXML")
    view = await call.engine.uploads.complete(
        call.bucket,
        call.key,
        call.query["uploadId"],
        names,
        condition=write_condition(call.headers),
        checksum=claimed_checksum(call.headers),
        size=_object_size(call),
        principal=call.principal.user,
        customer=customer_key(call),
    )
    location = f"{call.request.scheme}://{call.headers.get('host', '')}{call.request.raw_path.decode('ascii')}"
    return xml_answer(
        node(
            "CompleteMultipartUploadResult",
            node("Location", location),
            node("Bucket", call.bucket),
            node("Key", call.key.decode(errors="replace")),
            node("ETag", quoted(view.etag)),
            *(node(name, text) for name, text in checksum_nodes(view.inode.checksum)),
        ),
        [*version_header(view), *sealed_headers(view.inode.sealed), *expiration_headers(call, view)],
    )


def _part_names(document: Node) -> list[PartName]:
    return [_part_name(each) for each in children(document, "Part")]


def _part_name(element: Node) -> PartName:
    texts = {child.name: child.text for child in reversed(element.children)}  # of one name the first
    number, etag = texts.get("PartNumber"), texts.get("ETag")
    if not number or not etag or not NUMBER.fullmatch(number.strip()):
        raise S3Error("MalformedXML")
    algorithm = next((name for element, name in CHECKSUM_ELEMENTS.items() if texts.get(element)), "")
    checksum = texts["Checksum" + algorithm.upper()] if algorithm else ""
    return PartName(number=int(number), etag=etag.strip().strip('"'), checksum=checksum, algorithm=algorithm)


def _object_size(call: Call) -> int | None:
    text = call.headers.get("x-amz-mp-object-size")
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise S3Error("InvalidRequest", "x-amz-mp-object-size must be a number of bytes")
    return int(text)


async def abort_upload(call: Call) -> Response:
    """DELETE /bucket/key?uploadId."""
    await call.engine.uploads.abort(call.bucket, call.key, call.query["uploadId"])
    return Response(204, [], b"")


async def list_parts(call: Call) -> Response:
    """GET /bucket/key?uploadId."""
    marker = call.query.get("part-number-marker") or "0"
    if not re.fullmatch(r"[0-9]{1,9}", marker):
        raise S3Error("InvalidArgument", "part-number-marker must be a number")
    limit = page_limit(call, "max-parts")
    upload_id = call.query["uploadId"]
    upload, parts, truncated = await call.engine.uploads.list_parts(
        call.bucket, call.key, upload_id, int(marker), limit
    )
    owners = Owners(call)
    head = [
        node("Bucket", call.bucket),
        node("Key", call.key.decode(errors="replace")),
        node("UploadId", upload_id),
        owners.initiator(upload.initiator or owners.of(upload.owner)),
        owners.node(upload.owner),
        node("StorageClass", shown_class(upload.storage_class)),
        node("PartNumberMarker", marker),
        node("MaxParts", str(limit)),
        node("IsTruncated", "true" if truncated else "false"),
    ]
    head += _plan_nodes(upload)
    if parts:
        head.append(node("NextPartNumberMarker", str(parts[-1][0])))
    headers = abort_headers(call, upload.created)
    if len(parts) <= SHOWN_AT_ONCE:
        return _parts_answer(head, parts, headers)
    return await trio.to_thread.run_sync(_parts_answer, head, parts, headers)


def _parts_answer(head: list[Node], parts: list[tuple[int, Part]], headers: list[tuple[bytes, bytes]]) -> Response:
    return xml_answer(node("ListPartsResult", *head, *(_part_node(*each) for each in parts)), headers)


def _plan_nodes(upload: Upload) -> list[Node]:
    if not upload.checksum_algorithm:
        return []
    return [
        node("ChecksumAlgorithm", upload.checksum_algorithm.upper()),
        node("ChecksumType", upload.checksum_type),
    ]


def _part_node(number: int, part: Part) -> Node:
    return node(
        "Part",
        node("PartNumber", str(number)),
        node("LastModified", iso_date(part.modified)),
        node("ETag", quoted(part.etag)),
        node("Size", str(part.size)),
        *_checksum_nodes(part),
    )


def _checksum_nodes(part: Part) -> list[Node]:
    return [node(name, text) for name, text in checksum_nodes(part.checksum) if name != "ChecksumType"]


async def list_uploads(call: Call) -> Response:
    """GET /bucket?uploads."""
    encoding = call.query.get("encoding-type", "")
    if encoding not in ("", "url"):
        raise S3Error("InvalidArgument", "Invalid Encoding Method specified in Request")
    encode = encoding == "url"
    prefix, delimiter = call.query.get("prefix", "").encode(), call.query.get("delimiter", "").encode()
    key_marker, id_marker = call.query.get("key-marker", "").encode(), call.query.get("upload-id-marker", "")
    limit = page_limit(call, "max-uploads")
    page = await call.engine.uploads.list_uploads(call.bucket, prefix, delimiter, key_marker, id_marker, limit)
    parts = [
        node("Bucket", call.bucket),
        node("KeyMarker", shown(key_marker, encode=encode)),
        node("UploadIdMarker", id_marker),
        node("Prefix", shown(prefix, encode=encode)),
        node("MaxUploads", str(limit)),
        node("IsTruncated", "false" if page.next_key is None else "true"),
    ]
    if delimiter:
        parts.append(node("Delimiter", shown(delimiter, encode=encode)))
    if encode:
        parts.append(node("EncodingType", "url"))
    if page.next_key is not None:
        parts.append(node("NextKeyMarker", shown(page.next_key, encode=encode)))
        parts.append(node("NextUploadIdMarker", page.next_upload or ""))
    owners = Owners(call)
    for key, upload_id, upload in page.uploads:
        parts.append(
            node(
                "Upload",
                node("Key", shown(key, encode=encode)),
                node("UploadId", upload_id),
                owners.initiator(upload.initiator or owners.of(upload.owner)),
                owners.node(upload.owner),
                node("StorageClass", shown_class(upload.storage_class)),
                node("Initiated", iso_date(upload.created)),
                *_plan_nodes(upload),
            )
        )
    return xml_answer(node("ListMultipartUploadsResult", *parts, *prefix_nodes(page.common_prefixes, encode=encode)))
