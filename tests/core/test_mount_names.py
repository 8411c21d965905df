"""Both doors on one tree: whatever they do in whatever order, it equals a model on whole paths.

Room: tests. May import: stratum.core, tests.
"""

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stratum.core.alias import visible_names
from stratum.core.errors import (
    DirectoryNotEmpty,
    EntryExists,
    NoSuchInode,
    NoSuchKey,
    NotADirectory,
    NotPermitted,
    StratumError,
)
from stratum.core.namespace import (
    Change,
    Renamed,
    add,
    children,
    drop,
    find,
    get_entry,
    lookup,
    make_directory,
    path_of,
    put_entry,
    remove_directory,
    remove_entry,
    rename,
    resolve,
    take_marker,
    target_name,
    visible_children,
)
from stratum.core.records import Entry, Inode, Kind
from stratum.core.schema import ROOT_INODE, inode_key, orphan_key
from stratum.core.txn import load, save
from tests.core.path_model import PathModel
from tests.core.tree import BUCKET_ROOT, MAKER, all_entries, check_tree, directories, listed, new_bucket
from tests.fakes.txn import MemoryTxn
from tests.strategies import unhurried

FIRST_OBJECT = 1_000_000
NOW = 30


def an_object(txn, number: int) -> int:
    """Store the record of a file; an even number has no bytes."""
    save(txn, inode_key(number), Inode(Kind.OBJECT, 0o100644, 1, 2, 1, number % 2, 5, 5, 5, 5))
    return number


def put(txn, key: bytes, number: int):
    return put_entry(txn, BUCKET_ROOT, key, an_object(txn, number), Kind.OBJECT, MAKER)


def remove(txn, key: bytes):
    return remove_entry(txn, BUCKET_ROOT, key, NOW)


def inode_of(txn, path: bytes) -> int | None:
    """The inode of a directory by its path, None if there is none."""
    here = BUCKET_ROOT
    for name in path.split(b"/")[:-1]:
        entry = get_entry(txn, here, name + b"/")
        if entry is None:
            return None
        here = entry.inode
    return here


class Tree:
    """The real thing, spoken to in paths as the model is. `None` in place of an inode: a directory."""

    def __init__(self) -> None:
        self.txn = new_bucket()

    def put(self, key, inode):
        put(self.txn, key, inode)

    def remove(self, key):
        return remove(self.txn, key)[0] is not None

    def make(self, path, inode, *, beside=False):
        parent, name = self._place(path)
        if inode is None:
            make_directory(self.txn, parent, name, MAKER, beside=beside)
        else:
            add(self.txn, parent, name, an_object(self.txn, inode), Kind.OBJECT, NOW, beside=beside)

    def unlink(self, path):
        drop(self.txn, *self._place(path), NOW)

    def rmdir(self, path):
        parent, name = self._place(path)
        entry = get_entry(self.txn, parent, name)
        if entry is not None and entry.kind is Kind.DIRECTORY:
            take_marker(self.txn, entry.inode)
        remove_directory(self.txn, parent, name, NOW)

    def rename(self, old, new, **how):
        rename(self.txn, *self._place(old), *self._place(new), NOW, **how)

    def _place(self, path):
        at = path.rstrip(b"/").rfind(b"/") + 1
        return inode_of(self.txn, path[:at]), path[at:]


NAMES = [b"a", b"b", b"a/", b"b/"]
KEYS = [b"a", b"b", b"a/", b"a/b", b"b/a", b"a/a/", b"a/b/a", b"b/a/b"]
at = st.integers(0, 30)  # which of the places that are there: any number is one, so that few steps are void
new_places = st.tuples(at, st.sampled_from(NAMES))
three_flags = st.tuples(st.booleans(), st.booleans(), st.booleans())
actions = st.one_of(
    st.tuples(st.just("put"), st.sampled_from(KEYS)),
    st.tuples(st.just("remove"), st.sampled_from(KEYS)),
    st.tuples(st.just("make"), new_places, st.booleans()),
    st.tuples(st.just("link"), at, new_places),
    st.tuples(st.just("unlink"), at),
    st.tuples(st.just("rmdir"), at),
    st.tuples(st.just("rename"), at, new_places, st.just((False, False, False))),
    st.tuples(st.just("rename"), at, new_places, three_flags),
    st.tuples(st.just("exchange"), at, at),
)


