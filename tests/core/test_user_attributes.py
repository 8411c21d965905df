from hypothesis import given
from hypothesis import strategies as st

from stratum.core.user_attributes import ESCAPED, SPACE, metadata_bytes, to_attributes, to_metadata

# names that look like what the mapping itself makes, beside any bytes
_pieces = st.sampled_from([b"stratum", b"stratum-xattr-", b"stratum.", b"-", b".", b"%41", b"%", b"a", b"A", b"\xff"])
names = st.one_of(st.binary(min_size=1, max_size=12), st.lists(_pieces, min_size=1, max_size=4).map(b"".join)).filter(
    lambda name: b"\0" not in name
)
values = st.one_of(st.binary(max_size=12), st.lists(_pieces, max_size=3).map(b"".join))
meta_names = st.one_of(
    st.text("abz09._-%4f", min_size=1, max_size=8),
    st.text("abz09._-%4f", min_size=1, max_size=8).map(lambda rest: ESCAPED + rest),
    st.sampled_from(["stratum-hint", "stratum.hint", ESCAPED, ESCAPED + "a", ESCAPED + "%41", "a"]),
)
meta_values = st.one_of(st.text(" a%4f\t~", max_size=6), st.sampled_from(["%00", "%41", "%ff%00", "x"]))


@given(names, values)
def test_an_attribute_written_as_metadata_reads_back_as_it_was(name, value):
    meta, text = to_metadata(SPACE + name, value)
    assert to_attributes({meta: text}) == {SPACE + name: (value, meta)}


@given(names, values)
def test_what_it_is_written_as_can_be_a_header_of_http(name, value):
    meta, text = to_metadata(SPACE + name, value)
    assert meta == meta.lower() and meta.isascii() and not set(meta) & set(' :/()<>@,;\\"[]?={}')
    assert text.isprintable() or "\t" in text
    assert text.isascii() and text == text.strip()


@given(st.dictionaries(meta_names, meta_values, max_size=5))
def test_all_metadata_of_an_object_show_each_as_an_attribute_of_its_own(metadata):
    shown = to_attributes(metadata)
    assert sorted(meta for _, meta in shown.values()) == sorted(metadata)


@given(st.dictionaries(names, values, max_size=5))
def test_attributes_never_take_each_others_place(attributes):
    metadata = dict(to_metadata(SPACE + name, value) for name, value in attributes.items())
    assert {name: value for name, (value, _) in to_attributes(metadata).items()} == {
        SPACE + name: value for name, value in attributes.items()
    }


@given(meta_names, meta_values)
def test_metadata_that_an_attribute_showed_is_written_back_under_a_name_that_shows_the_same(meta, text):
    ((name, (value, _)),) = to_attributes({meta: text}).items()
    again = to_metadata(name, value)
    assert to_attributes(dict([again])) == {name: (value, again[0])}


def test_the_table_of_the_module_is_true():
    assert to_metadata(b"user.colour", b"red") == ("colour", "red")
    assert to_metadata(b"user.stratum.hint", b"hot") == ("stratum-hint", "hot")
    assert to_metadata(b"user.Colour", b"red") == ("stratum-xattr-%43olour", "red")
    assert to_metadata(b"user.colour", b"\xff\0") == ("stratum-xattr-colour", "%ff%00")
    assert metadata_bytes({"colour": "red"}) == 9
