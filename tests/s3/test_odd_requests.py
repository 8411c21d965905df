"""Odd requests that clients, pages and proxies really send, answered as AWS answers them."""

from email.header import decode_header

import pytest
from botocore.exceptions import ClientError

PAST, FUTURE = "Sat, 01 Jan 2000 00:00:00 GMT", "Sat, 01 Jan 2050 00:00:00 GMT"


async def presigned(endpoint, method="get_object", verb="GET", headers="", body=b"", **parameters):
    """(status, headers and body) of a presigned request with further headers."""
    client = endpoint.client
    url = client.generate_presigned_url(method, Params={"Bucket": "bucket", **parameters})
    head = f"{verb} {url.removeprefix(endpoint.url)} HTTP/1.1\r\nHost: 127.0.0.1:{endpoint.port}\r\n{headers}"
    sent = f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body
    answer = await endpoint.raw(sent)
    return int(answer.split(b" ", 2)[1]), answer


async def error_of(endpoint, method, **arguments):
    with pytest.raises(ClientError) as caught:
        await endpoint.call(method, Bucket="bucket", **arguments)
    return caught.value.response["Error"]


# --- reads ----------------------------------------------------------------------------------------------------


async def test_a_range_goes_on_only_with_the_object_that_if_range_names(endpoint):
    etag = (await endpoint.call("put_object", Bucket="bucket", Key="k", Body=b"0123456789"))["ETag"]
    head = await endpoint.call("head_object", Bucket="bucket", Key="k")
    modified = head["ResponseMetadata"]["HTTPHeaders"]["last-modified"]
    expected = {etag: 206, modified: 206, '"other"': 200, f"W/{etag}": 200, PAST: 200, FUTURE: 200, "rubbish": 200}
    for validator, status in expected.items():
        found, answer = await presigned(endpoint, Key="k", headers=f"Range: bytes=2-3\r\nIf-Range: {validator}\r\n")
        assert (found, answer.endswith(b"\r\n\r\n" + (b"23" if status == 206 else b"0123456789"))) == (status, True)
    found, _ = await presigned(endpoint, Key="k", headers='Range: bytes=50-\r\nIf-Range: "other"\r\n')
    assert found == 200, "what lies beyond the end of another object"


async def test_errors_say_which_condition_and_which_range(endpoint):
    await endpoint.call("put_object", Bucket="bucket", Key="k", Body=b"0123456789")
    assert (await error_of(endpoint, "get_object", Key="k", IfMatch='"x"'))["Condition"] == "If-Match"
    assert (await error_of(endpoint, "put_object", Key="k", IfNoneMatch="*"))["Condition"] == "If-None-Match"
    copy = {"Key": "c", "CopySource": "bucket/k", "CopySourceIfMatch": '"x"'}
    assert (await error_of(endpoint, "copy_object", **copy))["Condition"] == "x-amz-copy-source-If-Match"
    found = await error_of(endpoint, "get_object", Key="k", Range="bytes=20-30")
    assert (found["RangeRequested"], found["ActualObjectSize"]) == ("bytes=20-30", "10")
    upload = (await endpoint.call("create_multipart_upload", Bucket="bucket", Key="k"))["UploadId"]
    parts = {"Parts": [{"PartNumber": 7, "ETag": "x"}]}
    found = await error_of(endpoint, "complete_multipart_upload", Key="k", UploadId=upload, MultipartUpload=parts)
    assert "could not be found" in found["Message"] and "part 7" in found["Message"]


async def test_a_copy_source_that_was_encoded_as_a_whole_is_found(endpoint):
    await endpoint.call("put_object", Bucket="bucket", Key="a/b c", Body=b"x")

    def encoded(request, **_):
        request.headers.replace_header("x-amz-copy-source", "bucket%2Fa%2Fb%20c")

    endpoint.client.meta.events.register("before-sign.s3.CopyObject", encoded)
    await endpoint.call("copy_object", Bucket="bucket", Key="c", CopySource="bucket/replaced")
    assert await endpoint.body("c") == b"x"


