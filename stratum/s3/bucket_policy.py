"""Bucket policies: stored as they were written, refused when they are not understood.

Room: stratum/s3. May import: core.{errors, policy, policy_public, principals, records}, engine, s3.*.

Invariants
    B1  What is stored has been parsed. A stored policy that cannot be parsed is damage: nothing is granted (500).
    B2  Nobody locks himself out by mistake: a policy that denies its author to change it needs his word that he means
        it. The root of the owner's account, and the operator, may change a policy whatever it says, unless its author
        gave that word.

Source: docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketPolicy.html, API_GetBucketPolicyStatus.html
"""

import trio

from stratum.core.errors import CorruptRecord, MalformedPolicy
from stratum.core.policy import ARN, KIND, AccessRequest, Policy, PolicyText, Verdict, evaluate, parse_policy
from stratum.core.policy_conditions import Context
from stratum.core.policy_public import is_public
from stratum.core.principals import Principal
from stratum.core.records import Acl, Bucket
from stratum.engine.engine import Engine
from stratum.engine.parsing import parsed
from stratum.s3.answers import xml_answer
from stratum.s3.call import Call
from stratum.s3.errors import S3Error
from stratum.s3.http import Response
from stratum.s3.public_access import block_of
from stratum.s3.small_body import read_whole
from stratum.s3.xml import node

CONFIRM = "x-amz-confirm-remove-self-bucket-access"
PUBLIC_GROUPS = ("group:AllUsers", "group:AuthenticatedUsers")


def policy_of(engine: Engine, bucket: str) -> Policy | None:
    """The policy that is in force, for deciding about a request. Raises CorruptRecord: then nothing may be granted."""
    stored = engine.configurations.read(bucket, KIND, PolicyText)
    return None if stored is None else _parsed(stored, bucket)


def keeps_the_policy(principal: Principal, bucket: Bucket, stored: PolicyText | None) -> bool:
    """May `principal` read, replace and delete the policy whatever the policy says (B2)?"""
    return _rules(principal, bucket) and not (stored is not None and stored.confirmed)


def _rules(principal: Principal, bucket: Bucket) -> bool:
    owner = bucket.owner in (principal.user, principal.account_id) and principal.root
    return principal.operator or owner


def _parsed(stored: PolicyText, bucket: str) -> Policy:
    try:
        return parse_policy(stored.text, bucket)
    except MalformedPolicy as error:
        raise CorruptRecord(f"the policy of bucket {bucket} cannot be read") from error


async def put_bucket_policy(call: Call) -> Response:
    """PUT /bucket?policy. Raises MalformedPolicy; AccessDenied for a public one where those are blocked (and B2)."""
    body = await read_whole(call.payload, call.engine.limits.xml_bytes)
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise MalformedPolicy("Policies must be valid JSON and the first byte must be '{'") from error
    policy = await parsed(text, call.bucket)
    bucket = await call.engine.buckets.get(call.bucket)
    if block_of(call.engine, call.bucket).block_public_policy and await trio.to_thread.run_sync(is_public, policy):
        message = "Public policies are prevented by the BlockPublicPolicy setting of the public access block."
        raise S3Error("AccessDenied", message)
    confirmed = call.headers.get(CONFIRM, "").lower() == "true"
    principal = call.principal
    if not confirmed and not _rules(principal, bucket):
        _refuse_lockout(policy, principal, call.bucket)
    await call.engine.configurations.put(call.bucket, KIND, PolicyText(text, confirmed))
    return Response(204)


def _refuse_lockout(policy: Policy, principal: Principal, bucket: str) -> None:
    context: Context = {}
    asked = AccessRequest(principal=principal, action="s3:PutBucketPolicy", resource=ARN + bucket, context=context)
    if evaluate([policy], asked) is Verdict.DENY:
        raise S3Error("AccessDenied", f"The policy denies you to change it; {CONFIRM}: true says that you mean it.")


async def get_bucket_policy(call: Call) -> Response:
    """GET /bucket?policy: the text, byte for byte."""
    stored = await call.engine.configurations.get(call.bucket, KIND, PolicyText)
    if stored is None:
        raise S3Error("NoSuchBucketPolicy", BucketName=call.bucket)
    return Response(200, [(b"content-type", b"application/json")], stored.text.encode())


async def delete_bucket_policy(call: Call) -> Response:
    """DELETE /bucket?policy: 204 also if there was none."""
    await call.engine.configurations.delete(call.bucket, KIND)
    return Response(204)


async def get_bucket_policy_status(call: Call) -> Response:
    """GET /bucket?policyStatus: is the bucket public, by its policy or by its ACL?

    AWS answers 404 where there is no policy, even if the ACL is public; we say what is true in that case too.
    """
    bucket = await call.engine.buckets.get(call.bucket)
    stored = await call.engine.configurations.get(call.bucket, KIND, PolicyText)
    by_policy = False
    if stored is not None:  # in a thread: a large policy takes longer than the event loop may be held
        by_policy = await trio.to_thread.run_sync(lambda: is_public(_parsed(stored, call.bucket)))
    by_acl = has_public_grant(bucket.acl) and not block_of(call.engine, call.bucket).ignore_public_acls
    return xml_answer(node("PolicyStatus", node("IsPublic", "true" if by_policy or by_acl else "false")))


def has_public_grant(acl: Acl | None) -> bool:
    """Does an ACL grant anything to everyone, or to everyone who has an account?"""
    return acl is not None and any(grant.grantee in PUBLIC_GROUPS for grant in acl.grants)
