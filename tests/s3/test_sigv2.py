"""Signature version 2: botocore's own requests are taken, and nothing else: each part of what is signed is held to."""

import time
import urllib.request
from dataclasses import replace
from urllib.parse import urlsplit

import pytest
from botocore.auth import HmacV1Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from stratum.core.errors import NoSuchCredential
from stratum.s3.errors import S3Error
from stratum.s3.http import Request
from stratum.s3.sigv4 import Verifier
from tests.engine.conftest import ROOT
from tests.sdk import sdk_client

ACCESS, SECRET = "AKIAEXAMPLE", "s" * 40


def secret_of(access_key: str) -> str:
    if access_key != ACCESS:
        raise NoSuchCredential(access_key)
    return SECRET


VERIFIER = Verifier(region="us-east-1", secret_of=secret_of)


def presigned(operation: str, *, expires: int = 600, **parameters) -> Request:
    """As boto3 makes it by default for us-east-1."""
    client = sdk_client(
        "s3", region_name="us-east-1", endpoint_url="http://h", aws_access_key_id=ACCESS, aws_secret_access_key=SECRET
    )
    wanted = {"Bucket": "b", "Key": "k ü", **parameters}
    url = client.generate_presigned_url(operation, Params=wanted, ExpiresIn=expires)
    assert "AWSAccessKeyId" in url
    parts = urlsplit(url)
    method = "PUT" if operation == "put_object" else "GET"
    path, query = parts.path.encode(), parts.query.encode()
    return Request(method=method, raw_path=path, raw_query=query, headers=[(b"host", b"h")])


def by_header(method: str = "PUT", url: str = "http://h/b/k?acl", **headers: str) -> Request:
    made = AWSRequest(method=method, url=url, headers=headers)
    HmacV1Auth(Credentials(ACCESS, SECRET)).add_auth(made)
    parts = urlsplit(url)
    pairs = [(name.lower().encode(), value.encode()) for name, value in made.headers.items()]
    return Request(method=method, raw_path=parts.path.encode(), raw_query=parts.query.encode(), headers=pairs)


def now() -> int:
    return int(time.time())


def refused(request: Request, now_s: int | None = None) -> str:
    with pytest.raises(S3Error) as caught:
        VERIFIER.verify(request, now_s=now() if now_s is None else now_s)
    return caught.value.code


def with_header(request: Request, name: bytes, value: bytes) -> Request:
    return replace(request, headers=[*(pair for pair in request.headers if pair[0] != name), (name, value)])


@pytest.mark.parametrize(
    "request_",
    [
        presigned("get_object"),
        presigned("get_object", ResponseContentType="text/plain; charset=utf-8", VersionId="abc"),
        presigned("put_object", ACL="private", Metadata={"color": "red"}),
        by_header(),
        by_header(**{"x-amz-meta-b": "2", "x-amz-meta-a": " 1 ", "Content-Type": "text/plain"}),
        by_header("GET", "http://h/b?uploads&prefix=x"),
        by_header("GET", "http://h/b/k?response-content-type=a%2Fb&partNumber=3&uploadId=x"),
    ],
)
def test_what_botocore_signs_is_taken(request_):
    verified = VERIFIER.verify(request_, now_s=now())
    assert verified.access_key == ACCESS and verified.content_sha256 == "UNSIGNED-PAYLOAD"
    with pytest.raises(S3Error):
        verified.seal()


def test_headers_that_a_presigner_put_into_the_url_come_back():
    verified = VERIFIER.verify(presigned("put_object", Metadata={"color": "red"}), now_s=now())
    assert (b"x-amz-meta-color", b"red") in verified.moved_headers


@pytest.mark.parametrize("extra", ["acl", "tagging", "versionId=x", "response-content-type=text%2Fhtml"])
def test_a_signed_parameter_added_to_a_presigned_url_breaks_its_signature(extra):
    made = presigned("get_object")
    assert refused(replace(made, raw_query=made.raw_query + b"&" + extra.encode())) == "SignatureDoesNotMatch"


@pytest.mark.parametrize("extra", ["attributes", "retention", "legal-hold", "encryption", "publicAccessBlock"])
def test_a_parameter_that_is_not_signed_may_not_turn_a_presigned_url_into_another_request(extra):
    made = presigned("get_object")
    assert refused(replace(made, raw_query=made.raw_query + b"&" + extra.encode())) == "AccessDenied"


