"""The disks of a store by slot: which are in service, and the way from the event loop to them.

Room: stratum/store. May import: core.config, core.errors, store.disk, store.identity.

Invariants
    S1  A disk leaves service at its first failed call or at no answer within `Limits.disk_timeout`, and stays out
        until `admit`. A full disk, a missing file and a lack of descriptors say nothing against the disk.
    S2  Only the disk that failed is blamed: a late failure of a disk that was replaced does not touch the new one.
    S3  Each slot has threads of its own, so a disk that hangs cannot use up those of the others. A call that was
        abandoned keeps its thread until the kernel lets go of it.
    S4  A disk comes back by itself (store/disk_watch.py): at once if it was away and shows its identity again; after
        a pause that doubles from time to time if it stayed where it was and its calls failed (a disk whose fsync
        fails is not to be trusted again a second later).
"""

import contextlib
import logging
import threading
from collections import Counter, deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TypeVar, cast

import trio

from stratum.core.config import Limits
from stratum.core.errors import Busy, DiskFailed
from stratum.store.disk import CallFailed, Disk, FileExists, FileMissing, Space
from stratum.store.identity import Absent

log = logging.getLogger(__name__)

T = TypeVar("T")


NO_SPACE = Space(0, 0)


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
    space: Space = NO_SPACE
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
        self.leaving: set[int] = set()  # slots that are to be emptied: nothing new goes there, if it can be helped
        self._full: set[int] = set()  # as of the last look
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

    def taking(self, tier: str) -> list[int]:
        """The slots of a tier in service that new shards may go to, in order."""
        return [slot for slot in self.in_service(tier) if slot not in self.leaving]

    def room(self, slots: Collection[int]) -> dict[int, Space]:
        """Bytes of each disk, and free on it; folders on one device are given equal parts of it. Only in service."""
        devices = {slot: held.disk.folder_id[0] for slot in slots if (held := self._slots[slot]).disk is not None}
        sharing = Counter(devices.values())
        spaces = {slot: self._slots[slot].space for slot in devices}
        return {
            slot: Space(spaces[slot].total // sharing[device], spaces[slot].free // sharing[device])
            for slot, device in devices.items()
        }

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
            held = self._slots.get(slot)
            if held is None or held.disk is None or (disk is not None and held.disk is not disk):
                return
            held.disk = None
            held.reason = reason
        log.error("disk %d (%s) is out of service: %s", slot, held.path, reason)
        self._tell(slot)

    def explain(self, slot: int, reason: str) -> None:
        """Say better why `slot` is out of service; nothing happens if it is in service."""
        with self._lock:
            held = self._slots.get(slot)
            if held is not None and held.disk is None:
                held.reason = reason

    def admit(self, slot: int, disk: Disk, space: Space | None = None, *, tier: str = "") -> None:
        """Put `disk` into `slot` and in service. Its calls get fresh threads. `tier`: of a slot that is new."""
        disk.slot = slot
        with self._lock:
            before = self._slots.get(slot)
            known = space or (before.space if before else NO_SPACE)
            tier = before.tier if before else tier
            self._slots[slot] = _Slot(self._limiter(), disk, path=disk.name, space=known, tier=tier)
        log.warning("disk %d (%s) is in service", slot, disk.name)
        self._tell(slot)

    def forget(self, slot: int) -> None:
        """There is no such slot any more. Its disk, if it has one, leaves service first."""
        if slot in self._slots:
            self.fail(slot, "removed from the store")
            with self._lock:
                del self._slots[slot]
            self.leaving.discard(slot)

    def note_space(self, slot: int, space: Space) -> None:
        """Remember the room on a disk, for `state`."""
        if slot in self._slots:
            self._slots[slot].space = space
            if space.total and space.free < self.limits.cell_bytes:
                self._full.add(slot)
            else:
                self._full.discard(slot)

    def full(self) -> set[int]:
        """The slots of disks without room for even one cell: as of the last look, or since their journal grew."""
        full, least = set(self._full), self.limits.cell_bytes
        for slot, held in self._slots.items():
            if held.disk is not None and (room := held.disk.last_space).total > 0 and room.free < least:
                full.add(slot)
        return full

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
