"""Checksums against published values, against themselves in pieces, and combined."""

import base64
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum.core.checksums import (
    ALGORITHMS,
    FULL_OBJECT,
    Digests,
    combine_crc,
    composite,
    decode_base64,
    encode_base64,
)

# The check value of each algorithm: its digest of b"123456789" (RFC 3720 for crc32c, the NVMe base specification for
# crc64nvme, the FIPS and RFC texts for the hashes; XXH of the reference implementation).
CHECK = {
    "md5": "25f9e794323b453885f5181f1b624d0b",
    "crc32": "cbf43926",
    "crc32c": "e3069283",
    "crc64nvme": "ae8b14860a799888",
    "sha1": "f7c3bc1d808e04732adf679965ccc34ca7ae3441",
    "sha256": "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225",
    "xxhash64": "8cb841db40e6ae83",
}
# The digests of nothing that the reference implementation of XXH publishes, and FIPS 180 for sha512.
NOTHING = {
    "xxhash64": "ef46db3751d8e999",
    "xxhash3": "2d06800538d394c2",
    "xxhash128": "99aa06d3014798d86001c324468d497f",
    "sha512": "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce"
    "47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e",
}
CRCS = ["crc32", "crc32c", "crc64nvme"]
blobs = st.binary(max_size=300)


def digest(algorithm: str, content: bytes) -> bytes:
    digests = Digests([algorithm])
    digests.update(content)
    return digests.results()[algorithm]


@pytest.mark.parametrize("algorithm", CHECK)
def test_the_check_value_is_the_published_one(algorithm):
    assert digest(algorithm, b"123456789").hex() == CHECK[algorithm]


@pytest.mark.parametrize("algorithm", NOTHING)
def test_the_digest_of_nothing_is_the_published_one(algorithm):
    assert digest(algorithm, b"").hex() == NOTHING[algorithm]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_raw_digest_has_the_width_the_table_says(algorithm):
    assert len(digest(algorithm, b"")) == ALGORITHMS[algorithm].width


@given(st.lists(blobs, max_size=6), st.sampled_from([bytes, bytearray, memoryview]))
def test_how_the_bytes_are_cut_does_not_matter(pieces, kind):
    digests = Digests(ALGORITHMS)
    for piece in pieces:
        digests.update(kind(piece))
    whole = b"".join(pieces)
    assert digests.results() == {name: digest(name, whole) for name in ALGORITHMS}


@pytest.mark.parametrize("algorithm", CRCS)
@given(a=blobs, b=blobs, c=blobs)
def test_the_crc_of_a_whole_comes_from_those_of_its_parts(algorithm, a, b, c):
    ab = combine_crc(algorithm, digest(algorithm, a), digest(algorithm, b), len(b))
    assert combine_crc(algorithm, ab, digest(algorithm, c), len(c)) == digest(algorithm, a + b + c)


def test_a_crc_of_parts_larger_than_memory_combines():
    part = 5 << 40
    zeros = digest("crc32", b"")
    assert combine_crc("crc32", zeros, digest("crc32", b"x"), part) != zeros


@pytest.mark.parametrize("algorithm", [name for name, each in ALGORITHMS.items() if FULL_OBJECT in each.types])
def test_only_what_combines_may_stand_for_a_whole_multipart_object(algorithm):
    assert algorithm in CRCS


@given(st.lists(blobs, min_size=1, max_size=4))
def test_a_composite_is_the_checksum_of_the_raw_checksums_and_their_number(parts):
    raw = [zlib.crc32(part).to_bytes(4, "big") for part in parts]
    expected = base64.b64encode(zlib.crc32(b"".join(raw)).to_bytes(4, "big")).decode()
    assert composite("crc32", raw) == f"{expected}-{len(parts)}"


@given(blobs)
def test_base64_goes_both_ways(raw):
    assert decode_base64(encode_base64(raw), len(raw)) == raw


@pytest.mark.parametrize(
    "text", ["", "AAAA", "AAAAAA=", "AAAAAA", " AAAAAA==", "AAAAAA==\n", "AAAAAB==", "AAAA$A==", "é"]
)
def test_anything_but_the_one_base64_form_of_the_right_width_is_refused(text):
    assert decode_base64(text, 4) is None
    assert decode_base64("AAAAAA==", 4) == bytes(4)
