"""The web application: S3 answered straight from the connection, everything below `/-/` by Quart's routes.

Room: stratum/s3. May import: s3.{errors, hosts, http, receiving}.

Quart's router changes keys, its request object buffers whole bodies and its limits cut long answers; so S3 requests are
answered in `asgi_http_class`, Quart's own extension point, before any of that sees them. No bucket can be named `-`.

Invariants
    A1  An answer that fails half-way is cut off: it never ends as if it were whole (law 5).
    A2  After an answer that came before the end of the body, the rest is read for a while or the connection is closed;
        a rest never becomes the next request.
    A3  Nothing outlives its exchange: handler, body and watcher are one nursery.
"""

import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import suppress
from functools import partial
from typing import Any, Protocol

import trio
from quart_trio import QuartTrio
from quart_trio.asgi import TrioASGIHTTPConnection

from stratum.core.config import Limits
from stratum.core.errors import StratumError
from stratum.s3.errors import S3Error, error_response
from stratum.s3.hosts import Hosts
from stratum.s3.http import Headers, NoBody, Request, Response, header
from stratum.s3.receiving import Receive, RequestBody

log = logging.getLogger(__name__)

CONSOLE = b"/-/"
CUT = "stratum.cut"  # in the scope's state: what closes this connection at once (see serve.py)
TLS = "stratum.tls"  # likewise: version of TLS, 1.2 or 1.3; empty: none
OWN = "stratum.own"  # likewise: the connection itself sees clients go, and deals with rests (see connection.py)

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Scope = MutableMapping[str, Any]


class Door(Protocol):
    """What answers S3 requests."""

    async def handle(self, request: Request) -> Response:
        """Return the answer; never raises but for cancellation."""
        ...


def make_app(door: Door, limits: Limits | None = None, hosts: Hosts | None = None) -> QuartTrio:
    """Return the app: S3 by `door`; routes below `/-/` may be added as to any Quart app.

    `hosts`: a host that names a bucket has no console: there `/-/` is a key, and what a browser runs from a bucket is
    never of the console's origin.
    """
    app = QuartTrio("stratum", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = None
    app.config["BODY_TIMEOUT"] = None
    app.config["RESPONSE_TIMEOUT"] = None
    app.asgi_http_class = partial(_Connection, exchanges=Exchanges(door, limits or Limits()), hosts=hosts or Hosts())  # type: ignore[assignment]
    return app


class _Connection(TrioASGIHTTPConnection):
    """Tells S3 from the rest."""

    def __init__(self, app: QuartTrio, scope: Any, *, exchanges: "Exchanges", hosts: Hosts) -> None:
        super().__init__(app, scope)
        self._exchanges = exchanges
        self._hosts = hosts

    async def __call__(self, receive: Any, send: Any) -> None:
        if self.scope["raw_path"].startswith(CONSOLE) and not self._of_bucket():
            await super().__call__(receive, send)
        else:
            await self._exchanges.run(self.scope, receive, send)

    def _of_bucket(self) -> bool:
        peer = (self.scope.get("client") or ("",))[0]
        request = Request(method="GET", raw_path=b"/", headers=list(self.scope["headers"]), peer=peer)
        return self._hosts.arrived(request).bucket is not None


class Exchanges:
    """Every S3 request under way."""

    def __init__(self, door: Door, limits: Limits) -> None:
        self._door = door
        self._limits = limits
        self._under_way = 0

    async def run(self, scope: Any, receive: Receive, send: Send) -> None:
        """Answer one request; returns when the exchange is over."""
        self._under_way += 1
        try:
            if scope.get("state", {}).get(OWN):
                await self._exchange(scope, RequestBody(receive, self._limits, scope["state"][CUT]), send)
            else:
                await self._run_watched(scope, receive, send)
        finally:
            self._under_way -= 1

    async def _run_watched(self, scope: Any, receive: Receive, send: Send) -> None:
        async with trio.open_nursery() as nursery:
            body = RequestBody(receive, self._limits, nursery.cancel_scope.cancel)
            nursery.start_soon(body.watch)
            await self._exchange(scope, body, send)
            nursery.cancel_scope.cancel()

    async def _exchange(self, scope: Scope, body: RequestBody, send: Send) -> None:
        if not _has_body(scope["headers"]):
            await self._take_nothing(scope, body)
        request = Request(
            method=scope["method"],
            raw_path=scope["raw_path"],
            raw_query=scope["query_string"],
            headers=list(scope["headers"]),
            body=body,
            peer=(scope.get("client") or ("",))[0],
            scheme=scope["scheme"],
            tls_version=scope.get("state", {}).get(TLS, ""),
            request_id=f"{random.getrandbits(64):016X}",
        )
        refusal = self._refusal(scope)
        response = await self._door.handle(request) if refusal is None else _refused(refusal, request)
        await _Answer(scope, body, send, self._limits).give(response)

    async def _take_nothing(self, scope: Scope, body: RequestBody) -> None:
        if scope.get("state", {}).get(OWN) and not any(name == b"expect" for name, _ in scope["headers"]):
            body.ended.set()  # our connection need not be asked
        else:
            await body.skip()

    def _refusal(self, scope: Scope) -> S3Error | None:
        """What is refused before anybody looks at it."""
        names = [name for name, _ in scope["headers"]]
        if scope["http_version"].startswith("2") and not scope.get("state", {}).get(OWN):
            return S3Error("HttpVersionNotSupported")
        if b"content-length" in names and b"transfer-encoding" in names:
            return S3Error("InvalidRequest", "Content-Length and Transfer-Encoding exclude each other.")
        if sum(len(name) + len(value) + 4 for name, value in scope["headers"]) > self._limits.header_bytes:
            return S3Error("RequestHeaderSectionTooLarge")
        return S3Error("SlowDown") if self._under_way > self._limits.requests else None


def _has_body(headers: Headers) -> bool:
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value.strip() != b"0") for name, value in headers
    )


