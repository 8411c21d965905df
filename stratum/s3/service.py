"""Requests about the service and about whole buckets.

Room: stratum/s3. May import: core, engine, s3.{answers, call, errors, http, xml}.
"""

from stratum.core.acl import BUCKET_CANNED, KIND, WRITER, Ownership
from stratum.core.errors import BucketExists
from stratum.core.records import Acl, Bucket
from stratum.s3.acl_words import header_acl
from stratum.s3.answers import person_nodes, xml_answer
from stratum.s3.call import Call
from stratum.s3.errors import S3Error
from stratum.s3.headers import iso_date
from stratum.s3.http import Response
from stratum.s3.ownership import HEADER, check_enforceable, new_ownership
from stratum.s3.small_body import read_whole
from stratum.s3.xml import child_text, node, parse

DEFAULT_REGION = "us-east-1"  # where S3 answers a second creation by the owner with 200
LIMIT = 10_000


async def list_buckets(call: Call) -> Response:
    """GET /: the buckets of who asks. Paged by max-buckets and continuation-token, filtered by prefix."""
    limit = _limit(call.query.get("max-buckets"))
    prefix, after = call.query.get("prefix", ""), call.query.get("continuation-token", "")
    found = [
        (name, bucket)
        for name, bucket in await call.engine.buckets.list()
        if name.startswith(prefix) and name > after and _is_own(call, bucket)
    ]
    page = found[:limit]
    shown = [
        node("Bucket", node("Name", name), node("CreationDate", iso_date(bucket.created))) for name, bucket in page
    ]
    owner = call.principal.account_id
    parts = [node("Owner", *person_nodes(owner, call.engine.users.name_of(owner))), node("Buckets", *shown)]
    if len(found) > limit:
        parts.append(node("ContinuationToken", page[-1][0]))
    if prefix:
        parts.append(node("Prefix", prefix))
    return xml_answer(node("ListAllMyBucketsResult", *parts))


def _is_own(call: Call, bucket: Bucket) -> bool:
    return call.engine.users.owner_of(bucket.owner) == call.principal.account_id


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
    lock = call.headers.get("x-amz-bucket-object-lock-enabled", "").lower() == "true"
    owner, rule, meant = call.principal.account_id, new_ownership(call), header_acl(call, BUCKET_CANNED)
    acl = None if meant is None else meant(owner, owner)
    check_enforceable(rule, acl, owner)
    told = {KIND: Ownership(rule)} if HEADER in call.headers or rule != WRITER else {}
    try:
        await call.engine.buckets.create(call.bucket, owner, lock=lock, acl=acl, told=told)
    except BucketExists as error:
        if not await _is_the_same(call, owner, acl):
            raise S3Error("BucketAlreadyExists", call.bucket) from error
        if region != DEFAULT_REGION:
            raise S3Error("BucketAlreadyOwnedByYou", call.bucket) from error
    return Response(200, [(b"location", b"/" + call.bucket.encode())], b"")


async def _is_the_same(call: Call, owner: str, acl: Acl | None) -> bool:
    """Is the bucket that exists the one that was asked for? AWS would reset its ACL; nothing is changed here."""
    bucket = await call.engine.buckets.get(call.bucket)
    return call.engine.users.owner_of(bucket.owner) == owner and bucket.acl == acl


async def _location_constraint(call: Call) -> str:
    body = await read_whole(call.payload, call.engine.limits.xml_bytes)
    if not body:
        return ""
    return child_text(parse(body, "CreateBucketConfiguration"), "LocationConstraint") or ""


async def delete_bucket(call: Call) -> Response:
    """DELETE /bucket."""
    await call.engine.buckets.delete(call.bucket)
    return Response(204, [], b"")


async def head_bucket(call: Call) -> Response:
    """HEAD /bucket."""
    await call.engine.buckets.get(call.bucket)
    return Response(200, [(b"x-amz-bucket-region", call.engine.settings.region.encode())], b"")


async def get_bucket_location(call: Call) -> Response:
    """GET /bucket?location: the region's name. (AWS shows us-east-1 as an empty element; no client minds the name.)"""
    await call.engine.buckets.get(call.bucket)
    region = call.engine.settings.region
    return xml_answer(node("LocationConstraint", region))


async def get_unset(call: Call) -> Response:
    """GET of a configuration that nobody stored: its own "there is none", once the bucket or key exists."""
    await _must_exist(call)
    unset = call.route.unset
    if unset is None or unset.code:
        raise S3Error(unset.code if unset is not None else "NoSuchConfiguration")
    return Response(200, [(b"content-type", b"application/xml")], unset.document)


async def delete_unset(call: Call) -> Response:
    """DELETE of a configuration that nobody stored."""
    await _must_exist(call)
    return Response(204)


async def _must_exist(call: Call) -> None:
    if call.key:
        await call.engine.objects.head(call.bucket, call.key)
    else:
        await call.engine.buckets.get(call.bucket)
