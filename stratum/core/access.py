"""May this principal do this? Policies, ownership and ACLs, put together in one order.

Room: stratum/core. May import: core.{acl, policy, principals, public_access, records}.

Invariants
    E1  An explicit Deny outweighs everything, also for the owner and the operator. The one way out is the policy
        itself: whoever rules the bucket may always read, replace and delete it (s3/bucket_policy.py B2).
    E2  Silence is a refusal.
    E3  Policies of users are given by the operator, who rules every bucket: what they allow is allowed, whoever owns
        the bucket. Those of a tenant's users are given by the tenant: see E6.
    E4  The owner of a bucket does not see into what others own in it, but may delete it (and may take it over, by
        BucketOwnerEnforced).
    E6  Who is of a tenant may do in the buckets of another account only what that account grants, by a bucket policy or
        an ACL, and what, unless it is the root, its own account grants it too: both sides must allow.
    E5  What a policy of the session does not allow is refused, whoever asks: a session has no more than who began it.
"""

from dataclasses import dataclass
from enum import Enum, auto

from stratum.core.acl import ENFORCED, READ, READ_ACP, WRITE, WRITE_ACP, holds
from stratum.core.policy import AccessRequest, Policy, Verdict, evaluate
from stratum.core.principals import Principal
from stratum.core.public_access import PublicAccessBlock, policy_counts
from stratum.core.records import Acl

# Source: docs.aws.amazon.com/AmazonS3/latest/userguide/acl-overview.html#permissions
BY_BUCKET_ACL = {
    "s3:ListBucket": READ,
    "s3:ListBucketVersions": READ,
    "s3:ListBucketMultipartUploads": READ,
    "s3:PutObject": WRITE,
    "s3:DeleteObject": WRITE,
    "s3:AbortMultipartUpload": WRITE,
    "s3:ListMultipartUploadParts": WRITE,
    "s3:GetBucketAcl": READ_ACP,
    "s3:PutBucketAcl": WRITE_ACP,
}
BY_OBJECT_ACL = {
    "s3:GetObject": READ,
    "s3:GetObjectVersion": READ,
    "s3:GetObjectAttributes": READ,
    "s3:GetObjectVersionAttributes": READ,
    "s3:GetObjectAcl": READ_ACP,
    "s3:GetObjectVersionAcl": READ_ACP,
    "s3:PutObjectAcl": WRITE_ACP,
    "s3:PutObjectVersionAcl": WRITE_ACP,
}
# What comes along with s3:PutObject for who may write by ACL alone: it is said of an object of their own.
WITH_PUT = ("s3:PutObjectAcl", "s3:PutObjectTagging")
OF_THE_POLICY = ("s3:GetBucketPolicy", "s3:PutBucketPolicy", "s3:DeleteBucketPolicy")


class Decision(Enum):
    """What is decided. OBJECT: that is for the ACL of the object to say."""

    ALLOW = auto()
    DENY = auto()
    OBJECT = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """Everything about a bucket that decisions rest on. `owner`: canonical id; `identity`: policies of who asks."""

    owner: str
    policy: Policy | None = None
    confirmed: bool = False  # the policy may shut its author out (E1)
    acl: Acl | None = None
    ownership: str
    block: PublicAccessBlock
    foreign: bool = False  # others may own objects in it
    identity: tuple[Policy, ...] = ()
    limits: tuple[Policy, ...] = ()  # of the session of who asks
    tenant: bool = False  # who asks is of a tenant

    @property
    def policies(self) -> tuple[Policy, ...]:
        """All policies that speak about the request."""
        own = (*self.identity, *self.limits)
        return own if self.policy is None else (*own, self.policy)

    def rules(self, principal: Principal) -> bool:
        """Is it the operator, or the root of the account that owns the bucket?"""
        return principal.operator or (principal.root and principal.account_id == self.owner)


def decide(asked: AccessRequest, ground: Ground, *, creating: bool = False) -> Decision:
    """Decide about one action (E1 to E4). `creating`: it is part of storing an object, of which it says something."""
    principal = asked.principal
    rules = ground.rules(principal)
    if any(evaluate((limit,), asked) is not Verdict.ALLOW for limit in ground.limits):
        return Decision.DENY  # E5
    if asked.action in OF_THE_POLICY and rules and not ground.confirmed:
        return Decision.ALLOW
    if evaluate(ground.policies, asked) is Verdict.DENY:
        return Decision.DENY
    if principal.operator:
        return Decision.ALLOW
    if rules:
        foreign = ground.foreign and ground.ownership != ENFORCED and not creating
        return Decision.OBJECT if foreign and asked.action in BY_OBJECT_ACL else Decision.ALLOW
    across = ground.tenant and principal.account_id != ground.owner
    if across and not principal.root and evaluate(ground.identity, asked) is not Verdict.ALLOW:
        return Decision.DENY  # E6
    if (not across and evaluate(ground.identity, asked) is Verdict.ALLOW) or _bucket_policy_allows(asked, ground):
        return Decision.ALLOW
    if creating and principal.account_id != ground.owner and asked.action in WITH_PUT:
        return _comes_along(asked, ground)
    return _by_acl(asked, ground, creating=creating)


def _bucket_policy_allows(asked: AccessRequest, ground: Ground) -> bool:
    policy = ground.policy
    if policy is None or evaluate((policy,), asked) is not Verdict.ALLOW:
        return False
    return policy_counts(ground.block, policy, asked.principal, ground.owner)


def _comes_along(asked: AccessRequest, ground: Ground) -> Decision:
    """An ACL is said by whom the object will belong to; tags by who may write by ACL."""
    if asked.action == "s3:PutObjectAcl" or _has(WRITE, asked.principal, ground):
        return Decision.ALLOW
    return Decision.DENY


def _has(permission: str, principal: Principal, ground: Ground) -> bool:
    ignore = ground.block.ignore_public_acls
    return ground.ownership != ENFORCED and holds(permission, ground.acl, ground.owner, principal, ignore_public=ignore)


def _by_acl(asked: AccessRequest, ground: Ground, *, creating: bool) -> Decision:
    permission = BY_BUCKET_ACL.get(asked.action)
    if permission is not None and _has(permission, asked.principal, ground):
        return Decision.ALLOW
    if asked.action in BY_OBJECT_ACL and ground.ownership != ENFORCED and not creating:
        return Decision.OBJECT
    return Decision.DENY


def object_allows(asked: AccessRequest, ground: Ground, owner: str, acl: Acl | None) -> bool:
    """Does the ACL of the object allow what was left to it? `owner`: of the object; canonical id."""
    principal = asked.principal
    if owner == ground.owner and ground.rules(principal):
        return True
    permission, ignore = BY_OBJECT_ACL[asked.action], ground.block.ignore_public_acls
    return holds(permission, acl, owner, principal, ignore_public=ignore)
