"""Keys of the index: folding keeps order and never lets one key begin another."""

from hypothesis import given
from hypothesis import strategies as st

from stratum.core.schema import fold, unfold

KEYS = st.binary(max_size=12) | st.lists(st.sampled_from([b"\0", b"\xff", b"a", b"/"]), max_size=8).map(b"".join)


@given(KEYS, KEYS)
def test_folded_keys_have_the_order_of_the_keys_whatever_follows_them(one, other):
    if one != other:
        assert (fold(one) + b"\xff" * 8 < fold(other)) == (one < other)
        assert not fold(one).startswith(fold(other))


@given(KEYS, st.binary(max_size=8))
def test_a_folded_key_is_found_again_whatever_follows_it(key, rest):
    assert unfold(fold(key) + rest) == key
