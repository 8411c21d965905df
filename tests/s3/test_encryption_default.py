"""The default encryption of a bucket: what it says, and what it does to objects that bring none."""

from types import SimpleNamespace

import pytest
from botocore.exceptions import ClientError
from hypothesis import given, settings
from hypothesis import strategies as st

from stratum.s3.bucket_encryption import parse_encryption
from stratum.s3.call import Call
from stratum.s3.encryption import customer_key, reading_key, seal_spec, source_key
from stratum.s3.errors import S3Error
from stratum.s3.routes import Op, Route
from stratum.s3.sub_resources import Level
from stratum.s3.xml import parse
from tests.s3.test_encryption import KEY64, MD564, content_of, refused, shown, sse_c

KMS = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "invoices"}


def rule(default: dict, **more) -> dict:
    return {"Rules": [{"ApplyServerSideEncryptionByDefault": default, **more}]}


async def set_default(endpoint, default: dict, **more) -> None:
    document = rule(default, **more)
    await endpoint.call("put_bucket_encryption", Bucket="bucket", ServerSideEncryptionConfiguration=document)


async def test_a_bucket_has_none_until_one_is_set_and_after_it_was_taken_away(endpoint):
    missing = (404, "ServerSideEncryptionConfigurationNotFoundError")
    assert (await refused(endpoint, "get_bucket_encryption", Bucket="bucket"))[:2] == missing
    for default in ({"SSEAlgorithm": "AES256"}, {"SSEAlgorithm": "aws:kms"}, KMS):
        await set_default(endpoint, default, BucketKeyEnabled=True)
        answer = await endpoint.call("get_bucket_encryption", Bucket="bucket")
        assert answer["ServerSideEncryptionConfiguration"] == rule(default, BucketKeyEnabled=True)
    await endpoint.call("delete_bucket_encryption", Bucket="bucket")
    await endpoint.call("delete_bucket_encryption", Bucket="bucket")
    assert (await refused(endpoint, "get_bucket_encryption", Bucket="bucket"))[:2] == missing
    put = await endpoint.call("put_object", Bucket="bucket", Key="k", Body=b"x")
    assert shown(put) == {}
    for method in ("get_bucket_encryption", "delete_bucket_encryption"):
        assert (await refused(endpoint, method, Bucket="no-such-bucket"))[:2] == (404, "NoSuchBucket")


@pytest.mark.parametrize(
    "default, wanted",
    [
        ({"SSEAlgorithm": "AES256"}, {"ServerSideEncryption": "AES256"}),
        ({"SSEAlgorithm": "aws:kms"}, {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "aws/s3"}),
        (KMS, {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "invoices"}),
    ],
)
async def test_it_holds_for_puts_copies_and_uploads_that_ask_for_nothing(endpoint, default, wanted):
    await endpoint.engine.keys.create("invoices")
    await endpoint.call("put_object", Bucket="bucket", Key="before", Body=b"plain")
    await set_default(endpoint, default)
    put = await endpoint.call("put_object", Bucket="bucket", Key="put", Body=b"x")
    copied = await endpoint.call("copy_object", Bucket="bucket", Key="copy", CopySource="bucket/before")
    made = await endpoint.call("create_multipart_upload", Bucket="bucket", Key="parts")
    upload = {"Bucket": "bucket", "Key": "parts", "UploadId": made["UploadId"]}
    part = await endpoint.call("upload_part", **upload, PartNumber=1, Body=content_of(100_000))
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    done = await endpoint.call("complete_multipart_upload", **upload, MultipartUpload=parts)
    assert [shown(answer) for answer in (put, copied, made, part, done)] == [wanted] * 5
    for key, body in {"put": b"x", "copy": b"plain", "parts": content_of(100_000)}.items():
        head = await endpoint.call("head_object", Bucket="bucket", Key=key)
        assert shown(head) == wanted
        assert await endpoint.body(key) == body
    assert shown(await endpoint.call("head_object", Bucket="bucket", Key="before")) == {}


async def test_what_a_request_asks_for_comes_first(endpoint):
    await set_default(endpoint, {"SSEAlgorithm": "aws:kms"}, BucketKeyEnabled=True)
    put = await endpoint.call("put_object", Bucket="bucket", Key="a", Body=b"x", ServerSideEncryption="AES256")
    assert shown(put) == {"ServerSideEncryption": "AES256"}
    put = await endpoint.call("put_object", Bucket="bucket", Key="b", Body=b"x", **sse_c(b"k" * 32))
    assert shown(put) == {"SSECustomerAlgorithm": "AES256"}
    assert (await endpoint.call("put_object", Bucket="bucket", Key="c", Body=b"x"))["BucketKeyEnabled"]
    put = await endpoint.call("put_object", Bucket="bucket", Key="d", Body=b"x", BucketKeyEnabled=False)
    assert "BucketKeyEnabled" not in put


async def test_a_default_key_that_is_not_there_refuses_writes_instead_of_storing_them_plain(endpoint):
    await set_default(endpoint, {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "not-yet"})
    for method, more in (("put_object", {"Body": b"x"}), ("create_multipart_upload", {})):
        told = await refused(endpoint, method, Bucket="bucket", Key="k", **more)
        assert told[:2] == (400, "KMS.NotFoundException")
    await endpoint.engine.keys.create("not-yet")
    await endpoint.call("put_object", Bucket="bucket", Key="k", Body=b"x")


