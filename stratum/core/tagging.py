"""Tags of objects and buckets: which sets of them S3 allows.

Room: stratum/core. May import: core.errors.

Source: docs.aws.amazon.com/AmazonS3/latest/userguide/object-tagging.html, API_control_S3Tag.html
"""

import unicodedata
from collections.abc import Iterable

import msgspec

from stratum.core.errors import InvalidTag

KIND = "tagging"  # of a bucket's configuration
OBJECT_TAGS, BUCKET_TAGS = 10, 50
KEY_CHARACTERS, VALUE_CHARACTERS = 128, 256
SYSTEM_PREFIX = "aws:"

_MARKS = frozenset("_.:/=+-@")


class BucketTags(msgspec.Struct, frozen=True, array_like=True):
    """The tags of a bucket."""

    tags: dict[str, str] = {}


def checked_tags(pairs: Iterable[tuple[str, str]], limit: int) -> dict[str, str]:
    """Return the tags in the order of their keys.

    Raises InvalidTag: more than `limit`, the same key twice, a bad key or value.
    """
    tags: dict[str, str] = {}
    for key, value in pairs:
        if not key or len(key) > KEY_CHARACTERS or not _is_allowed(key):
            raise InvalidTag("The TagKey you have provided is invalid")
        if len(value) > VALUE_CHARACTERS or not _is_allowed(value):
            raise InvalidTag("The TagValue you have provided is invalid")
        if key.startswith(SYSTEM_PREFIX):
            raise InvalidTag("System tags cannot be added/updated by requester")
        if key in tags:
            raise InvalidTag("Cannot provide multiple Tags with the same key")
        tags[key] = value
        if len(tags) > limit:
            raise InvalidTag(f"{'Object' if limit == OBJECT_TAGS else 'Bucket'} tags cannot be greater than {limit}")
    return dict(sorted(tags.items()))


def _is_allowed(text: str) -> bool:
    """Letters, numbers and spaces of any script, and a few marks."""
    return all(each in _MARKS or unicodedata.category(each)[0] in "LNZ" for each in text)
