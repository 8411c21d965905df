"""What programs count on, row by row: locks between processes, errors that wait to be told, durability, names, holes.

Room: tests. May import: stratum, tests.
"""

import errno
import fcntl
import mmap
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from stratum.core.errors import StoreFull
from tests.engine.conftest import engine_at, get
from tests.stratumfs.test_mount import engine, errno_of, keys, mounted, place, put, there  # noqa: F401 - fixtures

pytestmark = pytest.mark.fuse


def python(folder: Path, code: str) -> str:
    """Run Python as another process, in a folder of the mount; return what it printed."""
    command = [sys.executable, "-I", "-c", f"import os, fcntl, errno\n{code}"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=30)
    return done.stdout.strip() or done.stderr.strip().rpartition("\n")[2]


FLOCK = "fcntl.flock(os.open('f', os.O_RDWR), fcntl.LOCK_EX | fcntl.LOCK_NB); print('taken')"
RECORD = "fcntl.lockf(os.open('f', os.O_RDWR), fcntl.LOCK_EX | fcntl.LOCK_NB, 10, {at}); print('taken')"


async def test_locks_are_exact_between_processes(place):  # noqa: F811
    def play():
        (place / "f").write_bytes(b"x" * 100)
        fd = os.open(place / "f", os.O_RDWR)
        fcntl.flock(fd, fcntl.LOCK_EX)
        assert python(place, FLOCK).startswith("BlockingIOError")
        fcntl.flock(fd, fcntl.LOCK_UN)
        assert python(place, FLOCK) == "taken"
        fcntl.lockf(fd, fcntl.LOCK_EX, 10, 20)
        assert python(place, RECORD.format(at=25)).startswith("BlockingIOError")
        assert python(place, RECORD.format(at=30)) == "taken"
        os.close(fd)
        assert python(place, RECORD.format(at=25)) == "taken"

    await there(play)


async def test_o_excl_lets_one_of_many_processes_win(place):  # noqa: F811
    def play():
        code = "import os, sys; os.close(os.open('lock', os.O_CREAT | os.O_EXCL | os.O_WRONLY))"
        racing = [
            subprocess.Popen([sys.executable, "-I", "-c", code], cwd=place, stderr=subprocess.DEVNULL) for _ in range(6)
        ]
        return sorted(each.wait(30) for each in racing)

    assert await there(play) == [0, 1, 1, 1, 1, 1]


async def test_a_lock_made_by_renaming_a_directory_holds_while_it_is_not_empty(place):  # noqa: F811
    """As borg locks a repository."""

    def play():
        for name in ("one", "two"):
            (place / name).mkdir()
            (place / name / "host.1-2").write_bytes(b"")
        os.rename(place / "one", place / "lock.exclusive")
        assert errno_of(os.rename, place / "two", place / "lock.exclusive") == "ENOTEMPTY"
        os.unlink(place / "lock.exclusive/host.1-2")
        os.rename(place / "two", place / "lock.exclusive")

    await there(play)


async def test_direct_io_and_shared_maps_see_the_same_bytes(place):  # noqa: F811
    def play():
        area = mmap.mmap(-1, 8192)
        area.write(b"d" * 8192)
        fd = os.open(place / "f", os.O_CREAT | os.O_RDWR | os.O_DIRECT)
        assert os.writev(fd, [area]) == 8192
        os.lseek(fd, 4096, os.SEEK_SET)
        back = mmap.mmap(-1, 4096)
        assert os.readv(fd, [back]) == 4096 and back[:] == b"d" * 4096
        os.close(fd)
        assert (place / "f").read_bytes() == b"d" * 8192

    await there(play)


async def test_special_files_are_there_for_programs_and_not_for_s3(engine, place):  # noqa: F811
    def play():
        os.mkfifo(place / "fifo")
        os.mknod(place / "device", 0o020600, os.makedev(1, 3))
        folder = os.open(place, os.O_RDONLY)
        short = f"/proc/self/fd/{folder}/socket"  # the path of a socket is, and no other test should move with us
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(short)
            listening.listen()
            with socket.socket(socket.AF_UNIX) as calling:
                calling.connect(short)
        os.close(folder)
        (place / "d").mkdir()
        os.mkfifo(place / "d/only")
        return sorted(os.listdir(place))

    assert await there(play) == ["d", "device", "fifo", "socket"]
    assert await keys(engine) == []


async def test_names_that_are_no_text_are_kept_byte_by_byte(engine, place):  # noqa: F811
    name = b"caf\xe9-\xff"

    def play():
        path = os.path.join(os.fsencode(place), name)
        Path(os.fsdecode(path)).write_bytes(b"x")
        return os.listdir(os.fsencode(place))

    assert await there(play) == [name]
    assert await keys(engine) == [name]
    assert await get(engine, name) == b"x"