def _refused(error: S3Error, request: Request) -> Response:
    resource = request.raw_path.decode("latin-1")
    head = request.method == "HEAD"
    # Whoever framed such a request may mean another one by its bytes than we do: no further request on this connection.
    error.headers.append((b"connection", b"close"))
    return error_response(error, resource=resource, request_id=request.request_id, host_id="stratum", head=head)


class _Answer:
    """Gives one response, and takes care of the rest of the request."""

    def __init__(self, scope: Scope, body: RequestBody, send: Send, limits: Limits) -> None:
        self._scope, self._body, self._send, self._limits = scope, body, send, limits
        self._own = bool(scope.get("state", {}).get(OWN))

    async def give(self, response: Response) -> None:
        """Send the answer whole, or cut the connection (A1)."""
        try:
            await self._send(
                {"type": "http.response.start", "status": response.status, "headers": self._headers(response)}
            )
            await self._send_body(response.body)
            if self._own or await self._rest_is_taken():
                self._body.answered()
                await self._send({"type": "http.response.body", "body": b"", "more_body": False})
            else:
                self._cut()
        except StratumError as error:
            log.warning("an answer was cut off: %s: %s", type(error).__name__, error)
            self._cut()
        except (OSError, trio.BrokenResourceError, trio.BusyResourceError, trio.ClosedResourceError) as error:
            log.debug("the connection ended before the answer: %s", error)
            self._cut()
        except Exception:
            log.exception("an answer was cut off; this is a bug")
            self._cut()

    def _headers(self, response: Response) -> Headers:
        headers = list(response.headers)
        names = {name.lower() for name, _ in headers}
        bodiless = self._scope["method"] == "HEAD" or response.status in (204, 304)
        if isinstance(response.body, bytes) and b"content-length" not in names and not bodiless:
            headers.append(header("content-length", len(response.body)))
        if not self._own and not self._body.ended.is_set() and not self._rest_is_small():
            headers.append((b"connection", b"close"))
        return headers

    async def _send_body(self, body: bytes | AsyncIterator[bytes]) -> None:
        if isinstance(body, bytes):
            if body:
                await self._send({"type": "http.response.body", "body": body, "more_body": True})
            return
        try:
            async for piece in body if self._scope["method"] != "HEAD" else NoBody():
                await self._send({"type": "http.response.body", "body": piece, "more_body": True})
        finally:
            close = getattr(body, "aclose", None)
            if close is not None:
                with trio.CancelScope(shield=True):
                    await close()

    def _rest_is_small(self) -> bool:
        declared = dict(self._scope["headers"]).get(b"content-length", b"")
        return declared.isdigit() and int(declared[:20]) <= self._limits.linger_bytes

    async def _rest_is_taken(self) -> bool:
        """Read on for a while, so that the client sees the answer instead of a reset; False: hang up (A2)."""
        with trio.move_on_after(self._limits.linger), suppress(S3Error):
            await self._body.skip()
        return self._body.ended.is_set()

    def _cut(self) -> None:
        """Close the connection now. Without a server of ours, the missing end of the answer makes it close."""
        cut = self._scope.get("state", {}).get(CUT)
        if cut is not None:
            cut()
