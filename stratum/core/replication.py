"""Replication of a bucket: which versions go to which other bucket, and what is remembered until they are there.

Room: stratum/core. May import: core.records.

Invariants
    X1  A replica says so itself: its metadata holds MARK, made of the store, the bucket, the key and the version that
        it is of. What says so is not replicated again: so two buckets may replicate into each other.
    X2  Of several rules with one target, the one of the highest priority speaks for a key.

Source: docs.aws.amazon.com/AmazonS3/latest/userguide/replication.html, API_PutBucketReplication.html
"""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

import msgspec

from stratum.core.records import Inode

KIND = "replication"
RESYNC = "replication-resync"  # kind of the row that says how far a resync of a bucket has come
RULES_MAX = 1000
MARK = "stratum-replica"  # user metadata of replicas
HEADER = f"x-amz-meta-{MARK}"
PENDING, COMPLETED, FAILED, REPLICA = "PENDING", "COMPLETED", "FAILED", "REPLICA"
LATER = "!later"
BY_REPLICATION = "replication"  # principal of what is done by it
LOCAL_ARN, REMOTE_ARN = "arn:aws:s3:::", "arn:stratum:s3::"


class ReplicationRule(msgspec.Struct, frozen=True, array_like=True):
    """Versions of keys with `prefix` and all of `tags` go to the bucket `target`; delete markers too, if `markers`.

    `remote`: name of [replication.<name>]; empty: a bucket of this store. `legacy`: it was told in the older form.
    """

    id: str
    enabled: bool
    target: str
    remote: str = ""
    priority: int = 0
    prefix: str | None = None
    tags: dict[str, str] = {}
    markers: bool = False
    storage_class: str = ""
    legacy: bool = False


class Replication(msgspec.Struct, frozen=True, array_like=True):
    """The rules of a bucket. `role` is kept as it was told; nothing rests on it here."""

    role: str = ""
    rules: tuple[ReplicationRule, ...] = ()


class Outgoing(msgspec.Struct, frozen=True, array_like=True):
    """A version that is still to go somewhere (schema `O`); `marker`: a delete marker. `since`: ns.

    In the queue of a target stand those that are due, in the queue of the same name and LATER those whose bytes could
    not be read when their turn came.
    """

    bucket: str
    key: bytes
    version: str  # as S3 shows it
    target: str
    remote: str
    since: int
    marker: bool = False
    storage_class: str = ""
    tags: bool = False  # the version is there already: only its tags have changed


class Resync(msgspec.Struct, frozen=True, array_like=True):
    """How far it has come with what was in a bucket before its rules: all keys up to `after`. Times in ns.

    `looked`: versions; `queued`: sendings of them, one for each target; `behind`: versions that stay, since a later
    one of their key has gone before. `ended`: 0 while it goes on.
    """

    begun: int
    after: bytes = b""
    looked: int = 0
    queued: int = 0
    behind: int = 0
    ended: int = 0


@dataclass(frozen=True, slots=True)
class Target:
    """Where replicas go: a bucket of this store, or of a remote."""

    bucket: str
    remote: str = ""

    @property
    def queue(self) -> str:
        """Its queue has this name."""
        return f"{self.remote}/{self.bucket}"

    @property
    def arn(self) -> str:
        """How clients name it."""
        return f"{REMOTE_ARN}{self.remote}:{self.bucket}" if self.remote else LOCAL_ARN + self.bucket


def target_of(arn: str) -> Target | None:
    """What an ARN names; None: it names no bucket."""
    if arn.startswith(LOCAL_ARN) and len(arn) > len(LOCAL_ARN):
        return Target(arn.removeprefix(LOCAL_ARN))
    if arn.startswith(REMOTE_ARN):
        remote, _, bucket = arn.removeprefix(REMOTE_ARN).partition(":")
        return Target(bucket, remote) if remote and bucket else None
    return None


def applies(rule: ReplicationRule, key: bytes, tags: Mapping[str, str]) -> bool:
    """Is it about that key?"""
    fits = all(tags.get(name) == value for name, value in rule.tags.items())
    return rule.enabled and key.startswith((rule.prefix or "").encode()) and fits


def targets_for(
    rules: Replication, key: bytes, tags: Mapping[str, str], *, marker: bool = False
) -> list[ReplicationRule]:
    """The rules that speak for a version, one for each target (X2)."""
    found: dict[str, ReplicationRule] = {}
    for rule in sorted(rules.rules, key=lambda each: -each.priority):
        if applies(rule, key, tags):
            found.setdefault(Target(rule.target, rule.remote).queue, rule)
    return [rule for rule in found.values() if rule.markers or not marker]


def mark_of(store: bytes, bucket: str, key: bytes, version: str) -> str:
    """What the metadata of a replica says (X1)."""
    return f"{store.hex()[:16]}/{bucket}/{sha256(key).hexdigest()[:16]}/{version}"


def is_replica(metadata: Mapping[str, str], key: bytes) -> bool:
    """Is what has this metadata, under this key, a replica?"""
    parts = metadata.get(MARK, "").split("/")
    return len(parts) == 4 and parts[2] == sha256(key).hexdigest()[:16]


def status_of(inode: Inode, key: bytes) -> str:
    """What S3 shows of the replication of a version; empty: nothing."""
    return REPLICA if is_replica(inode.metadata, key) else inode.replication


def without_mark(metadata: Mapping[str, str]) -> dict[str, str]:
    """The metadata of a copy that somebody makes of a replica: it is none."""
    return {name: value for name, value in metadata.items() if name != MARK}
