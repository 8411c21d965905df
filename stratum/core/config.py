"""Every limit and every setting, with its default and its reason (law 8).

Room: stratum/core. May import: core.errors, core.tiering.settings.
Reading the TOML file and the environment is `serve/settings_file.py`.
"""

from dataclasses import dataclass, field
from pathlib import PurePath

from stratum.core.tiering.settings import Tiering

KIB, MIB, GIB = 1024, 1024**2, 1024**3

# Of the room on a disk so much is never given to shards: it is for the journal, snapshots and the index, or a full
# store could not even delete. The smaller of the two counts; folders on one device share one reserve.
DISK_RESERVE_BYTES = 64 * MIB
DISK_RESERVE_PART = 50  # of the file system, the reciprocal


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on sizes, counts, queues and times. All may be set under [limits] in the configuration."""

    # What S3 allows (docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html)
    key_bytes: int = 1024
    name_bytes: int = 255  # of a name made through the mount (POSIX NAME_MAX)
    parts: int = 10_000
    part_bytes_min: int = 5 * MIB
    part_bytes_max: int = 5 * GIB
    object_bytes_max: int = 50 * 1024 * GIB
    list_keys: int = 1000
    delete_keys: int = 1000
    metadata_bytes: int = 2 * KIB
    xml_bytes: int = 1 * MIB
    multi_delete_xml_bytes: int = 2 * MIB
    complete_xml_bytes: int = 4 * MIB  # 10,000 parts with every checksum
    xattr_bytes: int = 64 * KIB
    links: int = 65_000
    users: int = 10_000
    access_keys: int = 10_000  # of all users together

    # Layout (docs/format.md)
    cell_bytes: int = 64 * KIB  # largest block of one shard under one checksum: a small read verifies at most this
    volume_bytes: int = 64 * MIB  # data bytes of one volume before it is sealed
    inline_bytes: int = 4 * KIB  # content up to this rests in the index: no shard fsyncs at all
    pack_bytes: int = 1 * MIB  # content up to this joins a shared pack

    # Memory and work under way
    put_window_bytes: int = 1 * MIB  # bytes of one upload handed to the disks in one thread hop
    dirty_bytes: int = 128 * MIB  # of all mounted files together, not yet in volumes
    dirty_bytes_per_file: int = 8 * MIB
    pending_meta_bytes: int = 32 * MIB  # metadata applied but not yet in the index
    open_shards: int = 512  # shard files kept open for reading
    requests: int = 512  # S3 requests under way
    disk_threads: int = 24

    # Tiers (engine/mover.py, engine/cold_cache.py)
    moves: int = 2  # volumes moved at the same time; each takes a few pieces of memory
    tenant_users: int = 1000  # of one tenant, beside its root
    tenant_keys: int = 2000  # access keys of one tenant's users
    balance_interval: float = 60.0  # seconds between two looks whether shards should rest on other disks
    move_bytes_per_second: int = 100 * MIB  # of all moves together; less while the foreground waits
    cold_cache_bytes: int = 64 * MIB  # cells of held volumes kept in memory; verified again at each use
    cold_ahead_bytes: int = 16 * MIB  # that a sequential reader is ahead of itself, at most
    cold_requests: int = 32  # to one remote backend at the same time
    cold_request_time: float = 60.0  # seconds without an answer, or without the next bytes of one
    cold_attempts: int = 4  # of a request that failed for a reason that may pass
    cold_pause: float = 30.0  # seconds until a remote backend that failed is tried again
    cold_sweep_interval: float = 86_400.0  # seconds between two listings of what a remote backend holds of ours
    cold_sweep_pause: float = 1.0  # seconds between two pages of such a listing
    wishes: int = 1_000_000  # volumes waiting to be moved
    seal_delay: float = 60.0  # seconds a pack stays open that somebody wants moved when it suits

    # Packing (engine/packing.py): small pieces of like temperature share volumes
    packing_interval: float = 1.0  # seconds between two steps of the walk over the store
    packing_bytes_per_second: int = 16 * MIB  # read and written for it; less while the foreground waits
    packing_cold_days: float = 30.0  # a small content that nobody used for so long is cold
    packing_bytes_min: int = 1 * MIB  # less than this together is not worth a volume
    packing_pieces: int = 20_000  # in one volume: 100 bytes of memory each, while they are collected
    packing_bins: int = 64  # sorts of pieces collected at the same time

    # Times, in seconds
    publish_delay: float = 0.05  # close to publication (design section 7)
    reap_delay: float = 600.0
    disk_timeout: float = 30.0  # a disk that does not answer within is out of service
    straggler_grace: float = 2.0  # waiting for the last shard once the quorum is durable
    scrub_interval: float = 7 * 86400.0
    repair_interval: float = 2.0
    reap_interval: float = 30.0
    ending_interval: float = 1.0  # between two looks whether something large is to be freed
    compact_interval: float = 1.0  # between two slices of the manifest table
    disk_check_interval: float = 1.0
    shutdown_grace: float = 8.0

    # HTTP connections (s3/connection.py, s3/receiving.py); times in seconds
    connections: int = 4096  # open at once; when full, the one that has rested longest makes room
    connection_requests: int = 1_000_000  # answered on one connection before it is closed
    connection_idle: float = 60.0  # without a request
    header_time: float = 30.0  # for the head of a request to arrive, and for a TLS handshake
    header_bytes: int = 16 * KIB  # of a head, with its request line; of all trailers
    header_count: int = 512
    target_bytes: int = 12 * KIB  # of a URL: a key takes 3 KiB, a presigned query up to 8
    chunk_line_bytes: int = 1 * KIB  # size and extensions of one chunk
    body_idle: float = 60.0  # waiting for the next bytes of a body
    body_rate_min: int = 1 * KIB  # bytes per second of a body, over the time spent waiting beyond `body_idle`
    answer_idle: float = 60.0  # for the client to take one piece of an answer
    linger: float = 10.0  # reading on after an early answer, so that the client gets to see it
    linger_bytes: int = 1 * MIB  # a rest of a body up to this is read to keep the connection
    tls_check_interval: float = 10.0  # between two looks at the certificate files

    # HTTP/2 (s3/http2_guard.py, docs/decisions/0022); counts are per connection, and again in each `http2_calm_time`
    http2_connections: int = 64  # at once; further clients agree on HTTP/1.1
    http2_streams: int = 16  # requests at once on one connection
    http2_requests: int = 10_000  # on one connection before it is closed
    http2_window_bytes: int = 256 * KIB  # of one body, sent before anybody reads it
    http2_calm_time: float = 10.0  # seconds
    http2_resets: int = 100  # requests that the client gives up, or that are one too many
    http2_settings: int = 20
    http2_pings: int = 100
    http2_priorities: int = 1000  # and other frames that are dropped
    http2_small_frames: int = 1000  # of data, and of room for it, beyond one for each `http2_frame_worth`
    http2_frame_worth: int = 512  # bytes

    # Metadata
    map_bytes: int = 64 * GIB  # address space of LMDB, grown when 80 % full
    journal_segment_bytes: int = 64 * MIB  # journal since the last snapshot before a new one is taken
    batch_changes: int = 4096  # metadata changes in one commit

    # What follows from writes and requests
    events: int = 100_000  # waiting for one target of notifications; what is more is counted and left out
    replications: int = 1_000_000  # versions waiting for one target; what is more is FAILED at once
    replication_bytes_per_second: int = 100 * MIB  # to all remotes together
    event_age: float = 86_400.0  # seconds; an event that a target refuses for so long is given up
    access_log_bytes: int = 16 * MIB  # of lines that wait to be written into the buckets they are for
    access_log_object_bytes: int = 4 * MIB  # lines of one bucket are written at the latest when they are so many
    access_log_interval: float = 300.0  # or so old


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifyTarget:
    """Somebody who may be told of events: `[notify.<name>]`. Buckets name it `arn:stratum:sqs::<name>:webhook`.

    `secret_ref`: env:NAME or file:/path of what signs the messages; empty: they are not signed.
    """

    name: str
    url: str
    secret_ref: str = ""
    allow_private: bool = False  # addresses that are not public ones are taken too


@dataclass(frozen=True, slots=True, kw_only=True)
class OidcProvider:
    """Who vouches for people that are no users here: `[oidc.<name>]`, an issuer of OpenID Connect."""

    name: str
    issuer: str  # exactly as tokens say it
    audiences: tuple[str, ...]  # a token must be for one of them
    jwks_url: str = ""  # where its keys are; empty: as its discovery document says
    role_claim: str = ""  # a claim that must name the role; empty: the role alone says who is let in
    allow_private: bool = False  # addresses that are not public ones are taken too


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicationRemote:
    """A remote S3 service that buckets may be replicated to: `[replication.<name>]`."""

    name: str
    access_key_ref: str  # env:NAME or file:/path
    secret_key_ref: str
    endpoint_url: str = ""  # empty: AWS
    region: str = "us-east-1"
    addressing: str = "auto"  # path, virtual
    sse: str = ""  # AES256, aws:kms: asked of the remote; empty: what its bucket does by itself
    allow_private: bool = False  # addresses that are not public ones are taken too


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmTier:
    """A second set of local disks, with a code of its own: `[tier.warm]`."""

    disks: tuple[PurePath, ...]
    k: int = 4
    parity: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ColdTier:
    """A bucket of a remote S3 service: `[tier.cold.<name>]`. References to secrets: env:NAME or file:/path."""

    name: str
    bucket: str
    endpoint_url: str = ""  # empty: AWS
    region: str = "us-east-1"
    key_prefix: str = "stratum"
    access_key_ref: str = ""
    secret_key_ref: str = ""
    storage_class: str = ""  # empty: what the bucket does by itself
    sse: str = ""  # AES256, aws:kms; empty: what the bucket does by itself
    multipart_threshold_bytes: int = 64 * MIB
    multipart_chunk_bytes: int = 16 * MIB
    addressing: str = "auto"  # path, virtual
    allow_private: bool = False  # addresses that are not public ones are taken too
    verify: str = "head"  # or read: what was sent is read back as a whole before a move counts


@dataclass(frozen=True, slots=True, kw_only=True)
class TierRoute:
    """Which cold backend takes an object's volumes: `[tier.route.<name>]`. Empty fields match everything."""

    name: str
    backend: str
    bucket: str = ""
    prefix: str = ""
    tag: str = ""  # key=value
    metadata: str = ""  # key=value, of x-amz-meta-*


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One server: where its data is and how it is reached."""

    data: PurePath
    disks: tuple[PurePath, ...]  # one per shard; [tier.hot] disks = [...]
    k: int = 4  # data shards
    parity: int = 2
    s3_host: str = "127.0.0.1"
    s3_port: int | None = 9000  # None: no endpoint
    region: str = "us-east-1"
    domains: tuple[str, ...] = ("localhost",)  # `bucket.<domain>` names a bucket; RFC 6761 keeps localhost local
    website_domains: tuple[str, ...] = ()  # `bucket.<domain>` is the web site of a bucket
    proxies: tuple[str, ...] = ()  # addresses and networks whose X-Forwarded-* headers are believed
    connection: str = "httptools"  # what speaks HTTP/1.1; or h11: hypercorn's own protocol
    http2: bool = False  # over TLS HTTP/2 may be agreed on (docs/decisions/0022)
    tls_certificate: PurePath | None = None  # PEM chain; None: plain HTTP, unless self-signed
    tls_key: PurePath | None = None  # None: it stands in the file of the certificate
    tls_self_signed: bool = False  # make a certificate, keep it in the data folder
    object_ownership: str = "ObjectWriter"  # of new buckets (core/acl.py; docs/decisions/0007)
    console_host: str = "127.0.0.1"
    console_port: int | None = 9001  # None: no web console
    console_s3_url: str = ""  # where browsers find S3; empty: the host they came by, on the port of S3
    console_plain_http: bool = False  # logging in from other machines without TLS
    rpc_host: str = "127.0.0.1"
    rpc_port: int | None = None  # None: no native interface
    log_level: str = "info"
    log_format: str = "auto"  # text, json, auto (text on a terminal)
    master_key_file: str = "auto"  # a path; auto: generated in the data folder; none: nothing is encrypted at rest
    master_key_env: str = "STRATUM_MASTER_KEY"  # the variable that holds master keys, where it is set
    customer_keys: str = "auto"  # SSE-C over TLS only (tls), also from this machine (auto), over any line (any)
    day_seconds: int = 86_400  # what lifecycle rules take for a day when they act; less for tests and staging only
    notify: tuple[NotifyTarget, ...] = ()  # whom buckets may have told of events
    replication: tuple[ReplicationRemote, ...] = ()  # remotes that buckets may be replicated to
    oidc: tuple[OidcProvider, ...] = ()  # whose tokens are taken for temporary credentials
    close: str = "queued"  # or durable: close() of a mounted file waits for its publication
    transport: str = "raw"  # what speaks FUSE with the kernel; or pyfuse3: libfuse does (docs/decisions/0014)
    warm: WarmTier | None = None
    cold: tuple[ColdTier, ...] = ()  # the first one takes what no route names
    routes: tuple[TierRoute, ...] = ()  # by name; the first that matches
    storage_classes: tuple[tuple[str, str], ...] = ()  # (class, tier) beside STANDARD, which is hot
    tiering: Tiering = field(default_factory=Tiering)
    limits: Limits = field(default_factory=Limits)

    @property
    def scheme(self) -> str:
        """Of the endpoint's URL."""
        return "https" if self.tls_certificate or self.tls_self_signed else "http"

    @property
    def journal_copies(self) -> int:
        """Disks that hold the redo journal: as many as may be lost, plus one."""
        return self.parity + 1
