"""Rates of both doors beside the raw rates of the same run, as a table and as JSON.

Usage: contrib/bench/run.py [--small N] [--output docs/performance.md] [--json FILE]

Starts its own server (contrib/run.sh from a fresh clone) on loopback; everything it makes is removed at the end.
Needs root for the mount. Machines are noisy: read the ratios, not the numbers.
"""

import argparse
import datetime
import json
import os
import platform
import socket
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "evidence")]
import connections  # noqa: E402 - the folder is on the path only now
import raw  # noqa: E402
from client import Client  # noqa: E402
from server import Server, free_port  # noqa: E402

MIB = 1024**2
Rates = dict[str, tuple[float, str]]  # name -> (rate, unit)


def spread(make: Callable[[], Client], count: int, threads: int, work: Callable[[Client, int], None]) -> float:
    """Run work(client, i) for i < count on several connections; return runs a second."""
    numbers = iter(range(count))
    lock = threading.Lock()
    failures: list[BaseException] = []

    def loop() -> None:
        client = make()
        try:
            while True:
                with lock:
                    i = next(numbers, None)
                if i is None:
                    return
                work(client, i)
        except BaseException as error:
            failures.append(error)

    workers = [threading.Thread(target=loop) for _ in range(threads)]
    begun = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if failures:
        raise failures[0]
    return count / (time.perf_counter() - begun)


def expect(answer: tuple[int, bytes], status: int = 200) -> bytes:
    if answer[0] != status:
        raise RuntimeError(f"{answer[0]}: {answer[1][:300]!r}")
    return answer[1]


