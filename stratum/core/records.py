"""What the metadata index holds, record by record.

Room: stratum/core. May import: core.errors.

Invariants
    R1  A stored record is: version byte, XXH3-64 (seeded by its key) over version and body, MessagePack body.
        So a flipped bit, and a right record under the wrong key, are both found (LMDB notices neither).
    R2  Structs are arrays on disk: fields are only ever appended, with a default. A change of meaning is a new
        version number with a frozen copy of the old struct and one step forward.
    R3  Times are nanoseconds since the Unix epoch; sizes are bytes; ids are 64-bit and never reused.
"""

from enum import IntEnum
from typing import TypeVar, cast

import msgspec
import xxhash

from stratum.core.errors import CorruptRecord

RECORD_VERSION = 1
HEADER_BYTES = 9


class Kind(IntEnum):
    """What an inode is."""

    OBJECT = 1  # a regular file, an S3 object
    DIRECTORY = 2
    SYMLINK = 3
    SPECIAL = 4  # FIFO, socket, device: never shown over S3


class Extent(msgspec.Struct, frozen=True, array_like=True):
    """A run of bytes inside a volume, striped over its data columns.

    The extent's stripes begin at byte `at` of every shard file of the volume. Each stripe holds `k` cells of
    `width` bytes (one per data shard); the next stripe follows one frame further on. `skip` bytes of that
    sequence are passed over, then `length` bytes are the extent's. See docs/format.md, "Extent".
    """

    volume: int
    at: int
    width: int
    skip: int
    length: int


class Inline(msgspec.Struct, frozen=True, array_like=True):
    """Content so small that it rests in the index (and so in the journal on parity + 1 disks)."""

    bytes: bytes


class Run(msgspec.Struct, frozen=True, array_like=True):
    """One row of a manifest: where the bytes from some offset on are. Exactly one field is set."""

    extent: Extent | None = None
    inline: bytes | None = None

    @property
    def length(self) -> int:
        """Bytes that this run covers."""
        return self.extent.length if self.extent is not None else len(self.inline or b"")


class Checksum(msgspec.Struct, frozen=True, array_like=True):
    """A checksum as S3 shows it: algorithm (`crc32`, `sha256` ... as core/checksums.py names them), base64
    value (with `-N` if composite) and type (`FULL_OBJECT` or `COMPOSITE`)."""

    algorithm: str
    value: str
    kind: str = "FULL_OBJECT"


class Grant(msgspec.Struct, frozen=True, array_like=True):
    """One permission of an ACL. `grantee`: `id:<canonical user id>`, or `group:` with `AllUsers`, `AuthenticatedUsers`
    or `LogDelivery`. `permission`: FULL_CONTROL, READ, WRITE, READ_ACP or WRITE_ACP."""

    grantee: str
    permission: str


class Acl(msgspec.Struct, frozen=True, array_like=True):
    """The grants of a bucket or object. Where a record has no Acl at all, its owner alone has FULL_CONTROL."""

    grants: tuple[Grant, ...] = ()


class Retention(msgspec.Struct, frozen=True, array_like=True):
    """Until when (ns) a version may not be deleted; `mode` is GOVERNANCE or COMPLIANCE."""

    mode: str
    until: int


class Sealed(msgspec.Struct, frozen=True, array_like=True):
    """How the bytes of a version are encrypted (core/sealing.py). `scheme`: SSE-S3, SSE-KMS or SSE-C.

    `wrapped`: the object's own key, wrapped by the key `key_id` (SSE-C: by the client's). `size`: bytes as stored.
    Also of an upload: then it is what its parts are sealed with, and `size` is 0.
    """

    scheme: str
    key_id: str = ""
    wrapped: bytes = b""
    size: int = 0
    customer_md5: str = ""  # SSE-C: base64 md5 of the client's key, as it shows it
    context: str = ""  # SSE-KMS: the encryption context, base64 JSON
    parts: tuple[int, ...] = ()  # plain sizes of what was sealed apart, in order
    format: int = 1
    salts: bytes = b""  # 12 bytes for each of `parts`
    bucket_key: bool = False  # x-amz-server-side-encryption-bucket-key-enabled, as it was asked for


