"""aws-chunked bodies: every cut, every flipped bit, every order but the right one must fail; every re-cut must not."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stratum.s3.chunked import CHUNK_MIN, LINE_MAX, TRAILER_MAX, ChunkedDecoder
from stratum.s3.errors import S3Error
from tests.s3.signing import Signer, encoded, seal

A, B, C = b"a" * CHUNK_MIN, bytes(range(256)) * 32, b"last"
CONTENT = [A, B, C]
TRAILER = "x-amz-checksum-crc32:AAAAAA=="
NAME = "x-amz-checksum-crc32"

FORMS = {  # name -> (signed, trailer line, its line end)
    "signed": (True, "", ""),
    "signed, trailer": (True, TRAILER, "\r\n"),
    "signed, trailer as minio-go writes it": (True, TRAILER, "\n\r\n"),
    "unsigned": (False, "", ""),
    "unsigned, trailer": (False, TRAILER, "\r\n"),
    "unsigned, trailer as minio-go writes it": (False, TRAILER, "\n\r\n"),
}
every_form = pytest.mark.parametrize("form", FORMS)
every_signed_form = pytest.mark.parametrize("form", [name for name, form in FORMS.items() if form[0]])


def body_of(form: str, chunks=CONTENT) -> bytes:
    signed, trailer, line_end = FORMS[form]
    return encoded(list(chunks), signer=Signer() if signed else None, trailer=trailer, line_end=line_end)


def decoder(form: str, length: int = sum(map(len, CONTENT))) -> ChunkedDecoder:
    signed, trailer, _ = FORMS[form]
    return ChunkedDecoder(decoded_length=length, seal=seal() if signed else None, trailer=NAME if trailer else None)


def decoded(form: str, pieces, **kwargs) -> bytes:
    machine = decoder(form, **kwargs)
    content = b"".join(part for piece in pieces for part in machine.feed(piece))
    assert machine.finish() == ("AAAAAA==" if FORMS[form][1] else None)
    return content


def refused(form: str, body: bytes, **kwargs) -> str:
    with pytest.raises(S3Error) as caught:
        decoded(form, [body], **kwargs)
    return caught.value.code


@every_form
def test_the_content_comes_out(form):
    assert decoded(form, [body_of(form)]) == A + B + C


@every_form
def test_byte_by_byte_is_the_same(form):
    body = body_of(form)
    assert decoded(form, (body[at : at + 1] for at in range(len(body)))) == A + B + C


@every_form
@settings(max_examples=40)
@given(
    sizes=st.lists(st.integers(CHUNK_MIN, 3 * CHUNK_MIN), max_size=4),
    last=st.integers(0, 100),
    cuts=st.lists(st.integers(0, 60_000), max_size=8),
)
def test_however_it_is_chunked_and_cut_the_content_is_the_same(form, sizes, last, cuts):
    chunks = [bytes((number,)) * size for number, size in enumerate([*sizes, *([last] if last else [])])]
    body = body_of(form, chunks)
    edges = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    pieces = [body[low:high] for low, high in pairwise(edges)]
    content = b"".join(chunks)
    assert decoded(form, pieces, length=len(content)) == content


@every_form
def test_cut_anywhere_it_is_an_error(form):
    body = body_of(form)
    near_edges = [at for at in range(len(body)) if at % 997 == 0 or at < 200 or at > len(body) - 300]
    for at in near_edges:
        if FORMS[form] == (False, TRAILER, "\n\r\n") and at == len(body) - 2:
            continue  # the last line end of a trailer of this form is one of two readings
        assert refused(form, body[:at]) in ("IncompleteBody", "MalformedTrailerError"), at


@every_form
@pytest.mark.parametrize("more", [b"\r\n\r\n", b"x", b"0\r\n\r\n", b"\0" * 5000])
def test_anything_after_the_end_is_an_error(form, more):
    assert refused(form, body_of(form) + more)


@every_signed_form
def test_a_flipped_bit_anywhere_is_an_error(form):
    body = body_of(form)
    for at in [*range(100), CHUNK_MIN + 40, CHUNK_MIN + 91, CHUNK_MIN + 93, *range(len(body) - 400, len(body))]:
        for bit in range(8):
            wrong = body[:at] + bytes((body[at] ^ 1 << bit,)) + body[at + 1 :]
            if wrong.lower() != body.lower():  # sizes and the trailer's name mean the same in upper case
                assert refused(form, wrong), f"byte {at}, bit {bit}"


@every_signed_form
def test_chunks_reordered_dropped_or_repeated_are_refused(form):
    chunks = [A, B, C]
    body = body_of(form)
    edges = [0]
    for content in chunks:
        edges.append(body.index(b"\r\n", edges[-1]) + 2 + len(content) + 2)
    first, second, third = (body[low:high] for low, high in pairwise(edges))
    rest = body[edges[-1] :]
    assert refused(form, second + first + third + rest) == "SignatureDoesNotMatch"
    assert refused(form, first + third + rest) == "SignatureDoesNotMatch"
    assert refused(form, first + first + third + rest) == "SignatureDoesNotMatch"
    assert refused(form, rest) in ("SignatureDoesNotMatch", "IncompleteBody")


@every_signed_form
def test_the_chain_begins_with_the_signature_of_the_request(form):
    body = encoded(CONTENT, signer=Signer("0" * 64), trailer=FORMS[form][1], line_end=FORMS[form][2] or "\r\n")
    assert refused(form, body) == "SignatureDoesNotMatch"


def test_a_trailer_of_another_signature_is_refused():
    body = body_of("signed, trailer")
    at = body.rindex(b"AAAAAA==")
    assert refused("signed, trailer", body[:at] + b"AAAAAB==" + body[at + 8 :]) == "SignatureDoesNotMatch"


def test_an_announced_trailer_that_does_not_come_is_an_error():
    assert refused("unsigned, trailer", body_of("unsigned")) == "MalformedTrailerError"
    assert refused("signed, trailer", body_of("signed")) == "IncompleteBody"


@pytest.mark.parametrize("form", ["unsigned", "signed"])
def test_a_trailer_that_was_not_announced_is_an_error(form):
    assert refused(form, body_of(f"{form}, trailer")) == "MalformedTrailerError"


def test_a_trailer_of_another_name_is_an_error():
    body = encoded(CONTENT, trailer="x-amz-checksum-sha1:AAAA")
    assert refused("unsigned, trailer", body) == "MalformedTrailerError"


@every_form
@pytest.mark.parametrize("off", [-1, 1, 100_000])
def test_the_declared_length_must_be_the_length(form, off):
    assert refused(form, body_of(form), length=len(A + B + C) + off) == "IncompleteBody"


@every_form
def test_an_empty_body_is_a_body(form):
    assert decoded(form, [body_of(form, [])], length=0) == b""


@every_form
def test_only_the_last_chunk_may_be_small(form):
    assert (
        refused(form, body_of(form, [b"x" * (CHUNK_MIN - 1), A]), length=2 * CHUNK_MIN - 1) == "InvalidChunkSizeError"
    )


@pytest.mark.parametrize(
    "header",
    [
        b"\r\n",
        b"x\r\n",
        b"-1\r\n",
        b"4 \r\n",
        b"4;\r\n",
        b"4\n",
        b"0x4\r\n",
        b"+4\r\n",
        b"4;a=b\r\n",
        b"1" * 17 + b"\r\n",
    ],
)
def test_a_header_that_is_not_well_formed_is_refused(header):
    assert refused("unsigned", header + b"aaaa\r\n0\r\n\r\n", length=4) in ("InvalidRequest", "IncompleteBody")


def test_a_header_line_is_bounded_and_a_declared_size_allocates_nothing():
    assert refused("unsigned", b"0" * (LINE_MAX + 1)) == "InvalidRequest"
    machine = decoder("unsigned")
    with pytest.raises(S3Error):
        for _ in range(LINE_MAX + 1):
            machine.feed(b"0")
    for endless in (b"ffffffffffffffff\r\n", b"0\r\n" + b"x" * (TRAILER_MAX + 1)):
        with pytest.raises(S3Error):
            decoder("unsigned").feed(endless)
    assert decoder("unsigned", 1 << 50).feed(b"1000000000\r\nab") == [b"ab"]


def test_content_is_handed_on_before_its_chunk_ends_and_whole_pieces_are_not_copied():
    machine = decoder("unsigned", 1 << 20)
    assert machine.feed(b"100000\r\n") == []
    piece = bytes(65536)
    assert machine.feed(piece)[0] is piece