def call_of(action, number: int, model: PathModel):
    """(verb, arguments, how): the action on places that are there, or None if there is none."""

    def new(place) -> bytes:
        return sorted(model.directories)[place[0] % len(model.directories)] + place[1]

    def old(place: int) -> bytes:
        return names[place % len(names)]

    verb, first, *rest = action
    names = sorted(model.names() - {b""})
    if verb == "put":
        return verb, (first, number), {}
    if verb == "remove":
        return verb, (first,), {}
    if verb == "make":
        path = new(first)
        return verb, (path, None if path.endswith(b"/") else number), {"beside": rest[0]}
    if not names:
        return None
    if verb in ("unlink", "rmdir"):
        return verb, (old(first),), {}
    if verb == "link":
        inode = model.objects.get(old(first))
        return inode and ("make", (new(rest[0]).removesuffix(b"/"), inode), {})
    noreplace, exchange, beside = rest[1] if verb == "rename" else (False, True, True)
    to = new(rest[0]) if verb == "rename" else old(rest[0])
    how = {"noreplace": noreplace and not exchange, "exchange": exchange, "beside": beside}
    return "rename", (old(first), to), how


def outcome(side, verb, given_arguments, how):
    try:
        return getattr(side, verb)(*given_arguments, **how)
    except StratumError as error:
        return type(error)


@settings(unhurried, max_examples=250)
@given(st.lists(actions, min_size=1, max_size=20))
@example([("make", (0, b"a/"), False), ("put", b"a/"), ("remove", b"a/")])
@example([("make", (0, b"a/"), False), *[(verb, b"a/b") for verb in ("put", "remove", "remove")], ("remove", b"a/")])
@example([("make", (0, b"a/"), False), ("make", (1, b"a/"), False), ("remove", b"a/a/")])
@example([("make", (0, b"a/"), False), ("make", (0, b"b/"), False), ("rename", 0, (0, b"b/"), (False,) * 3)])
def test_both_doors_on_one_tree_equal_a_model_on_paths(steps):
    tree, model = Tree(), PathModel()
    for number, action in enumerate(steps, FIRST_OBJECT):
        call = call_of(action, number, model)
        if call is None:
            continue
        before = dict(tree.txn.rows)
        expected = outcome(model, *call)
        assert outcome(tree, *call) == expected, call
        if isinstance(expected, type):
            tree.txn = MemoryTxn(before)  # a change that raises leaves nothing behind
        check_tree(tree.txn)
        compare(tree.txn, model)


def compare(txn, model: PathModel) -> None:
    assert [key for key, _ in listed(txn)] == model.listing()
    assert {key: inode for key, inode in listed(txn) if key in model.objects} == model.objects
    explicit = {path_of(txn, number): it.explicit for number, it in directories(txn).items() if number != ROOT_INODE}
    assert explicit == {(BUCKET_ROOT, path): explicit for path, explicit in model.directories.items()}
    for key in KEYS:
        assert (resolve(txn, BUCKET_ROOT, key) is not None) == (key in model.listing())
        assert [found for found, _ in listed(txn, start=key)] == [found for found in model.listing() if found >= key]


# --- names as the kernel asks for them --------------------------------------------------------------------------


SHOWN = [b"a", b"a/", b"b", b"%file%a", b"", b"/", b"..", b"./", b"x" * 300, b"x" * 300 + b"/", b"c\0/"]


@unhurried
@given(st.sets(st.sampled_from(SHOWN)))
def test_every_entry_is_shown_and_found_under_what_is_shown(names):
    txn = new_bucket()
    for number, name in enumerate(sorted(names), 1001):
        if name.endswith(b"/"):
            make_directory(txn, BUCKET_ROOT, name, MAKER, beside=True)
        else:
            add(txn, BUCKET_ROOT, name, an_object(txn, number | 1), Kind.OBJECT, NOW, beside=True)
    shown = list(visible_children(txn, BUCKET_ROOT))
    assert {visible: stored for visible, stored, _ in shown} == visible_names(names)
    assert [stored for _, stored, _ in shown] == sorted(names)
    for visible, stored, entry in shown:
        assert find(txn, BUCKET_ROOT, visible) == (stored, entry)
        assert target_name(txn, BUCKET_ROOT, visible, directory=False) == stored