class Inode(msgspec.Struct, frozen=True, array_like=True):
    """A file, directory, symlink or special: everything `stat` and HEAD need."""

    kind: Kind
    mode: int  # permission bits and file type as in st_mode
    uid: int
    gid: int
    nlink: int
    size: int  # published size, bytes
    atime: int
    mtime: int  # also S3's Last-Modified
    ctime: int
    btime: int
    content: int = 0  # content id whose runs are this inode's bytes; 0: no bytes
    etag: str = ""  # without quotes; empty until first published (then S3 does not see it)
    headers: dict[str, str] = {}  # content-type, cache-control ... lower-case names, as stored by S3 PUT
    metadata: dict[str, str] = {}  # x-amz-meta-* without the prefix
    checksum: Checksum | None = None
    parts: tuple[int, ...] = ()  # sizes of the multipart parts, in order
    rdev: int = 0
    target: bytes = b""  # of a symlink
    parent: int = 0  # its parent directory; for all but directories only the last one it was named in: look again
    name: bytes = b""  # its stored name there (of a directory with the trailing slash)
    explicit: bool = False  # a directory made by mkdir: stays when its last key goes
    generation: int = 0  # counts publications; compare-and-swap for rewrites
    version: str = ""  # version id; empty: the null version
    sequence: int = 0  # place among the versions of its key: later is greater; 0: before versioning
    owner: str = ""  # canonical user id of who wrote it; empty: the bucket's owner
    tags: dict[str, str] = {}
    acl: Acl | None = None
    retention: Retention | None = None
    legal_hold: bool = False
    sealed: Sealed | None = None
    storage_class: str = ""  # empty: STANDARD
    part_checksums: tuple[str, ...] = ()  # base64, one for each of `parts`
    upload: str = ""  # id of the multipart upload that Complete made it from, so that a repeated Complete is known
    holes: int = 0  # bytes of `size` where nothing rests, as far as known: those that the mount left; not of copies
    bucket: int = 0  # root directory of the bucket that it counts in (core/quotas.py); 0: not counted yet
    replication: str = ""  # PENDING, COMPLETED or FAILED (core/replication.py); empty: no rule was about it
    replicas_due: int = 0  # targets that it is still to go to


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """A directory entry. `cookie` is unique per entry and never reused (the offset of readdir)."""

    inode: int
    kind: Kind
    cookie: int


class Bucket(msgspec.Struct, frozen=True, array_like=True):
    """A bucket: its root directory, birth and owner (canonical user id; empty: the operator).

    Further configurations of a bucket are rows of their own (schema `f`).
    """

    root: int
    created: int
    owner: str
    versioning: str = ""  # empty (never set), Enabled or Suspended
    lock: bool = False  # object lock; never taken back
    acl: Acl | None = None
    foreign: bool = False  # others than its owner may own objects in it; never taken back
    requester_pays: bool = False


class Version(msgspec.Struct, frozen=True, array_like=True):
    """A version of a key that is not its current object: an older one, or a delete marker (`inode` 0).

    A delete marker that is the newest of its key is why the key reads as absent. `version` empty: the null version.
    """

    inode: int
    version: str
    modified: int  # ns; when it was written
    owner: str = ""
    since: int = 0  # ns; when it ceased to be current, by the server's clock; 0: told by what came after it


class Held(msgspec.Struct, frozen=True, array_like=True):
    """Who holds the stream of a volume that has no shards of its own (core/tiers.py; docs/format.md, "Held").

    `backend`: `warm`, or the name of a cold one. It is found there by `key`; on warm disks by `extents` of inner
    volumes instead, which lie one behind the other. `size` and `sha256` (32 bytes) are the stream's.
    """

    backend: str
    key: str
    size: int
    sha256: bytes
    extents: tuple[Extent, ...] = ()


