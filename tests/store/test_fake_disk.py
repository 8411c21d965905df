"""What the disk in memory forgets at a power cut, and what it must never forget.

Room: tests. May import: stratum.store, tests.fakes.
"""

import errno
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum.core.errors import DiskFailed, StoreFull
from stratum.store import failpoints
from stratum.store.disk import CallFailed, FileMissing
from tests.fakes.disk import BLOCK, FakeDisk, FakeFile

P = "shard"
seeds = st.integers(0, 2**32)


def make(disk: FakeDisk, path: str, content: bytes, *, named: bool = True) -> FakeFile:
    file = disk.create(path, purpose=P)
    file.append([content], purpose=P)
    file.fsync(purpose=P)
    if named:
        disk.fsync_directory(path.rpartition("/")[0], purpose=P)
    return file


def outcomes(prepare: Callable[[FakeDisk], object]) -> set[tuple[tuple[str, bytes], ...]]:
    """Everything that a hundred power cuts leave of what `prepare` did."""
    found = set()
    for seed in range(100):
        disk = FakeDisk(0)
        prepare(disk)
        disk.cut_power(random.Random(seed))
        found.add(tuple((path, disk.content(path)) for path in disk.paths()))
    return found


@given(seeds, st.lists(st.tuples(st.sampled_from("abc"), st.binary(max_size=3 * BLOCK)), max_size=5))
def test_what_was_synced_with_its_name_survives_every_cut(seed: int, files: list[tuple[str, bytes]]) -> None:
    disk = FakeDisk(0)
    kept = {}
    for number, (folder, content) in enumerate(files):
        make(disk, f"{folder}/{number}", content)
        kept[f"{folder}/{number}"] = content
    disk.cut_power(random.Random(seed))
    assert {path: disk.content(path) for path in disk.paths()} == kept


def test_an_fsynced_file_without_its_folder_synced_may_lose_its_name_but_no_byte() -> None:
    assert outcomes(lambda disk: make(disk, "f", b"bytes", named=False)) == {(), (("f", b"bytes"),)}


def test_a_synced_name_without_fsync_may_come_back_empty_or_torn() -> None:
    def prepare(disk: FakeDisk) -> None:
        disk.create("f", purpose=P).append([b"a" * BLOCK, b"b" * BLOCK], purpose=P)
        disk.fsync_directory("", purpose=P)

    a, b, lost = b"a" * BLOCK, b"b" * BLOCK, bytes(BLOCK)
    found = {content for ((_, content),) in outcomes(prepare)}
    assert {b"", a, a + b, lost + b} <= found <= {b"", a, a + b, lost + b, a + lost, lost + lost}


def test_a_rename_survives_whole_or_not_at_all() -> None:
    def prepare(disk: FakeDisk) -> None:
        make(disk, "new.tmp", b"new")
        make(disk, "name", b"old")
        disk.rename("new.tmp", "name", purpose=P)

    before = (("name", b"old"), ("new.tmp", b"new"))
    assert outcomes(prepare) == {before, (("name", b"new"),)}


def test_a_renamed_file_that_was_not_fsynced_loses_old_and_new() -> None:
    def prepare(disk: FakeDisk) -> None:
        make(disk, "name", b"old")
        disk.create("tmp", purpose=P).append([b"new"], purpose=P)
        disk.rename("tmp", "name", purpose=P)
        disk.fsync_directory("", purpose=P)

    assert (("name", b""),) in outcomes(prepare)


def test_an_unlink_is_lost_or_kept_and_kept_for_sure_once_the_folder_is_synced() -> None:
    def unlink(disk: FakeDisk) -> None:
        make(disk, "f", b"x")
        disk.unlink("f", purpose=P)

    def unlink_for_good(disk: FakeDisk) -> None:
        unlink(disk)
        disk.fsync_directory("", purpose=P)

    assert outcomes(unlink) == {(), (("f", b"x"),)}
    assert outcomes(unlink_for_good) == {()}


def test_the_last_word_on_a_name_wins_even_if_synced_out_of_order() -> None:
    def prepare(disk: FakeDisk) -> None:
        make(disk, "b/name", b"old")
        make(disk, "a/name", b"new")
        disk.unlink("b/name", purpose=P)
        disk.rename("a/name", "b/name", purpose=P)
        disk.fsync_directory("a", purpose=P)  # makes the rename durable, the unlink before it is not

    assert outcomes(prepare) == {(("b/name", b"new"),)}


def test_an_overwritten_block_comes_back_old_or_new() -> None:
    def prepare(disk: FakeDisk) -> None:
        file = make(disk, "f", b"old")
        file.append([b" and more"], purpose=P)

    assert {content for ((_, content),) in outcomes(prepare)} == {b"old", b"old and more", b"old" + bytes(9)}


def test_folders_made_for_a_file_are_durable_before_the_file(seed: int = 1) -> None:
    disk = FakeDisk(0)
    make(disk, "a/b/f", b"x")
    disk.cut_power(random.Random(seed))
    assert disk.list("a/b", purpose=P) == ["f"]


