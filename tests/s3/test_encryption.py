"""Encryption at rest through boto3: what is asked for is done, shown where S3 shows it, else refused."""

import base64
import hashlib

import pytest
from botocore.exceptions import ClientError

MIB = 1 << 20
ONE, TWO = (hashlib.sha256(name).digest() for name in (b"one", b"two"))


def sse_c(key: bytes, prefix: str = "") -> dict:
    return {f"{prefix}SSECustomerAlgorithm": "AES256", f"{prefix}SSECustomerKey": key}


def source(key: bytes) -> dict:
    return sse_c(key, "CopySource")


def content_of(size: int) -> bytes:
    block = hashlib.sha512(b"seed").digest() * 1024
    return (block * (size // len(block) + 1))[:size]


async def refused(endpoint, method: str, **arguments) -> tuple[int, str, str]:
    with pytest.raises(ClientError) as caught:
        await endpoint.call(method, **arguments)
    answer = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"], answer["Error"].get("Message", "")


MODES = {
    "plain": {},
    "SSE-S3": {"ServerSideEncryption": "AES256"},
    "SSE-KMS": {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "invoices"},
    "SSE-C": sse_c(ONE),
}
READS = {"SSE-C": sse_c(ONE)}
SHOWS = {
    "plain": {},
    "SSE-S3": {"ServerSideEncryption": "AES256"},
    "SSE-KMS": {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "invoices"},
    "SSE-C": {"SSECustomerAlgorithm": "AES256"},
}
NAMES = ("ServerSideEncryption", "SSEKMSKeyId", "SSECustomerAlgorithm")
every_mode = pytest.mark.parametrize("mode", MODES)


def shown(answer: dict) -> dict:
    return {name: answer[name] for name in NAMES if name in answer}


@pytest.fixture
async def sealing(endpoint):
    await endpoint.engine.keys.create("invoices")
    return endpoint


@every_mode
@pytest.mark.parametrize("size", [0, 1, 3000, 65536, 200_000, 3 * MIB + 17])
async def test_bytes_come_back_and_every_answer_says_how_they_are_kept(sealing, mode, size):
    body, read = content_of(size), READS.get(mode, {})
    put = await sealing.call("put_object", Bucket="bucket", Key="k", Body=body, **MODES[mode])
    head = await sealing.call("head_object", Bucket="bucket", Key="k", **read)
    assert shown(put) == shown(head) == SHOWS[mode]
    assert head["ContentLength"] == size
    assert put["ETag"] == head["ETag"]
    is_md5 = put["ETag"].strip('"') == hashlib.md5(body).hexdigest()
    assert is_md5 == (mode in ("plain", "SSE-S3"))
    assert await sealing.body("k", **read) == body
    listed = await sealing.call("list_objects_v2", Bucket="bucket")
    assert [(each["Size"], each["ETag"]) for each in listed["Contents"]] == [(size, put["ETag"])]


@every_mode
async def test_ranges_parts_and_suffixes_are_those_of_the_plain_bytes(sealing, mode):
    body, read = content_of(MIB + 1234), READS.get(mode, {})
    await sealing.call("put_object", Bucket="bucket", Key="k", Body=body, **MODES[mode])
    for asked, wanted in {
        "bytes=0-0": body[:1],
        "bytes=65535-65536": body[65535:65537],
        "bytes=-5": body[-5:],
        "bytes=1000000-": body[1_000_000:],
        "bytes=100-700000": body[100:700_001],
    }.items():
        answer = await sealing.call("get_object", Bucket="bucket", Key="k", Range=asked, **read)
        assert await sealing.run(answer["Body"].read) == wanted
        assert answer["ContentRange"].endswith(f"/{len(body)}")
    assert (await refused(sealing, "get_object", Bucket="bucket", Key="k", Range=f"bytes={len(body)}-", **read))[
        0
    ] == 416


@every_mode
async def test_multipart_uploads_are_sealed_part_by_part(sealing, mode):
    read = READS.get(mode, {})
    pieces = [content_of(5 * MIB + 1), content_of(5 * MIB), b"the end"]
    made = await sealing.call("create_multipart_upload", Bucket="bucket", Key="k", **MODES[mode])
    upload = {"Bucket": "bucket", "Key": "k", "UploadId": made["UploadId"]}
    assert shown(made) == SHOWS[mode]
    parts = []
    for number, piece in enumerate([b"replaced", *pieces]):
        part = await sealing.call("upload_part", **upload, PartNumber=max(number, 1), Body=piece, **read)
        assert shown(part) == SHOWS[mode]
        parts = [*parts, {"PartNumber": number, "ETag": part["ETag"]}] if number else []
    done = await sealing.call("complete_multipart_upload", **upload, MultipartUpload={"Parts": parts}, **read)
    body = b"".join(pieces)
    head = await sealing.call("head_object", Bucket="bucket", Key="k", **read)
    assert head["ETag"] == done["ETag"] and head["ETag"].endswith('-3"')
    assert (head["ContentLength"], shown(head)) == (len(body), SHOWS[mode])
    assert await sealing.body("k", **read) == body
    for number, piece in enumerate(pieces, 1):
        answer = await sealing.call("get_object", Bucket="bucket", Key="k", PartNumber=number, **read)
        assert await sealing.run(answer["Body"].read) == piece
    at = 5 * MIB - 3
    assert await sealing.body("k", Range=f"bytes={at}-{at + 99}", **read) == body[at : at + 100]


@every_mode
@pytest.mark.parametrize("target", MODES)
async def test_a_copy_is_kept_as_the_copy_asks_whatever_the_source_is(sealing, mode, target):
    body = content_of(300_000)
    put = await sealing.call("put_object", Bucket="bucket", Key="a", Body=body, Metadata={"m": "1"}, **MODES[mode])
    to = sse_c(TWO) if target == "SSE-C" else MODES[target]
    read = sse_c(TWO) if target == "SSE-C" else {}
    given = source(ONE) if mode == "SSE-C" else {}
    copied = await sealing.call("copy_object", Bucket="bucket", Key="b", CopySource="bucket/a", **to, **given)
    assert shown(copied) == SHOWS[target]
    head = await sealing.call("head_object", Bucket="bucket", Key="b", **read)
    assert (head["Metadata"], head["ContentLength"], shown(head)) == ({"m": "1"}, len(body), SHOWS[target])
    assert head["ETag"] == copied["CopyObjectResult"]["ETag"]
    if target in ("plain", "SSE-S3"):
        assert head["ETag"].strip('"') == hashlib.md5(body).hexdigest()
    assert await sealing.body("b", **read) == body
    await sealing.call("delete_object", Bucket="bucket", Key="a")
    assert await sealing.body("b", Range="bytes=70000-70009", **read) == body[70_000:70_010]
    assert put["ETag"]


@every_mode
@pytest.mark.parametrize("target", MODES)
async def test_a_part_is_copied_from_any_source_into_any_upload(sealing, mode, target):
    body = content_of(5 * MIB + 77)
    await sealing.call("put_object", Bucket="bucket", Key="a", Body=body, **MODES[mode])
    to = sse_c(TWO) if target == "SSE-C" else MODES[target]
    with_key = sse_c(TWO) if target == "SSE-C" else {}
    given = source(ONE) if mode == "SSE-C" else {}
    made = await sealing.call("create_multipart_upload", Bucket="bucket", Key="b", **to)
    upload = {"Bucket": "bucket", "Key": "b", "UploadId": made["UploadId"]}
    parts = []
    for number, span in enumerate(((0, 5 * MIB - 1), (5 * MIB - 10, 5 * MIB + 76)), 1):
        part = await sealing.call(
            "upload_part_copy",
            **upload,
            PartNumber=number,
            CopySource="bucket/a",
            CopySourceRange=f"bytes={span[0]}-{span[1]}",
            **with_key,
            **given,
        )
        assert shown(part) == SHOWS[target]
        parts.append({"PartNumber": number, "ETag": part["CopyPartResult"]["ETag"]})
    await sealing.call("complete_multipart_upload", **upload, MultipartUpload={"Parts": parts}, **with_key)
    assert await sealing.body("b", **with_key) == body[: 5 * MIB] + body[5 * MIB - 10 :]


async def test_an_object_under_a_customers_key_opens_with_that_key_alone(sealing):
    await sealing.call("put_object", Bucket="bucket", Key="k", Body=b"mine", **sse_c(ONE))
    for method in ("get_object", "head_object"):
        assert (await refused(sealing, method, Bucket="bucket", Key="k"))[0] == 400
        assert (await refused(sealing, method, Bucket="bucket", Key="k", **sse_c(TWO)))[0] == 400
    attributes = {"Bucket": "bucket", "Key": "k", "ObjectAttributes": ["ETag", "ObjectSize"]}
    assert (await refused(sealing, "get_object_attributes", **attributes))[0] == 400
    client = with_headers(sealing, "GetObjectAttributes", FULL)  # botocore does not encode the key for this operation
    assert (await sealing.run(lambda: client.get_object_attributes(**attributes)))["ObjectSize"] == 4
    copy = {"Bucket": "bucket", "Key": "stolen", "CopySource": "bucket/k"}
    assert (await refused(sealing, "copy_object", **copy))[:2] == (400, "InvalidRequest")
    assert (await refused(sealing, "copy_object", **copy, **source(TWO)))[:2] == (400, "InvalidRequest")
    assert "Contents" in await sealing.call("list_objects_v2", Bucket="bucket", Prefix="k")
    assert "Contents" not in await sealing.call("list_objects_v2", Bucket="bucket", Prefix="stolen")


@pytest.mark.parametrize("mode", ["plain", "SSE-S3", "SSE-KMS"])
async def test_a_key_that_is_sent_for_nothing_is_refused(sealing, mode):
    await sealing.call("put_object", Bucket="bucket", Key="k", Body=b"x", **MODES[mode])
    told = await refused(sealing, "get_object", Bucket="bucket", Key="k", **sse_c(ONE))
    assert told == (400, "InvalidRequest", "The encryption parameters are not applicable to this object.")


async def test_a_part_must_bring_the_key_of_its_upload(sealing):
    made = await sealing.call("create_multipart_upload", Bucket="bucket", Key="k", **sse_c(ONE))
    part = {"Bucket": "bucket", "Key": "k", "UploadId": made["UploadId"], "PartNumber": 1}
    assert (await refused(sealing, "upload_part", **part, Body=b"x"))[:2] == (400, "InvalidRequest")
    assert (await refused(sealing, "upload_part", **part, Body=b"x", **sse_c(TWO)))[:2] == (400, "InvalidRequest")
    plain = await sealing.call("create_multipart_upload", Bucket="bucket", Key="k")
    part["UploadId"] = plain["UploadId"]
    assert (await refused(sealing, "upload_part", **part, Body=b"x", **sse_c(ONE)))[:2] == (400, "InvalidRequest")


async def test_complete_must_bring_the_key_of_its_upload(sealing):
    made = await sealing.call("create_multipart_upload", Bucket="bucket", Key="k", **sse_c(ONE))
    upload = {"Bucket": "bucket", "Key": "k", "UploadId": made["UploadId"]}
    part = await sealing.call("upload_part", **upload, PartNumber=1, Body=b"x", **sse_c(ONE))
    upload["MultipartUpload"] = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    assert (await refused(sealing, "complete_multipart_upload", **upload))[:2] == (400, "InvalidRequest")
    assert (await refused(sealing, "complete_multipart_upload", **upload, **sse_c(TWO)))[:2] == (400, "InvalidRequest")
    await sealing.call("complete_multipart_upload", **upload, **sse_c(ONE))
    assert await sealing.body("k", **sse_c(ONE)) == b"x"


def raw(**headers: str) -> dict:
    return {f"x-amz-server-side-encryption{name.replace('_', '-')}": value for name, value in headers.items()}


KEY64 = base64.b64encode(ONE).decode()
MD564 = base64.b64encode(hashlib.md5(ONE).digest()).decode()
FULL = raw(_customer_algorithm="AES256", _customer_key=KEY64, _customer_key_md5=MD564)
NOT_MD5 = raw(_customer_key_md5="A" * 22 + "==")

WRONG = [
    (raw(_customer_key=KEY64, _customer_key_md5=MD564), "InvalidArgument"),
    (raw(_customer_algorithm="AES256"), "InvalidArgument"),
    (raw(_customer_algorithm="AES256", _customer_key=KEY64), "InvalidArgument"),
    ({**FULL, **raw(_customer_algorithm="AES192")}, "InvalidEncryptionAlgorithmError"),
    ({**FULL, **NOT_MD5}, "InvalidArgument"),
    ({**FULL, **raw(_customer_key=base64.b64encode(b"short").decode())}, "InvalidArgument"),
    ({**FULL, **raw(_customer_key="?" * 44)}, "InvalidArgument"),
    ({**FULL, "x-amz-server-side-encryption": "AES256"}, "InvalidArgument"),
    ({**FULL, "x-amz-server-side-encryption": "aws:kms"}, "InvalidArgument"),
    ({**FULL, **raw(_aws_kms_key_id="invoices")}, "InvalidArgument"),
    ({"x-amz-server-side-encryption": "aes:kms"}, "InvalidArgument"),
    ({"x-amz-server-side-encryption": "aws:kms:dsse"}, "NotImplemented"),
    ({"x-amz-server-side-encryption": "AES256", **raw(_aws_kms_key_id="invoices")}, "InvalidArgument"),
    (raw(_aws_kms_key_id="invoices"), "InvalidArgument"),
    ({"x-amz-server-side-encryption": "aws:kms", **raw(_context="not base64!")}, "InvalidArgument"),
    ({"x-amz-server-side-encryption": "aws:kms", **raw(_context="W10=")}, "InvalidArgument"),
    ({"x-amz-server-side-encryption": "aws:kms", **raw(_bucket_key_enabled="maybe")}, "InvalidArgument"),
    ({"x-amz-server-side-encryption": "aws:kms", **raw(_aws_kms_key_id="never-made")}, "KMS.NotFoundException"),
    ({"x-amz-server-side-encryption": "aws:kms", **raw(_aws_kms_key_id="stratum/s3")}, "KMS.NotFoundException"),
]


def with_headers(endpoint, operation: str, headers: dict):
    """A client that adds headers to one operation, before it signs."""
    client = endpoint.client_for("ROOTACCESSKEY0000001", "not-a-secret")
    client.meta.events.register(f"before-call.s3.{operation}", lambda params, **_: params["headers"].update(headers))
    return client


@pytest.mark.parametrize(("headers", "code"), WRONG)
async def test_what_cannot_be_meant_is_refused_and_nothing_is_stored(sealing, headers, code):
    client = with_headers(sealing, "PutObject", headers)
    with pytest.raises(ClientError) as caught:
        await sealing.run(lambda: client.put_object(Bucket="bucket", Key="k", Body=b"x"))
    assert caught.value.response["Error"]["Code"] == code
    assert KEY64 not in str(caught.value.response)
    assert "Contents" not in await sealing.call("list_objects_v2", Bucket="bucket")


@pytest.mark.parametrize("operation", ["GetObject", "HeadObject"])
async def test_a_read_says_nothing_of_how_the_object_is_to_be_encrypted(sealing, operation):
    await sealing.call("put_object", Bucket="bucket", Key="k", Body=b"x", ServerSideEncryption="AES256")
    client = with_headers(sealing, operation, {"x-amz-server-side-encryption": "AES256"})
    method = {"GetObject": client.get_object, "HeadObject": client.head_object}[operation]
    with pytest.raises(ClientError) as caught:
        await sealing.run(lambda: method(Bucket="bucket", Key="k"))
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


async def test_the_default_key_of_kms_is_made_when_it_is_first_needed(sealing):
    put = await sealing.call("put_object", Bucket="bucket", Key="k", Body=b"x", ServerSideEncryption="aws:kms")
    assert put["SSEKMSKeyId"] == "aws/s3"
    assert await sealing.body("k") == b"x"


@pytest.mark.parametrize("key", ["alias/invoices", "arn:aws:kms:us-east-1:123456789012:key/invoices"])
async def test_a_key_may_be_named_as_kms_names_it(sealing, key):
    asked = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key}
    put = await sealing.call("put_object", Bucket="bucket", Key="k", Body=b"x", **asked)
    assert put["SSEKMSKeyId"] == "invoices"


async def test_the_context_and_the_bucket_key_are_shown_as_asked(sealing):
    context = base64.b64encode(b'{"team":"billing"}').decode()
    asked = {"ServerSideEncryption": "aws:kms", "SSEKMSEncryptionContext": context, "BucketKeyEnabled": True}
    put = await sealing.call("put_object", Bucket="bucket", Key="k", Body=b"x", **asked)
    assert (put["SSEKMSEncryptionContext"], put["BucketKeyEnabled"]) == (context, True)
    head = await sealing.call("head_object", Bucket="bucket", Key="k")
    assert head["BucketKeyEnabled"] and "SSEKMSEncryptionContext" not in head


async def test_a_copy_onto_itself_may_change_how_it_is_kept(sealing):
    await sealing.call("put_object", Bucket="bucket", Key="k", Body=b"x" * 9000)
    itself = {"Bucket": "bucket", "Key": "k", "CopySource": "bucket/k"}
    await sealing.call("copy_object", **itself, **sse_c(ONE))
    assert await sealing.body("k", **sse_c(ONE)) == b"x" * 9000
    await sealing.call("copy_object", **itself, **sse_c(TWO), **source(ONE))
    assert await sealing.body("k", **sse_c(TWO)) == b"x" * 9000


async def test_versions_keep_each_how_it_was_encrypted(sealing):
    await sealing.call("put_bucket_versioning", Bucket="bucket", VersioningConfiguration={"Status": "Enabled"})
    ids = [
        (await sealing.call("put_object", Bucket="bucket", Key="k", Body=mode.encode(), **MODES[mode]))["VersionId"]
        for mode in MODES
    ]
    for mode, version in zip(MODES, ids, strict=True):
        assert await sealing.body("k", VersionId=version, **READS.get(mode, {})) == mode.encode()


async def test_customer_keys_are_refused_over_an_open_line_unless_it_is_allowed(sealing, monkeypatch):
    if sealing.scheme == "https":
        pytest.skip("the line is not open")
    settings = sealing.engine.settings
    monkeypatch.setattr("stratum.s3.encryption._is_here", lambda peer: False)
    told = await refused(sealing, "put_object", Bucket="bucket", Key="k", Body=b"x", **sse_c(ONE))
    assert told[:2] == (400, "InvalidRequest") and "secure connection" in told[2]
    object.__setattr__(settings, "customer_keys", "any")
    await sealing.call("put_object", Bucket="bucket", Key="k", Body=b"x", **sse_c(ONE))
    object.__setattr__(settings, "customer_keys", "tls")
    monkeypatch.setattr("stratum.s3.encryption._is_here", lambda peer: True)
    assert (await refused(sealing, "get_object", Bucket="bucket", Key="k", **sse_c(ONE)))[1] == "InvalidRequest"


async def test_a_signature_that_is_wrong_is_explained_without_the_customers_key(sealing):
    client = sealing.client_for("ROOTACCESSKEY0000001", "another-secret-than-ours")
    with pytest.raises(ClientError) as caught:
        await sealing.run(lambda: client.put_object(Bucket="bucket", Key="k", Body=b"x", **sse_c(ONE)))
    told = caught.value.response["Error"]
    assert told["Code"] == "SignatureDoesNotMatch"
    assert "customer-key:***" in told["CanonicalRequest"] and "customer-key-md5:" in told["CanonicalRequest"]
    assert KEY64 not in str(caught.value.response)
