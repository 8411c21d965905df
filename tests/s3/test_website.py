"""Buckets as web sites: the configuration, redirects, pages, errors."""

import pytest
from botocore.exceptions import ClientError

from stratum.core.website import Redirect, RoutingRule, Website, document_key, redirect_of
from stratum.s3.errors import S3Error
from stratum.s3.website import parse_website
from stratum.s3.xml import parse

FULL = {
    "IndexDocument": {"Suffix": "index.html"},
    "ErrorDocument": {"Key": "errors/page.html"},
    "RoutingRules": [
        {"Condition": {"KeyPrefixEquals": "old/"}, "Redirect": {"ReplaceKeyPrefixWith": "new/"}},
        {
            "Condition": {"HttpErrorCodeReturnedEquals": "404", "KeyPrefixEquals": "gone"},
            "Redirect": {"HostName": "else.example", "Protocol": "https", "HttpRedirectCode": "307"},
        },
        {"Condition": {"KeyPrefixEquals": "one"}, "Redirect": {"ReplaceKeyWith": "two"}},
    ],
}
RULES = (
    RoutingRule(prefix="old/", key_prefix="new/"),
    RoutingRule(prefix="gone", error=404, host="else.example", protocol="https", status=307),
    RoutingRule(prefix="one", key="two"),
)
SITE = Website(index="index.html", error="errors/page.html", rules=RULES)


def test_a_folder_means_its_index():
    assert [document_key(SITE, key) for key in (b"", b"a/", b"a", b"a/b")] == [
        b"index.html",
        b"a/index.html",
        b"a",
        b"a/b",
    ]


def test_the_first_rule_whose_conditions_hold_counts():
    assert redirect_of(SITE, b"old/\xff/x") == Redirect(301, "", "", b"new/\xff/x")
    assert redirect_of(SITE, b"one/two") == Redirect(301, "", "", b"two")
    assert redirect_of(SITE, b"gone") is None
    assert redirect_of(SITE, b"gone", 404) == Redirect(307, "https", "else.example", b"gone")
    assert redirect_of(SITE, b"gone", 403) is None
    assert redirect_of(SITE, b"old/", 404) is None
    assert redirect_of(Website(all_host="h", all_protocol="https"), b"k") == Redirect(301, "https", "h", b"k")


def rule(inside: str) -> str:
    index = "<IndexDocument><Suffix>i</Suffix></IndexDocument>"
    return f"{index}<RoutingRules><RoutingRule>{inside}</RoutingRule></RoutingRules>"


INDEX = "<IndexDocument><Suffix>i</Suffix></IndexDocument>"
GOOD = "<Redirect><HostName>h</HostName></Redirect>"


@pytest.mark.parametrize(
    "inside, code",
    [
        ("", "InvalidArgument"),
        ("<IndexDocument/>", "InvalidArgument"),
        ("<IndexDocument><Suffix>a/b</Suffix></IndexDocument>", "InvalidArgument"),
        (INDEX * 2, "MalformedXML"),
        (f"{INDEX}<ErrorDocument/>", "InvalidArgument"),
        (f"{INDEX}<RoutingRules/>", "MalformedXML"),
        (f"{INDEX}<RedirectAllRequestsTo><HostName>h</HostName></RedirectAllRequestsTo>", "InvalidRequest"),
        ("<RedirectAllRequestsTo/>", "InvalidArgument"),
        ("<RedirectAllRequestsTo><HostName>a b</HostName></RedirectAllRequestsTo>", "InvalidArgument"),
        ("<RedirectAllRequestsTo><HostName>a&#13;&#10;b</HostName></RedirectAllRequestsTo>", "InvalidArgument"),
        (
            "<RedirectAllRequestsTo><HostName>h</HostName><Protocol>ftp</Protocol></RedirectAllRequestsTo>",
            "InvalidRequest",
        ),
        (rule("<Condition><KeyPrefixEquals>a</KeyPrefixEquals></Condition>"), "MalformedXML"),
        (rule("<Redirect/>"), "MalformedXML"),
        (rule(f"<Condition/>{GOOD}"), "InvalidRequest"),
        (
            rule("<Redirect><ReplaceKeyWith>a</ReplaceKeyWith><ReplaceKeyPrefixWith>b</ReplaceKeyPrefixWith></Redirect>"),
            "InvalidRequest",
        ),
        (rule("<Redirect><HttpRedirectCode>200</HttpRedirectCode></Redirect>"), "InvalidRequest"),
        (rule("<Redirect><HttpRedirectCode>300</HttpRedirectCode></Redirect>"), "InvalidRequest"),
        (
            rule(
                f"<Condition><HttpErrorCodeReturnedEquals>301</HttpErrorCodeReturnedEquals></Condition>{GOOD}"
            ),
            "InvalidRequest",
        ),
        (f"{INDEX}<RoutingRules>{f'<RoutingRule>{GOOD}</RoutingRule>' * 51}</RoutingRules>", "InvalidRequest"),
    ],
)  # fmt: skip
def test_configurations_that_aws_refuses_are_refused(inside, code):
    document = f"<WebsiteConfiguration>{inside}</WebsiteConfiguration>".encode()
    with pytest.raises(S3Error) as caught:
        parse_website(parse(document, "WebsiteConfiguration"))
    assert caught.value.code == code


