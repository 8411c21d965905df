"""Records that are remembered by their bytes.

Room: tests.
"""

import pytest

from stratum.core import records
from stratum.core.errors import CorruptRecord
from stratum.core.records import Entry, Kind, Usage, decode_known, encode, encode_counter

ENTRY = Entry(inode=7, kind=Kind.OBJECT, cookie=9)


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch):
    monkeypatch.setattr(records, "_known", {})


def test_the_same_bytes_under_the_same_key_are_decoded_once():
    raw = encode(b"k", ENTRY)
    first = decode_known(b"k", raw, Entry)
    assert first == ENTRY
    assert decode_known(b"k", bytes(bytearray(raw)), Entry) is first


def test_other_bytes_another_key_and_another_type_are_looked_at_anew():
    raw = encode(b"k", ENTRY)
    decode_known(b"k", raw, Entry)
    assert decode_known(b"k", encode(b"k", Entry(inode=8, kind=Kind.OBJECT, cookie=9)), Entry).inode == 8
    decode_known(b"k", raw, Entry)
    with pytest.raises(CorruptRecord):  # the right record under the wrong key (R1)
        decode_known(b"l", raw, Entry)
    with pytest.raises(CorruptRecord):  # a flipped bit
        decode_known(b"k", raw[:-1] + bytes((raw[-1] ^ 1,)), Entry)
    assert decode_known(b"k", raw, tuple) == (7, 1, 9)


def test_no_more_is_remembered_than_there_is_room_for(monkeypatch):
    monkeypatch.setattr(records, "_KNOWN_MAX", 3)
    for number in range(10):
        key = b"%d" % number
        assert decode_known(key, encode(key, ENTRY), Entry) == ENTRY
        assert len(records._known) <= 3
    monkeypatch.setattr(records, "_KNOWN_BYTES", 4)
    decode_known(b"large", encode(b"large", ENTRY), Entry)
    assert b"large" not in records._known


def test_a_counter_that_was_stored_is_known_and_another_record_is_not():
    usage = Usage(owner="o", bytes=7)
    assert decode_known(b"u", encode_counter(b"u", usage), Usage) is usage
    assert decode_known(b"n", encode_counter(b"n", 12345), int) == 12345
    assert decode_known(b"k", encode_counter(b"k", ENTRY), Entry) is not ENTRY
    assert set(records._known) == {b"u", b"n", b"k"}
