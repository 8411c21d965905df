"""Tags: which sets S3 allows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum.core.errors import InvalidTag
from stratum.core.tagging import BUCKET_TAGS, OBJECT_TAGS, checked_tags

letters = st.text(st.characters(categories=["L", "N", "Zs"]) | st.sampled_from("_.:/=+-@"), max_size=256)
keys = letters.filter(lambda key: 0 < len(key) <= 128 and not key.startswith("aws:"))


@given(st.dictionaries(keys, letters, max_size=OBJECT_TAGS))
def test_every_allowed_set_is_kept_in_the_order_of_its_keys(tags):
    kept = checked_tags(tags.items(), OBJECT_TAGS)
    assert kept == tags and list(kept) == sorted(tags)


@pytest.mark.parametrize(
    "pairs",
    [
        [("", "v")],
        [("k" * 129, "v")],
        [("k", "v" * 257)],
        [("aws:k", "v")],
        [("k", "v"), ("k", "w")],
        [("k\n", "v")],
        [("k", "\x00")],
        [("k?", "v")],
        [("k", "a&b")],
        [(str(number), "v") for number in range(11)],
    ],
)
def test_what_s3_does_not_allow_is_refused(pairs):
    with pytest.raises(InvalidTag):
        checked_tags(pairs, OBJECT_TAGS)


@pytest.mark.parametrize("limit", [OBJECT_TAGS, BUCKET_TAGS])
def test_the_limit_is_the_last_number_allowed(limit):
    pairs = [(str(number), "") for number in range(limit)]
    assert len(checked_tags(pairs, limit)) == limit
    with pytest.raises(InvalidTag):
        checked_tags([*pairs, ("one more", "")], limit)
