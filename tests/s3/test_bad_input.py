"""Hostile keys, XML, headers and bodies: a clear answer, nothing stored, and the next request works."""

import random
from urllib.parse import unquote_plus

import botocore.exceptions
import pytest

from tests.s3.test_door import refused

HOSTILE_KEYS = [
    "..",
    "../../etc/passwd",
    "a/../b",
    "./a",
    ".",
    "//",
    "/",
    "/leading",
    "trailing/",
    "a//b",
    "a/./b",
    "%2e%2e/%2f",
    "a\\b",
    "con:nul*?",
    "new\nline",
    "tab\tand \x7f",
    "'\"<>&;",
    "+ +",
    "\u202e\u0301é",
    "\U0001f4a9" * 20,
    "x" * 1024,
    "é" * 512,
    "a/" * 512,
    ".stratum",
    "stratum-disk.json",
]


async def test_every_hostile_key_comes_back_as_itself(endpoint):
    for number, key in enumerate(HOSTILE_KEYS):
        await endpoint.call("put_object", Bucket="bucket", Key=key, Body=b"%d" % number)
    for number, key in enumerate(HOSTILE_KEYS):
        assert await endpoint.body(key) == b"%d" % number, key
    listed = await endpoint.call("list_objects_v2", Bucket="bucket", EncodingType="url")
    shown = [each["Key"] for each in listed["Contents"]]
    assert sorted(map(unquote_plus, shown)) == sorted(HOSTILE_KEYS)
    for key in HOSTILE_KEYS:
        await endpoint.call("delete_object", Bucket="bucket", Key=key)
    assert (await endpoint.call("list_objects_v2", Bucket="bucket"))["KeyCount"] == 0


async def test_a_key_that_is_too_long_is_refused_by_name(endpoint):
    assert await refused(endpoint, "put_object", Bucket="bucket", Key="x" * 1025, Body=b"") == (400, "KeyTooLongError")


async def test_metadata_over_two_kibibytes_is_refused(endpoint):
    assert await refused(endpoint, "put_object", Bucket="bucket", Key="k", Metadata={"a": "x" * 2100}) == (
        400,
        "MetadataTooLarge",
    )


async def test_a_wrong_digest_is_refused_and_nothing_is_stored(endpoint):
    wrong = [
        ({"ContentMD5": "1B2M2Y8AsgTpgAmY7PhCfg=="}, "BadDigest"),
        ({"ContentMD5": "nonsense"}, "InvalidDigest"),
        ({"ChecksumCRC32": "AAAAAA=="}, "BadDigest"),
        ({"ChecksumSHA256": "AAAA"}, "InvalidRequest"),
    ]
    for arguments, code in wrong:
        assert await refused(endpoint, "put_object", Bucket="bucket", Key="k", Body=b"body", **arguments) == (400, code)
    assert (await endpoint.call("list_objects_v2", Bucket="bucket"))["KeyCount"] == 0


async def _post(endpoint, operation: str, body: bytes, **params) -> tuple[int, bytes]:
    """Send a body of our own for an operation, through a presigned URL (its payload is not signed)."""
    url = endpoint.client.generate_presigned_url(operation, Params=params)
    target = url.split(str(endpoint.port), 1)[1]
    method = "PUT" if operation.startswith("put") else "POST"
    head = (
        f"{method} {target} HTTP/1.1\r\nHost: 127.0.0.1:{endpoint.port}\r\nContent-Length: {len(body)}\r\n"
        "Connection: close\r\n\r\n"
    )
    answer = await endpoint.raw(head.encode() + body)
    return int(answer.split()[1]), answer


BAD_XML = [
    b"",
    b"<",
    b"<a/>",
    b"<CompleteMultipartUpload>",
    b"<CompleteMultipartUpload><Part><PartNumber>x</PartNumber><ETag>e</ETag></Part></CompleteMultipartUpload>",
    b"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber></Part></CompleteMultipartUpload>",
    b"<CompleteMultipartUpload></CompleteMultipartUpload>",
    b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><CompleteMultipartUpload>&e;</CompleteMultipartUpload>',
    b"<CompleteMultipartUpload>" + b"<a>" * 5000 + b"</a>" * 5000 + b"</CompleteMultipartUpload>",
    b"\xff\xfe\x00<",
    b"<CompleteMultipartUpload>"
    + b"<Part><PartNumber>1</PartNumber><ETag>e</ETag></Part>" * 10_001
    + b"</CompleteMultipartUpload>",
]


