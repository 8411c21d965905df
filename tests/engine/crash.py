"""A whole engine on six disks in memory, and the power that goes at a chosen step.

Room: tests. May import: stratum, tests.fakes.

The index is a real LMDB in a real folder. A power cut takes all disks at one instant: what they had not synced is lost
as `chance` decides, and from there on every call fails, also those on the index, until the engine is gone. The next
life is a *twin*: copies of the disks and of the index folder, which no thread of the old life can reach.
"""

import errno
import os
import random
import shutil
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from unittest.mock import patch

import trio

from stratum.core.config import Limits, Settings, WarmTier
from stratum.core.errors import StratumError
from stratum.engine.engine import Engine, open_engine
from stratum.engine.mover import Mover
from stratum.engine.packing import Packing
from stratum.engine.reaper import Reaper
from stratum.engine.relocator import Relocator
from stratum.engine.repairer import Repairer
from stratum.engine.scrubber import Scrubber
from stratum.engine.sweeper import Sweeper
from stratum.store import failpoints
from stratum.store.disk import FileMissing
from stratum.store.disk_watch import DiskWatch
from tests.engine.conftest import MASTERS, ROOT, Clock
from tests.fakes.backend import FakeBackend
from tests.fakes.disk import FakeDisk

DISKS = 6
WARM_DISKS = 3  # of a store with tiers, with the code 2+1; it has a cold backend, too
HANGS = 60.0  # seconds after which a case counts as hung

SMALL = Limits(
    cell_bytes=256,
    volume_bytes=8 * 1024,
    put_window_bytes=2048,
    inline_bytes=64,
    pack_bytes=1500,
    part_bytes_min=1,
    map_bytes=1 << 24,
    disk_timeout=60.0,
    publish_delay=0.01,
    reap_delay=0.0,
)

# Reading changes nothing: a cut before or after a read is a cut between the two writes around it.
CHANGES = {"create", "mkdir", "append", "lay_out", "fsync", "rename", "unlink", "fsync_directory", "commit"}


class Fixed(random.Random):
    """A chance that always falls the same way: 0.0 keeps all that was not synced (a kill), 1.0 loses all."""

    def __init__(self, value: float) -> None:
        super().__init__(0)
        self.value = value

    def random(self) -> float:
        return self.value


CHANCES: dict[str, Callable[[int], random.Random]] = {
    "killed": lambda seed: Fixed(0.0),
    "nothing unsynced survives": lambda seed: Fixed(0.999),
    "some survives": random.Random,
}


