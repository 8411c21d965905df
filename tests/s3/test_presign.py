"""What we sign ourselves is what our own verifier, and botocore's signer, take it for."""

from urllib.parse import urlsplit

import pytest
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from stratum.s3.errors import S3Error
from stratum.s3.http import Request
from stratum.s3.presign import Signer
from stratum.s3.sigv4 import Verifier

NOW = 1_790_000_000
SIGNER = Signer("STRKEY", "canary-secret-of-a-signer", "eu-1")
VERIFIER = Verifier(region="eu-1", secret_of=lambda _: "canary-secret-of-a-signer")
KEYS = st.text(min_size=1, max_size=40).map(lambda text: text.encode("utf-8", "replace"))


def asked(url: str, method: str = "GET") -> Request:
    parts = urlsplit(url)
    headers = [(b"host", parts.netloc.encode())]
    return Request(method=method, raw_path=parts.path.encode(), raw_query=parts.query.encode(), headers=headers)


@given(KEYS, st.integers(1, 604_800))
def test_a_link_is_good_for_its_time_and_its_key_alone(key, seconds):
    url = SIGNER.url("http://nas:9000", "bucket", key, seconds=seconds, now_s=NOW)
    assert VERIFIER.verify(asked(url), now_s=NOW + seconds).access_key == "STRKEY"
    with pytest.raises(S3Error, match="expired"):
        VERIFIER.verify(asked(url), now_s=NOW + seconds + 1)
    with pytest.raises(S3Error):
        VERIFIER.verify(asked(url.replace("/bucket/", "/bucket/x", 1)), now_s=NOW)
    with pytest.raises(S3Error):
        VERIFIER.verify(asked(url, "PUT"), now_s=NOW)


def test_a_link_is_the_one_that_botocore_makes(monkeypatch):
    url = SIGNER.url("http://nas:9000", "bucket", "ä b+c".encode(), seconds=60, now_s=NOW, query={"versionId": "v/1"})
    theirs = AWSRequest("GET", "http://nas:9000/bucket/%C3%A4%20b%2Bc?versionId=v%2F1")
    signer = S3SigV4QueryAuth(Credentials("STRKEY", "canary-secret-of-a-signer"), "s3", "eu-1", expires=60)
    monkeypatch.setattr(
        "botocore.auth.get_current_datetime",
        lambda: __import__("datetime").datetime.fromtimestamp(NOW, __import__("datetime").UTC),
    )
    signer.add_auth(theirs)
    assert theirs.url.partition("X-Amz-Signature=")[2] == url.partition("X-Amz-Signature=")[2] != ""


def test_a_link_of_no_time_or_too_much_is_none():
    for seconds in (0, 604_801):
        with pytest.raises(ValueError, match="seconds"):
            SIGNER.url("http://nas", "bucket", b"key", seconds=seconds, now_s=NOW)


@given(KEYS, st.dictionaries(st.sampled_from(["x-amz-meta-a", "x-amz-acl", "content-md5", "range"]), st.just("v")))
def test_a_request_that_is_passed_on_is_signed_with_all_its_headers(key, extra):
    headers = [
        (b"host", b"127.0.0.1"),
        (b"authorization", b"other"),
        *((n.encode(), v.encode()) for n, v in extra.items()),
    ]
    request = asked(SIGNER.url("http://h", "b", key, seconds=1, now_s=NOW).partition("?")[0], "PUT")
    request = Request(method="PUT", raw_path=request.raw_path, raw_query=b"tagging&x=%20", headers=headers)
    signed = SIGNER.headers(request, now_s=NOW)
    again = Request(method="PUT", raw_path=request.raw_path, raw_query=request.raw_query, headers=signed)
    assert VERIFIER.verify(again, now_s=NOW).access_key == "STRKEY"
    changed = Request(method="PUT", raw_path=request.raw_path, raw_query=b"tagging&x=y", headers=signed)
    with pytest.raises(S3Error):
        VERIFIER.verify(changed, now_s=NOW)


def test_the_secret_is_not_in_what_is_printed():
    assert "canary" not in repr(SIGNER)
