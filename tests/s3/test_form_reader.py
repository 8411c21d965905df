"""Forms in any cut and any damage: the same fields and bytes, or an error with a code, in bounded memory."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum.s3.errors import S3Error
from stratum.s3.form import FIELDS_BYTES, is_form, read_form
from stratum.s3.http import Request
from tests.s3.test_form import BOUNDARY, encoded


def request(body, **headers: bytes) -> Request:
    pairs = [(b"content-type", f"multipart/form-data; boundary={BOUNDARY}".encode())]
    pairs += [(name.replace("_", "-").encode(), value) for name, value in headers.items()]
    return Request(method="POST", raw_path=b"/b", headers=pairs, body=body)


class Pieces:
    """A body in pieces; knows how much of it was asked for."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._left = [piece for piece in pieces if piece]
        self.taken = 0

    def __aiter__(self):
        return self

    async def __anext__(self) -> bytes:
        if not self._left:
            raise StopAsyncIteration
        piece = self._left.pop(0)
        self.taken += len(piece)
        return piece


def run(work):
    """Drive a coroutine that never really waits: what it reads is there."""
    try:
        work.send(None)
    except StopIteration as ended:
        return ended.value
    raise AssertionError("it waited")


async def read(body: Pieces) -> tuple[dict[str, str], str, bytes]:
    form = await read_form(request(body))
    return form.fields, form.filename, b"".join([piece async for piece in form.file])


def cut(whole: bytes, cuts: list[int]) -> Pieces:
    places = [0, *sorted(min(each, len(whole)) for each in cuts), len(whole)]
    return Pieces([whole[start:stop] for start, stop in itertools.pairwise(places)])


FIELDS = {"key": "ä/${filename}", "x-amz-meta-a": "", "policy": "\r\n--\r"}
tricky = st.lists(st.sampled_from([b"\r", b"\n", b"--", b"\r\n--", BOUNDARY[:-1].encode(), b"x"])).map(b"".join)


@given(tricky, st.lists(st.integers(0, 700), max_size=12))
def test_a_form_is_the_same_however_it_is_cut(file, cuts):
    assert run(read(cut(encoded(FIELDS, file), cuts))) == (FIELDS, "a.txt", file)


def test_a_form_may_come_byte_by_byte():
    whole = encoded(FIELDS, b"content")
    assert run(read(cut(whole, list(range(len(whole)))))) == (FIELDS, "a.txt", b"content")


@given(st.data())
def test_damage_is_an_error_with_a_code_or_another_form(data):
    whole = bytearray(encoded(FIELDS, b"content"))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        run(read(cut(bytes(whole), data.draw(st.lists(st.integers(0, 700), max_size=4)))))
    except S3Error as error:
        assert error.status == 400


def test_the_file_is_not_read_before_it_is_asked_for():
    whole = encoded(FIELDS, b"y" * 1_000_000)
    body = cut(whole, list(range(0, len(whole), 1000)))
    form = run(read_form(request(body)))
    assert form.fields == FIELDS
    assert body.taken <= 2000


def test_an_endless_field_is_refused_after_twenty_kibibytes():
    body = cut(encoded({"key": "k" * 1_000_000}), list(range(0, 1_000_000, 1000)))
    with pytest.raises(S3Error) as caught:
        run(read_form(request(body)))
    assert caught.value.code == "MaxPostPreDataLengthExceeded"
    assert body.taken <= FIELDS_BYTES + 2000


def test_the_name_of_the_file_is_what_comes_behind_its_folders():
    for filename, expected in [("a.txt", "a.txt"), ("/x/y/a.txt", "a.txt"), ("C:/x/a b.txt", "a b.txt"), ("", "")]:
        form = run(read_form(request(cut(encoded({"key": "u/${filename}"}, b"", filename), []))))
        assert form.filled() == {"key": "u/" + expected}


def test_what_is_signed_elsewhere_is_no_form():
    assert is_form(request(None))
    assert not is_form(request(None, authorization=b"AWS4-HMAC-SHA256 ..."))
    assert not is_form(Request(method="POST", raw_path=b"/b", headers=[(b"content-type", b"text/plain")]))
