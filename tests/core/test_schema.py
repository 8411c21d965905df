"""Keys of the index: folding keeps order and never lets one key begin another."""

from hypothesis import given
from hypothesis import strategies as st

from stratum.core import schema
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


def test_no_two_tables_share_a_letter():
    found = {name: value for name, value in vars(schema).items() if name.isupper() and isinstance(value, bytes)}
    letters = [value for value in found.values() if len(value) == 1]
    assert len(set(letters)) == len(letters), sorted(found.items(), key=lambda row: row[1])
