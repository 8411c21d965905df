"""A line about each request to a bucket whose owner wants them, in the format of S3's server access logs.

Room: stratum/s3. May import: core, engine, s3.{call, errors, http, policy_context, routes, sub_resources}.

Invariants
    L1  One request is one line, whatever the client put into its key, agent or referrer: quotes, line ends and what is
        not printable ASCII are escaped.
    L2  Nothing that opens a door stands in a line: signatures, tokens and keys in a URL are blotted out.

Source: docs.aws.amazon.com/AmazonS3/latest/userguide/LogFormat.html. What is not known here is `-`, as there.
"""

import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from urllib.parse import quote

from stratum.engine.engine import Engine
from stratum.s3.call import Call
from stratum.s3.errors import S3Error
from stratum.s3.http import Request, Response
from stratum.s3.policy_context import principal_arn
from stratum.s3.routes import Op, split_path
from stratum.s3.sub_resources import SUBRESOURCES

TEXT_MAX = 2048  # characters of an agent or referrer; a URL is capped where it is received
SECRET = re.compile(
    r"(?<![^?&])((?:x-amz-(?:signature|security-token|[a-z-]*customer-key)|signature)=)[^&]*",
    re.IGNORECASE,
)
# Operations whose resource is not called after their sub-resource.
RESOURCES = {
    Op.LIST_OBJECT_VERSIONS: "BUCKETVERSIONS",
    Op.GET_BUCKET_POLICY: "BUCKETPOLICY",
    Op.PUT_BUCKET_POLICY: "BUCKETPOLICY",
    Op.DELETE_BUCKET_POLICY: "BUCKETPOLICY",
    Op.GET_BUCKET_LOGGING: "LOGGING_STATUS",
    Op.PUT_BUCKET_LOGGING: "LOGGING_STATUS",
    Op.GET_OBJECT_TAGGING: "OBJECT_TAGGING",
    Op.PUT_OBJECT_TAGGING: "OBJECT_TAGGING",
    Op.DELETE_OBJECT_TAGGING: "OBJECT_TAGGING",
    Op.DELETE_OBJECTS: "MULTI_OBJECT_DELETE",
    Op.UPLOAD_PART: "PART",
    Op.UPLOAD_PART_COPY: "PART",
    Op.COMPLETE_UPLOAD: "UPLOAD",
    Op.ABORT_UPLOAD: "UPLOAD",
    Op.LIST_PARTS: "UPLOAD",
    Op.LIST_OBJECTS_V2: "BUCKET",
}


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request as the door saw it. `call` is None where it did not come so far; `begun`: monotonic seconds."""

    request: Request
    call: Call | None
    error: str  # code; empty: none
    begun: float
    now_s: int  # seconds since the epoch
    host_id: str

    def place(self) -> tuple[str, bytes]:
        """(bucket, key) that it was about; empty where that cannot be told."""
        if self.call is not None:
            return self.call.bucket, self.call.key
        try:
            return split_path(self.request.raw_path, self.request.bucket)
        except S3Error:
            return "", b""


def logged(engine: Engine, exchange: Exchange, response: Response) -> Response:
    """The response, whose end is noted in the access log of the bucket, if there is one."""
    bucket, _ = exchange.place()
    owner = engine.access_logs.owner(bucket) if bucket else None
    if owner is None:
        return response
    turnaround = time.monotonic() - exchange.begun
    if isinstance(response.body, bytes):
        told = line(exchange, response, owner=owner, sent=len(response.body), turnaround=turnaround)
        engine.access_logs.note(bucket, told)
        return response

    def note(sent: int) -> None:
        told = line(exchange, response, owner=owner, sent=sent, turnaround=turnaround)
        engine.access_logs.note(bucket, told)

    return replace(response, body=_counted(response.body, note))


async def _counted(body: AsyncIterator[bytes], note: Callable[[int], None]) -> AsyncGenerator[bytes, None]:
    """The body; `note` is told how much of it was sent, also if the client went away."""
    sent = 0
    try:
        if isinstance(body, AsyncGenerator):
            async with aclosing(body):
                async for piece in body:
                    sent += len(piece)
                    yield piece
        else:
            async for piece in body:
                sent += len(piece)
                yield piece
    finally:
        note(sent)


def line(exchange: Exchange, response: Response, *, owner: str, sent: int, turnaround: float) -> bytes:
    """The line with its end. `sent`: bytes of the body; `turnaround`: seconds until the answer began."""
    request, call = exchange.request, exchange.call
    bucket, key = exchange.place()
    headers = dict(response.headers)
    total = time.monotonic() - exchange.begun
    version = headers.get(b"x-amz-version-id", b"").decode("latin-1")
    fields = (
        owner,
        bucket,
        f"[{datetime.fromtimestamp(exchange.now_s, UTC):%d/%b/%Y:%H:%M:%S} +0000]",
        request.peer or "-",
        _requester(call),
        request.request_id or "-",
        _operation(exchange, "OBJECT" if key else "BUCKET"),
        quote(key, safe="/~") or "-",
        f'"{request.method} {_target(request)} HTTP/1.1"',
        str(response.status),
        exchange.error or "-",
        str(sent) if sent else "-",
        _object_size(request, response.status, headers),
        str(round(total * 1000)),
        str(round(turnaround * 1000)),
        _quoted(request.header("referer")),
        _quoted(request.header("user-agent")),
        version or "-",
        exchange.host_id or "-",
        _signature(call),
        "-",
        _auth_type(call),
        _word(request.header("host")),
        "-",
        "-",
        "-",
    )
    return (" ".join(fields) + "\n").encode()


def _requester(call: Call | None) -> str:
    if call is None or call.principal.anonymous:
        return "-"
    return call.principal.user if call.principal.root else principal_arn(call.principal)


def _operation(exchange: Exchange, level: str) -> str:
    """REST.<method>.<resource>."""
    method, call = exchange.request.method, exchange.call
    if call is None:
        return f"REST.{method}.{level}"
    op = call.route.op
    if op is Op.COPY_OBJECT:
        return "REST.COPY.OBJECT"
    if op is Op.UPLOAD_PART_COPY:
        return "REST.COPY.PART"
    if op in RESOURCES:
        return f"REST.{method}.{RESOURCES[op]}"
    named = min(SUBRESOURCES & call.query.keys(), default="")
    return f"REST.{method}.{re.sub('[^A-Z]', '', named.upper()) or level}"


def _target(request: Request) -> str:
    """The request's target as it came, without what must not be told (L2)."""
    query = SECRET.sub(r"\1***", request.raw_query.decode("latin-1"))
    return _escaped(request.raw_path.decode("latin-1") + (f"?{query}" if query else ""))


