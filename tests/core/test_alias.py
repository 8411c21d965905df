"""Every key has a name in the mount, no two the same, and that name leads back to it.

Room: tests. May import: stratum.core, tests.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum.core.alias import (
    VERSIONS,
    Form,
    Visible,
    names_to_forget,
    parse,
    stored_name_to_make,
    visible_name,
    visible_names,
)
from stratum.core.errors import InvalidArgument, NameTooLong
from stratum.core.names import check_file_name
from tests.strategies import file_names, unhurried

ROOTS = [
    b"",
    b".",
    b"%versions%",
    b"..",
    b"a",
    b"b\0",
    b"%",
    b"%00",
    b"%25",
    b"x" * 245,
    b"x" * 250,
    b"x" * 255,
    b"x" * 300,
]
ALIASES = [b"%file%", b"%dir%", b"%long%", b"%file", b"%versions%", b"%long%y%" + b"0" * 64]
LONGEST = 1024

plain = st.sampled_from(ROOTS) | st.binary(max_size=5).filter(lambda name: b"/" not in name)


@st.composite
def nested(draw):
    """A base name, perhaps shaped like an alias, or like an alias of an alias."""
    name = draw(plain)
    for _ in range(draw(st.integers(0, 3))):
        stored = name + b"/" * draw(st.integers(0, 1))
        shapes = [draw(st.sampled_from(ALIASES)) + name, visible_name(stored, beside_directory=draw(st.booleans()))]
        name = draw(st.sampled_from(shapes))
    return name[:LONGEST]


stored_names = st.builds(lambda base, is_directory: base + b"/" * is_directory, nested(), st.booleans())
directories = st.sets(stored_names, max_size=12)


def find(visible: bytes, stored: set[bytes]) -> bytes | None:
    """As namespace.find, on a set."""
    parsed = parse(visible)
    if parsed.form is Form.LONG:
        return visible_names(stored).get(visible)
    return next((name for name in parsed.candidates if name in stored), None)


@unhurried
@given(directories)
def test_every_entry_is_shown_under_a_name_of_its_own_that_leads_back_to_it(stored):
    shown = visible_names(stored)
    assert set(shown.values()) == stored and len(shown) == len(stored)
    for visible, name in shown.items():
        check_file_name(visible)
        assert find(visible, stored) == name


@unhurried
@given(file_names, st.booleans(), directories)
def test_a_name_made_in_the_mount_is_found_again_under_that_name(visible, directory, others):
    try:
        made = stored_name_to_make(visible, directory=directory)
    except (InvalidArgument, NameTooLong):
        return
    base = made.removesuffix(b"/")
    assert find(visible, {made} | (others - {base, base + b"/"})) == made


@unhurried
@given(file_names | nested(), st.booleans())
def test_a_name_made_in_the_mount_is_also_shown_under_it(visible, directory):
    try:
        check_file_name(visible)
        made = stored_name_to_make(visible, directory=directory)
    except (InvalidArgument, NameTooLong):
        return
    beside = parse(visible).beside and not directory
    assert visible in (visible_name(made, beside_directory=False), visible_name(made, beside_directory=beside))


@unhurried
@given(directories, stored_names, st.booleans())
def test_a_name_that_comes_or_goes_changes_only_what_is_told_to_be_forgotten(stored, name, has_other_kind):
    if has_other_kind:
        stored = stored | {name[:-1] if name.endswith(b"/") else name + b"/"}
    before, after = visible_names(stored - {name}), visible_names(stored | {name})
    changed = {visible for visible in {*before, *after} if before.get(visible) != after.get(visible)}
    assert changed <= set(names_to_forget(name))


@pytest.mark.parametrize(
    ("stored", "beside", "visible"),
    [
        (b"a", False, b"a"),
        (b"a/", False, b"a"),
        (b"a", True, b"%file%a"),
        (b"", False, b"%file%"),
        (b"..", False, b"%file%.."),
        (b"/", False, b"%dir%"),
        (b"./", False, b"%dir%."),
        (b"a\0b/", False, b"%dir%a%00b"),
        (b"%file%a", False, b"%file%%25file%25a"),
        (b"%dir%/", False, b"%dir%%25dir%25"),
        (b"100%", False, b"100%"),
        (b"%file%50%", False, b"%file%50%"),
        (b"%dir%a", False, b"%dir%a"),
    ],
)
def test_the_table_of_aliases(stored, beside, visible):
    assert visible_name(stored, beside_directory=beside) == visible


def test_a_long_name_shows_its_beginning_and_cuts_no_character():
    shown = visible_name("é".encode() * 300, beside_directory=False)
    assert shown.startswith("%long%éééé".encode()) and len(shown) <= 255
    shown.decode()
    assert parse(shown) == Visible(Form.LONG, shown)


@pytest.mark.parametrize(
    ("visible", "directory", "error"),
    [
        (b"%file%a", True, InvalidArgument),
        (b"%dir%..", False, InvalidArgument),
        (b"%long%a%" + b"0" * 64, False, NameTooLong),
        (b"x" * 256, False, NameTooLong),
    ],
)
def test_a_name_whose_meaning_cannot_be_made_is_refused(visible, directory, error):
    with pytest.raises(error):
        stored_name_to_make(visible, directory=directory)


def test_the_table_of_the_guide_is_true():
    shown = {
        (b"a", False): b"a",
        (b"a", True): b"%file%a",
        (b"", False): b"%file%",
        (b"/", False): b"%dir%",
        (b"./", False): b"%dir%.",
        (b"../", False): b"%dir%..",
        (b".", False): b"%file%.",
        (b"a\0b", False): b"%file%a%00b",
        (b"a\0b/", False): b"%dir%a%00b",
        (b"%file%a", False): b"%file%%25file%25a",
        (b"%dir%/", False): b"%dir%%25dir%25",
        (b"%versions%", False): b"%file%%25versions%25",
        (b"%versions%/", False): b"%dir%%25versions%25",
        (b".versions/", False): b".versions",
        (b"100%", False): b"100%",
        (b"%file", False): b"%file",
    }
    for (stored, beside), visible in shown.items():
        assert visible_name(stored, beside_directory=beside) == visible
        assert stored in parse(visible).candidates
    with pytest.raises(InvalidArgument):
        stored_name_to_make(VERSIONS, directory=True)
