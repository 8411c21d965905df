"""Who may ask what below /-/: the guard in front of every page but health.

Room: stratum/console. May import: core.errors, engine.

How a request is signed is the S3 room's knowledge. This room gets it as a plain function, `Authorise`, and never
imports its sibling.
"""

import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import wraps

from quart import Response, g, request

from stratum.core.errors import NoSuchCredential
from stratum.engine.engine import Engine

Page = Callable[..., Awaitable[Response]]

BODY_BYTES = 64 * 1024  # of any request below /-/
BODY_SECONDS = 10
ANSWER_SECONDS = 60


class Denied(Exception):
    """The request is not signed, or not by somebody who may do this. `str()` is what the client is told."""

    def __init__(self, reason: str, status: int = 403) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it arrived, for checking its signature."""

    method: str
    raw_path: bytes
    raw_query: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes
    peer: str


Authorise = Callable[[Asked], Awaitable[str]]  # returns the access key that signed; raises Denied


async def asked() -> Asked:
    """The current request, its body read whole (bounded by BODY_BYTES)."""
    scope = request.scope
    return Asked(
        method=request.method,
        raw_path=scope.get("raw_path") or scope["path"].encode(),
        raw_query=scope["query_string"],
        headers=list(scope["headers"]),
        body=await request.get_data(),
        peer=(scope.get("client") or ("", 0))[0],
    )


def root_only(engine: Engine, authorise: Authorise) -> Callable[[Page], Page]:
    """A decorator: the page is for who signs with the root credential. It finds that key as `g.access_key`."""

    def guard(page: Page) -> Page:
        @wraps(page)
        async def guarded(**arguments: str) -> Response:
            g.access_key = await authorise(await asked())
            if not engine.credentials.is_root(g.access_key):
                raise Denied("this needs the root credential")
            return await page(**arguments)

        return guarded

    return guard


def root_or_tenant(engine: Engine, authorise: Authorise) -> Callable[[Page], Page]:
    """A decorator: as `root_only`, or for the root of a tenant, then `g.tenant` is its id (else empty): the page must
    show and change only what belongs to it (`check_scope`)."""

    def guard(page: Page) -> Page:
        @wraps(page)
        async def guarded(**arguments: str) -> Response:
            g.access_key = await authorise(await asked())
            g.tenant = ""
            if not engine.credentials.is_root(g.access_key):
                g.tenant = _tenant_of(engine, g.access_key)
                if not g.tenant:
                    raise Denied("this needs the root credential, or a key of a tenant's root")
            return await page(**arguments)

        return guarded

    return guard


def _tenant_of(engine: Engine, access_key: str) -> str:
    """The tenant that a key's user administers; empty: none."""
    try:
        return engine.tenants.administered_by(engine.credentials.principal_of(access_key))
    except NoSuchCredential:
        return ""


def check_scope(engine: Engine, user: str, *, root_too: bool = False) -> None:
    """Raise Denied if a tenant asks about a user that is not its own; about its root only with `root_too`."""
    own = g.tenant and engine.tenants.has_user(g.tenant, user) and (root_too or user != g.tenant)
    if g.tenant and not own:
        raise Denied(f"{user or 'the operator'} is no user of this tenant")


def is_bearer(header: str, token: str) -> bool:
    """Is this Authorization header that token?"""
    return hmac.compare_digest(header.encode(), f"Bearer {token}".encode())
