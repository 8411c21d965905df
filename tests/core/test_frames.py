"""Frames: whatever is not exactly what was written at exactly that place fails its check.

Room: tests. May import: stratum.core.
"""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from stratum.core.frames import (
    FRAME_HEADER_BYTES,
    HEADER_BYTES,
    BadShard,
    ShardHeader,
    decode_header,
    encode_header,
    frame_header,
    is_good,
    shard_seed,
    width_in,
)

ids = st.integers(0, 2**64 - 1)
headers = st.builds(
    ShardHeader,
    store=st.binary(min_size=16, max_size=16),
    volume=ids,
    shard=st.integers(0, 255),
    k=st.integers(1, 255),
    m=st.integers(1, 255),
    sequence=ids,
)
places = st.tuples(st.binary(min_size=16, max_size=16), ids, st.integers(0, 255), st.integers(0, 2**50))
cells = st.binary(min_size=1, max_size=300)


def frame_at(place, cell):
    store, volume, shard, position = place
    return frame_header(shard_seed(store, volume, shard), position, cell) + cell


def good_at(place, width, frame):
    store, volume, shard, position = place
    return is_good(shard_seed(store, volume, shard), position, width, frame)


def flip(raw, bit):
    damaged = bytearray(raw)
    damaged[bit // 8 % len(raw)] ^= 1 << bit % 8
    return bytes(damaged)


@given(headers)
def test_a_header_says_what_was_put_in(header):
    raw = encode_header(header)
    assert len(raw) == HEADER_BYTES
    assert decode_header(raw) == header


@given(headers, st.integers(0, HEADER_BYTES * 8 - 1))
def test_a_header_with_one_wrong_bit_is_refused(header, bit):
    with pytest.raises(BadShard):
        decode_header(flip(encode_header(header), bit))


@given(headers, st.integers(0, HEADER_BYTES - 1))
def test_a_header_cut_short_is_refused(header, size):
    with pytest.raises(BadShard):
        decode_header(encode_header(header)[:size])


@given(places, cells)
def test_a_frame_is_good_where_it_was_written(place, cell):
    frame = frame_at(place, cell)
    assert width_in(frame) == len(cell)
    assert good_at(place, len(cell), frame)
    assert good_at(place, len(cell), memoryview(frame))


@given(places, cells, places)
def test_a_frame_is_bad_anywhere_else(place, cell, elsewhere):
    assume(place != elsewhere)
    mixed = [
        tuple(b if i == field else a for i, (a, b) in enumerate(zip(place, elsewhere, strict=True)))
        for field in range(4)
    ]
    for other in (elsewhere, *(it for it in mixed if it != place)):
        assert not good_at(other, len(cell), frame_at(place, cell))


@given(places, cells, st.integers(0, 2**16))
def test_a_frame_with_one_wrong_bit_is_bad(place, cell, bit):
    assert not good_at(place, len(cell), flip(frame_at(place, cell), bit))


@given(places, cells, st.integers(0, 400))
def test_a_frame_cut_short_or_of_another_width_is_bad(place, cell, size):
    frame = frame_at(place, cell)
    assume(size < len(frame))
    assert not good_at(place, len(cell), frame[:size])
    assert size == len(cell) or not good_at(place, size, frame[: FRAME_HEADER_BYTES + size])
    assert not good_at(place, len(cell), frame + b"\0")


@pytest.mark.parametrize("raw", [b"", b"CELL", bytes(32), b"CELL" + bytes(28), b"CELL" + b"\xff" * 4 + bytes(24)])
def test_what_is_no_frame_has_no_width(raw):
    with pytest.raises(BadShard):
        width_in(raw)
