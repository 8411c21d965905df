"""The disks of a store by slot: which are in service, and the way from the event loop to them.

Room: stratum/store. May import: core.config, core.errors, store.disk, store.identity.

Invariants
    S1  A disk leaves service at its first failed call or at no answer within `Limits.disk_timeout`, and stays out
        until `admit`. A full disk, a missing file and a lack of descriptors say nothing against the disk.
    S2  Only the disk that failed is blamed: a late failure of a disk that was replaced does not touch the new one.
    S3  Each slot has threads of its own, so a disk that hangs cannot use up those of the others. A call that was
        abandoned keeps its thread until the kernel lets go of it.
    S4  A disk comes back by itself: at once if it was away and shows its identity again; after a pause that
        doubles from time to time if it stayed where it was and its calls failed (a disk whose fsync fails is not
        to be trusted again a second later).
"""

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar, cast

import trio

from stratum.core.config import Limits
from stratum.core.errors import Busy, DiskFailed, ForeignDisk, Unavailable
from stratum.core.records import Disk as DiskRecord
from stratum.store.disk import CallFailed, Disk, FileExists, FileMissing, FolderDisk, Space
from stratum.store.identity import (
    NAME,
    Absent,
    Assignment,
    Joined,
    OpenDisk,
    Sight,
    assign,
    look,
    read_identity,
    settle,
    try_out,
)

log = logging.getLogger(__name__)

T = TypeVar("T")


_UNKNOWN = Space(0, 0)


class OutOfService(DiskFailed):
    """The slot has no disk that may be used."""


@dataclass(frozen=True, slots=True)
class DiskState:
    """A slot as an operator sees it. `total` and `free` are bytes, as of the last look."""

    in_service: bool
    reason: str  # why not in service; empty if it is
    path: str
    total: int
    free: int


@dataclass(slots=True)
class _Slot:
    limiter: trio.CapacityLimiter
    disk: Disk | None = None
    reason: str = ""
    path: str = ""
    space: Space = _UNKNOWN
    began: dict[object, float] = field(default_factory=dict)  # calls in threads -> when they began
    tier: str = ""


