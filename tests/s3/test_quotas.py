"""Quotas as clients of S3 see them."""

import pytest
from botocore.exceptions import ClientError


async def refused(endpoint, method: str, **arguments) -> tuple[int, str]:
    with pytest.raises(ClientError) as caught:
        await endpoint.call(method, **arguments)
    answer = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


async def test_what_goes_over_the_quota_is_refused_as_other_stores_do(endpoint):
    await endpoint.engine.quotas.set(bucket="bucket", bytes_max=1000)
    one = {"Bucket": "bucket", "Key": "k"}
    await endpoint.call("put_object", **one, Body=bytes(900))
    other = {"Bucket": "bucket", "Key": "other"}
    assert await refused(endpoint, "put_object", **other, Body=bytes(101)) == (403, "QuotaExceeded")
    assert await refused(endpoint, "copy_object", **other, CopySource="bucket/k") == (403, "QuotaExceeded")
    upload = (await endpoint.call("create_multipart_upload", **other))["UploadId"]
    part = {**other, "UploadId": upload, "PartNumber": 1}
    assert await refused(endpoint, "upload_part", **part, Body=bytes(101)) == (403, "QuotaExceeded")
    assert await refused(endpoint, "upload_part_copy", **part, CopySource="bucket/k") == (403, "QuotaExceeded")
    await endpoint.call("upload_part", **part, Body=bytes(100))
    await endpoint.call("delete_object", **one)
    await endpoint.call("put_object", **one, Body=bytes(900))
    assert len(await endpoint.body("k")) == 900
