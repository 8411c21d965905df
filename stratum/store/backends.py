"""What holds the streams of volumes that are not hot: one interface, whatever stands behind it.

Room: stratum/store. May import: core.

One suite of tests (tests/engine/test_backends.py) says what a backend has to do, and every one passes it.
"""

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from stratum.core.errors import Unavailable
from stratum.core.records import Held


class HeldMissing(Unavailable):
    """The backend answers, but does not have what the index says it holds. An alarm, never a 404 (promise P6)."""


class HeldWrong(Unavailable):
    """The backend has something else than what was put there."""


class BackendDown(Unavailable):
    """The backend cannot be reached, or does not answer as it should."""


class BackendRefuses(BackendDown):
    """The backend does not let us in: credentials are wrong or were revoked, or the bucket is gone."""


Stream = Callable[[], AsyncGenerator[bytes, None]]
"""The bytes to be put, from the beginning at each call, in pieces of at most a few MiB."""


@dataclass(frozen=True, slots=True)
class Head:
    """What a backend says of something that it holds; `sha256` is empty where it knows none."""

    size: int
    sha256: bytes


@dataclass(frozen=True, slots=True)
class Listed:
    """Something that a backend holds, found by listing."""

    key: str
    modified: float  # seconds since the epoch, by the backend's clock


class Backend(Protocol):
    """Keeps streams. Everything raises BackendDown when it cannot be done now, and may be done again then."""

    name: str
    tier: str  # warm or cold

    def plan(self, size: int, sha256: bytes) -> Held:
        """How a stream will be held (warm: not yet where)."""
        ...

    async def put(self, stream: Stream, planned: Held) -> Held:
        """Keep a stream, durably on return. Again is no harm. Raises StoreFull, HeldWrong (not what was planned)."""
        ...

    async def get(self, held: Held, start: int, stop: int) -> bytes:
        """Exactly bytes [start, stop). Raises HeldMissing, HeldWrong."""
        ...

    async def head(self, held: Held) -> Head | None:
        """What there is, None if that is nothing."""
        ...

    async def delete(self, held: Held) -> None:
        """Keep it no longer; that it is not there is no error."""
        ...

    async def health(self) -> None:
        """Return if the backend can be used. Raises BackendDown, BackendRefuses."""
        ...


@runtime_checkable
class Runs(Protocol):
    """A backend that works only while its service does."""

    async def run(self) -> None:
        """Run until cancelled."""
        ...


@runtime_checkable
class Sweepable(Protocol):
    """A backend whose content can be listed, and told from that of others."""

    async def page(self, after: str) -> list[Listed]:
        """The next keys of ours behind `after`, in order; none at the end."""
        ...

    async def is_ours(self, key: str) -> bool:
        """Was it put there by this very store?"""
        ...
