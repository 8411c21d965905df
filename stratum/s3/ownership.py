"""Ownership controls of a bucket: whose the objects in it are, and whether ACLs count.

Room: stratum/s3. May import: core.acl, engine, s3.{answers, call, errors, http, small_body, xml}.

Source: docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketOwnershipControls.html
"""

from stratum.core.acl import ENFORCED, KIND, OWNERSHIPS, Ownership, is_owners_alone
from stratum.core.records import Acl
from stratum.s3.answers import xml_answer
from stratum.s3.call import Call
from stratum.s3.errors import S3Error
from stratum.s3.http import Response
from stratum.s3.small_body import read_xml
from stratum.s3.xml import Node, child_text, node

ROOT = "OwnershipControls"
HEADER = "x-amz-object-ownership"


def new_ownership(call: Call) -> str:
    """What a bucket that is being made says: by header, else by the setting. Raises InvalidArgument."""
    rule = call.headers.get(HEADER, call.engine.settings.object_ownership)
    if rule not in OWNERSHIPS:
        raise S3Error("InvalidArgument", f"Invalid {HEADER} header: {rule}", ArgumentName=HEADER, ArgumentValue=rule)
    return rule


def check_enforceable(rule: str, acl: Acl | None, owner: str) -> None:
    """Refuse to let ACLs count no more while one lets others in. Raises InvalidBucketAclWithObjectOwnership."""
    if rule == ENFORCED and not is_owners_alone(acl, owner):
        raise S3Error("InvalidBucketAclWithObjectOwnership")


async def get_bucket_ownership(call: Call) -> Response:
    """GET /bucket?ownershipControls."""
    found = await call.engine.configurations.get(call.bucket, KIND, Ownership)
    if found is None:
        raise S3Error("OwnershipControlsNotFoundError", BucketName=call.bucket)
    return xml_answer(node(ROOT, node("Rule", node("ObjectOwnership", found.rule))))


async def put_bucket_ownership(call: Call) -> Response:
    """PUT /bucket?ownershipControls."""
    rule = parse_ownership(await read_xml(call.payload, call.engine.limits.xml_bytes, ROOT))
    ground = call.engine.grounds.of(call.bucket, call.principal)
    check_enforceable(rule, ground.acl, ground.owner)
    await call.engine.configurations.put(call.bucket, KIND, Ownership(rule))
    return Response(200)


def parse_ownership(document: Node) -> str:
    """The one rule. Raises MalformedXML."""
    rules = document.children
    rule = child_text(rules[0], "ObjectOwnership") if len(rules) == 1 and rules[0].name == "Rule" else None
    if rule not in OWNERSHIPS or len(rules[0].children) != 1:
        raise S3Error("MalformedXML")
    return rule


async def delete_bucket_ownership(call: Call) -> Response:
    """DELETE /bucket?ownershipControls: 204 also if there were none. ACLs count again."""
    await call.engine.configurations.delete(call.bucket, KIND)
    return Response(204)
