"""Which actions of S3 a request needs, and on what.

Room: stratum/s3. May import: core.{policy, replication}, s3.{call, errors, object_lock, rename, routes, tagging}.

Invariants
    N1  Every operation has a row; one that has none is refused (a test fails, too).
    N2  What a header adds to a request (tags, an ACL, a lock, a source, a condition that tells of what is there) is
        needed as an action of its own.

Source: docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from stratum.core.policy import ARN, resource_arn
from stratum.core.replication import HEADER as REPLICA
from stratum.s3.call import Call
from stratum.s3.errors import S3Error
from stratum.s3.object_lock import BYPASS, HOLD, MODE, UNTIL
from stratum.s3.rename import SOURCE, rename_source
from stratum.s3.routes import Op, parse_copy_source
from stratum.s3.sub_resources import Level
from stratum.s3.tagging import HEADER as TAGGING

# Operation -> actions on what the path names: without and with a version id, where that makes a difference.
_SAME: Mapping[str, str] = {
    "LIST_BUCKETS": "ListAllMyBuckets",
    "CREATE_BUCKET": "CreateBucket",
    "DELETE_BUCKET": "DeleteBucket",
    "HEAD_BUCKET": "ListBucket",
    "GET_BUCKET_LOCATION": "GetBucketLocation",
    "LIST_OBJECTS": "ListBucket",
    "LIST_OBJECTS_V2": "ListBucket",
    "LIST_OBJECT_VERSIONS": "ListBucketVersions",
    "LIST_UPLOADS": "ListBucketMultipartUploads",
    "GET_BUCKET_VERSIONING": "GetBucketVersioning",
    "PUT_BUCKET_VERSIONING": "PutBucketVersioning",
    "DELETE_OBJECTS": "",  # each key is decided by itself: `deletion`
    "GET_BUCKET_ACL": "GetBucketAcl",
    "PUT_BUCKET_ACL": "PutBucketAcl",
    "GET_BUCKET_OWNERSHIP": "GetBucketOwnershipControls",
    "PUT_BUCKET_OWNERSHIP": "PutBucketOwnershipControls",
    "DELETE_BUCKET_OWNERSHIP": "PutBucketOwnershipControls",
    "PUT_OBJECT": "PutObject",
    "POST_OBJECT": "PutObject",
    "COPY_OBJECT": "PutObject",
    "CREATE_UPLOAD": "PutObject",
    "UPLOAD_PART": "PutObject",
    "UPLOAD_PART_COPY": "PutObject",
    "COMPLETE_UPLOAD": "PutObject",
    "ABORT_UPLOAD": "AbortMultipartUpload",
    "LIST_PARTS": "ListMultipartUploadParts",
    "RESTORE_OBJECT": "RestoreObject",
    "RENAME_OBJECT": "RenameObject PutObject",
    "GET_BUCKET_WEBSITE": "GetBucketWebsite",
    "PUT_BUCKET_WEBSITE": "PutBucketWebsite",
    "DELETE_BUCKET_WEBSITE": "DeleteBucketWebsite",
    "GET_REQUEST_PAYMENT": "GetBucketRequestPayment",
    "PUT_REQUEST_PAYMENT": "PutBucketRequestPayment",
    "GET_BUCKET_CORS": "GetBucketCORS",
    "PUT_BUCKET_CORS": "PutBucketCORS",
    "DELETE_BUCKET_CORS": "PutBucketCORS",
    "GET_BUCKET_POLICY": "GetBucketPolicy",
    "PUT_BUCKET_POLICY": "PutBucketPolicy",
    "DELETE_BUCKET_POLICY": "DeleteBucketPolicy",
    "GET_BUCKET_POLICY_STATUS": "GetBucketPolicyStatus",
    "GET_PUBLIC_ACCESS_BLOCK": "GetBucketPublicAccessBlock",
    "PUT_PUBLIC_ACCESS_BLOCK": "PutBucketPublicAccessBlock",
    "DELETE_PUBLIC_ACCESS_BLOCK": "PutBucketPublicAccessBlock",
    "GET_BUCKET_TAGGING": "GetBucketTagging",
    "PUT_BUCKET_TAGGING": "PutBucketTagging",
    "DELETE_BUCKET_TAGGING": "PutBucketTagging",
    "GET_OBJECT_LOCK_CONFIGURATION": "GetBucketObjectLockConfiguration",
    "PUT_OBJECT_LOCK_CONFIGURATION": "PutBucketObjectLockConfiguration",
    "GET_OBJECT_RETENTION": "GetObjectRetention",
    "PUT_OBJECT_RETENTION": "PutObjectRetention",
    "GET_OBJECT_LEGAL_HOLD": "GetObjectLegalHold",
    "PUT_OBJECT_LEGAL_HOLD": "PutObjectLegalHold",
    "GET_INTELLIGENT_TIERING": "GetIntelligentTieringConfiguration",
    "PUT_INTELLIGENT_TIERING": "PutIntelligentTieringConfiguration",
    "DELETE_INTELLIGENT_TIERING": "PutIntelligentTieringConfiguration",
    "GET_BUCKET_ENCRYPTION": "GetEncryptionConfiguration",
    "PUT_BUCKET_ENCRYPTION": "PutEncryptionConfiguration",
    "DELETE_BUCKET_ENCRYPTION": "PutEncryptionConfiguration",
    "GET_BUCKET_LIFECYCLE": "GetLifecycleConfiguration",
    "PUT_BUCKET_LIFECYCLE": "PutLifecycleConfiguration",
    "DELETE_BUCKET_LIFECYCLE": "PutLifecycleConfiguration",
    "GET_BUCKET_NOTIFICATION": "GetBucketNotification",
    "PUT_BUCKET_NOTIFICATION": "PutBucketNotification",
    "GET_BUCKET_REPLICATION": "GetReplicationConfiguration",
    "PUT_BUCKET_REPLICATION": "PutReplicationConfiguration",
    "DELETE_BUCKET_REPLICATION": "PutReplicationConfiguration",
    "GET_INVENTORY": "GetInventoryConfiguration",
    "PUT_INVENTORY": "PutInventoryConfiguration",
    "DELETE_INVENTORY": "PutInventoryConfiguration",
    "GET_BUCKET_LOGGING": "GetBucketLogging",
    "PUT_BUCKET_LOGGING": "PutBucketLogging",
    "POST_BUCKET_LOGGING": "PostBucketLogging",
}
_BY_VERSION: Mapping[str, tuple[str, str]] = {
    "GET_OBJECT": ("GetObject", "GetObjectVersion"),
    "HEAD_OBJECT": ("GetObject", "GetObjectVersion"),
    "DELETE_OBJECT": ("DeleteObject", "DeleteObjectVersion"),
    "GET_OBJECT_ATTRIBUTES": ("GetObject GetObjectAttributes", "GetObjectVersion GetObjectVersionAttributes"),
    "GET_OBJECT_ACL": ("GetObjectAcl", "GetObjectVersionAcl"),
    "PUT_OBJECT_ACL": ("PutObjectAcl", "PutObjectVersionAcl"),
    "GET_OBJECT_TAGGING": ("GetObjectTagging", "GetObjectVersionTagging"),
    "PUT_OBJECT_TAGGING": ("PutObjectTagging", "PutObjectVersionTagging"),
    "DELETE_OBJECT_TAGGING": ("DeleteObjectTagging", "DeleteObjectVersionTagging"),
}
# Configurations that nobody stores: (reading, taking away) by sub-resource.
_UNSET: Mapping[str, str] = {
    "accelerate": "AccelerateConfiguration",
    "analytics": "AnalyticsConfiguration",
    "lifecycle": "LifecycleConfiguration",
    "logging": "BucketLogging",
    "metrics": "MetricsConfiguration",
    "notification": "BucketNotification",
}
NEEDS: Mapping[str, tuple[str, str]] = {**{op: (names, names) for op, names in _SAME.items()}, **_BY_VERSION}

CREATING = frozenset((Op.PUT_OBJECT, Op.COPY_OBJECT, Op.CREATE_UPLOAD, Op.POST_OBJECT))
COPYING = frozenset((Op.COPY_OBJECT, Op.UPLOAD_PART_COPY))
PUBLISHING = frozenset((Op.PUT_OBJECT, Op.COPY_OBJECT, Op.COMPLETE_UPLOAD, Op.DELETE_OBJECT, Op.RENAME_OBJECT))
OF_UPLOADS = frozenset((Op.UPLOAD_PART, Op.UPLOAD_PART_COPY, Op.COMPLETE_UPLOAD, Op.ABORT_UPLOAD, Op.LIST_PARTS))
_BYPASSING = frozenset((Op.DELETE_OBJECT, Op.PUT_OBJECT_RETENTION))
ACL_HEADERS = ("x-amz-acl", "x-amz-grant-")


@dataclass(frozen=True, slots=True)
class Need:
    """An action on something. `creating`: it is said of the object that the request stores (core/access.py)."""

    action: str
    bucket: str
    key: bytes = b""
    version: str | None = None
    creating: bool = False

    @property
    def resource(self) -> str:
        """What policies call it."""
        return resource_arn(self.bucket, self.key) if self.bucket else f"{ARN}*"


def needs_of(call: Call) -> list[Need]:
    """All that the request needs (N1, N2). Raises AccessDenied, InvalidArgument, InvalidURI."""
    return [*_named(call), *_said(call), *_sources(call)]


def deletion(call: Call, key: bytes, version: str | None) -> list[Need]:
    """What deleting one key of DeleteObjects needs."""
    name = "s3:DeleteObject" if version is None else "s3:DeleteObjectVersion"
    bypass = [Need("s3:BypassGovernanceRetention", call.bucket, key, version)] if _bypasses(call) else []
    return [Need(name, call.bucket, key, version), *bypass]


def source_tags(call: Call) -> list[Need]:
    """What a copy needs beside `needs_of`, if its source has tags and they are copied."""
    if call.route.op is not Op.COPY_OBJECT or call.headers.get("x-amz-tagging-directive", "COPY") != "COPY":
        return []
    bucket, key, version = parse_copy_source(call.headers["x-amz-copy-source"])
    reading = "s3:GetObjectTagging" if version is None else "s3:GetObjectVersionTagging"
    writing = Need("s3:PutObjectTagging", call.bucket, call.key, creating=True)
    return [Need(reading, bucket, key, version), writing]


def source_of(call: Call) -> tuple[str, bytes, str | None] | None:
    """(bucket, key, version) of what the request copies from."""
    return parse_copy_source(call.headers["x-amz-copy-source"]) if call.route.op in COPYING else None


def _named(call: Call) -> Iterator[Need]:
    """The actions that the operation itself needs."""
    op, name = call.route.op, call.route.op.name
    if op in (Op.GET_UNSET, Op.DELETE_UNSET):
        verb = "Get" if op is Op.GET_UNSET else "Put"
        found = next((_UNSET[each] for each in call.query if each in _UNSET), None)
        names = None if found is None else verb + found
    else:
        names = NEEDS[name][call.version is not None] if name in NEEDS else None
    if names is None:
        raise S3Error("AccessDenied")
    key = call.key if call.route.level is Level.OBJECT else b""
    for each in names.split():
        yield Need(f"s3:{each}", call.bucket, key, call.version)


def _said(call: Call) -> Iterator[Need]:
    """What headers add to it."""
    op, headers = call.route.op, call.headers
    if op is Op.CREATE_BUCKET:
        yield from _of_new_bucket(call)
    if op in CREATING:
        wanted = {
            "s3:PutObjectTagging": TAGGING in headers,
            "s3:PutObjectAcl": any(name.startswith(ACL_HEADERS) for name in headers),
            "s3:PutObjectRetention": MODE in headers or UNTIL in headers,
            "s3:PutObjectLegalHold": HOLD in headers,
            "s3:ReplicateObject": REPLICA in headers,
        }
        for action, needed in wanted.items():
            if needed:
                yield Need(action, call.bucket, call.key, creating=True)
    if op is Op.DELETE_OBJECT and REPLICA in headers:
        yield Need("s3:ReplicateDelete", call.bucket, call.key, call.version)
    if op in _BYPASSING and _bypasses(call):
        yield Need("s3:BypassGovernanceRetention", call.bucket, call.key, call.version)
    if op in PUBLISHING and ("if-match" in headers or headers.get("if-none-match", "*") != "*"):
        yield Need("s3:GetObject", call.bucket, call.key)


def _of_new_bucket(call: Call) -> Iterator[Need]:
    wanted = {
        "s3:PutBucketAcl": any(name.startswith(ACL_HEADERS) for name in call.headers),
        "s3:PutBucketOwnershipControls": "x-amz-object-ownership" in call.headers,
        "s3:PutBucketObjectLockConfiguration": "x-amz-bucket-object-lock-enabled" in call.headers,
        "s3:PutBucketVersioning": "x-amz-bucket-object-lock-enabled" in call.headers,
    }
    for action, needed in wanted.items():
        if needed:
            yield Need(action, call.bucket)


def _sources(call: Call) -> Iterator[Need]:
    """What is read on the way."""
    source = source_of(call)
    if source is not None:
        bucket, key, version = source
        yield Need("s3:GetObject" if version is None else "s3:GetObjectVersion", bucket, key, version)
    if call.route.op is Op.RENAME_OBJECT:
        key = rename_source(call.headers.get(SOURCE, ""), call.bucket)
        yield Need("s3:GetObject", call.bucket, key)
        yield Need("s3:DeleteObject", call.bucket, key)


def _bypasses(call: Call) -> bool:
    return call.headers.get(BYPASS, "").lower() == "true"
