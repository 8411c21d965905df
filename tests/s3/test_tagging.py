"""Tags of objects and buckets, as clients set and read them."""

import pytest
from botocore.exceptions import ClientError

from stratum.s3.errors import S3Error
from stratum.s3.tagging import copied_tags, header_tags


def tag_set(**tags: str) -> dict:
    return {"TagSet": [{"Key": key, "Value": value} for key, value in tags.items()]}


async def tags_of(endpoint, key: str, **arguments) -> dict[str, str]:
    answer = await endpoint.call("get_object_tagging", Bucket="bucket", Key=key, **arguments)
    return {each["Key"]: each["Value"] for each in answer["TagSet"]}


async def refused(endpoint, method: str, **arguments) -> tuple[int, str]:
    with pytest.raises(ClientError) as caught:
        await endpoint.call(method, **arguments)
    answer = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ("", {}),
        ("a=b&c=d", {"a": "b", "c": "d"}),
        ("a&b=", {"a": "", "b": ""}),
        ("a%20b=%C3%A9&x=1%2B1", {"a b": "é", "x": "1+1"}),
        ("a=b=c", {"a": "b=c"}),
    ],
)
def test_the_header_is_url_encoded(text, tags):
    assert header_tags({"x-amz-tagging": text}) == tags


@pytest.mark.parametrize("text", ["a=1&a=2", "a=%FF", "&".join(f"k{number}" for number in range(101))])
def test_a_header_that_is_no_set_of_tags_is_an_invalid_argument(text):
    with pytest.raises(S3Error, match="InvalidArgument"):
        header_tags({"x-amz-tagging": text})


def test_a_copy_takes_the_tags_of_its_source_unless_told_otherwise():
    assert copied_tags({"x-amz-tagging": "a=b"}) is None
    assert copied_tags({"x-amz-tagging": "a=b", "x-amz-tagging-directive": "REPLACE"}) == {"a": "b"}
    assert copied_tags({"x-amz-tagging-directive": "REPLACE"}) == {}
    with pytest.raises(S3Error, match="InvalidArgument"):
        copied_tags({"x-amz-tagging-directive": "MERGE"})


async def test_tags_of_an_object_are_put_counted_replaced_and_deleted(endpoint):
    put = await endpoint.call("put_object", Bucket="bucket", Key="k", Body=b"x", Tagging="b=2&a=1")
    assert await tags_of(endpoint, "k") == {"a": "1", "b": "2"}
    head = await endpoint.call("head_object", Bucket="bucket", Key="k")
    assert head["TagCount"] == 2
    await endpoint.call("put_object_tagging", Bucket="bucket", Key="k", Tagging=tag_set(c="3"))
    assert await tags_of(endpoint, "k") == {"c": "3"}
    await endpoint.call("delete_object_tagging", Bucket="bucket", Key="k")
    assert await tags_of(endpoint, "k") == {}
    after = await endpoint.call("head_object", Bucket="bucket", Key="k")
    assert "TagCount" not in after
    assert (after["ETag"], after["LastModified"]) == (put["ETag"], head["LastModified"])


async def test_copies_and_uploads_carry_tags(endpoint):
    await endpoint.call("put_object", Bucket="bucket", Key="k", Body=b"x", Tagging="a=1")
    source = {"Bucket": "bucket", "Key": "k"}
    await endpoint.call("copy_object", Bucket="bucket", Key="same", CopySource=source)
    await endpoint.call(
        "copy_object", Bucket="bucket", Key="new", CopySource=source, Tagging="n=1", TaggingDirective="REPLACE"
    )
    assert (await tags_of(endpoint, "same"), await tags_of(endpoint, "new")) == ({"a": "1"}, {"n": "1"})
    upload = await endpoint.call("create_multipart_upload", Bucket="bucket", Key="m", Tagging="u=1")
    named = {"Bucket": "bucket", "Key": "m", "UploadId": upload["UploadId"]}
    part = await endpoint.call("upload_part", **named, PartNumber=1, Body=b"x")
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    await endpoint.call("complete_multipart_upload", **named, MultipartUpload=parts)
    assert await tags_of(endpoint, "m") == {"u": "1"}


async def test_each_version_has_its_own_tags(endpoint):
    enabled = {"Status": "Enabled"}
    await endpoint.call("put_bucket_versioning", Bucket="bucket", VersioningConfiguration=enabled)
    old = await endpoint.call("put_object", Bucket="bucket", Key="k", Body=b"1", Tagging="v=1")
    await endpoint.call("put_object", Bucket="bucket", Key="k", Body=b"2", Tagging="v=2")
    version = old["VersionId"]
    changed = await endpoint.call(
        "put_object_tagging", Bucket="bucket", Key="k", VersionId=version, Tagging=tag_set(v="one")
    )
    assert changed["VersionId"] == version
    assert await tags_of(endpoint, "k") == {"v": "2"}
    assert await tags_of(endpoint, "k", VersionId=version) == {"v": "one"}


async def test_bad_tags_change_nothing(endpoint):
    await endpoint.call("put_object", Bucket="bucket", Key="k", Body=b"x", Tagging="a=1")
    many = tag_set(**{str(number): "" for number in range(11)})
    for tagging in (many, tag_set(**{"aws:x": "1"}), tag_set(**{"k" * 129: ""})):
        wrong = {"Bucket": "bucket", "Key": "k", "Tagging": tagging}
        assert await refused(endpoint, "put_object_tagging", **wrong) == (400, "InvalidTag")
    assert await refused(endpoint, "put_object", Bucket="bucket", Key="k", Body=b"y", Tagging="a=1&a=2") == (
        400,
        "InvalidArgument",
    )
    assert await tags_of(endpoint, "k") == {"a": "1"} and await endpoint.body("k") == b"x"
    assert await refused(endpoint, "get_object_tagging", Bucket="bucket", Key="none") == (404, "NoSuchKey")


async def test_tags_of_a_bucket(endpoint):
    assert await refused(endpoint, "get_bucket_tagging", Bucket="bucket") == (404, "NoSuchTagSet")
    fifty = tag_set(**{f"k{number:02}": str(number) for number in range(50)})
    await endpoint.call("put_bucket_tagging", Bucket="bucket", Tagging=fifty)
    assert (await endpoint.call("get_bucket_tagging", Bucket="bucket"))["TagSet"] == fifty["TagSet"]
    one_more = {"TagSet": [*fifty["TagSet"], {"Key": "more", "Value": ""}]}
    assert await refused(endpoint, "put_bucket_tagging", Bucket="bucket", Tagging=one_more) == (400, "InvalidTag")
    await endpoint.call("delete_bucket_tagging", Bucket="bucket")
    assert await refused(endpoint, "get_bucket_tagging", Bucket="bucket") == (404, "NoSuchTagSet")
    assert await refused(endpoint, "put_bucket_tagging", Bucket="nobucket", Tagging=fifty) == (404, "NoSuchBucket")