class Volume(msgspec.Struct, frozen=True, array_like=True):
    """A volume: code, where its shards rest, and how much of each shard file is committed.

    One that is `held` has no slots. One of tier warm that is not held is an inner volume: it holds others' streams.
    """

    k: int  # data shards
    m: int  # all shards
    slots: tuple[int, ...]  # disk slot of shard 0..m-1
    shard_bytes: int  # committed length of each shard file, header included
    sealed: bool
    tier: str = ""  # empty: hot
    held: Held | None = None


class Upload(msgspec.Struct, frozen=True, array_like=True):
    """A multipart upload under way."""

    bucket: str
    key: bytes
    created: int
    owner: str
    headers: dict[str, str] = {}
    metadata: dict[str, str] = {}
    checksum_algorithm: str = ""
    checksum_type: str = ""
    tags: dict[str, str] = {}
    acl: Acl | None = None
    retention: Retention | None = None
    legal_hold: bool = False
    sealed: Sealed | None = None
    storage_class: str = ""
    initiator: str = ""  # canonical user id of who began it; empty: the owner


class Part(msgspec.Struct, frozen=True, array_like=True):
    """A part of an upload; its bytes are the runs of `content`."""

    content: int
    size: int
    etag: str  # md5 hex
    modified: int
    checksum: Checksum | None = None
    stored: int = 0  # bytes of `content` where they are not `size` (sealed parts)
    salt: bytes = b""  # of a sealed part
    bucket: int = 0  # root directory of the bucket that it counts in; 0: not counted yet


class Ended(msgspec.Struct, frozen=True, array_like=True):
    """An upload that was ended, whose parts are still to be freed: those of numbers above `after` (core/endings.py).

    `bytes`: of the parts left, what counts a second time, in the object made of them; so it is taken off in `bucket`.
    """

    bucket: int  # root directory of the bucket
    bytes: int = 0
    after: int = 0


class Usage(msgspec.Struct, frozen=True, array_like=True):
    """What a bucket, or all buckets of an owner, hold, and the most they may hold (core/quotas.py); None: no limit."""

    bytes: int = 0
    objects: int = 0
    bytes_max: int | None = None
    objects_max: int | None = None
    owner: str = ""  # of a bucket: its owner, for whom it counts too


class Disk(msgspec.Struct, frozen=True, array_like=True):
    """A disk slot: the identity (32 hex digits) it must show and whether it was a file system of its own."""

    identity: str
    own_filesystem: bool
    path: str  # where it was last seen; advice for messages, unless `added`
    tier: str = ""  # which set of disks it is of; empty: hot
    added: bool = False  # by command, while the store ran: its path is looked at whether the settings name it or not


class Leaving(msgspec.Struct, frozen=True, array_like=True):
    """A disk slot is to be emptied, since when (ns)."""

    since: int


class Credential(msgspec.Struct, frozen=True, array_like=True):
    """An access key that is not the root credential."""

    secret_key: str
    created: int
    name: str = ""
    user: str = ""  # canonical id of its User; empty: the operator

    def __repr__(self) -> str:
        return f"Credential(name={self.name!r}, secret_key=<hidden>)"


class User(msgspec.Struct, frozen=True, array_like=True):
    """Someone who may hold access keys and own buckets. `policies`: name -> identity policy (JSON text)."""

    name: str  # display name
    created: int
    email: str = ""
    policies: dict[str, str] = {}
    account: str = ""  # id of the account the user belongs to; empty: an account of its own, whose root it is
    tenant: bool = False  # of the root of an account: it is a tenant (engine/tenants.py)


class Event(msgspec.Struct, frozen=True, array_like=True):
    """Something that happened to a key and is still to be told (schema `h`). `name` as S3: ObjectCreated:Put ..."""

    name: str
    time: int  # ns
    bucket: str
    key: bytes
    version: str = ""
    size: int = 0
    etag: str = ""
    principal: str = ""
    sequence: int = 0  # grows with every event, so that those of one key can be put in order
    target: str = ""  # whom it is to be told: a name among [notify]
    configuration: str = ""  # Id of the notification configuration that asked for it


