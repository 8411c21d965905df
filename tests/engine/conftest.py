"""A real engine on six folders of a temporary directory."""

from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from stratum.core.config import Limits, Settings
from stratum.engine.credentials import RootCredential
from stratum.engine.engine import open_engine
from stratum.engine.keys import MasterKeys

ROOT = RootCredential("ROOTACCESSKEY0000001", "not-a-secret")
MASTERS = MasterKeys((b"a master key for the tests only.",))
NOW = 1_700_000_000 * 10**9


class Clock:
    """A wall clock that moves only when it is read, by one millisecond."""

    def __init__(self) -> None:
        self.ns = NOW

    def __call__(self) -> int:
        self.ns += 10**6
        return self.ns


def settings_for(folder: Path, disks: int = 6, **limits) -> Settings:
    """The usual limits; compaction is left to the tests that ask for it, however slow the machine."""
    limits = {"compact_interval": 1e6, **limits}
    return Settings(
        data=folder / "data",
        disks=tuple(folder / "disks" / str(slot) for slot in range(disks)),
        limits=replace(Limits(), map_bytes=1 << 28, **limits),
    )


@asynccontextmanager
async def engine_at(folder: Path, masters: MasterKeys = MASTERS, **limits):
    async with open_engine(settings_for(folder, **limits), root=ROOT, now_ns=Clock(), masters=masters) as engine:
        yield engine


@pytest.fixture
async def engine(tmp_path):
    async with engine_at(tmp_path) as opened:
        await opened.buckets.create("bucket", "alice")
        yield opened


async def body_of(*pieces: bytes):
    for piece in pieces:
        yield piece


async def read_all(opened, start: int = 0, stop: int | None = None) -> bytes:
    stop = opened.view.size if stop is None else stop
    return b"".join([piece async for piece in opened.stream(start, stop)])


async def get(engine, key: bytes, bucket: str = "bucket") -> bytes:
    return await read_all(await engine.objects.open(bucket, key))
