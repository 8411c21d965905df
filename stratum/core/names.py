"""Which names there may be: of buckets, keys and files.

Room: stratum/core. May import: core.errors.
"""

import re

from stratum.core.errors import InvalidArgument, InvalidBucketName, KeyTooLong, NameTooLong

KEY_BYTES = 1024  # the longest key of S3
FILE_NAME_BYTES = 255  # NAME_MAX

# docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html, general purpose buckets
_BUCKET_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)
_IP_ADDRESS = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+", re.ASCII)
_RESERVED_STARTS = ("xn--", "sthree-", "amzn-s3-demo-")
_RESERVED_ENDS = ("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3")


def check_bucket_name(name: str) -> None:
    """Raise InvalidBucketName unless S3 allows the name for a bucket."""
    good = (
        _BUCKET_NAME.fullmatch(name)
        and ".." not in name
        and not _IP_ADDRESS.fullmatch(name)
        and not name.startswith(_RESERVED_STARTS)
        and not name.endswith(_RESERVED_ENDS)
    )
    if not good:
        raise InvalidBucketName(name)


def check_key(key: bytes) -> None:
    """Raise KeyTooLong over 1024 bytes, InvalidArgument if the key is empty or no UTF-8."""
    if len(key) > KEY_BYTES:
        raise KeyTooLong(f"{len(key)} bytes")
    try:
        text = key.decode()
    except UnicodeDecodeError as error:
        raise InvalidArgument("the key is not UTF-8") from error
    if not text:
        raise InvalidArgument("the key is empty")


def check_file_name(name: bytes) -> None:
    """Raise NameTooLong over 255 bytes, InvalidArgument for what no directory can list."""
    if len(name) > FILE_NAME_BYTES:
        raise NameTooLong(f"{len(name)} bytes")
    if name in (b"", b".", b"..") or b"/" in name or b"\0" in name:
        raise InvalidArgument(f"{name!r} is no file name")
