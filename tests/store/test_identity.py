"""Which folder is accepted as which disk.

Room: tests. May import: stratum.core, stratum.store, tests.fakes.
"""

import errno
import itertools
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum.core.errors import DiskFailed, ForeignDisk
from stratum.core.records import Disk as DiskRecord
from stratum.store import failpoints
from stratum.store.disk import Disk, FolderDisk
from stratum.store.identity import NAME, Joined, claim, join, read_identity, try_out
from tests.fakes.disk import FakeDisk

STORE = bytes(range(16))
OTHER = bytes(16)


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    return [tmp_path / "disks" / str(number) for number in range(4)]


@pytest.fixture
def first(paths: list[Path]) -> Joined:
    return join(paths, {}, STORE, created=7)


def ids(joined: Joined) -> dict[int, str]:
    return {slot: record.identity for slot, record in joined.records.items()}


# --- the identity file ----------------------------------------------------------------------------------------


def test_a_claimed_disk_says_who_it_is() -> None:
    disk = FakeDisk(2)
    assert read_identity(disk) is None
    identity = claim(disk, STORE, 2, created=123)
    assert read_identity(disk) == identity
    assert (identity.store, identity.slot, identity.created) == (STORE.hex(), 2, 123)
    assert json.loads(disk.content(NAME))["disk"] == identity.disk
    assert disk.open_files == 0


@given(st.integers(0, 30), st.integers())
def test_a_claim_that_is_cut_off_anywhere_leaves_an_empty_or_a_claimed_disk(steps: int, seed: int) -> None:
    disk = FakeDisk(0)
    countdown = itertools.count(steps, -1)

    class Cut(Exception):
        pass

    def hook(_: str) -> None:
        if next(countdown) == 0:
            raise Cut

    failpoints.set_hook(hook)
    try:
        claim(disk, STORE, 0, created=1)
        done = True
    except Cut:
        done = False
    finally:
        failpoints.set_hook(None)
    disk.cut_power(random.Random(seed))
    joined = join([Path("x")], {0: DiskRecord("", False, "x")}, STORE, open_disk=lambda slot, path: disk)
    assert joined.new == [0], joined.problems
    identity = read_identity(disk)
    assert identity is not None
    assert identity.slot == 0
    assert not done or disk.calls["identity", "rename"] == 1, "what was claimed durably is not claimed again"


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b'{"format": 1}', b"[]", b"\0" * 100])
def test_an_identity_that_makes_no_sense_is_refused(content: bytes) -> None:
    disk = FakeDisk(0)
    disk.create(NAME, purpose="identity").append([content], purpose="identity")
    with pytest.raises(ForeignDisk):
        read_identity(disk)


def test_an_identity_of_a_later_format_is_refused() -> None:
    disk = FakeDisk(0)
    later = {"format": 2, "store": STORE.hex(), "disk": "0" * 32, "slot": 0, "created": 0}
    disk.create(NAME, purpose="identity").append([json.dumps(later).encode()], purpose="identity")
    with pytest.raises(ForeignDisk, match="format 2"):
        read_identity(disk)


def test_a_disk_is_tried_out_by_a_write_and_leaves_no_trace() -> None:
    disk = FakeDisk(0)
    try_out(disk)
    assert disk.paths() == []
    disk.inject(errno.ENOSPC, op="append", times=None)
    try_out(disk)
    disk.inject(errno.EIO, op="fsync")
    disk.heal()
    disk.inject(errno.EROFS, op="create")
    with pytest.raises(DiskFailed):
        try_out(disk)


# --- joining --------------------------------------------------------------------------------------------------


def test_a_new_store_makes_and_claims_its_folders(paths: list[Path], first: Joined) -> None:
    assert sorted(first.disks) == first.new == [0, 1, 2, 3]
    assert first.problems == []
    for slot, path in enumerate(paths):
        identity = read_identity(FolderDisk(0, path))
        assert identity is not None
        assert (identity.slot, identity.disk, identity.created) == (slot, ids(first)[slot], 7)
        assert first.records[slot] == DiskRecord(identity.disk, False, str(path))


@pytest.mark.parametrize("order", list(itertools.permutations(range(4)))[1::5])
def test_disks_are_known_whatever_the_order_of_their_paths(
    paths: list[Path], first: Joined, order: tuple[int, ...]
) -> None:
    again = join([paths[number] for number in order], first.records, STORE)
    assert ids(again) == ids(first)
    assert {slot: disk.name for slot, disk in again.disks.items()} == {n: str(paths[n]) for n in range(4)}
    assert {slot: disk.slot for slot, disk in again.disks.items()} == {n: n for n in range(4)}
    assert (again.new, again.problems, again.absent) == ([], [], {})


def test_disks_are_known_without_any_record_of_them(paths: list[Path], first: Joined) -> None:
    again = join(list(reversed(paths)), {}, STORE)
    assert (ids(again), again.new) == (ids(first), [])


def test_a_disk_of_another_store_is_refused(tmp_path: Path, paths: list[Path], first: Joined) -> None:
    foreign = join([tmp_path / "foreign"], {}, OTHER)
    shutil.rmtree(paths[1])
    shutil.copytree(tmp_path / "foreign", paths[1])
    again = join(paths, first.records, STORE)
    assert sorted(again.disks) == [0, 2, 3]
    assert "another store" in again.absent[1].reason
    assert ids(foreign)[0] in (paths[1] / NAME).read_text()


