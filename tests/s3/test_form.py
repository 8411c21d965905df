"""POST forms over the wire: who may upload what, and what the browser gets to see."""

import base64
import hashlib
import hmac
import json
import time
import urllib.parse

import pytest
import urllib3

from stratum.s3 import form as form_module
from stratum.s3.sigv4 import signing_key
from tests.engine.conftest import ROOT

LATER = 6 * 3600  # some are made before the first test runs
BOUNDARY = "----a-boundary"


def stamp(seconds: int = LATER) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))


def policy_of(*conditions, expires: int = LATER, **fields) -> str:
    document = {"expiration": stamp(expires), "conditions": [*conditions], **fields}
    return base64.b64encode(json.dumps(document).encode()).decode()


STANDARD = ({"bucket": "bucket"}, ["starts-with", "$key", "up/"], ["content-length-range", 1, 1000])


def signed_v2(policy: str, access: str = ROOT.access_key, secret: str = ROOT.secret_key) -> dict[str, str]:
    signature = base64.b64encode(hmac.digest(secret.encode(), policy.encode(), "sha1")).decode()
    return {"AWSAccessKeyId": access, "signature": signature, "policy": policy}


def encoded(fields: dict[str, str], file: bytes | None = b"content", filename: str = "a.txt", after: str = "") -> bytes:
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    if file is not None:
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{filename}"\r\n'
        parts.append(head.encode() + b"Content-Type: text/plain\r\n\r\n" + file + b"\r\n")
    return b"".join(parts) + after.encode() + f"--{BOUNDARY}--\r\n".encode()


async def post_raw(endpoint, body: bytes, path: str = "/bucket", **headers):
    sent = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}", **headers}
    return await endpoint.run(
        lambda: urllib3.request("POST", endpoint.url + path, body=body, headers=sent, redirect=False, retries=False)
    )


async def post(endpoint, fields: dict[str, str], file: bytes | None = b"content", path: str = "/bucket", **named):
    return await post_raw(endpoint, encoded(fields, file, **named), path)


async def keys(endpoint) -> list[str]:
    return [each["Key"] for each in (await endpoint.call("list_objects_v2", Bucket="bucket")).get("Contents", [])]


