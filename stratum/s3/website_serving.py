"""Answering as a web site: anonymous reads at `bucket.<website domain>`, index and error pages, redirects.

Room: stratum/s3. May import: core.{errors, objects, principals, website}, engine, s3.*.

Invariants
    W1  A web site is read by nobody in particular: signatures are not looked at, only GET and HEAD are answered, and
        every object, the error page too, is shown only if anyone may read it.
    W2  A redirect's Location is made of checked configuration and percent-encoded keys: no line break gets in.
    W3  Each site has a host of its own, so its scripts see nothing of the console or of other buckets; browsers are
        told not to guess types.

Source: docs.aws.amazon.com/AmazonS3/latest/userguide/WebsiteHosting.html
"""

import html
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from urllib.parse import quote

from stratum.core.errors import StratumError
from stratum.core.objects import accept
from stratum.core.principals import ANONYMOUS
from stratum.core.website import KIND, Redirect, Website, document_key, redirect_of
from stratum.engine.engine import Engine
from stratum.s3.call import Call
from stratum.s3.errors import S3Error, answer_for
from stratum.s3.headers import REDIRECT_LOCATION
from stratum.s3.http import NoBody, Request, Response
from stratum.s3.payload import Payload
from stratum.s3.routes import Op, Route, split_path
from stratum.s3.sub_resources import Level

Run = Callable[[Call], Awaitable[Response]]
_HEADERS = frozenset(  # of the browser's request, that a read of an object looks at
    (
        "host",
        "if-match",
        "if-modified-since",
        "if-none-match",
        "if-unmodified-since",
        "origin",
        "range",
        "referer",
        "user-agent",
    )
)


@dataclass(frozen=True, slots=True)
class _Visit:
    """One request to a site; `run` authorises a call and answers it."""

    engine: Engine
    request: Request
    bucket: str
    run: Run

    async def read(self, key: bytes, headers: Mapping[str, str] | None = None) -> Response:
        """The object as anyone may read it, with the conditions and ranges of `headers`. Raises StratumError."""
        if headers is None:
            sent = self.request.header_map()
            headers = {name: sent[name] for name in sent.keys() & _HEADERS}
        pairs = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        op = Op.HEAD_OBJECT if self.request.method == "HEAD" else Op.GET_OBJECT
        call = Call(
            engine=self.engine,
            request=replace(self.request, headers=pairs, raw_query=b""),
            headers=headers,
            principal=ANONYMOUS,
            route=Route(op=op, level=Level.OBJECT, bucket=self.bucket, key=key, query={}),
            payload=Payload(body=NoBody(), size=0, algorithms=frozenset(), check=accept, claimed=False),
        )
        return await self.run(call)


async def serve_website(engine: Engine, request: Request, run: Run) -> Response:
    """The answer of the site that the host names; errors are pages, never raised."""
    bucket = request.bucket or ""
    site: Website | None = None
    visit = _Visit(engine, request, bucket, run)
    try:
        _, key = split_path(request.raw_path, bucket)
        site = await engine.configurations.get(bucket, KIND, Website)
        answer = await _answer(visit, site, key)
    except StratumError as error:
        answer = await _error(visit, site, answer_for(error))
    return replace(answer, headers=[*answer.headers, (b"x-content-type-options", b"nosniff")])


async def _answer(visit: _Visit, site: Website | None, key: bytes) -> Response:
    if site is None:
        raise S3Error("NoSuchWebsiteConfiguration", BucketName=visit.bucket)
    if visit.request.method not in ("GET", "HEAD"):
        raise S3Error("MethodNotAllowed", Method=visit.request.method)
    elsewhere = redirect_of(site, key)
    if elsewhere is not None:
        return _moved(visit.request, elsewhere)
    try:
        return _followed(await visit.read(document_key(site, key)))
    except StratumError as error:
        status = answer_for(error).status
        if status in (403, 404) and await _is_folder(visit, site, key):
            return _moved(visit.request, Redirect(302, "", "", key + b"/"))
        elsewhere = redirect_of(site, key, status)
        if elsewhere is None:
            raise
        return _moved(visit.request, elsewhere)


async def _is_folder(visit: _Visit, site: Website, key: bytes) -> bool:
    """Is there an index that anyone may read, had the visitor only written the slash?"""
    if not key or key.endswith(b"/"):
        return False
    looking = replace(visit, request=replace(visit.request, method="HEAD"))
    try:
        await looking.read(document_key(site, key + b"/"), {})
    except StratumError:
        return False
    return True


def _followed(answer: Response) -> Response:
    """An object may say that it is elsewhere."""
    location = next((value for name, value in answer.headers if name == REDIRECT_LOCATION.encode()), None)
    if location is None or answer.status not in (200, 206, 304):
        return answer
    return Response(301, [(b"location", location)], b"")


def _moved(request: Request, target: Redirect) -> Response:
    host = target.host or (request.header("host") or "")
    location = f"{target.protocol or request.scheme}://{host}/{quote(target.key, safe='/~')}"
    return Response(target.status, [(b"location", location.encode("latin-1"))], b"")


async def _error(visit: _Visit, site: Website | None, error: S3Error) -> Response:
    if site is not None and site.error and 400 <= error.status < 500 and visit.request.method in ("GET", "HEAD"):
        try:
            page = await visit.read(site.error.encode(), {})
        except StratumError as second:
            return _page(visit.request, error, site.error, answer_for(second))
        return replace(page, status=error.status)
    return _page(visit.request, error)


def _page(request: Request, error: S3Error, document: str = "", second: S3Error | None = None) -> Response:
    """The page that stands in where the site has none, as at AWS."""
    told = {"Code": error.code, "Message": error.message, **error.fields, "RequestId": request.request_id}
    title = f"{error.status} {error.code}"
    body = f"<html>\n<head><title>{html.escape(title)}</title></head>\n<body>\n<h1>{html.escape(title)}</h1>\n"
    body += _listed(told)
    if second is not None:
        body += "<h3>An Error Occurred While Attempting to Retrieve a Custom Error Document</h3>\n"
        body += _listed({"Code": second.code, "Message": second.message, "Key": document})
    body += "<hr/>\n</body>\n</html>\n"
    headers = [*error.headers, (b"content-type", b"text/html; charset=utf-8")]
    return Response(error.status, headers, b"" if request.method == "HEAD" else body.encode("utf-8", "replace"))


def _listed(told: Mapping[str, str]) -> str:
    lines = "".join(f"<li>{html.escape(name)}: {html.escape(text)}</li>\n" for name, text in told.items())
    return f"<ul>\n{lines}</ul>\n"
