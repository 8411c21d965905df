"""The sub-resources AWS knows, and what we answer for a configuration that nobody stored here.

Room: stratum/s3. May import: s3.xml.

SDKs, Terraform and consoles read every configuration when they discover a bucket: each gets its own "not set", as from
AWS for a fresh bucket. A document says "empty"; a code says "there is none" and is a statement of fact.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto

from stratum.s3.xml import Node, node, render


class Level(Enum):
    """What a path names."""

    SERVICE = auto()
    BUCKET = auto()
    OBJECT = auto()


@dataclass(frozen=True, slots=True)
class Unset:
    """The answer for a configuration that is not set: an error code, or a document."""

    code: str = ""
    document: bytes = b""


# docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_Amazon_Simple_Storage_Service.html
SUBRESOURCES = frozenset(
    (
        "abac",
        "accelerate",
        "acl",
        "analytics",
        "annotation",
        "annotations",
        "append",
        "attributes",
        "cors",
        "delete",
        "encryption",
        "intelligent-tiering",
        "inventory",
        "legal-hold",
        "lifecycle",
        "location",
        "logging",
        "metadataAnnotationTable",
        "metadataConfiguration",
        "metadataInventoryTable",
        "metadataJournalTable",
        "metadataTable",
        "metrics",
        "notification",
        "object-lock",
        "ownershipControls",
        "policy",
        "policyStatus",
        "publicAccessBlock",
        "renameObject",
        "replication",
        "requestPayment",
        "restore",
        "retention",
        "select",
        "select-type",
        "session",
        "tagging",
        "torrent",
        "uploads",
        "versioning",
        "versions",
        "website",
    )
)

_NOT_TRUNCATED = node("IsTruncated", "false")


def _empty(root: str, *content: Node) -> Unset:
    return Unset(document=render(node(root, *content)))


_B, _O = Level.BUCKET, Level.OBJECT

UNSET: Mapping[tuple[Level, str], Unset] = {
    (_B, "accelerate"): _empty("AccelerateConfiguration"),
    (_B, "analytics"): _empty("ListBucketAnalyticsConfigurationResult", _NOT_TRUNCATED),
    (_B, "metrics"): _empty("ListMetricsConfigurationsResult", _NOT_TRUNCATED),
}

# Where DELETE of what is not set is, as at AWS, simply done.
DELETABLE = frozenset(
    (
        "analytics",
        "metrics",
    )
)
