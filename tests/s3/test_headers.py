"""Request headers: what is stored, what is refused, ranges, dates, conditions."""

import re
from datetime import datetime
from email.header import decode_header

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum.core.conditions import last_modified
from stratum.core.errors import RangeNotSatisfiable
from stratum.core.objects import Condition
from stratum.s3.errors import S3Error
from stratum.s3.headers import (
    STORED,
    condition_of,
    copy_source_condition,
    delete_condition,
    http_date,
    iso_date,
    named_condition,
    object_headers,
    parse_copy_range,
    parse_date,
    parse_etags,
    parse_http_date,
    parse_range,
    response_overrides,
    user_metadata,
    write_condition,
)
from stratum.s3.http import Request, header

UNSAFE = ["a\r\nset-cookie: x", "a\nb", "a\0b", "käse", "\x7f", "a\rb", "\x1b[0m"]


def refused(call, *arguments) -> str:
    with pytest.raises(S3Error) as caught:
        call(*arguments)
    return caught.value.code


@pytest.mark.parametrize("value", UNSAFE)
@pytest.mark.parametrize("name", STORED)
def test_nothing_that_could_split_a_response_is_stored_or_reflected(name, value):
    assert refused(object_headers, {name: value}) == "InvalidArgument"
    assert refused(response_overrides, {f"response-{name}": value}) == "InvalidArgument"
    if value.isascii():
        assert refused(user_metadata, {"x-amz-meta-a": value}) == "InvalidArgument"
    with pytest.raises(ValueError, match="ASCII"):
        header(name, value)


@given(st.text(st.characters(exclude_categories=["Cs"], min_codepoint=0x20, exclude_characters="\x7f"), max_size=200))
def test_metadata_that_is_not_ascii_is_stored_as_mails_say_it_and_means_the_same(value):
    stored = user_metadata({"x-amz-meta-a": value.encode().decode("latin-1")})["a"]
    assert header("x-amz-meta-a", stored)
    if not value.isascii():
        assert "".join(part.decode(kind) for part, kind in decode_header(stored)) == value


@given(st.text(max_size=30))
def test_what_is_stored_can_be_sent(value):
    try:
        stored = user_metadata({"x-amz-meta-a": value})
    except S3Error:
        return
    assert header("x-amz-meta-a", stored["a"])


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ("aws-chunked", {}),
        ("gzip,aws-chunked", {"content-encoding": "gzip"}),
        ("gzip, aws-chunked", {"content-encoding": "gzip"}),
        ("aws-chunked,gzip,br", {"content-encoding": "gzip,br"}),
        ("deflate, gzip", {"content-encoding": "deflate, gzip"}),
        ("AWS-Chunked", {}),
        ("gzip", {"content-encoding": "gzip"}),
    ],
)
def test_framing_is_not_an_encoding_of_the_object(sent, stored):
    assert object_headers({"content-encoding": sent}) == stored


def test_only_headers_of_objects_are_stored():
    sent = {
        "content-type": "text/plain",
        "expires": "never",
        "host": "x",
        "x-amz-acl": "private",
        "content-length": "5",
    }
    assert object_headers(sent) == {"content-type": "text/plain", "expires": "never"}


def test_metadata_loses_its_prefix_and_is_bounded():
    assert user_metadata({"x-amz-meta-color": "red", "x-amz-acl": "x", "x-amz-meta-empty": ""}) == {
        "color": "red",
        "empty": "",
    }
    exactly = {"x-amz-meta-ab": "x" * 1000, "x-amz-meta-cd": "x" * 1044}
    assert user_metadata(exactly)
    assert refused(user_metadata, {**exactly, "x-amz-meta-e": ""}) == "MetadataTooLarge"
    assert refused(user_metadata, {"x-amz-meta-": "nameless"}) == "InvalidArgument"


def test_repeated_headers_are_joined():
    request = Request(method="PUT", raw_path=b"/", headers=[(b"x-amz-meta-a", b" 1"), (b"x-amz-meta-a", b"2 ")])
    assert request.header("x-amz-meta-a") == "1,2"
    assert request.header_map() == {"x-amz-meta-a": "1,2"}


# --- dates ----------------------------------------------------------------------------------------------------


@given(st.integers(0, 2**33))
def test_an_http_date_reads_back(seconds):
    assert parse_http_date(http_date(seconds * 10**9 + 999_999_999)) == seconds


@given(st.integers(0, 2**63 - 1))
def test_a_listing_never_shows_an_object_older_than_its_file_and_agrees_with_the_header(mtime):
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", iso_date(mtime))
    listed = datetime.fromisoformat(iso_date(mtime))
    listed_ns = int(listed.timestamp()) * 10**9 + listed.microsecond * 1000
    assert mtime <= listed_ns < mtime + 10**6  # else `aws s3 sync` takes the file for the newer one
    assert parse_http_date(http_date(last_modified(mtime))) == parse_date(iso_date(mtime)) == listed_ns // 10**9


@given(st.text(max_size=40))
def test_what_is_no_date_is_ignored(text):
    assert parse_http_date(text) is None or isinstance(parse_http_date(text), int)


