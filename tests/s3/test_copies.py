"""Copies of objects and of parts: their sources, versions and conditions."""

from datetime import UTC, datetime

import pytest
from botocore.exceptions import ClientError

PAST, LATER = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)


async def refused(endpoint, method: str, **arguments) -> tuple[int, str]:
    with pytest.raises(ClientError) as caught:
        await endpoint.call(method, **arguments)
    answer = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


async def put(endpoint, body: bytes, key: str = "k", **more):
    return await endpoint.call("put_object", Bucket="bucket", Key=key, Body=body, **more)


async def with_versioning(endpoint) -> None:
    enabled = {"Status": "Enabled"}
    await endpoint.call("put_bucket_versioning", Bucket="bucket", VersioningConfiguration=enabled)


async def copying_part(endpoint) -> dict:
    upload = await endpoint.call("create_multipart_upload", Bucket="bucket", Key="m")
    return {"Bucket": "bucket", "Key": "m", "UploadId": upload["UploadId"], "PartNumber": 1}


async def test_an_older_version_can_be_the_source_of_a_copy_and_of_a_part(endpoint):
    await with_versioning(endpoint)
    old = (await put(endpoint, b"old"))["VersionId"]
    await put(endpoint, b"new")
    source = {"Bucket": "bucket", "Key": "k", "VersionId": old}
    copied = await endpoint.call("copy_object", Bucket="bucket", Key="copy", CopySource=source)
    assert copied["CopySourceVersionId"] == old and await endpoint.body("copy") == b"old"
    await endpoint.call("copy_object", Bucket="bucket", Key="k", CopySource=source)  # brought back
    assert await endpoint.body("k") == b"old"
    part = await endpoint.call("upload_part_copy", **await copying_part(endpoint), CopySource=source)
    assert part["CopySourceVersionId"] == old and part["CopyPartResult"]["ETag"] == copied["CopyObjectResult"]["ETag"]


async def test_a_delete_marker_is_no_source(endpoint):
    await with_versioning(endpoint)
    await put(endpoint, b"x")
    marker = (await endpoint.call("delete_object", Bucket="bucket", Key="k"))["VersionId"]
    part = await copying_part(endpoint)
    for source, answer in (
        ({"Bucket": "bucket", "Key": "k"}, (404, "NoSuchKey")),
        ({"Bucket": "bucket", "Key": "k", "VersionId": marker}, (400, "InvalidRequest")),
        ({"Bucket": "bucket", "Key": "k", "VersionId": "0" * 32}, (404, "NoSuchVersion")),
        ({"Bucket": "nobucket", "Key": "k"}, (404, "NoSuchBucket")),
    ):
        assert await refused(endpoint, "copy_object", Bucket="bucket", Key="c", CopySource=source) == answer
        assert await refused(endpoint, "upload_part_copy", **part, CopySource=source) == answer


@pytest.mark.parametrize(
    ("condition", "good"),
    [
        ({"CopySourceIfMatch": "right"}, True),
        ({"CopySourceIfMatch": "wrong"}, False),
        ({"CopySourceIfNoneMatch": "wrong"}, True),
        ({"CopySourceIfNoneMatch": "right"}, False),
        ({"CopySourceIfModifiedSince": PAST}, True),
        ({"CopySourceIfModifiedSince": LATER}, False),
        ({"CopySourceIfUnmodifiedSince": LATER}, True),
        ({"CopySourceIfUnmodifiedSince": PAST}, False),
        ({"CopySourceIfMatch": "right", "CopySourceIfUnmodifiedSince": PAST}, True),
        ({"CopySourceIfNoneMatch": "right", "CopySourceIfModifiedSince": PAST}, False),
    ],
)
async def test_copies_are_conditional_on_their_source(endpoint, condition, good):
    etags = {"right": (await put(endpoint, b"x"))["ETag"], "wrong": '"0"'}
    given = {name: etags.get(value, value) for name, value in condition.items()}
    source = {"CopySource": {"Bucket": "bucket", "Key": "k"}, **given}
    part = await copying_part(endpoint)
    if good:
        await endpoint.call("copy_object", Bucket="bucket", Key="c", **source)
        await endpoint.call("upload_part_copy", **part, **source)
    else:
        failed = (412, "PreconditionFailed")
        assert await refused(endpoint, "copy_object", Bucket="bucket", Key="c", **source) == failed
        assert await refused(endpoint, "upload_part_copy", **part, **source) == failed


@pytest.mark.parametrize(
    ("wanted", "answer"),
    [
        ("bytes=0-5", (416, "InvalidRange")),
        ("bytes=9-9", (416, "InvalidRange")),
        ("bytes=3-2", (400, "InvalidArgument")),
        ("bytes=-2", (400, "InvalidArgument")),
        ("0-2", (400, "InvalidArgument")),
    ],
)
async def test_a_range_of_a_part_must_be_inside_its_source(endpoint, wanted, answer):
    await put(endpoint, b"12345")
    part = {**await copying_part(endpoint), "CopySource": {"Bucket": "bucket", "Key": "k"}, "CopySourceRange": wanted}
    assert await refused(endpoint, "upload_part_copy", **part) == answer


async def test_a_copy_of_a_multipart_object_still_has_its_parts(endpoint):
    part = await copying_part(endpoint)
    sent = await endpoint.call("upload_part", **part, Body=b"12345")
    named = {name: part[name] for name in ("Bucket", "Key", "UploadId")}
    parts = {"Parts": [{"PartNumber": 1, "ETag": sent["ETag"]}]}
    made = await endpoint.call("complete_multipart_upload", **named, MultipartUpload=parts)
    source = {"Bucket": "bucket", "Key": "m"}
    copied = await endpoint.call("copy_object", Bucket="bucket", Key="c", CopySource=source)
    assert copied["CopyObjectResult"]["ETag"] == made["ETag"]
    assert (await endpoint.call("head_object", Bucket="bucket", Key="c", PartNumber=1))["PartsCount"] == 1


async def test_a_copy_takes_metadata_from_its_source_or_from_the_request(endpoint):
    await put(endpoint, b"x", Metadata={"a": "1"}, ContentType="text/a", CacheControl="no-store")
    source = {"CopySource": {"Bucket": "bucket", "Key": "k"}, "Bucket": "bucket"}
    await endpoint.call("copy_object", **source, Key="same", Metadata={"ignored": "1"}, ContentType="text/b")
    replaced = {"MetadataDirective": "REPLACE", "Metadata": {"b": "2"}, "ContentType": "text/b"}
    await endpoint.call("copy_object", **source, Key="other", **replaced)
    same = await endpoint.call("head_object", Bucket="bucket", Key="same")
    other = await endpoint.call("head_object", Bucket="bucket", Key="other")
    assert (same["Metadata"], same["ContentType"], same["CacheControl"]) == ({"a": "1"}, "text/a", "no-store")
    assert (other["Metadata"], other["ContentType"], "CacheControl" in other) == ({"b": "2"}, "text/b", False)
