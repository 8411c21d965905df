"""The web console's own pages: its files, logging in and out, links to hand on. All on a port of its own.

Room: stratum/console. May import: console.{access, answers, sessions, users}, core.errors, engine.

The console never shares an origin with the S3 endpoint, because a bucket may serve anybody's HTML. What it does with
objects it does as an S3 client: requests below /-/s3/ are passed on to the S3 door as the key that is logged in
(serve/web_endpoint.py). Administration is the pages of `admin.py`, the same that the command line asks.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
from quart import Quart, Response, request

from stratum.console.access import Authorise, Denied, asked
from stratum.console.answers import answer
from stratum.console.sessions import Refused, Sessions, TooMany
from stratum.console.users import body_of
from stratum.core.errors import InvalidArgument
from stratum.engine.engine import Engine

HEADER = b"x-stratum-session"
FILES = Path(__file__).parent / "web"
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_HOST = re.compile(r"[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]")
_LOOPBACK = ("127.", "::1", "::ffff:127.")


class LogIn(msgspec.Struct, forbid_unknown_fields=True):
    """A key and its secret; or a ticket from the terminal."""

    access_key: str = ""
    secret_key: str = ""
    ticket: str = ""


class Wanted(msgspec.Struct, forbid_unknown_fields=True):
    """An object that somebody without credentials shall be able to read for some seconds."""

    bucket: str
    key: str
    version: str = ""
    seconds: int = 3600
    download: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Web:
    """What the pages need beside the engine. `endpoint`: URL of S3 for a browser that came by that host name."""

    sessions: Sessions
    endpoint: Callable[[str], str]
    link: Callable[[str, str, Wanted], str]  # (access key, endpoint, what); raises ValueError
    plain_http: bool  # logging in without TLS is allowed from other machines, too


def session_of(sessions: Sessions, headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The access key that a request of the console stands for. Raises Denied with 401."""
    try:
        return sessions.holder(_token(headers))
    except Refused as error:
        raise Denied(str(error), 401) from error


def add_web(
    app: Quart, engine: Engine, web: Web, authorise: Authorise, about: Callable[[], Mapping[str, object]]
) -> None:
    """Register the pages on `app`. `authorise` is that of the admin pages: Asked -> access key."""
    _add_files(app, web)
    _add_sessions(app, engine, web)

    @app.get("/-/session")
    async def who() -> Response:
        access_key = await authorise(await asked())
        principal = engine.credentials.principal_of(access_key)
        shown = {"access_key": access_key, "name": principal.name, "root": engine.credentials.is_root(access_key)}
        return answer({**shown, "endpoint": web.endpoint(_host()), "version": about().get("version", "")})

    @app.post("/-/link")
    async def make_link() -> Response:
        access_key = await authorise(await asked())
        wanted = await body_of(Wanted)
        try:
            url = web.link(access_key, web.endpoint(_host()), wanted)
        except ValueError as error:
            raise InvalidArgument(str(error)) from error
        return answer({"url": url, "seconds": wanted.seconds})


def _add_files(app: Quart, web: Web) -> None:
    known = {path.name: path for path in sorted(FILES.iterdir()) if path.suffix in TYPES}

    async def send(name: str) -> Response:
        path = known.get(name)
        if path is None:
            return answer({"error": "NotFound", "message": "there is no such page"}, 404)
        response = Response(path.read_bytes(), 200, mimetype=TYPES[path.suffix])
        response.headers["Cache-Control"] = "no-cache"
        return response

    @app.get("/")
    async def index() -> Response:
        return await send("index.html")

    @app.get("/web/<name>")
    async def file(name: str) -> Response:
        return await send(name)

    @app.after_request
    async def protect(response: Response) -> Response:
        for header, value in protections(web.endpoint(_host())).items():
            response.headers[header] = value
        return response


def protections(endpoint: str) -> dict[str, str]:
    """Headers of every answer: nothing but our own files runs, and nobody puts the console into a frame."""
    policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    policy += f"connect-src 'self' {endpoint}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    return {
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
    }


def _add_sessions(app: Quart, engine: Engine, web: Web) -> None:
    @app.post("/-/session")
    async def log_in() -> Response:
        peer = (await asked()).peer
        if not web.plain_http and request.scheme != "https" and not peer.startswith(_LOOPBACK):
            raise Denied("a secret key is not sent over plain HTTP: turn on [s3.tls], or use this machine's browser")
        given = await body_of(LogIn)
        try:
            token = (
                web.sessions.redeem(given.ticket)
                if given.ticket
                else web.sessions.log_in(given.access_key, given.secret_key)
            )
        except TooMany as error:
            raise Denied(str(error), 429) from error
        except Refused as error:
            raise Denied(str(error), 403) from error
        return answer({"session": token}, 201)

    @app.delete("/-/session")
    async def log_out() -> Response:
        web.sessions.end(_token((await asked()).headers))
        return answer({"ended": True})


def _token(headers: Iterable[tuple[bytes, bytes]]) -> str:
    return next((value for name, value in headers if name == HEADER), b"").decode("latin-1")


def _host() -> str:
    """The host name by which the browser came here, without the port; empty if it is none."""
    name = (request.headers.get("Host") or "").strip()
    bare = name.rpartition(":")[0] if re.search(r":[0-9]{1,5}$", name) else name
    return bare if _HOST.fullmatch(bare) else ""