async def test_every_call_that_takes_a_name_refuses_one_that_is_too_long(place):  # noqa: F811
    long = place / ("x" * 256)

    def play():
        (place / "f").write_bytes(b"")
        (place / "d").mkdir()
        calls = [
            (os.stat, long), (os.mkdir, long), (os.unlink, long), (os.rmdir, long), (os.readlink, long),
            (os.symlink, "f", long), (os.mkfifo, long), (os.link, place / "f", long), (os.link, long, place / "g"),
            (os.rename, place / "f", long), (os.rename, long, place / "g"), (os.rename, place / "d", long),
            (os.open, long, os.O_RDONLY), (os.open, long, os.O_CREAT | os.O_WRONLY), (os.truncate, long, 0),
            (os.chmod, long, 0o600), (os.utime, long), (os.listdir, long), (os.getxattr, long, "user.a"),
            (os.setxattr, long, "user.a", b""), (os.mkdir, place.parent / long.name),
            (os.rmdir, place.parent / long.name),
        ]  # fmt: skip
        return {errno_of(*call) for call in calls}

    assert await there(play) == {"ENAMETOOLONG"}


async def test_absurd_sizes_are_refused_and_nothing_breaks(place):  # noqa: F811
    def play():
        (place / "f").write_bytes(b"x")
        assert errno_of(os.truncate, place / "f", 1 << 61) == "EFBIG"
        fd = os.open(place / "f", os.O_RDWR)
        assert errno_of(os.pwrite, fd, b"x", (1 << 62) - 1) == "EFBIG"
        assert errno_of(os.ftruncate, fd, (1 << 63) - 1) == "EFBIG"
        os.close(fd)
        return (place / "f").read_bytes()

    assert await there(play) == b"x"


async def test_ctime_changes_with_everything_and_mtime_with_content_alone(place):  # noqa: F811
    def play():
        path = place / "f"
        path.write_bytes(b"x")
        os.utime(path, ns=(5, 1_234_567_890_123_456_789))
        for call in (
            lambda: os.chmod(path, 0o600),
            lambda: os.chown(path, 1, 1),
            lambda: os.setxattr(path, "user.a", b"1"),
            lambda: os.removexattr(path, "user.a"),
            lambda: os.link(path, place / "g"),
            lambda: os.unlink(place / "g"),
            lambda: os.rename(path, place / "h"),
            lambda: os.rename(place / "h", path),
            lambda: os.utime(path, ns=(5, 1_234_567_890_123_456_789)),
        ):
            before = (path if path.exists() else place / "h").stat()
            call()
            after = (path if path.exists() else place / "h").stat()
            assert after.st_ctime_ns > before.st_ctime_ns
            assert (after.st_mtime_ns, after.st_ino) == (1_234_567_890_123_456_789, before.st_ino)
        before = path.stat()
        assert path.read_bytes() == b"x" and path.stat().st_atime_ns == before.st_atime_ns  # reading writes nothing
        with open(path, "ab") as file:
            file.write(b"y")
        after = path.stat()
        assert after.st_mtime_ns > before.st_mtime_ns and after.st_ctime_ns > before.st_ctime_ns

    await there(play)


async def test_an_error_waits_until_it_is_told_and_is_told_once(engine, place):  # noqa: F811
    """A close that only queued: the next call on the file tells, and the bytes are tried again."""
    store, full = engine.contents.store, [True]

    async def refuse(content):
        if full:
            raise StoreFull("no room")
        return await store(content)

    engine.contents.store = refuse

    def play():
        fd = os.open(place / "f", os.O_CREAT | os.O_RDWR)
        os.write(fd, b"x" * 10_000)
        assert errno_of(os.fsync, fd) == "ENOSPC"
        other = os.open(place / "f", os.O_RDWR)
        os.close(other)  # queued
        return fd

    fd = await there(play)
    with trio.fail_after(5):
        while not (engine.files._table.files and next(iter(engine.files._table.files.values())).error):
            await trio.sleep(0.01)

    def go_on():
        assert errno_of(os.pwrite, fd, b"y", 0) == "ENOSPC"
        full.clear()
        os.pwrite(fd, b"y", 0)
        os.fsync(fd)
        os.close(fd)

    await there(go_on)
    assert await get(engine, b"f") == b"y" + b"x" * 9999


