"""Event notifications: who is told of what, and the words in which it is told.

Room: stratum/core. May import: core.{errors, principals, records}.

Invariants
    N1  Of two configurations of a bucket, no event of a key is of interest to both: as at AWS such a pair is refused.

Source: docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html,
notification-how-to-event-types-and-destinations.html
"""

from collections.abc import Sequence
from itertools import combinations
from urllib.parse import quote_plus

import msgspec

from stratum.core.errors import InvalidArgument
from stratum.core.principals import OPERATOR_ID
from stratum.core.records import Event

KIND = "notification"
CONFIGURATIONS_MAX = 100  # of one bucket
TEST_EVENT = "TestEvent"
ARN_PREFIX, ARN_SUFFIX = "arn:stratum:sqs::", ":webhook"

FAMILIES = {
    "ObjectCreated": ("Put", "Post", "Copy", "CompleteMultipartUpload"),
    "ObjectRemoved": ("Delete", "DeleteMarkerCreated"),
    "ObjectRestore": ("Post", "Completed", "Delete"),
    "ObjectTagging": ("Put", "Delete"),
    "ObjectAcl": ("Put",),
    "LifecycleExpiration": ("Delete", "DeleteMarkerCreated"),
    "Replication": (
        "OperationFailedReplication",
        "OperationNotTracked",
        "OperationMissedThreshold",
        "OperationReplicatedAfterThreshold",
    ),
}
ALONE = ("ReducedRedundancyLostObject", "LifecycleTransition", "IntelligentTiering")
EVENTS = frozenset(
    {f"s3:{family}:{one}" for family, names in FAMILIES.items() for one in (*names, "*")}
    | {f"s3:{name}" for name in ALONE}
)
_FIRST = ("ObjectCreated", "ObjectRemoved")  # of version 2.1 of the message; the others came with 2.3


class Configuration(msgspec.Struct, frozen=True, array_like=True):
    """Tell `target` of `events` (`s3:ObjectCreated:*` ...) to keys with this prefix and suffix.

    `kind` is how it was asked for: Topic, Queue or CloudFunction; all mean the same here. None: no such rule was given.
    """

    id: str
    kind: str
    target: str
    events: tuple[str, ...]
    prefix: str | None = None
    suffix: str | None = None


class Notifications(msgspec.Struct, frozen=True, array_like=True):
    """The configurations of a bucket."""

    configurations: tuple[Configuration, ...] = ()


def arn_of(target: str) -> str:
    """How clients name a target of the settings."""
    return ARN_PREFIX + target + ARN_SUFFIX


def target_of(arn: str) -> str | None:
    """The target that an ARN names, or None if it is none of ours."""
    inside = arn.startswith(ARN_PREFIX) and arn.endswith(ARN_SUFFIX) and len(arn) > len(ARN_PREFIX + ARN_SUFFIX)
    return arn[len(ARN_PREFIX) : -len(ARN_SUFFIX)] if inside else None


def wants(configuration: Configuration, event: str, key: bytes) -> bool:
    """Is the event (`ObjectCreated:Put`) of that key of interest?"""
    named = f"s3:{event}"
    return (
        any(named == each or (each.endswith("*") and named.startswith(each[:-1])) for each in configuration.events)
        and key.startswith((configuration.prefix or "").encode())
        and key.endswith((configuration.suffix or "").encode())
    )


def check_apart(configurations: Sequence[Configuration]) -> None:
    """Raise InvalidArgument for configurations that overlap (N1), or have one id."""
    if len({each.id for each in configurations}) < len(configurations):
        raise InvalidArgument("The ids of notification configurations must be unique.")
    for one, other in combinations(configurations, 2):
        if _share_event(one, other) and _share_key(one, other):
            raise InvalidArgument(
                "Configurations overlap. Configurations on the same bucket cannot share a common event type."
            )


def _share_event(one: Configuration, other: Configuration) -> bool:
    def covers(pattern: str, event: str) -> bool:
        return pattern == event or (pattern.endswith("*") and event.startswith(pattern[:-1]))

    return any(covers(a, b) or covers(b, a) for a in one.events for b in other.events)


def _share_key(one: Configuration, other: Configuration) -> bool:
    """Is there a key with both prefixes and both suffixes?"""
    prefixes, suffixes = (one.prefix or "", other.prefix or ""), (one.suffix or "", other.suffix or "")
    begins = prefixes[0].startswith(prefixes[1]) or prefixes[1].startswith(prefixes[0])
    return begins and (suffixes[0].endswith(suffixes[1]) or suffixes[1].endswith(suffixes[0]))


# --- the message ----------------------------------------------------------------------------------------------


def message(event: Event, *, time: str, region: str, owner: str) -> bytes:
    """The JSON that a target is sent. `time`: of the event, ISO 8601; `owner`: canonical user id of the bucket's."""
    if event.name == TEST_EVENT:
        told = {"Service": "Amazon S3", "Event": "s3:TestEvent", "Time": time, "Bucket": event.bucket}
        return msgspec.json.encode(told)
    return msgspec.json.encode({"Records": [_record(event, time, region, owner)]})


def _record(event: Event, time: str, region: str, owner: str) -> dict[str, object]:
    return {
        "eventVersion": "2.1" if event.name.startswith(_FIRST) else "2.3",
        "eventSource": "aws:s3",
        "awsRegion": region,
        "eventTime": time,
        "eventName": event.name,
        "userIdentity": {"principalId": event.principal or owner or OPERATOR_ID},
        "requestParameters": {"sourceIPAddress": ""},
        "responseElements": {"x-amz-request-id": "", "x-amz-id-2": ""},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": event.configuration,
            "bucket": {
                "name": event.bucket,
                "ownerIdentity": {"principalId": owner or OPERATOR_ID},
                "arn": f"arn:aws:s3:::{event.bucket}",
            },
            "object": _object(event),
        },
    }


def _object(event: Event) -> dict[str, object]:
    told: dict[str, object] = {"key": quote_plus(event.key, safe="/")}
    if event.etag:
        told |= {"size": event.size, "eTag": event.etag}
    if event.version:
        told["versionId"] = event.version
    return told | {"sequencer": f"{event.sequence:016X}"}
