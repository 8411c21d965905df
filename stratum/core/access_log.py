"""Access logging of a bucket: where its lines go, and whether they may.

Room: stratum/core. May import: core.{policy, principals, service_writes}.

Invariants
    A1  Log delivery writes into a bucket only if the policy of that bucket lets the service logging.s3.amazonaws.com by
        its name: a policy for everyone names no service. It is asked when logging is set up, and at every delivery.

Source: docs.aws.amazon.com/AmazonS3/latest/userguide/enable-server-access-logging.html
"""

import msgspec

from stratum.core.policy import Policy
from stratum.core.principals import OPERATOR_ID
from stratum.core.service_writes import service_may_put

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
    return service_may_put(
        policy, SERVICE, target=logging.target, prefix=logging.prefix, source=source, account=account
    )


def object_name(logging: Logging, *, account: str, region: str, source: str, date: str, time: str, unique: str) -> str:
    """The key of an object of lines. `date`: 2026-11-21; `time`: 06-40-00, both of the event or the delivery, UTC."""
    if not logging.partitioned:
        return f"{logging.prefix}{date}-{time}-{unique}"
    parts = (account or OPERATOR_ID, region, source, *date.split("-"), f"{date}-{time}-{unique}")
    return logging.prefix + "/".join(parts)
