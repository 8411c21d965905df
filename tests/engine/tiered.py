"""A real engine with warm disks and a cold backend in memory, and a few verbs on it.

Room: tests. May import: stratum, tests.engine, tests.fakes.
"""

from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import trio

from stratum.core.config import Settings, WarmTier
from stratum.core.records import Volume
from stratum.core.schema import volume_key
from stratum.core.txn import load
from stratum.engine.engine import open_engine
from stratum.store.guarded import Guarded
from tests.engine.conftest import MASTERS, ROOT, Clock, settings_for
from tests.fakes.backend import FakeBackend

CLASSES = (("STANDARD_IA", "warm"), ("GLACIER_IR", "cold"))


def tiered_settings(folder: Path, **limits) -> Settings:
    """Six hot disks with 4+2, four warm ones with 2+1."""
    quick = {"reap_delay": 0.0, "reap_interval": 1e6, "repair_interval": 0.02, "cold_pause": 0.05, **limits}
    warm = WarmTier(disks=tuple(folder / "warm" / str(slot) for slot in range(4)), k=2, parity=1)
    return replace(settings_for(folder, **quick), warm=warm, storage_classes=CLASSES)


@asynccontextmanager
async def tiered_engine(folder: Path, cold: FakeBackend | None = None, **limits):
    settings = tiered_settings(folder, **limits)
    backend = cold if cold is not None else FakeBackend()
    guarded = Guarded(backend, settings.limits, chance=lambda: 0.0)
    async with open_engine(settings, root=ROOT, now_ns=Clock(), masters=MASTERS, cold=[guarded]) as engine:
        yield engine


async def move(engine, key: bytes, tier: str, bucket: str = "bucket") -> None:
    """Have the object's volumes in a tier; return when they are."""
    view = await engine.objects.head(bucket, key)
    await engine.tiers.want_object(view, tier, "TEST")
    with trio.fail_after(30):
        while engine.tiers.tier_of(await engine.objects.head(bucket, key)).summary != tier:
            engine.tiers.mover.put_off.clear()
            engine.tiers.mover.expect(1)
            await trio.sleep(0.01)


async def reap(engine) -> None:
    """Clear away all there is to clear away."""
    for _ in range(4):
        await engine.reaper.one_pass()


def volume_of(engine, number: int) -> Volume | None:
    return engine.meta.read(lambda txn: load(txn, volume_key(number), Volume))


def shard_files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("volumes/*/*") if path.is_file()]
