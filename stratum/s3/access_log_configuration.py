"""Access logging of a bucket over S3: switched on, shown, switched off.

Room: stratum/s3. May import: core, engine, s3.{answers, call, errors, http, small_body, xml}.

Who has a say, as at AWS: only the owner of a bucket lets its requests be logged, whatever a policy says; and the policy
of the target must let log delivery write there. Grants for the lines (TargetGrants) are read and not kept: they belong
to the owner of the target, and GET shows none.
Source: docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketLogging.html
"""

from stratum.core.access_log import DELIVERY_TIME, EVENT_TIME, KIND, Logging
from stratum.s3.answers import xml_answer
from stratum.s3.call import Call
from stratum.s3.errors import S3Error
from stratum.s3.http import Response
from stratum.s3.small_body import read_xml
from stratum.s3.xml import Node, child_text, children, node

ROOT = "BucketLoggingStatus"
PREFIX_BYTES = 800  # what is left of a key holds account, region, bucket, date and time
_KNOWN = {"TargetBucket", "TargetPrefix", "TargetGrants", "TargetObjectKeyFormat"}


async def get_bucket_logging(call: Call) -> Response:
    """GET /bucket?logging: empty where nothing is logged."""
    found = await call.engine.configurations.get(call.bucket, KIND, Logging)
    return xml_answer(node(ROOT, *([] if found is None else [_shown(found)])))


async def put_bucket_logging(call: Call) -> Response:
    """PUT /bucket?logging: an empty document switches it off."""
    document = await read_xml(call.payload, call.engine.limits.xml_bytes, ROOT)
    wanted = parse_logging(document)
    await call.engine.access_logs.configure(call.bucket, wanted, call.principal)
    return Response(200, [], b"")


def parse_logging(document: Node) -> Logging | None:
    """Read a BucketLoggingStatus; None: no logging. Raises MalformedXML, InvalidArgument."""
    found = children(document, "LoggingEnabled")
    if len(found) != len(document.children) or len(found) > 1:
        raise S3Error("MalformedXML")
    if not found:
        return None
    target, prefix = child_text(found[0], "TargetBucket"), child_text(found[0], "TargetPrefix")
    if not target or prefix is None or any(child.name not in _KNOWN for child in found[0].children):
        raise S3Error("MalformedXML")
    if len(prefix.encode()) > PREFIX_BYTES:
        raise S3Error("InvalidArgument", f"A TargetPrefix has at most {PREFIX_BYTES} bytes.")
    return Logging(target, prefix, _key_format(children(found[0], "TargetObjectKeyFormat")))


def _key_format(elements: list[Node]) -> str:
    if not elements:
        return ""
    names = [child.name for child in elements[0].children]
    if len(elements) > 1 or names not in (["SimplePrefix"], ["PartitionedPrefix"]):
        raise S3Error("MalformedXML")
    if names == ["SimplePrefix"]:
        return ""
    source = child_text(elements[0].children[0], "PartitionDateSource") or DELIVERY_TIME
    if source not in (EVENT_TIME, DELIVERY_TIME):
        raise S3Error("MalformedXML")
    return source


def _shown(logging: Logging) -> Node:
    inside = node("SimplePrefix")
    if logging.partitioned:
        inside = node("PartitionedPrefix", node("PartitionDateSource", logging.partitioned))
    return node(
        "LoggingEnabled",
        node("TargetBucket", logging.target),
        node("TargetPrefix", logging.prefix),
        node("TargetObjectKeyFormat", inside),
    )
