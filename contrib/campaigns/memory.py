"""Bounded memory and bounded harm: 5 GiB through a small process, and 1,000 slow clients beside healthy ones.

    python contrib/campaigns/memory.py [--gib N] [--slow N] [--seconds N] [--write]

1. boto3 uploads N GiB in parts as it does by default, then downloads it as one stream and again by ranges; all is
   compared, and meanwhile the resident memory of the server is read from /proc every 50 ms.
2. Healthy clients put and get 4 KiB; then again beside N slow ones (a quarter each: dribbling headers, dribbling
   bodies, reading a little now and then, idle), which come back at once when they are cut; then again without.
`--write`: the page docs/evidence/memory.md, about the last commit. Ends with status 1 if a limit did not hold.
"""

import argparse
import contextlib
import datetime
import hashlib
import io
import multiprocessing
import os
import platform
import sys
import threading
import time
import urllib.parse
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import boto3
import trio
from botocore.config import Config

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "evidence"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bench"))

from client import Client
from served import ROOT, Served, clone_of_head, commit_of

PAGE = ROOT / "docs/evidence/memory.md"
MIB, GIB = 1 << 20, 1 << 30
RESIDENT_MAX = 300 * MIB
P99_FACTOR_MAX = 2.0
SAMPLE_S = 0.05
HEALTHY = 8  # healthy clients
BUCKET = "memory"
SLOW_KINDS = ("headers", "body", "reader", "idle")
BREATH_S = 1.0  # a slow client does something this often


class Pattern(io.RawIOBase):
    """A readable stream of `size` bytes that repeats nowhere, made as it is read; hashes what it gave."""

    def __init__(self, size: int) -> None:
        self.size, self.at = size, 0
        self.block = os.urandom(MIB - 8)
        self.rest = b""
        self.seen = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def read(self, count: int = -1) -> bytes:
        pieces, wanted = [], self.size - self.at if count < 0 else min(count, self.size - self.at)
        while wanted:
            if not self.rest:
                self.rest = self.at.to_bytes(8, "big") + self.block
            piece, self.rest = self.rest[:wanted], self.rest[wanted:]
            pieces.append(piece)
            self.at += len(piece)
            wanted -= len(piece)
        given = b"".join(pieces)
        self.seen.update(given)
        return given


class Sink(io.RawIOBase):
    """Hashes what is written to it, keeps nothing."""

    def __init__(self) -> None:
        self.seen, self.size = hashlib.sha256(), 0

    def writable(self) -> bool:
        return True

    def write(self, data) -> int:
        self.seen.update(data)
        self.size += len(data)
        return len(data)


class Watch:
    """Samples the server's resident memory in a thread; `peak` while inside the block."""

    def __init__(self, server: Served) -> None:
        self.server, self.samples, self._stop = server, [], threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._stop.wait(SAMPLE_S):
            self.samples.append((self.server.resident_bytes("VmRSS"), self.server.resident_bytes("RssAnon")))

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def peak(self) -> int:
        return max(resident for resident, _ in self.samples)

    @property
    def peak_private(self) -> int:
        return max(private for _, private in self.samples)


@dataclass(frozen=True, slots=True)
class Transfer:
    """One pass over the object."""

    what: str
    seconds: float
    peak: int
    private: int
    same: bool


def transfers(server: Served, size: int) -> list[Transfer]:
    """Upload and download `size` bytes; what each took and needed."""
    access, secret = server.root
    s3 = boto3.client(
        "s3",
        endpoint_url=server.endpoint,
        aws_access_key_id=access,
        aws_secret_access_key=secret,
        region_name="us-east-1",
        config=Config(retries={"total_max_attempts": 1}, read_timeout=300),
    )
    s3.create_bucket(Bucket=BUCKET)
    source, found = Pattern(size), []

    def down_one_stream(sink: Sink) -> None:
        for piece in s3.get_object(Bucket=BUCKET, Key="big")["Body"].iter_chunks(MIB):
            sink.write(piece)

    def down_by_ranges(sink: Sink) -> None:
        s3.download_fileobj(BUCKET, "big", sink)

    for what, work in (
        ("upload in parts (boto3's defaults: 8 MiB, 10 threads)", lambda _: s3.upload_fileobj(source, BUCKET, "big")),
        ("download as one stream", down_one_stream),
        ("download by ranges (boto3's defaults)", down_by_ranges),
    ):
        sink, begun = Sink(), time.monotonic()
        with Watch(server) as watch:
            work(sink)
        same = sink.size in (0, size) and (not sink.size or sink.seen.digest() == source.seen.digest())
        found.append(Transfer(what, time.monotonic() - begun, watch.peak, watch.peak_private, same))
        print(f"  {found[-1]}", flush=True)
    s3.delete_object(Bucket=BUCKET, Key="big")
    s3.close()
    return found


