"""A real engine with three tiers whose clock is turned by hand, day by day.

Room: tests. May import: stratum, tests.engine, tests.fakes.
"""

from contextlib import asynccontextmanager
from dataclasses import replace

import trio

from stratum.core.objects import PutSpec
from stratum.core.tiering.prices import PriceBook, ThreeTiers, TierPrice
from stratum.core.tiering.settings import Tiering
from stratum.engine.engine import open_engine
from stratum.store.guarded import Guarded
from tests.engine.conftest import MASTERS, ROOT, body_of
from tests.engine.tiered import tiered_settings
from tests.fakes.backend import FakeBackend

DAY = 86_400 * 10**9
NOON = 1_700_000_000 * 10**9 // DAY * DAY + DAY // 2
# Made up, round. Dear rent, so that volumes of a few MB are worth moving.
BOOK = PriceBook(
    name="round",
    month_days=30.0,
    waiting_usd_per_hour=0.0,
    tier=ThreeTiers(
        hot=TierPrice(storage_usd_per_gb_month=12.0, write_usd_per_gb=0.1),
        warm=TierPrice(storage_usd_per_gb_month=6.0, retrieval_usd_per_gb=0.4, write_usd_per_gb=0.1),
        cold=TierPrice(
            storage_usd_per_gb_month=0.6, retrieval_usd_per_gb=2.0, request_usd=1e-6, move_in_usd_per_object=1e-6
        ),
    ),
)


class HandClock:
    """Wall clock, ns: stands still unless somebody turns it."""

    def __init__(self, ns: int = NOON) -> None:
        self.ns = ns

    def __call__(self) -> int:
        return self.ns


class Store:
    """An engine and its clock."""

    def __init__(self, engine, clock, cold) -> None:
        self.engine, self.clock, self.cold = engine, clock, cold

    async def put(self, key: str, size: int = 3_000_000, seed: int = 1, bucket: str = "bucket", **spec) -> None:
        content = (key.encode() * (size // len(key) + 1))[: size - 1] + bytes((seed,))
        await self.engine.objects.put(bucket, key.encode(), body_of(content), PutSpec(**spec))

    async def volumes(self, key: str, bucket: str = "bucket") -> list[int]:
        view = await self.engine.objects.head(bucket, key.encode())
        return await self.engine.tiers.volumes_of(view.inode.content)

    async def read(self, key: str, who: int = 1, times: int = 1, bucket: str = "bucket", sweep: bool = False) -> None:
        """Tell the tracker of full reads, as a door does."""
        for volume in await self.volumes(key, bucket):
            size = self.engine.tiering.record_of(volume).k * self.engine.tiering.record_of(volume).shard_bytes
            for one in range(times):
                self.engine.heat.read(volume, hash((who, one)), size, sweep=sweep)

    async def tier(self, key: str, bucket: str = "bucket") -> str:
        return self.engine.tiers.tier_of(await self.engine.objects.head(bucket, key.encode())).summary

    async def days(self, count: int = 1) -> None:
        """Let so many days pass, each with its evening; what was wished is moved before the next."""
        for _ in range(count):
            self.clock.ns += DAY
            await self.engine.tiering.catch_up()
            await self.settle()

    async def settle(self) -> None:
        """Wait until every wish is fulfilled and taken into account."""
        with trio.fail_after(30):
            while self.engine.tiers.mover.waiting or self.engine.tiers.mover.under_way:
                self.engine.tiers.mover.put_off.clear()
                self.engine.tiers.mover.expect(1)
                await trio.sleep(0.005)
        await self.engine.tiering.catch_up()

    async def explain(self, key: str, bucket: str = "bucket", **more):
        return await self.engine.tiering.explain_object(bucket, key.encode(), **more)


def deciding_settings(folder, limits=None, **tiering):
    settings = tiered_settings(folder, **(limits or {}))
    return replace(settings, tiering=replace(Tiering(prices=BOOK, check_interval=1e6), **tiering))


@asynccontextmanager
async def deciding_engine(folder, cold=None, clock=None, settings=None, without_cold=False, **tiering):
    """The service sleeps: tests call `catch_up` themselves."""
    settings = settings or deciding_settings(folder, **tiering)
    clock, cold = clock or HandClock(), cold or FakeBackend()
    far = [] if without_cold else [Guarded(cold, settings.limits, chance=lambda: 0.0)]
    async with open_engine(settings, root=ROOT, now_ns=clock, masters=MASTERS, cold=far) as engine:
        store = Store(engine, clock, cold)
        if not await engine.buckets.list():
            await engine.buckets.create("bucket", "alice")
        yield store
