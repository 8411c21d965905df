"""Inventories of a bucket: which lists its owner wants, and the words they are written in.

Room: stratum/core. May import: core.{encryption, objects, records, schema}.

Source: docs.aws.amazon.com/AmazonS3/latest/userguide/storage-inventory.html, storage-inventory-location.html
"""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from urllib.parse import quote

import msgspec

from stratum.core.objects import VersionView
from stratum.core.principals import OPERATOR_ID
from stratum.core.replication import status_of

KIND = "inventory"
SERVICE = "s3.amazonaws.com"
CONFIGURATIONS_MAX = 1000  # of one bucket
ID_CHARACTERS = 64
DAILY, WEEKLY = "Daily", "Weekly"
ALL, CURRENT = "All", "Current"
WEEK_DAYS = 7
SUNDAY = 3  # day 0 of the epoch is a Thursday
WHERE = "IntelligentTieringAccessTier"
FIELDS = (
    "Size",
    "LastModifiedDate",
    "ETag",
    "StorageClass",
    "IsMultipartUploaded",
    "ReplicationStatus",
    "EncryptionStatus",
    "ObjectLockRetainUntilDate",
    "ObjectLockMode",
    "ObjectLockLegalHoldStatus",
    WHERE,
    "BucketKeyStatus",
    "ChecksumAlgorithm",
    "ObjectOwner",
)
ALWAYS, OF_VERSIONS = ("Bucket", "Key"), ("VersionId", "IsLatest", "IsDeleteMarker")
TIERS = {"hot": "FREQUENT", "warm": "INFREQUENT", "cold": "ARCHIVE_INSTANT_ACCESS"}


class Inventory(msgspec.Struct, frozen=True, array_like=True):
    """One list that is wanted. `encryption`: scheme of core.encryption; empty: as the target bucket does by itself."""

    enabled: bool
    target: str  # bucket
    frequency: str
    versions: str
    fields: tuple[str, ...] = ()
    prefix: str | None = None  # only keys that begin so
    target_prefix: str = ""
    target_account: str = ""
    encryption: str = ""
    key_id: str = ""


class Inventories(msgspec.Struct, frozen=True, array_like=True):
    """Those of a bucket, by id."""

    configurations: dict[str, Inventory] = {}


class ListFile(msgspec.Struct, frozen=True, array_like=True):
    """A file of a list that is written."""

    key: str
    size: int
    md5: str


class InventoryRun(msgspec.Struct, frozen=True, array_like=True):
    """How far the writing of a list has come (schema `I`). `due`: when the next one begins, ns.

    `begun` 0: none is under way. Else `files` are written, and it goes on behind `key_marker` and `version_marker`.
    """

    due: int
    begun: int = 0
    files: tuple[ListFile, ...] = ()
    key_marker: bytes = b""
    version_marker: str = ""
    trouble: str = ""  # why the last one did not come about


def next_due(now: int, day: int, frequency: str) -> int:
    """The first beginning of a day, or of a Sunday, after `now` (all in ns)."""
    number = now // day + 1
    if frequency == WEEKLY:
        number += (SUNDAY - number) % WEEK_DAYS
    return number * day


def schema_of(wanted: Inventory) -> tuple[str, ...]:
    """The columns of a list."""
    return (*ALWAYS, *(OF_VERSIONS if wanted.versions == ALL else ()), *wanted.fields)


def place_of(wanted: Inventory, source: str, name: str) -> str:
    """Where all lists of a configuration are, in the target bucket."""
    prefix = f"{wanted.target_prefix.rstrip('/')}/" if wanted.target_prefix else ""
    return f"{prefix}{source}/{name}"


def manifest(wanted: Inventory, *, source: str, begun: int, files: Sequence[ListFile]) -> bytes:
    """manifest.json. `begun`: ns."""
    told = {
        "sourceBucket": source,
        "destinationBucket": f"arn:aws:s3:::{wanted.target}",
        "version": "2016-11-30",
        "creationTimestamp": str(begun // 10**6),
        "fileFormat": "CSV",
        "fileSchema": ", ".join(schema_of(wanted)),
        "files": [{"key": each.key, "size": each.size, "MD5checksum": each.md5} for each in files],
    }
    return json.dumps(told, indent=1).encode() + b"\n"


def lines(rows: Sequence[Mapping[str, str]], columns: Sequence[str]) -> bytes:
    """Rows as CSV: every value in quotes, no head, LF ends a line."""
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerows([row.get(column, "") for column in columns] for row in rows)
    return out.getvalue().encode()


def row_of(bucket: str, owner: str, view: VersionView, *, modified: str, until: str) -> dict[str, str]:
    """What a line says of a version, but for where it is. `modified`, `until`: ISO 8601; `owner`: the bucket's."""
    row = {
        "Bucket": bucket,
        "Key": quote(view.key, safe="/"),
        "VersionId": "" if view.version == "null" else view.version,
        "IsLatest": _flag(view.latest),
        "IsDeleteMarker": _flag(view.marker),
        "LastModifiedDate": modified,
        "ObjectOwner": view.owner or owner or OPERATOR_ID,
    }
    if view.view is None:
        return row
    inode = view.view.inode
    sealed, retention = inode.sealed, inode.retention
    return row | {
        "Size": str(inode.size),
        "ETag": inode.etag,
        "IsMultipartUploaded": _flag(bool(inode.parts)),
        "EncryptionStatus": "NOT-SSE" if sealed is None else sealed.scheme,
        "BucketKeyStatus": "ENABLED" if sealed is not None and sealed.bucket_key else "DISABLED",
        "ObjectLockMode": retention.mode if retention is not None else "",
        "ObjectLockRetainUntilDate": until,
        "ObjectLockLegalHoldStatus": "ON" if inode.legal_hold else "OFF",
        "ReplicationStatus": status_of(inode, view.key),
        "ChecksumAlgorithm": inode.checksum.algorithm.upper() if inode.checksum is not None else "",
    }


def _flag(said: bool) -> str:
    return "true" if said else "false"
