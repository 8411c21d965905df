"""The native interface of this process: gRPC calls become requests at the S3 door, signed as who made them.

Room: stratum/serve. May import: everything. As in endpoint.py, the siblings s3 and rpc meet here.
"""

import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote, unquote

import grpc
import msgspec

from stratum.core.errors import Invalid, NotFound, StratumError, Unavailable
from stratum.engine.engine import Engine
from stratum.engine.health import status
from stratum.rpc.call import Answered, Asked, Refused
from stratum.rpc.objects import CODES
from stratum.rpc.server import Rpc, serve_rpc
from stratum.s3.app import Door
from stratum.s3.errors import S3Error
from stratum.s3.http import Headers, NoBody, Request
from stratum.s3.presign import Signer
from stratum.s3.sigv4 import Verifier
from stratum.serve.tls import Tls

__all__ = ["make_rpc", "rpc_credentials", "serve_rpc"]

HOST = (b"host", b"stratum")  # what is signed as the host: gRPC does not say to which name it connected
SIGNED = ("x-amz-date", "x-amz-content-sha256", "authorization", "x-amz-security-token")


def make_rpc(engine: Engine, door: Door, credentials: grpc.ServerCredentials | None) -> Rpc:
    """Return what serves the native interface for one engine."""

    async def ask(asked: Asked) -> Answered:
        response = await door.handle(_request(asked, engine))
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
        body = response.body if asked.method != "HEAD" else b""
        return Answered(response.status, headers, body)

    return Rpc(ask=ask, pages=_pages(engine), authorise=_authorise_with(engine), credentials=credentials)


def rpc_credentials(tls: Tls) -> grpc.ServerCredentials:
    """TLS with the certificate of the other doors, looked at again for each handshake. Blocking. Raises OSError."""

    def configuration() -> grpc.ServerCertificateConfiguration:
        return grpc.ssl_server_certificate_configuration([tls.pem()])

    return grpc.dynamic_ssl_server_credentials(configuration(), configuration, False)


def _request(asked: Asked, engine: Engine) -> Request:
    path = f"/{asked.bucket}/{quote(asked.key, safe='/-_.~')}" if asked.key else f"/{asked.bucket}"
    pairs = (f"{quote(name)}={quote(value, safe='')}" if value else quote(name) for name, value in asked.query.items())
    headers: Headers = [(b"host", b"127.0.0.1")]
    try:
        headers += [(name.lower().encode("ascii"), _printable(value)) for name, value in asked.headers.items()]
    except UnicodeEncodeError as error:
        raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "names of metadata are ASCII") from error
    body = asked.body
    request = Request(
        method=asked.method,
        raw_path=path.encode(),
        raw_query="&".join(pairs).encode(),
        headers=headers,
        body=NoBody() if isinstance(body, bytes) else body,
        peer=_address(asked.peer),
        scheme="https",
    )
    secret = engine.credentials.secret_of(asked.access_key)
    signer = Signer(asked.access_key, secret, engine.settings.region)
    signed = signer.headers(request, now_s=int(time.time()))
    return replace(request, headers=signed)


def _printable(value: str) -> bytes:
    """As S3 clients send what is not ASCII in metadata: RFC 2047 words are theirs; here it is UTF-8 as it is."""
    if re.search(r"[\x00-\x08\x0a-\x1f\x7f]", value):
        raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "control characters may not stand in metadata")
    return value.encode()


def _address(peer: str) -> str:
    """The address in `ipv4:127.0.0.1:50000`, `ipv6:%5B::1%5D:50000`; empty for others."""
    found = re.fullmatch(r"ipv[46]:\[?(.+?)\]?:\d+", unquote(peer))
    return found[1] if found else ""


def _authorise_with(engine: Engine) -> Callable[[str, Mapping[str, str], str], Awaitable[str]]:
    verifier = Verifier(region=engine.settings.region, secret_of=engine.credentials.secret_of)

    async def authorise(path: str, metadata: Mapping[str, str], peer: str) -> str:
        headers = [
            HOST,
            *((name.encode(), metadata[name].encode("latin-1", "replace")) for name in SIGNED if name in metadata),
        ]
        request = Request(method="POST", raw_path=path.encode(), headers=headers, peer=_address(peer))
        try:
            return verifier.verify(request, now_s=int(time.time())).access_key
        except S3Error as error:
            raise Refused(grpc.StatusCode.UNAUTHENTICATED, f"{error.code}: the call must be signed") from error

    return authorise


def _pages(engine: Engine) -> dict[str, Callable[..., Awaitable[str]]]:
    async def show_status(access_key: str) -> str:
        _root_only(engine, access_key)
        return msgspec.json.encode(await status(engine)).decode()

    async def explain(access_key: str, bucket: str, key: str, version: str) -> str:
        _root_only(engine, access_key)
        return await _told(_explain(engine, bucket, key, version))

    async def move(access_key: str, bucket: str, key: str, version: str, tier: str, backend: str) -> str:
        _root_only(engine, access_key)
        return await _told(_move(engine, bucket, key, version, tier, backend))

    return {"status": show_status, "explain": explain, "move": move}


async def _explain(engine: Engine, bucket: str, key: str, version: str) -> object:
    return await engine.tiering.explain_object(bucket, key.encode(), version or None)


async def _move(engine: Engine, bucket: str, key: str, version: str, tier: str, backend: str) -> object:
    view = await engine.objects.head(bucket, key.encode(), version or None)
    volumes = await engine.tiers.want_object(view, tier, "OPERATOR", backend)
    return {"queued": [f"{number:016x}" for number in volumes]}


async def _told(work: Awaitable[object]) -> str:
    try:
        return msgspec.json.encode(await work).decode()
    except StratumError as error:
        code = next((code for kind, code in _KINDS.items() if isinstance(error, kind)), CODES[500])
        raise Refused(code, f"{type(error).__name__}: {error.args[0] if error.args else ''}") from error


_KINDS: dict[type[StratumError], Any] = {
    NotFound: grpc.StatusCode.NOT_FOUND,
    Invalid: grpc.StatusCode.INVALID_ARGUMENT,
    Unavailable: grpc.StatusCode.UNAVAILABLE,
}


def _root_only(engine: Engine, access_key: str) -> None:
    if not engine.credentials.is_root(access_key):
        raise Refused(grpc.StatusCode.PERMISSION_DENIED, "this needs the root credential")
