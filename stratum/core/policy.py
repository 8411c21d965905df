"""What policies say about a request: allowed, denied, or nothing.

Room: stratum/core. May import: core.policy_*.

Invariants
    D1  One Deny that applies outweighs every Allow, wherever either stands.
    D2  Silence is NONE: whoever asks must then find another reason, or refuse.

    parse_policy(text, bucket) -> Policy                 policy_document.py
    evaluate(policies, request) -> Verdict               here
    is_public(policy) -> bool                            policy_public.py

Source: docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
"""

from collections.abc import Sequence
from enum import Enum, auto

import msgspec

from stratum.core.policy_document import ARN, AT_ONCE, parse_policy
from stratum.core.policy_keys import EXISTING_TAG
from stratum.core.policy_statements import AccessRequest, Effect, Policy, Statement

__all__ = [
    "ARN",
    "AT_ONCE",
    "KIND",
    "AccessRequest",
    "Effect",
    "Policy",
    "PolicyText",
    "Statement",
    "Verdict",
    "asks_for_existing_tags",
    "evaluate",
    "is_heavy",
    "parse_policy",
    "resource_arn",
]

KIND = "policy"
HEAVY = 200  # comparisons of a policy: about half a millisecond


class PolicyText(msgspec.Struct, frozen=True, array_like=True):
    """The policy of a bucket as its owner wrote it, byte for byte.

    `confirmed`: it was stored with the owner's word that it may take the owner's own access to the policy away.
    """

    text: str
    confirmed: bool = False


class Verdict(Enum):
    """What policies say. NONE: they do not speak of it."""

    ALLOW = auto()
    DENY = auto()
    NONE = auto()


def evaluate(policies: Sequence[Policy], request: AccessRequest) -> Verdict:
    """Return what `policies` together say about `request` (D1, D2)."""
    effects = {statement.effect for policy in policies for statement in policy.statements if statement.applies(request)}
    if Effect.DENY in effects:
        return Verdict.DENY
    return Verdict.ALLOW if Effect.ALLOW in effects else Verdict.NONE


def is_heavy(policies: Sequence[Policy]) -> bool:
    """May it take longer to judge by these than the event loop may be held? Then it is done in a thread."""
    return sum(policy.weight for policy in policies) > HEAVY


def resource_arn(bucket: str, key: bytes = b"") -> str:
    """What policies call a bucket, or an object in it; of a key that is not UTF-8, no two get the same."""
    return f"{ARN}{bucket}/{key.decode(errors='surrogateescape')}" if key else ARN + bucket


def asks_for_existing_tags(policies: Sequence[Policy]) -> bool:
    """Does any statement look at the tags an object has? Only then need they be read."""
    return any(key.startswith(EXISTING_TAG) for policy in policies for key in policy.keys)
