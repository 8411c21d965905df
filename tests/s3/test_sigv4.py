"""Signatures: AWS' own published examples, what botocore makes, and everything that must be refused."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stratum.s3.errors import S3Error
from stratum.s3.http import Request
from stratum.s3.sigv4 import EMPTY_SHA256, SIGNING_KEYS_MAX, Verifier
from tests.s3.signing import ACCESS, NOW, REGION, SECRET, STAMP, request, secret_of, signed, verifier

HOST = "examplebucket.s3.amazonaws.com"
CREDENTIAL = f"{ACCESS}/20130524/us-east-1/s3/aws4_request"


def authorization(signed_headers: str, proof: str) -> str:
    return f"AWS4-HMAC-SHA256 Credential={CREDENTIAL},SignedHeaders={signed_headers},Signature={proof}"


def example(method: str, target: str, signed_headers: str, proof: str, **headers: str) -> Request:
    fixed = {"host": HOST, "x-amz-content-sha256": EMPTY_SHA256, "x-amz-date": STAMP}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return request(method, target, fixed | named | {"authorization": authorization(signed_headers, proof)})


# docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html, sigv4-query-string-auth.html,
# sigv4-streaming.html and sigv4-streaming-trailers.html
PUBLISHED = {
    "get": example(
        "GET",
        "/test.txt",
        "host;range;x-amz-content-sha256;x-amz-date",
        "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        range="bytes=0-9",
    ),
    "put": example(
        "PUT",
        "/test%24file.text",
        "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
        "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        date="Fri, 24 May 2013 00:00:00 GMT",
        x_amz_storage_class="REDUCED_REDUNDANCY",
        x_amz_content_sha256="44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
    ),
    "put with the dollar bare on the wire": example(
        "PUT",
        "/test$file.text",
        "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
        "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        date="Fri, 24 May 2013 00:00:00 GMT",
        x_amz_storage_class="REDUCED_REDUNDANCY",
        x_amz_content_sha256="44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
    ),
    "sub-resource": example(
        "GET",
        "/?lifecycle",
        "host;x-amz-content-sha256;x-amz-date",
        "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
    ),
    "list": example(
        "GET",
        "/?max-keys=2&prefix=J",
        "host;x-amz-content-sha256;x-amz-date",
        "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
    ),
    "presigned": request(
        "GET",
        "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3"
        "%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
        "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404",
        {"host": HOST},
    ),
    "streaming": example(
        "PUT",
        "/examplebucket/chunkObject.txt",
        "content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;"
        "x-amz-storage-class",
        "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
        host="s3.amazonaws.com",
        content_encoding="aws-chunked",
        content_length="66824",
        x_amz_content_sha256="STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        x_amz_decoded_content_length="66560",
        x_amz_storage_class="REDUCED_REDUNDANCY",
    ),
    "streaming with a trailer": example(
        "PUT",
        "/examplebucket/chunkObject.txt",
        "content-encoding;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class;"
        "x-amz-trailer",
        "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e",
        host="s3.amazonaws.com",
        content_encoding="aws-chunked",
        x_amz_content_sha256="STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
        x_amz_decoded_content_length="66560",
        x_amz_storage_class="REDUCED_REDUNDANCY",
        x_amz_trailer="x-amz-checksum-crc32c",
    ),
}
each_published = pytest.mark.parametrize("name", PUBLISHED)


def refused(made: Request, now: int = NOW, checker: Verifier | None = None) -> S3Error:
    with pytest.raises(S3Error) as caught:
        (checker or verifier()).verify(made, now_s=now)
    return caught.value


def changed(made: Request, **parts) -> Request:
    fields = {name: getattr(made, name) for name in ("method", "raw_path", "raw_query", "headers")}
    return Request(**(fields | parts))


@each_published
def test_the_examples_aws_publishes_are_accepted(name):
    assert verifier().verify(PUBLISHED[name], now_s=NOW).access_key == ACCESS


@each_published
def test_a_change_of_anything_signed_is_refused(name):
    made = PUBLISHED[name]
    codes = {refused(changed(made, method="HEAD")).code, refused(changed(made, raw_path=made.raw_path + b"x")).code}
    codes.add(refused(changed(made, raw_query=made.raw_query + b"&x=y")).code)
    signed_names = str(made.header("authorization") or "host")
    for at, (header, value) in enumerate(made.headers):
        if header.decode() in signed_names and header not in (b"x-amz-date", b"authorization"):
            headers = [*made.headers[:at], (header, value + b"0"), *made.headers[at + 1 :]]
            codes.add(refused(changed(made, headers=headers)).code)
    assert codes == {"SignatureDoesNotMatch"}


@given(at=st.integers(0, 63), bit=st.integers(0, 3))
def test_a_flipped_bit_of_the_signature_is_refused(at, bit):
    made = PUBLISHED["get"]
    value = dict(made.headers)[b"authorization"]
    at -= 64
    digit = f"{int(value[at : at + 1 or None], 16) ^ 1 << bit:x}".encode()
    flipped = value[:at] + digit + (value[at + 1 :] if at != -1 else b"")
    headers = [(n, flipped if n == b"authorization" else v) for n, v in made.headers]
    assert refused(changed(made, headers=headers)).code == "SignatureDoesNotMatch"


texts = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=12)


@settings(max_examples=150)
@given(key=texts, query=st.dictionaries(texts.filter(bool), texts, max_size=4), presign=st.booleans())
def test_what_botocore_signs_is_accepted_for_any_key_and_query(key, query, presign):
    from urllib.parse import quote

    target = "/bucket/" + quote(key, safe="/~")
    if query and not presign:
        target += "?" + "&".join(f"{quote(n, safe='-_.~')}={quote(v, safe='-_.~')}" for n, v in query.items())
    made, now = signed("GET", target, {}, presign=60 if presign else None)
    if any(name.lower().startswith("x-amz-") or name == "AWSAccessKeyId" for name in query) and not presign:
        return  # those are signatures, or headers moved into the URL, with rules of their own
    assert verifier().verify(made, now_s=now).presigned is presign
    other, now = signed("GET", target, {}, presign=60 if presign else None, secret="another")
    assert refused(other, now).code == "SignatureDoesNotMatch"


def test_botocores_spaces_in_header_values_do_not_matter():
    made, now = signed("PUT", "/b/k", {"x-amz-meta-note": "two  spaces   inside"})
    assert verifier().verify(made, now_s=now)


def test_bytes_beyond_ascii_in_a_signed_header_still_verify():
    made, now = signed("PUT", "/b/k", {"x-amz-meta-note": "käse"})
    assert verifier().verify(made, now_s=now)


@pytest.mark.parametrize(
    "name",
    ["x-amz-copy-source", "x-amz-acl", "x-amz-meta-x", "x-amz-metadata-directive", "content-md5", "x-amz-tagging",
     "x-amz-checksum-crc32", "x-amz-storage-class", "x-amz-website-redirect-location"],
)  # fmt: skip
@pytest.mark.parametrize("presign", [None, 60])
def test_a_header_that_means_something_and_is_not_signed_is_refused(name, presign):
    made, now = signed("PUT", "/b/k", {}, presign=presign)
    error = refused(changed(made, headers=[*made.headers, (name.encode(), b"/other/secret")]), now)
    assert (error.code, error.fields["HeadersNotSigned"]) == ("AccessDenied", name)


def test_host_must_be_signed():
    made, now = signed("GET", "/b/k", {})
    headers = [(n, v.replace(b"SignedHeaders=host;", b"SignedHeaders=")) for n, v in made.headers]
    assert refused(changed(made, headers=headers), now).fields["HeadersNotSigned"] == "host"


def test_nobody_is_denied():
    assert refused(request("GET", "/b/k", {"host": HOST})).code == "AccessDenied"


def test_an_unknown_key_is_refused_with_the_same_work_as_a_wrong_signature():
    asked = []

    def nobody(access_key: str) -> str:
        asked.append(access_key)
        return secret_of("nobody")

    checker = Verifier(region=REGION, secret_of=nobody)
    assert refused(PUBLISHED["get"], checker=checker).code == "InvalidAccessKeyId"
    assert asked == [ACCESS]
    assert len(checker._keys) == 1  # a key was derived and a signature made all the same


def test_the_answer_to_a_wrong_signature_shows_what_was_signed_and_no_secret():
    error = refused(changed(PUBLISHED["get"], method="HEAD"))
    assert error.fields["CanonicalRequest"].startswith("HEAD\n/test.txt\n")
    assert error.fields["StringToSign"].startswith(f"AWS4-HMAC-SHA256\n{STAMP}\n")
    assert SECRET not in "".join(error.fields.values()) + error.message


@pytest.mark.parametrize(("off", "code"), [(-901, "RequestTimeTooSkewed"), (901, "RequestTimeTooSkewed"), (900, "")])
def test_a_request_signed_by_header_is_good_for_a_quarter_of_an_hour(off, code):
    if code:
        assert refused(PUBLISHED["get"], NOW + off).code == code
    else:
        assert verifier().verify(PUBLISHED["get"], now_s=NOW + off)


@pytest.mark.parametrize(("off", "good"), [(-901, False), (-900, True), (0, True), (86400, True), (86401, False)])
def test_a_presigned_url_is_good_from_its_date_until_it_expires(off, good):
    if good:
        assert verifier().verify(PUBLISHED["presigned"], now_s=NOW + off)
    else:
        assert refused(PUBLISHED["presigned"], NOW + off).code == "AccessDenied"


@pytest.mark.parametrize("value", ["0", "-1", "604801", "x", "", "1e3", "99999999999", "٣"])
def test_a_presigned_url_lives_between_a_second_and_a_week(value):
    made = PUBLISHED["presigned"]
    query = made.raw_query.replace(b"X-Amz-Expires=86400", b"X-Amz-Expires=" + value.encode())
    code = refused(changed(made, raw_query=query)).code
    number = value.lstrip("-").isascii() and value.lstrip("-").isdecimal() and len(value) < 10
    assert code == "AccessDenied" if number else code in ("AuthorizationQueryParametersError", "InvalidURI")


def test_another_region_is_told_ours():
    error = refused(PUBLISHED["get"], checker=Verifier(region="eu-central-1", secret_of=secret_of))
    assert (error.code, error.fields) == ("AuthorizationHeaderMalformed", {"Region": "eu-central-1"})
    error = refused(PUBLISHED["presigned"], checker=Verifier(region="eu-central-1", secret_of=secret_of))
    assert (error.code, error.fields) == ("AuthorizationQueryParametersError", {"Region": "eu-central-1"})


def test_the_date_of_the_scope_must_be_that_of_the_request():
    made = PUBLISHED["get"]
    headers = [(n, v.replace(b"/20130524/", b"/20130523/")) for n, v in made.headers]
    assert refused(changed(made, headers=headers)).code == "AuthorizationHeaderMalformed"


def test_credentials_in_header_and_query_at_once_are_refused():
    made = changed(PUBLISHED["get"], raw_query=PUBLISHED["presigned"].raw_query)
    assert refused(made).code == "InvalidArgument"


def test_parameters_moved_into_a_presigned_url_come_back_as_headers():
    made, now = signed("PUT", "/b/k?x-amz-meta-color=red&X-Amz-Acl=private", {}, presign=60)
    verified = verifier().verify(made, now_s=now)
    assert sorted(verified.moved_headers) == [(b"x-amz-acl", b"private"), (b"x-amz-meta-color", b"red")]


@pytest.mark.parametrize(
    ("value", "moved"),
    [("AAAAAA%3D%3D", []), ("NhCmhg%3D%3D", ["x-amz-checksum-crc32", "x-amz-sdk-checksum-algorithm"])],
    ids=["of nothing", "of a body"],
)
def test_a_presigned_checksum_of_nothing_says_nothing_and_any_other_is_held_to(value, moved):
    query = f"x-amz-checksum-crc32={value}&x-amz-sdk-checksum-algorithm=CRC32"
    made, now = signed("PUT", f"/b/k?{query}", {}, presign=60)
    verified = verifier().verify(made, now_s=now)
    assert sorted(name.decode() for name, _ in verified.moved_headers) == moved


MALFORMED = [
    "",
    "AWS4-HMAC-SHA256",
    "AWS4-HMAC-SHA256 Credential=,SignedHeaders=,Signature=",
    "AWS4-HMAC-SHA256 Credential=a/b/c,SignedHeaders=host,Signature=x",
    f"AWS4-HMAC-SHA256 Credential={CREDENTIAL},SignedHeaders=Host,Signature=x",
    f"AWS4-HMAC-SHA256 Credential={CREDENTIAL},SignedHeaders=host;;x,Signature=x",
    f"AWS4-HMAC-SHA256 Credential={CREDENTIAL},SignedHeaders=host,Signature=x,Signature=y",
    f"AWS4-HMAC-SHA256 Credential={CREDENTIAL},SignedHeaders=host,Signature=",
    "AWS4-HMAC-SHA256 " + "x" * 9000,
    "AWS AKIA:abcdef",
    "Basic dXNlcjpwYXNz",
    "Bearer x",
    "AWS4-ECDSA-P256-SHA256 Credential=x,SignedHeaders=host,Signature=x",
]


@pytest.mark.parametrize("value", MALFORMED)
def test_a_malformed_authorization_is_a_clear_refusal(value):
    made = PUBLISHED["get"]
    headers = [(n, value.encode() if n == b"authorization" else v) for n, v in made.headers]
    assert refused(changed(made, headers=headers)).status in (400, 403)


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_no_identity_however_malformed_is_accepted_or_breaks_us(value, query):
    made = request("GET", "/b/k", {"host": HOST, "x-amz-date": STAMP, "x-amz-content-sha256": EMPTY_SHA256})
    headers = [*made.headers, (b"authorization", b"AWS4-HMAC-SHA256 Credential=" + value)]
    assert refused(changed(made, headers=headers, raw_query=query)).status in (400, 403)
    assert refused(changed(made, raw_query=b"X-Amz-Signature=" + query)).status in (400, 403)


def test_session_tokens_are_never_ours():
    made, now = signed("GET", "/b/k", {"x-amz-security-token": "token"})
    assert refused(made, now).code == "InvalidToken"


def test_derived_keys_are_kept_and_their_number_is_bounded():
    checker = Verifier(region=REGION, secret_of=lambda access_key: f"secret of {access_key}")
    made = PUBLISHED["get"]
    for number in range(SIGNING_KEYS_MAX + 5):
        headers = [(n, v.replace(ACCESS.encode(), b"KEY%d" % number)) for n, v in made.headers]
        refused(changed(made, headers=headers), checker=checker)
    assert len(checker._keys) == SIGNING_KEYS_MAX


def test_verification_is_cheap():
    checker = verifier()
    checker.verify(PUBLISHED["put"], now_s=NOW)
    began = time.process_time()
    for _ in range(200):
        checker.verify(PUBLISHED["put"], now_s=NOW)
    assert (time.process_time() - began) / 200 < 0.002