@pytest.mark.parametrize("size", [1, 5000, 300_000, 3 << 20])
async def test_a_form_of_boto3_uploads_the_file_whatever_its_size(endpoint, size):
    made = endpoint.client.generate_presigned_post(
        "bucket",
        "up/${filename}",
        Fields={"Content-Type": "text/x", "x-amz-meta-me": "you", "acl": "private"},
        Conditions=[{"Content-Type": "text/x"}, {"x-amz-meta-me": "you"}, {"acl": "private"}],
    )
    body = hashlib.shake_128(b"seed").digest(size)
    answer = await post(endpoint, made["fields"], body, filename="C:\\\\folder\\\\über 1.txt")
    assert (answer.status, answer.data) == (204, b"")
    got = await endpoint.call("head_object", Bucket="bucket", Key="up/über 1.txt")
    assert (got["ContentType"], got["Metadata"], got["ContentLength"]) == ("text/x", {"me": "you"}, size)
    assert answer.headers["etag"] == got["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'
    assert await endpoint.body("up/über 1.txt") == body


async def test_a_form_with_the_older_signature_works_too(endpoint):
    answer = await post(endpoint, {"key": "up/k", **signed_v2(policy_of(*STANDARD))})
    assert answer.status == 204
    assert await endpoint.body("up/k") == b"content"


async def test_the_answer_is_what_the_form_asked_for(endpoint):
    free = ["starts-with", "$success_action_status", ""]
    signature = signed_v2(policy_of(*STANDARD, free))
    for status, expected in (("200", 200), ("201", 201), ("204", 204), ("404", 204), ("", 204)):
        answer = await post(endpoint, {"key": "up/a b", "success_action_status": status, **signature})
        assert answer.status == expected
        assert answer.headers["location"] == f"{endpoint.url}/bucket/up/a%20b"
        if expected == 201:
            assert b"<PostResponse" in answer.data and b"<Key>up/a b</Key>" in answer.data
            assert f"<Location>{endpoint.url}/bucket/up/a%20b</Location>".encode() in answer.data
        else:
            assert answer.data == b""


@pytest.mark.parametrize(
    "asked, told",
    [
        ("http://page.example/done", "http://page.example/done?"),
        ("https://page.example/done?a=b#c", "https://page.example/done?a=b&"),
        ("javascript:alert(1)", None),
        ("//page.example", None),
        ("http://page.example/\u00e4", None),
        ("http://page example", None),
    ],
)
async def test_a_redirect_goes_to_web_addresses_only_and_says_what_was_stored(endpoint, asked, told):
    signature = signed_v2(policy_of(*STANDARD, ["starts-with", "$success_action_redirect", ""]))
    answer = await post(endpoint, {"key": "up/k&x", "success_action_redirect": asked, **signature})
    if told is None:
        assert answer.status == 204
        return
    assert answer.status == 303
    assert answer.headers["location"].startswith(told)
    query = urllib.parse.parse_qs(urllib.parse.urlsplit(answer.headers["location"]).query)
    assert (query["bucket"], query["key"], query["etag"]) == (["bucket"], ["up/k&x"], [answer.headers["etag"]])


async def test_tags_storage_class_and_checksums_are_fields_of_the_form(endpoint):
    tagging = "<Tagging><TagSet><Tag><Key>a b</Key><Value>1+2</Value></Tag></TagSet></Tagging>"
    sha = base64.b64encode(hashlib.sha256(b"content").digest()).decode()
    signature = signed_v2(policy_of(*STANDARD, ["starts-with", "$tagging", ""]))
    fields = {"key": "up/k", "tagging": tagging, "x-amz-checksum-sha256": sha, **signature}
    answer = await post(endpoint, fields)
    assert answer.status == 204, answer.data
    assert answer.headers["x-amz-checksum-sha256"] == sha
    tags = await endpoint.call("get_object_tagging", Bucket="bucket", Key="up/k")
    assert tags["TagSet"] == [{"Key": "a b", "Value": "1+2"}]
    other = base64.b64encode(hashlib.sha256(b"other").digest()).decode()
    wrong = await post(endpoint, {**fields, "key": "up/wrong", "x-amz-checksum-sha256": other})
    assert (wrong.status, b"<Code>BadDigest</Code>" in wrong.data) == (400, True)
    bad = await post(endpoint, {**fields, "key": "up/wrong", "tagging": "<Tagging/>"})
    assert (bad.status, b"<Code>MalformedXML</Code>" in bad.data) == (400, True)
    assert await keys(endpoint) == ["up/k"]


# --- what must not pass -------------------------------------------------------------------------------------------


def base() -> dict[str, str]:
    return {"key": "up/k", **signed_v2(policy_of(*STANDARD))}


def without(name: str) -> dict[str, str]:
    return {field: value for field, value in base().items() if field != name}


def flipped(text: str) -> str:
    return ("B" if text[0] == "A" else "A") + text[1:]


REFUSED = {
    "nobody signed": ({"key": "up/k"}, 403, "AccessDenied"),
    "no key": (without("key"), 400, "InvalidArgument"),
    "empty key": ({**base(), "key": ""}, 400, "InvalidArgument"),
    "no signature": (without("signature"), 400, "InvalidArgument"),
    "no access key": (without("AWSAccessKeyId"), 400, "InvalidArgument"),
    "no policy": (without("policy"), 400, "InvalidArgument"),
    "wrong signature": ({**base(), "signature": flipped(base()["signature"])}, 403, "SignatureDoesNotMatch"),
    "unknown access key": ({**base(), "AWSAccessKeyId": "NOBODY"}, 403, "InvalidAccessKeyId"),
    "changed policy": (
        {**base(), "policy": policy_of({"bucket": "bucket"}, ["starts-with", "$key", ""])},
        403,
        "SignatureDoesNotMatch",
    ),
    "session token": ({**base(), "x-amz-security-token": "t"}, 400, "InvalidToken"),
    "two signatures": ({**base(), "x-amz-signature": "0"}, 400, "InvalidArgument"),
    "key elsewhere": ({**base(), "key": "other/k"}, 403, "AccessDenied"),
    "key out of case": ({**base(), "key": "UP/k"}, 403, "AccessDenied"),
    "field nobody spoke of": ({**base(), "acl": "private"}, 403, "AccessDenied"),
    "metadata nobody spoke of": ({**base(), "x-amz-meta-a": "b"}, 403, "AccessDenied"),
    "other bucket in a field": ({**base(), "bucket": "other"}, 403, "AccessDenied"),
    "expired": ({"key": "up/k", **signed_v2(policy_of(*STANDARD, expires=-1))}, 403, "AccessDenied"),
    "policy for another bucket": (
        {"key": "up/k", **signed_v2(policy_of({"bucket": "other"}, *STANDARD[1:]))},
        403,
        "AccessDenied",
    ),
    "policy for no bucket": ({"key": "up/k", **signed_v2(policy_of(*STANDARD[1:]))}, 403, "AccessDenied"),
    "policy for no key": ({"key": "up/k", **signed_v2(policy_of({"bucket": "bucket"}))}, 403, "AccessDenied"),
    "required metadata missing": (
        {"key": "up/k", **signed_v2(policy_of(*STANDARD, ["eq", "$x-amz-meta-a", "b"]))},
        403,
        "AccessDenied",
    ),
    "file too short": (
        {"key": "up/k", **signed_v2(policy_of(*STANDARD[:2], ["content-length-range", 8, 9]))},
        400,
        "EntityTooSmall",
    ),
    "file too long": (
        {"key": "up/k", **signed_v2(policy_of(*STANDARD[:2], ["content-length-range", 0, 6]))},
        400,
        "EntityTooLarge",
    ),
    "two ranges": (
        {"key": "up/k", **signed_v2(policy_of(*STANDARD, ["content-length-range", 0, 6]))},
        400,
        "EntityTooLarge",
    ),
    "no base64": ({"key": "up/k", **signed_v2("%%%")}, 400, "InvalidPolicyDocument"),
    "copy source": (
        {
            "key": "up/k",
            "x-amz-copy-source": "/other/secret",
            **signed_v2(policy_of(*STANDARD, ["starts-with", "$x-amz-copy-source", ""])),
        },
        501,
        "NotImplemented",
    ),
    "line break in a header": (
        {
            "key": "up/k",
            "x-amz-meta-a": "b\r\nSet-Cookie: c",
            **signed_v2(policy_of(*STANDARD, ["starts-with", "$x-amz-meta-a", ""])),
        },
        400,
        "InvalidArgument",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
async def test_a_form_that_is_not_what_was_signed_stores_nothing(endpoint, case):
    fields, status, code = REFUSED[case]
    answer = await post(endpoint, fields)
    assert (answer.status, f"<Code>{code}</Code>" in answer.data.decode()) == (status, True), answer.data
    assert await keys(endpoint) == []


async def test_a_policy_for_one_bucket_is_worth_nothing_at_another_whatever_the_fields_say(endpoint):
    await endpoint.call("create_bucket", Bucket="other")
    for extra in ({}, {"bucket": "bucket"}, {"Bucket": "bucket"}, {"BUCKET": "other"}):
        answer = await post(endpoint, {**base(), **extra}, path="/other")
        assert answer.status == 403, extra
    assert "Contents" not in await endpoint.call("list_objects_v2", Bucket="other")


async def test_a_field_given_twice_is_refused_in_any_case_of_its_name(endpoint):
    assert (await post(endpoint, {**base(), "Key": "up/other"})).status == 400
    twice = encoded({"key": "other"}, None).removesuffix(f"--{BOUNDARY}--\r\n".encode()) + encoded(base())
    assert (await post_raw(endpoint, twice)).status == 400
    assert await keys(endpoint) == []


async def test_fields_behind_the_file_are_not_looked_at(endpoint):
    late = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="key"\r\n\r\nother\r\n'
    assert (await post(endpoint, base(), after=late)).status == 204
    assert (await post(endpoint, without("key"), after=late)).status == 400
    assert await keys(endpoint) == ["up/k"]


async def test_fields_that_are_to_be_ignored_are_ignored(endpoint):
    assert (await post(endpoint, {**base(), "x-ignore-button": "Send"})).status == 204


async def test_an_unsigned_header_that_means_something_is_refused(endpoint):
    answer = await post_raw(endpoint, encoded(base()), **{"x-amz-copy-source": "/bucket/secret"})
    assert (answer.status, b"<Code>AccessDenied</Code>" in answer.data) == (403, True)
    answer = await post_raw(endpoint, encoded(base()), **{"Cache-Control": "no-store", "If-Match": '"x"'})
    assert answer.status == 204
    assert "CacheControl" not in await endpoint.call("head_object", Bucket="bucket", Key="up/k")


async def test_what_comes_before_the_file_is_bounded(endpoint):
    long = {**base(), "x-ignore-a": "a" * form_module.FIELDS_BYTES}
    many = {**base(), **{f"x-ignore-{number}": "" for number in range(form_module.FIELDS_MAX)}}
    for fields in (long, many):
        answer = await post(endpoint, fields)
        assert (answer.status, b"<Code>MaxPostPreDataLengthExceeded</Code>" in answer.data) == (400, True)
    preamble = b"x" * (form_module.BEFORE_FILE_BYTES * 4) + b"\r\n" + encoded(base())
    assert b"MaxPostPreDataLengthExceeded" in (await post_raw(endpoint, preamble)).data
    assert await keys(endpoint) == []


async def test_no_beginning_of_a_form_stores_anything(endpoint):
    whole = encoded(base())
    end = whole.index(b"content") + len(b"content\r\n") + len(BOUNDARY) + 4
    for cut in [*range(0, len(whole) - len(BOUNDARY) - 6, 37), end - 3, end - 5]:
        answer = await post_raw(endpoint, whole[:cut])
        assert answer.status == 400, whole[:cut][-40:]
    assert await keys(endpoint) == []


@pytest.mark.parametrize(
    "kind", ["multipart/form-data", "multipart/form-data; boundary=", f"multipart/form-data; boundary={'b' * 80}"]
)
async def test_a_form_without_a_usable_boundary_is_malformed(endpoint, kind):
    answer = await post_raw(endpoint, encoded(base()), **{"Content-Type": kind})
    assert (answer.status, b"<Code>MalformedPOSTRequest</Code>" in answer.data) == (400, True)


async def test_no_file_and_no_form_are_refused(endpoint):
    assert b"<Code>InvalidArgument</Code>" in (await post(endpoint, base(), None)).data
    assert (await post(endpoint, base(), path="/bucket/key")).status == 501
    assert (await post(endpoint, base(), path="/")).status in (405, 501)
    assert (await post_raw(endpoint, b"a=b", **{"Content-Type": "application/x-www-form-urlencoded"})).status == 403


# --- version 4 ----------------------------------------------------------------------------------------------------


async def test_every_part_of_a_version_4_signature_counts(endpoint):
    made = endpoint.client.generate_presigned_post("bucket", "up/k")["fields"]
    assert (await post(endpoint, made)).status == 204
    await endpoint.call("delete_object", Bucket="bucket", Key="up/k")
    yesterday = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time.time() - 8 * 86400))
    credential = made["x-amz-credential"]
    for name, value in [
        ("x-amz-signature", flipped(made["x-amz-signature"])),
        ("x-amz-signature", ""),
        ("x-amz-algorithm", "AWS4-HMAC-SHA1"),
        ("x-amz-date", yesterday),
        ("x-amz-date", "today"),
        ("x-amz-credential", credential.replace("us-east-1", "eu-west-1")),
        ("x-amz-credential", credential.replace("/s3/", "/iam/")),
        ("x-amz-credential", "NOBODY" + credential),
        ("x-amz-credential", ROOT.access_key),
        ("policy", policy_of(*STANDARD)),
        ("key", "up/other"),
    ]:
        answer = await post(endpoint, {**made, name: value})
        assert answer.status in (400, 403), (name, value)
    for name in made:
        answer = await post(endpoint, {field: made[field] for field in made if field != name})
        assert answer.status in (400, 403), name
    assert await keys(endpoint) == []


async def test_the_scope_and_the_date_of_a_version_4_signature_count_even_where_the_policy_leaves_them_free(endpoint):
    free = [["starts-with", f"$x-amz-{name}", ""] for name in ("algorithm", "credential", "date")]
    policy = policy_of(*STANDARD, *free)

    async def status(days: float = 0, region: str = "us-east-1", service: str = "s3", end: str = "aws4_request") -> int:
        at = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time.time() + days * 86400))
        key = signing_key(ROOT.secret_key, at[:8], "us-east-1", "s3")
        fields = {
            "key": "up/k",
            "policy": policy,
            "x-amz-algorithm": "AWS4-HMAC-SHA256",
            "x-amz-credential": f"{ROOT.access_key}/{at[:8]}/{region}/{service}/{end}",
            "x-amz-date": at,
            "x-amz-signature": hmac.digest(key, policy.encode(), "sha256").hex(),
        }
        return (await post(endpoint, fields)).status

    assert await status() == await status(days=-6.9) == 204
    assert await status(region="eu-west-1") == await status(service="iam") == await status(end="aws4") == 400
    assert await status(days=-7.1) == await status(days=0.1) == 403


async def test_encryption_is_asked_for_by_fields_of_the_form(endpoint):
    name = "x-amz-server-side-encryption"
    signature = signed_v2(policy_of(*STANDARD, {name: "AES256"}))
    answer = await post(endpoint, {"key": "up/k", name: "AES256", **signature}, b"c" * 900)
    assert (answer.status, answer.headers[name]) == (204, "AES256")
    got = await endpoint.call("head_object", Bucket="bucket", Key="up/k")
    assert (got["ServerSideEncryption"], got["ContentLength"]) == ("AES256", 900)
    assert await endpoint.body("up/k") == b"c" * 900
    assert (await post(endpoint, {"key": "up/k", name: "other", **signature})).status == 403
