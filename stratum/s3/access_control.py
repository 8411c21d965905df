"""ACLs: said by headers or as a document, stored with a bucket or a version, shown.

Room: stratum/s3. May import: core, engine, s3.{acl_words, authorisation, call, errors, http, owners, small_body, xml}.

Invariants
    C1  What is stored names users there are, by id: an e-mail address is looked up once, when it is given.
    C2  A grant that would not count (BucketOwnerEnforced) or that is blocked is refused, never dropped.

Source: docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketAcl.html, API_PutObjectAcl.html
"""

import msgspec

from stratum.core.access import Ground
from stratum.core.acl import (
    BUCKET_CANNED,
    ENFORCED,
    FULL_CONTROL,
    OBJECT_CANNED,
    OWNER_FULL_CONTROL,
    PREFERRED,
    grants_of,
    is_public_acl,
)
from stratum.core.records import Acl, Bucket, Grant, Inode
from stratum.s3.acl_words import CANNED, Meant, document_acl, header_acl, header_grants, says_acl, shown_acl
from stratum.s3.authorisation import check_again
from stratum.s3.call import Call
from stratum.s3.errors import S3Error
from stratum.s3.http import Response
from stratum.s3.owners import Owners
from stratum.s3.small_body import read_whole

# --- what is being made -----------------------------------------------------------------------------------------


async def acl_of_new(call: Call) -> tuple[str, Acl | None]:
    """(owner as it is stored, ACL) of an object that is about to be stored.

    The owner is empty where it is the bucket's. Raises AccessControlListNotSupported, InvalidArgument, AccessDenied.
    """
    if call.principal.operator and not says_acl(call.headers):
        return "", None
    ground = call.engine.grounds.of(call.bucket, call.principal)
    if ground.ownership == ENFORCED:
        _check_enforced(call, ground.owner)
        return "", None
    meant = header_acl(call, OBJECT_CANNED)
    owner = _owner_of_new(call, ground)
    acl = None if meant is None else meant(owner or ground.owner, ground.owner)
    _check_block(ground, acl)
    if owner and not ground.foreign:
        await call.engine.buckets.amend(call.bucket, _with_foreign)
    return owner, acl


def _owner_of_new(call: Call, ground: Ground) -> str:
    """Who writes, unless that is nobody, or acts for the bucket's owner, or gives it away."""
    principal = call.principal
    given = ground.ownership == PREFERRED and call.headers.get(CANNED) == OWNER_FULL_CONTROL
    own = principal.anonymous or principal.operator or principal.account_id == ground.owner
    return "" if own or given else principal.account_id


def _with_foreign(bucket: Bucket) -> Bucket:
    return msgspec.structs.replace(bucket, foreign=True)


def _check_enforced(call: Call, owner: str) -> None:
    """Only what is so anyway may be said."""
    if not says_acl(call.headers):
        return
    granted = header_grants(call)
    harmless = (Grant(f"id:{owner}", FULL_CONTROL),)
    if call.headers.get(CANNED, OWNER_FULL_CONTROL) != OWNER_FULL_CONTROL or granted not in ((), harmless):
        raise S3Error("AccessControlListNotSupported")


def _check_block(ground: Ground, acl: Acl | None) -> None:
    if ground.block.block_public_acls and is_public_acl(acl):
        message = "Public access control lists are prevented by the BlockPublicAcls setting."
        raise S3Error("AccessDenied", message)


# --- ACLs as sub-resources --------------------------------------------------------------------------------------


async def get_bucket_acl(call: Call) -> Response:
    """GET /bucket?acl."""
    bucket = await call.engine.buckets.get(call.bucket)
    owners = Owners(call)
    acl = None if _enforced(call) else bucket.acl
    return shown_acl(call, owners.bucket, grants_of(acl, owners.bucket))


async def get_object_acl(call: Call) -> Response:
    """GET /bucket/key?acl."""
    view = await call.engine.objects.head(call.bucket, call.key, call.version)
    owner = Owners(call).of(view.inode.owner)
    acl = None if _enforced(call) else view.inode.acl
    return shown_acl(call, owner, grants_of(acl, owner))


async def put_bucket_acl(call: Call) -> Response:
    """PUT /bucket?acl, by headers or by a document."""
    meant = await _meant(call, BUCKET_CANNED)
    owners = Owners(call)
    acl = meant(owners.bucket, owners.bucket)
    _check_block(call.engine.grounds.of(call.bucket, call.principal), acl)
    await call.engine.buckets.amend(call.bucket, lambda bucket: msgspec.structs.replace(bucket, acl=acl))
    return Response(200)


async def put_object_acl(call: Call) -> Response:
    """PUT /bucket/key?acl, by headers or by a document, of one version."""
    meant = await _meant(call, OBJECT_CANNED)
    owners = Owners(call)
    ground = call.engine.grounds.of(call.bucket, call.principal)

    def change(inode: Inode) -> Inode:
        acl = meant(owners.of(inode.owner), owners.bucket)
        _check_block(ground, acl)
        return msgspec.structs.replace(inode, acl=acl)

    await call.engine.objects.amend(call.bucket, call.key, call.version, change, "ObjectAcl:Put")
    return Response(200)


def _enforced(call: Call) -> bool:
    return call.engine.grounds.of(call.bucket, call.principal).ownership == ENFORCED


async def _meant(call: Call, canned: dict[str, tuple[tuple[str, str], ...]]) -> Meant:
    """The ACL that a request to set one asks for. Raises AccessControlListNotSupported, MissingSecurityHeader ..."""
    if _enforced(call):
        raise S3Error("AccessControlListNotSupported")
    said = header_acl(call, canned)
    body = await read_whole(call.payload, call.engine.limits.xml_bytes)
    await check_again(call)
    if said is not None:
        if body:
            raise S3Error("UnexpectedContent")
        return said
    if not body:
        raise S3Error("MissingSecurityHeader", MissingHeaderName=CANNED)
    return document_acl(call, body)
