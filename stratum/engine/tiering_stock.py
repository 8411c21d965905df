"""Births and deaths: every volume that is used has evidence, and no other; blocks that became sparse are packed.

Room: stratum/engine. May import: core, store.meta, engine.{tiering_rows, tiering_subjects}.

The walk goes through blocks in the order of ids. In the index each block is a page of its own, whatever it holds: so a
store that deletes would pay for pages of which most is gone. RUN blocks in a row that one fewer could hold are packed.

Invariants
    B1  Whatever was deleted: of RUN neighbouring blocks of the walk less than one in all is empty. So a volume takes at
        most RUN / (RUN - 1) times what it takes in full blocks: 61 bytes of 4 KiB pages where ids are up to 127 apart,
        62 up to 16,383.
    B2  A change holds at most RUN blocks (64 KiB); cut off, the next evening goes on. Evidence is never in two blocks.
    B3  Only the evening writes blocks while it walks: whatever else does waits for the same lock (engine.tiering).
"""

from itertools import islice

import trio

from stratum.core.records import Volume, decode
from stratum.core.schema import VOLUME_USER, id_of, volume_key
from stratum.core.tiering.blocks import BLOCKS_BEGIN, PAGE_BYTES, Block, block_key, packed_blocks
from stratum.core.tiering.evidence import PACKED_BYTES, first
from stratum.core.tiering.tables import history_key
from stratum.core.tiers import SHOWN, is_inner, stream_bytes
from stratum.core.txn import Txn, load, save, successor
from stratum.engine.tiering_numbers import Census
from stratum.engine.tiering_rows import Rows
from stratum.engine.tiering_subjects import Classify, Subject, Subjects
from stratum.store.meta import Meta

SLICE = 250  # rows of one query
RUN = 16  # blocks that are looked at together
NEW = 64  # volumes of a block that are all new
LAST_ID = (1 << 63) - 1


class Breath:
    """Lets the event loop go on: at most so long at a stretch, and no more than half of the time."""

    def __init__(self, longest_s: float = 0.002) -> None:
        self._longest = longest_s
        self._since = trio.current_time()
        self.longest = 0.0  # stretch that was held, seconds

    async def take(self) -> None:
        """Go on at once, or after others had their turn."""
        spent = trio.current_time() - self._since
        self.longest = max(self.longest, spent)
        if spent >= self._longest:
            await trio.sleep(min(spent, 0.1))
        else:
            await trio.lowlevel.checkpoint()
        self._since = trio.current_time()


