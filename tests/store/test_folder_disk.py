"""What only a disk of the real file system can show.

Room: tests. May import: stratum.store.
"""

import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stratum.core.errors import DiskFailed
from stratum.store import failpoints
from stratum.store.disk import CallFailed, FileMissing, FolderDisk, make_folder

P = "shard"


@pytest.fixture
def points() -> Iterator[list[str]]:
    reached: list[str] = []
    failpoints.set_hook(reached.append)
    yield reached
    failpoints.set_hook(None)


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


def test_a_folder_that_was_there_before_is_synced_once_before_it_gets_a_file(tmp_path: Path, points: list[str]) -> None:
    (tmp_path / "a").mkdir()
    disk = FolderDisk(0, tmp_path)
    for expected in (1, 0):
        points.clear()
        disk.create(f"a/{expected}", purpose=P)
        assert points.count("after shard.fsync_directory") == expected


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
