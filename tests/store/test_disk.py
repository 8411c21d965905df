"""What every disk promises, the real one and the one in memory alike.

Room: tests. May import: stratum.store, tests.fakes.
"""

import errno
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stratum.core.errors import Busy, DiskFailed, StoreFull
from stratum.store import failpoints
from stratum.store.disk import CallFailed, Disk, FileExists, FileMissing, FolderDisk
from tests.fakes.disk import FakeDisk

P = "shard"


@pytest.fixture(params=["folder", "memory"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Disk:
    return FolderDisk(3, tmp_path) if request.param == "folder" else FakeDisk(3)


@pytest.fixture
def points() -> Iterator[list[str]]:
    reached: list[str] = []
    failpoints.set_hook(reached.append)
    yield reached
    failpoints.set_hook(None)


@pytest.fixture
def fail_at() -> Iterator[Callable[[str, int], None]]:
    def fail(point: str, error: int) -> None:
        def hook(name: str) -> None:
            if name == point:
                raise OSError(error, os.strerror(error))

        failpoints.set_hook(hook)

    yield fail
    failpoints.set_hook(None)


# --- files ----------------------------------------------------------------------------------------------------


def test_what_was_appended_is_read_back_at_its_place(disk: Disk) -> None:
    file = disk.create("a/b/c", purpose=P)
    file.append([b"one", memoryview(b"two"), b""], purpose=P)
    file.append([], purpose=P)
    file.append([bytearray(b"three")], purpose=P)
    assert file.size == 11 == disk.size("a/b/c")
    assert file.read(0, 11, purpose=P) == b"onetwothree"
    assert file.read(3, 3, purpose=P) == b"two"
    assert file.read(9, 100, purpose=P) == b"ee"
    assert file.read(50, 5, purpose=P) == b""


def test_what_is_laid_out_are_zeros_behind_the_end_and_is_written_over(disk: Disk) -> None:
    file = disk.create("a", purpose=P)
    file.append([b"one"], purpose=P)
    file.lay_out(3, 9, purpose=P)
    assert file.size == 3
    assert file.read(0, 100, purpose=P) == b"one" + bytes(6)
    file.append([b"two"], purpose=P)
    file.fsync(purpose=P)
    assert file.size == 6
    assert disk.size("a") == 9
    assert disk.open("a", purpose=P).read(0, 100, purpose=P) == b"onetwo" + bytes(3)
    file.append([b"and more"], purpose=P)
    assert disk.size("a") == 14


def test_a_file_opened_anew_holds_what_was_written(disk: Disk) -> None:
    disk.create("f", purpose=P).append([b"x" * 5000], purpose=P)
    again = disk.open("f", purpose=P)
    assert again.size == 5000
    assert again.read(0, 5000, purpose=P) == b"x" * 5000
    again.close()


def test_a_reader_sees_what_is_appended_later(disk: Disk) -> None:
    writer = disk.create("f", purpose=P)
    reader = disk.open("f", purpose=P)
    writer.append([b"later"], purpose=P)
    assert reader.read(0, 5, purpose=P) == b"later"


def test_what_is_in_memory_is_read_without_waiting(disk: Disk, fail_at: Callable[[str, int], None]) -> None:
    file = disk.create("f", purpose=P)
    file.append([b"0123456789"], purpose=P)
    assert file.read_now(2, 5, purpose=P) in (b"23456", None)
    assert file.read_now(8, 5, purpose=P) is None, "what is short is left to `read`"
    fail_at("before shard.read_now", errno.EAGAIN)
    assert file.read_now(2, 5, purpose=P) is None
    assert file.read(2, 5, purpose=P) == b"23456"


def test_a_closed_file_is_refused_and_closes_twice(disk: Disk) -> None:
    file = disk.create("f", purpose=P)
    file.close()
    file.close()
    with pytest.raises(ValueError, match="closed"):
        file.append([b"x"], purpose=P)
    with pytest.raises(ValueError, match="closed"):
        file.read(0, 1, purpose=P)


def test_creating_what_exists_fails_without_touching_it(disk: Disk) -> None:
    disk.create("f", purpose=P).append([b"kept"], purpose=P)
    with pytest.raises(FileExists):
        disk.create("f", purpose=P)
    assert disk.open("f", purpose=P).read(0, 9, purpose=P) == b"kept"


def test_a_missing_file_is_missing_and_says_nothing_about_the_disk(disk: Disk) -> None:
    for path in ("nothing", "no/such/folder/file"):
        with pytest.raises(FileMissing):
            disk.open(path, purpose=P)
        with pytest.raises(FileMissing):
            disk.rename(path, "g", purpose=P)
        assert disk.size(path) is None
        assert not disk.exists(path)
        disk.unlink(path, purpose=P)
    with pytest.raises(FileMissing):
        disk.fsync_directory("nothing", purpose=P)
    assert not isinstance(FileMissing(""), CallFailed)


def test_a_file_opened_for_reading_refuses_to_grow(disk: Disk) -> None:
    disk.create("f", purpose=P)
    with pytest.raises(DiskFailed):
        disk.open("f", purpose=P).append([b"x"], purpose=P)


# --- names ----------------------------------------------------------------------------------------------------


def test_rename_moves_and_replaces(disk: Disk) -> None:
    disk.create("old", purpose=P).append([b"new bytes"], purpose=P)
    disk.create("d/target", purpose=P).append([b"old bytes"], purpose=P)
    disk.rename("old", "d/target", purpose=P)
    assert not disk.exists("old")
    assert disk.open("d/target", purpose=P).read(0, 20, purpose=P) == b"new bytes"
    disk.rename("d/target", "d/target", purpose=P)
    assert disk.exists("d/target")


def test_an_open_file_outlives_its_name(disk: Disk) -> None:
    file = disk.create("f", purpose=P)
    file.append([b"bytes"], purpose=P)
    disk.unlink("f", purpose=P)
    assert not disk.exists("f")
    assert file.read(0, 5, purpose=P) == b"bytes"


def test_folders_are_listed_in_order(disk: Disk) -> None:
    for name in ("d/b", "d/a", "d/sub/x", "top"):
        disk.create(name, purpose=P)
    assert disk.list("", purpose=P) == ["d", "top"]
    assert disk.list("d", purpose=P) == ["a", "b", "sub"]
    assert disk.list("nothing", purpose=P) == []
    with pytest.raises(DiskFailed):
        disk.list("top", purpose=P)
    assert disk.exists("d")
    assert disk.exists("")


def test_a_folder_is_not_a_file(disk: Disk) -> None:
    disk.create("d/f", purpose=P)
    with pytest.raises(FileExists):
        disk.create("d", purpose=P)
    with pytest.raises(CallFailed):
        disk.unlink("d", purpose=P)
    with pytest.raises(CallFailed):
        disk.create("d/f/g", purpose=P)


def test_a_folder_removed_behind_our_back_is_made_again(disk: Disk, tmp_path: Path) -> None:
    disk.create("a/f", purpose=P)
    disk.remove("a") if isinstance(disk, FakeDisk) else shutil.rmtree(tmp_path / "a")
    disk.create("a/g", purpose=P)
    assert disk.list("a", purpose=P) == ["g"]


# --- durability and errors ------------------------------------------------------------------------------------


def test_fsync_of_a_file_without_a_name_fails_the_disk(disk: Disk) -> None:
    file = disk.create("f", purpose=P)
    file.append([b"bytes"], purpose=P)
    file.fsync(purpose=P)
    disk.unlink("f", purpose=P)
    with pytest.raises(CallFailed):
        file.fsync(purpose=P)


def test_fsync_of_a_file_that_was_replaced_fails_the_disk(disk: Disk) -> None:
    file = disk.create("f", purpose=P)
    disk.create("g", purpose=P)
    disk.rename("g", "f", purpose=P)
    with pytest.raises(CallFailed):
        file.fsync(purpose=P)


def test_a_failed_fsync_is_never_repeated(disk: Disk, fail_at: Callable[[str, int], None]) -> None:
    file = disk.create("f", purpose=P)
    file.append([b"bytes"], purpose=P)
    fail_at("before shard.fsync", errno.EIO)
    with pytest.raises(CallFailed) as raised:
        file.fsync(purpose=P)
    assert raised.value.disk is disk
    failpoints.set_hook(None)
    with pytest.raises(DiskFailed, match="earlier fsync"):
        file.fsync(purpose=P)
    with pytest.raises(DiskFailed, match="earlier fsync"):
        file.append([b"more"], purpose=P)
    assert file.read(0, 5, purpose=P) == b"bytes"


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, StoreFull),
        (errno.EDQUOT, StoreFull),
        (errno.EMFILE, Busy),
        (errno.ENFILE, Busy),
        (errno.EIO, CallFailed),
        (errno.EROFS, CallFailed),
    ],
)
def test_every_call_translates_errors_alike(
    disk: Disk, fail_at: Callable[[str, int], None], number: int, kind: type[Exception]
) -> None:
    file = disk.create("f", purpose=P)
    calls: dict[str, Callable[[], object]] = {
        "shard.create": lambda: disk.create("g", purpose=P),
        "shard.open": lambda: disk.open("f", purpose=P),
        "shard.rename": lambda: disk.rename("f", "f", purpose=P),
        "shard.unlink": lambda: disk.unlink("nothing", purpose=P),
        "shard.fsync_directory": lambda: disk.fsync_directory("", purpose=P),
        "shard.list": lambda: disk.list("", purpose=P),
        "shard.append": lambda: file.append([b"x"], purpose=P),
        "shard.read": lambda: file.read(0, 1, purpose=P),
        "shard.fsync": lambda: file.fsync(purpose=P),
        "disk.exists": lambda: disk.exists("f"),
        "disk.size": lambda: disk.size("f"),
        "disk.space": disk.space,
    }
    for name, call in calls.items():
        fail_at(f"before {name}", number)
        with pytest.raises(kind):
            call()


