"""One authenticated S3 request, taken apart: what every handler gets.

Room: stratum/s3. May import: core, engine, s3.{http, payload, routes}.
"""

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

from stratum.core.principals import Principal
from stratum.engine.engine import Engine
from stratum.s3.http import Request, Response
from stratum.s3.payload import Payload
from stratum.s3.routes import Route


@dataclass(frozen=True, slots=True, kw_only=True)
class Signing:
    """How a request was signed, for policies that ask. Nothing is set for an anonymous one."""

    auth_type: str = ""  # s3:authType
    signed_s: int | None = None  # seconds since the epoch
    more: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # further condition keys


UNSIGNED = Signing()


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """`headers` have lower-case names; `principal` is who signed, or ANONYMOUS."""

    engine: Engine
    request: Request
    headers: Mapping[str, str]
    principal: Principal
    route: Route
    payload: Payload  # the decoded body, and what vouches for it
    signing: Signing = UNSIGNED
    rejudge: Callable[[Mapping[str, str]], Awaitable[None]] | None = None  # looks at tags of the body, to be stored

    @property
    def bucket(self) -> str:
        """Name of the bucket; empty at the service level."""
        return self.route.bucket

    @property
    def key(self) -> bytes:
        """The key; empty above the object level."""
        return self.route.key

    @property
    def version(self) -> str | None:
        """The version id that was asked for; None: the current object."""
        return self.route.query.get("versionId") or None

    @property
    def query(self) -> Mapping[str, str]:
        """Decoded parameters of the query."""
        return self.route.query


Handler = Callable[[Call], Coroutine[Any, Any, Response]]
