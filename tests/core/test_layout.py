"""Layout: cells, columns and positions agree with laying the bytes out by hand.

Room: tests. May import: stratum.core.
"""

from hypothesis import given
from hypothesis import strategies as st

from stratum.core.frames import FRAME_HEADER_BYTES
from stratum.core.layout import cells_of, columns, merge, position, shard_end, stripe, tail_width, touched
from stratum.core.records import Extent


@st.composite
def ranges(draw):
    k, width = draw(st.integers(1, 6)), draw(st.integers(1, 40))
    extent = Extent(1, draw(st.integers(128, 9999)), width, draw(st.integers(0, 300)), draw(st.integers(1, 600)))
    start = draw(st.integers(0, extent.length - 1))
    return k, extent, start, draw(st.integers(start + 1, extent.length))


@given(ranges())
def test_touched_cells_are_those_that_hold_a_byte_of_the_range(case):
    _, extent, start, stop = case
    cells = touched(extent, start, stop)
    holding = sorted({(extent.skip + at) // extent.width for at in range(start, stop)})
    assert list(range(cells.first, cells.last + 1)) == holding
    assert cells.first * extent.width + cells.start == extent.skip + start


@given(ranges())
def test_columns_name_each_touched_cell_once(case):
    k, extent, start, stop = case
    cells = touched(extent, start, stop)
    found = [
        stripe_number * k + column.shard
        for column in columns(cells, k)
        for stripe_number in range(column.first, column.last + 1)
    ]
    assert sorted(found) == list(range(cells.first, cells.last + 1))


@given(ranges())
def test_an_extent_ends_behind_its_last_stripe(case):
    k, extent, _, _ = case
    last = touched(extent, 0, extent.length).last // k
    assert shard_end(extent, k) == position(extent, last) + FRAME_HEADER_BYTES + extent.width


@given(st.binary(min_size=1, max_size=2000), st.integers(1, 5), st.sampled_from([64, 128, 256]))
def test_striping_keeps_every_byte_in_order(data, k, cell_bytes):
    runs = stripe(data, k, cell_bytes)
    laid = [
        b"".join(map(bytes, cells_of(memoryview(run.parts[0]), k, run.width, index)))
        for run in runs
        for index in range(run.height)
    ]
    assert b"".join(bytes(run.parts[0]) for run in runs) == data
    assert b"".join(laid).rstrip(b"\0") == data.rstrip(b"\0")
    assert all(len(it) == k * run.width for run in runs[-1:] for it in laid[-1:])
    assert all(run.width == cell_bytes for run in runs[:-1])


@given(st.integers(1, 10**6), st.integers(1, 8))
def test_a_tail_is_no_wider_than_alignment_asks(length, k):
    width = tail_width(length, k)
    assert width % 64 == 0
    assert k * width >= length > k * (width - 64)


@given(st.integers(1, 4), st.integers(1, 8), st.integers(1, 8))
def test_extents_of_full_stripes_that_follow_each_other_are_one(k, first, second):
    frame = FRAME_HEADER_BYTES + 64
    left = Extent(7, 128, 64, 0, first * k * 64)
    right = Extent(7, 128 + first * frame, 64, 0, second * k * 64 - 5)
    assert merge([left, right], {7: k}) == [Extent(7, 128, 64, 0, left.length + right.length)]


def test_extents_that_do_not_follow_each_other_stay_apart():
    left = Extent(7, 128, 64, 0, 256)
    for right in (
        Extent(8, 224, 64, 0, 256),
        Extent(7, 320, 64, 0, 256),
        Extent(7, 224, 128, 0, 256),
        Extent(7, 224, 64, 64, 192),
    ):
        assert merge([left, right], {7: 4, 8: 4}) == [left, right]
    ragged = Extent(7, 128, 64, 0, 255)
    assert len(merge([ragged, Extent(7, 224, 64, 0, 1)], {7: 4})) == 2
