"""Versioning: switched on and off, and the listing of versions.

Room: stratum/s3. May import: core, engine, s3.{answers, call, errors, headers, listing, small_body,
storage_class, xml}.

Source: docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketVersioning.html, API_ListObjectVersions.html
"""

from dataclasses import replace

import msgspec

from stratum.core.objects import VersionPage, VersionQuery, VersionView
from stratum.core.records import Bucket
from stratum.core.replication import KIND as REPLICATION
from stratum.core.replication import Replication
from stratum.core.version_listing import is_marker
from stratum.core.versions import ENABLED, NULL, SUSPENDED
from stratum.s3.answers import contents_node, prefix_nodes, shown, xml_answer
from stratum.s3.call import Call
from stratum.s3.errors import S3Error
from stratum.s3.headers import iso_date
from stratum.s3.http import Response
from stratum.s3.listing import Wanted
from stratum.s3.owners import Owners
from stratum.s3.small_body import read_xml
from stratum.s3.storage_class import truthful
from stratum.s3.xml import Node, child_text, node


async def get_bucket_versioning(call: Call) -> Response:
    """GET /bucket?versioning: empty where it was never switched on."""
    bucket = await call.engine.buckets.get(call.bucket)
    return xml_answer(
        node("VersioningConfiguration", *([node("Status", bucket.versioning)] if bucket.versioning else []))
    )


async def put_bucket_versioning(call: Call) -> Response:
    """PUT /bucket?versioning. A bucket with object lock keeps it."""
    document = await read_xml(call.payload, call.engine.limits.xml_bytes, "VersioningConfiguration")
    status = child_text(document, "Status")
    if status not in (ENABLED, SUSPENDED):
        raise S3Error("IllegalVersioningConfigurationException")
    if (child_text(document, "MfaDelete") or "Disabled") != "Disabled":
        raise S3Error("NotImplemented", "MFA delete is not implemented.")

    if status != ENABLED and call.engine.configurations.read(call.bucket, REPLICATION, Replication) is not None:
        message = "A replication configuration is present on this bucket, so the versioning state cannot be changed."
        raise S3Error("InvalidBucketState", message)

    def change(bucket: Bucket) -> Bucket:
        if bucket.lock and status != ENABLED:
            raise S3Error(
                "InvalidBucketState",
                "An Object Lock configuration is present on this bucket, so the versioning state cannot be changed.",
            )
        return msgspec.structs.replace(bucket, versioning=status)

    await call.engine.buckets.amend(call.bucket, change)
    return Response(200)


async def list_object_versions(call: Call) -> Response:
    """GET /bucket?versions: every version and delete marker, keys in byte order, of each the newest first."""
    wanted = Wanted.of(call)
    key_marker, version_marker = call.query.get("key-marker", ""), call.query.get("version-id-marker", "")
    if version_marker and not key_marker:
        raise S3Error("InvalidArgument", "A version-id marker cannot be specified without a key marker.")
    if version_marker and not is_marker(version_marker):  # or the rest of the key's versions would not be listed
        raise S3Error("InvalidArgument", "Invalid version id specified", ArgumentName="version-id-marker")
    query = VersionQuery(
        prefix=wanted.prefix,
        delimiter=wanted.delimiter,
        key_marker=key_marker.encode(),
        version_marker=version_marker,
        limit=wanted.limit,
    )
    page = await call.engine.objects.list_versions(call.bucket, query)
    if call.engine.tiers.several:
        seen = (each if each.view is None else replace(each, view=truthful(call, each.view)) for each in page.versions)
        page = replace(page, versions=tuple(seen))
    parts = [
        node("Name", call.bucket),
        node("Prefix", shown(wanted.prefix, encode=wanted.encode)),
        node("KeyMarker", shown(key_marker.encode(), encode=wanted.encode)),
        node("VersionIdMarker", version_marker),
        node("MaxKeys", str(wanted.limit)),
        *_rest(wanted, page, Owners(call)),
    ]
    return xml_answer(node("ListVersionsResult", *parts))


def _rest(wanted: Wanted, page: VersionPage, owners: Owners) -> list[Node]:
    parts: list[Node] = []
    if page.next_key is not None:
        parts.append(node("NextKeyMarker", shown(page.next_key, encode=wanted.encode)))
        if page.next_version:
            parts.append(node("NextVersionIdMarker", page.next_version))
    parts.append(node("IsTruncated", "false" if page.next_key is None else "true"))
    if wanted.delimiter:
        parts.append(node("Delimiter", shown(wanted.delimiter, encode=wanted.encode)))
    if wanted.encode:
        parts.append(node("EncodingType", "url"))
    parts += [_version_node(each, owners.node(each.owner), encode=wanted.encode) for each in page.versions]
    return parts + prefix_nodes(page.common_prefixes, encode=wanted.encode)


def _version_node(version: VersionView, owner: Node, *, encode: bool) -> Node:
    latest = "true" if version.latest else "false"
    named = [node("VersionId", version.version or NULL), node("IsLatest", latest)]
    if version.view is None:
        return node(
            "DeleteMarker",
            node("Key", shown(version.key, encode=encode)),
            *named,
            node("LastModified", iso_date(version.modified)),
            owner,
        )
    made = contents_node(version.view, encode=encode, owner=owner)
    made.name = "Version"
    made.children[1:1] = named
    return made
