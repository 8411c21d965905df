"""A remote backend with manners: so many requests at a time, each with a time, tried again a few times, with pauses.

Room: stratum/store. May import: core, store.backends.

Invariants
    R1  Nothing waits for ever: a request without an answer ends after `cold_request_time`, and with the bytes of a
        large one after a time that any usable line keeps.
    R2  What may pass (no answer, 5xx, a short or wrong body) is tried `cold_attempts` times, with doubled pauses and
        jitter. What will not (refused, missing) is not tried again.
    R3  `trouble` says what is wrong until a request succeeds: what status and the moves go by.
"""

import random
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

import trio

from stratum.core.config import Limits
from stratum.core.records import Held
from stratum.store.backends import (
    Backend,
    BackendDown,
    BackendRefuses,
    Head,
    HeldMissing,
    HeldWrong,
    Listed,
    Runs,
    Stream,
    Sweepable,
)

FIRST_PAUSE = 0.2  # seconds
SLOWEST = 64 * 1024  # bytes per second of a line that is still of use

T = TypeVar("T")


class Remote(Backend, Sweepable, Runs, Protocol):
    """What is guarded."""


class Guarded:
    """See `Backend`; every verb is that of the remote behind it."""

    def __init__(self, remote: Remote, limits: Limits, chance: Callable[[], float] = random.random) -> None:
        """`chance`: 0 to 1, for jitter."""
        self.name = remote.name
        self.tier = remote.tier
        self.trouble = ""
        self.retries = 0  # since the start
        self._remote = remote
        self._limits = limits
        self._chance = chance
        self._turns = trio.CapacityLimiter(limits.cold_requests)

    async def run(self) -> None:
        """See Runs."""
        await self._remote.run()

    def plan(self, size: int, sha256: bytes) -> Held:
        """See Backend."""
        return self._remote.plan(size, sha256)

    async def put(self, stream: Stream, planned: Held) -> Held:
        """See Backend. What is there already, as it should be, is not sent again."""

        async def attempt() -> Held:
            there = await self._remote.head(planned)
            if there is not None and there == Head(planned.size, planned.sha256):
                return planned
            return await self._remote.put(stream, planned)

        return await self._tried(attempt, planned.size)

    async def get(self, held: Held, start: int, stop: int) -> bytes:
        """See Backend."""

        async def attempt() -> bytes:
            found = await self._remote.get(held, start, stop)
            if len(found) != stop - start:
                raise HeldWrong(f"{self.name}: {len(found)} bytes came instead of {stop - start}")
            return found

        return await self._tried(attempt, stop - start)

    async def head(self, held: Held) -> Head | None:
        """See Backend."""
        return await self._tried(lambda: self._remote.head(held))

    async def delete(self, held: Held) -> None:
        """See Backend."""
        await self._tried(lambda: self._remote.delete(held))

    async def health(self) -> None:
        """See Backend."""
        await self._tried(self._remote.health)

    async def page(self, after: str) -> list[Listed]:
        """See Sweepable."""
        return await self._tried(lambda: self._remote.page(after))

    async def is_ours(self, key: str) -> bool:
        """See Sweepable."""
        return await self._tried(lambda: self._remote.is_ours(key))

    async def _tried(self, attempt: Callable[[], Awaitable[T]], size: int = 0) -> T:
        pause = FIRST_PAUSE
        for last in (*[False] * (self._limits.cold_attempts - 1), True):
            try:
                async with self._turns:
                    found = await self._timed(attempt, size)
            except (BackendRefuses, HeldMissing) as error:
                self.trouble = str(error)
                raise
            except (BackendDown, HeldWrong) as error:
                self.trouble = str(error)
                if last:
                    raise
            else:
                self.trouble = ""
                return found
            self.retries += 1
            await trio.sleep(pause * (0.5 + self._chance()))
            pause *= 2
        raise AssertionError("the last attempt returns or raises")

    async def _timed(self, attempt: Callable[[], Awaitable[T]], size: int) -> T:
        with trio.move_on_after(self._limits.cold_request_time + size / SLOWEST):
            return await attempt()
        raise BackendDown(f"{self.name}: no answer in time")
