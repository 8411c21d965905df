"""Bucket policies, through a real client."""

import json
from types import SimpleNamespace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum.core.errors import CorruptRecord
from stratum.core.policy import KIND, AccessRequest, PolicyText, Verdict, evaluate
from stratum.core.principals import ANONYMOUS, OPERATOR, Principal
from stratum.core.records import Bucket
from stratum.s3.bucket_policy import keeps_the_policy, policy_of, put_bucket_policy
from stratum.s3.errors import S3Error
from tests.s3.test_public_access import put_block, refused

DENY_SELF = ["s3:GetBucketPolicy", "s3:PutBucketPolicy", "s3:DeleteBucketPolicy"]


def document(effect="Allow", principal="*", action="s3:GetObject", **more) -> str:
    statement = {"Effect": effect, "Principal": principal, "Action": action}
    return json.dumps(
        {"Version": "2012-10-17", "Statement": [statement | {"Resource": "arn:aws:s3:::bucket/*"} | more]}
    )


async def put(endpoint, text: str, **more) -> None:
    answer = await endpoint.call("put_bucket_policy", Bucket="bucket", Policy=text, **more)
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 204


async def test_a_policy_comes_back_as_it_was_written_and_is_gone_once_deleted(endpoint):
    assert await refused(endpoint, "get_bucket_policy", Bucket="bucket") == (404, "NoSuchBucketPolicy")
    text = " \n" + document(Sid="Grüße 世界").replace(", ", " ,\t")
    await put(endpoint, text)
    assert (await endpoint.call("get_bucket_policy", Bucket="bucket"))["Policy"] == text
    for _ in range(2):
        gone = await endpoint.call("delete_bucket_policy", Bucket="bucket")
        assert gone["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert await refused(endpoint, "get_bucket_policy", Bucket="bucket") == (404, "NoSuchBucketPolicy")
    assert policy_of(endpoint.engine, "bucket") is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not JSON",
        "[]",
        document(action="s3:GetObjekt"),
        document(Resource="arn:aws:s3:::another/*"),
        document(Condition={"StringEquals": {"aws:SauceIp": "10.0.0.1"}}),
        document(Sid="x" * 20480),
    ],
)
async def test_what_is_not_understood_is_refused_and_what_was_there_stays(endpoint, text):
    await put(endpoint, document())
    malformed = await refused(endpoint, "put_bucket_policy", Bucket="bucket", Policy=text)
    assert malformed == (400, "MalformedPolicy")
    assert (await endpoint.call("get_bucket_policy", Bucket="bucket"))["Policy"] == document()


async def test_the_status_tells_whether_the_public_gets_in(endpoint):
    async def public() -> bool:
        return (await endpoint.call("get_bucket_policy_status", Bucket="bucket"))["PolicyStatus"]["IsPublic"]

    assert await public() is False
    await put(endpoint, document())
    assert await public() is True
    await put(endpoint, document(Condition={"IpAddress": {"aws:SourceIp": "203.0.113.0/24"}}))
    assert await public() is False
    await put(endpoint, document(effect="Deny"))
    assert await public() is False


async def test_a_public_policy_is_refused_where_those_are_blocked(endpoint):
    await put_block(endpoint, BlockPublicPolicy=True)
    assert await refused(endpoint, "put_bucket_policy", Bucket="bucket", Policy=document()) == (403, "AccessDenied")
    await put(endpoint, document(principal={"AWS": "arn:aws:iam::friends:root"}))


async def test_a_policy_of_a_bucket_that_is_not_there_is_no_such_bucket(endpoint):
    for method in ("get_bucket_policy", "get_bucket_policy_status", "delete_bucket_policy"):
        assert await refused(endpoint, method, Bucket="nobody-made-me") == (404, "NoSuchBucket")


async def test_a_stored_policy_that_cannot_be_read_grants_nothing(endpoint):
    await endpoint.engine.configurations.put("bucket", KIND, PolicyText('{"Statement": []}'))
    with pytest.raises(CorruptRecord):
        policy_of(endpoint.engine, "bucket")
    assert (await refused(endpoint, "get_bucket_policy_status", Bucket="bucket"))[0] == 500
    await endpoint.engine.configurations.put("bucket", KIND, ("of", "another", "shape"))
    with pytest.raises(CorruptRecord):
        policy_of(endpoint.engine, "bucket")


async def test_the_word_that_its_author_may_be_locked_out_is_remembered(endpoint):
    text = document(effect="Deny", action=DENY_SELF, Resource="arn:aws:s3:::bucket")
    for word in (False, True):
        await put(endpoint, text, ConfirmRemoveSelfBucketAccess=word)
        stored = endpoint.engine.configurations.read("bucket", KIND, PolicyText)
        assert stored == PolicyText(text, word)
        asked = AccessRequest(
            principal=OPERATOR, action="s3:PutBucketPolicy", resource="arn:aws:s3:::bucket", context={}
        )
        assert evaluate([policy_of(endpoint.engine, "bucket")], asked) is Verdict.DENY


class Body:
    """A request body that has been checked already."""

    algorithms = frozenset()

    def __init__(self, text: str) -> None:
        self.body = self._pieces(text.encode())

    async def _pieces(self, content: bytes):
        yield content

    def check(self, digests: object, size: int) -> None:
        pass


@pytest.mark.parametrize(
    ("principal", "headers", "stored"),
    [
        (Principal(user="4f1e", account="acme"), {}, False),
        (Principal(user="4f1e", account="acme"), {"x-amz-confirm-remove-self-bucket-access": "false"}, False),
        (Principal(user="4f1e", account="acme"), {"x-amz-confirm-remove-self-bucket-access": "true"}, True),
        (Principal(user="other"), {}, False),
        (Principal(user="acme"), {}, True),
        (OPERATOR, {}, True),
    ],
)
async def test_nobody_locks_himself_out_without_his_word_but_who_stands_above(endpoint, principal, headers, stored):
    await endpoint.engine.buckets.amend("bucket", lambda bucket: msgspec.structs.replace(bucket, owner="acme"))
    text = document(effect="Deny", action="s3:*", Resource="arn:aws:s3:::bucket")
    call = SimpleNamespace(
        engine=endpoint.engine, bucket="bucket", headers=headers, payload=Body(text), principal=principal
    )
    if stored:
        assert (await put_bucket_policy(call)).status == 204
        return
    with pytest.raises(S3Error, match="AccessDenied"):
        await put_bucket_policy(call)
    assert policy_of(endpoint.engine, "bucket") is None


users = st.sampled_from(["", "ann", "bob", "acme"])


@given(users, users, users, st.booleans())
def test_only_the_root_of_the_owners_account_and_the_operator_stand_above_a_policy(user, account, owner, confirmed):
    principal = Principal(user=user, account=account) if user else ANONYMOUS
    bucket = Bucket(root=1, created=1, owner=owner)
    root_of_owner = bool(user) and account in ("", user) and owner == user
    stored = PolicyText("{}", confirmed)
    assert keeps_the_policy(principal, bucket, stored) is (root_of_owner and not confirmed)
    assert keeps_the_policy(OPERATOR, bucket, stored) is not confirmed
    assert keeps_the_policy(OPERATOR, bucket, None)