def test_a_folder_with_files_but_no_identity_is_refused(paths: list[Path], first: Joined) -> None:
    (paths[1] / NAME).rename(paths[1] / "somebody's file")
    again = join(paths, first.records, STORE)
    assert sorted(again.disks) == [0, 2, 3]
    assert "holds files" in again.absent[1].reason


def test_a_slot_that_never_had_a_disk_is_absent_with_its_reason(paths: list[Path]) -> None:
    paths[1].mkdir(parents=True)
    (paths[1] / "somebody's file").touch()
    joined = join(paths, {}, STORE)
    assert sorted(joined.disks) == [0, 2, 3]
    assert joined.absent[1].path == str(paths[1])
    assert "holds files" in joined.absent[1].reason


def test_a_missing_folder_of_a_known_disk_is_not_made(paths: list[Path], first: Joined) -> None:
    shutil.rmtree(paths[2])
    again = join(paths, first.records, STORE)
    assert sorted(again.disks) == [0, 1, 3]
    assert "no such folder" in again.absent[2].reason
    assert again.absent[2].path == str(paths[2])
    assert not paths[2].exists()


@pytest.mark.parametrize("leftover", [None, "lost+found", f"{NAME}.tmp"])
def test_an_empty_folder_is_adopted_as_a_replacement(paths: list[Path], first: Joined, leftover: str | None) -> None:
    shutil.rmtree(paths[2])
    paths[2].mkdir()
    if leftover is not None:
        (paths[2] / leftover).mkdir() if leftover == "lost+found" else (paths[2] / leftover).touch()
    again = join(paths, first.records, STORE)
    assert again.new == [2]
    assert again.records[2].identity != first.records[2].identity
    assert join(paths, again.records, STORE).new == []


def test_empty_folders_fill_the_slots_that_lack_a_disk_when_paths_are_permuted(
    paths: list[Path], first: Joined
) -> None:
    shutil.rmtree(paths[2])
    paths[2].mkdir()
    again = join([paths[2], paths[0], paths[1], paths[3]], first.records, STORE)
    assert again.new == [2]
    assert again.disks[2].name == str(paths[2])


def test_a_further_empty_folder_becomes_a_further_slot(tmp_path: Path, paths: list[Path], first: Joined) -> None:
    (tmp_path / "more").mkdir()
    for order in ([*paths, tmp_path / "more"], [tmp_path / "more", *paths]):
        again = join(order, first.records, STORE)
        assert sorted(again.disks) == [0, 1, 2, 3, 4]
        assert again.disks[4].name == str(tmp_path / "more")


def test_one_disk_shown_at_two_paths_is_taken_once(tmp_path: Path, paths: list[Path], first: Joined) -> None:
    (tmp_path / "again").symlink_to(paths[0])
    again = join([*paths, tmp_path / "again"], first.records, STORE)
    assert sorted(again.disks) == [0, 1, 2, 3]
    assert "has another disk already" in dict(again.problems)[tmp_path / "again"]


def test_a_disk_that_was_replaced_is_not_used_beside_its_replacement(
    tmp_path: Path, paths: list[Path], first: Joined
) -> None:
    paths[1].rename(tmp_path / "old")
    paths[1].mkdir()
    replaced = join(paths, first.records, STORE)
    again = join([paths[0], tmp_path / "old", paths[1], *paths[2:]], replaced.records, STORE)
    assert ids(again) == ids(replaced)
    assert again.new == []
    assert "another disk already" in dict(again.problems)[tmp_path / "old"]


def test_a_replacement_that_no_record_knows_is_new_again(paths: list[Path], first: Joined) -> None:
    shutil.rmtree(paths[1])
    paths[1].mkdir()
    claimed = join(paths, first.records, STORE)
    again = join(paths, first.records, STORE)  # the record of the claim was lost in a crash
    assert again.new == [1]
    assert ids(again) == ids(claimed)


def opener(disks: dict[str, FakeDisk]) -> Callable[[int, Path], Disk]:
    return lambda slot, path: disks[str(path)]


def test_an_empty_folder_in_place_of_a_missing_mount_is_refused() -> None:
    names = [Path("0"), Path("1")]
    disks = {str(name): FakeDisk(0, own_filesystem=True) for name in names}
    first = join(names, {1: DiskRecord("", True, "1")}, STORE, open_disk=opener(disks))
    assert first.records[0].own_filesystem
    disks["1"] = FakeDisk(1, own_filesystem=False)
    again = join(names, first.records, STORE, open_disk=opener(disks))
    assert sorted(again.disks) == [0]
    assert "not mounted" in again.absent[1].reason
    disks["1"] = FakeDisk(1, own_filesystem=True)
    assert join(names, first.records, STORE, open_disk=opener(disks)).new == [1]


def test_a_disk_that_cannot_be_read_or_claimed_is_a_problem_not_a_crash() -> None:
    names = [Path("0"), Path("1")]
    disks = {"0": FakeDisk(0), "1": FakeDisk(1)}
    known = {slot: DiskRecord(str(slot), False, str(slot)) for slot in range(2)}
    disks["0"].fail()
    disks["1"].inject(errno.EIO, op="fsync")
    joined = join(names, known, STORE, open_disk=opener(disks))
    assert joined.disks == {}
    assert sorted(joined.absent) == [0, 1]
    assert all("error" in reason for _, reason in joined.problems)
