"""The two HTTP/1.1 connections with an S3 handler that does nothing, in the same run: requests, bytes in, bytes out."""

import contextlib
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

MIB = 1024**2
Rates = dict[str, tuple[float, str]]

EMPTY_DOOR = """
import sys, trio
from stratum.s3.app import make_app
from stratum.s3.http import Response
from stratum.s3.serve import Serving, open_listener, serve_app
PIECE = bytes(262144)
class Door:
    async def handle(self, request):
        if request.raw_path == b"/out":
            return Response(200, [(b"content-length", b"%d" % (256 * len(PIECE)))], self.stream())
        async for _ in request.body:
            pass
        return Response(200)
    async def stream(self):
        for _ in range(256):
            yield PIECE
async def main():
    listener = open_listener("127.0.0.1", 0)
    print(listener.getsockname()[1], flush=True)
    serving = Serving(protocol=sys.argv[1])
    await serve_app(make_app(Door()), listener, stop=trio.sleep_forever, grace=1, serving=serving)
trio.run(main)
"""


@contextlib.contextmanager
def served(protocol: str) -> Iterator[int]:
    """Serve the empty handler in a process of its own; yields its port."""
    process = subprocess.Popen([sys.executable, "-c", EMPTY_DOOR, protocol], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def _connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port))


def requests(port: int, seconds: float = 1.0) -> float:
    """Requests a second, one after another over one connection."""
    ask = b"GET /b/k HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n"
    with _connect(port) as sock:
        sock.sendall(ask)
        size, done, begun = len(sock.recv(4096)), 0, time.perf_counter()
        while time.perf_counter() - begun < seconds:
            sock.sendall(ask)
            missing = size
            while missing > 0:
                missing -= len(sock.recv(4096))
            done += 1
        return done / (time.perf_counter() - begun)


def bytes_in(port: int, size: int = 256 * MIB) -> float:
    """MB/s of one upload."""
    block = bytes(MIB)
    with _connect(port) as sock:
        begun = time.perf_counter()
        sock.sendall(b"PUT /in HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size // MIB):
            sock.sendall(block)
        sock.recv(4096)
        return size / 1e6 / (time.perf_counter() - begun)


def bytes_out(port: int) -> float:
    """MB/s of one download of 64 MiB."""
    room, size = bytearray(MIB), 64 * MIB
    with _connect(port) as sock:
        begun, got = time.perf_counter(), 0
        sock.sendall(b"GET /out HTTP/1.1\r\nHost: x\r\n\r\n")
        while got < size:
            got += sock.recv_into(room)
        return size / 1e6 / (time.perf_counter() - begun)


def rates(rounds: int = 3) -> Rates:
    """Medians of `rounds` runs that take turns, and what one connection is to the other."""
    measures = {"requests, 1 connection": (requests, "/s"), "in": (bytes_in, "MB/s"), "out": (bytes_out, "MB/s")}
    found: dict[tuple[str, str], list[float]] = {}
    with served("httptools") as ours, served("h11") as h11:
        for _ in range(rounds):
            for protocol, port in (("httptools", ours), ("h11", h11)):
                for name, (measure, _) in measures.items():
                    found.setdefault((name, protocol), []).append(measure(port))
    rows: Rates = {}
    for name, (_, unit) in measures.items():
        own, other = (statistics.median(found[name, protocol]) for protocol in ("httptools", "h11"))
        rows[f"empty S3 handler, {name}, connection on httptools"] = own, unit
        rows[f"empty S3 handler, {name}, hypercorn's h11"] = other, unit
        rows[f"the one divided by the other, {name}"] = own / other, "times"
    return rows


if __name__ == "__main__":
    for what, (rate, unit) in rates().items():
        print(f"{what:60} {rate:12,.1f} {unit}")
