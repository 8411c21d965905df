"""The ranges of a file against a bytearray.

Room: tests. May import: stratum.core.
"""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from stratum.core.ranges import GROWING_BYTES, Block, Ranges, cut_piece, deal, gaps
from stratum.core.records import Extent, Run

SPACE = 4000

offsets = st.integers(0, SPACE)
writes = st.tuples(st.just("write"), offsets, st.binary(min_size=1, max_size=300))
runs = st.tuples(st.just("run"), offsets, st.binary(min_size=1, max_size=300))
clears = st.tuples(st.just("clear"), offsets, st.integers(0, 300))
steps = st.lists(st.one_of(writes, runs, clears), max_size=40)


def apply(steps, ranges, model, known):
    """`model` holds the bytes; `known` says where anything was put at all."""
    for step, offset, value in steps:
        if step == "clear":
            ranges.clear(offset, offset + value)
            value = bytes(value)
        elif step == "run":
            ranges.put(offset, Run(None, value))
        else:
            ranges.write(offset, value)
        model[offset : offset + len(value)] = value
        known[offset : offset + len(value)] = b"\1" * len(value)


def bytes_of(found):
    return [
        (start, bytes(stop - start) if piece is None else piece.inline if isinstance(piece, Run) else bytes(piece))
        for start, stop, piece in found
    ]


def check(ranges, model, known, start, stop):
    seen = bytearray(stop - start)
    shown = bytearray(stop - start)
    at = start
    for offset, piece in bytes_of(ranges.within(start, stop)):
        assert offset >= at and piece
        seen[offset - start : offset - start + len(piece)] = piece
        shown[offset - start : offset - start + len(piece)] = b"\1" * len(piece)
        at = offset + len(piece)
    assert at <= stop
    assert shown == known[start:stop]
    assert seen == bytearray(b if k else 0 for b, k in zip(model[start:stop], known[start:stop], strict=True))
    left = bytearray(b"\1" * (stop - start))
    for low, high in gaps(ranges.within(start, stop), start, stop):
        left[low - start : high - start] = bytes(high - low)
    assert left == known[start:stop]


@given(steps, offsets, offsets)
def test_what_was_put_last_is_what_is_there(steps, one, other):
    ranges, model, known = Ranges(), bytearray(2 * SPACE), bytearray(2 * SPACE)
    apply(steps, ranges, model, known)
    check(ranges, model, known, 0, 2 * SPACE)
    check(ranges, model, known, min(one, other), max(one, other))


@given(steps)
def test_held_counts_the_bytes_in_memory(steps):
    ranges = Ranges()
    apply(steps, ranges, bytearray(2 * SPACE), bytearray(2 * SPACE))
    assert ranges.held == sum(len(block) for block in ranges.blocks())


@given(steps, steps)
def test_laying_one_map_over_another_equals_doing_both(below, above):
    lower, upper, model, known = Ranges(), Ranges(), bytearray(2 * SPACE), bytearray(2 * SPACE)
    apply(below, lower, model, known)
    apply(above, upper, model, known)
    lower.lay(upper)
    check(lower, model, known, 0, 2 * SPACE)


@given(steps)
def test_blocks_are_the_bytes_with_neighbours_together(steps):
    ranges, model = Ranges(), bytearray(2 * SPACE)
    apply(steps, ranges, model, bytearray(2 * SPACE))
    blocks = ranges.blocks()
    for one, other in pairwise(blocks):
        assert one.stop < other.start or ranges.within(one.stop, one.stop + 1)
    for block in blocks:
        assert b"".join(block.buffers) == model[block.start : block.stop]


@given(steps, steps)
def test_a_piece_handed_out_does_not_change_later(first, later):
    ranges, model, known = Ranges(), bytearray(2 * SPACE), bytearray(2 * SPACE)
    apply(first, ranges, model, known)
    found = ranges.within(0, 2 * SPACE)
    before = bytes_of(found)
    apply(later, ranges, model, known)
    assert bytes_of(found) == before


def test_small_writes_in_a_row_share_a_buffer():
    ranges = Ranges()
    for at in range(0, 4 * GROWING_BYTES, 100):
        ranges.write(at, b"x" * 100)
    assert len(list(ranges)) == -(-4 * GROWING_BYTES // (GROWING_BYTES // 100 * 100))


def test_large_writes_are_kept_without_a_copy():
    ranges, piece = Ranges(), b"x" * GROWING_BYTES
    ranges.write(10, piece)
    assert next(iter(ranges))[2] is piece


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(1, 40)), min_size=1, max_size=8), st.integers(1, 60))
def test_dealing_puts_every_byte_of_a_joint_store_back_to_its_place(shape, width):
    blocks, at = [], 0
    for gap, length in shape:
        at += gap
        blocks.append(Block(at, bytes((at + i) % 251 for i in range(length)), length))
        at += length
    joint = b"".join(bytes(buffer) for block in blocks for buffer in block.buffers)
    spans = [(low, Run(None, joint[low : low + width])) for low in range(0, len(joint), width)]
    target = bytearray(at)
    for offset, run in deal(spans, blocks):
        target[offset : offset + run.length] = run.inline
    for block in blocks:
        assert target[block.start : block.stop] == b"".join(block.buffers)


def test_a_run_that_is_cut_keeps_pointing_at_the_right_bytes():
    ranges = Ranges()
    ranges.put(100, Run(Extent(7, 64, 16, 5, 50)))
    ranges.write(110, b"x" * 10)
    assert ranges.spans() == [(100, Run(Extent(7, 64, 16, 5, 10))), (120, Run(Extent(7, 64, 16, 25, 30)))]
    assert cut_piece(None, 1, 2) is None