@pytest.mark.parametrize("text", ["", "yesterday", "Fri, 99 May 2013 00:00:00 GMT", "Fri, 24 May 99999 00:00:00 GMT"])
def test_malformed_dates_are_none(text):
    assert parse_http_date(text) is None


# --- ranges ---------------------------------------------------------------------------------------------------


@given(st.integers(0, 50), st.integers(0, 60), st.integers(0, 60))
def test_a_range_is_what_slicing_gives(size, first, last):
    content = bytes(range(size))
    for text, wanted in [
        (f"bytes={first}-{last}", content[first : last + 1]),
        (f"bytes={first}-", content[first:]),
        (f"bytes=-{last}", content[max(0, size - last) :]),
    ]:
        try:
            found = parse_range(text, size)
        except RangeNotSatisfiable:
            assert wanted == b""
        else:
            assert (content if found is None else content[slice(*found)]) == (wanted if found else content)
            assert found is not None or last < first


NOT_ONE_RANGE = ["", "bytes=", "bytes=-", "bytes=a-b", "bytes=1", "items=0-1", "bytes=0-1,3-4", "bytes=5-2", "0-1"]


@pytest.mark.parametrize("text", [None, *NOT_ONE_RANGE, "bytes=--1", "bytes=0x1-2", "bytes=٣-"])
def test_what_is_not_one_good_range_is_the_whole_object(text):
    assert parse_range(text, 10) is None


@pytest.mark.parametrize(("text", "size"), [("bytes=10-", 10), ("bytes=0-", 0), ("bytes=-0", 10), ("bytes=99-100", 10),
                                            ("bytes=" + "9" * 5000 + "-", 10), ("bytes=-5", 0)])  # fmt: skip
def test_a_range_beyond_the_end_cannot_be_satisfied(text, size):
    with pytest.raises(RangeNotSatisfiable):
        parse_range(text, size)


def test_a_range_of_a_copy_is_strict():
    assert parse_copy_range(None) is None
    assert parse_copy_range("bytes=0-4") == (0, 5)
    for text in ("", "bytes=0-", "bytes=-4", "bytes=4-0", "bytes=0-1,2-3", "0-4", "bytes= 0-4"):
        assert refused(parse_copy_range, text) == "InvalidArgument"


# --- conditions -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "etags"),
    [
        (None, ()),
        ("", ()),
        ("*", ("*",)),
        ('"abc"', ("abc",)),
        ("abc", ("abc",)),
        ('W/"abc"', ("abc",)),
        ('"a,b", "c" ,d', ("a,b", "c", "d")),
    ],
)
def test_etags_lose_their_quotes(text, etags):
    assert parse_etags(text) == etags


@given(st.text(max_size=20))
def test_etags_are_read_or_refused_and_never_looped_over(text):
    try:
        assert isinstance(parse_etags(text), tuple)
    except S3Error as error:
        assert error.code == "InvalidArgument"


def test_conditions_of_reads():
    date = "Fri, 24 May 2013 00:00:00 GMT"
    sent = {"if-match": '"a"', "if-none-match": '"b","c"', "if-modified-since": date, "if-unmodified-since": "nonsense"}
    condition = condition_of(sent)
    assert (condition.if_match, condition.if_none_match) == (("a",), ("b", "c"))
    assert (condition.if_modified_since, condition.if_unmodified_since) == (1369353600, None)
    assert copy_source_condition({f"x-amz-copy-source-{name}": value for name, value in sent.items()}) == condition


def test_conditions_of_writes():
    assert write_condition({"if-none-match": "*"}).if_none_match == ("*",)
    assert write_condition({"if-match": '"a"'}).if_match == ("a",)
    assert delete_condition({"if-match": "*"}).if_match == ("*",)


@pytest.mark.parametrize(
    "headers",
    [
        {"if-modified-since": "x"},
        {"if-unmodified-since": "x"},
    ],
)
def test_a_condition_of_a_write_that_cannot_be_kept_is_not_ignored(headers):
    assert refused(write_condition, headers) == "NotImplemented"


@pytest.mark.parametrize("name", ["if-none-match", "if-modified-since", "if-unmodified-since"])
def test_a_condition_of_a_delete_that_cannot_be_kept_is_not_ignored(name):
    assert refused(delete_condition, {name: "*"}) == "NotImplemented"


def test_the_condition_of_a_delete_may_be_a_size_and_a_time():
    modified = "Thu, 01 Jan 1970 00:00:09 GMT"
    headers = {"x-amz-if-match-size": "7", "x-amz-if-match-last-modified-time": modified}
    found = delete_condition(headers)
    assert (found.if_match, found.size, found.modified) == ((), 7, 9)
    assert named_condition('"e"', None, "1970-01-01T00:00:09.000Z") == Condition(if_match=("e",), modified=9)
    assert named_condition(None, None, None) == Condition()


@pytest.mark.parametrize(
    "wrong", [(None, "seven", None), (None, "-1", None), (None, None, "yesterday"), ('"e', None, None)]
)
def test_a_condition_of_a_delete_that_is_not_well_formed_is_an_invalid_argument(wrong):
    assert refused(named_condition, *wrong) == "InvalidArgument"
