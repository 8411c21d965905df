"""Replication over S3: which versions of a bucket go to which others; and what requests that replicate may say.

Room: stratum/s3. May import: core, engine, s3.{answers, call, errors, http, small_body, tagging, xml}.

A destination is a bucket of this store, `arn:aws:s3:::<bucket>`, or of a remote that the operator has set up,
`arn:stratum:s3::<remote>:<bucket>`; only the operator sends buckets there, for the credentials are the operator's.
Source: docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketReplication.html
"""

import re
import secrets

from stratum.core.errors import NoSuchBucket
from stratum.core.principals import OPERATOR_ID
from stratum.core.replication import KIND, RULES_MAX, Replication, ReplicationRule, Target, target_of
from stratum.core.tagging import OBJECT_TAGS, checked_tags
from stratum.core.versions import ENABLED
from stratum.s3.answers import xml_answer
from stratum.s3.call import Call
from stratum.s3.errors import S3Error
from stratum.s3.http import Response
from stratum.s3.small_body import read_xml
from stratum.s3.xml import Node, child_text, children, node

ROOT = "ReplicationConfiguration"
ID_CHARACTERS, PREFIX_CHARACTERS = 255, 1024
RULE = {
    "ID", "Priority", "Prefix", "Filter", "Status", "SourceSelectionCriteria", "ExistingObjectReplication",
    "Destination", "DeleteMarkerReplication",
}  # fmt: skip

_NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)


async def get_bucket_replication(call: Call) -> Response:
    """GET /bucket?replication."""
    found = await call.engine.configurations.get(call.bucket, KIND, Replication)
    if found is None:
        raise S3Error("ReplicationConfigurationNotFoundError")
    return xml_answer(node(ROOT, node("Role", found.role), *(_shown(rule) for rule in found.rules)))


async def put_bucket_replication(call: Call) -> Response:
    """PUT /bucket?replication."""
    wanted = parse_replication(await read_xml(call.payload, call.engine.limits.xml_bytes, ROOT))
    source = await call.engine.buckets.get(call.bucket)
    if source.versioning != ENABLED:
        message = "Versioning must be 'Enabled' on the bucket to apply a replication configuration"
        raise S3Error("InvalidRequest", message)
    for rule in wanted.rules:
        await _check_target(call, Target(rule.target, rule.remote), source.owner)
    await call.engine.configurations.put(call.bucket, KIND, wanted)
    return Response(200, [], b"")


async def delete_bucket_replication(call: Call) -> Response:
    """DELETE /bucket?replication: 204 also if there was none."""
    await call.engine.configurations.delete(call.bucket, KIND)
    return Response(204, [], b"")


async def _check_target(call: Call, target: Target, owner: str) -> None:
    """Raise unless versions may go there."""
    if target.remote:
        if not call.principal.operator:
            raise S3Error("AccessDenied", "Only the operator replicates to remotes.")
        if target.remote not in call.engine.replications.remotes:
            raise S3Error("InvalidRequest", "Destination bucket must exist.")
        return
    if target.bucket == call.bucket:
        raise S3Error("InvalidRequest", "Destination bucket cannot be the same as the source bucket.")
    try:
        found = await call.engine.buckets.get(target.bucket)
        allowed = call.engine.replications.may_put(owner, target.bucket)
    except NoSuchBucket as error:
        raise S3Error("InvalidRequest", "Destination bucket must exist.") from error
    if not allowed or not (call.principal.operator or (owner or OPERATOR_ID) == call.principal.account_id):
        raise S3Error("AccessDenied")
    if found.versioning != ENABLED:
        raise S3Error("InvalidRequest", "Destination bucket must have versioning enabled.")


def parse_replication(document: Node) -> Replication:
    """Read a ReplicationConfiguration. Raises MalformedXML, InvalidRequest, InvalidArgument, NotImplemented."""
    rules = children(document, "Rule")
    if not 1 <= len(rules) <= RULES_MAX or any(each.name not in ("Role", "Rule") for each in document.children):
        raise S3Error("MalformedXML")
    parsed = tuple(_rule(each) for each in rules)
    if len({rule.id for rule in parsed}) < len(parsed):
        raise S3Error("InvalidArgument", "Rule Id must be unique.", ArgumentName="ID")
    if len({(rule.priority, rule.target, rule.remote) for rule in parsed if not rule.legacy}) < len(parsed) and all(
        not rule.legacy for rule in parsed
    ):
        raise S3Error("InvalidRequest", "Found duplicate priority in rules with one destination.")
    return Replication((child_text(document, "Role") or "").strip()[:2048], parsed)


