"""What Complete makes of parts: their checksums combined, and every claim about them checked."""

import base64
from hashlib import md5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum.core.checksums import ALGORITHMS, COMPOSITE, FULL_OBJECT, Digests, composite, encode_base64
from stratum.core.errors import BadDigest, InvalidPart, InvalidPartOrder, PartTooSmall, WrongSize
from stratum.core.multipart import checksum_of, choose_parts, etag_of, part_checksums_of
from stratum.core.objects import PartName
from stratum.core.records import Checksum, Part, Upload

PLANS = [(name, kind) for name, each in ALGORITHMS.items() for kind in each.types]
contents = st.lists(st.binary(max_size=40), min_size=1, max_size=5)
plans = st.sampled_from(PLANS)


def value(algorithm: str, content: bytes) -> str:
    digests = Digests([algorithm])
    digests.update(content)
    return encode_base64(digests.results()[algorithm])


def part(content: bytes, algorithm: str = "crc64nvme") -> Part:
    etag = md5(content, usedforsecurity=False).hexdigest()
    return Part(0, len(content), etag, 0, Checksum(algorithm, value(algorithm, content)))


def upload(algorithm: str = "", kind: str = "") -> Upload:
    return Upload("bucket", b"key", 0, "", checksum_algorithm=algorithm, checksum_type=kind)


def chosen(names: list[PartName], stored: dict[int, Part], smallest: int = 0, size: int | None = None) -> list[Part]:
    return choose_parts(names, stored, smallest, size)


@given(plans, contents)
def test_the_checksum_of_the_whole_is_that_of_its_bytes_or_of_the_parts_checksums(plan, pieces):
    algorithm, kind = plan
    parts = [part(each, algorithm) for each in pieces]
    made = checksum_of(upload(algorithm, kind), parts, None)
    if kind == FULL_OBJECT:
        expected = value(algorithm, b"".join(pieces))
    else:
        expected = composite(algorithm, [base64.b64decode(each.checksum.value) for each in parts])
    assert made == Checksum(algorithm, expected, kind)
    assert checksum_of(upload(algorithm, kind), parts, Checksum(algorithm, expected, "")) == made
    assert checksum_of(upload(algorithm, kind), parts, made) == made
    assert part_checksums_of(upload(algorithm, kind), parts) == tuple(each.checksum.value for each in parts)


@given(contents)
def test_an_upload_that_named_no_algorithm_becomes_a_full_crc64nvme(pieces):
    made = checksum_of(upload(), [part(each) for each in pieces], None)
    assert made == Checksum("crc64nvme", value("crc64nvme", b"".join(pieces)), FULL_OBJECT)


@given(plans, contents, plans)
def test_a_claim_of_another_value_algorithm_or_type_is_a_bad_digest(plan, pieces, other):
    algorithm, kind = plan
    parts = [part(each, algorithm) for each in pieces]
    made = checksum_of(upload(algorithm, kind), parts, None)
    wrong = [Checksum(algorithm, value(algorithm, b"another"), kind), Checksum(algorithm, "bad", kind)]
    wrong += [Checksum(other[0], made.value, kind)] if other[0] != algorithm else []
    wrong += [Checksum(algorithm, made.value, COMPOSITE if kind == FULL_OBJECT else FULL_OBJECT)]
    for claimed in wrong:
        with pytest.raises(BadDigest):
            checksum_of(upload(algorithm, kind), parts, claimed)


def test_without_the_checksum_of_one_part_there_is_none_of_the_whole():
    parts = [part(b"one"), Part(0, 3, "e", 0)]
    assert checksum_of(upload(), parts, None) is None
    assert part_checksums_of(upload(), parts) == ()


def test_a_named_part_must_have_the_named_etag_and_checksum():
    one = part(b"one", "sha256")
    good = PartName(number=1, etag=one.etag, checksum=one.checksum.value, algorithm="sha256")
    assert chosen([good], {1: one}) == [one]
    for number, etag, checksum, algorithm in (
        (2, one.etag, "", ""),
        (1, "0" * 32, "", ""),
        (1, one.etag, value("sha256", b"two"), "sha256"),
        (1, one.etag, value("sha256", b"two"), ""),
        (1, one.etag, value("crc32", b"one"), "crc32"),
    ):
        with pytest.raises(InvalidPart):
            chosen([PartName(number=number, etag=etag, checksum=checksum, algorithm=algorithm)], {1: one})
    with pytest.raises(InvalidPart):
        chosen([good], {1: Part(0, 3, one.etag, 0)})


def test_of_a_part_that_keeps_the_default_checksum_one_of_another_algorithm_may_be_named():
    one = part(b"one")
    assert chosen([PartName(number=1, etag=one.etag, checksum="AAAAAA==", algorithm="crc32")], {1: one}) == [one]


def test_parts_come_in_order_are_not_too_small_and_add_up_to_the_size_that_was_told():
    stored = {1: part(b"one"), 2: part(b"twofold")}
    names = [PartName(number=number, etag=each.etag) for number, each in stored.items()]
    assert chosen(names, stored, size=10) == list(stored.values())
    for wrong in (9, 11, 0):
        with pytest.raises(WrongSize):
            chosen(names, stored, size=wrong)
    with pytest.raises(InvalidPartOrder):
        chosen(names[::-1], stored)
    before = PartName(number=1, etag="0" * 32)
    assert chosen([before, *names], stored) == list(stored.values())  # it was sent twice: the last counts
    with pytest.raises(InvalidPart):
        chosen([names[0], before], stored)
    with pytest.raises(PartTooSmall):
        chosen(names, stored, smallest=4)
    with pytest.raises(InvalidPart):
        chosen([], stored)


def test_the_etag_is_the_md5_of_the_parts_md5s_and_their_number():
    parts = [part(b"one"), part(b"two")]
    joined = b"".join(bytes.fromhex(each.etag) for each in parts)
    assert etag_of(parts) == md5(joined, usedforsecurity=False).hexdigest() + "-2"
