"""Deletes with a condition: one key, one version, many keys at once."""

from datetime import UTC, datetime

import pytest
from botocore.exceptions import ClientError

OTHER_TIME = datetime(2015, 1, 1, tzinfo=UTC)


async def refused(endpoint, method: str, **arguments) -> tuple[int, str]:
    with pytest.raises(ClientError) as caught:
        await endpoint.call(method, **arguments)
    answer = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


async def put(endpoint, key: str = "k") -> tuple[str, datetime, str | None]:
    """(ETag, Last-Modified, version) of a new object of 3 bytes."""
    made = await endpoint.call("put_object", Bucket="bucket", Key=key, Body=b"abc")
    head = await endpoint.call("head_object", Bucket="bucket", Key=key)
    return made["ETag"], head["LastModified"], made.get("VersionId")


async def with_versioning(endpoint) -> None:
    enabled = {"Status": "Enabled"}
    await endpoint.call("put_bucket_versioning", Bucket="bucket", VersioningConfiguration=enabled)


@pytest.mark.parametrize("versioned", [False, True])
async def test_a_delete_takes_only_the_object_it_means(endpoint, versioned):
    if versioned:
        await with_versioning(endpoint)
    one = {"Bucket": "bucket", "Key": "k"}
    etag, modified, _ = await put(endpoint)
    for wrong in ({"IfMatch": '"other"'}, {"IfMatchSize": 4}, {"IfMatchLastModifiedTime": OTHER_TIME}):
        assert await refused(endpoint, "delete_object", **one, **wrong) == (412, "PreconditionFailed")
    right = {"IfMatch": etag, "IfMatchSize": 3, "IfMatchLastModifiedTime": modified}
    gone = await endpoint.call("delete_object", **one, **right)
    assert gone.get("DeleteMarker", False) is versioned
    assert await refused(endpoint, "head_object", **one) == (404, "404")


async def test_a_conditional_delete_of_what_is_not_there_does_nothing(endpoint):
    await with_versioning(endpoint)
    for condition in ({"IfMatch": "*"}, {"IfMatch": '"e"'}, {"IfMatchSize": 4}):
        answer = await endpoint.call("delete_object", Bucket="bucket", Key="none", **condition)
        assert "DeleteMarker" not in answer
    assert "DeleteMarkers" not in await endpoint.call("list_object_versions", Bucket="bucket")


async def test_a_delete_marker_has_no_etag_and_no_size(endpoint):
    await with_versioning(endpoint)
    await put(endpoint)
    one = {"Bucket": "bucket", "Key": "k"}
    await endpoint.call("delete_object", **one)
    for wrong in ({"IfMatch": '"e"'}, {"IfMatchSize": 3}):
        assert await refused(endpoint, "delete_object", **one, **wrong) == (412, "PreconditionFailed")
    assert (await endpoint.call("delete_object", **one, IfMatch="*"))["DeleteMarker"]


async def test_the_condition_is_on_the_version_that_is_named(endpoint):
    await with_versioning(endpoint)
    etag, _, version = await put(endpoint)
    await endpoint.call("put_object", Bucket="bucket", Key="k", Body=b"newer")
    one = {"Bucket": "bucket", "Key": "k", "VersionId": version}
    assert await refused(endpoint, "delete_object", **one, IfMatchSize=5) == (412, "PreconditionFailed")
    await endpoint.call("delete_object", **one, IfMatch=etag, IfMatchSize=3)
    await endpoint.call("delete_object", **one, IfMatch='"other"')  # gone already
    assert await endpoint.body("k") == b"newer"


async def test_each_of_many_keys_has_its_own_condition(endpoint):
    etag, modified, _ = await put(endpoint, "a")
    for key in "bcdef":
        await put(endpoint, key)
    objects = [
        {"Key": "a", "ETag": etag, "Size": 3, "LastModifiedTime": modified},
        {"Key": "b", "ETag": '"other"'},
        {"Key": "c", "Size": 4},
        {"Key": "d", "LastModifiedTime": OTHER_TIME},
        {"Key": "e", "ETag": "*"},
        {"Key": "f"},
        {"Key": "none", "ETag": '"other"'},
    ]
    answer = await endpoint.call("delete_objects", Bucket="bucket", Delete={"Objects": objects})
    assert {each["Key"] for each in answer["Deleted"]} == {"a", "e", "f", "none"}
    assert {(each["Key"], each["Code"]) for each in answer["Errors"]} == {(key, "PreconditionFailed") for key in "bcd"}
    listed = await endpoint.call("list_objects_v2", Bucket="bucket")
    assert [each["Key"] for each in listed["Contents"]] == ["b", "c", "d"]


async def test_a_write_may_be_conditional_on_any_etag(endpoint):
    etag, _, _ = await put(endpoint)
    one = {"Bucket": "bucket", "Key": "k", "Body": b"new"}
    assert await refused(endpoint, "put_object", **one, IfNoneMatch=etag) == (412, "PreconditionFailed")
    assert await refused(endpoint, "put_object", **one, IfNoneMatch="*") == (412, "PreconditionFailed")
    assert await refused(endpoint, "put_object", **one, IfMatch='"other"') == (412, "PreconditionFailed")
    await endpoint.call("put_object", **one, IfMatch="*")
    await endpoint.call("put_object", **one, IfNoneMatch=etag)
    missing = {"Bucket": "bucket", "Key": "none", "Body": b"new"}
    assert await refused(endpoint, "put_object", **missing, IfMatch="*") == (404, "NoSuchKey")
    await endpoint.call("put_object", **missing, IfNoneMatch=etag)
