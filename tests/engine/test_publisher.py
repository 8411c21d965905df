"""The promise of close, on machines of every speed: a clock that jumps, a disk that takes as long as it is told.

Room: tests. May import: stratum, tests.engine.
"""

import random
from contextlib import asynccontextmanager

import pytest
import trio

from stratum.core.errors import StoreFull
from stratum.engine.publisher import AT_ONCE, Publisher
from tests.engine.mounted import LIMITS, World

PROMISE = LIMITS.publish_delay
INSTANT = 1e-6
LEARNING = 30  # closes, by when it knows how long things take here


class SlowMeta:
    """One commit at a time, begun only when somebody waits for it."""

    def __init__(self) -> None:
        self.seconds = self.commit_seconds = 0.0
        self.open, self.done = 1, 0
        self.durable_at: dict[int, float] = {}
        self._committing: trio.Event | None = None
        self.nursery: trio.Nursery

    def apply(self, change):
        return change(None), self.open

    async def durable(self, ticket):
        while self.done < ticket:
            if self._committing is None:
                self._committing = trio.Event()
                self.nursery.start_soon(self._commit)
            await self._committing.wait()

    async def _commit(self):
        number, self.open = self.open, self.open + 1
        await trio.sleep(self.seconds)
        self.done = number
        self.commit_seconds = self.seconds
        self.durable_at[number] = trio.current_time()
        self._committing.set()
        self._committing = None


class SlowFile:
    """A closed file that takes `seconds` to be stored."""

    def __init__(self, world, number, seconds=0.0, held=0) -> None:
        self.mounted, self.number, self.seconds, self.held = world.mounted, number, seconds, held
        self.error = self.lost = None
        self.fails = False
        self.ticket = 0
        self.begun_at = -1.0

    async def publish(self, *, closing):
        self.begun_at = trio.current_time()
        await trio.sleep(self.seconds)
        if self.fails:
            raise StoreFull("no room")
        self.mounted.apply(lambda txn: None)
        self.ticket = self.mounted.ticket


@asynccontextmanager
async def machine(commit=0.0):
    world = World()
    world.mounted.meta = meta = SlowMeta()
    meta.seconds = commit

    async def published(file):
        pass

    publisher = Publisher(world.mounted, published)
    async with trio.open_nursery() as nursery:
        meta.nursery = nursery
        nursery.start_soon(publisher.run)
        yield world, meta, publisher
        nursery.cancel_scope.cancel()


async def close(publisher, file) -> float:
    """Close a file as the mount does; return when close(2) did."""
    publisher.enqueue(file)
    await publisher.keep_promise(file)
    return trio.current_time()


async def lateness(publisher, meta, closed) -> list[float]:
    """How long after each close its file was durable."""
    await publisher.settle(None)
    return [meta.durable_at[file.ticket] - at for file, at in closed]


@pytest.mark.parametrize(("store", "commit"), [(0.0, 0.0), (0.002, 0.008), (0.0, 0.024), (0.03, 0.005), (0.015, 0.015)])
async def test_a_close_is_durable_within_the_promise_and_never_waits_where_the_machine_can_keep_it(
    autojump_clock, store, commit
):
    dice = random.Random(1)
    async with machine(commit) as (world, meta, publisher):
        closed = []
        for number in range(400):
            asked = trio.current_time()
            file = SlowFile(world, number, store)
            closed.append((file, await close(publisher, file)))
            if number > LEARNING:
                assert trio.current_time() == asked
            await trio.sleep(dice.choice([0, 0, 0.001, 0.003, 0.02, 0.2]))
        late = await lateness(publisher, meta, closed)
    assert max(late[LEARNING:]) <= PROMISE + INSTANT


async def test_closes_share_commits_though_nobody_asks_for_them(autojump_clock):
    async with machine(0.005) as (world, meta, publisher):
        for number in range(1000):
            await close(publisher, SlowFile(world, number, 0.001))
            await trio.sleep(0.001)
        await publisher.settle(None)
    assert 10 < meta.done < 50


