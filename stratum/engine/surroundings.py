"""What every service of the engine works with.

Room: stratum/engine. May import: core, store, engine.{changes, consequences, contents, sealing}.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from stratum.core.namespace import DirectoryMaker
from stratum.core.txn import Txn
from stratum.engine.changes import Changes
from stratum.engine.consequences import Consequences
from stratum.engine.contents import Contents
from stratum.engine.sealing import Sealing
from stratum.store.meta import Meta


class OpenFiles(Protocol):
    """What the S3 verbs need to know of mounted files."""

    @property
    def idle(self) -> bool:
        """Nothing waits for publication."""

    async def settle(self, inode: int | None) -> None:
        """Publish what was closed (one inode, or everything), durable on return."""

    def is_pinned(self, inode: int) -> bool:
        """Is the inode open, or known to the kernel?"""

    def moved(self, inode: int) -> None:
        """The published bytes of the inode rest elsewhere now."""


def _nobody_asks(content: int, size: int) -> None:
    pass


def _no_matter(txn: Txn, content: int) -> None:
    pass


@dataclass(slots=True)
class Surroundings:
    """The engine as its parts see it. `files` is set while the engine is put together."""

    meta: Meta
    contents: Contents
    changes: Changes
    now_ns: Callable[[], int]  # wall clock, nanoseconds since the epoch
    maker: Callable[[], DirectoryMaker]  # owner, mode and time of what S3 makes
    files: OpenFiles
    sealing: Sealing
    consequences: Consequences = field(default_factory=Consequences)
    used: Callable[[int, int], None] = _nobody_asks  # a client reads a content of so many bytes
    overwritten: Callable[[Txn, int], None] = _no_matter  # inside a change: a content takes the place of another
