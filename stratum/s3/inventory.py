"""Inventory configurations over S3: which lists of a bucket are wanted, where and how often.

Room: stratum/s3. May import: core, engine, s3.{answers, call, errors, headers, http, small_body, xml}.

Source: docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketInventoryConfiguration.html
"""

import re

from stratum.core.encryption import SSE_KMS, SSE_S3
from stratum.core.errors import InvalidBucketName, NoSuchBucket
from stratum.core.inventory import (
    ALL,
    CONFIGURATIONS_MAX,
    CURRENT,
    DAILY,
    FIELDS,
    ID_CHARACTERS,
    KIND,
    WEEKLY,
    Inventories,
    Inventory,
)
from stratum.core.names import check_bucket_name
from stratum.s3.answers import xml_answer
from stratum.s3.call import Call
from stratum.s3.errors import S3Error
from stratum.s3.headers import checked
from stratum.s3.http import Response
from stratum.s3.small_body import read_xml
from stratum.s3.xml import Node, child_text, children, node

ROOT = "InventoryConfiguration"
PAGE = 100  # configurations
PREFIX_BYTES = 512
BUCKET_ARN = "arn:aws:s3:::"
NOT_WRITTEN = ("ORC", "Parquet")  # formats of S3 that are refused by name

_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)


async def get_inventory(call: Call) -> Response:
    """GET /bucket?inventory, one (`id`) or a page of all."""
    found = (await _stored(call)).configurations
    if "id" in call.query:
        wanted = call.query["id"]
        if wanted not in found:
            raise S3Error("NoSuchConfiguration")
        return xml_answer(_shown(wanted, found[wanted]))
    after = call.query.get("continuation-token", "")
    names = [name for name in sorted(found) if name > after]
    page, more = names[:PAGE], len(names) > PAGE
    parts = [_shown(name, found[name]) for name in page]
    parts.append(node("IsTruncated", "true" if more else "false"))
    parts += [node("ContinuationToken", after)] if after else []
    parts += [node("NextContinuationToken", page[-1])] if more else []
    return xml_answer(node("ListInventoryConfigurationsResult", *parts))


async def put_inventory(call: Call) -> Response:
    """PUT /bucket?inventory&id."""
    document = await read_xml(call.payload, call.engine.limits.xml_bytes, ROOT)
    name, wanted = parse_inventory(document)
    if name != call.query.get("id"):
        raise S3Error("InvalidArgument", "The id of the document is not that of the request.", ArgumentName="id")
    await _check_target(call, wanted)

    def change(stored: Inventories) -> Inventories:
        if name not in stored.configurations and len(stored.configurations) >= CONFIGURATIONS_MAX:
            raise S3Error("TooManyConfigurations")
        return Inventories({**stored.configurations, name: wanted})

    await call.engine.inventories.put(call.bucket, name, change)
    return Response(200, [], b"")


async def delete_inventory(call: Call) -> Response:
    """DELETE /bucket?inventory&id."""
    gone = call.query.get("id", "")

    def change(stored: Inventories) -> Inventories:
        if gone not in stored.configurations:
            raise S3Error("NoSuchConfiguration")
        return Inventories({name: each for name, each in stored.configurations.items() if name != gone})

    await call.engine.inventories.put(call.bucket, gone, change)
    return Response(204, [], b"")


async def _stored(call: Call) -> Inventories:
    return await call.engine.configurations.get(call.bucket, KIND, Inventories) or Inventories()


async def _check_target(call: Call, wanted: Inventory) -> None:
    try:
        await call.engine.buckets.get(wanted.target)
    except NoSuchBucket as error:
        raise S3Error("InvalidArgument", "The destination bucket does not exist.", ArgumentName="Bucket") from error


