"""The public access block of a bucket: four switches, as XML.

Room: stratum/s3. May import: core.public_access, engine, s3.{answers, call, errors, http, small_body, xml}.

What each switch does is decided where it matters: BlockPublicPolicy in bucket_policy.py, the ACL switches where ACLs
are stored and judged, RestrictPublicBuckets by core/public_access.py `policy_counts`.

Source: docs.aws.amazon.com/AmazonS3/latest/API/API_PutPublicAccessBlock.html
"""

from stratum.core.public_access import KIND, NO_BLOCK, PublicAccessBlock
from stratum.engine.engine import Engine
from stratum.s3.answers import xml_answer
from stratum.s3.call import Call
from stratum.s3.errors import S3Error
from stratum.s3.http import Response
from stratum.s3.small_body import read_xml
from stratum.s3.xml import Node, node

ROOT = "PublicAccessBlockConfiguration"
SWITCHES = {
    "BlockPublicAcls": "block_public_acls",
    "IgnorePublicAcls": "ignore_public_acls",
    "BlockPublicPolicy": "block_public_policy",
    "RestrictPublicBuckets": "restrict_public_buckets",
}


def block_of(engine: Engine, bucket: str) -> PublicAccessBlock:
    """The block that is in force, for deciding about a request. Raises CorruptRecord: then nothing may be granted."""
    return engine.configurations.read(bucket, KIND, PublicAccessBlock) or NO_BLOCK


async def get_public_access_block(call: Call) -> Response:
    """GET /bucket?publicAccessBlock."""
    block = await call.engine.configurations.get(call.bucket, KIND, PublicAccessBlock)
    if block is None:
        raise S3Error("NoSuchPublicAccessBlockConfiguration", BucketName=call.bucket)
    switches = [node(name, "true" if getattr(block, field) else "false") for name, field in SWITCHES.items()]
    return xml_answer(node(ROOT, *switches))


async def put_public_access_block(call: Call) -> Response:
    """PUT /bucket?publicAccessBlock: a switch that is not named is off."""
    document = await read_xml(call.payload, call.engine.limits.xml_bytes, ROOT)
    await call.engine.configurations.put(call.bucket, KIND, parse_block(document))
    return Response(200)


async def delete_public_access_block(call: Call) -> Response:
    """DELETE /bucket?publicAccessBlock: 204 also if there was none."""
    await call.engine.configurations.delete(call.bucket, KIND)
    return Response(204)


def parse_block(document: Node) -> PublicAccessBlock:
    """Read the four switches. Raises MalformedXML for another element, one that comes twice, or another value."""
    found: dict[str, bool] = {}
    for child in document.children:
        value = {"true": True, "false": False}.get(child.text.strip().lower())
        if child.name not in SWITCHES or SWITCHES[child.name] in found or value is None:
            raise S3Error("MalformedXML")
        found[SWITCHES[child.name]] = value
    return PublicAccessBlock(**found)
