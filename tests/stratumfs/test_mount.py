"""A real mount of a real engine, used by another thread as any program would.

Room: tests. May import: stratum, stratumfs, tests.engine.
"""

import errno
import os
import stat
import subprocess
import sys
from contextlib import asynccontextmanager
from functools import partial
from hashlib import md5
from pathlib import Path

import pytest
import trio

from stratum.core.objects import ListQuery, PutSpec
from stratumfs.mount import CannotMount, fuse_options, minor_of, mount
from tests.engine.conftest import body_of, engine_at, get

pytestmark = pytest.mark.fuse


@asynccontextmanager
async def mounted(folder: Path, engine, transport):
    place = folder / "mnt"
    place.mkdir(exist_ok=True)
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(mount, transport=transport), engine, place)
        yield place
        nursery.cancel_scope.cancel()


@pytest.fixture
async def engine(tmp_path):
    async with engine_at(tmp_path) as opened:
        await opened.buckets.create("bucket", "alice")
        yield opened


@pytest.fixture
async def place(tmp_path, engine, transport):
    async with mounted(tmp_path, engine, transport) as mountpoint:
        yield mountpoint / "bucket"


async def there(call, *arguments):
    """Run what touches the mount in a thread: the event loop must go on answering."""
    return await trio.to_thread.run_sync(call, *arguments)


def errno_of(call, *arguments) -> str:
    with pytest.raises(OSError) as caught:
        call(*arguments)
    return errno.errorcode[caught.value.errno]


async def keys(engine) -> list[bytes]:
    page = await engine.objects.list("bucket", ListQuery())
    return [view.key for view in page.objects]


async def put(engine, key: bytes, content: bytes) -> None:
    await engine.objects.put("bucket", key, body_of(content), PutSpec())


@pytest.mark.parametrize("size", [0, 1, 4096, 4097, 100_000, 1 << 20, (9 << 20) + 17])
async def test_a_file_written_is_an_object_with_the_same_bytes_and_the_md5_as_etag(engine, place, size):
    content = os.urandom(size)
    await there((place / "file").write_bytes, content)
    assert await get(engine, b"file") == content
    assert (await engine.objects.head("bucket", b"file")).etag == md5(content).hexdigest()
    assert await there((place / "file").read_bytes) == content


@pytest.mark.parametrize("size", [0, 1, 4097, 100_000, (3 << 20) + 5])
async def test_an_object_put_is_a_file_with_the_same_bytes(engine, place, size):
    content = os.urandom(size)
    await put(engine, b"deep/down/file", content)
    assert await there((place / "deep/down/file").read_bytes) == content
    assert await there(lambda: (place / "deep/down/file").stat().st_size) == size


async def test_what_s3_changes_is_seen_at_once_although_the_kernel_caches_for_a_minute(engine, place):
    path = place / "a/b"
    assert await there(path.exists) is False
    for content in (b"first", b"second, longer", b"3"):
        await put(engine, b"a/b", content)
        await until(lambda content=content: path.read_bytes() == content)
    assert await there(lambda: (place / "a").stat().st_nlink) == 2
    await engine.objects.delete("bucket", b"a/b")
    await until(lambda: not path.exists() and not (place / "a").exists())


async def test_the_number_of_links_and_the_time_of_a_directory_follow_s3(engine, place):
    def make():
        (place / "one").write_bytes(b"x")
        os.link(place / "one", place / "two")
        return (place / "one").stat().st_nlink, place.stat().st_mtime_ns

    links, before = await there(make)
    assert links == 2
    await engine.objects.delete("bucket", b"two")
    await until(lambda: (place / "one").stat().st_nlink == 1 and place.stat().st_mtime_ns > before)


async def until(condition) -> None:
    with trio.fail_after(3):
        while True:
            try:
                if await there(condition):
                    return
            except FileNotFoundError:
                pass
            await trio.sleep(0.001)


async def test_a_reader_of_a_replaced_object_goes_on_reading_the_old_bytes(engine, place):
    old = os.urandom(300_000)
    await put(engine, b"file", old)
    fd = await there(os.open, place / "file", os.O_RDONLY)
    await put(engine, b"file", b"new")
    assert await there(os.pread, fd, 400_000, 0) == old
    await there(os.close, fd)
    await until(lambda: (place / "file").read_bytes() == b"new")