class Disks:
    """The slots of a store. `fail`, `get`, `state`, `slots` and `in_service` may be called from any thread.

    `absent`: known slots without a disk. `tiers`: of the slots that are not hot. `on_change` is told of every slot
    that enters or leaves service, always on the event loop, shortly after the fact.
    """

    def __init__(
        self,
        disks: Mapping[int, Disk],
        limits: Limits,
        *,
        absent: Mapping[int, Absent] | None = None,
        tiers: Mapping[int, str] | None = None,
    ) -> None:
        self.limits = limits
        self.on_change: Callable[[int], None] = lambda slot: None
        self._lock = threading.Lock()
        self._changed: deque[int] = deque()
        self._loop: trio.lowlevel.TrioToken | None = None
        count = len(disks) + len(absent or {})
        self._threads = max(2, limits.disk_threads // max(1, count))
        self._slots: dict[int, _Slot] = {}
        for slot, missing in (absent or {}).items():
            self._slots[slot] = _Slot(self._limiter(), reason=missing.reason, path=missing.path)
        for slot, disk in disks.items():
            self._slots[slot] = _Slot(self._limiter(), disk, path=disk.name)
        for slot, tier in (tiers or {}).items():
            self._slots[slot].tier = tier
        for slot, disk in disks.items():
            try:
                self._slots[slot].space = disk.space()
            except DiskFailed as error:
                self.fail(slot, str(error))

    def slots(self, tier: str | None = None) -> list[int]:
        """All slots (of one tier), in service or not, in order."""
        return sorted(slot for slot, held in list(self._slots.items()) if tier is None or held.tier == tier)

    def in_service(self, tier: str | None = None) -> list[int]:
        """The slots (of one tier) in service, in order."""
        return sorted(
            slot
            for slot, held in list(self._slots.items())
            if held.disk is not None and (tier is None or held.tier == tier)
        )

    def tier_of(self, slot: int) -> str:
        """Which set of disks the slot is of; empty: hot."""
        return self._slots[slot].tier

    def get(self, slot: int) -> Disk:
        """The disk in `slot`. Raises DiskFailed if it is out of service."""
        held = self._slots.get(slot)
        disk = held.disk if held else None
        if disk is None:
            reason = f"({held.path}) is out of service: {held.reason}" if held else "does not exist"
            raise OutOfService(f"disk {slot} {reason}")
        return disk

    def state(self, slot: int) -> DiskState:
        """The state of `slot`. Raises KeyError if there is no such slot."""
        held = self._slots[slot]
        return DiskState(held.disk is not None, held.reason, held.path, *held.space)

    async def run(self, slot: int, call: Callable[[Disk], T]) -> T:
        """Return `call(disk)`, made in a thread.

        A cancelled caller returns at once and leaves the call to itself. Raises what `call` raises, DiskFailed if
        the slot is out of service or gives no answer in time, Busy if no thread became free.
        """
        disk = self.get(slot)
        turn = _Turn(self._slots[slot], self.limits.disk_timeout)
        if self._loop is None:
            self._attach()
        with turn.scope:
            return await trio.to_thread.run_sync(
                self._made, slot, disk, call, limiter=cast("trio.CapacityLimiter", turn), abandon_on_cancel=True
            )
        reason = f"no answer within {self.limits.disk_timeout:g} s"
        if not turn.hangs():
            raise Busy(f"disk {slot} ({disk.name}): no free thread within {self.limits.disk_timeout:g} s")
        self.fail(slot, reason, disk=disk)
        raise CallFailed(disk, f"{disk.name}: {reason}")

    def fail(self, slot: int, reason: str, *, disk: Disk | None = None) -> None:
        """Take `slot` out of service; if `disk` is given, only while it is that disk's (S2)."""
        with self._lock:
            held = self._slots[slot]
            if held.disk is None or (disk is not None and held.disk is not disk):
                return
            held.disk = None
            held.reason = reason
        log.error("disk %d (%s) is out of service: %s", slot, held.path, reason)
        self._tell(slot)

    def explain(self, slot: int, reason: str) -> None:
        """Say better why `slot` is out of service; nothing happens if it is in service."""
        with self._lock:
            held = self._slots[slot]
            if held.disk is None:
                held.reason = reason

    def admit(self, slot: int, disk: Disk, space: Space | None = None) -> None:
        """Put `disk` into `slot` and in service. Its calls get fresh threads."""
        disk.slot = slot
        with self._lock:
            before = self._slots.get(slot)
            known = space or (before.space if before else _UNKNOWN)
            tier = before.tier if before else ""
            self._slots[slot] = _Slot(self._limiter(), disk, path=disk.name, space=known, tier=tier)
        log.warning("disk %d (%s) is in service", slot, disk.name)
        self._tell(slot)

    def note_space(self, slot: int, space: Space) -> None:
        """Remember the room on a disk, for `state`."""
        self._slots[slot].space = space

    def _made(self, slot: int, disk: Disk, call: Callable[[Disk], T]) -> T:
        """Make the call, in a thread. Blames the disk here, so that it counts even if nobody waits any more."""
        try:
            return call(disk)
        except (FileMissing, FileExists, OutOfService):
            raise
        except DiskFailed as error:
            at_fault = error.disk if isinstance(error, CallFailed) else disk
            self.fail(slot, str(error), disk=at_fault)
            raise

    def _limiter(self) -> trio.CapacityLimiter:
        return trio.CapacityLimiter(self._threads)

    def _attach(self) -> None:
        """Remember the event loop, if this is it."""
        with contextlib.suppress(RuntimeError):
            self._loop = trio.lowlevel.current_trio_token()
            if self._changed:
                self._deliver()

    def _tell(self, slot: int) -> None:
        self._changed.append(slot)
        if self._loop is None:
            self._attach()
        if self._loop is not None:
            with contextlib.suppress(trio.RunFinishedError):  # the process is ending: nobody is left to tell
                self._loop.run_sync_soon(self._deliver, idempotent=True)

    def _deliver(self) -> None:
        while self._changed:
            slot = self._changed.popleft()
            try:
                self.on_change(slot)
            except Exception:  # a listener's bug must not end the event loop, which is what it would do here
                log.exception("a listener failed on the change of disk %d", slot)


class _Turn:
    """Stands for the slot's limiter in one call: the time-out begins anew when the call gets its thread."""

    def __init__(self, held: _Slot, timeout: float) -> None:
        self._held = held
        self._timeout = timeout
        self.scope = trio.CancelScope(deadline=trio.current_time() + timeout)

    async def acquire_on_behalf_of(self, borrower: object) -> None:
        """Wait for a thread of the slot."""
        await self._held.limiter.acquire_on_behalf_of(borrower)
        now = trio.current_time()
        self._held.began[borrower] = now
        self.scope.deadline = now + self._timeout

    def release_on_behalf_of(self, borrower: object) -> None:
        """Give the thread back; called when the call has ended, however late."""
        del self._held.began[borrower]
        self._held.limiter.release_on_behalf_of(borrower)

    def hangs(self) -> bool:
        """Whether some call of the slot has been under way for longer than the time-out."""
        oldest = min(self._held.began.values(), default=float("inf"))
        return trio.current_time() - oldest >= self._timeout * 0.999  # sums of times are rounded


class DiskWatch:
    """Looks at every disk each `Limits.disk_check_interval`: takes out what is gone, takes in what is back.

    `known`: the records of the slots (which identity each must show); `paths`: all configured paths. A slot's own
    disk that is back is announced by `on_returned(slot)`: what was written meanwhile is missing on it. A folder
    that is empty (in two passes, so that no `rm -r` under way is disturbed) is claimed for its slot and announced
    by `on_replaced(slot, record)`: every shard must be rebuilt, and `record` saved. Both are called on the event
    loop, once the disk is in service. A folder that does not exist is never made.
    """

    def __init__(
        self,
        disks: Disks,
        store_id: bytes,
        *,
        known: Mapping[int, DiskRecord],
        paths: Sequence[Path],
        on_replaced: Callable[[int, DiskRecord], None],
        on_returned: Callable[[int], None],
        now_ns: Callable[[], int] = time.time_ns,
        open_disk: OpenDisk = FolderDisk,
        tiers: Mapping[Path, str] | None = None,
    ) -> None:
        """`tiers`: of the paths that are not for hot."""
        self._tiers = {str(path): tier for path, tier in (tiers or {}).items()}
        self._disks = disks
        self._store_id = store_id
        self._known = dict(known)
        self._paths = [str(path) for path in paths]
        self._on_replaced = on_replaced
        self._on_returned = on_returned
        self._now_ns = now_ns
        self._open = open_disk
        self._interval = disks.limits.disk_check_interval
        self._limiter = trio.CapacityLimiter(max(2, len(paths)))
        self._looking: set[str] = set()  # paths whose last look has not ended yet
        self._empty: dict[str, tuple[int, int]] = {}  # path -> the folder that was seen empty in the last pass
        self._pauses: dict[int, _Pause] = {}

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run until cancelled."""
        task_status.started()
        while True:
            await self.one_pass()
            await trio.sleep(self._interval)

    async def one_pass(self) -> None:
        """Look at every disk once. A disk that hangs delays the pass by up to the disk time-out, once."""
        async with trio.open_nursery() as nursery:
            for slot in self._disks.in_service():
                nursery.start_soon(self._check, slot)
        out = [slot for slot in self._disks.slots() if slot not in self._disks.in_service()]
        if out:
            await self._take_in(out)

    async def _check(self, slot: int) -> None:
        """Take a slot out of service if its disk is gone from its path."""
        try:
            disk = self._disks.get(slot)
            gone, space = await self._disks.run(slot, partial(self._still_there, slot))
        except Unavailable:  # out of service by now, or so busy that the next pass will do
            return
        if gone:
            self._disks.fail(slot, gone, disk=disk)
            self._pause(slot).end()
        else:
            self._disks.note_space(slot, space)

    def _still_there(self, slot: int, disk: Disk) -> tuple[str, Space]:
        """Look at the path of a disk anew: (why it is gone or "", room on it). Blocking."""
        try:
            now_there = self._open(slot, Path(disk.name))
            identity = read_identity(now_there)
        except FileMissing:
            return "its folder does not exist", _UNKNOWN
        except (DiskFailed, ForeignDisk) as error:
            return str(error), _UNKNOWN
        known = self._known.get(slot)
        if identity is None:
            return f"{NAME} is missing", _UNKNOWN
        if known is not None and identity.disk != known.identity:
            return f"shows another identity ({identity.disk})", _UNKNOWN
        if now_there.folder_id != disk.folder_id:
            return "another folder stands at its path", _UNKNOWN
        return "", disk.space()

    async def _take_in(self, out: Sequence[int]) -> None:
        """Find disks for the slots that have none."""
        sights: dict[int, Sight] = {}
        async with trio.open_nursery() as nursery:
            for place, path in self._places(out).items():
                nursery.start_soon(self._look, place, path, sights)
        self._note_absence(out, sights)
        in_service = frozenset(self._disks.in_service())
        found = assign(sights, self._known, self._store_id, in_service)
        reasons = {str(path): reason for path, reason in found.problems}
        for slot in out:
            path = self._disks.state(slot).path
            if path in reasons:
                self._disks.explain(slot, reasons[path])
        await self._settle(self._due(found, out))

    def _places(self, out: Sequence[int]) -> dict[int, str]:
        """Where to look: at every configured path that no disk in service uses. The place of a path is the slot
        that an empty folder there would replace, or a negative number."""
        used = {self._disks.state(slot).path for slot in self._disks.in_service()}
        free = [path for path in dict.fromkeys(self._paths) if path not in used]
        places = {slot: path for slot in out if (path := self._disks.state(slot).path) in free}
        rest = [path for path in free if path not in places.values()]
        homeless = [slot for slot in out if slot not in places]
        numbers = [*homeless, *range(-1, -1 - len(rest), -1)]
        return {**places, **dict(zip(numbers, rest, strict=False))}

    async def _look(self, place: int, path: str, sights: dict[int, Sight]) -> None:
        if path in self._looking:  # a look of an earlier pass hangs there
            return
        self._looking.add(path)

        def work() -> Sight:
            try:
                return look(place, Path(path), self._open, self._tiers.get(path, ""))
            finally:
                self._looking.discard(path)

        with trio.move_on_after(self._disks.limits.disk_timeout):
            sights[place] = await self._in_thread(work)

    def _note_absence(self, out: Sequence[int], sights: Mapping[int, Sight]) -> None:
        """A disk that is not where it was left is welcome as soon as it is back: no pause."""
        for slot in out:
            sight = sights.get(slot)
            if sight is not None and sight.identity is None:
                self._pause(slot).end()

    def _pause(self, slot: int) -> "_Pause":
        return self._pauses.setdefault(slot, _Pause(self._interval))

    def _due(self, found: Assignment, out: Sequence[int]) -> Assignment:
        """What of an assignment is to be carried out in this pass."""
        now = trio.current_time()
        due = Assignment()
        for every, wanted in ((found.known, due.known), (found.strange, due.strange)):
            for slot, sight in every.items():
                if slot in out and self._pause(slot).is_over(now):
                    wanted[slot] = sight
        before, self._empty = self._empty, {}
        for slot, sight in found.empty.items():
            if slot in out and sight.disk is not None:
                folder = sight.disk.folder_id
                self._empty[str(sight.path)] = folder
                if before.get(str(sight.path)) == folder:
                    due.empty[slot] = sight
        return due

    async def _settle(self, due: Assignment) -> None:
        """Carry out an assignment, and put its disks in service."""
        if not due.taken:
            return

        with trio.move_on_after(self._disks.limits.disk_timeout):
            joined, spaces = await self._in_thread(partial(self._try_out, due))
            for slot in due.taken - spaces.keys():
                self._pause(slot).begin(trio.current_time())
            for slot, space in spaces.items():
                self._known[slot] = joined.records[slot]
                self._pause(slot).begin_service(trio.current_time())
                self._disks.admit(slot, joined.disks[slot], space)
                if slot in joined.new:
                    self._on_replaced(slot, joined.records[slot])
                else:
                    self._on_returned(slot)

    def _try_out(self, due: Assignment) -> tuple[Joined, dict[int, Space]]:
        """Claim what is empty and try out every disk; return those that work with their room. Blocking."""
        joined = settle(due, self._known, self._store_id, self._now_ns())
        spaces = {}
        for slot, disk in joined.disks.items():
            try:
                try_out(disk)
                spaces[slot] = disk.space()
            except Unavailable as error:
                self._disks.explain(slot, str(error))
        return joined, spaces

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(work, limiter=self._limiter, abandon_on_cancel=True)


class _Pause:
    """How long a slot stays out whose disk is there but failed (S4): 8 intervals, doubling up to 4096."""

    FIRST, LAST = 3, 12  # powers of two
    FORGIVEN = 600  # intervals in service after which the next failure counts as the first

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._power = self.FIRST
        self._served_since = float("-inf")
        self._until: float | None = None  # None: in service, or not seen out yet

    def is_over(self, now: float) -> bool:
        """Whether the disk may come back; the first question begins the pause."""
        if self._until is None:
            if now - self._served_since > self.FORGIVEN * self._interval:
                self._power = self.FIRST
            self.begin(now)
        return self._until is not None and now >= self._until

    def begin(self, now: float) -> None:
        """Begin a pause; the next one is twice as long."""
        self._until = now + self._interval * 2**self._power
        self._power = min(self._power + 1, self.LAST)

    def end(self) -> None:
        """No pause, this time."""
        self._until = float("-inf")

    def begin_service(self, now: float) -> None:
        """The disk is in service again."""
        self._served_since = now
        self._until = None
