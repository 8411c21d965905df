"""A bucket at the host of its web site: what visitors get to see, and what they never do."""

import pytest

from stratum.core.objects import PutSpec
from stratum.core.website import KIND, RoutingRule, Website
from stratum.s3.door import HANDLERS
from stratum.s3.errors import S3Error
from stratum.s3.http import Request
from stratum.s3.website_serving import serve_website
from tests.engine.conftest import body_of, engine_at

SITE = Website(
    index="index.html",
    error="errors/page.html",
    rules=(
        RoutingRule(prefix="old/", key_prefix="new/"),
        RoutingRule(prefix="lost", error=404, host="else.example", protocol="https", key="found", status=307),
    ),
)
PAGES = {
    "index.html": b"home",
    "docs/index.html": b"docs",
    "a b.txt": b"plain",
    "errors/page.html": b"<p>sorry</p>",
    "private/index.html": b"secret",
}


@pytest.fixture
async def site(tmp_path):
    async with engine_at(tmp_path) as engine:
        await engine.buckets.create("bucket", "")
        for key, page in PAGES.items():
            await engine.objects.put(
                "bucket", key.encode(), body_of(page), PutSpec(headers={"content-type": "text/html"})
            )
        moved = PutSpec(headers={"x-amz-website-redirect-location": "https://away.example/"})
        await engine.objects.put("bucket", b"moved", body_of(), moved)
        await engine.configurations.put("bucket", KIND, SITE)
        yield engine


async def run(call):
    """Everyone may read what is not private."""
    assert call.principal.anonymous
    assert not [name for name in call.headers if name.startswith("x-amz-") or name == "authorization"]
    assert call.headers == call.request.header_map()
    if call.key.startswith(b"private"):
        raise S3Error("AccessDenied")
    return await HANDLERS[call.route.op](call)


async def ask(engine, path: str, method: str = "GET", **headers: str):
    pairs = [(b"host", b"bucket.web.example")]
    pairs += [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    request = Request(method=method, raw_path=path.encode(), headers=pairs, bucket="bucket", website=True)
    answer = await serve_website(engine, request, run)
    body = answer.body if isinstance(answer.body, bytes) else b"".join([piece async for piece in answer.body])
    return answer.status, body, dict(answer.headers)


@pytest.mark.parametrize(
    "path, status, body",
    [
        ("/", 200, b"home"),
        ("/docs/", 200, b"docs"),
        ("/a%20b.txt", 200, b"plain"),
        ("/none", 404, b"<p>sorry</p>"),
        ("/none/", 404, b"<p>sorry</p>"),
        ("/private/", 403, b"<p>sorry</p>"),
        ("/private/index.html", 403, b"<p>sorry</p>"),
        ("/private", 403, b"<p>sorry</p>"),
        ("/%zz", 400, None),
    ],
)
async def test_pages_folders_and_the_page_for_errors(site, path, status, body):
    got, shown, headers = await ask(site, path)
    assert got == status
    assert body is None or shown == body
    assert headers[b"x-content-type-options"] == b"nosniff"
    assert b"content-security-policy" not in headers, "a site has an origin of its own, and may run its scripts"
    got, shown, _ = await ask(site, path, "HEAD")
    assert (got, shown) == (status, b"")


@pytest.mark.parametrize(
    "path, status, location",
    [
        ("/docs", 302, b"http://bucket.web.example/docs/"),
        ("/old/a%20b%0d%0aX:y", 301, b"http://bucket.web.example/new/a%20b%0D%0AX%3Ay"),
        ("/lost/one", 307, b"https://else.example/found"),
        ("/moved", 301, b"https://away.example/"),
    ],
)
async def test_redirects_of_rules_objects_and_missing_slashes(site, path, status, location):
    for method in ("GET", "HEAD"):
        got, _, headers = await ask(site, path, method)
        assert (got, headers[b"location"]) == (status, location)


async def test_conditions_and_ranges_hold_for_pages_and_not_for_the_page_of_an_error(site):
    etag = (await ask(site, "/"))[2][b"etag"].decode()
    assert (await ask(site, "/", if_none_match=etag))[0] == 304
    assert (await ask(site, "/", range="bytes=1-2"))[:2] == (206, b"om")
    assert (await ask(site, "/none", range="bytes=1-2", if_match='"no"'))[:2] == (404, b"<p>sorry</p>")


async def test_headers_that_ask_for_more_than_a_page_are_not_seen(site):
    got = await ask(site, "/", x_amz_server_side_encryption_customer_key="k", authorization="AWS4-HMAC-SHA256 x")
    assert got[:2] == (200, b"home")


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE", "PATCH"])
async def test_a_site_is_only_read(site, method):
    status, body, _ = await ask(site, "/index.html", method)
    assert (status, b"MethodNotAllowed" in body) == (405, True)


async def test_without_a_page_of_its_own_an_error_is_escaped_html(site):
    await site.configurations.put("bucket", KIND, Website(index="i", error="private/<script>"))
    status, body, headers = await ask(site, "/<script>")
    assert (status, headers[b"content-type"]) == (404, b"text/html; charset=utf-8")
    assert b"<script>" not in body and b"NoSuchKey" in body
    assert b"Custom Error Document" in body and b"secret" not in body
    await site.configurations.delete("bucket", KIND)
    status, body, _ = await ask(site, "/")
    assert (status, b"NoSuchWebsiteConfiguration" in body) == (404, True)
    await site.configurations.put("bucket", KIND, Website(all_host="h.example:8080", all_protocol="https"))
    status, _, headers = await ask(site, "/x/y")
    assert (status, headers[b"location"]) == (301, b"https://h.example:8080/x/y")