async def test_s3_sees_the_published_version_until_close(engine, place):
    await put(engine, b"file", b"published")
    fd = await there(os.open, place / "file", os.O_RDWR)
    await there(os.pwrite, fd, b"CHANGED", 0)
    assert await there((place / "file").read_bytes) == b"CHANGEDed"
    assert await get(engine, b"file") == b"published"
    await there(os.fsync, fd)
    assert await get(engine, b"file") == b"CHANGEDed"
    await there(os.ftruncate, fd, 3)
    await there(os.close, fd)
    assert await get(engine, b"file") == b"CHA"


async def test_a_file_that_is_being_created_is_no_object_yet(engine, place):
    fd = await there(os.open, place / "file", os.O_CREAT | os.O_WRONLY)
    await there(os.write, fd, b"x")
    assert await keys(engine) == []
    await there(os.close, fd)
    assert await keys(engine) == [b"file"]


async def test_names_obey_posix(place):
    def play():
        (place / "d/e").mkdir(parents=True)
        (place / "f").write_bytes(b"f")
        (place / "g").write_bytes(b"g")
        assert errno_of(os.rename, place / "f", place / "d") == "EISDIR"
        assert errno_of(os.rename, place / "d", place / "f") == "ENOTDIR"
        assert errno_of(os.rmdir, place / "d") == "ENOTEMPTY"
        assert errno_of(os.rename, place / "d", place / "d/e/x") == "EINVAL"
        assert errno_of(os.mkdir, place / "f") == "EEXIST"
        assert errno_of(os.rmdir, place / "f") == "ENOTDIR"
        assert errno_of(os.unlink, place / "missing") == "ENOENT"
        assert errno_of(os.link, place / "d", place / "h") == "EPERM"
        os.mkdir(place / "full")
        (place / "full/x").write_bytes(b"")
        assert errno_of(os.rename, place / "d", place / "full") == "ENOTEMPTY"
        os.rename(place / "f", place / "g")
        assert (place / "g").read_bytes() == b"f" and not (place / "f").exists()
        os.rename(place / "d", place / "moved")
        assert (place / "moved/e").is_dir()
        assert place.stat().st_nlink == 2 + 2
        long = "x" * 256
        for call in (os.stat, os.mkdir, os.unlink, os.rmdir, os.listdir):
            assert errno_of(call, place / long) == "ENAMETOOLONG"
        assert errno_of(os.rename, place / "g", place / long) == "ENAMETOOLONG"
        assert errno_of(os.link, place / "g", place / long) == "ENAMETOOLONG"
        assert errno_of(os.symlink, "g", place / long) == "ENAMETOOLONG"
        (place / ("y" * 255)).write_bytes(b"")

    await there(play)


async def test_renameat2_can_refuse_to_replace_and_can_exchange(place):
    def play():
        (place / "f").write_bytes(b"f")
        (place / "d").mkdir()
        assert renameat2(place / "f", place / "d", 1) == errno.EEXIST
        assert renameat2(place / "f", place / "d", 2) == 0
        assert (place / "f").is_dir() and (place / "d").read_bytes() == b"f"

    await there(play)


def renameat2(old: Path, new: Path, flags: int) -> int:
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    done = libc.renameat2(-100, os.fsencode(old), -100, os.fsencode(new), flags)
    return ctypes.get_errno() if done else 0


async def test_buckets_are_the_directories_of_the_root(engine, place):
    root = place.parent

    def play():
        (root / "made-here").mkdir()
        assert errno_of(os.mkdir, root / "No_Bucket") == "EINVAL"
        assert errno_of(os.mkdir, root / "bucket") == "EEXIST"
        assert errno_of((root / "file").write_bytes, b"") == "EPERM"
        assert errno_of(os.rename, root / "made-here", root / "other-name") == "EPERM"
        (place / "x").write_bytes(b"")
        assert errno_of(os.rmdir, place) == "ENOTEMPTY"
        (root / "gone").mkdir()
        (root / "gone").rmdir()
        os.rename(place / "x", root / "made-here/x")
        return sorted(os.listdir(root))

    assert await there(play) == ["bucket", "made-here"]
    assert [name for name, _ in await engine.buckets.list()] == ["bucket", "made-here"]
    await engine.objects.delete("made-here", b"x")
    await engine.buckets.delete("made-here")
    await until(lambda: not (root / "made-here").exists())


