"""How long a signal of use takes on the request path, how much index a tracked volume takes, how long an evening is.

    python contrib/bench/heat.py [volumes]

Prints: ns per signal (one volume again and again; random volumes; a GET of many runs), bytes per volume of the index
with ids dense and with every second one gone, and what it costs to look at one volume.
"""

import random
import sys
import tempfile
import time

import lmdb

from stratum.core.records import Extent, Run, encode
from stratum.core.tiering.blocks import VOLUMES, Block
from stratum.core.tiering.books import OWN
from stratum.core.tiering.decide import decide
from stratum.core.tiering.evidence import after, first, settled
from stratum.core.tiering.groups import GroupEvidence
from stratum.core.tiering.policy import Policy
from stratum.core.tiering.situation import on_evening
from stratum.core.tiering.tables import block_key
from stratum.engine.heat import Heat

GIB = 1 << 30


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


def index_bytes(count: int, keep: float) -> float:
    """Of the pages of a fresh index, per volume. `keep`: the share of ids that are still there."""
    rng, kept = random.Random(2), 0
    evidence = after(first(20_000, tier=1, group=3), 0.06, 2, 0.06, OWN, Policy())
    with tempfile.TemporaryDirectory() as folder, lmdb.open(folder, map_size=4 * GIB, sync=False) as index:
        with index.begin(write=True) as txn:
            for number in range(count // VOLUMES):
                block = Block()
                for offset in range(VOLUMES):
                    if rng.random() < keep:
                        block.put(offset, evidence, 3)
                        kept += 1
                key = block_key(number)
                txn.put(key, encode(key, block.stored()), append=True)
        with index.begin() as txn:
            stat = txn.stat()
            pages = stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
    return pages * stat["psize"] / max(1, kept)


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
    for share in (1.0, 0.5):
        found = index_bytes(volumes, share)
        print(f"{volumes} ids, {share:.0%} in use: {found:.1f} bytes a volume; ten million: {found * 1e7 / 1e9:.2f} GB")
    looks()
