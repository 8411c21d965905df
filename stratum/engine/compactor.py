"""Keep manifests short: many small runs side by side become one, without a byte of the file changing.

Room: stratum/engine. May import: core, engine.{contents, surroundings}.

A file that is written in small pieces, each fsynced, collects a run a piece. The compactor walks the manifest table in
slices, reads such a row of runs and stores it as one piece.

Invariants
    P1  Runs are replaced only if, inside the change, they are still exactly those that were read: so the bytes are.
    P2  It may be cut anywhere and run again; what was stored for nothing goes to the reaper.
    P3  ETag, times, generation and size do not change: nobody sees it, and looking is no access (law 12).
"""

import logging
from itertools import islice

import trio

from stratum.core.config import Limits
from stratum.core.errors import StratumError
from stratum.core.manifest import INODE_USER, Span, content_users, shift, spans_in
from stratum.core.records import Run, decode
from stratum.core.schema import RUN, id_of, run_end
from stratum.core.txn import Txn, successor
from stratum.engine.surroundings import Surroundings

log = logging.getLogger(__name__)

SLICE = 500  # rows of the manifest table in one step: under 5 ms of the event loop
RUNS_MIN = 16  # so many are worth a rewrite: a logger that syncs every line is rewritten once per 16 lines

Stretch = tuple[int, int, int]
"""Content, start, stop."""


class Compactor:
    """Walks the manifests, a slice at a time, round and round."""

    def __init__(self, surroundings: Surroundings, limits: Limits) -> None:
        self._around = surroundings
        self._limits = limits
        self._after = RUN
        self.replaced = 0  # runs, since the start

    async def run(self) -> None:
        """Run until cancelled."""
        while True:
            await trio.sleep(self._limits.compact_interval)
            try:
                await self.step()
            except StratumError as error:
                log.warning("compaction postponed: %s", error)

    async def step(self) -> None:
        """Look at the next slice, and shorten what is worth it."""
        found, self._after = self._around.meta.read(self._look)
        for content, start, stop in found:
            await self._shorten(content, start, stop)

    def _look(self, txn: Txn) -> tuple[list[Stretch], bytes]:
        rows = list(islice(txn.scan(self._after, successor(RUN)), SLICE))
        runs = [(id_of(key), run_end(key), decode(key, raw, Run).length) for key, raw in rows]
        after = rows[-1][0] + b"\0" if len(rows) == SLICE else RUN
        return stretches(runs, self._limits.cell_bytes, self._limits.pack_bytes), after

    async def _shorten(self, content: int, start: int, stop: int) -> None:
        contents, meta = self._around.contents, self._around.meta
        before = meta.read(lambda txn: spans_in(txn, content, start, stop))
        staged = shift(await contents.store(await contents.read(before, start, stop)), start)

        def change(txn: Txn) -> list[int] | None:
            if spans_in(txn, content, start, stop) != before:  # P1
                return None
            contents.record(txn, content, staged)
            return [number for kind, number in content_users(txn, content) if kind == INODE_USER]

        await self._swap(staged, len(before), await meta.write(change))

    async def _swap(self, staged: list[Span], replaced: int, inodes: list[int] | None) -> None:
        if inodes is None:
            await self._around.contents.discard(staged)
            return
        self.replaced += replaced
        for inode in inodes:
            self._around.files.moved(inode)


def stretches(runs: list[tuple[int, int, int]], run_bytes: int, stretch_bytes: int) -> list[Stretch]:
    """Find rows of at least RUNS_MIN runs side by side, each at most `run_bytes`, together at most `stretch_bytes`.

    `runs`: (content, end, length) in table order.
    """
    found: list[Stretch] = []
    content = start = stop = count = 0
    for number, end, length in runs:
        beside = count > 0 and number == content and end - length == stop
        if not (beside and length <= run_bytes and end - start <= stretch_bytes):
            if count >= RUNS_MIN:
                found.append((content, start, stop))
            content, start, count = number, end - length, 0
        stop = end
        count += length <= run_bytes
    if count >= RUNS_MIN:
        found.append((content, start, stop))
    return found