async def test_an_unlinked_file_lives_while_it_is_open(engine, place):
    def play():
        fd = os.open(place / "f", os.O_CREAT | os.O_RDWR)
        os.write(fd, b"x" * 100_000)
        os.unlink(place / "f")
        assert os.fstat(fd).st_nlink == 0
        assert os.pread(fd, 10, 99_995) == b"xxxxx"
        os.fsync(fd)
        os.close(fd)

    await there(play)
    assert await keys(engine) == []


async def test_hard_links_share_everything_and_are_keys_of_their_own(engine, place):
    def play():
        (place / "one").write_bytes(b"first")
        os.link(place / "one", place / "two")
        (place / "two").write_bytes(b"second")
        assert (place / "one").stat().st_ino == (place / "two").stat().st_ino
        os.unlink(place / "one")

    await there(play)
    assert await keys(engine) == [b"two"]
    assert await get(engine, b"two") == b"second"


async def test_symlinks_fifos_modes_times_and_attributes(engine, place):
    def play():
        os.symlink("over/there", place / "link")
        os.mkfifo(place / "fifo")
        path = place / "f"
        path.write_bytes(b"x")
        os.chmod(path, 0o640)
        os.chown(path, 12, 34)
        os.utime(path, ns=(1_000_000_001, 2_000_000_002))
        os.setxattr(path, "user.a", b"1\0\xff")
        assert errno_of(os.getxattr, path, "user.b") == "ENODATA"
        assert errno_of(os.setxattr, path, "user.a", b"", os.XATTR_CREATE) == "EEXIST"
        assert errno_of(os.setxattr, path, "user.b", b"", os.XATTR_REPLACE) == "ENODATA"
        assert errno_of(os.setxattr, path, "system.other", b"x") == "ENOTSUP"
        assert os.getxattr(path, "user.a") == b"1\0\xff" and os.listxattr(path) == ["user.a"]
        seen = path.stat()
        assert (stat.S_IMODE(seen.st_mode), seen.st_uid, seen.st_gid) == (0o640, 12, 34)
        assert (seen.st_atime_ns, seen.st_mtime_ns) == (1_000_000_001, 2_000_000_002)
        assert os.readlink(place / "link") == "over/there"
        assert stat.S_ISFIFO(os.stat(place / "fifo").st_mode)
        os.removexattr(path, "user.a")
        assert os.listxattr(path) == []

    await there(play)
    assert await keys(engine) == [b"f", b"link"]


async def test_a_directory_can_be_emptied_while_it_is_listed(place):
    def play():
        names = {f"file-{number:04}" for number in range(1000)}
        (place / "d").mkdir()
        for name in names:
            os.mknod(place / "d" / name, stat.S_IFREG | 0o644)
        seen = set()
        with os.scandir(place / "d") as listing:
            for entry in listing:
                assert entry.name not in seen
                seen.add(entry.name)
                os.unlink(entry.path)
        assert seen == names
        os.rmdir(place / "d")

    await there(play)


async def test_keys_that_a_path_cannot_express_are_reachable(engine, place):
    for key in (b"a", b"a/b", b"c//d", b"dots/../e", b"n" * 300, b"slash/"):
        await put(engine, key, b"content of " + key)

    def play():
        found = {}
        for folder, _, names in os.walk(os.fsencode(place)):
            for name in names:
                path = os.path.join(folder, name)
                found[Path(os.fsdecode(path)).read_bytes()] = path
        return found

    assert set(await there(play)) == {
        b"content of " + key for key in (b"a", b"a/b", b"c//d", b"dots/../e", b"n" * 300, b"slash/")
    }


MAPPED = """
import mmap, sys
with open(sys.argv[1], "r+b") as file, mmap.mmap(file.fileno(), 0) as area:
    area[5:10] = b"hello"
    area[900_000:900_005] = b"world"
"""


async def test_an_empty_key_cannot_be_made_but_that_of_a_folder_can(engine, place):
    def play():
        (place / "plain").write_bytes(b"x")
        (place / "d").mkdir()
        empty = place / "%file%"
        yield errno_of(empty.write_bytes, b"x")
        yield errno_of(os.link, place / "plain", empty)
        yield errno_of(os.symlink, "plain", empty)
        yield errno_of(os.rename, place / "plain", empty)
        os.rename(place / "plain", place / "d/%file%")

    assert await there(lambda: list(play())) == ["EINVAL"] * 4
    assert await keys(engine) == [b"d/"]
    assert await get(engine, b"d/") == b"x"