async def test_a_bucket_takes_its_default_with_it(endpoint):
    await set_default(endpoint, {"SSEAlgorithm": "AES256"})
    await endpoint.call("delete_bucket", Bucket="bucket")
    await endpoint.call("create_bucket", Bucket="bucket")
    assert (await refused(endpoint, "get_bucket_encryption", Bucket="bucket"))[0] == 404


def document(*rules: str) -> bytes:
    return f"<ServerSideEncryptionConfiguration>{''.join(rules)}</ServerSideEncryptionConfiguration>".encode()


def default(text: str, more: str = "") -> str:
    inner = f"<ApplyServerSideEncryptionByDefault>{text}</ApplyServerSideEncryptionByDefault>"
    return f"<Rule>{inner}{more}</Rule>"


AES = default("<SSEAlgorithm>AES256</SSEAlgorithm>")


@pytest.mark.parametrize(
    "body, code",
    [
        (document(), "MalformedXML"),
        (document(AES, AES), "MalformedXML"),
        (document("<Rule/>"), "MalformedXML"),
        (document("<Rule><BucketKeyEnabled>true</BucketKeyEnabled></Rule>"), "MalformedXML"),
        (document(default("")), "MalformedXML"),
        (document(default("<SSEAlgorithm>AES128</SSEAlgorithm>")), "MalformedXML"),
        (document(default("<SSEAlgorithm>aws:kms:dsse</SSEAlgorithm>")), "NotImplemented"),
        (document(default("<SSEAlgorithm>AES256</SSEAlgorithm><Other/>")), "MalformedXML"),
        (document(AES, "<Other/>"), "MalformedXML"),
        (document(default("<SSEAlgorithm>AES256</SSEAlgorithm>", "<BlockedEncryptionTypes/>")), "MalformedXML"),
        (
            document(default("<SSEAlgorithm>AES256</SSEAlgorithm>", "<BucketKeyEnabled>1</BucketKeyEnabled>")),
            "MalformedXML",
        ),
        (
            document(default("<SSEAlgorithm>AES256</SSEAlgorithm><KMSMasterKeyID>k</KMSMasterKeyID>")),
            "InvalidArgument",
        ),
        (
            document(default(f"<SSEAlgorithm>aws:kms</SSEAlgorithm><KMSMasterKeyID>{'k' * 3000}</KMSMasterKeyID>")),
            "InvalidArgument",
        ),
        (
            document(default("<SSEAlgorithm>aws:kms</SSEAlgorithm><KMSMasterKeyID>\u00e9</KMSMasterKeyID>")),
            "InvalidArgument",
        ),
    ],
)
def test_a_document_that_says_anything_else_is_refused(body, code):
    with pytest.raises(S3Error) as caught:
        parse_encryption(parse(body, "ServerSideEncryptionConfiguration"))
    assert caught.value.code == code


async def test_an_answer_never_shows_a_customers_key(endpoint):
    put = await endpoint.call("put_object", Bucket="bucket", Key="k", Body=b"x", **sse_c(b"k" * 32))
    head = await endpoint.call("head_object", Bucket="bucket", Key="k", **sse_c(b"k" * 32))
    for answer in (put, head):
        assert "a2tra2tra2tra2tra2tr" not in str(answer) and KEY64 not in str(answer)
    with pytest.raises(ClientError) as caught:
        await endpoint.call("head_object", Bucket="bucket", Key="k")
    assert "a2tra2tra2tra2tra2tr" not in str(caught.value.response)


def call_with(headers: dict) -> Call:
    """A request with nothing but headers, to a bucket without a default."""
    settings = SimpleNamespace(customer_keys="any")
    configurations = SimpleNamespace(read=lambda *named: None)
    engine = SimpleNamespace(settings=settings, configurations=configurations)
    request = SimpleNamespace(scheme="http", peer="not an address")
    named = Route(op=Op.PUT_OBJECT, level=Level.OBJECT, bucket="bucket", key=b"k", query={})
    return Call(engine=engine, request=request, headers=headers, principal="", route=named, payload=None)


SUFFIXES = ("", "-aws-kms-key-id", "-context", "-bucket-key-enabled", "-customer-algorithm", "-customer-key")
SUFFIXES += ("-customer-key-md5",)
PREFIXES = ("x-amz-server-side-encryption", "x-amz-copy-source-server-side-encryption")
values = st.sampled_from(["AES256", "aws:kms", "true", MD564, "e30=", "", "invoices"]) | st.text(max_size=50)
whatever = {
    prefix + suffix: st.just(KEY64) | values if suffix == "-customer-key" else values
    for prefix in PREFIXES
    for suffix in SUFFIXES
}


@settings(deadline=None)
@given(st.fixed_dictionaries({}, optional=whatever))
def test_whatever_headers_say_they_are_understood_or_refused_and_no_key_is_told(headers):
    call = call_with(headers)
    for look in (seal_spec, source_key, reading_key, customer_key):
        try:
            understood = look(call)
        except S3Error as error:
            assert 400 <= error.status < 500 or error.code == "NotImplemented"
            assert KEY64 not in f"{error}{error.fields}"
            continue
        if look is seal_spec and understood is None:
            assert not any(name in headers for name in (PREFIXES[0], PREFIXES[0] + "-customer-key"))
        assert KEY64 not in repr(understood)