async def test_a_configuration_comes_back_as_it_was_put_and_goes(endpoint):
    async def code() -> str:
        with pytest.raises(ClientError) as caught:
            await endpoint.call("get_bucket_website", Bucket="bucket")
        return caught.value.response["Error"]["Code"]

    assert await code() == "NoSuchWebsiteConfiguration"
    await endpoint.call("put_bucket_website", Bucket="bucket", WebsiteConfiguration=FULL)
    got = await endpoint.call("get_bucket_website", Bucket="bucket")
    assert (got["IndexDocument"], got["ErrorDocument"]) == (FULL["IndexDocument"], FULL["ErrorDocument"])
    shown = [{**each, "Redirect": {"HttpRedirectCode": "301", **each["Redirect"]}} for each in FULL["RoutingRules"]]
    assert got["RoutingRules"] == shown
    everything = {"RedirectAllRequestsTo": {"HostName": "h.example", "Protocol": "https"}}
    await endpoint.call("put_bucket_website", Bucket="bucket", WebsiteConfiguration=everything)
    got = await endpoint.call("get_bucket_website", Bucket="bucket")
    assert got["RedirectAllRequestsTo"] == everything["RedirectAllRequestsTo"]
    await endpoint.call("delete_bucket_website", Bucket="bucket")
    await endpoint.call("delete_bucket_website", Bucket="bucket")
    assert await code() == "NoSuchWebsiteConfiguration"


async def test_where_an_object_sends_visitors_is_stored_shown_and_checked(endpoint):
    for target in ("/other", "http://a.example/x", "https://a.example"):
        await endpoint.call("put_object", Bucket="bucket", Key="k", Body=b"", WebsiteRedirectLocation=target)
        assert (await endpoint.call("head_object", Bucket="bucket", Key="k"))["WebsiteRedirectLocation"] == target
    with pytest.raises(ClientError) as caught:
        await endpoint.call("put_object", Bucket="bucket", Key="k", Body=b"", WebsiteRedirectLocation="other")
    assert caught.value.response["Error"]["Code"] == "InvalidRedirectLocation"


async def test_a_copy_goes_where_it_says_itself_never_where_its_source_did(endpoint):
    await endpoint.call(
        "put_object", Bucket="bucket", Key="k", Body=b"", WebsiteRedirectLocation="/a", CacheControl="x"
    )
    source = {"Bucket": "bucket", "Key": "k"}
    for more, target in (({}, None), ({"WebsiteRedirectLocation": "/b"}, "/b")):
        for directive in ("COPY", "REPLACE"):
            await endpoint.call(
                "copy_object", Bucket="bucket", Key="c", CopySource=source, MetadataDirective=directive, **more
            )
            got = await endpoint.call("head_object", Bucket="bucket", Key="c")
            assert got.get("WebsiteRedirectLocation") == target
            assert got.get("CacheControl") == ("x" if directive == "COPY" else None)
    await endpoint.call("copy_object", Bucket="bucket", Key="k", CopySource=source, WebsiteRedirectLocation="/c")
    assert (await endpoint.call("head_object", Bucket="bucket", Key="k"))["WebsiteRedirectLocation"] == "/c"


@pytest.mark.parametrize("kind", ["text/html", "Image/SVG+XML; a=b", "application/xhtml+xml", "application/atom+xml"])
async def test_a_stored_page_runs_in_a_sandbox_where_the_console_has_its_origin(endpoint, kind):
    page = "<script>fetch('/-/')</script>"
    await endpoint.call("put_object", Bucket="bucket", Key="k", Body=page, ContentType=kind)
    await endpoint.call("put_object", Bucket="bucket", Key="p", Body=page, ContentType="application/pdf")
    for method in ("get_object", "head_object"):
        headers = (await endpoint.call(method, Bucket="bucket", Key="k"))["ResponseMetadata"]["HTTPHeaders"]
        assert (headers["content-security-policy"], headers["x-content-type-options"]) == ("sandbox", "nosniff")
        headers = (await endpoint.call(method, Bucket="bucket", Key="p"))["ResponseMetadata"]["HTTPHeaders"]
        assert ("content-security-policy" in headers, headers["x-content-type-options"]) == (False, "nosniff")
    shown = await endpoint.call("get_object", Bucket="bucket", Key="p", ResponseContentType=kind)
    assert shown["ResponseMetadata"]["HTTPHeaders"]["content-security-policy"] == "sandbox"
