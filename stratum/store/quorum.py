"""Which disks the journal may use, how many it needs, and what becomes of one that fails.

Room: stratum/store. May import: core.errors, store.disk, disks, read_back, segments.
"""

import logging
import time
from collections.abc import Collection

from stratum.core.errors import Busy, Corrupt, DiskFailed, StoreFull, StratumError, TooFewDisks
from stratum.store.disk import CallFailed, Disk
from stratum.store.disks import Disks
from stratum.store.read_back import blame, in_service
from stratum.store.segments import Reading

log = logging.getLogger(__name__)
HOT = ""  # the tier whose disks hold the journal


class Quorum:
    """The journal's view of the disks. May be used from any thread.

    A disk that was full, busy or could not take a copy stays in service, but is not asked again for
    `Limits.disk_timeout` seconds unless there is no other way.
    """

    def __init__(self, disks: Disks, copies: int, store_id: bytes) -> None:
        self.reading = Reading(store_id, blame(disks))
        self.timeout = disks.limits.disk_timeout
        self._disks = disks
        self._copies = copies
        self._refused: dict[Disk, tuple[float, StratumError]] = {}

    @property
    def target(self) -> int:
        """Disks that shall hold a copy."""
        return max(1, min(self._copies, len(self._disks.slots(HOT))))

    def needed(self) -> int:
        """Disks that must hold what is begun now before it is acknowledged (L1 of the journal).

        To be asked before the work: when disks fail during it, that must not make less do.
        """
        return min(self.target, max(2, len(self._disks.in_service(HOT))))

    def require_witnesses(self, count: int) -> None:
        """Raise TooFewDisks if `count` disks may have missed an acknowledged record or a claimed epoch; StoreFull
        if there would be more had they not been full."""
        slots = len(self._disks.slots(HOT))
        least = max(slots // 2 + 1, slots - self.target + 1)
        if count < least:
            raise self._error(f"the journal can go on from {count} of {slots} disks and needs {least}")

    def usable(self) -> list[Disk]:
        """The disks in service, by slot."""
        return in_service(self._disks)

    def is_usable(self, disk: Disk) -> bool:
        """Whether `disk` itself is in service, not another one in its slot."""
        return any(disk is other for other in self.usable())

    def candidates(self, held: Collection[Disk], *, eager: bool) -> list[Disk]:
        """Disks without a copy that could take one; `eager`: also those that refused a moment ago, last."""
        fresh: list[Disk] = []
        refused: list[Disk] = []
        for disk in self.usable():
            if any(disk is other for other in held):
                continue
            since, _ = self._refused.get(disk, (float("-inf"), None))
            (fresh if time.monotonic() - since >= self.timeout else refused).append(disk)
        return [*fresh, *refused] if eager else fresh

    def lose(self, disk: Disk, error: StratumError) -> None:
        """A call on `disk`, or one made for its sake, failed: judge what that says about which disk."""
        if isinstance(error, CallFailed):
            self.reading.on_failure(error.disk, error)
        elif isinstance(error, DiskFailed):
            self.reading.on_failure(disk, error)
        elif not isinstance(error, StoreFull | Busy | Corrupt):
            raise error
        log.warning("the journal does without disk %d (%s): %s", disk.slot, disk.name, error)
        self._refused[disk] = time.monotonic(), error

    def shortage(self, count: int, needed: int) -> StratumError:
        """The error to raise when only `count` disks hold what `needed` must."""
        return self._error(f"the journal is on {count} disks and must be on {needed}")

    def _error(self, message: str) -> StratumError:
        refusals = [error for disk, (_, error) in list(self._refused.items()) if self.is_usable(disk)]
        full = [error for error in refusals if isinstance(error, StoreFull)]
        return StoreFull(f"{message}: {full[-1]}") if full else TooFewDisks(message)
