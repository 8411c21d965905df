"""What every disk promises, the real one and the one in memory alike; then what only the real one can show.

Room: tests. May import: stratum.store, tests.fakes.
"""

import errno
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stratum.core.errors import Busy, DiskFailed, StoreFull
from stratum.store import failpoints
from stratum.store.disk import CallFailed, Disk, FileExists, FileMissing, FolderDisk, make_folder
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


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.binary(max_size=9), max_size=1500), max_size=4))
def test_any_number_of_buffers_makes_one_file(appends: list[list[bytes]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = FolderDisk(0, Path(folder)).create("f", purpose=P)
        for buffers in appends:
            file.append(buffers, purpose=P)
        expected = b"".join(b"".join(buffers) for buffers in appends)
        assert file.size == len(expected)
        assert file.read(0, file.size + 1, purpose=P) == expected


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


def test_a_folder_that_was_there_before_is_synced_once_before_it_gets_a_file(tmp_path: Path, points: list[str]) -> None:
    (tmp_path / "a").mkdir()
    disk = FolderDisk(0, tmp_path)
    for expected in (1, 0):
        points.clear()
        disk.create(f"a/{expected}", purpose=P)
        assert points.count("after shard.fsync_directory") == expected


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


# --- only the real one ----------------------------------------------------------------------------------------


def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(7)
    real = os.pwritev

    def short(fd: int, buffers: list[bytes], offset: int) -> int:
        joined = b"".join(buffers)
        return real(fd, [joined[: chance.randint(1, max(1, len(joined)))]], offset)

    monkeypatch.setattr(os, "pwritev", short)
    file = FolderDisk(0, tmp_path).create("f", purpose=P)
    expected = b""
    for _ in range(20):
        buffers = [chance.randbytes(chance.randint(0, 50)) for _ in range(5)]
        file.append(buffers, purpose=P)
        expected += b"".join(buffers)
    assert (tmp_path / "f").read_bytes() == expected


def test_short_reads_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, size, at: real(fd, min(size, 3), at))
    file = FolderDisk(0, tmp_path).create("f", purpose=P)
    file.append([b"0123456789"], purpose=P)
    assert file.read(1, 8, purpose=P) == b"12345678"
    assert file.read(5, 80, purpose=P) == b"56789"


def test_a_disk_that_takes_no_byte_fails_instead_of_looping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "pwritev", lambda *_: 0)
    file = FolderDisk(0, tmp_path).create("f", purpose=P)
    with pytest.raises(CallFailed, match="no progress"):
        file.append([b"x"], purpose=P)


def test_an_append_and_a_read_are_one_call_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = FolderDisk(0, tmp_path).create("f", purpose=P)
    calls = []
    for name in ("pwritev", "pread"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *args, real=real, name=name: (calls.append(name), real(*args))[1])
    file.append([b"header", b"cell"], purpose=P)
    file.read(0, 10, purpose=P)
    assert calls == ["pwritev", "pread"]


def test_a_removed_disk_is_not_made_again(tmp_path: Path) -> None:
    root = tmp_path / "disk"
    root.mkdir()
    disk = FolderDisk(0, root)
    file = disk.create("a/f", purpose=P)
    shutil.rmtree(root)
    with pytest.raises(CallFailed):
        disk.create("a/g", purpose=P)
    with pytest.raises(CallFailed):
        disk.open("a/f", purpose=P)
    with pytest.raises(CallFailed):
        disk.list("a", purpose=P)
    with pytest.raises(CallFailed):
        disk.exists("a/f")
    with pytest.raises(CallFailed):
        disk.unlink("a/f", purpose=P)
    with pytest.raises(CallFailed):
        disk.fsync_directory("", purpose=P)
    with pytest.raises(CallFailed):
        file.fsync(purpose=P)
    assert not root.exists()


def test_a_folder_put_in_the_place_of_a_disk_is_left_alone(tmp_path: Path) -> None:
    root = tmp_path / "disk"
    root.mkdir()
    disk = FolderDisk(0, root)
    root.rename(tmp_path / "elsewhere")
    root.mkdir()
    disk.create("f", purpose=P)
    assert list(root.iterdir()) == []
    assert FolderDisk(0, root).folder_id != disk.folder_id == FolderDisk(0, tmp_path / "elsewhere").folder_id


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "outside").write_bytes(b"secret")
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk/link").symlink_to("../outside")
    disk = FolderDisk(0, tmp_path / "disk")
    with pytest.raises(DiskFailed):
        disk.open("link", purpose=P)
    with pytest.raises(DiskFailed):
        disk.create("link", purpose=P)


def test_a_disk_needs_its_folder(tmp_path: Path) -> None:
    with pytest.raises(FileMissing):
        FolderDisk(0, tmp_path / "nothing")
    (tmp_path / "file").touch()
    with pytest.raises(CallFailed):
        FolderDisk(0, tmp_path / "file")


def test_closing_waits_for_calls_under_way_and_leaks_nothing(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    disk = FolderDisk(0, tmp_path)
    file = disk.create("f", purpose=P)
    file.append([b"bytes"], purpose=P)
    inside, go_on = threading.Event(), threading.Event()

    def block(point: str) -> None:
        if point == "before shard.read":
            inside.set()
            go_on.wait(5)

    found: list[bytes] = []
    failpoints.set_hook(block)
    try:
        thread = threading.Thread(target=lambda file: found.append(file.read(0, 5, purpose=P)), args=(file,))
        thread.start()
        inside.wait(5)
        file.close()
        others = [disk.create(f"other{number}", purpose=P) for number in range(3)]
        go_on.set()
        thread.join()
    finally:
        failpoints.set_hook(None)
    assert found == [b"bytes"]
    del disk, file, others, thread
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_folder_is_made_with_those_above_it(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b" / "c")
    make_folder(tmp_path / "a" / "b" / "c")
    assert (tmp_path / "a/b/c").is_dir()


def test_killing_points_count_from_one() -> None:
    with pytest.raises(ValueError, match="begins at 1"):
        failpoints.arm_from("before shard.fsync:0")


def test_an_armed_point_kills_the_process_at_the_right_time(tmp_path: Path) -> None:
    program = f"""
import pathlib
from stratum.store import disk, failpoints
failpoints.arm_from("after shard.append:3")
file = disk.FolderDisk(0, pathlib.Path({str(tmp_path)!r})).create("f", purpose="shard")
for _ in range(5):
    file.append([b"x"], purpose="shard")
"""
    ended = subprocess.run([sys.executable, "-c", program], check=False)
    assert ended.returncode == failpoints.KILLED
    assert (tmp_path / "f").read_bytes() == b"xxx"