def _object_size(request: Request, status: int, headers: dict[bytes, bytes]) -> str:
    if b"content-range" in headers:
        return headers[b"content-range"].rpartition(b"/")[2].decode("latin-1")
    if request.method in ("GET", "HEAD") and status == 200 and b"etag" in headers:
        return headers.get(b"content-length", b"-").decode("latin-1")
    if request.method == "PUT" and status == 200 and b"etag" in headers:
        return _word(request.header("x-amz-decoded-content-length") or request.header("content-length"))
    return "-"


def _signature(call: Call | None) -> str:
    if call is None or not call.signing.auth_type:
        return "-"
    return "SigV2" if "s3:signatureversion" in call.signing.more else "SigV4"


def _auth_type(call: Call | None) -> str:
    shown = {"REST-HEADER": "AuthHeader", "REST-QUERY-STRING": "QueryString", "POST": "-"}
    return shown.get(call.signing.auth_type, "-") if call is not None else "-"


def _quoted(text: str | None) -> str:
    return f'"{_escaped(text[:TEXT_MAX])}"' if text else '"-"'


def _word(text: str | None) -> str:
    return _escaped(text[:TEXT_MAX]).replace(" ", "%20") if text else "-"


def _escaped(text: str) -> str:
    """Printable ASCII without quotes and brackets of the format (L1)."""
    return "".join(each if " " <= each <= "~" and each not in '"\\[]' else quote(each) for each in text)
