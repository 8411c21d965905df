"""ACLs, as far as they exist without policies: everything belongs to its owner alone.

Room: stratum/s3. May import: core, engine, s3.{answers, call, errors, http, xml}.

Anything but `private` is refused: a grant that is accepted and then ignored would be a lie.
"""

from stratum.s3.answers import owner_node
from stratum.s3.call import Call
from stratum.s3.errors import S3Error
from stratum.s3.http import Response
from stratum.s3.xml import NAMESPACE, Node, node, render

XSI = "http://www.w3.org/2001/XMLSchema-instance"
PRIVATE = ("", "private", "bucket-owner-full-control", "bucket-owner-read")


def refuse_grants(call: Call) -> None:
    """Raise S3Error NotImplemented for an ACL header that would let others in."""
    granted = [name for name in call.headers if name.startswith("x-amz-grant-")]
    if granted or call.headers.get("x-amz-acl", "") not in PRIVATE:
        raise S3Error("NotImplemented", "Only the canned ACL private is implemented.")


async def get_bucket_acl(call: Call) -> Response:
    """GET /bucket?acl."""
    await call.engine.buckets.get(call.bucket)
    return _private()


async def get_object_acl(call: Call) -> Response:
    """GET /bucket/key?acl."""
    await call.engine.objects.head(call.bucket, call.key)
    return _private()


async def put_bucket_acl(call: Call) -> Response:
    """PUT /bucket?acl, `private` by header only."""
    await call.engine.buckets.get(call.bucket)
    return _accept(call)


async def put_object_acl(call: Call) -> Response:
    """PUT /bucket/key?acl, `private` by header only."""
    await call.engine.objects.head(call.bucket, call.key)
    return _accept(call)


def _accept(call: Call) -> Response:
    refuse_grants(call)
    if not call.headers.get("x-amz-acl"):
        raise S3Error("NotImplemented", "Only the canned ACL private is implemented.")
    return Response(200)


def _private() -> Response:
    owner = owner_node()
    grantee = f'<Grantee xmlns:xsi="{XSI}" xsi:type="CanonicalUser"><ID>stratum</ID>'
    grantee += "<DisplayName>stratum</DisplayName></Grantee>"
    body = render(node("AccessControlPolicy", owner, node("AccessControlList", _grant())), NAMESPACE)
    body = body.replace(b"<Grantee></Grantee>", grantee.encode()).replace(b"<Grantee/>", grantee.encode())
    return Response(200, [(b"content-type", b"application/xml")], body)


def _grant() -> Node:
    return node("Grant", node("Grantee"), node("Permission", "FULL_CONTROL"))
