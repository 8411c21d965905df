"""ACLs and object ownership: who holds which permission of a bucket or object.

Room: stratum/core. May import: core.{principals, records}.

Invariants
    A1  Where a record has no ACL, its owner alone has FULL_CONTROL. An owner may always read and write the ACL.
    A2  What is granted to an account is granted to its root; its other users need a policy, or a grant of their own.
    A3  Under BucketOwnerEnforced no ACL counts, and everything belongs to the bucket's owner.

Source: docs.aws.amazon.com/AmazonS3/latest/userguide/acl-overview.html, about-object-ownership.html
"""

from collections.abc import Mapping

import msgspec

from stratum.core.principals import Principal
from stratum.core.records import Acl, Grant

KIND = "ownership"
ENFORCED, PREFERRED, WRITER = "BucketOwnerEnforced", "BucketOwnerPreferred", "ObjectWriter"
OWNERSHIPS = (ENFORCED, PREFERRED, WRITER)

FULL_CONTROL, READ, WRITE, READ_ACP, WRITE_ACP = "FULL_CONTROL", "READ", "WRITE", "READ_ACP", "WRITE_ACP"
PERMISSIONS = (READ, WRITE, READ_ACP, WRITE_ACP, FULL_CONTROL)
ALL_USERS, AUTHENTICATED_USERS, LOG_DELIVERY = "group:AllUsers", "group:AuthenticatedUsers", "group:LogDelivery"
PUBLIC = (ALL_USERS, AUTHENTICATED_USERS)

OWNER_FULL_CONTROL = "bucket-owner-full-control"
GRANTS_MAX = 100

# Canned ACL -> what it grants beside FULL_CONTROL of the owner; `owner` is the bucket's. aws-exec-read grants to a
# service that does not exist here.
_EVERYWHERE: Mapping[str, tuple[tuple[str, str], ...]] = {
    "private": (),
    "public-read": ((ALL_USERS, READ),),
    "public-read-write": ((ALL_USERS, READ), (ALL_USERS, WRITE)),
    "authenticated-read": ((AUTHENTICATED_USERS, READ),),
    "aws-exec-read": (),
}
BUCKET_CANNED = {
    **_EVERYWHERE,
    "log-delivery-write": ((LOG_DELIVERY, WRITE), (LOG_DELIVERY, READ_ACP)),
    "bucket-owner-read": (),
    OWNER_FULL_CONTROL: (),
}
OBJECT_CANNED = {**_EVERYWHERE, "bucket-owner-read": (("owner", READ),), OWNER_FULL_CONTROL: (("owner", FULL_CONTROL),)}


class Ownership(msgspec.Struct, frozen=True, array_like=True):
    """Whose the objects of a bucket are: one of OWNERSHIPS. Where a bucket has no record, it is ObjectWriter."""

    rule: str = WRITER


def canned_acl(extra: tuple[tuple[str, str], ...], owner: str, bucket_owner: str) -> Acl | None:
    """The ACL of a canned one (`extra`: of the tables above); None where it says no more than no ACL (A1)."""
    grants = tuple(
        Grant(f"id:{bucket_owner}" if grantee == "owner" else grantee, permission)
        for grantee, permission in extra
        if grantee != "owner" or owner != bucket_owner
    )
    return Acl((*grants, Grant(f"id:{owner}", FULL_CONTROL))) if grants else None


def grants_of(acl: Acl | None, owner: str) -> tuple[Grant, ...]:
    """The grants as they are shown, those of groups first (A1)."""
    if acl is None:
        return (Grant(f"id:{owner}", FULL_CONTROL),)
    return tuple(sorted(acl.grants, key=lambda grant: not grant.grantee.startswith("group:")))


def is_public_acl(acl: Acl | None) -> bool:
    """Does it let in everyone, or everyone who has an account?"""
    return acl is not None and any(grant.grantee in PUBLIC for grant in acl.grants)


def is_owners_alone(acl: Acl | None, owner: str) -> bool:
    """Does it let in nobody but the owner?"""
    return acl is None or all(grant.grantee == f"id:{owner}" for grant in acl.grants)


def holds(permission: str, acl: Acl | None, owner: str, principal: Principal, *, ignore_public: bool) -> bool:
    """Has `principal` the permission? `owner`: account of the owner. `ignore_public`: grants to groups do not count."""
    if principal.root and principal.account_id == owner and permission in (READ_ACP, WRITE_ACP):
        return True
    grantees = set() if ignore_public else {ALL_USERS}
    if not principal.anonymous:
        grantees |= {f"id:{principal.user}"} | (set() if ignore_public else {AUTHENTICATED_USERS})
    if principal.root:
        grantees.add(f"id:{principal.account_id}")
    return any(
        grant.grantee in grantees and grant.permission in (permission, FULL_CONTROL) for grant in grants_of(acl, owner)
    )
