"""The bytes of the journal: what is written is read, what is damaged is noticed, what is released stays readable.

Room: tests. May import: stratum.core.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum.core.errors import CorruptJournal
from stratum.core.journal_format import (
    RECORD_HEADER_BYTES,
    Mark,
    RecordHead,
    Segment,
    body_is_sound,
    claim_path,
    decode_changes,
    decode_record_head,
    decode_segment,
    encode_changes,
    encode_record_head,
    encode_segment,
    parse_name,
    seed_of,
    segment_path,
    snapshot_path,
)

STORE, OTHER_STORE = b"0123456789abcdef", b"0123456789abcdeF"
SEED = seed_of(STORE)

numbers = st.integers(1, 2**63)
epochs = st.integers(1, 2**40)
marks = st.builds(Mark, numbers, epochs)
segments = st.builds(Segment, epochs, numbers, st.lists(marks, max_size=2).map(tuple))
changes = st.lists(st.tuples(st.binary(min_size=1, max_size=40), st.none() | st.binary(max_size=80)), max_size=6)


def flipped(raw: bytes, bit: int) -> bytes:
    bit %= 8 * len(raw)
    return raw[: bit // 8] + bytes((raw[bit // 8] ^ 1 << bit % 8,)) + raw[bit // 8 + 1 :]


def record(seq=7, epoch=3, rows=((b"key", b"value"), (b"gone", None))) -> bytes:
    body = encode_changes(rows)
    return encode_record_head(SEED, seq, epoch, body) + body


@given(changes)
def test_changes_come_back_as_they_were(rows):
    assert decode_changes(encode_changes(rows)) == rows


@given(numbers, epochs, changes)
def test_a_record_says_what_it_is(seq, epoch, rows):
    raw = record(seq, epoch, rows)
    head, body = raw[:RECORD_HEADER_BYTES], raw[RECORD_HEADER_BYTES:]
    assert decode_record_head(SEED, head) == RecordHead(seq, epoch, len(body))
    assert body_is_sound(SEED, head, body)


@given(changes, st.integers(0))
def test_any_flipped_bit_of_a_record_is_noticed(rows, bit):
    raw = flipped(record(rows=rows), bit)
    head, body = raw[:RECORD_HEADER_BYTES], raw[RECORD_HEADER_BYTES:]
    assert decode_record_head(SEED, head) is None or not body_is_sound(SEED, head, body)


def test_a_record_of_another_store_is_no_record():
    assert decode_record_head(seed_of(OTHER_STORE), record()) is None


@given(st.integers(0, RECORD_HEADER_BYTES - 1))
def test_a_torn_record_header_is_no_record(size):
    assert decode_record_head(SEED, record()[:size]) is None


@given(segments)
def test_a_segment_header_comes_back_as_it_was(segment):
    assert decode_segment(STORE, encode_segment(STORE, segment)) == segment


@given(segments, st.integers(0))
def test_any_flipped_bit_of_a_segment_header_is_noticed(segment, bit):
    with pytest.raises(CorruptJournal):
        decode_segment(STORE, flipped(encode_segment(STORE, segment), bit))


def test_a_segment_of_another_store_is_refused():
    with pytest.raises(CorruptJournal, match="another store"):
        decode_segment(OTHER_STORE, encode_segment(STORE, Segment(1, 1)))


@given(numbers, epochs)
def test_names_tell_number_and_epoch(number, epoch):
    for path in (segment_path(number, epoch), snapshot_path(Mark(number, epoch))):
        assert parse_name(path.rpartition("/")[2]) == Mark(number, epoch)
    assert parse_name(claim_path(epoch).rpartition("/")[2]) == Mark(0, epoch)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "lost+found",
        "0000000000000001.log",
        "000000000000001-00000001.log",
        "0000000000000001-00000001.log.tmp-aabbccdd",
        "000000000000000A-00000001.log",
        "0000000000000001-00000001.epoch",
        "0000000000000001-00000001.txt",
        ".epoch",
    ],
)
def test_other_files_are_not_taken_for_ours(name):
    assert parse_name(name) is None


def test_format_1_stays_readable():
    segment = bytes.fromhex(
        "5354524d4a524e4c01000000000000003031323334353637383961626364656603000000000000000700000000000000"
        "06000000000000000200000000000000000000000000000000000000000000004cfbaaef3838daf039ae08ff645f60dc"
    )
    golden = bytes.fromhex(
        "4a5245431600000007000000000000000300000000000000df73be6668995a35cc5e42d37cbe4d4e1802a9898c583aa1"
        "9292c4036b6579c40576616c756592c404676f6e65c0"
    )
    assert encode_segment(STORE, Segment(3, 7, (Mark(6, 2),))) == segment
    assert record() == golden
