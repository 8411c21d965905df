import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum.core.errors import CorruptSeal
from stratum.core.sealed_pages import (
    OVERHEAD,
    PAGE_BYTES,
    PageOpener,
    PageSealer,
    pages_of,
    plain_holes,
    runs_of,
    stored_at,
    stored_holes,
    stored_size,
    stored_span,
)

KEY, SALT = b"k" * 32, b"s" * 16
sizes = st.one_of(st.integers(1, 5 * PAGE_BYTES), st.sampled_from([PAGE_BYTES, 2 * PAGE_BYTES, 2 * PAGE_BYTES + 1]))


def plain_of(size: int) -> bytes:
    return bytes(at * 31 % 251 for at in range(size))


@given(sizes, st.data())
def test_any_range_opens_to_what_was_sealed_however_the_stored_bytes_arrive(size, data):
    plain, start = plain_of(size), data.draw(st.integers(0, size - 1))
    stop = data.draw(st.integers(start + 1, size))
    sealed = PageSealer(KEY, SALT).seal(0, plain)
    assert len(sealed) == stored_size(size)
    first, end = stored_span(size, start, stop)
    opener, opened = PageOpener(KEY, size, start, stop), b""
    step = data.draw(st.sampled_from([1000, PAGE_BYTES, PAGE_BYTES + OVERHEAD, 1 << 20]))
    for at in range(first, end, step):
        opened += opener.feed(sealed[at : min(at + step, end)])
    assert opener.done and opened == plain[start:stop]


@given(sizes, st.data())
def test_a_flipped_bit_a_page_from_elsewhere_and_another_key_are_noticed(size, data):
    sealed = bytearray(PageSealer(KEY, SALT).seal(0, plain_of(size)))
    at = data.draw(st.integers(0, len(sealed) - 1))
    sealed[at] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(CorruptSeal):
        PageOpener(KEY, size, 0, size).feed(bytes(sealed))
    with pytest.raises(CorruptSeal):
        PageOpener(b"x" * 32, size, 0, size).feed(PageSealer(KEY, SALT).seal(0, plain_of(size)))
    with pytest.raises(CorruptSeal):
        PageOpener(KEY, size, 0, size).feed(PageSealer(KEY, SALT).seal(1, plain_of(size)))


def test_what_is_not_stored_is_zeros():
    size = 3 * PAGE_BYTES + 7
    sealed = bytearray(PageSealer(KEY, SALT).seal(0, plain_of(size)))
    sealed[stored_at(1) : stored_at(2)] = bytes(stored_at(1))
    expected = bytearray(plain_of(size))
    expected[PAGE_BYTES : 2 * PAGE_BYTES] = bytes(PAGE_BYTES)
    assert PageOpener(KEY, size, 0, size).feed(bytes(sealed)) == expected
    assert PageOpener(KEY, size, size - 7, size).feed(bytes(7 + OVERHEAD)) == bytes(7)


def test_the_same_bytes_sealed_again_have_nothing_in_common():
    one, two = (PageSealer(KEY, salt * 16).seal(0, bytes(100)) for salt in (b"a", b"b"))
    assert one[16:] != two[16:]


@given(st.sets(st.integers(0, 40)).map(sorted), st.integers(1, 5))
def test_neighbouring_pages_go_together_and_none_is_left_out(pages, most):
    runs = list(runs_of(pages, most))
    assert [page for first, behind in runs for page in range(first, behind)] == pages
    assert all(0 < behind - first <= most for first, behind in runs)


@given(st.integers(0, 1 << 40))
def test_holes_are_counted_the_same_way_back_and_forth(holes):
    assert plain_holes(stored_holes(holes)) == holes // PAGE_BYTES * PAGE_BYTES


def test_pages_of_nothing_are_none():
    assert list(pages_of(0, 0)) == [] and list(pages_of(5, PAGE_BYTES + 1)) == [0, 1]