def test_reading_a_directory_goes_on_behind_a_name_even_if_that_is_gone():
    txn = new_bucket()
    for number, name in enumerate([b"a", b"b", b"c"], 1001):
        add(txn, BUCKET_ROOT, name, an_object(txn, number), Kind.OBJECT, NOW)
    drop(txn, BUCKET_ROOT, b"b", NOW)
    assert [name for name, _ in children(txn, BUCKET_ROOT, b"b")] == [b"c"]
    assert [name for name, _, _ in visible_children(txn, BUCKET_ROOT, b"a")] == [b"c"]
    assert [name for name, _ in children(txn, BUCKET_ROOT)] == [b"a", b"c"]


def test_a_plain_name_leads_to_the_directory_before_the_object():
    txn = new_bucket()
    put(txn, b"a", 1001)
    assert lookup(txn, BUCKET_ROOT, b"a").inode == 1001
    put(txn, b"a/b", 1003)
    assert lookup(txn, BUCKET_ROOT, b"a").kind is Kind.DIRECTORY
    assert lookup(txn, BUCKET_ROOT, b"b") is None
    assert find(txn, BUCKET_ROOT, b"a")[0] == b"a/"
    assert find(txn, BUCKET_ROOT, b"%file%a")[1].inode == 1001


def test_a_new_name_is_stored_as_what_it_shall_be():
    txn = new_bucket()
    assert target_name(txn, BUCKET_ROOT, b"a", directory=True) == b"a/"
    assert target_name(txn, BUCKET_ROOT, b"%file%..", directory=False) == b".."


def test_an_object_of_the_directorys_own_name_is_shown_only_with_bytes():
    txn = new_bucket()
    put(txn, b"d/", 1002)
    directory = inode_of(txn, b"d/")
    assert list(visible_children(txn, directory)) == []
    put(txn, b"d/", 1001)
    assert [name for name, _, _ in visible_children(txn, directory)] == [b"%file%"]
    assert take_marker(txn, directory) is None
    with pytest.raises(DirectoryNotEmpty):
        remove_directory(txn, BUCKET_ROOT, b"d/", NOW)


def test_a_folder_that_an_s3_tool_made_can_be_removed_like_an_empty_directory():
    txn = new_bucket()
    put(txn, b"d/", 1002)
    assert take_marker(txn, inode_of(txn, b"d/")).inode == 1002
    remove_directory(txn, BUCKET_ROOT, b"d/", NOW)
    assert all_entries(txn) == {}


# --- records ----------------------------------------------------------------------------------------------------


def test_a_directory_removed_while_open_keeps_its_record_but_takes_no_names():
    txn = new_bucket()
    number, _ = make_directory(txn, BUCKET_ROOT, b"d/", MAKER)
    remove_directory(txn, BUCKET_ROOT, b"d/", NOW, is_open=lambda inode: inode == number)
    assert load(txn, inode_key(number), Inode).nlink == 0
    assert load(txn, orphan_key(number), int) == 1
    with pytest.raises(NoSuchInode):
        add(txn, number, b"f", 1001, Kind.OBJECT, NOW)
    with pytest.raises(NoSuchInode):
        path_of(txn, number)


def test_a_directory_that_goes_takes_its_record_along():
    txn = new_bucket()
    number, made = make_directory(txn, BUCKET_ROOT, b"d/", MAKER)
    gone = remove_directory(txn, BUCKET_ROOT, b"d/", NOW)
    assert txn.get(inode_key(number)) is None
    assert made == [Change(BUCKET_ROOT, b"d/", number, removed=False)]
    assert gone == [Change(BUCKET_ROOT, b"d/", number, removed=True)]


def test_a_change_sets_the_times_of_the_directories_it_changed():
    txn = new_bucket()
    for name in (b"one/", b"two/"):
        make_directory(txn, BUCKET_ROOT, name, MAKER)
    one, two = inode_of(txn, b"one/"), inode_of(txn, b"two/")
    make_directory(txn, one, b"d/", MAKER)
    moved = inode_of(txn, b"one/d/")
    rename(txn, one, b"d/", two, b"e/", 99)
    records = directories(txn)
    assert (records[one].mtime, records[one].ctime, records[two].mtime) == (99, 99, 99)
    assert (records[moved].mtime, records[moved].ctime) == (MAKER.now, 99)
    assert records[BUCKET_ROOT].mtime == MAKER.now