def fast_folder() -> str | None:
    """Where temporary folders are made: in memory if that can be. The index is not what loses its power here."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


class Killed(BaseException):
    """Ends an engine from inside."""


async def _sleep_forever(self: object, task_status: object = None) -> None:
    await trio.sleep_forever()


@contextmanager
def quiet_services() -> Iterator[None]:
    """Keep services that work by the clock from working: the test makes their passes."""
    with ExitStack() as stack:
        for service in (Repairer, Reaper, Scrubber, DiskWatch, Mover, Sweeper, Packing, Relocator):
            stack.enter_context(patch.object(service, "run", _sleep_forever))
        yield


def copy_of(disk: FakeDisk) -> FakeDisk:
    """A disk with the same files, all of them durable."""
    twin = FakeDisk(disk.slot, name=disk.name)
    for path in disk.paths():
        file = twin.create(path, purpose="twin")
        file.append([disk.content(path)], purpose="twin")
        file.fsync(purpose="twin")
        file.close()
        twin.fsync_directory(path.rpartition("/")[0], purpose="twin")
    return twin


class World:
    """The disks of one store, the folder of its index, and engines on them, one after another."""

    def __init__(self, folder: Path, limits: Limits = SMALL, *, tiers: bool = False, spare: int = 0) -> None:
        """`spare`: disks that the settings do not name."""
        self.folder = folder
        self.spare = spare
        self.limits = limits
        self.tiers = tiers
        self.cold = FakeBackend()  # somebody else's machine: our power cuts do not reach it
        paths = [folder / "disks" / str(slot) for slot in range(DISKS + WARM_DISKS * tiers + spare)]
        self.disks = {str(path): FakeDisk(slot, name=str(path)) for slot, path in enumerate(paths)}
        self.away: set[int] = set()  # disks (by number of the path) that are not there
        self.named = list(range(DISKS))  # disks (by number of the path) that the settings name for the hot tier
        self.clock = Clock()

    @property
    def meta(self) -> Path:
        """The folder of the index."""
        return self.folder / "data" / "meta"

    def disk(self, number: int) -> FakeDisk:
        """The disk at path `number`."""
        return list(self.disks.values())[number]

    def open_disk(self, slot: int, path: Path) -> FakeDisk:
        """As the engine opens a disk."""
        number = list(self.disks).index(str(path))
        if number in self.away:
            raise FileMissing(f"{path} is not there")
        return self.disks[str(path)]

    @asynccontextmanager
    async def engine(self, *, quiet: bool = True) -> Iterator[Engine]:
        """Run an engine; `quiet`: without the services that work by the clock."""
        paths = [Path(path) for path in self.disks]
        warm = WarmTier(disks=tuple(paths[DISKS : DISKS + WARM_DISKS]), k=2, parity=1) if self.tiers else None
        disks = tuple(paths[number] for number in self.named)
        settings = Settings(data=self.folder / "data", disks=disks, warm=warm, limits=self.limits)
        cold = [self.cold] if self.tiers else []
        with quiet_services() if quiet else nullcontext():
            async with open_engine(
                settings, root=ROOT, now_ns=self.clock, open_disk=self.open_disk, masters=MASTERS, cold=cold
            ) as engine:
                yield engine

    def twin(self, folder: Path) -> "World":
        """The same store again, in `folder`, as it rests on disk now."""
        twin = World(folder, self.limits, tiers=self.tiers, spare=self.spare)
        twin.cold.objects = dict(self.cold.objects)
        twin.clock.ns = self.clock.ns
        for (path, empty), disk in zip(list(twin.disks.items()), self.disks.values(), strict=True):
            twin.disks[path] = copy_of(disk)
            twin.disks[path].name = empty.name
        if (self.folder / "data").exists():
            shutil.copytree(self.folder / "data", folder / "data")
            store = folder / "data" / "store.json"
            if store.exists():  # it knows where disks are that were added
                store.write_text(store.read_text().replace(str(self.folder), str(folder)))
        return twin


class Power:
    """Counts the steps that change something on disk; cuts the power at step `at` (None: never)."""

    def __init__(self, world: World, at: int | None, chance: random.Random) -> None:
        self.reached: list[str] = []
        self.gone = False
        self._world = world
        self._at = at
        self._chance = chance
        self._armed = False
        self._lock = threading.Lock()

    def arm(self) -> None:
        """Count from here on."""
        self._armed = True

    def disarm(self) -> None:
        """Do not count any more."""
        self._armed = False

    def cut(self) -> None:
        """Now, if it is not gone already."""
        with self._lock:
            if self.gone:
                return
            self.gone = True
            for disk in self._world.disks.values():
                disk.fail()
            for disk in self._world.disks.values():
                disk.cut_power(self._chance)

    def step(self, name: str) -> None:
        """The failpoint hook. After the cut every call fails."""
        if not self.gone and self._armed and name.rpartition(".")[2] in CHANGES:
            with self._lock:
                self.reached.append(name)
                now = len(self.reached) == self._at
            if now:
                self.cut()
        if self.gone:
            raise OSError(errno.EIO, os.strerror(errno.EIO))


@dataclass(frozen=True)
class Step:
    """One call on the engine. `durable`: when it returns, a cut takes neither it nor what came before."""

    act: Callable[[Engine, object], Awaitable[object]]
    durable: bool = True


@dataclass(frozen=True)
class Operation:
    """What is done while the power goes: `prepare` makes the store it begins with and may return what it needs."""

    name: str
    prepare: Callable[[Engine], Awaitable[object]]
    steps: Sequence[Step]
    limits: dict[str, object] = field(default_factory=dict)
    killed: bool = False  # the engine that prepared it was not closed
    spoil: Callable[[World], None] = lambda world: None  # what happens before the start
    from_start: bool = False  # the start is part of it
    delicate: tuple[str, ...] = ()  # points that are in every sample
    tiers: bool = False  # the store has warm disks and a cold backend
    makes: bytes = b""  # the key of a file that it makes: until it is closed, a cut may leave it there, empty
    spare: int = 0  # disks that are there, and that the settings do not name

    def limits_in_force(self) -> Limits:
        """SMALL, with the operation's own."""
        return replace(SMALL, **self.limits)


@dataclass
class Outcome:
    """What became of an operation: how many steps were acknowledged, up to which one durably, where the cut was."""

    acknowledged: int = 0
    durable: int = 0
    point: str = ""
    opened: bool = False
    error: StratumError | None = None


@contextmanager
def hooked(power: Power) -> Iterator[None]:
    """Let every failpoint of the process report to `power`."""
    failpoints.set_hook(power.step)
    try:
        yield
    finally:
        failpoints.set_hook(None)


async def run_until_cut(
    world: World, operation: Operation, prepared: object, at: int | None, chance: random.Random
) -> tuple[Outcome, Power]:
    """Open an engine on `world`, do the operation, cut the power at step `at`, or when it is done.

    Whatever errors that leads to are of no interest; a hang or an error of another kind is.
    """
    outcome, power = Outcome(), Power(world, at, chance)
    ended: BaseException | None = None

    async def live() -> None:
        if operation.from_start:
            power.arm()
        async with world.engine() as engine:
            outcome.opened = True
            power.arm()
            try:
                for number, step in enumerate(operation.steps, 1):
                    await step.act(engine, prepared)
                    outcome.acknowledged = number
                    outcome.durable = number if step.durable else outcome.durable
            except StratumError as error:
                outcome.error = error
            power.disarm()
            power.cut()
            engine.meta.abandon()
            raise Killed

    with hooked(power), trio.fail_after(HANGS):
        try:
            await live()
        except* (Killed, StratumError) as group:
            ended = group
    outcome.point = power.reached[at - 1] if at is not None and at <= len(power.reached) else "the end"
    done = outcome.acknowledged == len(operation.steps)
    if outcome.opened and not done and outcome.error is None:
        raise AssertionError("the operation ended with something else than one plain error of ours") from ended
    assert done or outcome.point != "the end", f"failed without a cause: {outcome.error!r}"
    return outcome, power


async def kill(engine: Engine) -> None:
    """End an engine in whose context this is called as SIGKILL would: nothing is closed. Raises Killed."""
    engine.meta.abandon()
    raise Killed
