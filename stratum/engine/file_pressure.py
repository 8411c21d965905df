"""Keeps the memory that unpublished bytes take bounded: moves them into volumes, and makes writers wait.

Room: stratum/engine. May import: core, engine.{file_mounted, file_open}.
"""

import logging
from collections.abc import Mapping

import trio

from stratum.core.errors import StratumError
from stratum.engine.file_mounted import Mounted
from stratum.engine.file_open import OpenFile

log = logging.getLogger(__name__)

PUSHES_AT_ONCE = 4


class Pressure:
    """Watches the bytes held by `files` (live: inode -> file)."""

    def __init__(self, mounted: Mounted, files: Mapping[int, OpenFile]) -> None:
        self._memory = mounted.memory
        self._file_bytes = mounted.limits.dirty_bytes_per_file
        self._alone_bytes = mounted.limits.pack_bytes  # less is not worth volumes of its own
        self._files = files
        self._wanted: dict[int, OpenFile] = {}
        self._event = trio.Event()

    def note(self, file: OpenFile) -> bool:
        """Something was written into `file`. Returns whether the writer has to wait (`room`)."""
        if file.held >= self._file_bytes:
            self._want(file)
        elif self._memory.held > self._memory.limit // 2 and not self._wanted:
            self._want(max(self._files.values(), key=lambda candidate: candidate.held))
        return self._memory.over or file.held >= 2 * self._file_bytes

    async def room(self, file: OpenFile) -> None:
        """Wait until `file` may hold more. Raises TooFewDisks, StoreFull."""
        while self._memory.over or file.held >= 2 * self._file_bytes:
            if file.held >= (self._alone_bytes if self._memory.over else self._file_bytes):
                await file.push()
            else:
                self._want(max(self._files.values(), key=lambda candidate: candidate.held))
                await self._memory.wait()

    async def run(self) -> None:
        """Move bytes away when it is time, until cancelled."""
        async with trio.open_nursery() as nursery:
            for _ in range(PUSHES_AT_ONCE):
                nursery.start_soon(self._push_wanted)

    def _want(self, file: OpenFile) -> None:
        self._wanted[file.number] = file
        self._event.set()

    async def _push_wanted(self) -> None:
        while True:
            while not self._wanted:
                self._event = trio.Event()
                await self._event.wait()
            file = self._wanted.pop(next(iter(self._wanted)))
            try:
                await file.push()
            except StratumError as error:
                log.error("unpublished bytes stay in memory: %s", error, extra={"inode": file.number})
                file.error = error
                self._memory.failed(error)
