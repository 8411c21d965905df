"""Disks leave service at their first failure, never take others with them, and come back when they may.

Room: tests. May import: stratum.core, stratum.store, tests.fakes.
"""

import errno
import shutil
import threading
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing

from stratum.core.config import Limits
from stratum.core.errors import Busy, DiskFailed, StoreFull
from stratum.core.records import Disk as DiskRecord
from stratum.store.disk import Disk, FileMissing, FolderDisk
from stratum.store.disk_watch import DiskWatch
from stratum.store.disks import Disks
from stratum.store.identity import NAME, Absent, join, read_identity
from tests.fakes.disk import FakeDisk

STORE = bytes(range(16))
P = "shard"


def make(count: int = 3, **limits: float) -> tuple[Disks, dict[int, FakeDisk]]:
    fakes = {slot: FakeDisk(slot) for slot in range(count)}
    return Disks(fakes, Limits(**limits)), fakes  # type: ignore[arg-type]


# --- calls ----------------------------------------------------------------------------------------------------


async def test_a_call_runs_in_a_thread_and_returns_its_value() -> None:
    disks, fakes = make()
    here = threading.get_ident()

    def call(disk: Disk) -> tuple[Disk, bool]:
        return disk, threading.get_ident() != here

    assert await disks.run(1, call) == (fakes[1], True)
    assert disks.slots() == disks.in_service() == [0, 1, 2]


async def test_a_failed_call_takes_its_disk_out_of_service_and_no_other() -> None:
    disks, fakes = make()
    fakes[1].fail()
    with pytest.raises(DiskFailed):
        await disks.run(1, lambda disk: disk.list("", purpose=P))
    assert disks.in_service() == [0, 2]
    assert "Input/output error" in disks.state(1).reason
    with pytest.raises(DiskFailed, match="out of service"):
        disks.get(1)
    with pytest.raises(DiskFailed, match="out of service"):
        await disks.run(1, lambda disk: None)
    with pytest.raises(DiskFailed, match="does not exist"):
        disks.get(9)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EMFILE, errno.ENOENT, errno.EEXIST])
async def test_what_says_nothing_against_a_disk_leaves_it_in_service(number: int) -> None:
    disks, fakes = make()
    fakes[1].inject(number, op="list")
    with pytest.raises((StoreFull, Busy, DiskFailed)):
        await disks.run(1, lambda disk: disk.list("", purpose=P))
    assert disks.in_service() == [0, 1, 2]


async def test_a_lost_file_is_not_a_lost_disk() -> None:
    disks, _ = make()
    with pytest.raises(FileMissing):
        await disks.run(1, lambda disk: disk.open("nothing", purpose=P))
    with pytest.raises(ZeroDivisionError):
        await disks.run(1, lambda disk: 1 / 0)
    with pytest.raises(DiskFailed):  # of another slot, met on the way
        disks.fail(0, "gone")
        await disks.run(1, lambda disk: disks.get(0))
    assert disks.in_service() == [1, 2]


async def test_a_late_failure_of_a_replaced_disk_does_not_touch_its_successor() -> None:
    disks, fakes = make()
    file = fakes[1].create("f", purpose=P)
    successor = FakeDisk(1)
    disks.fail(1, "pulled")
    disks.admit(1, successor)
    fakes[1].fail()
    with pytest.raises(DiskFailed):
        await disks.run(1, lambda disk: file.fsync(purpose=P))
    disks.fail(1, "late", disk=fakes[1])
    assert disks.get(1) is successor


