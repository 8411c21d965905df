"""Access logging of a bucket: where its lines go, and whether they may.

Room: stratum/core. May import: core.{policy, principals}.

Invariants
    A1  Log delivery writes into a bucket only if the policy of that bucket lets the service logging.s3.amazonaws.com by
        its name: a policy for everyone names no service. It is asked when logging is set up, and at every delivery.

Source: docs.aws.amazon.com/AmazonS3/latest/userguide/enable-server-access-logging.html
"""

import msgspec

from stratum.core.policy import AccessRequest, Effect, Policy, Verdict, evaluate, resource_arn
from stratum.core.principals import ANONYMOUS, OPERATOR_ID

KIND = "logging"
SERVICE = "logging.s3.amazonaws.com"
EVENT_TIME, DELIVERY_TIME = "EventTime", "DeliveryTime"


class Logging(msgspec.Struct, frozen=True, array_like=True):
    """Where to. `partitioned`: EventTime or DeliveryTime, whose date is in the names; empty: plain names."""

    target: str
    prefix: str = ""
    partitioned: str = ""


def may_deliver(policy: Policy | None, logging: Logging, *, source: str, account: str) -> bool:
    """May lines about the bucket `source`, of that account, be written to their target, which has that policy? (A1)"""
    if policy is None:
        return False
    request = AccessRequest(
        principal=ANONYMOUS,
        action="s3:PutObject",
        resource=f"{resource_arn(logging.target)}/{logging.prefix}",
        context={
            "aws:sourcearn": (resource_arn(source),),
            "aws:sourceaccount": (account or OPERATOR_ID,),
            "aws:securetransport": ("true",),
        },
        service=SERVICE,
    )
    naming = Policy(
        tuple(
            each
            for each in policy.statements
            if each.effect is Effect.ALLOW and any(name.kind == "Service" for name in each.principals)
        )
    )
    return evaluate([policy], request) is Verdict.ALLOW and evaluate([naming], request) is Verdict.ALLOW


def object_name(logging: Logging, *, account: str, region: str, source: str, date: str, time: str, unique: str) -> str:
    """The key of an object of lines. `date`: 2026-11-21; `time`: 06-40-00, both of the event or the delivery, UTC."""
    if not logging.partitioned:
        return f"{logging.prefix}{date}-{time}-{unique}"
    parts = (account or OPERATOR_ID, region, source, *date.split("-"), f"{date}-{time}-{unique}")
    return logging.prefix + "/".join(parts)
