"""Sealed content: every range of every layout comes back, and nothing that was touched does."""

from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from hypothesis import given, settings
from hypothesis import strategies as st

from stratum.core.errors import CorruptSeal, WrongKey
from stratum.core.sealing import (
    SALT_BYTES,
    SEGMENT_BYTES,
    TAG_BYTES,
    WRAP_SALT_BYTES,
    Sealer,
    Unsealer,
    hidden_etag,
    run_key,
    sealed_size,
    segments_in,
    stored_size,
    stored_span,
    unwrap,
    wrap,
)

KEY = bytes(range(32))


def plain_of(size: int, seed: int = 0) -> bytes:
    block = b"".join(sha256(b"%d %d" % (seed, at)).digest() for at in range(64))
    return (block * (size // len(block) + 1))[:size]


def salt_of(run: int) -> bytes:
    return run.to_bytes(SALT_BYTES, "big")


def keys_of(runs) -> list[bytes]:
    return [run_key(KEY, salt_of(run)) for run in range(len(runs))]


def sealed(plain: bytes, key: bytes, pieces=()) -> bytes:
    sealer, at, out = Sealer(key), 0, []
    for size in (*pieces, len(plain)):
        out.append(sealer.feed(plain[at : at + size]))
        at += size
    return b"".join(out) + sealer.finish()


def stored_of(runs) -> tuple[bytes, bytes]:
    """(plain, stored) bytes of a content."""
    plains = [plain_of(size, run) for run, size in enumerate(runs)]
    stored = [sealed(plain, key) for plain, key in zip(plains, keys_of(runs), strict=True)]
    return b"".join(plains), b"".join(stored)


def opened(stored: bytes, runs, start: int, stop: int, piece: int = 1 << 20) -> bytes:
    first, end = stored_span(runs, start, stop)
    unsealer, wanted = Unsealer(keys_of(runs), runs, start, stop), stored[first:end]
    plain = b"".join(unsealer.feed(wanted[at : at + piece]) for at in range(0, len(wanted), piece))
    assert unsealer.done
    return plain


edges = st.sampled_from([0, 1, SEGMENT_BYTES - 1, SEGMENT_BYTES, SEGMENT_BYTES + 1, 2 * SEGMENT_BYTES])
sizes = st.one_of(edges, st.integers(0, 3 * SEGMENT_BYTES))
layouts = st.lists(sizes, min_size=1, max_size=4).filter(lambda runs: sum(runs) > 0)


@given(layouts, st.data())
@settings(deadline=None, max_examples=60)
def test_every_range_of_every_layout_comes_back(runs, data):
    plain, stored = stored_of(runs)
    assert len(stored) == stored_size(runs)
    start = data.draw(st.integers(0, len(plain) - 1))
    stop = data.draw(st.integers(start + 1, len(plain)))
    assert (
        opened(stored, runs, start, stop, piece=data.draw(st.sampled_from([777, 1 << 16, 1 << 20])))
        == (plain[start:stop])
    )


@given(layouts, st.data())
@settings(deadline=None)
def test_a_range_touches_no_segment_that_it_does_not_need(runs, data):
    start = data.draw(st.integers(0, sum(runs) - 1))
    stop = data.draw(st.integers(start + 1, sum(runs)))
    first, end = stored_span(runs, start, stop)
    wanted = list(segments_in(runs, start, stop))
    assert sum(segment.stored for segment in wanted) == end - first
    assert sum(segment.high - segment.low for segment in wanted) == stop - start
    assert all(segment.low < segment.high for segment in wanted)
    assert end - first <= (stop - start) + (2 * SEGMENT_BYTES) + TAG_BYTES * len(wanted)


@given(st.integers(0, 3 * SEGMENT_BYTES), st.lists(sizes, max_size=4))
@settings(deadline=None, max_examples=40)
def test_how_the_bytes_arrive_makes_no_difference(size, pieces):
    plain = plain_of(size)
    assert sealed(plain, KEY, pieces) == sealed(plain, KEY)
    assert len(sealed(plain, KEY)) == sealed_size(size)


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_every_flipped_bit_is_noticed(data):
    runs = (SEGMENT_BYTES + 100, 50)
    _, stored = stored_of(runs)
    at = data.draw(st.integers(0, len(stored) - 1))
    changed = bytearray(stored)
    changed[at] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(CorruptSeal):
        opened(bytes(changed), runs, 0, sum(runs))


def test_every_bit_of_a_short_content_counts():
    runs = (40,)
    _, stored = stored_of(runs)
    for bit in range(len(stored) * 8):
        changed = bytearray(stored)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CorruptSeal):
            opened(bytes(changed), runs, 0, 40)


def test_segments_that_changed_places_are_noticed():
    runs, full = (3 * SEGMENT_BYTES,), SEGMENT_BYTES + TAG_BYTES
    _, stored = stored_of(runs)
    swapped = stored[full : 2 * full] + stored[:full] + stored[2 * full :]
    with pytest.raises(CorruptSeal):
        opened(swapped, runs, 0, sum(runs))
    with pytest.raises(CorruptSeal):  # also where only one of them is read
        opened(swapped, runs, 0, 10)


def test_a_run_that_was_cut_short_is_noticed_whatever_size_is_claimed():
    _, stored = stored_of((3 * SEGMENT_BYTES,))
    cut = stored[: 2 * (SEGMENT_BYTES + TAG_BYTES)]
    with pytest.raises(CorruptSeal):
        opened(cut, (2 * SEGMENT_BYTES,), 0, 2 * SEGMENT_BYTES)


def test_a_run_that_was_made_longer_is_noticed():
    full = SEGMENT_BYTES + TAG_BYTES
    _, stored = stored_of((2 * SEGMENT_BYTES,))
    with pytest.raises(CorruptSeal):
        opened(stored + stored[:full], (3 * SEGMENT_BYTES,), 0, 3 * SEGMENT_BYTES)


def test_runs_that_changed_places_are_noticed():
    runs = (100, 100)
    _, stored = stored_of(runs)
    with pytest.raises(CorruptSeal):
        opened(stored[116:] + stored[:116], runs, 0, 200)


def test_bytes_that_never_came_leave_the_rest_unopened():
    runs = (100,)
    _, stored = stored_of(runs)
    unsealer = Unsealer(keys_of(runs), runs, 0, 100)
    assert unsealer.feed(stored[:-1]) == b""
    assert not unsealer.done


def test_the_same_bytes_look_different_under_another_salt():
    plain = plain_of(1000)
    assert sealed(plain, run_key(KEY, salt_of(1))) != sealed(plain, run_key(KEY, salt_of(2)))


def test_no_nonce_comes_twice_so_equal_segments_look_different():
    stored = sealed(bytes(3 * SEGMENT_BYTES), KEY)
    full = SEGMENT_BYTES + TAG_BYTES
    bodies = {stored[at : at + SEGMENT_BYTES] for at in range(0, len(stored), full)}
    assert len(bodies) == 3


def test_nothing_of_the_plain_bytes_stands_in_the_sealed_ones():
    plain = b"a canary that nobody should find " * 4000
    assert b"canary" not in sealed(plain, KEY)


def test_two_wraps_of_one_key_have_nothing_in_common():
    first, second = (wrap(KEY, b"s" * 32, bytes([n]) * WRAP_SALT_BYTES, b"bound") for n in (1, 2))
    assert first[WRAP_SALT_BYTES:] != second[WRAP_SALT_BYTES:]
    assert unwrap(KEY, first, b"bound") == unwrap(KEY, second, b"bound") == b"s" * 32


def test_a_wrap_opens_with_its_key_and_its_context_alone():
    wrapped = wrap(KEY, b"s" * 32, b"1" * WRAP_SALT_BYTES, b"bound")
    for key, blob, bound in (
        (bytes(32), wrapped, b"bound"),
        (KEY, wrapped, b"other"),
        (KEY, wrapped[:-1], b"bound"),
        (KEY, b"", b"bound"),
        *((KEY, wrapped[:at] + bytes([wrapped[at] ^ 1]) + wrapped[at + 1 :], b"bound") for at in range(len(wrapped))),
    ):
        with pytest.raises(WrongKey):
            unwrap(key, blob, bound)


def test_a_hidden_etag_is_the_same_for_the_same_bytes_and_key_only():
    digest = bytes(16)
    assert hidden_etag(KEY, digest) == hidden_etag(KEY, digest) != digest.hex()
    assert hidden_etag(KEY, digest) != hidden_etag(bytes(32), digest)
    assert hidden_etag(KEY, digest) != hidden_etag(KEY, b"1" * 16)


def test_the_form_on_disk_is_the_one_that_is_documented():
    """docs/format.md, "Encrypted content": computed step by step, with the primitives alone."""
    salt, plain = bytes(range(12)), plain_of(SEGMENT_BYTES + 5)
    key = HKDFExpand(algorithm=SHA256(), length=32, info=b"stratum segment key 1" + salt).derive(KEY)
    assert run_key(KEY, salt) == key
    first = AESGCM(key).encrypt(bytes(12), plain[:SEGMENT_BYTES], b"\x01" + bytes(8) + b"\x00")
    second = AESGCM(key).encrypt(bytes(11) + b"\x01", plain[SEGMENT_BYTES:], b"\x01" + bytes(7) + b"\x01\x01")
    assert sealed(plain, key) == first + second
    random = bytes(range(28))
    above = HKDFExpand(algorithm=SHA256(), length=32, info=b"stratum wrap 1" + random[:16]).derive(KEY)
    assert wrap(KEY, b"secret", random, b"bound") == random + AESGCM(above).encrypt(random[16:], b"secret", b"bound")
    hidden = HKDFExpand(algorithm=SHA256(), length=16, info=b"stratum etag 1" + bytes(16)).derive(KEY)
    assert hidden_etag(KEY, bytes(16)) == hidden.hex()
