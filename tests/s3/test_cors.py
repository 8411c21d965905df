"""CORS: rules in and out, the preflight, and what a page of which origin may read."""

import re

import pytest
from botocore.exceptions import ClientError
from hypothesis import example, given
from hypothesis import strategies as st

from stratum.core.cors import CorsRule, CorsRules, allowed_origin, matches, matching_rule
from stratum.s3.cors import parse_rules
from stratum.s3.errors import S3Error
from stratum.s3.xml import parse

patterns = st.text("ab*", max_size=6).filter(lambda text: text.count("*") <= 1)


@example("ab*ba", "aba")
@given(patterns, st.text("ab", max_size=8))
def test_one_star_stands_for_any_run_of_characters(pattern, text):
    expression = ".*".join(re.escape(part) for part in pattern.split("*"))
    assert matches(pattern, text) == bool(re.fullmatch(expression, text))


RULES = CorsRules(
    (
        CorsRule(origins=("https://one.example",), methods=("GET",), headers=("x-*", "Range")),
        CorsRule(origins=("https://*.example", "*"), methods=("GET", "PUT"), max_age=5),
    )
)


def test_the_first_rule_that_allows_everything_at_once_counts():
    first, second = RULES.rules
    assert matching_rule(RULES, "https://one.example", "GET", ["X-Y", "range"]) is first
    assert matching_rule(RULES, "https://one.example", "GET", ["X-Y", "other"]) is None
    assert matching_rule(RULES, "https://one.example", "PUT") is second
    assert matching_rule(RULES, "https://ONE.example", "GET") is second
    assert matching_rule(RULES, "https://one.example", "DELETE") is None
    assert allowed_origin(second, "https://two.example") == "https://two.example"
    assert allowed_origin(second, "http://elsewhere") == "*"


def document(rule: str) -> bytes:
    return f"<CORSConfiguration>{rule}</CORSConfiguration>".encode()


GOOD = "<AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod>"


@pytest.mark.parametrize(
    "rule, code",
    [
        ("", "MalformedXML"),
        ("<Other/>", "MalformedXML"),
        ("<CORSRule><AllowedOrigin>*</AllowedOrigin></CORSRule>", "MalformedXML"),
        ("<CORSRule><AllowedMethod>GET</AllowedMethod></CORSRule>", "MalformedXML"),
        (f"<CORSRule>{GOOD}<AllowedOrigin/></CORSRule>", "MalformedXML"),
        (f"<CORSRule>{GOOD}<AllowedMethod>PATCH</AllowedMethod></CORSRule>", "InvalidRequest"),
        (f"<CORSRule>{GOOD}<AllowedMethod>get</AllowedMethod></CORSRule>", "InvalidRequest"),
        (f"<CORSRule>{GOOD}<AllowedOrigin>a*b*</AllowedOrigin></CORSRule>", "InvalidRequest"),
        (f"<CORSRule>{GOOD}<AllowedHeader>**</AllowedHeader></CORSRule>", "InvalidRequest"),
        (f"<CORSRule>{GOOD}<ExposeHeader>x-*</ExposeHeader></CORSRule>", "InvalidRequest"),
        (f"<CORSRule>{GOOD}<ExposeHeader>a&#13;&#10;b</ExposeHeader></CORSRule>", "InvalidArgument"),
        (f"<CORSRule>{GOOD}<ExposeHeader>a: b</ExposeHeader></CORSRule>", "InvalidRequest"),
        (f"<CORSRule>{GOOD}<AllowedOrigin>http://a&#13;b</AllowedOrigin></CORSRule>", "InvalidArgument"),
        (f"<CORSRule>{GOOD}<AllowedOrigin>http://ä</AllowedOrigin></CORSRule>", "InvalidArgument"),
        (f"<CORSRule>{GOOD}<MaxAgeSeconds>soon</MaxAgeSeconds></CORSRule>", "MalformedXML"),
        (f"<CORSRule>{GOOD}<MaxAgeSeconds>-1</MaxAgeSeconds></CORSRule>", "MalformedXML"),
        (f"<CORSRule>{GOOD}<ID>{'i' * 256}</ID></CORSRule>", "MalformedXML"),
        (f"<CORSRule>{GOOD}<AllowCredentials>true</AllowCredentials></CORSRule>", "MalformedXML"),
        (f"<CORSRule>{GOOD}</CORSRule>" * 101, "InvalidRequest"),
    ],
)
def test_rules_that_aws_refuses_are_refused(rule, code):
    with pytest.raises(S3Error) as caught:
        parse_rules(parse(document(rule), "CORSConfiguration"))
    assert caught.value.code == code


def test_a_hundred_rules_are_taken():
    assert len(parse_rules(parse(document(f"<CORSRule>{GOOD}</CORSRule>" * 100), "CORSConfiguration")).rules) == 100


# --- over the wire ----------------------------------------------------------------------------------------------

CONFIGURATION = {
    "CORSRules": [
        {
            "ID": "pages",
            "AllowedOrigins": ["https://*.example"],
            "AllowedMethods": ["GET", "PUT"],
            "AllowedHeaders": ["x-amz-*"],
            "ExposeHeaders": ["ETag"],
            "MaxAgeSeconds": 60,
        },
        {"AllowedOrigins": ["*"], "AllowedMethods": ["HEAD"]},
    ]
}


