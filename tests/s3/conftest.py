"""The S3 door on a real engine, a real socket and a real client (boto3 in a thread).

STRATUM_TEST_CONNECTION says what speaks HTTP/1.1 in these tests: httptools (our connection, the default), h11
(hypercorn's), both (every test runs twice, and those of STREAMING again over TLS and over HTTP/2; contrib/test.sh sets
it), tls: our connection over TLS, or h2: HTTP/2, `[s3] http2 = true`.
"""

import os
import ssl
import time
from functools import partial

import pytest
import trio
from botocore.config import Config

from stratum.s3.app import make_app
from stratum.s3.door import S3Door
from stratum.s3.hosts import Hosts
from stratum.s3.serve import Serving, open_listener, serve_app
from stratum.serve.self_signed import renew
from stratum.serve.tls import load
from tests.engine.conftest import ROOT, engine_at
from tests.s3.http2_client import speak_http2
from tests.sdk import sdk_client

os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")

ASKED = os.environ.get("STRATUM_TEST_CONNECTION", "httptools")
CONNECTIONS = ["httptools", "h11", "tls", "h2"] if ASKED == "both" else [ASKED]
# Over TLS clients frame bodies in other ways: nested chunks with trailers come only there.
STREAMING = {"test_bad_input", "test_checksums", "test_door", "test_encryption", "test_form", "test_presigned"}
# HTTP/2 is an option that is off: every test of the door runs over it when it is asked for, in every run these.
IN_HTTP2 = {"test_checksums", "test_door"}


def pytest_collection_modifyitems(config, items):
    """Leave out what TLS and HTTP/2 make no difference to, unless it was asked for."""
    if ASKED != "both":
        return
    left_out = [item for item in items if item.path.stem not in _wanted(item)]
    dropped = set(left_out)
    items[:] = [item for item in items if item not in dropped]
    config.hook.pytest_deselected(items=left_out)


def _wanted(item) -> set[str]:
    """The modules whose tests are to run over the connection of `item`."""
    spec = getattr(item, "callspec", None)
    connection = spec.params.get("connection") if spec is not None else None
    return {"tls": STREAMING, "h2": IN_HTTP2}.get(connection, {item.path.stem})


class Endpoint:
    """An endpoint on loopback. `call` runs a method of the boto3 client in a thread."""

    def __init__(self, engine, port: int, scheme: str = "http", http2: bool = False) -> None:
        self.engine = engine
        self._http2 = http2
        self._pools: list = []
        self.port = port
        self.scheme = scheme
        self.url = f"{scheme}://127.0.0.1:{port}"
        self.client = self.client_for(ROOT.access_key, ROOT.secret_key)

    def client_for(self, access: str, secret: str, style: str = "path", host: str = "127.0.0.1", **config):
        config.setdefault("retries", {"total_max_attempts": 1})
        client = sdk_client(
            "s3",
            endpoint_url=f"{self.scheme}://{host}:{self.port}",
            aws_access_key_id=access,
            aws_secret_access_key=secret,
            region_name="us-east-1",
            config=Config(signature_version="s3v4", s3={"addressing_style": style}, **config),
        )
        if self._http2:
            self._pools.append(speak_http2(client))
        return client

    def close(self) -> None:
        """Close the first client, and what carried all of them."""
        self.client.close()
        for pool in self._pools:
            pool.close()

    def virtual_client(self, **config):
        """A client that puts the bucket into the host name: bucket.localhost."""
        return self.client_for(ROOT.access_key, ROOT.secret_key, style="virtual", host="localhost", **config)

    async def call(self, method: str, **arguments):
        return await self.run(partial(getattr(self.client, method), **arguments))

    async def run(self, work):
        return await trio.to_thread.run_sync(work)

    async def body(self, key: str, bucket: str = "bucket", **arguments) -> bytes:
        return await self.run(lambda: self.client.get_object(Bucket=bucket, Key=key, **arguments)["Body"].read())

    async def connect(self):
        """Open a connection of bytes."""
        stream = await trio.open_tcp_stream("127.0.0.1", self.port)
        if self.scheme == "http":
            return stream
        context = ssl.create_default_context()
        return trio.SSLStream(stream, context, server_hostname="127.0.0.1", https_compatible=True)

    async def raw(self, sent: bytes, patience: float = 30) -> bytes:
        """Send bytes over a fresh connection, return all that comes until it closes (or `patience` seconds)."""
        stream = await self.connect()
        async with stream:
            await stream.send_all(sent)
            received = b""
            with trio.move_on_after(patience):
                async for piece in stream:
                    received += piece
        return received


def _serving(connection: str, tls_context) -> Serving:
    if tls_context is None:
        return Serving(protocol=connection)
    if connection == "h2":
        return Serving(tls=lambda: tls_context, http2_tls=lambda: tls_context)
    return Serving(tls=lambda: tls_context)


@pytest.fixture(scope="session", params=CONNECTIONS)
def connection(request):
    """What speaks HTTP/1.1."""
    return request.param


@pytest.fixture(scope="session")
def self_signed(connection, tmp_path_factory):
    """(file, context) of a self-signed certificate; None: plain HTTP."""
    if connection not in ("tls", "h2"):
        return None
    folder = tmp_path_factory.mktemp("trust")
    secret = renew(folder, ("127.0.0.1", "localhost", "bucket.localhost"), time.time())
    return str(folder / "certificate.pem"), load(secret, None, http2=connection == "h2")


@pytest.fixture
def tls_context(self_signed, monkeypatch):
    """Context of a certificate that every client of this test trusts, and of no other test; None: plain HTTP."""
    if self_signed is None:
        return None
    certificate, context = self_signed
    monkeypatch.setenv("SSL_CERT_FILE", certificate)  # for OpenSSL's defaults
    monkeypatch.setenv("AWS_CA_BUNDLE", certificate)
    return context


@pytest.fixture
async def endpoint(tmp_path, connection, tls_context):
    async with engine_at(tmp_path) as engine:
        door = S3Door(engine, now_s=lambda: int(time.time()))
        listener = open_listener("127.0.0.1", 0)
        stop = trio.Event()
        async with trio.open_nursery() as nursery:
            app, serving = make_app(door, None, Hosts.of(engine.settings)), _serving(connection, tls_context)
            serve = partial(serve_app, app, listener, stop=stop.wait, grace=1.0, serving=serving)
            address = await nursery.start(serve)
            made = Endpoint(engine, address.port, "https" if tls_context else "http", connection == "h2")
            await made.call("create_bucket", Bucket="bucket")
            yield made
            await made.run(made.close)
            stop.set()