class NamedKey(msgspec.Struct, frozen=True, array_like=True):
    """A key of the key store: it wraps the keys of objects. Its generations, oldest first, each sealed by a master key.

    See engine/keys.py. The newest generation wraps; the older ones are kept, for they unwrap.
    """

    created: int
    generations: tuple[bytes, ...]


class Garbage(msgspec.Struct, frozen=True, array_like=True):
    """Why and since when something waits for the reaper."""

    since: int
    reason: str


class LeftShards(msgspec.Struct, frozen=True, array_like=True):
    """Disk slots on which there may be shard files of a volume that its record does not name (any more, or yet)."""

    slots: tuple[int, ...]


class LeftHeld(msgspec.Struct, frozen=True, array_like=True):
    """Something may rest under this key of a backend that the record of `volume` does not name (any more, or yet)."""

    volume: int
    held: Held


class Wish(msgspec.Struct, frozen=True, array_like=True):
    """A volume is to be moved: to which tier (and backend; empty: as routed), since when (ns), and why (a short code).

    `soon`: a pack that is still open is sealed for it.
    """

    tier: str
    backend: str
    since: int
    reason: str
    soon: bool = True


class Packed(msgspec.Struct, frozen=True, array_like=True):
    """A volume into which pieces of like temperature were collected: on which day, and for how many days nobody had
    used any of them by then. What is new to the rule about tiers is not new."""

    day: int
    idle: float


class Repair(msgspec.Struct, frozen=True, array_like=True):
    """A shard that must be rebuilt: why and since when."""

    since: int
    reason: str


T = TypeVar("T")


def encode(key: bytes, record: object) -> bytes:
    """Return the stored form of `record` under `key` (R1)."""
    body = msgspec.msgpack.encode(record)
    return bytes((RECORD_VERSION,)) + _checksum(key, body) + body


def decode(key: bytes, raw: bytes, type: type[T]) -> T:  # noqa: A002 - the field's word, as in msgspec
    """Return the record stored as `raw` under `key`. Raises CorruptRecord."""
    if len(raw) < HEADER_BYTES or raw[0] != RECORD_VERSION:
        raise CorruptRecord(f"{type.__name__} record of unknown version under {key[:40]!r}")
    body = raw[HEADER_BYTES:]
    if raw[1:HEADER_BYTES] != _checksum(key, body):
        raise CorruptRecord(f"{type.__name__} record fails its checksum under {key[:40]!r}")
    try:
        return msgspec.msgpack.decode(body, type=type)
    except msgspec.DecodeError as error:
        raise CorruptRecord(f"{type.__name__} record under {key[:40]!r}: {error}") from error


def decode_known(key: bytes, raw: bytes, type: type[T]) -> T:  # noqa: A002
    """As `decode`, for rows that are looked at again and again: what the same bytes under the same key said last time
    is remembered. Records are never changed in place, so all may have the same one. Raises CorruptRecord."""
    known = _known.get(key)
    if known is not None and known[0] is type and known[1] == raw:
        return cast("T", known[2])
    record = decode(key, raw, type)
    if len(raw) <= _KNOWN_BYTES:
        _note(key, type, raw, record)
    return record


def encode_counter(key: bytes, record: object) -> bytes:
    """As `encode`; a number or a Usage, which the next change will look at, is remembered as if it had been decoded.

    Not so other records: what decoding gives is sure to be what is stored, what a caller holds is not.
    """
    raw = encode(key, record)
    kind = type(record)
    if kind is int or kind is Usage:
        _note(key, kind, raw, record)
    return raw


def _note(key: bytes, type: object, raw: bytes, record: object) -> None:  # noqa: A002
    if len(_known) >= _KNOWN_MAX:
        _known.clear()
    _known[key] = (type, raw, record)


_KNOWN_MAX, _KNOWN_BYTES = 4096, 1024  # records remembered; the largest stored form of one
_known: dict[bytes, tuple[object, bytes, object]] = {}


def _checksum(key: bytes, body: bytes) -> bytes:
    return xxhash.xxh3_64_digest(body, seed=xxhash.xxh3_64_intdigest(key, seed=RECORD_VERSION))
