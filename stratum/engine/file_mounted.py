"""What all mounted files share: the store below them, the clock, and the memory that unpublished bytes take.

Room: stratum/engine. May import: core, store, engine.{consequences, contents, file_growth, sealing}.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import trio

from stratum.core.config import Limits
from stratum.core.directories import IsOpen, never_open
from stratum.core.errors import StratumError
from stratum.core.manifest import Span
from stratum.core.txn import Txn
from stratum.engine.consequences import Consequences
from stratum.engine.contents import Contents
from stratum.engine.file_growth import Growth
from stratum.engine.sealing import Sealing
from stratum.store.meta import Meta

T = TypeVar("T")


class Memory:
    """The bytes that mounted files hold in memory, all together, and those who wait for some to go."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0
        self._waiting = trio.Event()
        self._error: StratumError | None = None

    @property
    def over(self) -> bool:
        """More is held than the limit allows."""
        return self.held > self.limit

    def change(self, by: int) -> None:
        """Count `by` bytes more, or less."""
        self.held += by
        if by < 0:
            self._error = None
            self._wake()

    def failed(self, error: StratumError) -> None:
        """Bytes could not be moved away: whoever waits for room gets `error`."""
        self._error = error
        self._wake()

    async def wait(self) -> None:
        """Wait until something was moved away. Raises what kept it from that."""
        await self._waiting.wait()
        if self.over and self._error is not None:
            raise self._error

    def _wake(self) -> None:
        self._waiting.set()
        self._waiting = trio.Event()


@dataclass(slots=True)
class Mounted:
    """The engine as mounted files see it. `ticket`: the newest change made through the mount."""

    meta: Meta
    contents: Contents
    limits: Limits
    now_ns: Callable[[], int]
    memory: Memory
    sealing: Sealing
    consequences: Consequences = field(default_factory=Consequences)
    is_open: IsOpen = never_open  # is the inode in use through the mount?
    ticket: int = 0
    unwanted: list[Span] = field(default_factory=list)  # stored for nothing, see `discard`
    growth: Growth | None = None  # what quotas are asked by; None: there are none

    def apply(self, change: Callable[[Txn], T]) -> T:
        """Make a change, visible at once, durable with the next group commit. If it raises, nothing happened."""
        result, ticket = self.meta.apply(change)
        self.ticket = max(self.ticket, ticket)
        return result

    def discard(self, spans: Sequence[Span]) -> None:
        """Have stored bytes that nobody will ever refer to handed to the reaper, some time."""
        self.unwanted.extend(spans)

    async def durable(self) -> None:
        """Return when every change made through the mount so far is durable. Raises ReadOnly."""
        await self.meta.durable(self.ticket)
