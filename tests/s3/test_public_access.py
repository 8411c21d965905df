"""The public access block of a bucket, through a real client."""

import pytest
from botocore.exceptions import ClientError

from stratum.core.public_access import KIND, NO_BLOCK, PublicAccessBlock
from stratum.s3.errors import S3Error
from stratum.s3.public_access import block_of, parse_block
from stratum.s3.xml import node

NAMES = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")


async def refused(endpoint, method: str, **arguments) -> tuple[int, str]:
    with pytest.raises(ClientError) as caught:
        await endpoint.call(method, **arguments)
    response = caught.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]


async def put_block(endpoint, **switches: bool) -> None:
    await endpoint.call("put_public_access_block", Bucket="bucket", PublicAccessBlockConfiguration=switches)


async def test_a_bucket_has_no_block_at_first_and_deleting_none_is_no_error(endpoint):
    await endpoint.call("delete_public_access_block", Bucket="bucket")
    missing = await refused(endpoint, "get_public_access_block", Bucket="bucket")
    assert missing == (404, "NoSuchPublicAccessBlockConfiguration")
    assert block_of(endpoint.engine, "bucket") == NO_BLOCK


async def test_what_was_put_is_got_and_gone_once_deleted(endpoint):
    for on in NAMES:
        await put_block(endpoint, **{on: True})
        answer = await endpoint.call("get_public_access_block", Bucket="bucket")
        assert answer["PublicAccessBlockConfiguration"] == {name: name == on for name in NAMES}
    await endpoint.call("delete_public_access_block", Bucket="bucket")
    assert (await refused(endpoint, "get_public_access_block", Bucket="bucket"))[0] == 404


async def test_the_block_of_a_bucket_that_is_not_there_is_no_such_bucket(endpoint):
    for method in ("get_public_access_block", "delete_public_access_block"):
        assert await refused(endpoint, method, Bucket="nobody-made-me") == (404, "NoSuchBucket")


async def test_a_block_goes_with_its_bucket(endpoint):
    await endpoint.call("create_bucket", Bucket="short-lived")
    await endpoint.engine.configurations.put("short-lived", KIND, PublicAccessBlock(True, True, True, True))
    await endpoint.call("delete_bucket", Bucket="short-lived")
    await endpoint.call("create_bucket", Bucket="short-lived")
    assert block_of(endpoint.engine, "short-lived") == NO_BLOCK


@pytest.mark.parametrize(
    "switches",
    [
        [("BlockPublicAcls", "yes")],
        [("BlockPublicAcls", "")],
        [("BlockPublicAcls", "true"), ("BlockPublicAcls", "false")],
        [("BlockEverything", "true")],
    ],
)
def test_what_is_not_one_of_four_switches_is_malformed(switches):
    with pytest.raises(S3Error, match="MalformedXML"):
        parse_block(node("PublicAccessBlockConfiguration", *(node(name, text) for name, text in switches)))