@pytest.mark.parametrize("versioning", [None, "Enabled", "Suspended"])
async def test_the_marker_that_a_page_of_versions_ends_with_is_taken_by_the_next(endpoint, versioning):
    await endpoint.call("create_bucket", Bucket="bucket")
    if versioning:
        status = {"Status": versioning}
        await endpoint.call("put_bucket_versioning", Bucket="bucket", VersioningConfiguration=status)
    for key in ("a", "b", "b", "c"):
        await endpoint.call("put_object", Bucket="bucket", Key=key, Body=key)
    whole = (await endpoint.call("list_object_versions", Bucket="bucket"))["Versions"]
    found, after = [], {}
    while after is not None:
        page = await endpoint.call("list_object_versions", Bucket="bucket", MaxKeys=1, **after)
        found += page["Versions"]
        more = page["IsTruncated"]
        after = {"KeyMarker": page["NextKeyMarker"], "VersionIdMarker": page["NextVersionIdMarker"]} if more else None
    assert found == whole and len(whole) == (4 if versioning == "Enabled" else 3)


async def test_a_marker_that_is_no_version_id_does_not_hide_versions(endpoint):
    status = {"Status": "Enabled"}
    await endpoint.call("put_bucket_versioning", Bucket="bucket", VersioningConfiguration=status)
    for body in (b"1", b"2"):
        await endpoint.call("put_object", Bucket="bucket", Key="k", Body=body)
    found = await error_of(endpoint, "list_object_versions", KeyMarker="k", VersionIdMarker="bogus")
    assert found["Code"] == "InvalidArgument"


# --- writes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("coding", ["utf-8", "latin-1"])
async def test_metadata_that_is_not_ascii_comes_back_as_in_mails(endpoint, coding):
    await endpoint.call("put_bucket_acl", Bucket="bucket", ACL="public-read-write")
    head = f"PUT /bucket/k HTTP/1.1\r\nHost: 127.0.0.1:{endpoint.port}\r\nContent-Length: 0\r\nConnection: close\r\n"
    answer = await endpoint.raw(head.encode() + b"x-amz-meta-name: " + "grün".encode(coding) + b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    shown = (await endpoint.call("head_object", Bucket="bucket", Key="k"))["Metadata"]["name"]
    assert shown.isascii()
    assert [(part.decode(kind)) for part, kind in decode_header(shown)] == ["grün"]


@pytest.mark.parametrize(("framing", "status"), [("", 411), ("Content-Length: 0\r\n", 200), ("chunked", 200)])
async def test_a_put_that_does_not_say_how_many_bytes_it_has_is_refused(endpoint, framing, status):
    await endpoint.call("put_bucket_acl", Bucket="bucket", ACL="public-read-write")
    body = b""
    if framing == "chunked":
        framing, body = "Transfer-Encoding: chunked\r\n", b"1\r\nx\r\n0\r\n\r\n"
    head = f"PUT /bucket/k HTTP/1.1\r\nHost: 127.0.0.1:{endpoint.port}\r\n{framing}Connection: close\r\n\r\n"
    answer = await endpoint.raw(head.encode() + body)
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert status == 200 or b"MissingContentLength" in answer


async def test_metadata_that_is_not_ascii_may_come_by_a_form_too(endpoint):
    conditions = [["starts-with", "$x-amz-meta-name", ""]]
    form = endpoint.client.generate_presigned_post("bucket", "k", {"x-amz-meta-name": "Ã grün"}, conditions)["fields"]
    parts = [f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in form.items()]
    body = "".join([*parts, '--x\r\nContent-Disposition: form-data; name="file"\r\n\r\nb\r\n--x--\r\n']).encode()
    head = f"POST /bucket HTTP/1.1\r\nHost: 127.0.0.1:{endpoint.port}\r\nConnection: close\r\n"
    head += f"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: {len(body)}\r\n\r\n"
    assert (await endpoint.raw(head.encode() + body)).startswith(b"HTTP/1.1 204 ")
    shown = (await endpoint.call("head_object", Bucket="bucket", Key="k"))["Metadata"]["name"]
    assert [part.decode(kind) for part, kind in decode_header(shown)] == ["Ã grün"]
