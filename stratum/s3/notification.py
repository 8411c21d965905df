"""Event notifications over S3: who is to be told of what happens to the keys of a bucket.

Room: stratum/s3. May import: core, engine, s3.{answers, call, errors, http, small_body, xml}.

Topics, queues and functions are all the same here: a target of the settings, `arn:stratum:sqs::<name>:webhook`.
Source: docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketNotificationConfiguration.html
"""

import secrets

from stratum.core.notification import (
    CONFIGURATIONS_MAX,
    EVENTS,
    KIND,
    Configuration,
    Notifications,
    arn_of,
    check_apart,
    target_of,
)
from stratum.s3.answers import xml_answer
from stratum.s3.call import Call
from stratum.s3.errors import S3Error
from stratum.s3.http import Response
from stratum.s3.small_body import read_xml
from stratum.s3.xml import Node, child_text, children, node

ROOT = "NotificationConfiguration"
SKIP_VALIDATION = "x-amz-skip-destination-validation"
ID_CHARACTERS = 255
RULE_CHARACTERS = 1024
ARN_ELEMENTS = {"Topic": "Topic", "Queue": "Queue", "CloudFunction": "CloudFunction"}


async def get_bucket_notification(call: Call) -> Response:
    """GET /bucket?notification: empty where nobody is told."""
    found = await call.engine.configurations.get(call.bucket, KIND, Notifications) or Notifications()
    return xml_answer(node(ROOT, *(_shown(each) for each in found.configurations)))


async def put_bucket_notification(call: Call) -> Response:
    """PUT /bucket?notification: replaces what was there; an empty document ends it. Each target gets a test event."""
    document = await read_xml(call.payload, call.engine.limits.xml_bytes, ROOT)
    wanted = parse_notifications(document, call.engine.notifying.targets)
    skip = call.headers.get(SKIP_VALIDATION, "").lower() == "true"
    await call.engine.notifying.put(call.bucket, wanted, test=not skip)
    return Response(200, [], b"")


def parse_notifications(document: Node, targets: frozenset[str]) -> Notifications:
    """Read a NotificationConfiguration. Raises MalformedXML, InvalidArgument, NotImplemented."""
    found = []
    for element in document.children:
        if element.name == "EventBridgeConfiguration":
            raise S3Error("NotImplemented", Parameter="EventBridgeConfiguration")
        kind = element.name.removesuffix("Configuration")
        if not element.name.endswith("Configuration") or kind not in ARN_ELEMENTS:
            raise S3Error("MalformedXML")
        found.append(_configuration(element, kind, targets))
    if len(found) > CONFIGURATIONS_MAX:
        raise S3Error("InvalidArgument", f"More than {CONFIGURATIONS_MAX} notification configurations.")
    check_apart(found)
    return Notifications(tuple(found))


def _configuration(element: Node, kind: str, targets: frozenset[str]) -> Configuration:
    if any(child.name not in ("Id", ARN_ELEMENTS[kind], "Event", "Filter") for child in element.children):
        raise S3Error("MalformedXML")
    arn, name = (child_text(element, ARN_ELEMENTS[kind]) or "").strip(), child_text(element, "Id") or ""
    events = tuple(dict.fromkeys(each.text.strip() for each in children(element, "Event")))
    if not arn or not events or len(name) > ID_CHARACTERS:
        raise S3Error("MalformedXML")
    for event in events:
        if event not in EVENTS:
            raise S3Error(
                "InvalidArgument",
                "A specified event is not supported for notifications.",
                ArgumentName="Event",
                ArgumentValue=event,
            )
    target = target_of(arn)
    if target is None:
        raise S3Error("InvalidArgument", "The ARN is not well formed", ArgumentName=kind, ArgumentValue=arn)
    if target not in targets:
        message = "Unable to validate the following destination configurations"
        raise S3Error("InvalidArgument", message, ArgumentName=arn, ArgumentValue="The destination does not exist")
    prefix, suffix = _rules(element)
    return Configuration(name or secrets.token_urlsafe(36), kind, target, events, prefix, suffix)


def _rules(element: Node) -> tuple[str | None, str | None]:
    """(prefix, suffix) of the filter."""
    found: dict[str, str] = {}
    for rule in (r for f in children(element, "Filter") for key in children(f, "S3Key") for r in key.children):
        name, value = (child_text(rule, "Name") or "").strip().lower(), child_text(rule, "Value") or ""
        if rule.name != "FilterRule":
            raise S3Error("MalformedXML")
        if name not in ("prefix", "suffix"):
            message = "filter rule name must be either prefix or suffix"
            raise S3Error("InvalidArgument", message, ArgumentName="FilterRule.Name", ArgumentValue=name)
        if name in found:
            message = f"Cannot specify more than one {name} rule in a filter."
            raise S3Error("InvalidArgument", message, ArgumentName="FilterRule.Name", ArgumentValue=name)
        if len(value.encode()) > RULE_CHARACTERS:
            raise S3Error("InvalidArgument", "Size of filter rule value cannot exceed 1024 bytes in UTF-8")
        found[name] = value
    return found.get("prefix"), found.get("suffix")


def _shown(configuration: Configuration) -> Node:
    rules = [("prefix", configuration.prefix), ("suffix", configuration.suffix)]
    shown = [node("FilterRule", node("Name", name), node("Value", text)) for name, text in rules if text is not None]
    return node(
        configuration.kind + "Configuration",
        node("Id", configuration.id),
        node(ARN_ELEMENTS[configuration.kind], arn_of(configuration.target)),
        *(node("Event", event) for event in configuration.events),
        *([node("Filter", node("S3Key", *shown))] if shown else []),
    )