def parse_inventory(document: Node) -> tuple[str, Inventory]:
    """(id, configuration) of an InventoryConfiguration. Raises MalformedXML, InvalidArgument, NotImplemented."""
    _only(
        document,
        "Destination", "IsEnabled", "Filter", "Id", "IncludedObjectVersions", "OptionalFields", "Schedule",
    )  # fmt: skip
    name = _must(document, "Id")
    if len(name) > ID_CHARACTERS or not _ID.fullmatch(name):
        raise S3Error("InvalidArgument", "An id has letters, digits and . _ -", ArgumentName="Id")
    frequency = _one_of(_must(_child(document, "Schedule"), "Frequency"), (DAILY, WEEKLY))
    fields = [each for inside in children(document, "OptionalFields") for each in children(inside, "Field")]
    filters = children(document, "Filter")
    place = _child(_child(document, "Destination"), "S3BucketDestination")
    _only(place, "AccountId", "Bucket", "Encryption", "Format", "Prefix")
    scheme, key_id = _encryption(place)
    return name, Inventory(
        enabled=_one_of(_must(document, "IsEnabled"), ("true", "false")) == "true",
        target=_bucket(place),
        frequency=frequency,
        versions=_one_of(_must(document, "IncludedObjectVersions"), (ALL, CURRENT)),
        fields=tuple(dict.fromkeys(_field(each.text.strip()) for each in fields)),
        prefix=_prefix(child_text(filters[0], "Prefix")) if filters else None,
        target_prefix=_prefix(child_text(place, "Prefix")) or "",
        target_account=checked("AccountId", child_text(place, "AccountId") or ""),
        encryption=scheme,
        key_id=key_id,
    )


def _bucket(place: Node) -> str:
    kind = _must(place, "Format")
    if kind in NOT_WRITTEN:
        raise S3Error("NotImplemented", "Inventories are written as CSV.", Parameter="Format")
    if kind != "CSV":
        raise S3Error("MalformedXML")
    arn = _must(place, "Bucket")
    try:
        check_bucket_name(arn.removeprefix(BUCKET_ARN))
    except InvalidBucketName as error:
        raise S3Error("InvalidArgument", "The destination is no bucket.", ArgumentName="Bucket") from error
    if not arn.startswith(BUCKET_ARN):
        raise S3Error("InvalidArgument", "The destination is named by its ARN.", ArgumentName="Bucket")
    return arn.removeprefix(BUCKET_ARN)


def _encryption(place: Node) -> tuple[str, str]:
    """(scheme, key id)."""
    found = children(place, "Encryption")
    if not found:
        return "", ""
    chosen = found[0].children
    if len(chosen) != 1 or chosen[0].name not in ("SSE-S3", "SSE-KMS"):
        raise S3Error("MalformedXML")
    if chosen[0].name == "SSE-S3":
        return SSE_S3, ""
    return SSE_KMS, checked("KeyId", _must(chosen[0], "KeyId"))


def _field(name: str) -> str:
    if name in ("ObjectAccessControlList", "LifecycleExpirationDate"):
        raise S3Error("NotImplemented", "This field is not written into inventories.", Parameter=name)
    return _one_of(name, FIELDS)


def _prefix(text: str | None) -> str | None:
    if text is not None and len(text.encode()) > PREFIX_BYTES:
        raise S3Error("InvalidArgument", f"A prefix has at most {PREFIX_BYTES} bytes.", ArgumentName="Prefix")
    return text


def _only(element: Node, *names: str) -> None:
    if any(child.name not in names for child in element.children):
        raise S3Error("MalformedXML")


def _child(element: Node, name: str) -> Node:
    found = children(element, name)
    if len(found) != 1:
        raise S3Error("MalformedXML")
    return found[0]


def _must(element: Node, name: str) -> str:
    text = (child_text(element, name) or "").strip()
    if not text:
        raise S3Error("MalformedXML")
    return text


def _one_of(text: str, known: tuple[str, ...]) -> str:
    if text not in known:
        raise S3Error("MalformedXML")
    return text


def _shown(name: str, wanted: Inventory) -> Node:
    place = [node("Format", "CSV"), node("Bucket", BUCKET_ARN + wanted.target)]
    place += [node("AccountId", wanted.target_account)] if wanted.target_account else []
    place += [node("Prefix", wanted.target_prefix)] if wanted.target_prefix else []
    if wanted.encryption:
        key = [node("KeyId", wanted.key_id)] if wanted.key_id else []
        place.append(node("Encryption", node(wanted.encryption, *key)))
    parts = [
        node("Destination", node("S3BucketDestination", *place)),
        node("IsEnabled", "true" if wanted.enabled else "false"),
        *([node("Filter", node("Prefix", wanted.prefix))] if wanted.prefix is not None else []),
        node("Id", name),
        node("IncludedObjectVersions", wanted.versions),
        *([node("OptionalFields", *(node("Field", each) for each in wanted.fields))] if wanted.fields else []),
        node("Schedule", node("Frequency", wanted.frequency)),
    ]
    return node(ROOT, *parts)
