"""One authenticated S3 request, taken apart: what every handler gets.

Room: stratum/s3. May import: core, engine, s3.{http, routes}.
"""

from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

from stratum.core.objects import Check
from stratum.engine.engine import Engine
from stratum.s3.http import Request, Response


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """`query` holds decoded names and values; `headers` lower-case names; `principal` the access key that signed."""

    engine: Engine
    request: Request
    bucket: str
    key: bytes
    query: Mapping[str, str]
    headers: Mapping[str, str]
    principal: str
    body: AsyncIterator[bytes]  # decoded: no aws-chunked framing; verified to its end by `check`
    algorithms: frozenset[str]  # digests that `check` wants to see
    check: Check
    size: int | None  # declared length of the decoded body, bytes


Handler = Callable[[Call], Coroutine[Any, Any, Response]]
