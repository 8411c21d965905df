"""Placement: codes, slots, and pieces that share stripes.

Room: tests. May import: stratum.core.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum.core.errors import TooFewDisks
from stratum.core.layout import cells_of, position, touched
from stratum.core.placement import choose_code, choose_slots, pack, quorum

CELL = 256


@pytest.mark.parametrize(("disks", "code"), [(9, (4, 6)), (6, (4, 6)), (5, (3, 5)), (4, (2, 4))])
def test_fewer_disks_narrow_the_code_and_keep_the_parity(disks, code):
    assert choose_code(4, 2, disks) == code


@pytest.mark.parametrize(("k", "parity", "disks"), [(4, 2, 3), (4, 2, 0), (1, 2, 2), (1, 0, 0), (2, 1, 2)])
def test_without_room_for_the_parity_writes_are_refused(k, parity, disks):
    with pytest.raises(TooFewDisks):
        choose_code(k, parity, disks)


def test_whole_copies_on_one_disk_are_a_code_too():
    assert choose_code(1, 0, 1) == (1, 1)
    assert quorum(1, 1) == 1


@given(st.integers(0, 2**64 - 1), st.sets(st.integers(0, 20), min_size=6))
def test_no_two_shards_share_a_disk(volume, slots):
    chosen = choose_slots(volume, slots, 6)
    assert len(set(chosen)) == 6
    assert set(chosen) <= slots


def test_every_disk_gets_parity_in_its_turn():
    assert {choose_slots(volume, range(6), 6)[5] for volume in range(6)} == set(range(6))


pieces = st.lists(
    st.tuples(st.integers(1, 255), st.integers(1, 6 * CELL)).map(lambda it: bytes([it[0]]) * it[1]),
    min_size=1,
    max_size=30,
)


def read_back(extent, k, columns):
    cells = touched(extent, 0, extent.length)
    sequence = b"".join(columns[cell % k][position(extent, cell // k)] for cell in range(cells.first, cells.last + 1))
    return sequence[cells.start : cells.start + extent.length]


def lay(packed, k, at):
    columns = [{} for _ in range(k)]
    for run in packed.stripes:
        data = memoryview(b"".join(run.parts))
        for index in range(run.height):
            for column, cell in enumerate(cells_of(data, k, run.width, index)):
                columns[column][at] = bytes(cell)
            at += 32 + run.width
    return columns


@given(pieces, st.integers(1, 4))
def test_the_extents_of_packed_pieces_hold_their_bytes(pieces, k):
    packed = pack(pieces, k, CELL)
    columns = lay(packed, k, 128)
    for piece, extents in zip(pieces, packed.extents(5, 128), strict=True):
        assert b"".join(read_back(extent, k, columns) for extent in extents) == piece


@given(pieces, st.integers(1, 4))
def test_a_piece_that_fits_a_cell_touches_one_cell(pieces, k):
    for piece, extents in zip(pieces, pack(pieces, k, CELL).extents(5, 128), strict=True):
        if len(piece) <= CELL:
            (extent,) = extents
            cells = touched(extent, 0, extent.length)
            assert cells.first == cells.last


@given(pieces, st.integers(1, 4))
def test_stripes_are_no_wider_than_a_cell_and_never_of_zero_width(pieces, k):
    for run in pack(pieces, k, CELL).stripes:
        assert 0 < run.width <= CELL
        assert run.width % 64 == 0
        assert run.height > 0


def test_many_small_pieces_waste_little():
    packed = pack([b"x" * 60] * 64, 4, 4096)
    assert sum(run.width * run.height for run in packed.stripes) == 960
