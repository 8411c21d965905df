"""The ETag of a file written through the mount.

Room: stratum/engine. May import: core.manifest, core.ranges, core.records.

A file written from its start to its end has the md5 of its bytes, as if it had been PUT; so has every small file. A
large file changed in its middle would have to be read again for that: its ETag names the change instead, in the form
that S3 gives to what was uploaded in parts (`-1` at its end), which clients do not take for an md5.
"""

from collections.abc import Sequence
from hashlib import md5

import msgspec
import trio

from stratum.core.config import KIB, MIB
from stratum.core.manifest import Span
from stratum.core.ranges import Block, Buffer

REREAD_BYTES = 1 * MIB  # up to this size a file is read again for its md5 when it is closed
REREAD_BYTES_AT_FSYNC = 64 * KIB  # databases call fsync far more often than close
IN_THREAD_BYTES = 64 * KIB  # from here on a hop to a thread costs less than the loop would stand still


class RunningMd5:
    """The md5 of a file while it is written from its start. `position`: bytes so far; None: not written in order."""

    def __init__(self, position: int | None) -> None:
        self.position = position
        self._digest = md5(usedforsecurity=False)

    async def feed(self, blocks: Sequence[Block]) -> None:
        """Take what follows the bytes so far; a block that begins elsewhere ends the order."""
        for block in blocks:
            if self.position is None:
                return
            if block.start != self.position:
                self.position = None
                return
            await self._update(block)
            self.position = block.stop

    def touched(self, start: int) -> None:
        """Something was written at `start`, perhaps before what was taken already."""
        if self.position is not None and start < self.position:
            self.position = None

    def of(self, size: int) -> str | None:
        """The md5 in hex if exactly the bytes of a file of `size` bytes were taken, else None."""
        return self._digest.hexdigest() if self.position == size else None

    async def _update(self, block: Block) -> None:
        if len(block) < IN_THREAD_BYTES:
            self._take(block.buffers)
        else:
            await trio.to_thread.run_sync(self._take, block.buffers)

    def _take(self, buffers: Sequence[Buffer]) -> None:
        for buffer in buffers:
            self._digest.update(buffer)


class KnownMd5(RunningMd5):
    """The md5 of a file that is, until it is written to, a copy of one whose md5 is known."""

    def __init__(self, size: int, known: str) -> None:
        super().__init__(None)
        self._size, self._known = size, known

    async def feed(self, blocks: Sequence[Block]) -> None:
        """Any byte ends it."""
        if blocks:
            self._known = ""

    def touched(self, start: int) -> None:
        """So does any write."""
        self._known = ""

    def of(self, size: int) -> str | None:
        """The md5 in hex, if the file still is the copy."""
        return self._known if self._known and size == self._size else None


def md5_of(content: bytes) -> str:
    """The md5 of a small content, in hex."""
    return md5(content, usedforsecurity=False).hexdigest()


def name_of_change(inode: int, generation: int, size: int, spans: Sequence[Span]) -> str:
    """An ETag for what a file became by writing `spans`: another one for every publication."""
    told = msgspec.msgpack.encode([inode, generation, size, spans])
    return f"{md5_of(told)}-1"
