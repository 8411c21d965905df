"""What the S3 side of the engine takes and gives: plain frozen values, no wire format.

Room: stratum/core. May import: core.{encryption, records}.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from stratum.core.encryption import CustomerKey, SealSpec
from stratum.core.records import Acl, Checksum, Inode, Retention


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """Preconditions, evaluated atomically at commit for writes. ETags without quotes; `*` means any.

    Times are whole seconds since the epoch (HTTP dates have no finer grain).
    """

    if_match: tuple[str, ...] = ()
    if_none_match: tuple[str, ...] = ()
    if_modified_since: int | None = None
    if_unmodified_since: int | None = None
    size: int | None = None  # bytes; of a delete only (x-amz-if-match-size)
    modified: int | None = None  # Last-Modified; of a delete only (x-amz-if-match-last-modified-time)


UNCONDITIONAL = Condition()


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectView:
    """One published object as S3 shows it: a consistent picture of one version."""

    bucket: str
    key: bytes
    inode_number: int
    inode: Inode
    versioned: bool = False  # the bucket has, or had, versioning: then S3 names the version

    @property
    def version(self) -> str:
        """The version id as S3 shows it; empty where it shows none."""
        return (self.inode.version or "null") if self.versioned else ""

    @property
    def size(self) -> int:
        """Bytes."""
        return self.inode.size

    @property
    def etag(self) -> str:
        """Without quotes."""
        return self.inode.etag


Check = Callable[[Mapping[str, bytes], int], Checksum | None]
"""Given {algorithm: raw digest} of all bytes and their count, raise BadDigest or IncompleteBody, or return the
checksum to store."""


def accept(digests: Mapping[str, bytes], size: int) -> Checksum | None:
    """A Check that refuses nothing and stores nothing."""
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class PutSpec:
    """Everything about an object write but its bytes. md5 is always computed, for the ETag."""

    headers: Mapping[str, str] = field(default_factory=dict)  # content-type, cache-control ... lower-case
    metadata: Mapping[str, str] = field(default_factory=dict)  # x-amz-meta-* without the prefix
    algorithms: frozenset[str] = frozenset()  # digests that `check` wants, beside md5
    check: Check = accept
    condition: Condition = UNCONDITIONAL
    owner: str = ""  # canonical user id; empty: the operator
    size: int | None = None  # declared size in bytes, where known
    tags: Mapping[str, str] = field(default_factory=dict)
    acl: Acl | None = None
    retention: Retention | None = None
    legal_hold: bool = False
    storage_class: str = ""
    event: str = "ObjectCreated:Put"
    principal: str = ""  # canonical user id of who asks, for what is told of it
    seal: SealSpec | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CopySpec:
    """A server-side copy. None for headers or metadata: taken from the source.

    `own_headers` are never the source's: each is what is given here, and with an empty value there is none.
    """

    headers: Mapping[str, str] | None = None
    own_headers: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] | None = None
    source_condition: Condition = UNCONDITIONAL
    condition: Condition = UNCONDITIONAL
    owner: str = ""
    tags: Mapping[str, str] | None = None  # None: taken from the source
    checksum_algorithm: str = ""  # of a checksum of the whole that is to be there; empty: those of the source
    acl: Acl | None = None
    retention: Retention | None = None
    legal_hold: bool = False
    storage_class: str = ""
    principal: str = ""
    seal: SealSpec | None = None  # of the copy, whatever the source is
    source_customer: CustomerKey | None = None

    def headers_of(self, source: Inode) -> dict[str, str]:
        """The headers of the copy."""
        taken = {**(source.headers if self.headers is None else self.headers), **self.own_headers}
        return {name: value for name, value in taken.items() if value}


@dataclass(frozen=True, slots=True, kw_only=True)
class RenameSpec:
    """A rename inside a bucket: of the object under key `source`."""

    source: bytes
    source_condition: Condition = UNCONDITIONAL
    condition: Condition = UNCONDITIONAL  # on what the new key holds
    principal: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadSpec:
    """What CreateMultipartUpload fixes for the object to come."""

    headers: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    checksum_algorithm: str = ""  # crc32 ... or empty
    checksum_type: str = ""  # COMPOSITE, FULL_OBJECT or empty
    owner: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    acl: Acl | None = None
    retention: Retention | None = None
    legal_hold: bool = False
    storage_class: str = ""
    seal: SealSpec | None = None
    principal: str = ""  # canonical user id of who begins it


@dataclass(frozen=True, slots=True, kw_only=True)
class PartName:
    """One part as Complete names it; `checksum` is base64 or empty, `algorithm` whose it is."""

    number: int
    etag: str
    checksum: str = ""
    algorithm: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListQuery:
    """One page of keys. `after`: only keys (and common prefixes) above it, in UTF-8 byte order."""

    prefix: bytes = b""
    delimiter: bytes = b""
    after: bytes = b""
    limit: int = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class ListPage:
    """A page of a listing: objects and common prefixes, each in byte order; together at most `limit`.

    `next_after` is the ListQuery.after of the next page (the last key or common prefix of this one), or None.
    """

    objects: tuple[ObjectView, ...]
    common_prefixes: tuple[bytes, ...]
    next_after: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Deleted:
    """What a delete did, as S3 shows it. `version`: of the marker made, or of what was taken away; empty: none shown.

    `marker`: a delete marker was made, or was what was taken away.
    """

    version: str = ""
    marker: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionQuery:
    """One page of versions: those behind version `version_marker` of `key_marker`, or behind all of that key."""

    prefix: bytes = b""
    delimiter: bytes = b""
    key_marker: bytes = b""
    version_marker: str = ""
    limit: int = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionView:
    """One version of a listing. `view` is None for a delete marker. `version` as S3 shows it."""

    key: bytes
    version: str
    latest: bool
    modified: int  # ns
    owner: str
    view: ObjectView | None
    sequence: int

    @property
    def marker(self) -> bool:
        """Is it a delete marker?"""
        return self.view is None


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionPage:
    """A page of versions: keys in byte order, of each the newest first. `next_*`: markers of the next page, or None."""

    versions: tuple[VersionView, ...]
    common_prefixes: tuple[bytes, ...]
    next_key: bytes | None = None
    next_version: str = ""
