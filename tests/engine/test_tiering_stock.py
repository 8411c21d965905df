"""Stock of volumes: evidence for each that there is, for no other, and in at most 64 bytes, whatever was deleted."""

import random
import struct
from types import SimpleNamespace

import lmdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stratum.core.records import Volume, encode
from stratum.core.schema import HISTORY, volume_key
from stratum.core.tiering.blocks import PAGE_BYTES, Block, block_key, first_block_key, packed_blocks
from stratum.core.tiering.evidence import first, packed
from stratum.core.tiering.tables import History, history_key
from stratum.core.txn import save, successor
from stratum.engine.tiering_rows import Rows
from stratum.engine.tiering_stock import Breath, Stock
from tests.engine.mounted import FakeMeta

RECORD = Volume(4, 6, (0, 1, 2, 3, 4, 5), 1 << 20, True)
INNER = Volume(2, 3, (0, 1, 2), 1 << 20, True, "warm")


class Subjects:
    """What Subjects says of volumes without users."""

    def of(self, _, number, record):
        return SimpleNamespace(number=number, record=record, tier=number % 3, view=None, group=("b", str(number % 5)))


class Yard:
    """The volumes of a store, and its rows."""

    def __init__(self) -> None:
        self.meta, self.day = FakeMeta(), 20_000
        self.rows = Rows(self.meta)

    def put(self, *volumes, record=RECORD):
        for volume in volumes:
            save(self.meta.txn, volume_key(volume), record)

    def remove(self, *volumes):
        for volume in volumes:
            self.meta.txn.delete(volume_key(volume))

    async def evening(self) -> Stock:
        self.day += 1
        stock = Stock(self.meta, self.rows, Subjects(), self.day, lambda view: "", Breath())
        await stock.take()
        return stock

    @property
    def blocks(self) -> list[Block]:
        found, after = [], block_key(0)
        while some := self.rows.blocks(after):
            found += some
            after = some[-1].key + b"\0"
        return found

    def known(self) -> dict[int, int]:
        """Volume -> day of its birth, found through each block and by its own id."""
        found = {volume: block.get(volume)[0].born for block in self.blocks for volume in block.volumes()}
        assert {volume: self.rows.block(volume).get(volume)[0].born for volume in found} == found
        return found


@pytest.fixture
def yard():
    return Yard()


def pages(blocks, folder) -> float:
    """Bytes of a fresh index with these blocks, for each of their volumes."""
    with lmdb.open(str(folder), map_size=1 << 28) as index:
        with index.begin(write=True) as txn:
            for block in blocks:
                txn.put(block.key, encode(block.key, block.stored()), append=True)
        with index.begin() as txn:
            stat = txn.stat()
    found = stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
    return found * stat["psize"] / sum(map(len, blocks))


@pytest.mark.parametrize(("keep", "step"), [(1.0, 1), (0.5, 1), (0.1, 1), (0.01, 1), (0.9, 1000), (0.5, 30_000)])
async def test_a_tracked_volume_takes_less_than_64_bytes_of_the_index_whatever_is_gone(yard, tmp_path, keep, step):
    """Everything is there first, then volumes are deleted here and there over four evenings; `step`: between ids."""
    turns = random.Random(3)
    left = [number * step for number in range(1, 4000 if keep > 0.1 else 20_000)]
    yard.put(*left)
    await yard.evening()
    for _ in range(4):
        gone = [volume for volume in left if turns.random() > keep**0.25]
        yard.remove(*gone)
        left = sorted(set(left) - set(gone))
        await yard.evening()
    assert sorted(yard.known()) == left
    assert pages(yard.blocks, tmp_path) < (64 if len(left) > 1500 else 100)  # of a small index a page or two


changes = st.lists(
    st.tuples(st.lists(st.integers(0, 3000), max_size=60), st.integers(0, 3000), st.integers(0, 400)), max_size=6
)


