"""Requests about the service and about whole buckets.

Room: stratum/s3. May import: core, engine, s3.{answers, call, errors, http, xml}.
"""

from stratum.core.checksums import Digests
from stratum.core.errors import BucketExists
from stratum.s3.answers import iso_time, owner_node, xml_answer
from stratum.s3.call import Call
from stratum.s3.errors import S3Error
from stratum.s3.http import Response
from stratum.s3.xml import child_text, node, parse

DEFAULT_REGION = "us-east-1"  # where S3 answers a second creation by the owner with 200
LIMIT = 10_000


async def list_buckets(call: Call) -> Response:
    """GET /. Paged by max-buckets and continuation-token, filtered by prefix."""
    limit = _limit(call.query.get("max-buckets"))
    prefix, after = call.query.get("prefix", ""), call.query.get("continuation-token", "")
    found = [
        (name, bucket)
        for name, bucket in await call.engine.buckets.list()
        if name.startswith(prefix) and name > after
    ]
    page = found[:limit]
    shown = [
        node("Bucket", node("Name", name), node("CreationDate", iso_time(bucket.created))) for name, bucket in page
    ]
    parts = [owner_node(), node("Buckets", *shown)]
    if len(found) > limit:
        parts.append(node("ContinuationToken", page[-1][0]))
    if prefix:
        parts.append(node("Prefix", prefix))
    return xml_answer(node("ListAllMyBucketsResult", *parts))


def _limit(text: str | None) -> int:
    if text is None:
        return LIMIT
    if not text.isdecimal() or not 1 <= int(text) <= LIMIT:
        raise S3Error("InvalidArgument", f"max-buckets must be an integer from 1 to {LIMIT}")
    return int(text)


async def create_bucket(call: Call) -> Response:
    """PUT /bucket. The location constraint, if any, must be this server's region."""
    region = call.engine.settings.region
    wanted = await _location_constraint(call)
    if wanted and wanted != region:
        raise S3Error("InvalidLocationConstraint", f"this server is in region {region}")
    if call.headers.get("x-amz-bucket-object-lock-enabled", "").lower() == "true":
        raise S3Error("NotImplemented", "object lock is not implemented yet")
    try:
        await call.engine.buckets.create(call.bucket, call.principal)
    except BucketExists as error:
        if error.args[1] != call.principal:
            raise S3Error("BucketAlreadyExists", call.bucket) from error
        if region != DEFAULT_REGION:
            raise S3Error("BucketAlreadyOwnedByYou", call.bucket) from error
    return Response(200, [(b"location", b"/" + call.bucket.encode())], b"")


async def _location_constraint(call: Call) -> str:
    body = await read_body(call, call.engine.limits.xml_bytes)
    if not body:
        return ""
    return child_text(parse(body, "CreateBucketConfiguration"), "LocationConstraint") or ""


async def read_body(call: Call, size_max: int) -> bytes:
    """Read a small body whole, verified. Raises S3Error MaxMessageLengthExceeded and what the check raises."""
    digests = Digests(call.algorithms | {"md5"})
    pieces: list[bytes] = []
    size = 0
    async for piece in call.body:
        size += len(piece)
        if size > size_max:
            raise S3Error("MaxMessageLengthExceeded", f"over {size_max} bytes")
        digests.update(piece)
        pieces.append(piece)
    call.check(digests.results(), size)
    return b"".join(pieces)


async def delete_bucket(call: Call) -> Response:
    """DELETE /bucket."""
    await call.engine.buckets.delete(call.bucket)
    return Response(204, [], b"")


async def head_bucket(call: Call) -> Response:
    """HEAD /bucket."""
    await call.engine.buckets.get(call.bucket)
    return Response(200, [(b"x-amz-bucket-region", call.engine.settings.region.encode())], b"")


async def get_bucket_location(call: Call) -> Response:
    """GET /bucket?location. us-east-1 shows as an empty element, as at AWS."""
    await call.engine.buckets.get(call.bucket)
    region = call.engine.settings.region
    return xml_answer(node("LocationConstraint", "" if region == DEFAULT_REGION else region))


async def get_bucket_versioning(call: Call) -> Response:
    """GET /bucket?versioning: never enabled yet, which S3 shows as an empty element."""
    await call.engine.buckets.get(call.bucket)
    return xml_answer(node("VersioningConfiguration"))
