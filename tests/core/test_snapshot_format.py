"""The bytes of a snapshot: rows come back in order, and no damage goes unnoticed.

Room: tests. May import: stratum.core.
"""

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from stratum.core.errors import CorruptJournal
from stratum.core.journal_format import Mark
from stratum.core.snapshot_format import (
    BLOCK_BYTES,
    BLOCK_HEADER_BYTES,
    FOOTER_BYTES,
    HEADER_BYTES,
    block_is_sound,
    decode_block_head,
    decode_footer,
    decode_header,
    decode_rows,
    pieces,
    seed_of,
)

STORE, OTHER_STORE = b"0123456789abcdef", b"0123456789abcdeF"
MARK = Mark(9, 2)

rows = st.dictionaries(st.binary(min_size=1, max_size=60), st.binary(max_size=200), max_size=8).map(
    lambda found: sorted(found.items())
)


def read(raw: bytes, store: bytes = STORE) -> list[tuple[bytes, bytes]]:
    """A reader as plain as can be. Raises CorruptJournal."""
    assert decode_header(store, raw[:HEADER_BYTES]) == MARK
    seed, end = seed_of(raw[:HEADER_BYTES]), len(raw) - FOOTER_BYTES
    footer = decode_footer(seed, raw[end:], end)
    found, at = [], HEADER_BYTES
    for index in range(footer.blocks):
        head = decode_block_head(raw[at : at + BLOCK_HEADER_BYTES], index)
        if head is None:
            raise CorruptJournal("block header")
        body = raw[at + BLOCK_HEADER_BYTES : at + BLOCK_HEADER_BYTES + head.length]
        if not block_is_sound(seed, raw[at : at + BLOCK_HEADER_BYTES], body):
            raise CorruptJournal("block")
        block = decode_rows(body)
        assert len(block) == head.rows
        found += block
        at += BLOCK_HEADER_BYTES + head.length
    assert at == end
    assert len(found) == footer.rows
    assert footer.digest == xxhash.xxh3_128_digest(raw[:end])
    return found


@given(rows)
def test_rows_come_back_as_they_were(written):
    assert read(b"".join(pieces(STORE, MARK, written))) == written


def test_large_rows_and_many_rows_are_cut_into_blocks():
    written = [(b"%08d" % number, bytes(1000)) for number in range(1000)] + [(b"z", bytes(3 * BLOCK_BYTES))]
    found = list(pieces(STORE, MARK, written))
    assert max(map(len, found[:-2])) < BLOCK_BYTES * 1.1
    assert read(b"".join(found)) == written


@given(rows, st.integers(0))
def test_any_flipped_bit_is_noticed(written, bit):
    raw = bytearray(b"".join(pieces(STORE, MARK, written)))
    bit %= 8 * len(raw)
    raw[bit // 8] ^= 1 << bit % 8
    with pytest.raises(CorruptJournal):
        read(bytes(raw))


@given(rows, st.integers(0))
def test_a_snapshot_that_was_not_finished_is_none(written, size):
    raw = b"".join(pieces(STORE, MARK, written))
    with pytest.raises(CorruptJournal):
        read(raw[: size % len(raw)])


def test_a_block_of_another_snapshot_is_noticed():
    one = list(pieces(STORE, MARK, [(b"a", b"1")]))
    other = list(pieces(STORE, Mark(8, 2), [(b"a", b"2")]))
    with pytest.raises(CorruptJournal):
        read(b"".join([one[0], other[1], one[2]]))


def test_a_snapshot_of_another_store_is_refused():
    with pytest.raises(CorruptJournal):
        read(b"".join(pieces(STORE, MARK, [])), OTHER_STORE)


def test_format_1_stays_readable():
    written = [(b"key", b"value"), (b"other", b"")]
    golden = bytes.fromhex(
        "5354524d534e415001000000000000003031323334353637383961626364656609000000000000000200000000000000"
        "aa5b98f31f029ec5efbe828c9db0a7c253424c4b180000000200000000000000972089e2148285fd7acecb21d7028077"
        "9292c4036b6579c40576616c756592c4056f74686572c4005354524d53454e4401000000000000000200000000000000"
        "7800000000000000fcb3092e09c2e0ffa58165a1c0c2b3755d4009a0208ee8bae2b03d712524dfde"
    )
    assert b"".join(pieces(STORE, MARK, written)) == golden
    assert read(golden) == written
