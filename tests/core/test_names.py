"""Names of buckets, keys and files: S3's rules and POSIX's.

Room: tests. May import: stratum.core, tests.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum.core.errors import InvalidArgument, InvalidBucketName, KeyTooLong, NameTooLong
from stratum.core.names import check_bucket_name, check_file_name, check_key
from tests.strategies import any_keys, file_names

GOOD = ["abc", "a-b.c", "0" * 63, "1.2.3", "1.2.3.4.5", "a--b", "3com", "1.2.3.4a"]
BAD = [
    "", "ab", "a" * 64, "Abc", "a_b", "a b", "-abc", "abc-", ".abc", "abc.", "a..b", "1.2.3.4", "999.0.0.1", "xn--abc",
    "sthree-abc", "amzn-s3-demo-abc", "abc-s3alias", "abc--ol-s3", "abc.mrap", "abc--x-s3", "abc--table-s3", "abc\n",
    "été", "abc/", "a%2fb", "\u0660\u0660\u0660",
]  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_a_bucket_may_have_a_name_that_s3_allows(name):
    check_bucket_name(name)


@pytest.mark.parametrize("name", BAD)
def test_a_bucket_name_that_s3_does_not_allow_is_refused(name):
    with pytest.raises(InvalidBucketName):
        check_bucket_name(name)


@given(st.text(max_size=70))
def test_any_name_of_a_bucket_is_fit_for_a_host_name_and_a_directory(name):
    try:
        check_bucket_name(name)
    except InvalidBucketName:
        return
    assert name.isascii() and 3 <= len(name) <= 63 and name == name.lower() and "/" not in name


@given(any_keys)
def test_every_utf8_string_of_1_to_1024_bytes_is_a_key(key):
    check_key(key)


@pytest.mark.parametrize(
    ("key", "error"),
    [
        (b"", InvalidArgument),
        (b"a\xff", InvalidArgument),
        (b"\xed\xa0\x80", InvalidArgument),  # a lone surrogate
        (b"a" * 1025, KeyTooLong),
        (b"\xff" * 1025, KeyTooLong),
    ],
)
def test_nothing_else_is_a_key(key, error):
    with pytest.raises(error):
        check_key(key)


@given(file_names)
def test_any_bytes_but_slash_and_zero_name_a_file(name):
    check_file_name(name)
    check_file_name(name.ljust(255, b"x"))


@pytest.mark.parametrize("name", [b"", b".", b"..", b"a/b", b"a\0b"])
def test_what_no_directory_can_list_names_no_file(name):
    with pytest.raises(InvalidArgument):
        check_file_name(name)


def test_a_file_name_has_at_most_255_bytes():
    with pytest.raises(NameTooLong):
        check_file_name(b"x" * 256)