class Stock:
    """One evening's stock-taking."""

    def __init__(
        self, meta: Meta, rows: Rows, subjects: Subjects, day: int, classify: Classify, breath: Breath
    ) -> None:
        self._meta, self._rows, self._subjects = meta, rows, subjects
        self._day, self._classify, self._breath = day, classify, breath
        self._run: list[Block] = []  # walked, not yet written
        self._gone: list[int] = []  # volumes that were in them, and are no more
        self._dirty: set[Block] = set()  # of the run: to be written
        self.sums: dict[int, list[float]] = {}  # group -> GB, members
        self.census = Census()
        self.tracked = 0
        self.packed = 0  # blocks that were saved

    async def take(self) -> None:
        """Walk through all blocks and volumes. Raises StratumError: then it is to be done again."""
        await self._take_earlier()
        above, at = -1, BLOCKS_BEGIN
        while blocks := self._rows.blocks(at):
            for block in blocks:
                last = id_of(block.key) & LAST_ID
                await self._settle(block, above + 1, last)
                above = last
                await self._add(block)
            at = blocks[-1].key + b"\0"
        while volumes := self._volumes(above + 1, LAST_ID, NEW):
            block, above = Block(), max(volumes)
            await self._settle_slice(block, volumes)
            await self._add(block)
        self._write_run(everything=True)

    async def _take_earlier(self) -> None:
        """Blocks of version 1 are written as those of today."""
        while blocks := self._rows.earlier_blocks(RUN):
            packed, old = packed_blocks(blocks), [block.key for block in blocks]
            self._meta.apply(lambda txn: _replace(txn, old, packed, []))  # noqa: B023 - runs at once
            await self._breath.take()

    # --- members --------------------------------------------------------------------------------------------

    def _volumes(self, low: int, high: int, most: int) -> dict[int, Volume]:
        """Some volumes with ids from `low` to `high`."""

        def read(txn: Txn) -> dict[int, Volume]:
            rows = islice(txn.scan(volume_key(low), volume_key(high + 1)), most)
            return {id_of(key): decode(key, raw, Volume) for key, raw in rows}

        return self._meta.read(read)

    async def _settle(self, block: Block, low: int, high: int) -> None:
        """Let the block have the volumes with these ids."""
        there: set[int] = set()
        while volumes := self._volumes(low, high, SLICE):
            there |= await self._settle_slice(block, volumes)
            low = max(volumes) + 1
        for volume in [each for each in block.volumes() if each not in there]:
            block.drop(volume)
            self._gone.append(volume)
            self._dirty.add(block)
        await self._breath.take()

    async def _settle_slice(self, block: Block, volumes: dict[int, Volume]) -> set[int]:
        there = {each for each, record in volumes.items() if not is_inner(record)}
        for each in sorted(there):
            record = volumes[each]
            if each in block:
                group = block.group(each)
            else:
                group = self._born(block, self._meta.read(lambda txn: self._subjects.of(txn, each, record)))  # noqa: B023
                self._dirty.add(block)
                await self._breath.take()
            sums = self.sums.setdefault(group, [0.0, 0.0])
            sums[0] += stream_bytes(record) / 1e9
            sums[1] += 1
            self.census.add(SHOWN[record.tier], stream_bytes(record))
        self.tracked += len(there)
        return there

    def _born(self, block: Block, subject: Subject) -> int:
        bucket, prefix = subject.group
        kind = self._classify(subject.view) if subject.view is not None else ""
        group = self._rows.group_of(bucket, prefix, kind, self._day)
        block.put(subject.number, first(self._day, tier=subject.tier, group=group), 0)
        block.due = min(block.due, self._day)
        return group

    # --- blocks ---------------------------------------------------------------------------------------------

    async def _add(self, block: Block) -> None:
        """One more block was walked."""
        self._run.append(block)
        if len(self._run) >= RUN or block.size > PAGE_BYTES:
            self._write_run(everything=False)
        await self._breath.take()

    def _write_run(self, *, everything: bool) -> None:
        """Pack the run if that saves a block; else let its first one go. `everything`: it was the last of all."""
        sizes = [block.size for block in self._run]
        needed = -(-sum(sizes) // (PAGE_BYTES - PACKED_BYTES - 8))  # a full block lacks less than a record
        empty = any(not len(block) for block in self._run)
        if empty or needed < len(self._run) or max(sizes, default=0) > PAGE_BYTES:
            blocks = packed_blocks(self._run)
            self.packed += len(self._run) - len(blocks)
            self._write(blocks, [block.key for block in self._run if block.key])
            self._run = [] if everything else blocks[-1:]
            self._dirty.clear()
            return
        leave = len(self._run) if everything else 1
        self._write([block for block in self._run[:leave] if block in self._dirty], [])
        self._dirty.difference_update(self._run[:leave])
        self._run = self._run[leave:]

    def _write(self, blocks: list[Block], old: list[bytes]) -> None:
        if blocks or old:
            gone, self._gone = self._gone, []
            self._meta.apply(lambda txn: _replace(txn, old, blocks, gone))

    # --- objects --------------------------------------------------------------------------------------------

    async def count_objects(self) -> None:
        """How many objects are in each tier, one for each volume that they are in."""
        last, tier = -1, ""
        after, stop = VOLUME_USER, successor(VOLUME_USER)
        while keys := self._meta.read(lambda txn: [key for key, _ in islice(txn.scan(after, stop), SLICE)]):  # noqa: B023
            for key in keys:
                volume = id_of(key)
                if volume != last:
                    record = self._meta.read(lambda txn: load(txn, volume_key(volume), Volume))  # noqa: B023
                    last, tier = volume, "" if record is None or is_inner(record) else SHOWN[record.tier]
                if tier:
                    self.census.objects[tier] = self.census.objects.get(tier, 0) + 1
            after = keys[-1] + b"\0"
            await self._breath.take()


def _replace(txn: Txn, old: list[bytes], blocks: list[Block], gone: list[int]) -> None:
    """Inside a change: these blocks, instead of what is under the keys `old`. A new one is known by its last volume."""
    for key in old:
        txn.delete(key)
    for block in blocks:
        block.key = block.key or block_key(block.last)
        save(txn, block.key, block.stored())
    for volume in gone:
        txn.delete(history_key(volume))