async def test_bad_xml_is_malformed_xml_and_the_upload_stays(endpoint):
    upload = (await endpoint.call("create_multipart_upload", Bucket="bucket", Key="k"))["UploadId"]
    for body in BAD_XML:
        status, answer = await _post(
            endpoint, "complete_multipart_upload", body, Bucket="bucket", Key="k", UploadId=upload
        )
        assert status == 400 and b"<Code>MalformedXML</Code>" in answer, (body[:60], answer[-300:])
    assert (await endpoint.call("list_multipart_uploads", Bucket="bucket"))["Uploads"][0]["UploadId"] == upload


async def test_a_delete_of_more_than_a_thousand_keys_is_refused_whole(endpoint):
    await endpoint.call("put_object", Bucket="bucket", Key="0", Body=b"")
    objects = [{"Key": str(i)} for i in range(1001)]
    code = await refused(endpoint, "delete_objects", Bucket="bucket", Delete={"Objects": objects})
    assert code == (400, "MalformedXML")
    assert (await endpoint.call("list_objects_v2", Bucket="bucket"))["KeyCount"] == 1


async def test_xml_over_its_cap_is_refused(endpoint):
    upload = (await endpoint.call("create_multipart_upload", Bucket="bucket", Key="k"))["UploadId"]
    status, answer = await _post(
        endpoint, "complete_multipart_upload", b"<a>" * (1 << 21), Bucket="bucket", Key="k", UploadId=upload
    )
    assert status == 400 and b"MaxMessageLengthExceeded" in answer


@pytest.mark.parametrize(
    "arguments",
    [
        {"method": "list_objects_v2", "MaxKeys": -1},
        {"method": "list_objects_v2", "ContinuationToken": "%%%"},
        {"method": "upload_part", "Key": "k", "PartNumber": 10_001, "UploadId": "u"},
        {"method": "upload_part", "Key": "k", "PartNumber": 0, "UploadId": "u"},
    ],
    ids=str,
)
async def test_arguments_out_of_range_are_invalid_argument(endpoint, arguments):
    method, more = arguments["method"], {name: arguments[name] for name in arguments if name != "method"}
    assert await refused(endpoint, method, Bucket="bucket", **more) == (400, "InvalidArgument")


async def test_bucket_names_that_s3_forbids_are_refused(endpoint):
    for name in ("ab", "Abc", "a..b", "192.168.0.1", "xn--abc", "-abc", "a" * 64):
        path = f"/{name}"
        answer = await endpoint.raw(f"PUT {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        assert answer.startswith(b"HTTP/1.1 403"), name  # not even told without a signature
    with pytest.raises((botocore.exceptions.ClientError, botocore.exceptions.ParamValidationError)):
        await endpoint.call("create_bucket", Bucket="a..b")


async def test_garbage_on_the_wire_never_takes_the_server_down(endpoint):
    dice = random.Random(7)
    for _ in range(40):
        noise = dice.randbytes(dice.randrange(1, 400))
        await endpoint.raw(noise + b"\r\n\r\n", patience=0.2)
        await endpoint.raw(b"PUT /bucket/k HTTP/1.1\r\n" + noise + b"\r\n\r\n", patience=0.2)
    await endpoint.call("put_object", Bucket="bucket", Key="k", Body=b"still here")
    assert await endpoint.body("k") == b"still here"


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        ({"ServerSideEncryption": "aws:kms:dsse"}, (501, "NotImplemented")),
        ({"StorageClass": "GLACIER"}, (400, "InvalidStorageClass")),
        ({"ACL": "public-reed"}, (400, "InvalidArgument")),
        ({"ExpectedBucketOwner": "123456789012"}, (403, "AccessDenied")),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
async def test_what_is_not_served_is_refused_and_nothing_is_stored(endpoint, arguments, answer):
    assert await refused(endpoint, "put_object", Bucket="bucket", Key="k", Body=b"x", **arguments) == answer
    assert (await endpoint.call("list_objects_v2", Bucket="bucket"))["KeyCount"] == 0