def test_files_open_at_the_cut_are_dead_afterwards() -> None:
    disk = FakeDisk(0)
    file = make(disk, "f", b"x")
    disk.cut_power(random.Random(1))
    for call in (lambda: file.read(0, 1, purpose=P), lambda: file.append([b"y"], purpose=P)):
        with pytest.raises(CallFailed, match="power was cut"):
            call()
    assert disk.open("f", purpose=P).read(0, 9, purpose=P) == b"x"


def test_the_same_seed_gives_the_same_cut() -> None:
    def once() -> list[bytes]:
        disk = FakeDisk(0)
        for number in range(20):
            disk.create(str(number), purpose=P).append([bytes([number]) * 3 * BLOCK], purpose=P)
        disk.cut_power(random.Random(5))
        return [disk.content(path) for path in disk.paths()]

    assert once() == once()


def test_bytes_of_a_failed_fsync_are_gone_although_they_can_be_read() -> None:
    disk = FakeDisk(0)
    file = make(disk, "f", b"old")
    file.append([b"new"], purpose=P)
    disk.inject(errno.EIO, op="fsync")
    with pytest.raises(CallFailed):
        file.fsync(purpose=P)
    assert disk.content("f") == b"oldnew"
    disk.cut_power(random.Random(1))
    assert disk.content("f") == b"old"


# --- faults ---------------------------------------------------------------------------------------------------


def test_faults_hit_the_chosen_calls_only() -> None:
    disk = FakeDisk(0)
    disk.inject(errno.EIO, purpose="journal", op="append", path="journal/*", skip=1, times=2)
    journal = disk.create("journal/1", purpose="journal")
    journal.append([b"ok"], purpose="journal")
    for _ in range(2):
        with pytest.raises(CallFailed):
            journal.append([b"hit"], purpose="journal")
    journal.append([b"ok"], purpose="journal")
    disk.create("f", purpose=P).append([b"ok"], purpose=P)
    assert disk.content("journal/1") == b"okok"


def test_an_append_may_fail_half_way() -> None:
    disk = FakeDisk(0)
    file = disk.create("f", purpose=P)
    disk.inject(errno.ENOSPC, op="append", written=3)
    with pytest.raises(StoreFull):
        file.append([b"12345"], purpose=P)
    assert (file.size, disk.content("f")) == (0, b"123")
    file.append([b"ab"], purpose=P)
    assert disk.content("f") == b"ab3"


def test_a_failed_disk_fails_every_call_until_it_is_healed() -> None:
    disk = FakeDisk(0)
    file = make(disk, "f", b"x")
    disk.fail()
    for call in (disk.space, lambda: disk.list("", purpose=P), lambda: file.read(0, 1, purpose=P)):
        with pytest.raises(DiskFailed):
            call()
    disk.heal()
    assert file.read(0, 1, purpose=P) == b"x"


def test_a_full_disk_takes_what_fits_and_has_room_again_after_an_unlink() -> None:
    disk = FakeDisk(0, capacity=10)
    file = disk.create("f", purpose=P)
    file.append([b"12345678"], purpose=P)
    assert disk.space() == (10, 2)
    with pytest.raises(StoreFull):
        file.append([b"abcd"], purpose=P)
    with pytest.raises(StoreFull):
        disk.create("g", purpose=P)
    disk.unlink("f", purpose=P)
    disk.create("g", purpose=P).append([b"0123456789"], purpose=P)
    assert disk.space().free == 0


def test_damage_is_found_where_it_was_done_and_survives_a_cut() -> None:
    disk = FakeDisk(0)
    make(disk, "f", b"\0\0\0")
    disk.flip_bit("f", 1, bit=7)
    disk.cut_power(random.Random(1))
    assert disk.content("f") == b"\0\x80\0"
    disk.truncate("f", 2)
    assert disk.open("f", purpose=P).size == 2


def test_removing_a_folder_takes_everything_below_it() -> None:
    disk = FakeDisk(0)
    file = make(disk, "a/b/f", b"x")
    make(disk, "ab", b"y")
    disk.remove("a")
    assert disk.paths() == ["ab"]
    with pytest.raises(CallFailed):
        file.fsync(purpose=P)
    with pytest.raises(FileMissing):
        disk.open("a/b/f", purpose=P)


def test_a_wiped_disk_is_another_empty_folder() -> None:
    disk = FakeDisk(0)
    make(disk, "f", b"x")
    before = disk.folder_id
    disk.wipe()
    assert disk.list("", purpose=P) == []
    assert disk.folder_id != before
    assert disk.space().free == disk.capacity


def test_a_hook_may_cut_the_power_in_the_middle_of_a_call() -> None:
    disk = FakeDisk(0)
    file = make(disk, "f", b"x")

    def cut(point: str) -> None:
        if point == "before shard.fsync":
            disk.cut_power(random.Random(3))

    file.append([b"y"], purpose=P)
    failpoints.set_hook(cut)
    try:
        with pytest.raises(CallFailed):
            file.fsync(purpose=P)
    finally:
        failpoints.set_hook(None)
