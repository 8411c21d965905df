"""What decisions about access rest on, read at once: no await, so that a request that may go on loses no time.

Room: stratum/engine. May import: core, store, engine.{buckets, configurations, parsing, roles,
users}.

Invariants
    G1  A refusal that says "there is none" rests on what is durable: `settled` waits for it.
    G2  What cannot be read grants nothing: CorruptRecord goes through to the client as a failure.
    G3  Parsing a large policy takes longer than the event loop may be held: `prepare` has it done in a thread.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from stratum.core import acl, policy, public_access
from stratum.core.access import Ground
from stratum.core.acl import Ownership
from stratum.core.errors import CorruptRecord, MalformedPolicy
from stratum.core.policy import Policy, PolicyText, parse_policy
from stratum.core.principals import OPERATOR_ID, Principal
from stratum.core.public_access import NO_BLOCK, PublicAccessBlock
from stratum.core.records import Bucket, Inode, Upload, User
from stratum.core.roles import policies_of
from stratum.core.schema import upload_key
from stratum.core.txn import Txn, load
from stratum.core.views import object_at
from stratum.engine.buckets import find_bucket
from stratum.engine.configurations import configuration
from stratum.engine.parsing import parsed
from stratum.engine.roles import find_role
from stratum.engine.users import find_user, policies_in
from stratum.store.meta import Meta

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Looked:
    """What every request looks at: the bucket, its policy, and who asks."""

    bucket: Bucket
    policy: PolicyText | None
    user: User | None

    def silent(self) -> bool:
        """Do no policies and no objects of others speak into it?"""
        return self.policy is None and not self.bucket.foreign and not (self.user and self.user.policies)


class Grounds:
    """Reads for decisions about access."""

    def __init__(self, meta: Meta) -> None:
        self._meta = meta
        self._seen = 0

    def look(self, bucket: str, principal: Principal) -> Looked:
        """Raises NoSuchBucket, CorruptRecord."""

        def query(txn: Txn) -> Looked:
            found = find_bucket(txn, bucket)
            return Looked(found, configuration(txn, bucket, policy.KIND, PolicyText), _user(txn, principal))

        return self._read(query)

    def of(self, bucket: str, principal: Principal) -> Ground:
        """All grounds of a bucket. Raises NoSuchBucket, CorruptRecord (G2)."""

        def query(txn: Txn) -> Ground:
            found = find_bucket(txn, bucket)
            text = configuration(txn, bucket, policy.KIND, PolicyText)
            return Ground(
                owner=_owner(txn, found.owner),
                policy=None if text is None else _parsed(text, bucket),
                confirmed=text is not None and text.confirmed,
                acl=found.acl,
                ownership=(configuration(txn, bucket, acl.KIND, Ownership) or Ownership()).rule,
                block=configuration(txn, bucket, public_access.KIND, PublicAccessBlock) or NO_BLOCK,
                foreign=found.foreign,
                identity=_identity(txn, principal),
                limits=_limits(principal),
                tenant=_is_of_a_tenant(txn, principal),
            )

        return self._read(query)

    async def prepare(self, bucket: str, principal: Principal) -> None:
        """Parse large policies that speak about requests of `principal` to `bucket` (empty: to none) in a thread, so
        that `of` finds them parsed (G3). Raises NoSuchBucket, CorruptRecord."""
        for text, of_bucket in self._read(partial(_texts, bucket, principal)):
            with suppress(MalformedPolicy):  # `of` says so again
                await parsed(text, of_bucket)

    def of_nothing(self, principal: Principal) -> Ground:
        """The grounds of what has no bucket (yet): it would be one's own."""
        identity = self._read(lambda txn: _identity(txn, principal))
        limits = _limits(principal)
        owner = principal.account_id
        return Ground(owner=owner, ownership=acl.WRITER, block=NO_BLOCK, identity=identity, limits=limits)

    def object(self, bucket: str, key: bytes, version: str | None, owner: str) -> tuple[str, Inode]:
        """The owner (canonical id) and the record of a version. `owner`: the bucket's, whose it is if nobody's else.

        Raises what `objects.head` raises.
        """

        def query(txn: Txn) -> tuple[str, Inode]:
            inode = object_at(txn, bucket, key, version).inode
            return _owner(txn, inode.owner, owner), inode

        return self._read(query)

    def upload(self, upload: str) -> Upload | None:
        """The record of an upload under way, or None."""
        known = upload.isascii() and 0 < len(upload) <= 64
        return self._read(lambda txn: load(txn, upload_key(upload), Upload)) if known else None

    async def settled(self) -> None:
        """Return when all that was looked at so far is durable (G1)."""
        await self._meta.durable(self._seen)

    def _read(self, query: Callable[[Txn], T]) -> T:
        try:
            return self._meta.read(query)
        finally:
            self._seen = max(self._seen, self._meta.seen)


def _texts(bucket: str, principal: Principal, txn: Txn) -> list[tuple[str, str]]:
    """(text, of which bucket) of all policies."""
    role = find_role(txn, principal.role) if principal.role else None
    user = _user(txn, principal)
    texts = [*principal.limits, *(role.policies.values() if role else ()), *(user.policies.values() if user else ())]
    own = configuration(txn, bucket, policy.KIND, PolicyText) if bucket else None
    return [(text, "") for text in texts] + ([(own.text, bucket)] if own else [])


def _owner(txn: Txn, stored: str, default: str = OPERATOR_ID) -> str:
    """See Users.owner_of."""
    if stored == OPERATOR_ID or (stored and find_user(txn, stored) is not None):
        return stored
    return default


def _user(txn: Txn, principal: Principal) -> User | None:
    named = not (principal.operator or principal.anonymous or principal.role)
    return find_user(txn, principal.user) if named else None


def _is_of_a_tenant(txn: Txn, principal: Principal) -> bool:
    root = None if principal.operator or principal.anonymous else find_user(txn, principal.account_id)
    return root is not None and root.tenant


def _limits(principal: Principal) -> tuple[Policy, ...]:
    """The policies of a session: they were parsed when it began."""
    try:
        return tuple(parse_policy(text) for text in principal.limits)
    except MalformedPolicy as error:
        raise CorruptRecord("the policy of a session cannot be read") from error


def _identity(txn: Txn, principal: Principal) -> tuple[Policy, ...]:
    if principal.role:
        role = find_role(txn, principal.role)
        return () if role is None else policies_of(role)
    user = _user(txn, principal)
    return () if user is None else policies_in(user)


def _parsed(text: PolicyText, bucket: str) -> Policy:
    try:
        return parse_policy(text.text, bucket)
    except MalformedPolicy as error:
        raise CorruptRecord(f"the policy of bucket {bucket} cannot be read") from error