class Answer:
    def __init__(self, raw: bytes) -> None:
        head, _, self.body = raw.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        self.status = int(lines[0].split(" ")[1])
        self.headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(": ")
            self.headers[name.lower()] = value

    def granted(self) -> dict[str, str]:
        return {name: value for name, value in self.headers.items() if name.startswith("access-control-")}


async def ask(endpoint, method: str, target: str, **headers: str) -> Answer:
    lines = [f"{method} {target} HTTP/1.1", "Host: localhost", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return Answer(await endpoint.raw("\r\n".join([*lines, "", ""]).encode()))


async def test_rules_come_back_as_they_were_put_and_go(endpoint):
    async def code() -> str:
        with pytest.raises(ClientError) as caught:
            await endpoint.call("get_bucket_cors", Bucket="bucket")
        return caught.value.response["Error"]["Code"]

    assert await code() == "NoSuchCORSConfiguration"
    await endpoint.call("put_bucket_cors", Bucket="bucket", CORSConfiguration=CONFIGURATION)
    assert (await endpoint.call("get_bucket_cors", Bucket="bucket"))["CORSRules"] == CONFIGURATION["CORSRules"]
    await endpoint.call("delete_bucket_cors", Bucket="bucket")
    await endpoint.call("delete_bucket_cors", Bucket="bucket")
    assert await code() == "NoSuchCORSConfiguration"


async def test_without_rules_there_is_no_cors_header_and_a_preflight_is_forbidden(endpoint):
    asked = {"Origin": "https://a.example", "Access_Control_Request_Method": "GET"}
    assert (await ask(endpoint, "GET", "/bucket/k", **asked)).granted() == {}
    for target in ("/bucket", "/bucket/k", "/nobucket/k", "/"):
        answer = await ask(endpoint, "OPTIONS", target, **asked)
        assert (answer.status, answer.granted()) == (403, {})
        assert b"AccessForbidden" in answer.body


async def test_a_preflight_is_told_what_the_first_matching_rule_allows(endpoint):
    await endpoint.call("put_bucket_cors", Bucket="bucket", CORSConfiguration=CONFIGURATION)
    origin = "https://a.example"
    yes = await ask(
        endpoint, "OPTIONS", "/bucket/k?uploads", Origin=origin, Access_Control_Request_Method="PUT",
        Access_Control_Request_Headers="X-Amz-Date,x-amz-acl",
    )  # fmt: skip
    assert yes.status == 200 and yes.body == b""
    assert yes.granted() == {
        "access-control-allow-origin": origin,
        "access-control-allow-methods": "GET, PUT",
        "access-control-allow-headers": "x-amz-date, x-amz-acl",
        "access-control-expose-headers": "ETag",
        "access-control-max-age": "60",
        "access-control-allow-credentials": "true",
    }
    assert "Origin" in yes.headers["vary"]
    everyone = await ask(endpoint, "OPTIONS", "/bucket", Origin="http://else", Access_Control_Request_Method="HEAD")
    assert everyone.granted() == {"access-control-allow-origin": "*", "access-control-allow-methods": "HEAD"}


@pytest.mark.parametrize(
    "headers, status",
    [
        ({}, 400),
        ({"Origin": "https://a.example"}, 400),
        ({"Access_Control_Request_Method": "GET"}, 400),
        ({"Origin": "https://a.example", "Access_Control_Request_Method": "PATCH"}, 400),
        ({"Origin": "https://a.example", "Access_Control_Request_Method": "DELETE"}, 403),
        ({"Origin": "http://a.example", "Access_Control_Request_Method": "GET"}, 403),
        ({"Origin": "https://ä.example", "Access_Control_Request_Method": "GET"}, 400),
        (
            {
                "Origin": "https://a.example",
                "Access_Control_Request_Method": "GET",
                "Access_Control_Request_Headers": "cookie",
            },
            403,
        ),
    ],
)
async def test_any_other_preflight_is_refused_without_a_word_for_the_page(endpoint, headers, status):
    await endpoint.call("put_bucket_cors", Bucket="bucket", CORSConfiguration=CONFIGURATION)
    answer = await ask(endpoint, "OPTIONS", "/bucket/k", **headers)
    assert (answer.status, answer.granted()) == (status, {})


async def test_answers_and_errors_alike_tell_the_page_that_it_may_read_them(endpoint):
    await endpoint.call("put_bucket_cors", Bucket="bucket", CORSConfiguration=CONFIGURATION)
    refused = await ask(endpoint, "GET", "/bucket/k", Origin="https://a.example")
    assert refused.status in (403, 404)
    assert refused.granted()["access-control-allow-origin"] == "https://a.example"
    stranger = await ask(endpoint, "GET", "/bucket/k", Origin="http://a.example")
    assert stranger.granted() == {}
    assert "Origin" in stranger.headers["vary"], "a cache must not give this answer to a page that may read it"
    assert "Origin" in (await ask(endpoint, "GET", "/bucket/k")).headers["vary"]
    await endpoint.call("put_object", Bucket="bucket", Key="k", Body=b"x")
    url = endpoint.client.generate_presigned_url("get_object", Params={"Bucket": "bucket", "Key": "k"})
    target = url.removeprefix(endpoint.url)
    lines = f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{endpoint.port}\r\nOrigin: https://b.example\r\n"
    read = Answer(await endpoint.raw(f"{lines}Connection: close\r\n\r\n".encode()))
    assert read.status == 200
    assert read.granted()["access-control-allow-origin"] == "https://b.example"
