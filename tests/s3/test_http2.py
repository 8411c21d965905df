"""HTTP/2 is spoken over TLS where it is asked for, and nowhere else; floods of it end calmly (decision 0022)."""

import gc
import logging
import ssl
import time
from functools import partial
from typing import ClassVar

import h2.errors
import httpcore
import pytest
import trio

from stratum.core.config import Limits
from stratum.s3 import http2_protocol
from stratum.s3.app import make_app
from stratum.s3.door import S3Door
from stratum.s3.http2_guard import BATCH, Guard
from stratum.s3.serve import Serving, open_listener, serve_app
from stratum.serve.self_signed import renew
from stratum.serve.tls import load
from tests.engine.conftest import engine_at
from tests.s3.http2_floods import FLOODS, client

FLOOD = 4000  # frames or requests


@pytest.fixture
async def engine(tmp_path):
    async with engine_at(tmp_path) as made:
        yield made


@pytest.fixture(params=["httptools", "h11"])
async def port(request, engine):
    listener, stop = open_listener("127.0.0.1", 0), trio.Event()
    app = make_app(S3Door(engine, now_s=lambda: 0))
    async with trio.open_nursery() as nursery:
        serving = Serving(protocol=request.param)
        serve = partial(serve_app, app, listener, stop=stop.wait, grace=1.0, serving=serving)
        yield (await nursery.start(serve)).port
        stop.set()


class Secure:
    """An endpoint with `[s3] http2 = true`, and clients of it."""

    def __init__(self, port: int, certificate: str) -> None:
        self.port, self._certificate = port, certificate

    def context(self, *protocols: str) -> ssl.SSLContext:
        made = ssl.create_default_context(cafile=self._certificate)
        if protocols:
            made.set_alpn_protocols(list(protocols))
        return made

    async def connect(self, *protocols: str) -> trio.SSLStream:
        stream = await trio.open_tcp_stream("127.0.0.1", self.port)
        tls = trio.SSLStream(stream, self.context(*protocols), server_hostname="localhost", https_compatible=True)
        await tls.do_handshake()
        return tls


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trust")
    return renew(folder, ("localhost", "127.0.0.1"), time.time())


@pytest.fixture(params=["httptools", "h11"])
def protocol(request):
    return request.param


@pytest.fixture
def limits():
    return Limits(linger=0.2)


@pytest.fixture
async def secure(engine, certificate, limits, protocol):
    listener, stop = open_listener("127.0.0.1", 0), trio.Event()
    app = make_app(S3Door(engine, now_s=lambda: 0), limits)
    contexts = load(certificate, None), load(certificate, None, http2=True)
    async with trio.open_nursery() as nursery:
        serving = Serving(limits=limits, protocol=protocol, tls=lambda: contexts[0], http2_tls=lambda: contexts[1])
        serve = partial(serve_app, app, listener, stop=stop.wait, grace=1.0, serving=serving)
        port = (await nursery.start(serve)).port
        yield Secure(port, str(certificate.parent / "certificate.pem"))
        stop.set()


async def told(port: int, *pieces: bytes) -> bytes:
    """Send it all, or until we are hung up on; return all that comes back."""
    return await told_over(await trio.open_tcp_stream("127.0.0.1", port), pieces)


async def told_over(stream, pieces) -> bytes:
    heard = bytearray()

    async def listen() -> None:
        try:
            async for piece in stream:
                heard.extend(piece)
        except trio.BrokenResourceError:
            pass

    async with stream, trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        try:
            for piece in pieces:
                await stream.send_all(piece)
        except trio.BrokenResourceError:
            pass
        with trio.fail_after(30):
            while nursery.child_tasks:
                await trio.sleep(0.005)
    return bytes(heard)