def s3_rates(make: Callable[[], Client], small: int) -> Rates:
    one = make()
    expect(one.request("PUT", "/bench"))
    tiny, middle, large = os.urandom(1024), os.urandom(64 * 1024), os.urandom(64 * MIB)
    rates: Rates = {}
    for threads in (1, 16):
        put = partial(put_one, f"/bench/{threads}", tiny)
        rates[f"PUT 1 KiB, {threads} connections"] = spread(make, small, threads, put), "/s"
        get = partial(get_one, f"/bench/{threads}")
        rates[f"GET 1 KiB, {threads} connections"] = spread(make, small, threads, get), "/s"
    rate = spread(make, small // 4, 8, lambda c, i: expect(c.request("PUT", f"/bench/m/{i:06}", body=middle)))
    rates["PUT 64 KiB, 8 connections"] = rate, "/s"
    rate = spread(make, small // 4, 8, lambda c, i: expect(c.request("GET", f"/bench/m/{i:06}")))
    rates["GET 64 KiB, 8 connections"] = rate, "/s"
    for threads in (1, 4):
        rate = spread(make, 8, threads, lambda c, i: expect(c.request("PUT", f"/bench/l/{i}", body=large)))
        rates[f"PUT 64 MiB, {threads} connections"] = rate * 64 * MIB / 1e6, "MB/s"
        rate = spread(make, 8, threads, lambda c, i: expect(c.request("GET", f"/bench/l/{i}")))
        rates[f"GET 64 MiB, {threads} connections"] = rate * 64 * MIB / 1e6, "MB/s"
    rates["list keys, pages of 1000"] = list_rate(one), "keys/s"
    return rates


def put_one(folder: str, body: bytes, client: Client, i: int) -> None:
    expect(client.request("PUT", f"{folder}/{i:06}", body=body))


def get_one(folder: str, client: Client, i: int) -> None:
    expect(client.request("GET", f"{folder}/{i:06}"))


def list_rate(client: Client) -> float:
    keys, token, begun = 0, "", time.perf_counter()
    while time.perf_counter() - begun < 2:
        body = expect(client.request("GET", "/bench", query=f"list-type=2&prefix=1%2F{token}"))
        keys += body.count(b"<Key>")
    return keys / (time.perf_counter() - begun)


def empty_rates(small: int) -> Rates:
    port = free_port()
    process = raw.empty_server(port)
    try:
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        make = lambda: Client("127.0.0.1", port, "none", "none")  # noqa: E731
        rates: Rates = {}
        for threads in (1, 16):
            rate = spread(make, small, threads, lambda c, i: expect(c.request("GET", "/")))
            rates[f"empty ASGI handler on hypercorn, {threads} connections"] = rate, "/s"
        large = os.urandom(64 * MIB)
        rate = spread(make, 8, 1, lambda c, i: expect(c.request("PUT", "/", body=large)))
        rates["empty ASGI handler, 64 MiB in, 1 connection"] = rate * 64 * MIB / 1e6, "MB/s"
        return rates
    finally:
        process.terminate()
        process.wait()


def timed(count: float, work: Callable[[], None]) -> float:
    begun = time.perf_counter()
    work()
    return count / (time.perf_counter() - begun)


def mount_rates(folder: Path, small: int) -> Rates:
    folder.mkdir()
    body, block = os.urandom(4096), os.urandom(MIB)

    def create(sync: bool) -> None:
        for i in range(small):
            with (folder / f"{sync}{i}").open("wb", buffering=0) as file:
                file.write(body)
                if sync:
                    os.fsync(file.fileno())

    def write_large() -> None:
        with (folder / "large").open("wb", buffering=0) as file:
            for _ in range(512):
                file.write(block)
            os.fsync(file.fileno())

    def read_large() -> None:
        with (folder / "large").open("rb", buffering=0) as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            while file.read(MIB):
                pass

    return {
        "create + write 4 KiB + close": (timed(small, lambda: create(False)), "/s"),
        "the same with fsync": (timed(small, lambda: create(True)), "/s"),
        "open + read 4 KiB + close": (
            timed(small, lambda: [(folder / f"False{i}").read_bytes() for i in range(small)]),
            "/s",
        ),
        "stat of a missing name": (
            timed(small, lambda: [os.path.exists(folder / f"missing{i}") for i in range(small)]),
            "/s",
        ),
        "list a directory with stat": (
            timed(small * 2, lambda: [entry.stat() for entry in os.scandir(folder)]),
            "entries/s",
        ),
        "sequential write 512 MiB + fsync": (timed(512 * MIB / 1e6, write_large), "MB/s"),
        "sequential read 512 MiB": (timed(512 * MIB / 1e6, read_large), "MB/s"),
    }


def raw_rates(folder: Path) -> Rates:
    rates: Rates = {"disk: write 512 MiB + fsync": (raw.disk_write(folder), "MB/s")}
    rates["disk: 4 KiB append + fsync"] = raw.disk_fsyncs(folder), "/s"
    rates["disk: create + write 4 KiB + close"] = raw.file_creates(folder), "/s"
    for name, rate in raw.cpu().items():
        rates[f"one core: {name}"] = rate, "MB/s"
    return rates


def render(results: dict[str, Rates], commit: str) -> str:
    lines = [
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC, commit {commit}, "
        f"{os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}; "
        "six disk folders on one device; clients run on the same cores as the server.",
        "",
    ]
    for title, rates in results.items():
        lines += [f"### {title}", "", "| what | rate |", "|---|---|"]
        lines += [
            f"| {name} | {rate:,.{1 if unit == 'times' else 0}f} {unit} |" for name, (rate, unit) in rates.items()
        ]
        lines.append("")
    return "\n".join(lines)


BEGIN, END = "<!-- begin: contrib/bench/run.py -->", "<!-- end -->"


def write_page(path: Path, table: str) -> None:
    """Replace the generated part of the page; the words around it are people's."""
    text = path.read_text() if path.exists() else f"# Performance\n\n{BEGIN}\n{END}\n"
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    path.write_text(f"{head}{BEGIN}\n{table}\n{END}{tail}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", type=int, default=2000, help="how many small objects and files")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    server = Server()
    commit = server.commit()
    try:
        server.start()
        env = server.credentials
        make = lambda: Client(  # noqa: E731
            "127.0.0.1", server.port, env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"]
        )
        results = {"Raw, this machine, same run": raw_rates(server.base) | empty_rates(options.small)}
        results["HTTP/1.1: our connection beside hypercorn's"] = connections.rates()
        results["S3 door"] = s3_rates(make, options.small)
        results["Mount"] = mount_rates(server.mount / "bench" / "files", options.small)
    finally:
        server.close()
    table = render(results, commit)
    print(table)
    if options.output:
        write_page(options.output, table)
    if options.json:
        options.json.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