class Hanging:
    """A call that hangs in its thread until it is released; `inside` tells how many do."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.entered = threading.Semaphore(0)

    def __call__(self, disk: Disk) -> None:
        self.entered.release()
        self.go_on.wait(5)

    async def inside(self, count: int) -> None:
        for _ in range(count):
            await trio.to_thread.run_sync(lambda: self.entered.acquire(timeout=5))


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    call = Hanging()
    yield call
    call.go_on.set()


async def outcome(call: Callable[[], Awaitable[object]], into: list[str]) -> None:
    try:
        await call()
        into.append("done")
    except (Busy, DiskFailed) as error:
        into.append(type(error).__name__)


async def test_a_disk_that_hangs_is_out_after_the_time_out_and_the_others_go_on(
    mock_clock: trio.testing.MockClock, hanging: Hanging
) -> None:
    disks, _ = make(disk_timeout=10.0)
    found: list[str] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outcome, partial(disks.run, 1, hanging), found)
        await hanging.inside(1)
        mock_clock.jump(9.0)
        assert disks.in_service() == [0, 1, 2]
        mock_clock.jump(1.0)
    assert found == ["CallFailed"]
    assert "no answer" in disks.state(1).reason
    assert disks.in_service() == [0, 2]
    assert await disks.run(0, lambda disk: disk.slot) == 0


async def test_calls_abandoned_on_a_disk_that_hangs_are_noticed_by_the_next_one(
    mock_clock: trio.testing.MockClock, hanging: Hanging
) -> None:
    disks, _ = make(disk_timeout=10.0, disk_threads=6)
    found: list[str] = []
    async with trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(disks.run, 1, hanging)
        await hanging.inside(2)
        nursery.cancel_scope.cancel()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outcome, partial(disks.run, 1, lambda disk: None), found)
        await trio.testing.wait_all_tasks_blocked()
        assert disks.in_service() == [0, 1, 2], "a cancelled caller proves nothing"
        mock_clock.jump(10.0)
    assert found == ["CallFailed"]
    assert disks.in_service() == [0, 2]
    disks.admit(1, FakeDisk(1))
    assert await disks.run(1, lambda disk: "threads of its own") == "threads of its own"


async def test_a_disk_that_is_only_busy_stays_in_service(mock_clock: trio.testing.MockClock) -> None:
    disks, _ = make(disk_timeout=10.0, disk_threads=6)
    first, second = Hanging(), Hanging()
    found: list[str] = []
    async with trio.open_nursery() as nursery:
        for call in (first, first, second, second, lambda disk: None):
            nursery.start_soon(outcome, partial(disks.run, 1, call), found)
            await trio.testing.wait_all_tasks_blocked()  # so that they queue in this order
        await first.inside(2)
        mock_clock.jump(9.0)
        first.go_on.set()
        await second.inside(2)
        mock_clock.jump(1.0)
        await trio.testing.wait_all_tasks_blocked()
        assert found == ["done", "done", "Busy"]
        second.go_on.set()
    assert disks.in_service() == [0, 1, 2]


async def test_the_time_out_of_a_call_begins_when_it_gets_its_thread(mock_clock: trio.testing.MockClock) -> None:
    disks, _ = make(disk_timeout=10.0, disk_threads=6)
    first, second = Hanging(), Hanging()
    found: list[str] = []
    async with trio.open_nursery() as nursery:
        for call in (first, first, second):
            nursery.start_soon(outcome, partial(disks.run, 1, call), found)
            await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(9.0)
        first.go_on.set()
        await second.inside(1)
        mock_clock.jump(9.0)
        await trio.testing.wait_all_tasks_blocked()
        second.go_on.set()
    assert found == ["done"] * 3
    assert disks.in_service() == [0, 1, 2]


async def test_a_failure_counts_although_nobody_waits_for_the_call_any_more() -> None:
    disks, fakes = make()
    told = trio.Event()
    disks.on_change = lambda slot: told.set()
    go_on = threading.Event()

    def call(disk: Disk) -> None:
        go_on.wait(5)
        disk.list("", purpose=P)

    fakes[1].fail()
    with trio.move_on_after(0.01):
        await disks.run(1, call)
    go_on.set()
    with trio.fail_after(5):
        await told.wait()
    assert disks.in_service() == [0, 2]


# --- state ----------------------------------------------------------------------------------------------------


async def test_changes_are_told_on_the_event_loop_only() -> None:
    disks, _ = make()
    told: list[tuple[int, bool]] = []
    loop = threading.get_ident()
    disks.on_change = lambda slot: told.append((slot, threading.get_ident() == loop))
    await trio.to_thread.run_sync(lambda: disks.fail(2, "before the loop was known"))
    assert told == []
    await disks.run(0, lambda disk: None)
    await trio.to_thread.run_sync(lambda: disks.fail(1, "from a thread"))
    disks.fail(1, "again")
    disks.admit(1, FakeDisk(1))
    await trio.testing.wait_all_tasks_blocked()
    assert told == [(2, True), (1, True), (1, True)]


async def test_a_listener_that_fails_does_not_end_the_loop(caplog: pytest.LogCaptureFixture) -> None:
    disks, _ = make()

    def listener(slot: int) -> None:
        raise ZeroDivisionError

    disks.on_change = listener
    disks.fail(1, "x")
    await trio.testing.wait_all_tasks_blocked()
    assert "ZeroDivisionError" in caplog.text


def test_state_tells_room_path_and_reason() -> None:
    fakes: dict[int, Disk] = {0: FakeDisk(0, capacity=100), 1: FakeDisk(1)}
    fakes[1].fail()  # type: ignore[attr-defined]
    disks = Disks(fakes, Limits(), absent={2: Absent("/mnt/2", "there is no such folder")})
    state = disks.state(0)
    assert (state.in_service, state.reason, state.path) == (True, "", "fake/0")
    assert (state.total, state.free) == (100, 100)
    assert not disks.state(1).in_service
    assert disks.state(2) == type(state)(False, "there is no such folder", "/mnt/2", 0, 0)
    assert disks.slots() == [0, 1, 2]
    assert disks.in_service() == [0]
    with pytest.raises(KeyError):
        disks.state(3)


# --- the watch ------------------------------------------------------------------------------------------------


class Watched:
    """Six folders, their disks and a watch over them."""

    def __init__(self, root: Path, *, open_disk: Callable[[int, Path], Disk] = FolderDisk) -> None:
        self.paths = [root / str(slot) for slot in range(6)]
        joined = join(self.paths, {}, STORE)
        self.first = joined.records
        self.disks = Disks(joined.disks, Limits(disk_timeout=float("inf")))
        self.events: list[object] = []
        self.replaced: dict[int, DiskRecord] = {}
        self.watch = DiskWatch(
            self.disks,
            STORE,
            known=joined.records,
            paths=self.paths,
            on_replaced=self.on_replaced,
            on_returned=lambda slot: self.events.append(("returned", slot)),
            now_ns=lambda: 5,
            open_disk=open_disk,
        )

    def on_replaced(self, slot: int, record: DiskRecord) -> None:
        assert slot in self.disks.in_service()
        self.events.append(("replaced", slot))
        self.replaced[slot] = record


@pytest.fixture
def store(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


async def test_healthy_disks_are_left_alone(store: Watched) -> None:
    await store.watch.one_pass()
    await store.watch.one_pass()
    assert store.disks.in_service() == [0, 1, 2, 3, 4, 5]
    assert store.events == []


async def test_deleted_disks_go_and_their_empty_successors_are_taken_in(store: Watched) -> None:
    for slot in (2, 5):
        shutil.rmtree(store.paths[slot])
    await store.watch.one_pass()
    assert store.disks.in_service() == [0, 1, 3, 4]
    assert "no such folder" in store.disks.state(2).reason
    for _ in range(3):
        await store.watch.one_pass()
    assert not store.paths[2].exists(), "a disk that was deleted is not made again"
    for slot in (2, 5):
        store.paths[slot].mkdir()
    await store.watch.one_pass()
    assert store.disks.in_service() == [0, 1, 3, 4], "it could be an `rm -r` that is about to remove the folder"
    await store.watch.one_pass()
    assert store.disks.in_service() == [0, 1, 2, 3, 4, 5]
    assert sorted(store.events) == [("replaced", 2), ("replaced", 5)]  # type: ignore[type-var]
    identity = read_identity(FolderDisk(2, store.paths[2]))
    assert identity is not None
    assert identity.disk == store.replaced[2].identity != store.first[2].identity
    store.disks.get(2).create("works", purpose=P)
    assert (store.paths[2] / "works").exists()
    await store.watch.one_pass()
    assert len(store.events) == 2


async def test_a_folder_emptied_in_place_is_a_replacement(store: Watched) -> None:
    (store.paths[3] / NAME).unlink()
    await store.watch.one_pass()
    assert 3 not in store.disks.in_service()
    await store.watch.one_pass()
    assert store.events == [("replaced", 3)]


async def test_a_folder_that_lost_only_its_identity_stays_out(store: Watched) -> None:
    (store.paths[3] / "shard").touch()
    (store.paths[3] / NAME).unlink()
    for _ in range(3):
        await store.watch.one_pass()
    assert store.disks.in_service() == [0, 1, 2, 4, 5]
    assert "holds files" in store.disks.state(3).reason


async def test_a_disk_that_went_away_returns_at_once(store: Watched, tmp_path: Path) -> None:
    store.paths[1].rename(tmp_path / "pulled")
    await store.watch.one_pass()
    assert 1 not in store.disks.in_service()
    (tmp_path / "pulled").rename(store.paths[1])
    await store.watch.one_pass()
    assert store.disks.in_service() == [0, 1, 2, 3, 4, 5]
    assert store.events == [("returned", 1)]


async def test_a_disk_that_returns_at_another_path_is_known(store: Watched, tmp_path: Path) -> None:
    for slot in (1, 4):
        store.paths[slot].rename(tmp_path / f"pulled{slot}")
    await store.watch.one_pass()
    (tmp_path / "pulled1").rename(store.paths[4])
    (tmp_path / "pulled4").rename(store.paths[1])
    await store.watch.one_pass()
    assert sorted(store.events) == [("returned", 1), ("returned", 4)]  # type: ignore[type-var]
    assert store.disks.state(1).path == str(store.paths[4])
    await store.watch.one_pass()
    assert store.disks.in_service() == [0, 1, 2, 3, 4, 5]


async def test_a_copy_of_a_disk_put_in_its_place_is_opened_anew(store: Watched, tmp_path: Path) -> None:
    shutil.copytree(store.paths[1], tmp_path / "copy")
    store.paths[1].rename(tmp_path / "original")
    (tmp_path / "copy").rename(store.paths[1])
    await store.watch.one_pass()
    assert store.events == [("returned", 1)]
    store.disks.get(1).create("here", purpose=P)
    assert (store.paths[1] / "here").exists()


async def test_a_foreign_disk_is_refused(store: Watched, tmp_path: Path) -> None:
    join([tmp_path / "foreign"], {}, bytes(16))
    shutil.rmtree(store.paths[1])
    (tmp_path / "foreign").rename(store.paths[1])
    for _ in range(3):
        await store.watch.one_pass()
    assert store.disks.in_service() == [0, 2, 3, 4, 5]
    assert "another store" in store.disks.state(1).reason


async def test_a_disk_whose_calls_failed_waits_ever_longer(store: Watched, mock_clock: trio.testing.MockClock) -> None:
    def failed_for() -> int:
        return next(second for second in range(10_000) if second in times)

    waits = []
    for _ in range(3):
        store.disks.fail(1, "Input/output error")
        times: set[int] = set()
        for second in range(100):
            await store.watch.one_pass()
            if 1 in store.disks.in_service():
                times.add(second)
                break
            mock_clock.jump(1.0)
        waits.append(failed_for())
    assert waits == [8, 16, 32]
    mock_clock.jump(601.0)
    store.disks.fail(1, "Input/output error")
    await store.watch.one_pass()
    mock_clock.jump(8.0)
    await store.watch.one_pass()
    assert 1 in store.disks.in_service(), "long healthy service is forgiven"


async def test_a_disk_that_still_fails_is_not_let_in(tmp_path: Path, mock_clock: trio.testing.MockClock) -> None:
    broken = True

    class Broken(FolderDisk):
        def create(self, path: str, *, purpose: str):
            if broken and self.name.endswith("/1"):
                raise DiskFailed(f"{self.name}: read-only")
            return super().create(path, purpose=purpose)

    broken = False
    store = Watched(tmp_path, open_disk=Broken)
    broken = True
    store.disks.fail(1, "Input/output error")
    await store.watch.one_pass()
    mock_clock.jump(8.0)
    await store.watch.one_pass()
    assert store.disks.state(1).reason.endswith("read-only")
    broken = False
    mock_clock.jump(15.0)
    await store.watch.one_pass()
    assert 1 not in store.disks.in_service()
    mock_clock.jump(1.0)
    await store.watch.one_pass()
    assert store.events == [("returned", 1)]


async def test_a_slot_that_was_absent_from_the_start_is_taken_in_when_it_appears(tmp_path: Path) -> None:
    paths = [tmp_path / str(slot) for slot in range(3)]
    known = join(paths, {}, STORE).records
    paths[1].rename(tmp_path / "away")
    joined = join(paths, known, STORE)
    disks = Disks(joined.disks, Limits(), absent=joined.absent)
    events: list[int] = []
    watch = DiskWatch(disks, STORE, known=known, paths=paths, on_replaced=lambda *_: None, on_returned=events.append)
    await watch.one_pass()
    assert disks.in_service() == [0, 2]
    (tmp_path / "away").rename(paths[1])
    await watch.one_pass()
    assert disks.in_service() == [0, 1, 2]
    assert events == [1]


async def test_the_room_on_the_disks_is_kept_up_to_date() -> None:
    fake = FakeDisk(0, name="0", capacity=10_000)
    known = join([Path("0")], {0: DiskRecord("", False, "0")}, STORE, open_disk=lambda *_: fake).records
    disks = Disks({0: fake}, Limits())
    watch = DiskWatch(
        disks,
        STORE,
        known=known,
        paths=[Path("0")],
        on_replaced=lambda *_: None,
        on_returned=lambda *_: None,
        open_disk=lambda *_: fake,
    )
    before = disks.state(0).free
    fake.create("f", purpose=P).append([bytes(1000)], purpose=P)
    await watch.one_pass()
    assert disks.state(0).free == before - 1000


async def test_the_service_looks_every_interval_and_can_be_cancelled(tmp_path: Path) -> None:
    store = Watched(tmp_path)
    store.watch._interval = 0.01
    shutil.rmtree(store.paths[0])
    async with trio.open_nursery() as nursery:
        await nursery.start(store.watch.run)
        with trio.fail_after(5):
            while 0 in store.disks.in_service():
                await trio.sleep(0.01)
            store.paths[0].mkdir()
            while 0 not in store.disks.in_service():
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    assert store.events == [("replaced", 0)]
