"""The web console on a port of its own: its pages, the admin pages, and S3 requests of whoever is logged in.

Room: stratum/serve. May import: everything. As in endpoint.py, the siblings s3 and console meet here.

A browser's S3 request goes to /-/s3/<bucket>/<key> with the session's header. It is signed here with the key of the
session and then answered by the same door as everybody's: no rule is written twice, and nothing is allowed that the
key may not do.
"""

import logging
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec
from quart_trio import QuartTrio
from quart_trio.asgi import TrioASGIHTTPConnection

from stratum.console.access import Asked, Denied
from stratum.console.app import add_console
from stratum.console.metrics import RequestCounts
from stratum.console.sessions import Sessions
from stratum.console.web import HEADER, Wanted, Web, add_web, session_of
from stratum.core.config import Settings
from stratum.core.errors import NoSuchCredential
from stratum.engine.engine import Engine
from stratum.s3.app import Door, Exchanges
from stratum.s3.http import Headers, Request
from stratum.s3.presign import Signer
from stratum.s3.serve import open_listener
from stratum.serve.settings_file import as_keys
from stratum.serve.settings_values import join_address

log = logging.getLogger(__name__)

PASSED_ON = b"/-/s3/"
# What is the browser's own business and would mean something else to S3. `host` is replaced.
_LEFT_OUT = frozenset((HEADER, b"host", b"cookie", b"origin", b"referer", b"authorization", b"x-amz-security-token"))
_SANDBOX = [(b"content-security-policy", b"sandbox"), (b"x-content-type-options", b"nosniff")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Console:
    """What the console is made of. `s3_port`: where S3 listens."""

    engine: Engine
    door: Door
    sessions: Sessions
    about: Callable[[], Mapping[str, object]]
    token: str  # of the metrics page
    counts: RequestCounts
    s3_port: int


def web_listener(settings: Settings, *, asked_for: bool) -> socket.socket | None:
    """Bind the console's address; None if there is none, or if it is the default and taken.

    Raises OSError if an address that somebody asked for cannot be had.
    """
    if settings.console_port is None:
        return None
    address = join_address(settings.console_host, settings.console_port)
    try:
        return open_listener(settings.console_host, settings.console_port, settings.limits)
    except OSError as error:
        if asked_for:
            raise OSError(error.errno, f"the web console cannot listen on {address} ({error.strerror})") from error
        log.warning("there is no web console: %s is taken; set [console] address", address)
        return None


def make_web_app(console: Console) -> QuartTrio:
    """Return the app of the console."""
    engine, settings = console.engine, console.engine.settings
    app = QuartTrio("stratum_web", static_folder=None)
    exchanges = Exchanges(console.door, settings.limits)
    app.asgi_http_class = partial(_Connection, passing=_Passing(console, exchanges))  # type: ignore[assignment]

    async def authorise(asked: Asked) -> str:
        return session_of(console.sessions, asked.headers)

    add_console(
        app,
        engine,
        authorise=authorise,
        settings=as_keys(settings),
        about=console.about,
        token=console.token,
        counts=console.counts,
    )
    web = Web(
        sessions=console.sessions,
        endpoint=lambda host: _endpoint(settings, host, console.s3_port),
        link=partial(_link, engine),
        plain_http=settings.console_plain_http,
    )
    add_web(app, engine, web, authorise, console.about)
    return app


def _endpoint(settings: Settings, host: str, port: int) -> str:
    return settings.console_s3_url or f"{settings.scheme}://{host or '127.0.0.1'}:{port}"


def _signer(engine: Engine, access_key: str) -> Signer:
    return Signer(access_key, engine.credentials.secret_of(access_key), engine.settings.region)


def _link(engine: Engine, access_key: str, endpoint: str, wanted: Wanted) -> str:
    query = {"versionId": wanted.version} if wanted.version else {}
    if wanted.download:
        query["response-content-disposition"] = "attachment"
    now_s = int(time.time())
    signer = _signer(engine, access_key)
    return signer.url(endpoint, wanted.bucket, wanted.key.encode(), seconds=wanted.seconds, now_s=now_s, query=query)


class _Connection(TrioASGIHTTPConnection):
    """Tells S3 requests from the pages."""

    def __init__(self, app: QuartTrio, scope: Any, *, passing: "_Passing") -> None:
        super().__init__(app, scope)
        self._passing = passing

    async def __call__(self, receive: Any, send: Any) -> None:
        if self.scope["raw_path"].startswith(PASSED_ON):
            await self._passing.run(self.scope, receive, send)
        else:
            await super().__call__(receive, send)


@dataclass(frozen=True, slots=True)
class _Passing:
    """Passes requests on to S3."""

    console: Console
    exchanges: Exchanges

    async def run(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request; whoever is not logged in gets 401."""
        try:
            access_key = session_of(self.console.sessions, scope["headers"])
            signer = _signer(self.console.engine, access_key)
        except (Denied, NoSuchCredential) as error:
            await _deny(send, str(error))
            return
        await self.exchanges.run(_signed(scope, signer), receive, partial(_send_sandboxed, send))


def _signed(scope: Any, signer: Signer) -> dict[str, Any]:
    raw_path = scope["raw_path"][len(PASSED_ON) - 1 :]
    kept: Headers = [(b"host", b"127.0.0.1"), *(pair for pair in scope["headers"] if pair[0] not in _LEFT_OUT)]
    if scope["method"] == "HEAD":  # looking in the console is not even interest
        kept.append((b"x-stratum-purpose", b"none"))
    request = Request(method=scope["method"], raw_path=raw_path, raw_query=scope["query_string"], headers=kept)
    return {**scope, "raw_path": raw_path, "headers": signer.headers(request, now_s=int(time.time()))}


async def _send_sandboxed(send: Any, message: dict[str, Any]) -> None:
    """Nothing that a bucket serves may run here, should a browser ever show it."""
    if message["type"] == "http.response.start":
        message = {**message, "headers": [*message["headers"], *_SANDBOX]}
    await send(message)


async def _deny(send: Any, reason: str) -> None:
    body = msgspec.json.encode({"error": "Denied", "message": reason})
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),  # its body, if any, is not read
        *_SANDBOX,
    ]
    await send({"type": "http.response.start", "status": 401, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