@settings(deadline=None, max_examples=30)
@given(changes)
async def test_evidence_is_there_for_every_volume_and_for_no_other_in_any_order_of_ids(plan):
    yard, born, ever = Yard(), {}, set()
    for added, begin, count in plan:
        gone = [volume for volume in born if begin <= volume < begin + count]
        yard.remove(*gone)
        for volume in gone:
            del born[volume]
            save(yard.meta.txn, history_key(volume), History())
        new = {*added, *range(begin + 5000, begin + 5000 + count)} - ever
        ever |= new  # an id is never used twice
        yard.put(*new)
        yard.put(7777, record=INNER)
        stock = await yard.evening()
        born |= dict.fromkeys(new - {7777}, yard.day)
        born.pop(7777, None)
        assert yard.known() == born and stock.tracked == len(born)
        assert sum(members for _, members in stock.sums.values()) == len(born)
        assert all(len(block.stored()) <= PAGE_BYTES and len(block) for block in yard.blocks)
        assert not list(yard.meta.txn.scan(HISTORY, successor(HISTORY)))


async def test_an_evening_on_which_nothing_came_or_went_writes_no_block(yard):
    yard.put(*range(0, 9000, 3))
    await yard.evening()
    before, tickets = dict(yard.meta.txn.rows), yard.meta.ticket
    await yard.evening()
    assert (yard.meta.txn.rows, yard.meta.ticket) == (before, tickets)
    yard.remove(3000)
    await yard.evening()
    assert yard.meta.ticket == tickets + 1


async def test_a_walk_that_was_cut_off_loses_no_evidence_and_the_next_one_ends_it(yard):
    yard.put(*range(1, 4000))
    await yard.evening()
    born = yard.known()
    yard.remove(*range(2, 4000, 2))
    apply, count = yard.meta.apply, 0
    for stop in range(1, 40):
        count = 0

        def cut(change, stop=stop):
            nonlocal count
            count += 1
            if count == stop:
                raise OSError("cut")
            return apply(change)

        yard.meta.apply = cut
        try:
            await yard.evening()
            break
        except OSError:
            assert {volume: day for volume, day in yard.known().items() if volume % 2} == {
                volume: day for volume, day in born.items() if volume % 2
            }
    assert yard.known().keys() == set(range(1, 4000, 2)) and stop > 1


def stored_by_version_1(number, members) -> bytes:
    """A block as it was before: 65 ids, a bitmap, 8 free bytes behind each record."""
    bits = sum(1 << each - number * 65 for each in members).to_bytes(9, "little")
    rows = b"".join(packed(members[each]) + bytes(8) for each in sorted(members))
    return struct.pack("<BH9s", 1, 19_000, bits) + rows


async def test_blocks_of_version_1_are_read_and_the_next_evening_writes_them_anew(yard):
    old = {volume: first(15_000 + volume, tier=volume % 3, group=volume) for volume in range(10, 3000, 7)}
    for number in sorted({volume // 65 for volume in old}):
        key = first_block_key(number * 65)
        save(yard.meta.txn, key, stored_by_version_1(number, {v: e for v, e in old.items() if v // 65 == number}))
    assert {volume: yard.rows.block(volume).get(volume)[0] for volume in old} == old
    yard.put(*old)
    yard.put(11)
    await yard.evening()
    assert {volume: yard.rows.block(volume).get(volume)[0] for volume in old} == old
    assert yard.known().keys() == {*old, 11} and not yard.rows.earlier_blocks(1)
    assert min(block.due for block in yard.blocks) == 19_000


@given(st.sets(st.integers(0, 2**62), max_size=300))
def test_packed_blocks_hold_the_same_and_are_full(volumes):
    one = Block()
    for volume in volumes:
        one.put(volume, first(20_000, tier=1), 3)
    found = packed_blocks([one])
    assert [volume for block in found for volume in block.volumes()] == sorted(volumes)
    assert all(PAGE_BYTES - 64 <= len(block.stored()) <= PAGE_BYTES for block in found[:-1])
