"""Who reads a mounted file from front to back is given the next bytes before asking, if they are far away.

Room: stratum/engine. May import: core, engine.file_table, store.{meta, volumes}.

The kernel reads ahead by 128 KiB, which hides a disk, and not a remote service. So each open file whose reads follow
each other has a window of its own, in the cache of cells (store/cell_cache.py), that begins small and doubles.

Invariants
    J1  A read costs a comparison; the index is looked at once for each PIECE that is asked for.
    J2  Nothing is awaited here, and what cannot be fetched ahead is met, and told, by the read itself.
"""

from dataclasses import dataclass

from stratum.core.config import MIB
from stratum.core.errors import StratumError
from stratum.core.manifest import Span, spans_in
from stratum.core.txn import Txn
from stratum.engine.file_table import load_inode
from stratum.store.meta import Meta
from stratum.store.volumes import Volumes

NEAR = 1 * MIB  # reads that the kernel has under way at the same time come in any order
FIRST = 2 * MIB  # read from front to back before anything is fetched ahead, and the first window
PIECE = 2 * MIB  # asked for as one


@dataclass(slots=True)
class _Reader:
    """One open handle."""

    reached: int = 0  # the end of the furthest read
    run: int = 0  # bytes read from front to back
    asked: int = 0
    window: int = FIRST


class FileAhead:
    """The windows of all open files."""

    def __init__(self, meta: Meta, volumes: Volumes, limit: int) -> None:
        """`limit`: bytes of the largest window."""
        self._meta = meta
        self._volumes = volumes
        self._limit = limit
        self._readers: dict[int, _Reader] = {}
        self.asked_bytes = 0  # since the start

    def reading(self, handle: int, number: int, start: int, size: int) -> None:
        """A read of the file `number` begins."""
        if not self._volumes.held.far:
            return
        reader = self._readers.get(handle)
        if reader is None:
            reader = self._readers[handle] = _Reader(reached=start)
        if not reader.reached - NEAR <= start <= reader.reached + NEAR:
            reader.run, reader.asked, reader.window = 0, 0, FIRST
            reader.reached = start
        stop = start + size
        reader.run += max(0, stop - reader.reached)
        reader.reached = max(reader.reached, stop)
        if reader.run >= FIRST and reader.reached + reader.window // 2 > reader.asked:
            self._ask(number, reader)

    def closed(self, handle: int) -> None:
        """The handle is gone."""
        self._readers.pop(handle, None)

    def _ask(self, number: int, reader: _Reader) -> None:
        start, until = max(reader.asked, reader.reached), reader.reached + reader.window
        reader.window = min(reader.window * 2, self._limit)
        reader.asked = until
        for at in range(start, until, PIECE):
            for _, run in self._next(number, at, min(at + PIECE, until)):
                if run.extent is not None:
                    self._volumes.fetch_ahead(run.extent, 0, run.length)
                    self.asked_bytes += run.length

    def _next(self, number: int, start: int, stop: int) -> list[Span]:
        def query(txn: Txn) -> list[Span]:
            return spans_in(txn, load_inode(txn, number).content, start, stop)

        try:
            return self._meta.read(query)
        except StratumError:  # the file is gone: nobody reads on
            return []
