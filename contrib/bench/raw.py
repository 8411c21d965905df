"""What this machine can do without Stratum, measured in the same run, so that every rate has something beside it."""

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import xxhash
import zfec

from stratum.core import erasure

MIB = 1024**2


def _rate(work, unit: float, seconds: float = 1.0) -> float:
    work()
    done, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < seconds:
        work()
        done += 1
    return done * unit / (time.perf_counter() - begun)


def disk_write(folder: Path, megabytes: int = 512) -> float:
    """MB/s of sequential writes of 1 MiB with one fsync at the end."""
    path, block = folder / "raw.bin", os.urandom(MIB)
    begun = time.perf_counter()
    with path.open("wb", buffering=0) as file:
        for _ in range(megabytes):
            file.write(block)
        os.fsync(file.fileno())
    took = time.perf_counter() - begun
    path.unlink()
    return megabytes * MIB / 1e6 / took


def disk_fsyncs(folder: Path) -> float:
    """fsyncs a second of 4 KiB appends to one file."""
    with (folder / "raw.sync").open("wb", buffering=0) as file:

        def work() -> None:
            file.write(bytes(4096))
            os.fsync(file.fileno())

        rate = _rate(work, 1)
    (folder / "raw.sync").unlink()
    return rate


def file_creates(folder: Path, count: int = 2000) -> float:
    """4 KiB files created, written and closed a second on the local file system."""
    body = os.urandom(4096)
    begun = time.perf_counter()
    for i in range(count):
        (folder / f"raw{i}").write_bytes(body)
    took = time.perf_counter() - begun
    for i in range(count):
        (folder / f"raw{i}").unlink()
    return count / took


def cpu() -> dict[str, float]:
    """MB/s on one core: hashes, zfec, and the erasure code in use (ISA-L where it loads)."""
    block = os.urandom(MIB)
    cells = [block[i * MIB // 4 : (i + 1) * MIB // 4] for i in range(4)]
    encoder = zfec.Encoder(4, 6)
    return {
        "md5": _rate(lambda: hashlib.md5(block).digest(), MIB / 1e6),
        "sha256": _rate(lambda: hashlib.sha256(block).digest(), MIB / 1e6),
        "xxh3_128": _rate(lambda: xxhash.xxh3_128_digest(block), MIB / 1e6),
        "zfec 4+2": _rate(lambda: encoder.encode(cells), MIB / 1e6),
        "erasure code in use 4+2": _rate(lambda: erasure.encode(4, 6, cells), MIB / 1e6),
    }


EMPTY_APP = """
import sys, trio
from hypercorn.config import Config
from hypercorn.trio import serve
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            kind = (await receive())["type"]
            await send({"type": kind + ".complete"})
            if kind == "lifespan.shutdown":
                return
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})
config = Config()
config.bind = [f"127.0.0.1:{sys.argv[1]}"]
config.accesslog = None
trio.run(serve, app, config)
"""


def empty_server(port: int) -> subprocess.Popen:
    """Start hypercorn with an ASGI app that reads the body and answers nothing."""
    return subprocess.Popen([sys.executable, "-c", EMPTY_APP, str(port)], stderr=subprocess.DEVNULL)
