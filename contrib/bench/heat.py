"""How long a signal of use takes on the request path, how much index a tracked volume takes, how long an evening is.

    python contrib/bench/heat.py [volumes]

Prints: ns per signal (one volume again and again; random volumes; a GET of many runs); bytes per volume of the index
with ids dense, and after shares of them were deleted here and there over evenings, with what the evenings' walks packed
and what memory they took; bytes of a touch, and of what waits in memory; and what it costs to look at one volume.
"""

import random
import sys
import tempfile
import time
import tracemalloc
from bisect import bisect_left, bisect_right
from types import SimpleNamespace

import lmdb
import trio

from stratum.core.records import Extent, Run, Volume
from stratum.core.tiering.books import OWN
from stratum.core.tiering.decide import decide
from stratum.core.tiering.evidence import after, first, settled
from stratum.core.tiering.groups import GroupEvidence
from stratum.core.tiering.policy import Policy
from stratum.core.tiering.situation import on_evening
from stratum.core.tiering.tables import touch_key
from stratum.core.txn import save
from stratum.engine.heat import PENDING, Heat
from stratum.engine.tiering_rows import Rows
from stratum.engine.tiering_stock import Stock

GIB = 1 << 30
EVENINGS = 4  # over which volumes are deleted
RECORD = Volume(4, 6, (0, 1, 2, 3, 4, 5), 1 << 24, True)


def per_call(call, count: int) -> float:
    """ns of processor time per call."""
    begun = time.process_time_ns()
    for number in range(count):
        call(number)
    return (time.process_time_ns() - begun) / count


def signals() -> None:
    heat = Heat(None, time.time_ns)
    rng = random.Random(1)
    some = [rng.randrange(50_000) for _ in range(200_000)]
    spans = [(at << 26, Run(Extent(at, 32, 65536, 0, 1 << 26))) for at in range(100)]
    print(f"one volume, one client     {per_call(lambda n: heat.read(7, 1, 100), 200_000):7.0f} ns a signal")
    print(f"50,000 volumes, one client {per_call(lambda n: heat.read(some[n], 1, 100), 200_000):7.0f} ns a signal")
    print(f"each another client        {per_call(lambda n: heat.read(some[n], n, 100), 200_000):7.0f} ns a signal")
    whole = per_call(lambda n: heat.read_spans(spans, 0, 100 << 26, n % 1000), 2000) / 100
    print(f"a GET of 100 volumes       {whole:7.0f} ns a signal")
    print(f"interest                   {per_call(lambda n: heat.interest(some[n]), 200_000):7.0f} ns a signal")


class Kept:
    """As much of a Meta as a walk needs, over a bare LMDB: the pages counted are its own."""

    def __init__(self, folder: str) -> None:
        self.index = lmdb.open(folder, map_size=4 * GIB, sync=False, readahead=False)
        self.txn = self.index.begin(write=True)

    def scan(self, start: bytes, stop: bytes):
        with self.txn.cursor() as cursor:
            found = cursor.set_range(start)
            while found and cursor.key() < stop:
                key = cursor.key()
                yield key, cursor.value()
                found = cursor.set_range(key + b"\0")

    def get(self, key: bytes):
        return self.txn.get(key)

    def put(self, key: bytes, value: bytes) -> None:
        self.txn.put(key, value)

    def delete(self, key: bytes) -> None:
        self.txn.delete(key)

    def read(self, query):
        return query(self)

    def apply(self, change):
        return change(self), 0

    def bytes(self) -> int:
        stat = self.txn.stat()
        return (stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]) * stat["psize"]


class Alike:
    """What engine.tiering_subjects would say, were every volume the same."""

    @staticmethod
    def of(_, number: int, record: Volume) -> SimpleNamespace:
        return SimpleNamespace(number=number, record=record, tier=1, view=None, group=("bucket", "prefix"))


class Rest:
    """A Breath that takes none."""

    async def take(self) -> None:
        """Go on."""


class Walk(Stock):
    """The walk of an evening, where ids in a set stand for records of volumes."""

    def __init__(self, meta: Kept, ids: list[int]) -> None:
        super().__init__(meta, Rows(meta), Alike, 20_000, lambda view: "", Rest())
        self._ids = ids

    def _volumes(self, low: int, high: int, most: int) -> dict[int, Volume]:
        begin = bisect_left(self._ids, low)
        return dict.fromkeys(self._ids[begin : min(begin + most, bisect_right(self._ids, high))], RECORD)


def index_bytes(count: int, keep: float, step: int) -> None:
    """Of the pages of an index in which so many volumes (ids `step` apart) are born, and all but `keep` deleted."""
    rng = random.Random(2)
    with tempfile.TemporaryDirectory() as folder:
        kept, ids = Kept(folder), list(range(1, count * step, step))
        trio.run(Walk(kept, ids).take)
        for _ in range(EVENINGS if keep < 1 else 0):
            ids = [each for each in ids if rng.random() < keep ** (1 / EVENINGS)]
            tracemalloc.start()
            walk, begun = Walk(kept, ids), time.process_time()
            trio.run(walk.take)
            spent, (_, peak) = time.process_time() - begun, tracemalloc.get_traced_memory()
            tracemalloc.stop()
        found = kept.bytes() / len(ids)
        print(
            f"{count:,} ids {step:,} apart, {keep:.0%} left: {found:.1f} bytes a volume; ten million: "
            f"{found * 1e7 / 1e9:.2f} GB"
            + (
                f"; last walk {walk.packed:,} blocks fewer, {peak / 1e3:.0f} kB, {spent:.0f} s traced"
                if keep < 1
                else ""
            )
        )
        kept.txn.abort()
        kept.index.close()


def touch_bytes(count: int) -> None:
    """Of a day's touches: in memory until they are flushed, and in the index."""
    tracemalloc.start()
    heat = Heat(None, time.time_ns)
    for volume in range(count):
        heat.read(volume, 1, 100)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    with tempfile.TemporaryDirectory() as folder:
        kept = Kept(folder)
        for volume, touch in heat._pending.items():
            save(kept, touch_key(20_000, volume), touch.stored())
        print(f"touched, not flushed        {held / count:6.0f} bytes a volume in memory (at most {PENDING:,})")
        print(f"touched, flushed            {kept.bytes() / count:6.0f} bytes a volume and day in the index")
        kept.txn.abort()
        kept.index.close()


def looks() -> None:
    policy = Policy()
    evidence = after(first(20_000, tier=1, group=3), 0.06, 2, 0.06, OWN, policy)

    def look(number: int) -> None:
        now = settled(evidence, 0.06, 20_000 + number % 30, OWN, policy)
        decide(on_evening(now, 0.06, GroupEvidence(), policy, values=(1.0, 1.0, 1.0)), OWN, policy)

    print(f"a look at a volume         {per_call(look, 500) / 1e6:7.2f} ms")


if __name__ == "__main__":
    volumes = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    signals()
    for share, step in ((1.0, 1), (0.5, 1), (0.1, 1), (1.0, 1000), (0.5, 1000)):
        index_bytes(volumes, share, step)
    touch_bytes(100_000)
    looks()
