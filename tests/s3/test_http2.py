"""HTTP/2 is not spoken, whichever way a client asks for it; floods of it are hung up on (decision 0022)."""

import gc
import ssl
from functools import partial

import h2.config
import h2.connection
import pytest
import trio

from stratum.s3.app import make_app
from stratum.s3.door import S3Door
from stratum.s3.serve import Serving, open_listener, serve_app
from stratum.serve.self_signed import renew
from stratum.serve.tls import load
from tests.engine.conftest import engine_at

HEADERS = [(b":method", b"GET"), (b":path", b"/bucket/k"), (b":scheme", b"http"), (b":authority", b"localhost")]
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


def client() -> h2.connection.H2Connection:
    made = h2.connection.H2Connection(config=h2.config.H2Configuration(client_side=True, header_encoding=None))
    made.initiate_connection()
    return made


def frame(kind: int, stream: int, body: bytes, flags: int = 0) -> bytes:
    return len(body).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + body


def rapid_reset() -> list[bytes]:
    made = client()
    pieces = []
    for number in range(FLOOD):
        made.send_headers(2 * number + 1, HEADERS, end_stream=True)
        made.reset_stream(2 * number + 1)
        pieces.append(made.data_to_send())
    return pieces


def many_streams() -> list[bytes]:
    made = client()
    block = made.encoder.encode(HEADERS)
    return [made.data_to_send(), *(frame(1, 2 * number + 1, block, 4) for number in range(FLOOD))]


def header_bomb() -> list[bytes]:
    """One header, put into the table once and named ten thousand times."""
    made = client()
    large = made.encoder.encode([*HEADERS, (b"x", b"y" * 4000)])
    return [
        made.data_to_send(),
        frame(1, 1, large + b"\xbe" * 10_000, 4),
        *(frame(9, 1, b"\xbe" * 9000) for _ in range(99)),
    ]


FLOODS = {
    "rapid reset": rapid_reset,
    "many streams": many_streams,
    "header bomb": header_bomb,
    "settings": lambda: [client().data_to_send(), *(frame(4, 0, b"\0\4\0\0\1\1") for _ in range(FLOOD))],
    "pings": lambda: [client().data_to_send(), *(frame(6, 0, b"x" * 8) for _ in range(FLOOD))],
    "priorities": lambda: [client().data_to_send(), *(frame(2, 2 * n + 1, b"\0\0\0\0\1") for n in range(FLOOD))],
    "empty data": lambda: [client().data_to_send(), *(frame(0, 1, b"") for _ in range(FLOOD))],
}


async def told(port: int, *pieces: bytes) -> bytes:
    """Send it all, or until we are hung up on; return all that comes back."""
    stream, heard = await trio.open_tcp_stream("127.0.0.1", port), bytearray()

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
    pieces = FLOODS[name]()
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


def test_tls_never_agrees_on_http2(tmp_path):
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
