"""Which operation a request means: one table, no web framework's router.

Room: stratum/s3. May import: s3.errors.

Invariants
    R1  Keys are the bytes of the path, decoded once: `//`, `.`, `..`, `%2F` and a trailing `/` mean themselves.
    R2  A query parameter that an operation does not know is never ignored: an unknown sub-resource must not fall
        through to a listing or a plain PUT. It is NotImplemented, whoever asks.
    R3  Copy sources pass through the same decoder as paths.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from urllib.parse import unquote_to_bytes

from stratum.s3.errors import S3Error
from stratum.s3.sub_resources import DELETABLE, SUBRESOURCES, UNSET, Level, Unset

Query = Mapping[str, str]

PARAMETERS_MAX = 100


class Op(Enum):
    """Everything the door can be asked to do."""

    LIST_BUCKETS = auto()

    CREATE_BUCKET = auto()
    DELETE_BUCKET = auto()
    HEAD_BUCKET = auto()
    GET_BUCKET_LOCATION = auto()
    LIST_OBJECTS = auto()
    LIST_OBJECTS_V2 = auto()
    LIST_OBJECT_VERSIONS = auto()
    LIST_UPLOADS = auto()
    GET_BUCKET_VERSIONING = auto()
    PUT_BUCKET_VERSIONING = auto()
    DELETE_OBJECTS = auto()
    GET_BUCKET_ACL = auto()
    PUT_BUCKET_ACL = auto()
    GET_BUCKET_OWNERSHIP = auto()
    PUT_BUCKET_OWNERSHIP = auto()
    DELETE_BUCKET_OWNERSHIP = auto()

    GET_OBJECT = auto()
    HEAD_OBJECT = auto()
    PUT_OBJECT = auto()
    COPY_OBJECT = auto()
    DELETE_OBJECT = auto()
    GET_OBJECT_ATTRIBUTES = auto()
    GET_OBJECT_ACL = auto()
    PUT_OBJECT_ACL = auto()

    CREATE_UPLOAD = auto()
    UPLOAD_PART = auto()
    UPLOAD_PART_COPY = auto()
    COMPLETE_UPLOAD = auto()
    ABORT_UPLOAD = auto()
    LIST_PARTS = auto()

    POST_OBJECT = auto()
    GET_BUCKET_WEBSITE = auto()
    PUT_BUCKET_WEBSITE = auto()
    DELETE_BUCKET_WEBSITE = auto()
    GET_REQUEST_PAYMENT = auto()
    PUT_REQUEST_PAYMENT = auto()
    GET_BUCKET_CORS = auto()
    PUT_BUCKET_CORS = auto()
    DELETE_BUCKET_CORS = auto()
    GET_BUCKET_POLICY = auto()
    PUT_BUCKET_POLICY = auto()
    DELETE_BUCKET_POLICY = auto()
    GET_BUCKET_POLICY_STATUS = auto()
    GET_PUBLIC_ACCESS_BLOCK = auto()
    PUT_PUBLIC_ACCESS_BLOCK = auto()
    DELETE_PUBLIC_ACCESS_BLOCK = auto()
    GET_BUCKET_TAGGING = auto()
    PUT_BUCKET_TAGGING = auto()
    DELETE_BUCKET_TAGGING = auto()
    GET_OBJECT_TAGGING = auto()
    PUT_OBJECT_TAGGING = auto()
    DELETE_OBJECT_TAGGING = auto()
    GET_OBJECT_LOCK_CONFIGURATION = auto()
    PUT_OBJECT_LOCK_CONFIGURATION = auto()
    GET_OBJECT_RETENTION = auto()
    PUT_OBJECT_RETENTION = auto()
    GET_OBJECT_LEGAL_HOLD = auto()
    PUT_OBJECT_LEGAL_HOLD = auto()
    GET_INTELLIGENT_TIERING = auto()
    PUT_INTELLIGENT_TIERING = auto()
    DELETE_INTELLIGENT_TIERING = auto()
    RESTORE_OBJECT = auto()
    RENAME_OBJECT = auto()

    GET_BUCKET_ENCRYPTION = auto()
    PUT_BUCKET_ENCRYPTION = auto()
    DELETE_BUCKET_ENCRYPTION = auto()

    GET_BUCKET_LIFECYCLE = auto()
    PUT_BUCKET_LIFECYCLE = auto()
    DELETE_BUCKET_LIFECYCLE = auto()
    GET_BUCKET_NOTIFICATION = auto()
    PUT_BUCKET_NOTIFICATION = auto()
    GET_BUCKET_LOGGING = auto()
    PUT_BUCKET_LOGGING = auto()
    GET_INVENTORY = auto()
    PUT_INVENTORY = auto()
    DELETE_INVENTORY = auto()
    GET_BUCKET_REPLICATION = auto()
    PUT_BUCKET_REPLICATION = auto()
    DELETE_BUCKET_REPLICATION = auto()

    GET_UNSET = auto()  # a configuration nobody stored: `Route.unset` is the answer, once the bucket or key exists
    DELETE_UNSET = auto()  # taking away what is not there: 204, once the bucket or key exists


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """What a request means. `key` is empty and `bucket` may be for the levels above the object."""

    op: Op
    level: Level
    bucket: str
    key: bytes
    query: Query
    unset: Unset | None = None  # of GET_UNSET


SERVICE, BUCKET, OBJECT = Level.SERVICE, Level.BUCKET, Level.OBJECT

# (level, method, sub-resource) -> operation and the further parameters it knows.
_LISTING = "prefix delimiter max-keys encoding-type"
_RESPONSE = (
    "response-cache-control response-content-disposition response-content-encoding response-content-language "
    "response-content-type response-expires"
)
_REDIRECTED = "bucket key etag"  # what a form upload appends to the page it sends the browser to, which may be ours
TABLE: Mapping[tuple[Level, str, str], tuple[Op, str]] = {
    (SERVICE, "GET", ""): (Op.LIST_BUCKETS, "max-buckets continuation-token prefix bucket-region"),
    (BUCKET, "PUT", ""): (Op.CREATE_BUCKET, ""),
    (BUCKET, "DELETE", ""): (Op.DELETE_BUCKET, ""),
    (BUCKET, "HEAD", ""): (Op.HEAD_BUCKET, ""),
    (BUCKET, "GET", "location"): (Op.GET_BUCKET_LOCATION, ""),
    (BUCKET, "GET", ""): (Op.LIST_OBJECTS, f"{_LISTING} marker {_REDIRECTED}"),
    (BUCKET, "GET", "list-type"): (Op.LIST_OBJECTS_V2, f"{_LISTING} continuation-token start-after fetch-owner"),
    (BUCKET, "GET", "versions"): (Op.LIST_OBJECT_VERSIONS, f"{_LISTING} key-marker version-id-marker"),
    (BUCKET, "GET", "versioning"): (Op.GET_BUCKET_VERSIONING, ""),
    (BUCKET, "PUT", "versioning"): (Op.PUT_BUCKET_VERSIONING, ""),
    (BUCKET, "GET", "uploads"): (
        Op.LIST_UPLOADS,
        "prefix delimiter max-uploads encoding-type key-marker upload-id-marker",
    ),
    (BUCKET, "POST", "delete"): (Op.DELETE_OBJECTS, ""),
    (BUCKET, "GET", "acl"): (Op.GET_BUCKET_ACL, ""),
    (BUCKET, "PUT", "acl"): (Op.PUT_BUCKET_ACL, ""),
    (BUCKET, "GET", "ownershipControls"): (Op.GET_BUCKET_OWNERSHIP, ""),
    (BUCKET, "PUT", "ownershipControls"): (Op.PUT_BUCKET_OWNERSHIP, ""),
    (BUCKET, "DELETE", "ownershipControls"): (Op.DELETE_BUCKET_OWNERSHIP, ""),
    (BUCKET, "POST", ""): (Op.POST_OBJECT, ""),
    (BUCKET, "GET", "website"): (Op.GET_BUCKET_WEBSITE, ""),
    (BUCKET, "PUT", "website"): (Op.PUT_BUCKET_WEBSITE, ""),
    (BUCKET, "DELETE", "website"): (Op.DELETE_BUCKET_WEBSITE, ""),
    (BUCKET, "GET", "requestPayment"): (Op.GET_REQUEST_PAYMENT, ""),
    (BUCKET, "PUT", "requestPayment"): (Op.PUT_REQUEST_PAYMENT, ""),
    (BUCKET, "GET", "cors"): (Op.GET_BUCKET_CORS, ""),
    (BUCKET, "PUT", "cors"): (Op.PUT_BUCKET_CORS, ""),
    (BUCKET, "DELETE", "cors"): (Op.DELETE_BUCKET_CORS, ""),
    (BUCKET, "GET", "policy"): (Op.GET_BUCKET_POLICY, ""),
    (BUCKET, "PUT", "policy"): (Op.PUT_BUCKET_POLICY, ""),
    (BUCKET, "DELETE", "policy"): (Op.DELETE_BUCKET_POLICY, ""),
    (BUCKET, "GET", "policyStatus"): (Op.GET_BUCKET_POLICY_STATUS, ""),
    (BUCKET, "GET", "publicAccessBlock"): (Op.GET_PUBLIC_ACCESS_BLOCK, ""),
    (BUCKET, "PUT", "publicAccessBlock"): (Op.PUT_PUBLIC_ACCESS_BLOCK, ""),
    (BUCKET, "DELETE", "publicAccessBlock"): (Op.DELETE_PUBLIC_ACCESS_BLOCK, ""),
    (BUCKET, "GET", "tagging"): (Op.GET_BUCKET_TAGGING, ""),
    (BUCKET, "PUT", "tagging"): (Op.PUT_BUCKET_TAGGING, ""),
    (BUCKET, "DELETE", "tagging"): (Op.DELETE_BUCKET_TAGGING, ""),
    (BUCKET, "GET", "object-lock"): (Op.GET_OBJECT_LOCK_CONFIGURATION, ""),
    (BUCKET, "PUT", "object-lock"): (Op.PUT_OBJECT_LOCK_CONFIGURATION, ""),
    (BUCKET, "GET", "intelligent-tiering"): (Op.GET_INTELLIGENT_TIERING, "id continuation-token"),
    (BUCKET, "PUT", "intelligent-tiering"): (Op.PUT_INTELLIGENT_TIERING, "id"),
    (BUCKET, "DELETE", "intelligent-tiering"): (Op.DELETE_INTELLIGENT_TIERING, "id"),
    (BUCKET, "GET", "encryption"): (Op.GET_BUCKET_ENCRYPTION, ""),
    (BUCKET, "PUT", "encryption"): (Op.PUT_BUCKET_ENCRYPTION, ""),
    (BUCKET, "DELETE", "encryption"): (Op.DELETE_BUCKET_ENCRYPTION, ""),
    (BUCKET, "GET", "lifecycle"): (Op.GET_BUCKET_LIFECYCLE, ""),
    (BUCKET, "PUT", "lifecycle"): (Op.PUT_BUCKET_LIFECYCLE, ""),
    (BUCKET, "DELETE", "lifecycle"): (Op.DELETE_BUCKET_LIFECYCLE, ""),
    (BUCKET, "GET", "notification"): (Op.GET_BUCKET_NOTIFICATION, ""),
    (BUCKET, "PUT", "notification"): (Op.PUT_BUCKET_NOTIFICATION, ""),
    (BUCKET, "GET", "logging"): (Op.GET_BUCKET_LOGGING, ""),
    (BUCKET, "PUT", "logging"): (Op.PUT_BUCKET_LOGGING, ""),
    (BUCKET, "GET", "inventory"): (Op.GET_INVENTORY, "id continuation-token"),
    (BUCKET, "PUT", "inventory"): (Op.PUT_INVENTORY, "id"),
    (BUCKET, "DELETE", "inventory"): (Op.DELETE_INVENTORY, "id"),
    (BUCKET, "GET", "replication"): (Op.GET_BUCKET_REPLICATION, ""),
    (BUCKET, "PUT", "replication"): (Op.PUT_BUCKET_REPLICATION, ""),
    (BUCKET, "DELETE", "replication"): (Op.DELETE_BUCKET_REPLICATION, ""),
    (OBJECT, "GET", "tagging"): (Op.GET_OBJECT_TAGGING, "versionId"),
    (OBJECT, "PUT", "tagging"): (Op.PUT_OBJECT_TAGGING, "versionId"),
    (OBJECT, "DELETE", "tagging"): (Op.DELETE_OBJECT_TAGGING, "versionId"),
    (OBJECT, "GET", "retention"): (Op.GET_OBJECT_RETENTION, "versionId"),
    (OBJECT, "PUT", "retention"): (Op.PUT_OBJECT_RETENTION, "versionId"),
    (OBJECT, "GET", "legal-hold"): (Op.GET_OBJECT_LEGAL_HOLD, "versionId"),
    (OBJECT, "PUT", "legal-hold"): (Op.PUT_OBJECT_LEGAL_HOLD, "versionId"),
    (OBJECT, "POST", "restore"): (Op.RESTORE_OBJECT, "versionId"),
    (OBJECT, "PUT", "renameObject"): (Op.RENAME_OBJECT, ""),
    (OBJECT, "GET", ""): (Op.GET_OBJECT, f"versionId partNumber {_RESPONSE} {_REDIRECTED}"),
    (OBJECT, "HEAD", ""): (Op.HEAD_OBJECT, f"versionId partNumber {_RESPONSE}"),
    (OBJECT, "PUT", ""): (Op.PUT_OBJECT, ""),
    (OBJECT, "DELETE", ""): (Op.DELETE_OBJECT, "versionId"),
    (OBJECT, "GET", "attributes"): (Op.GET_OBJECT_ATTRIBUTES, "versionId"),
    (OBJECT, "GET", "acl"): (Op.GET_OBJECT_ACL, "versionId"),
    (OBJECT, "PUT", "acl"): (Op.PUT_OBJECT_ACL, "versionId"),
    (OBJECT, "POST", "uploads"): (Op.CREATE_UPLOAD, ""),
    (OBJECT, "PUT", "uploadId"): (Op.UPLOAD_PART, "partNumber"),
    (OBJECT, "POST", "uploadId"): (Op.COMPLETE_UPLOAD, ""),
    (OBJECT, "DELETE", "uploadId"): (Op.ABORT_UPLOAD, ""),
    (OBJECT, "GET", "uploadId"): (Op.LIST_PARTS, "max-parts part-number-marker encoding-type"),
}

COPYING = {Op.PUT_OBJECT: Op.COPY_OBJECT, Op.UPLOAD_PART: Op.UPLOAD_PART_COPY}

READS = (Op.GET_OBJECT, Op.HEAD_OBJECT)
_KNOWN = {word for _, further in TABLE.values() for word in further.split()}

# These name the operation like a sub-resource does, though AWS does not call them so.
NAMING = SUBRESOURCES | {"uploadId", "list-type"}

_METHODS = {"GET", "HEAD", "PUT", "POST", "DELETE"}
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")


def parse_query(raw: bytes) -> Query:
    """Return the parameters, decoded once. Raises InvalidURI, and InvalidArgument for one that comes twice."""
    pairs = [part.partition(b"=") for part in raw.split(b"&") if part]
    if len(pairs) > PARAMETERS_MAX:
        raise S3Error("InvalidArgument", "Too many query parameters.")
    query: dict[str, str] = {}
    for raw_name, _, raw_value in pairs:
        name = _text(raw_name.replace(b"+", b" "))
        if name in query:
            raise S3Error("InvalidArgument", "A query parameter was given twice.", ArgumentName=name)
        query[name] = _text(raw_value.replace(b"+", b" "))
    return query


READING = ("GET", "HEAD", "DELETE")


def split_path(raw_path: bytes, host_bucket: str | None = None) -> tuple[str, bytes]:
    """Return (bucket, key) of `/bucket/key`, decoded once; the key keeps every byte. Raises InvalidURI.

    `host_bucket`: the host named the bucket, the whole path is the key.
    """
    if not raw_path.startswith(b"/"):
        raise S3Error("InvalidURI")
    raw_bucket, raw_key = b"", raw_path[1:]
    if host_bucket is None:
        raw_bucket, _, raw_key = raw_path[1:].partition(b"/")
    return (_text(raw_bucket) if host_bucket is None else host_bucket), _bytes(raw_key)


def check_text(key: bytes) -> None:
    """Raise InvalidURI for a key that is not UTF-8."""
    try:
        key.decode()
    except UnicodeDecodeError as error:
        raise S3Error("InvalidURI", "The key is not valid UTF-8.") from error


def parse_copy_source(value: str) -> tuple[str, bytes, str | None]:
    """Return (bucket, key, version id or None) of x-amz-copy-source. Raises InvalidArgument."""
    path, _, raw_query = value.encode("latin-1", "replace").partition(b"?")
    name, _, key = _bytes(path).removeprefix(b"/").partition(b"/")  # many clients encode the slash between them, too
    check_text(name + key)
    bucket = name.decode()
    if not bucket or not key:
        raise S3Error(
            "InvalidArgument", "The copy source must name a bucket and a key.", ArgumentName="x-amz-copy-source"
        )
    query = parse_query(raw_query)
    _check_parameters(query, {"versionId"})
    _check_version(query)
    return bucket, key, query.get("versionId")


def route(
    method: str, raw_path: bytes, query: Query, *, copying: bool = False, host_bucket: str | None = None
) -> Route:
    """Return what the request means; `copying` if it has an x-amz-copy-source, `host_bucket` if the host names it.

    Raises InvalidURI, NotImplemented, MethodNotAllowed, NoSuchVersion, InvalidArgument.
    """
    bucket, key = split_path(raw_path, host_bucket)
    if method not in READING:  # the mount may have made files whose names are no text; S3 makes none
        check_text(key)
    level = OBJECT if key else BUCKET if bucket else SERVICE
    if key and not bucket:
        raise S3Error("InvalidBucketName", BucketName="")
    if method == "OPTIONS":
        raise S3Error("AccessForbidden")
    if method not in _METHODS:
        raise S3Error("MethodNotAllowed", Method=method)
    name = min(NAMING & query.keys(), default="")  # a second one is a parameter that the first does not know
    found = TABLE.get((level, method, name))
    if found is None:
        return _unset(method, level, bucket, key, query, name)
    op, known = found
    _check_parameters(query, {name, *known.split()}, reading=op in READS)
    _check_naming(op, query)
    _check_version(query)
    return Route(op=_copied(op, copying), level=level, bucket=bucket, key=key, query=query)


def _copied(op: Op, copying: bool) -> Op:
    """A copy source on anything but a PUT of bytes would be ignored, so it is refused."""
    if not copying:
        return op
    if op not in COPYING:
        raise _not_implemented("x-amz-copy-source")
    return COPYING[op]


def _check_naming(op: Op, query: Query) -> None:
    if op is Op.LIST_OBJECTS_V2 and query["list-type"] != "2":
        raise S3Error("InvalidArgument", "Invalid List Type", ArgumentName="list-type")
    if op is Op.UPLOAD_PART and "partNumber" not in query:
        raise S3Error("InvalidArgument", "A part needs a number.", ArgumentName="partNumber")


def _check_version(query: Query) -> None:
    """A client that lost the id must not hit the current version instead."""
    if query.get("versionId") == "":
        raise S3Error(
            "InvalidArgument", "Version id cannot be the empty string", ArgumentName="versionId", ArgumentValue=""
        )


def _check_parameters(query: Query, known: set[str], *, reading: bool = False) -> None:
    for name, value in query.items():
        if name not in known and not _everywhere(name) and not (reading and value and _means_nothing(name)):
            raise _not_implemented(name)


def _means_nothing(name: str) -> bool:
    """Is it what pages and caches put behind the address of an object, like `?v=3`, and not near any name of ours?"""
    return name.strip().lower() not in _NAMES


_NAMES = frozenset(name.lower() for name in NAMING | _KNOWN)


def _everywhere(name: str) -> bool:
    """x-amz-* is authentication or a header moved into the URL; any other x-* (as `x-id`) is only for the access log.

    So are the others: of presigned URLs of signature version 2.
    Source: docs.aws.amazon.com/AmazonS3/latest/userguide/LogFormat.html, "Custom access log information"
    """
    return name in _ANYWHERE or name.lower().startswith("x-")


_ANYWHERE = frozenset(("AWSAccessKeyId", "Expires", "Signature", "content-type", "content-md5"))


def _unset(method: str, level: Level, bucket: str, key: bytes, query: Query, name: str) -> Route:
    unset = UNSET.get((level, name))
    if unset is None or method not in ("GET", "DELETE") or (method == "DELETE" and name not in DELETABLE):
        if name or level is not SERVICE:
            raise _not_implemented(name or method)
        raise S3Error("MethodNotAllowed", Method=method)
    _check_parameters(query, {name, "id", "versionId", "continuation-token"})
    if method == "DELETE":
        return Route(op=Op.DELETE_UNSET, level=level, bucket=bucket, key=key, query=query)
    if "id" in query and unset.document:
        unset = Unset(code="NoSuchConfiguration")
    return Route(op=Op.GET_UNSET, level=level, bucket=bucket, key=key, query=query, unset=unset)


def _not_implemented(name: str) -> S3Error:
    return S3Error("NotImplemented", Parameter=name)


def _bytes(raw: bytes) -> bytes:
    if _BAD_ESCAPE.search(raw):
        raise S3Error("InvalidURI")
    return unquote_to_bytes(raw)


def _text(raw: bytes) -> str:
    try:
        return _bytes(raw).decode()
    except UnicodeDecodeError as error:
        raise S3Error("InvalidURI", "Part of the request is not valid UTF-8.") from error