@pytest.mark.parametrize(
    "changed",
    [
        lambda r: replace(r, method="DELETE"),
        lambda r: replace(r, raw_path=r.raw_path + b"x"),
        lambda r: replace(r, bucket="other"),
        lambda r: with_header(r, b"x-amz-copy-source", b"/b/secret"),
        lambda r: with_header(r, b"x-amz-acl", b"public-read"),
        lambda r: with_header(r, b"content-md5", b"AAAA"),
        lambda r: with_header(r, b"content-type", b"text/html"),
    ],
)
@pytest.mark.parametrize("made", [presigned("put_object"), by_header()], ids=["presigned", "header"])
def test_a_request_that_was_changed_is_refused(made, changed):
    assert refused(changed(made)) == "SignatureDoesNotMatch"


@given(st.integers(0, 27), st.characters(codec="ascii", categories=("Lu", "Ll", "Nd")))
def test_a_signature_with_another_character_is_refused(at, character):
    made = by_header()
    value = dict(made.headers)[b"authorization"].decode()
    start = value.index(":") + 1
    changed = value[: start + at] + character + value[start + at + 1 :]
    if changed != value:
        assert refused(with_header(made, b"authorization", changed.encode())) == "SignatureDoesNotMatch"


def test_an_unknown_key_and_another_secret_are_refused():
    made = by_header()
    value = dict(made.headers)[b"authorization"].replace(ACCESS.encode(), b"AKIAOTHER")
    assert refused(with_header(made, b"authorization", value)) == "InvalidAccessKeyId"
    other = Verifier(region="us-east-1", secret_of=lambda _: "t" * 40)
    with pytest.raises(S3Error, match="signature"):
        other.verify(made, now_s=now())


def test_time_is_held_to():
    made = presigned("get_object", expires=60)
    assert refused(made, now() + 120) == "AccessDenied"
    assert refused(presigned("get_object", expires=8 * 86400)) == "AccessDenied"
    assert refused(by_header(), now() + 1000) == "RequestTimeTooSkewed"
    for date in ("", "Bad Date", "Tue, 07 Jul 1950 21:53:04 GMT"):
        assert refused(by_header(**{"x-amz-date": date})) == "AccessDenied"
    assert refused(by_header(**{"x-amz-date": "Tue, 07 Jul 2010 21:53:04 GMT"})) == "RequestTimeTooSkewed"


def test_malformed_and_doubled_claims_are_refused():
    made = by_header()
    for value in (b"AWS HAHAHA", b"AWS :x", b"AWS a:b c", b"AWS " + b"x" * 9000):
        assert refused(with_header(made, b"authorization", value)) == "InvalidArgument"
    url = presigned("get_object")
    both = replace(url, headers=[*url.headers, *((n, v) for n, v in made.headers if n == b"authorization")])
    assert refused(both) == "InvalidArgument"
    assert refused(replace(url, raw_query=url.raw_query + b"&X-Amz-Algorithm=AWS4-HMAC-SHA256")) == "InvalidArgument"
    assert refused(replace(url, raw_query=b"AWSAccessKeyId=a&Expires=x&Signature=b")) == "AccessDenied"
    assert refused(by_header(**{"x-amz-security-token": "t"})) == "InvalidToken"
    assert refused(by_header(**{"x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"})) == "InvalidRequest"


async def test_a_client_of_version_2_and_boto3_presigned_urls_work_end_to_end(endpoint):
    def work():
        client = sdk_client(
            "s3",
            endpoint_url=endpoint.url,
            aws_access_key_id=ROOT.access_key,
            aws_secret_access_key=ROOT.secret_key,
            region_name="us-east-1",
            config=Config(signature_version="s3", retries={"total_max_attempts": 1}),
        )
        client.create_bucket(Bucket="second")
        assert client.list_objects_v2(Bucket="second")["KeyCount"] == 0
        client.put_object(Bucket="bucket", Key="a b/ü", Body=b"version 2", Metadata={"x": "y"})
        url = client.generate_presigned_url("get_object", Params={"Bucket": "bucket", "Key": "a b/ü"})
        with urllib.request.urlopen(url) as answer:
            seen = answer.read()
        with pytest.raises(ClientError):
            client.get_object(Bucket="bucket", Key="nothing")
        client.close()
        return seen

    assert await endpoint.run(work) == b"version 2"