@pytest.mark.parametrize("writers", [1, 8])
@pytest.mark.parametrize(("store", "commit"), [(0.01, 0.2), (0.3, 0.01), (0.4, 0.4), (0.03, 0.03)])
async def test_on_a_machine_too_slow_for_the_promise_close_waits_and_the_promise_holds(
    autojump_clock, store, commit, writers
):
    closed = []
    async with machine(commit) as (world, meta, publisher):

        async def write(who):
            for number in range(120):
                file = SlowFile(world, who * 1000 + number, store)
                closed.append((file, await close(publisher, file)))
                await trio.sleep(0.001)

        async with trio.open_nursery() as nursery:
            for who in range(writers):
                nursery.start_soon(write, who)
        late = await lateness(publisher, meta, closed)
        assert publisher.standing.held_back > 0
    start = closed[0][1]
    unforeseen = [each for each, (_, at) in zip(late, closed, strict=True) if at - start <= PROMISE]
    foreseen = [each for each, (_, at) in zip(late, closed, strict=True) if at - start > PROMISE]
    rounds = len(unforeseen) // AT_ONCE + 2  # closed before anything was known
    assert max(unforeseen) <= rounds * store + 2 * commit + PROMISE
    assert max(foreseen[LEARNING:]) <= PROMISE + INSTANT


async def test_a_machine_that_stalls_holds_closes_back_from_when_the_oldest_is_overdue(autojump_clock):
    async with machine(0.001) as (world, meta, publisher):
        for number in range(100):
            await close(publisher, SlowFile(world, number))
            await trio.sleep(0.01)
        meta.seconds = 2.0  # nobody could know
        stalled = trio.current_time()
        closed = []
        for number in range(100, 300):
            file = SlowFile(world, number)
            closed.append((file, await close(publisher, file)))
            await trio.sleep(0.01)
        late = await lateness(publisher, meta, closed)
    overdue = [each for each, (_, at) in zip(late, closed, strict=True) if at > stalled + 3 * PROMISE]
    assert len(closed) - len(overdue) <= 3 * PROMISE / 0.01 + 1 and max(overdue) <= 2 * PROMISE


async def test_closes_are_free_again_soon_after_a_slow_spell(autojump_clock):
    async with machine(0.5) as (world, meta, publisher):
        for number in range(10):
            await close(publisher, SlowFile(world, number))
        meta.seconds = 0.004
        for number in range(10, 60):
            await close(publisher, SlowFile(world, number))
            await trio.sleep(0.02)
        asked = trio.current_time()
        assert await close(publisher, SlowFile(world, 1000)) == asked


async def test_the_oldest_close_is_served_first(autojump_clock):
    files = []
    async with machine() as (world, _, publisher):
        for number in random.Random(3).sample(range(1000), 300):
            files.append(SlowFile(world, number, 0.01))
            publisher.enqueue(files[-1])
        await publisher.settle(None)
    begun = [file.begun_at for file in files]
    assert begun == sorted(begun) and len(set(begun)) > 3


async def test_a_large_file_does_not_make_small_ones_wait_once_it_is_durable(autojump_clock):
    async with machine(0.002) as (world, _, publisher):
        await close(publisher, SlowFile(world, 1, 3.0, held=LIMITS.pack_bytes + 1))
        await publisher.settle(None)
        for number in range(2, 20):
            asked = trio.current_time()
            assert await close(publisher, SlowFile(world, number)) == asked
            await trio.sleep(0.01)


async def test_what_cannot_be_published_holds_nobody_back_and_is_no_longer_counted(autojump_clock):
    async with machine() as (world, _, publisher):
        broken = SlowFile(world, 1, 0.5)
        broken.fails = True
        publisher.enqueue(broken)
        await trio.sleep(0.3)
        assert publisher.standing.oldest == pytest.approx(0.3)
        asked = trio.current_time()
        await publisher.keep_promise(broken)
        assert trio.current_time() - asked == pytest.approx(0.5 - 0.3, abs=PROMISE)
        assert isinstance(broken.error, StoreFull)
        assert publisher.standing.waiting == 0 and publisher.standing.oldest == 0
        asked = trio.current_time()
        await close(publisher, SlowFile(world, 3))
        await trio.sleep(1)
        assert await close(publisher, SlowFile(world, 2)) - asked <= 1.6