async def test_writing_at_random_places_of_a_shared_map_reaches_s3(engine, place):
    def play():  # in another process: a page fault waits for the mount with the interpreter locked
        (place / "f").write_bytes(bytes(1 << 20))
        subprocess.run([sys.executable, "-c", MAPPED, place / "f"], check=True)

    await there(play)
    content = await get(engine, b"f")
    assert (content[5:10], content[900_000:900_005], len(content)) == (b"hello", b"world", 1 << 20)


async def test_holes_read_as_zeros_and_take_no_room(engine, place):
    def play():
        with open(place / "f", "wb") as file:
            file.truncate(1 << 40)
            file.seek(1 << 39)
            file.write(b"island")
        with open(place / "f", "rb") as file:
            file.seek((1 << 39) - 3)
            assert file.read(12) == b"\0\0\0island\0\0\0"
            os.fsync(file.fileno())
        assert (place / "f").stat().st_blocks == 1
        assert errno_of(os.truncate, place / "f", 1 << 60) == "EFBIG"

    await there(play)
    assert (await engine.objects.head("bucket", b"f")).size == 1 << 40


async def test_everything_is_there_again_after_a_stop_with_files_open(tmp_path, transport):
    async with engine_at(tmp_path) as engine:
        await engine.buckets.create("bucket", "alice")
        async with mounted(tmp_path, engine, transport) as root:
            fd = await there(os.open, root / "bucket/open", os.O_CREAT | os.O_RDWR)
            await there(os.write, fd, b"not closed")
            gone = await there(os.open, root / "bucket/gone", os.O_CREAT | os.O_RDWR)
            await there(os.write, gone, b"unlinked")
            await there(os.unlink, root / "bucket/gone")
        for left in (fd, gone):
            assert errno_of(os.close, left) == "ENOTCONN"
    async with engine_at(tmp_path) as engine, mounted(tmp_path, engine, transport) as root:
        assert await there((root / "bucket/open").read_bytes) == b"not closed"
        assert await there(os.listdir, root / "bucket") == ["open"]


async def test_umount_from_outside_ends_the_mount(tmp_path, engine, transport):
    place = tmp_path / "mnt"
    place.mkdir()
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(mount, transport=transport), engine, place)
            await there((place / "bucket/f").write_bytes, b"kept")
            await there(lambda: subprocess.run(["umount", place], check=True))
    assert await get(engine, b"f") == b"kept"


async def test_a_bug_in_a_handler_is_an_error_of_one_call_and_not_the_end_of_the_mount(engine, place, caplog):
    def broken(number, name):
        raise ZeroDivisionError

    engine.files.names.lookup = broken
    assert await there(errno_of, os.stat, place / "x") == "EIO"
    del engine.files.names.lookup
    assert "ZeroDivisionError" in caplog.text
    await there((place / "x").write_bytes, b"fine")


async def test_where_nothing_can_be_mounted_it_says_so(tmp_path, engine, transport):
    with pytest.raises(CannotMount, match="missing"):
        await mount(engine, tmp_path / "missing", [], transport=transport)


async def test_the_room_of_the_disks_less_parity_is_shown(place):
    seen = await there(os.statvfs, place)
    assert 0 < seen.f_bavail <= seen.f_blocks and seen.f_namemax == 255


async def test_the_kernel_reads_ahead_a_mebibyte(place):
    minor = minor_of(place.parent, Path("/proc/self/mountinfo").read_text())
    knob = Path(f"/sys/class/bdi/0:{minor}/read_ahead_kb")
    if not os.access(knob, os.W_OK):
        pytest.skip("sysfs is read-only here")
    assert knob.read_text().strip() == "1024"


def test_only_what_fuse_understands_is_given_to_it():
    assert fuse_options(["rw", "_netdev", "max_read=4096", "x-systemd.automount"], 1000) == {
        "default_permissions", "fsname=stratum", "subtype=stratumfs", "max_read=4096",
    }  # fmt: skip
    assert "allow_other" in fuse_options([], 0)


def test_the_mount_on_top_is_found_by_its_place():
    shown = "1 0 0:5 / /mnt/a\\040b rw - x y z\n2 0 0:77 / /mnt/a\\040b rw - x y z\n3 0 0:9 / /mnt rw - x y z\n"
    assert minor_of(Path("/mnt/a b"), shown) == 77
    assert minor_of(Path("/mnt/none"), shown) is None