@pytest.mark.parametrize("name", FLOODS)
async def test_a_flood_of_http2_is_hung_up_on_and_leaves_nothing(port, name):
    pieces = list(FLOODS[name](FLOOD))
    gc.collect()
    before = trio.lowlevel.current_statistics().tasks_living
    for _ in range(3):
        heard = await told(port, *pieces)
        assert heard == b"" or heard.startswith((b"HTTP/1.1 4", b"HTTP/1.1 5"))
        assert len(heard) < 2000
    with trio.fail_after(30):
        while trio.lowlevel.current_statistics().tasks_living > before:
            await trio.sleep(0.005)
    healthy = await told(port, b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert healthy.startswith(b"HTTP/1.1 403")


async def test_an_upgrade_to_http2_in_plain_text_is_not_made(port):
    request = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\n"
    heard = await told(port, request + b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n", client().data_to_send())
    assert b"101" not in heard.partition(b"\r\n")[0]
    assert heard == b"" or heard.startswith(b"HTTP/1.1 4")


def test_tls_does_not_agree_on_http2_unless_asked_for(tmp_path):
    context = load(renew(tmp_path, ("localhost",), 1_700_000_000), None)
    for offered, agreed in ((["h2", "http/1.1"], "http/1.1"), (["h2"], None)):
        asking = ssl.create_default_context(cadata=(tmp_path / "certificate.pem").read_text())
        asking.check_hostname, asking.verify_mode = False, ssl.CERT_NONE
        asking.set_alpn_protocols(offered)
        assert negotiated(context, asking) == agreed


def negotiated(server_context: ssl.SSLContext, client_context: ssl.SSLContext) -> str | None:
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = server_context.wrap_bio(there, back, server_side=True)
    asking = client_context.wrap_bio(back, there, server_hostname="localhost")
    for _ in range(10):
        for side in (asking, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return asking.selected_alpn_protocol()


CALM, PROTOCOL = h2.errors.ErrorCodes.ENHANCE_YOUR_CALM, h2.errors.ErrorCodes.PROTOCOL_ERROR
CODES = {"data for nothing": PROTOCOL}  # data of no stream: h2 ends it with the first frame


class Counting(Guard):
    """Counts what reaches the library, of all connections."""

    passed: ClassVar[list[int]] = []  # frames, batch for batch

    def batches(self, received, now):
        for batch in super().batches(received, now):
            self.passed.append(batch_frames(batch))
            yield batch


def batch_frames(batch: bytes) -> int:
    at = frames = 0
    if batch.startswith(b"PRI "):
        at = 24
    while at < len(batch):
        at += 9 + int.from_bytes(batch[at : at + 3], "big")
        frames += 1
    return frames


@pytest.mark.parametrize("protocol", ["httptools"])  # it makes no difference
@pytest.mark.parametrize("joined", [False, True])
@pytest.mark.parametrize("name", FLOODS)
async def test_with_http2_a_flood_ends_calmly_and_others_are_served(secure, name, joined, monkeypatch, caplog):
    """Little of it reaches the library, a few frames at once, and a client on another connection notices nothing."""
    caplog.set_level(logging.ERROR)
    monkeypatch.setattr(http2_protocol, "Guard", Counting)
    Counting.passed.clear()
    pieces = list(FLOODS[name](FLOOD))
    sent = [b"".join(pieces)] if joined else pieces
    gc.collect()
    before = trio.lowlevel.current_statistics().tasks_living
    async with httpcore.AsyncConnectionPool(ssl_context=secure.context(), http1=False, http2=True) as pool:
        url = f"https://localhost:{secure.port}/"
        assert (await pool.request("GET", url)).status == 403
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_goes_on, pool, url)
            heard = await told_over(await secure.connect("h2"), sent)
    assert last_goaway(heard) == CODES.get(name, CALM)
    assert max(Counting.passed) <= BATCH
    assert sum(Counting.passed) <= 1500 + 60  # what the limits allow a client in that time, and the healthy one
    assert not caplog.records
    with trio.fail_after(30):
        while trio.lowlevel.current_statistics().tasks_living > before:
            await trio.sleep(0.005)


async def _goes_on(pool, url) -> None:
    for _ in range(10):
        assert (await pool.request("GET", url)).status == 403


def last_goaway(heard: bytes) -> int | None:
    at, code = 0, None
    while at + 9 <= len(heard):
        if heard[at + 3] == 7:
            code = int.from_bytes(heard[at + 13 : at + 17], "big")
        at += 9 + int.from_bytes(heard[at : at + 3], "big")
    return code


@pytest.mark.parametrize("offered", [(), ("http/1.1",), ("spdy/3", "http/1.1")])
async def test_who_does_not_offer_http2_is_spoken_to_as_ever(secure, offered):
    stream = await secure.connect(*offered)
    heard = await told_over(stream, [b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"])
    assert heard.startswith(b"HTTP/1.1 403")


async def test_without_alpn_the_preface_means_nothing_even_with_http2_on(secure):
    heard = await told_over(await secure.connect(), [client().data_to_send()])
    assert heard == b"" or heard.startswith((b"HTTP/1.1 4", b"HTTP/1.1 5"))


async def test_an_upgrade_over_tls_is_not_made(secure):
    request = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close, Upgrade, HTTP2-Settings\r\n"
    heard = await told_over(await secure.connect(), [request + b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n"])
    assert heard.startswith(b"HTTP/1.1 403")


@pytest.mark.parametrize("limits", [Limits(http2_connections=2, linger=0.2)])
async def test_when_its_connections_are_taken_further_clients_get_http1(secure):
    streams = [await secure.connect("h2", "http/1.1") for _ in range(3)]
    assert [stream.selected_alpn_protocol() for stream in streams] == ["h2", "h2", "http/1.1"]
    await streams[0].aclose()
    with trio.fail_after(30):
        while (again := await secure.connect("h2", "http/1.1")).selected_alpn_protocol() != "h2":
            await again.aclose()
            await trio.sleep(0.01)
    for stream in [again, *streams[1:]]:
        await stream.aclose()


@pytest.mark.program("curl")
async def test_another_implementation_of_http2_understands_us(secure, tmp_path):
    """curl, which has nghttp2: an early answer stops its upload."""
    body, certificate = tmp_path / "body", secure._certificate
    body.write_bytes(bytes(8 << 20))
    command = ["curl", "--silent", "--show-error", "--http2", "--cacert", certificate, "--upload-file", str(body)]
    said = "%{http_version} %{http_code} %{size_upload}"
    url = f"https://localhost:{secure.port}/bucket/key"
    done = await trio.run_process([*command, "--write-out", said, "--output", "/dev/null", url], capture_stdout=True)
    version, status, uploaded = done.stdout.decode().split()
    assert (version, status) == ("2", "404")  # there is no such bucket
    assert int(uploaded) < 2 << 20
