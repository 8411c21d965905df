"""What floods of HTTP/2 cost a server with `[s3] http2 = true`: python -m contrib.bench.http2_floods [name]...

For each flood of tests/s3/http2_floods.py: 20,000 frames over one TLS connection; and over 100 connections, one after
the other, each with 1,500 frames, which is more than any limit: a client that comes again as soon as it is hung up on.
Shown: the longest step of the event loop in milliseconds of the processor (what others wait for at least), how late the
loop came to others at worst (which is also what else runs on the machine: compare with `nothing`), and seconds of the
processor for all of it. Docs: docs/decisions/0022.
"""

import gc
import resource
import socket
import ssl
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import trio

from stratum.core.config import Limits
from stratum.s3.app import make_app
from stratum.s3.http import Request, Response
from stratum.s3.serve import Serving, open_listener, serve_app
from stratum.serve.self_signed import renew
from stratum.serve.tls import load
from tests.s3.http2_floods import FLOODS, client

FRAMES = 20_000
AGAIN, AGAIN_FRAMES = 100, 1500
PATIENCE = 20.0  # seconds
PIECE = 64 * 1024
MODULE = "contrib.bench.http2_floods"


class Door:
    """Reads bodies and refuses everything."""

    async def handle(self, request: Request) -> Response:
        """Answer 403."""
        async for _ in request.body:
            pass
        return Response(403)


class Lateness(trio.abc.Instrument):
    """How late a task that wants to run each millisecond comes to, and how long others take at worst."""

    late = longest = began = 0.0

    async def watch(self) -> None:
        """Be that task."""
        while True:
            due = time.perf_counter() + 0.001
            await trio.sleep(0.001)
            self.late = max(self.late, time.perf_counter() - due)

    def before_task_step(self, task: object) -> None:
        """Called by trio."""
        self.began = time.thread_time()

    def after_task_step(self, task: object) -> None:
        """Called by trio."""
        self.longest = max(self.longest, time.thread_time() - self.began)


def attack(name: str, port: int, again: bool) -> None:
    """Be the client."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    floods = {"nothing": lambda _many: iter([client().data_to_send()]), **FLOODS}
    whole = b"".join(floods[name](AGAIN_FRAMES if again else FRAMES))
    for _ in range(AGAIN if again else 1):
        _flood(context, port, whole)


def _flood(context: ssl.SSLContext, port: int, whole: bytes) -> None:
    sent = 0
    with socket.create_connection(("127.0.0.1", port)) as plain, context.wrap_socket(plain) as stream:
        stream.setblocking(False)
        began = time.monotonic()
        while time.monotonic() - began < PATIENCE:
            try:
                if sent < len(whole):
                    sent += stream.send(whole[sent : sent + PIECE])
                if _said_goaway(stream.recv(1 << 20)) or len(whole) < 100:
                    return
            except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
                time.sleep(0.0005)
            except OSError:
                return


def _said_goaway(heard: bytes) -> bool:
    at = 0
    while at + 9 <= len(heard):
        if heard[at + 3] == 7:
            return True
        at += 9 + int.from_bytes(heard[at : at + 3], "big")
    return not heard


async def measure(names: list[str], lateness: Lateness) -> None:
    """Serve, and be flooded."""
    secret = renew(Path(tempfile.mkdtemp()), ("localhost",), time.time())
    contexts = load(secret, None), load(secret, None, http2=True)
    limits, stop = Limits(), trio.Event()
    serving = Serving(limits=limits, tls=lambda: contexts[0], http2_tls=lambda: contexts[1])
    serve = partial(serve_app, make_app(Door(), limits), stop=stop.wait, grace=1.0, serving=serving)
    async with trio.open_nursery() as nursery:
        port = (await nursery.start(partial(serve, open_listener("127.0.0.1", 0)))).port
        nursery.start_soon(lateness.watch)
        gc.freeze()  # as the process does: serve/process.py
        print(f"{'':24}" + 2 * f" {'step, ms':>10} {'late, ms':>10} {'cpu, s':>8}")
        for name in names:
            row = f"{name:24}"
            for again in ("", "again"):
                lateness.late, lateness.longest, cpu = 0.0, 0.0, time.process_time()
                command = [sys.executable, "-m", MODULE, "--attack", name, str(port), again]
                await trio.run_process(command)
                figures = lateness.longest * 1000, lateness.late * 1000, time.process_time() - cpu
                row += " {:10.1f} {:10.1f} {:8.2f}".format(*figures)
            print(row, flush=True)
        print(f"memory at most: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MiB")
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--attack"]:
        attack(sys.argv[2], int(sys.argv[3]), bool(sys.argv[4]))
    else:
        watched = Lateness()
        trio.run(measure, sys.argv[1:] or ["nothing", *FLOODS], watched, instruments=[watched])