@dataclass(slots=True)
class Healthy:
    """Latencies of the healthy clients in one phase, in milliseconds."""

    phase: str
    latencies: list[float] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    peak: int = 0

    def quantile(self, share: float) -> float:
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("inf")

    @property
    def refused(self) -> int:
        return sum(count for status, count in self.statuses.items() if not status.endswith((" 200", " 204")))


def healthy(server: Served, phase: str, seconds: float) -> Healthy:
    """Let the healthy clients work for `seconds`."""
    result, end = Healthy(phase), time.monotonic() + seconds
    parts = urllib.parse.urlsplit(server.endpoint)

    def work(number: int) -> None:
        client = Client(parts.hostname, parts.port, *server.root)
        client.connection.timeout = 30
        body, turn = os.urandom(4096), 0
        with contextlib.closing(client.connection):
            while time.monotonic() < end:
                turn += 1
                method = "PUT" if turn % 2 else "GET"
                begun = time.monotonic()
                try:
                    path = f"/{BUCKET}/healthy-{number}"
                    status = str(client.request(method, path, body=body if turn % 2 else b"")[0])
                except OSError as error:
                    status = type(error).__name__
                    client.connection.close()
                result.latencies.append((time.monotonic() - begun) * 1000)
                result.statuses[f"{method} {status}"] += 1

    with Watch(server) as watch:
        threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(HEALTHY)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    result.peak = watch.peak
    return result


def slow_clients(endpoint: str, root: tuple[str, str], count: int, cut, ready, stop) -> None:
    """A process of its own: `count` slow connections, each opened again when the server cuts it."""
    parts = urllib.parse.urlsplit(endpoint)
    trio.run(_slow, parts.hostname, parts.port, root, count, cut, ready, stop)


async def _slow(host, port, root, count, cut, ready, stop) -> None:
    opened = 0

    async def one(number: int) -> None:
        nonlocal opened
        kind, first = SLOW_KINDS[number % len(SLOW_KINDS)], True
        while True:
            try:
                async with await trio.open_tcp_stream(host, port) as stream:
                    opened += first
                    if first and opened == count:
                        ready.set()
                    first = False
                    await _dribble(stream, kind, f"{host}:{port}", root)
            except (OSError, trio.BrokenResourceError):
                pass  # cut: that is counted below
            cut[SLOW_KINDS.index(kind)] += 1
            await trio.sleep(BREATH_S)

    async def end() -> None:
        while not stop.is_set():  # noqa: ASYNC110 - an event of another process
            await trio.sleep(0.2)
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(end)
        for number in range(count):
            nursery.start_soon(one, number)
            if number % 50 == 49:
                await trio.sleep(0.05)


async def _dribble(stream, kind: str, host: str, root: tuple[str, str]) -> None:
    """Be slow until the server has enough of it."""
    if kind == "idle":
        await stream.receive_some(1)
        return
    if kind == "headers":
        await stream.send_all(f"GET /{BUCKET}/slow HTTP/1.1\r\nHost: {host}\r\n".encode())
        for number in range(100_000):
            await trio.sleep(BREATH_S)
            await stream.send_all(b"x" if number else b"X-Slow: ")
        return
    method, size = ("PUT", MIB) if kind == "body" else ("GET", 0)
    await stream.send_all(_head(method, f"/{BUCKET}/slow", size, host, root))
    if kind == "body":
        for _ in range(size):
            await trio.sleep(BREATH_S)
            await stream.send_all(b"slow")
    while await stream.receive_some(100):  # noqa: ASYNC110 - to be slow is the point
        await trio.sleep(BREATH_S)


def _head(method: str, path: str, size: int, host: str, root: tuple[str, str]) -> bytes:
    """A signed request head: the lean client's own, caught before it is sent."""
    name, _, port = host.partition(":")
    sent: list[bytes] = []

    class Caught(Exception):
        pass

    client = Client(name, int(port), *root)

    def catch(verb, target, body=None, headers=None):
        lines = [f"{verb} {target} HTTP/1.1", f"Host: {host}", *(f"{k}: {v}" for k, v in headers.items())]
        lines = [line if not line.startswith("Content-Length") else f"Content-Length: {size}" for line in lines]
        sent.append(("\r\n".join(lines) + "\r\n\r\n").encode())
        raise Caught

    client.connection.request = catch
    with contextlib.suppress(Caught):
        client.request(method, path)
    return sent[0]


@contextlib.contextmanager
def beside_slow_clients(server: Served, count: int) -> Iterator[dict[str, int]]:
    """`count` slow clients in a process of their own, all connected once the block begins; counts their cuts."""
    context = multiprocessing.get_context("spawn")
    cut, ready, stop = context.Array("i", len(SLOW_KINDS)), context.Event(), context.Event()
    process = context.Process(target=slow_clients, args=(server.endpoint, server.root, count, cut, ready, stop))
    process.start()
    counted: dict[str, int] = {}
    try:
        if not ready.wait(60):
            print("  not all slow clients were let in", flush=True)
        time.sleep(2)
        yield counted
    finally:
        stop.set()
        process.join(20)
        if process.is_alive():
            process.kill()
        counted.update(zip(SLOW_KINDS, cut[:], strict=True))