def test_after_a_failed_append_the_file_ends_where_it_did(disk: Disk) -> None:
    file = disk.create("f", purpose=P)
    file.append([b"first "], purpose=P)

    def full(point: str) -> None:
        if point == "before shard.append":
            raise OSError(errno.ENOSPC, "full")

    failpoints.set_hook(full)
    try:
        with pytest.raises(StoreFull):
            file.append([b"lost"], purpose=P)
    finally:
        failpoints.set_hook(None)
    assert file.size == 6
    file.append([b"second"], purpose=P)
    assert file.read(0, 99, purpose=P) == b"first second"


def test_every_call_passes_its_points_in_the_same_order(tmp_path: Path, points: list[str]) -> None:
    traces = []
    for disk in (FolderDisk(0, tmp_path), FakeDisk(0)):
        points.clear()
        file = disk.create("a/b/f.tmp", purpose=P)
        file.append([b"x"], purpose="journal")
        file.read(0, 1, purpose=P)
        file.fsync(purpose=P)
        disk.rename("a/b/f.tmp", "a/b/f", purpose=P)
        disk.fsync_directory("a/b", purpose=P)
        disk.create("a/g/h", purpose=P)
        disk.open("a/b/f", purpose="snapshot")
        disk.list("a", purpose=P)
        disk.unlink("a/b/f", purpose=P)
        disk.unlink("nothing", purpose=P)
        disk.exists("x")
        disk.size("x")
        disk.space()
        with pytest.raises(FileMissing):
            disk.open("x", purpose=P)
        traces.append(list(points))
    assert traces[0] == traces[1]
    assert "before shard.mkdir" in traces[0]
    assert traces[0][-1] == "before shard.open", "the point after a call that failed is not reached"


def test_any_other_exception_of_a_hook_goes_up_unchanged(disk: Disk) -> None:
    class Crash(Exception):
        pass

    def crash(_: str) -> None:
        raise Crash

    failpoints.set_hook(crash)
    try:
        with pytest.raises(Crash):
            disk.create("f", purpose=P)
    finally:
        failpoints.set_hook(None)
    disk.create("f", purpose=P)


def test_a_disk_is_used_from_many_threads(disk: Disk) -> None:
    def work(number: int) -> None:
        file = disk.create(f"deep/{number % 3}/{number}", purpose=P)
        for turn in range(20):
            file.append([bytes([number]) * turn], purpose=P)
        file.fsync(purpose=P)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(8):
        content = disk.open(f"deep/{number % 3}/{number}", purpose=P).read(0, 999, purpose=P)
        assert content == bytes([number]) * 190


def test_room_is_told_in_bytes(disk: Disk) -> None:
    space = disk.space()
    assert 0 < space.free <= space.total
