"""The service that notices disks that go, come back, or are replaced by empty ones.

Room: stratum/store. May import: core.config, core.errors, core.records, store.{disk, disks, identity}.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import trio

from stratum.core.errors import DiskFailed, ForeignDisk, Unavailable
from stratum.core.records import Disk as DiskRecord
from stratum.store.disk import Disk, FileMissing, FolderDisk, Space
from stratum.store.disks import NO_SPACE, Disks
from stratum.store.identity import (
    NAME,
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

T = TypeVar("T")


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

    def know(self, slot: int, record: DiskRecord) -> None:
        """There is a new slot, at a path of its own."""
        self._known[slot] = record
        if record.path not in self._paths:
            self._paths.append(record.path)
        self._tiers[record.path] = record.tier

    def forget(self, slot: int) -> None:
        """There is no such slot any more; its path is left alone."""
        record = self._known.pop(slot, None)
        if record is not None and record.path in self._paths:
            self._paths.remove(record.path)

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
            return "its folder does not exist", NO_SPACE
        except (DiskFailed, ForeignDisk) as error:
            return str(error), NO_SPACE
        known = self._known.get(slot)
        if identity is None:
            return f"{NAME} is missing", NO_SPACE
        if known is not None and identity.disk != known.identity:
            return f"shows another identity ({identity.disk})", NO_SPACE
        if now_there.folder_id != disk.folder_id:
            return "another folder stands at its path", NO_SPACE
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