def test_the_path_of_a_directory_is_that_of_its_bucket_and_what_its_keys_begin_with():
    txn = new_bucket()
    put(txn, b"a//b/c", 1001)
    assert path_of(txn, inode_of(txn, b"a//b/")) == (BUCKET_ROOT, b"a//b/")
    assert path_of(txn, BUCKET_ROOT) == (BUCKET_ROOT, b"")
    assert path_of(txn, ROOT_INODE) == (ROOT_INODE, b"")


# --- rename -----------------------------------------------------------------------------------------------------


def test_a_rename_tells_what_it_replaced_and_what_the_kernel_must_forget():
    txn = new_bucket()
    old, new = (add(txn, BUCKET_ROOT, name, 1000 + n, Kind.OBJECT, NOW)[0] for n, name in enumerate([b"a", b"b"]))
    assert rename(txn, BUCKET_ROOT, b"a", BUCKET_ROOT, b"b", NOW) == Renamed(
        moved=old,
        replaced=new,
        changes=(Change(BUCKET_ROOT, b"a", 1000, removed=True), Change(BUCKET_ROOT, b"b", 1001, removed=False)),
    )


def test_a_directory_replaces_a_folder_that_an_s3_tool_made_and_hands_its_marker_back():
    txn = new_bucket()
    put(txn, b"d/", 1002)
    replaced = inode_of(txn, b"d/")
    make_directory(txn, BUCKET_ROOT, b"e/", MAKER)
    done = rename(txn, BUCKET_ROOT, b"e/", BUCKET_ROOT, b"d/", NOW)
    assert (done.replaced.inode, done.marker.inode) == (replaced, 1002)
    assert txn.get(inode_key(replaced)) is None


def test_a_rename_reaches_into_another_bucket_but_never_moves_one():
    txn = new_bucket()
    other, _ = make_directory(txn, ROOT_INODE, b"other/", MAKER)
    put(txn, b"d/deep/er", 1001)
    rename(txn, BUCKET_ROOT, b"d/", other, b"moved/", NOW)
    assert resolve(txn, other, b"moved/deep/er").inode == 1001
    assert listed(txn) == []
    for places in [(ROOT_INODE, b"other/", BUCKET_ROOT, b"x/"), (other, b"moved/", ROOT_INODE, b"x/")]:
        with pytest.raises(NotPermitted):
            rename(txn, *places, NOW)


def test_a_rename_of_a_huge_directory_is_a_small_change():
    txn = new_bucket()
    for number in range(200):
        put(txn, b"d/%d" % number, 1001 + number)
    before = dict(txn.rows)
    rename(txn, BUCKET_ROOT, b"d/", BUCKET_ROOT, b"e/", NOW)
    changed = {key for key in {*before, *txn.rows} if before.get(key) != txn.rows.get(key)}
    assert len(changed) == 4  # two entries, the directory, its parent


def test_a_rename_into_a_removed_directory_is_refused():
    txn = new_bucket()
    put(txn, b"a", 1001)
    number, _ = make_directory(txn, BUCKET_ROOT, b"d/", MAKER)
    remove_directory(txn, BUCKET_ROOT, b"d/", NOW, is_open=lambda _: True)
    with pytest.raises(NoSuchInode):
        rename(txn, BUCKET_ROOT, b"a", number, b"a", NOW)


def test_what_is_not_there_or_of_the_wrong_kind_is_said_so():
    txn = new_bucket()
    put(txn, b"a", 1001)
    with pytest.raises(NotADirectory):
        remove_directory(txn, BUCKET_ROOT, b"a", NOW)
    with pytest.raises(NoSuchKey):
        drop(txn, BUCKET_ROOT, b"b", NOW)
    with pytest.raises(EntryExists):
        make_directory(txn, BUCKET_ROOT, b"a/", MAKER)


def test_an_entry_that_moves_is_still_the_same_entry():
    txn = new_bucket()
    entry, _ = add(txn, BUCKET_ROOT, b"a", 1001, Kind.OBJECT, NOW)
    rename(txn, BUCKET_ROOT, b"a", BUCKET_ROOT, b"b", NOW)
    assert get_entry(txn, BUCKET_ROOT, b"b") == Entry(*msgspec.structs.astuple(entry))
