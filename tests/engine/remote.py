"""A bucket of a Stratum endpoint on loopback, as a cold backend.

Room: tests. May import: stratum, tests.engine.
"""

import os
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial

import trio

from stratum.core.config import MIB, ColdTier, Limits
from stratum.s3.app import make_app
from stratum.s3.door import S3Door
from stratum.s3.hosts import Hosts
from stratum.s3.serve import Serving, open_listener, serve_app
from stratum.store.remote import RemoteBucket
from tests.engine.conftest import ROOT, engine_at
from tests.engine.s3_servers import ACCESS, SECRET

os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")
LIMITS = replace(Limits(), cold_request_time=10.0, cold_attempts=2)


@asynccontextmanager
async def remote_service(folder):
    """An endpoint with the bucket `cold`; yields its engine and URL."""
    async with engine_at(folder) as engine, trio.open_nursery() as nursery:
        await engine.buckets.create("cold", "stratum")
        door, stop = S3Door(engine, now_s=lambda: int(time.time())), trio.Event()
        app = make_app(door, None, Hosts.of(engine.settings))
        serve = partial(serve_app, app, open_listener("127.0.0.1", 0), stop=stop.wait, grace=1.0, serving=Serving())
        address = await nursery.start(serve)
        yield engine, f"http://127.0.0.1:{address.port}"
        stop.set()


def cold_tier(url: str, **settings) -> ColdTier:
    """Its settings. The credentials are in COLD_ACCESS and COLD_SECRET of the environment."""
    made = ColdTier(
        name="remote",
        bucket="cold",
        endpoint_url=url,
        access_key_ref="env:COLD_ACCESS",
        secret_key_ref="env:COLD_SECRET",
        multipart_threshold_bytes=6 * MIB,
        multipart_chunk_bytes=5 * MIB,
        allow_private=True,
    )
    return replace(made, **settings)


def set_credentials(monkeypatch) -> None:
    """Let the root credential be in the environment."""
    monkeypatch.setenv("COLD_ACCESS", ROOT.access_key)
    monkeypatch.setenv("COLD_SECRET", ROOT.secret_key)


@asynccontextmanager
async def remote_backend(folder, monkeypatch, **settings):
    """The backend, and the endpoint behind it."""
    set_credentials(monkeypatch)
    async with remote_service(folder / "remote") as (_, url), trio.open_nursery() as nursery:
        backend = RemoteBucket(cold_tier(url, **settings), bytes(16), LIMITS)
        nursery.start_soon(backend.run)
        yield backend
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def served_backend(url, monkeypatch, **settings):
    """The backend at a server of tests.engine.s3_servers."""
    monkeypatch.setenv("COLD_ACCESS", ACCESS)
    monkeypatch.setenv("COLD_SECRET", SECRET)
    async with trio.open_nursery() as nursery:
        backend = RemoteBucket(cold_tier(url, addressing="path", **settings), bytes(16), LIMITS)
        nursery.start_soon(backend.run)
        yield backend
        nursery.cancel_scope.cancel()