async def test_close_tells_what_went_wrong_where_it_waits(tmp_path, transport):
    async with engine_at(tmp_path) as engine:  # noqa: F811
        await engine.buckets.create("bucket", "alice")
        engine.files._close_is_durable = True

        async def refuse(content):
            raise StoreFull("no room")

        async with mounted(tmp_path, engine, transport) as root:

            def close_durably():
                fd = os.open(root / "bucket/f", os.O_CREAT | os.O_WRONLY)
                os.write(fd, b"x" * 10_000)
                os.close(fd)
                return engine.meta.seen, engine.files.idle

            _, idle = await there(close_durably)
            assert idle
            assert await get(engine, b"f") == b"x" * 10_000
            store, engine.contents.store = engine.contents.store, refuse

            def refused():
                fd = os.open(root / "bucket/g", os.O_CREAT | os.O_WRONLY)
                os.write(fd, b"x" * 10_000)
                return errno_of(os.close, fd)

            assert await there(refused) == "ENOSPC"
            engine.contents.store = store


async def test_fsync_of_a_folder_is_the_barrier_for_everything_below(engine, place):  # noqa: F811
    def play():
        (place / "a/b").mkdir(parents=True)
        for number in range(50):
            (place / f"a/b/{number}").write_bytes(b"x" * 5000)
        fd = os.open(place, os.O_RDONLY)
        os.fsync(fd)
        os.close(fd)
        return engine.files.idle, engine.meta.seen

    idle, seen = await there(play)
    assert idle
    with trio.fail_after(1):
        await engine.meta.durable(seen)
    assert len(await keys(engine)) == 50


async def test_fsync_works_on_what_is_open_for_reading_and_on_folders(place):  # noqa: F811
    def play():
        (place / "f").write_bytes(b"x")
        for path in (place / "f", place, place.parent):
            fd = os.open(path, os.O_RDONLY)
            os.fsync(fd)
            os.fdatasync(fd)
            os.close(fd)

    await there(play)


async def test_many_fsyncs_at_the_same_time_share_commits(engine, place):  # noqa: F811
    """Each waits for its own durability; side by side they need far fewer commits than there are of them."""

    def write(number: int) -> None:
        fd = os.open(place / f"f{number}", os.O_CREAT | os.O_WRONLY)
        for _ in range(5):
            os.write(fd, b"x" * 6000)
            os.fsync(fd)
        os.close(fd)

    await there(lambda: [os.mknod(place / f"f{number}") for number in range(16)])
    before = engine.meta.sequence
    async with trio.open_nursery() as nursery:
        for number in range(16):
            nursery.start_soon(there, write, number)
    commits = engine.meta.sequence - before
    assert 5 <= commits < 60, f"{commits} commits for 80 fsyncs"


async def test_what_is_free_is_what_can_be_written_and_the_same_from_every_folder(engine, place):  # noqa: F811
    room = engine.files.attributes.room()
    shown = await there(os.statvfs, place)
    assert abs(shown.f_bavail * shown.f_frsize - room.free) < 1 << 28  # the disk is shared with others
    assert room.total <= sum(engine.disks.state(slot).total for slot in engine.disks.slots())
    disk = os.statvfs(engine.settings.disks[0])
    usable = disk.f_bavail * disk.f_frsize * 4 / 6  # six folders share one device: parity takes a third
    assert room.free == pytest.approx(usable, rel=0.1)


async def test_a_folder_that_mkdir_made_stays_when_s3_deletes_what_was_in_it(engine, place):  # noqa: F811
    await there(lambda: (place / "made/below").mkdir(parents=True))
    await put(engine, b"made/below/f", b"x")
    await put(engine, b"implied/f", b"x")
    for key in (b"made/below/f", b"implied/f"):
        await engine.objects.delete("bucket", key)
    assert await there(os.listdir, place) == ["made"]
    assert await keys(engine) == [b"made/below/"]


async def test_unsupported_calls_say_so_and_programs_fall_back(place):  # noqa: F811
    def play():
        fd = os.open(place / "f", os.O_CREAT | os.O_RDWR)
        os.posix_fallocate(fd, 0, 10_000)  # the library writes zeros where the kernel cannot
        assert os.fstat(fd).st_size == 10_000
        try:
            os.close(os.open(place, os.O_TMPFILE | os.O_RDWR))
        except OSError as error:
            assert error.errno == errno.EOPNOTSUPP
        source = os.open(place / "g", os.O_CREAT | os.O_RDWR)
        os.write(source, b"copied")
        assert os.copy_file_range(source, fd, 6, 0, 0) == 6
        assert os.pread(fd, 6, 0) == b"copied"
        for each in (fd, source):
            os.close(each)

    await there(play)
