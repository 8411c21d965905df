"""boto3 against the real door: what an SDK does in a day, and the errors it must see."""

import hashlib
import os
import urllib.request

import botocore.exceptions
import pytest

MIB = 1 << 20


async def refused(endpoint, method: str, **arguments) -> tuple[int, str]:
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        await endpoint.call(method, **arguments)
    answer = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


@pytest.mark.parametrize("size", [0, 1, 5000, 300_000, 3 * MIB])
async def test_put_and_get_return_the_same_bytes_headers_and_metadata(endpoint, size):
    body = os.urandom(size)
    put = await endpoint.call(
        "put_object", Bucket="bucket", Key="a b/ü+%.txt", Body=body, ContentType="text/x", Metadata={"me": "you"}
    )
    assert put["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'
    got = await endpoint.call("head_object", Bucket="bucket", Key="a b/ü+%.txt")
    assert (got["ContentLength"], got["ContentType"], got["Metadata"]) == (size, "text/x", {"me": "you"})
    assert await endpoint.body("a b/ü+%.txt") == body


async def test_a_range_is_exact_and_an_impossible_one_is_416(endpoint):
    body = os.urandom(MIB)
    await endpoint.call("put_object", Bucket="bucket", Key="k", Body=body)
    assert await endpoint.body("k", Range="bytes=65530-65545") == body[65530:65546]
    assert await endpoint.body("k", Range="bytes=-3") == body[-3:]
    assert await refused(endpoint, "get_object", Bucket="bucket", Key="k", Range="bytes=1048576-") == (
        416,
        "InvalidRange",
    )


async def test_conditions_answer_304_and_412(endpoint):
    etag = (await endpoint.call("put_object", Bucket="bucket", Key="k", Body=b"x"))["ETag"]
    assert (await refused(endpoint, "get_object", Bucket="bucket", Key="k", IfNoneMatch=etag))[0] == 304
    assert (await refused(endpoint, "get_object", Bucket="bucket", Key="k", IfMatch='"no"'))[0] == 412
    assert (await refused(endpoint, "put_object", Bucket="bucket", Key="k", IfNoneMatch="*"))[0] == 412
    await endpoint.call("put_object", Bucket="bucket", Key="k", Body=b"y", IfMatch=etag)


async def test_what_is_not_there_is_404_with_its_own_code(endpoint):
    assert await refused(endpoint, "get_object", Bucket="bucket", Key="no") == (404, "NoSuchKey")
    assert await refused(endpoint, "get_object", Bucket="nobucket", Key="no") == (404, "NoSuchBucket")
    assert (await refused(endpoint, "head_object", Bucket="bucket", Key="no"))[0] == 404
    assert await refused(endpoint, "get_bucket_policy", Bucket="bucket") == (404, "NoSuchBucketPolicy")
    await endpoint.call("delete_object", Bucket="bucket", Key="no")


async def test_a_wrong_secret_and_an_unknown_key_are_403_and_nothing_is_stored(endpoint):
    for access, secret in [(endpoint.client.meta.events and "ROOTACCESSKEY0000001", "wrong"), ("NOBODY", "x")]:
        client = endpoint.client_for(access, secret)
        with pytest.raises(botocore.exceptions.ClientError) as caught:
            await endpoint.run(lambda: client.put_object(Bucket="bucket", Key="k", Body=b"x"))  # noqa: B023
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
        await endpoint.run(client.close)
    assert (await endpoint.call("list_objects_v2", Bucket="bucket"))["KeyCount"] == 0


async def test_an_anonymous_request_is_refused(endpoint):
    answer = await endpoint.raw(b"GET /bucket HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 403") and b"AccessDenied" in answer


async def test_a_presigned_url_grants_its_one_request(endpoint):
    await endpoint.call("put_object", Bucket="bucket", Key="k", Body=b"secret")
    url = endpoint.client.generate_presigned_url("get_object", Params={"Bucket": "bucket", "Key": "k"})

    def fetch(url: str) -> bytes:
        with urllib.request.urlopen(url) as answer:
            return answer.read()

    assert await endpoint.run(lambda: fetch(url)) == b"secret"
    with pytest.raises(urllib.error.HTTPError) as caught:
        await endpoint.run(lambda: fetch(url.replace("/k?", "/other?")))
    assert caught.value.code == 403
    caught.value.close()


async def test_listings_page_fold_and_encode(endpoint):
    keys = ["a", "a/b", "a/c", "b+c", "d e", "ü", "z//y"]
    for key in keys:
        await endpoint.call("put_object", Bucket="bucket", Key=key, Body=b"")
    listed = await endpoint.call("list_objects_v2", Bucket="bucket", MaxKeys=3)
    assert [each["Key"] for each in listed["Contents"]] == keys[:3]
    rest = await endpoint.call("list_objects_v2", Bucket="bucket", ContinuationToken=listed["NextContinuationToken"])
    assert [each["Key"] for each in rest["Contents"]] == ["b+c", "d e", "z//y", "ü"]
    folded = await endpoint.call("list_objects", Bucket="bucket", Delimiter="/")
    assert [each["Prefix"] for each in folded["CommonPrefixes"]] == ["a/", "z/"]


async def test_a_multipart_upload_becomes_one_object_with_its_checksum(endpoint):
    begun = await endpoint.call("create_multipart_upload", Bucket="bucket", Key="big", ChecksumAlgorithm="CRC32")
    upload, parts, bodies = begun["UploadId"], [], [os.urandom(5 * MIB), os.urandom(5 * MIB), b"end"]
    for number, body in enumerate(bodies, 1):
        part = await endpoint.call(
            "upload_part",
            Bucket="bucket",
            Key="big",
            UploadId=upload,
            PartNumber=number,
            Body=body,
            ChecksumAlgorithm="CRC32",
        )
        parts.append({"PartNumber": number, "ETag": part["ETag"], "ChecksumCRC32": part["ChecksumCRC32"]})
    seen = await endpoint.call("list_parts", Bucket="bucket", Key="big", UploadId=upload)
    assert [part["Size"] for part in seen["Parts"]] == [5 * MIB, 5 * MIB, 3]
    done = await endpoint.call(
        "complete_multipart_upload", Bucket="bucket", Key="big", UploadId=upload, MultipartUpload={"Parts": parts}
    )
    assert done["ETag"].endswith('-3"') and done["ChecksumCRC32"].endswith("-3")
    assert await endpoint.body("big") == b"".join(bodies)
    assert await endpoint.body("big", PartNumber=3) == b"end"
    assert await refused(endpoint, "list_parts", Bucket="bucket", Key="big", UploadId=upload) == (404, "NoSuchUpload")


async def test_copy_delete_many_and_bucket_life(endpoint):
    await endpoint.call("put_object", Bucket="bucket", Key="k", Body=b"x" * 9000, ContentType="a/b")
    await endpoint.call("copy_object", Bucket="bucket", Key="c", CopySource={"Bucket": "bucket", "Key": "k"})
    assert (await endpoint.call("head_object", Bucket="bucket", Key="c"))["ContentType"] == "a/b"
    assert await refused(endpoint, "delete_bucket", Bucket="bucket") == (409, "BucketNotEmpty")
    gone = await endpoint.call(
        "delete_objects", Bucket="bucket", Delete={"Objects": [{"Key": "k"}, {"Key": "c"}, {"Key": "never"}]}
    )
    assert sorted(each["Key"] for each in gone["Deleted"]) == ["c", "k", "never"]
    assert (await endpoint.call("list_buckets"))["Buckets"][0]["Name"] == "bucket"
    await endpoint.call("delete_bucket", Bucket="bucket")
    assert (await refused(endpoint, "head_bucket", Bucket="bucket"))[0] == 404


async def test_a_body_that_ends_early_leaves_the_old_object(endpoint):
    await endpoint.call("put_object", Bucket="bucket", Key="k", Body=b"old")
    url = endpoint.client.generate_presigned_url("put_object", Params={"Bucket": "bucket", "Key": "k"})
    path = url.split(str(endpoint.port), 1)[1]
    head = f"PUT {path} HTTP/1.1\r\nHost: 127.0.0.1:{endpoint.port}\r\nContent-Length: 5000000\r\n\r\n"
    stream = await endpoint.connect()
    async with stream:
        await stream.send_all(head.encode() + os.urandom(2_000_000))
    assert await endpoint.body("k") == b"old"


async def test_an_unknown_subresource_is_never_a_listing_nor_a_put(endpoint):
    url = endpoint.client.generate_presigned_url("list_objects_v2", Params={"Bucket": "bucket"})
    assert "X-Amz-Signature" in url
    assert await refused(
        endpoint, "put_bucket_accelerate_configuration", Bucket="bucket", AccelerateConfiguration={}
    ) == (
        501,
        "NotImplemented",
    )
    assert await refused(endpoint, "get_object_torrent", Bucket="bucket", Key="k") == (501, "NotImplemented")


async def test_an_object_that_cannot_be_read_now_is_503_before_its_body_begins_never_404(endpoint):
    await endpoint.call("put_object", Bucket="bucket", Key="k", Body=os.urandom(3 * MIB))
    for slot in (0, 1, 2):
        endpoint.engine.disks.fail(slot, "taken away by the test")
    assert await refused(endpoint, "get_object", Bucket="bucket", Key="k") == (503, "ServiceUnavailable")
