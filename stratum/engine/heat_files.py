"""What the mount tells the tracker of use: opens, and the bytes that the page cache did not have.

Room: stratum/engine. May import: core, engine.{file_table, heat}, store.meta.

An open for reading is a visit to the volume where the file begins, for the page cache hides what is read again. Reads
are visits, too, to the volumes that they touch: by one process and within 15 minutes they are the same one. A file of
many volumes, of which only the head is read (a thumbnail), so stays cold behind it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice

from stratum.core.config import MIB
from stratum.core.errors import StratumError
from stratum.core.manifest import Span, spans_in
from stratum.core.txn import Txn
from stratum.engine.file_table import load_inode
from stratum.engine.heat import Heat
from stratum.store.meta import Meta

WINDOW = 256 * MIB  # of a file, whose runs are looked up at once
RUNS = 256
TOLD_EACH = 8 * MIB


@dataclass(slots=True)
class _Reader:
    """One open handle."""

    inode: int
    who: int
    spans: Sequence[Span] = ()
    low: int = 0  # what `spans` cover
    high: int = 0
    start: int = 0  # read, and not told yet
    stop: int = 0


@dataclass(slots=True)
class FileReads:
    """The readers of mounted files."""

    heat: Heat
    meta: Meta
    _readers: dict[int, _Reader] = field(default_factory=dict)

    def opened(self, handle: int, inode: int, process: int, *, writes: bool) -> None:
        """A process has a file open."""
        if not self.heat.on:
            return
        reader = self._readers[handle] = _Reader(inode, self.heat.who("mount", process))
        if not writes:
            self._look_up(reader, 0)
            for _, run in reader.spans[:1]:
                if run.extent is not None:
                    self.heat.opened(run.extent.volume, reader.who)

    def read(self, handle: int, offset: int, size: int) -> None:
        """It read so many bytes that were not in the page cache."""
        reader = self._readers.get(handle)
        if reader is None or not size:
            return
        if reader.stop == offset:
            reader.stop += size
        else:
            self._tell(reader)
            reader.start, reader.stop = offset, offset + size
        if reader.stop - reader.start >= TOLD_EACH:
            self._tell(reader)

    def closed(self, handle: int) -> None:
        """The last descriptor was closed."""
        reader = self._readers.pop(handle, None)
        if reader is not None:
            self._tell(reader)

    def _tell(self, reader: _Reader) -> None:
        start, stop = reader.start, reader.stop
        reader.start = reader.stop
        while start < stop:
            if not reader.low <= start < reader.high:
                self._look_up(reader, start)
            end = min(stop, reader.high)
            if end <= start:
                return
            self.heat.read_spans(reader.spans, start, end, reader.who)
            start = end

    def _look_up(self, reader: _Reader, start: int) -> None:
        def query(txn: Txn) -> list[Span]:
            return list(islice(spans_in(txn, load_inode(txn, reader.inode).content, start, start + WINDOW), RUNS))

        try:
            reader.spans = self.meta.read(query)
        except StratumError:  # the file is gone, or was never published: nobody reads a volume
            reader.spans = ()
        full = len(reader.spans) == RUNS
        reader.low = start
        reader.high = reader.spans[-1][0] + reader.spans[-1][1].length if full else start + WINDOW
