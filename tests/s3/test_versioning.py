"""Versioning as a client sees it, over the wire."""

import pytest
from botocore.exceptions import ClientError

B = "bucket"


async def enable(endpoint, status="Enabled"):
    await endpoint.call("put_bucket_versioning", Bucket=B, VersioningConfiguration={"Status": status})


async def put(endpoint, key, body):
    return (await endpoint.call("put_object", Bucket=B, Key=key, Body=body)).get("VersionId")


async def refused(endpoint, method, **arguments):
    with pytest.raises(ClientError) as caught:
        await endpoint.call(method, Bucket=B, **arguments)
    response = caught.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"], response


async def test_a_fresh_bucket_has_no_versioning_and_names_no_versions(endpoint):
    assert "Status" not in await endpoint.call("get_bucket_versioning", Bucket=B)
    assert await put(endpoint, "k", b"1") is None


async def test_every_version_stays_readable_until_it_is_deleted_by_its_id(endpoint):
    await put(endpoint, "k", b"before")
    await enable(endpoint)
    assert (await endpoint.call("get_bucket_versioning", Bucket=B))["Status"] == "Enabled"
    first, second = await put(endpoint, "k", b"one"), await put(endpoint, "k", b"two")
    assert await endpoint.body("k") == b"two"
    assert await endpoint.body("k", VersionId=first) == b"one"
    assert await endpoint.body("k", VersionId="null") == b"before"
    deleted = await endpoint.call("delete_object", Bucket=B, Key="k", VersionId=second)
    assert deleted["VersionId"] == second
    assert (await endpoint.call("head_object", Bucket=B, Key="k"))["VersionId"] == first
    assert (await refused(endpoint, "get_object", Key="k", VersionId=second))[:2] == (404, "NoSuchVersion")


async def test_a_delete_marker_hides_the_object_and_says_so(endpoint):
    await enable(endpoint)
    version = await put(endpoint, "k", b"one")
    marker = await endpoint.call("delete_object", Bucket=B, Key="k")
    assert marker["DeleteMarker"] is True
    status, code, response = await refused(endpoint, "get_object", Key="k")
    assert (status, code) == (404, "NoSuchKey")
    assert response["ResponseMetadata"]["HTTPHeaders"]["x-amz-delete-marker"] == "true"
    assert (await refused(endpoint, "get_object", Key="k", VersionId=marker["VersionId"]))[:2] == (
        405,
        "MethodNotAllowed",
    )
    assert "Contents" not in await endpoint.call("list_objects_v2", Bucket=B)
    await endpoint.call("delete_object", Bucket=B, Key="k", VersionId=marker["VersionId"])
    assert (await endpoint.call("head_object", Bucket=B, Key="k"))["VersionId"] == version


async def test_a_suspended_bucket_writes_the_null_version(endpoint):
    await enable(endpoint)
    kept = await put(endpoint, "k", b"kept")
    await enable(endpoint, "Suspended")
    assert await put(endpoint, "k", b"null 1") is None
    assert await put(endpoint, "k", b"null 2") is None
    assert (await endpoint.call("head_object", Bucket=B, Key="k"))["VersionId"] == "null"
    listed = await endpoint.call("list_object_versions", Bucket=B)
    assert [(each["VersionId"], each["IsLatest"]) for each in listed["Versions"]] == [("null", True), (kept, False)]


async def test_a_copy_may_name_a_version_of_its_source(endpoint):
    await enable(endpoint)
    first = await put(endpoint, "k", b"one")
    await put(endpoint, "k", b"two")
    source = {"Bucket": B, "Key": "k", "VersionId": first}
    answer = await endpoint.call("copy_object", Bucket=B, Key="copy", CopySource=source)
    assert answer["CopySourceVersionId"] == first
    assert await endpoint.body("copy") == b"one"


async def test_a_bucket_with_versions_is_not_empty(endpoint):
    await enable(endpoint)
    await put(endpoint, "k", b"one")
    await endpoint.call("delete_object", Bucket=B, Key="k")
    assert (await refused(endpoint, "delete_bucket"))[:2] == (409, "BucketNotEmpty")


async def test_several_versions_are_deleted_in_one_request(endpoint):
    await enable(endpoint)
    versions = [await put(endpoint, "k", b"%d" % number) for number in range(3)]
    named = [{"Key": "k", "VersionId": version} for version in versions[:2]]
    answer = await endpoint.call("delete_objects", Bucket=B, Delete={"Objects": [*named, {"Key": "other"}]})
    assert [each.get("VersionId") for each in answer["Deleted"][:2]] == versions[:2]
    assert answer["Deleted"][2]["DeleteMarker"] is True
    listed = await endpoint.call("list_object_versions", Bucket=B)
    assert [each["VersionId"] for each in listed["Versions"]] == versions[2:]
    assert [each["Key"] for each in listed["DeleteMarkers"]] == ["other"]


async def test_what_is_no_version_id_is_refused(endpoint):
    assert (await refused(endpoint, "get_object", Key="k", VersionId="nonsense"))[:2] == (400, "InvalidArgument")


@pytest.mark.parametrize("method", ["get_object", "head_object", "delete_object", "get_object_tagging"])
async def test_an_empty_version_id_means_no_version_and_never_the_current_one(endpoint, method):
    await put(endpoint, "k", b"x")
    code = "400" if method == "head_object" else "InvalidArgument"
    assert (await refused(endpoint, method, Key="k", VersionId=""))[:2] == (400, code)
    assert await endpoint.body("k", B) == b"x"


async def test_a_delete_of_many_says_of_what_is_no_version_id_that_there_is_no_such_version(endpoint):
    await put(endpoint, "k", b"x")
    named = [{"Key": "k", "VersionId": version} for version in ("", "rubbish", "null ")]
    answer = await endpoint.call("delete_objects", Bucket=B, Delete={"Objects": named})
    assert [(each["Key"], each["Code"]) for each in answer["Errors"]] == [("k", "NoSuchVersion")] * 3
    assert await endpoint.body("k", B) == b"x"