def _rule(element: Node) -> ReplicationRule:
    if any(child.name not in RULE for child in element.children):
        raise S3Error("MalformedXML")
    status, name = (child_text(element, "Status") or "").strip(), child_text(element, "ID") or ""
    if status not in ("Enabled", "Disabled") or len(name) > ID_CHARACTERS:
        raise S3Error("MalformedXML")
    if _enabled(element, "ExistingObjectReplication"):
        raise S3Error(
            "NotImplemented",
            "What is in the bucket already is replicated by `stratum replication resync`.",
            Parameter="ExistingObjectReplication",
        )
    for criterion in (c for s in children(element, "SourceSelectionCriteria") for c in s.children):
        if criterion.name == "ReplicaModifications" and (child_text(criterion, "Status") or "").strip() == "Enabled":
            raise S3Error("NotImplemented", Parameter="ReplicaModifications")
    legacy = not children(element, "Filter")
    prefix, tags = _legacy_filter(element) if legacy else _filter(element)
    markers = _enabled(element, "DeleteMarkerReplication")
    if markers and tags:
        message = "Delete marker replication is not supported if any Tag filter is specified."
        raise S3Error("InvalidRequest", message)
    priority = (child_text(element, "Priority") or "0").strip()
    if not _NUMBER.fullmatch(priority):
        raise S3Error("MalformedXML")
    target, storage_class = _destination(element)
    return ReplicationRule(
        id=name or secrets.token_urlsafe(36),
        enabled=status == "Enabled",
        target=target.bucket,
        remote=target.remote,
        priority=int(priority),
        prefix=prefix,
        tags=tags,
        markers=markers,
        storage_class=storage_class,
        legacy=legacy,
    )


def _enabled(element: Node, name: str) -> bool:
    """The Status of a switch inside a rule."""
    found = children(element, name)
    text = (child_text(found[0], "Status") or "").strip() if found else "Disabled"
    if text not in ("Enabled", "Disabled"):
        raise S3Error("MalformedXML")
    return text == "Enabled"


def _legacy_filter(element: Node) -> tuple[str, dict[str, str]]:
    prefix = child_text(element, "Prefix")
    if prefix is None or len(prefix) > PREFIX_CHARACTERS:
        raise S3Error("MalformedXML")
    return prefix, {}


def _filter(element: Node) -> tuple[str | None, dict[str, str]]:
    inside = children(element, "Filter")[0]
    if child_text(element, "Prefix") is not None or len(inside.children) > 1:
        raise S3Error("MalformedXML")
    both = children(inside, "And")
    inside = both[0] if both else inside
    pairs = [(child_text(each, "Key") or "", child_text(each, "Value") or "") for each in children(inside, "Tag")]
    prefix = child_text(inside, "Prefix")
    if any(child.name not in ("Prefix", "Tag") for child in inside.children) or len(prefix or "") > PREFIX_CHARACTERS:
        raise S3Error("MalformedXML")
    return prefix, checked_tags(pairs, OBJECT_TAGS)


def _destination(element: Node) -> tuple[Target, str]:
    places = children(element, "Destination")
    if len(places) != 1:
        raise S3Error("MalformedXML")
    for name in ("EncryptionConfiguration", "ReplicationTime"):
        if children(places[0], name):
            raise S3Error("NotImplemented", Parameter=name)
    arn = (child_text(places[0], "Bucket") or "").strip()
    target = target_of(arn)
    if target is None:
        raise S3Error("InvalidArgument", "Invalid bucket ARN.", ArgumentName="Bucket", ArgumentValue=arn)
    return target, (child_text(places[0], "StorageClass") or "").strip()


def _shown(rule: ReplicationRule) -> Node:
    inside = [node("Prefix", rule.prefix)] if rule.prefix is not None else []
    place = [node("Bucket", Target(rule.target, rule.remote).arn)]
    place += [node("StorageClass", rule.storage_class)] if rule.storage_class else []
    status = node("Status", "Enabled" if rule.enabled else "Disabled")
    if rule.legacy:
        return node("Rule", node("ID", rule.id), *inside, status, node("Destination", *place))
    inside += [node("Tag", node("Key", name), node("Value", value)) for name, value in rule.tags.items()]
    kept = [node("And", *inside)] if len(inside) > 1 else inside
    markers = node("DeleteMarkerReplication", node("Status", "Enabled" if rule.markers else "Disabled"))
    return node(
        "Rule",
        node("ID", rule.id),
        node("Priority", str(rule.priority)),
        node("Filter", *kept),
        status,
        node("Destination", *place),
        markers,
    )