def harm(server: Served, count: int, seconds: float) -> tuple[list[Healthy], dict[str, int]]:
    """Healthy clients before, beside and after the slow ones."""
    parts = urllib.parse.urlsplit(server.endpoint)
    client = Client(parts.hostname, parts.port, *server.root)
    with contextlib.closing(client.connection):
        client.request("PUT", f"/{BUCKET}")
        client.request("PUT", f"/{BUCKET}/slow", body=os.urandom(8 * MIB))
    phases = [healthy(server, "before", seconds)]
    with beside_slow_clients(server, count) as cut:
        phases.append(healthy(server, f"beside {count:,} slow clients", seconds))
    time.sleep(2)
    phases.append(healthy(server, "after", seconds))
    return phases, cut


def verdicts(moved: list[Transfer], phases: list[Healthy]) -> list[tuple[str, bool]]:
    """What must hold, and whether it did."""
    calm = (phases[0].quantile(0.99) + phases[2].quantile(0.99)) / 2
    factor = phases[1].quantile(0.99) / calm
    peak = max(transfer.peak for transfer in moved)
    allowed, refused = f"at most {RESIDENT_MAX // MIB} MiB resident", phases[1].refused
    times = f"p99 of healthy clients at most {P99_FACTOR_MAX:g}x of the mean before and after"
    return [
        (f"{allowed} while the object moves: {peak / MIB:.0f} MiB", peak <= RESIDENT_MAX),
        ("every byte the same", all(transfer.same for transfer in moved)),
        (f"{times}: {factor:.2f}x", factor <= P99_FACTOR_MAX),
        (f"no healthy request refused: {refused}", refused == 0),
    ]


def page(gib: float, moved: list[Transfer], phases: list[Healthy], cut: dict[str, int], commit: str) -> str:
    """The page about one run."""
    when = f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC"
    held = verdicts(moved, phases)
    lines = [
        "# Memory and slow clients",
        "",
        f"Written by `python contrib/campaigns/memory.py --write`. {when}, commit {commit},",
        f"{os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}; server and clients"
        " share the machine.",
        "",
        *(f"- {'holds' if good else '**does not hold**'}: {what}" for what, good in held),
        "",
        f"## {gib:g} GiB through one process",
        "",
        f"Resident memory of the server, read from /proc every {SAMPLE_S * 1000:.0f} ms (VmRSS; private: RssAnon).",
        "",
        "| what | seconds | MB/s | peak resident | peak private | bytes |",
        "|---|---|---|---|---|---|",
    ]
    for each in moved:
        rate = gib * GIB / each.seconds / 1e6
        same = "equal" if each.same else "DIFFER"
        lines.append(
            f"| {each.what} | {each.seconds:.0f} | {rate:.0f} | {each.peak / MIB:.0f} MiB "
            f"| {each.private / MIB:.0f} MiB | {same} |"
        )
    lines += [
        "",
        "## Slow clients",
        "",
        f"{HEALTHY} healthy clients put and get 4 KiB, one request after the other. Slow ones, a quarter each: headers",
        "a byte a second, a body four bytes a second, an answer of 8 MiB read 100 bytes a second, an idle connection.",
        "Whoever is cut comes back a second later: "
        + ", ".join(f"{count:,} cuts of {kind}" for kind, count in cut.items())
        + ".",
        "",
        "| phase | requests | p50 | p99 | max | refused | peak resident |",
        "|---|---|---|---|---|---|---|",
    ]
    for each in phases:
        lines.append(
            f"| {each.phase} | {len(each.latencies):,} | {each.quantile(0.5):.1f} ms | {each.quantile(0.99):.1f} ms "
            f"| {each.quantile(1):.0f} ms | {each.refused} | {each.peak / MIB:.0f} MiB |"
        )
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gib", type=float, default=5)
    parser.add_argument("--slow", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=20, help="of each phase of the healthy clients")
    parser.add_argument("--write", action="store_true", help="write the page; the last commit is tested, not the tree")
    settings = parser.parse_args()
    server = Served()
    if settings.write:
        server.tree = clone_of_head(server.base)
    with server:
        moved = transfers(server, int(settings.gib * GIB))
        phases, cut = harm(server, settings.slow, settings.seconds)
        text = page(settings.gib, moved, phases, cut, commit_of(server.tree))
    print(text)
    if settings.write:
        PAGE.write_text(text)
    return 0 if all(good for _, good in verdicts(moved, phases)) else 1


if __name__ == "__main__":
    sys.exit(main())
