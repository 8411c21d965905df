"""The public access block of a bucket: what it takes away, whatever policies and ACLs say.

Room: stratum/core. May import: core.{policy_*, principals}.

Source: docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html
"""

import msgspec

from stratum.core.policy_public import is_public
from stratum.core.policy_statements import Policy
from stratum.core.principals import Principal

KIND = "public_access"


class PublicAccessBlock(msgspec.Struct, frozen=True, array_like=True):
    """The four switches of a bucket. All off is the same as no block at all."""

    block_public_acls: bool = False  # refuse to store public ACLs
    ignore_public_acls: bool = False  # public grants that are stored do not count
    block_public_policy: bool = False  # refuse to store a public policy
    restrict_public_buckets: bool = False  # a public policy lets in nobody from outside the owner's account


NO_BLOCK = PublicAccessBlock()


def policy_counts(block: PublicAccessBlock, policy: Policy, principal: Principal, owner_account: str) -> bool:
    """May an Allow of `policy` let `principal` in? Not a stranger, where public buckets are restricted.

    `owner_account`: `account_id` of the bucket's owner. A Deny counts always.
    """
    stranger = principal.anonymous or principal.account_id != owner_account
    return not (block.restrict_public_buckets and stranger and is_public(policy))
