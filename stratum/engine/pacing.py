"""How fast work in the background may go: so many bytes per second, and less while the foreground waits.

Room: stratum/engine. May import: nothing of ours.
"""

from collections.abc import Callable

import trio

BURST = 0.25  # seconds of the rate that may be taken at once
BUSY = 0.5  # pressure from which on the foreground counts as waiting
LATE = 0.02  # seconds that the event loop may be late
SLOWEST = 32  # at most so many times slower than the rate


class Pace:
    """A bucket of bytes that all moves share. `pressure`: how taken the disks are, 0 to 1, above 1: some wait."""

    def __init__(self, bytes_per_second: int, pressure: Callable[[], float]) -> None:
        self._rate = float(bytes_per_second)
        self._pressure = pressure
        self._free_at = float("-inf")  # when all that was taken is paid for
        self.slowness = 1.0  # how many times slower than the rate we go

    async def take(self, size: int) -> None:
        """Return when `size` bytes may be moved."""
        before = trio.current_time()
        await trio.lowlevel.checkpoint()
        self._adapt(trio.current_time() - before)
        now = trio.current_time()
        self._free_at = max(self._free_at, now - BURST) + size * self.slowness / self._rate
        if self._free_at > now:
            await trio.sleep(self._free_at - now)

    def _adapt(self, late: float) -> None:
        if late > LATE or self._pressure() > BUSY:
            self.slowness = min(self.slowness * 2, SLOWEST)
        else:
            self.slowness = max(self.slowness * 0.9, 1.0)
