"""Two doors, one truth, no delay: every kind of change over S3 is in the mount when its answer is there, although the
kernel may cache for a minute; every published change of a file is in S3 at once.

Room: tests. May import: stratum, tests.
"""

import ctypes
import os
import struct
from contextlib import suppress
from hashlib import md5
from pathlib import Path

import pytest
import trio

from stratum.core.lifecycle import Rule
from stratum.core.objects import CopySpec, ListQuery, PartName, PutSpec, RenameSpec, UploadSpec
from tests.engine.conftest import body_of, get
from tests.engine.test_lifecycle import opened
from tests.engine.tiered import move, tiered_engine
from tests.fakes.backend import FakeBackend
from tests.stratumfs.test_mount import engine, errno_of, mounted, place, put, there  # noqa: F401 - fixtures

pytestmark = pytest.mark.fuse

OLD = b"old " * 30_000


def seen(folder: Path) -> dict[str, bytes]:
    """Everything below a folder, as ls, stat and cat see it."""
    found = {}
    for here, folders, names in os.walk(folder):
        for name in names:
            path = Path(here) / name
            content = path.read_bytes()
            assert path.stat().st_size == len(content)
            found[str(path.relative_to(folder))] = content
        for name in folders:
            assert (Path(here) / name).stat().st_nlink >= 2
    return found


async def complete(engine, key: bytes, content: bytes) -> None:  # noqa: F811
    upload = await engine.uploads.create("bucket", key, UploadSpec())
    part = await engine.uploads.part("bucket", key, upload, 1, body_of(content))
    await engine.uploads.complete("bucket", key, upload, [PartName(number=1, etag=part.etag)])


CHANGES = {
    "PUT": (lambda store: put(store, b"d/f", b"new"), {"d/f": b"new", "other": b"other"}),
    "PUT of another key": (
        lambda store: put(store, b"d/e/f", b"new"),
        {"d/f": OLD, "d/e/f": b"new", "other": b"other"},
    ),
    "PUT beside a folder": (
        lambda store: put(store, b"d", b"new"),
        {"d/f": OLD, "%file%d": b"new", "other": b"other"},
    ),
    "Complete": (lambda store: complete(store, b"d/f", b"new" * 9), {"d/f": b"new" * 9, "other": b"other"}),
    "Copy": (
        lambda store: store.objects.copy("bucket", b"other", "bucket", b"d/f", CopySpec()),
        {"d/f": b"other", "other": b"other"},
    ),
    "Delete": (lambda store: store.objects.delete("bucket", b"d/f"), {"other": b"other"}),
    "Rename": (
        lambda store: store.objects.rename("bucket", b"d/f", RenameSpec(source=b"other")),
        {"d/f": b"other"},
    ),
    "Rename to a new key": (
        lambda store: store.objects.rename("bucket", b"x/y", RenameSpec(source=b"d/f")),
        {"x/y": OLD, "other": b"other"},
    ),
}


@pytest.mark.parametrize("kind", CHANGES)
async def test_a_change_over_s3_is_seen_when_it_is_answered_and_who_has_it_open_keeps_the_old_bytes(
    engine,  # noqa: F811
    place,  # noqa: F811
    kind,
):
    change, expected = CHANGES[kind]
    await put(engine, b"d/f", OLD)
    await put(engine, b"other", b"other")

    def look():
        assert seen(place) == {"d/f": OLD, "other": b"other"}
        for missing in ("x/y", "d/e", "%file%d"):
            assert not (place / missing).exists()  # the kernel remembers that, too
        return os.open(place / "d/f", os.O_RDONLY)

    fd = await there(look)
    await change(engine)
    assert await there(seen, place) == expected
    assert await there(os.pread, fd, len(OLD) + 1, 0) == OLD
    await there(os.close, fd)


async def test_what_a_lifecycle_rule_expires_is_gone_from_the_mount(tmp_path, transport):
    async with opened(tmp_path) as kept:
        await kept.engine.buckets.create("bucket", "alice")
        await kept.rules(Rule(id="r", enabled=True, days=1, prefix="logs/"))
        await kept.put(b"logs/a", b"x")
        await kept.put(b"kept", b"y")
        async with mounted(tmp_path, kept.engine, transport) as root:
            assert await there(seen, root / "bucket") == {"logs/a": b"x", "kept": b"y"}
            await kept.days(3)
            assert await there(seen, root / "bucket") == {"kept": b"y"}


async def test_a_move_to_another_tier_changes_nothing_but_the_tier(tmp_path, transport):
    async with tiered_engine(tmp_path) as engine:  # noqa: F811
        await engine.buckets.create("bucket", "alice")
        async with mounted(tmp_path, engine, transport) as root:
            path = root / "bucket/f"
            content = os.urandom(3 << 20)
            await there(path.write_bytes, content)
            before = await there(os.stat, path)
            fd = await there(os.open, path, os.O_RDONLY)
            assert await there(os.pread, fd, 4096, 0) == content[:4096]
            for tier in ("warm", "cold", "hot", "cold"):
                await move(engine, b"f", tier)
                assert await there(os.getxattr, path, "user.stratum.tier") == tier.encode()
                await there(os.posix_fadvise, fd, 0, 0, os.POSIX_FADV_DONTNEED)
                assert await there(path.read_bytes) == content
                assert await there(os.pread, fd, 4 << 20, 0) == content
                after = await there(os.stat, path)
                assert (after.st_mtime_ns, after.st_ctime_ns, after.st_ino, after.st_size) == (
                    before.st_mtime_ns,
                    before.st_ctime_ns,
                    before.st_ino,
                    before.st_size,
                )
            await there(os.close, fd)

            def change():
                with open(path, "r+b") as file:
                    file.seek(1 << 20)
                    file.write(b"written while it was cold")

            await there(change)
            changed = content[: 1 << 20] + b"written while it was cold" + content[(1 << 20) + 25 :]
            assert await get(engine, b"f") == changed == await there(path.read_bytes)


async def test_published_changes_of_files_are_in_s3_at_once_with_a_truthful_etag(engine, place):  # noqa: F811
    async def told() -> dict[bytes, tuple[int, str]]:
        page = await engine.objects.list("bucket", ListQuery())
        return {view.key: (view.size, view.etag) for view in page.objects}

    def etag(content: bytes) -> tuple[int, str]:
        return len(content), md5(content).hexdigest()

    def make():
        (place / "d").mkdir()
        (place / "d/f").write_bytes(b"1")
        os.symlink("f", place / "d/link")

    await there(make)
    first = await told()
    assert first[b"d/f"] == etag(b"1")
    await there(os.rename, place / "d", place / "e")
    assert set(await told()) == {b"e/f", b"e/link"}
    assert (await told())[b"e/f"] == first[b"d/f"]
    await there(os.chmod, place / "e/f", 0o600)
    await there(os.utime, place / "e/f", (1, 1))
    assert (await told())[b"e/f"] == first[b"d/f"]
    assert (await engine.objects.head("bucket", b"e/f")).inode.mtime == 10**9

    def append():
        with open(place / "e/f", "ab") as file:
            file.write(b"2")

    await there(append)
    assert (await told())[b"e/f"] == etag(b"12")
    await there(os.truncate, place / "e/f", 1)
    assert (await told())[b"e/f"] == etag(b"1")
    await there(os.link, place / "e/f", place / "g")
    assert (await told())[b"g"] == etag(b"1")
    await there(os.unlink, place / "e/f")
    await there(os.unlink, place / "e/link")
    assert await told() == {b"e/": etag(b""), b"g": etag(b"1")}


async def test_a_reader_over_s3_keeps_its_bytes_while_the_file_is_written(engine, place):  # noqa: F811
    await engine.objects.put("bucket", b"f", body_of(OLD), PutSpec())
    reading = await engine.objects.open("bucket", b"f")
    await there((place / "f").write_bytes, b"new")
    assert await get(engine, b"f") == b"new"
    pieces = [piece async for piece in reading.stream(0, len(OLD))]
    assert b"".join(pieces) == OLD


async def test_cold_data_that_cannot_be_reached_is_not_lost_and_reads_again_later(tmp_path, transport):
    remote = FakeBackend()
    async with tiered_engine(tmp_path, cold=remote, cold_cache_bytes=0) as engine:  # noqa: F811
        await engine.buckets.create("bucket", "alice")
        async with mounted(tmp_path, engine, transport) as root:
            content = os.urandom(2 << 20)
            await there((root / "bucket/f").write_bytes, content)
            await move(engine, b"f", "cold")
            remote.fault = lambda verb: "503"

            def fresh() -> bytes:
                fd = os.open(root / "bucket/f", os.O_RDONLY | os.O_DIRECT)
                try:
                    return b"".join(iter(lambda: os.read(fd, 1 << 20), b""))
                finally:
                    os.close(fd)

            assert await there(errno_of, fresh) == "EAGAIN"
            assert await there(lambda: (root / "bucket/f").stat().st_size) == len(content)
            remote.fault = lambda verb: None
            with trio.fail_after(10):
                while True:
                    try:
                        assert await there(fresh) == content
                        break
                    except BlockingIOError:
                        await trio.sleep(0.05)


IN_DELETE_SELF, IN_DELETE, IN_IGNORED, IN_NONBLOCK = 0x400, 0x200, 0x8000, 0x800


class Watch:
    """inotify(7) on files and folders."""

    def __init__(self, *paths) -> None:
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.fd = self.libc.inotify_init1(IN_NONBLOCK)
        self.of = {self.libc.inotify_add_watch(self.fd, os.fsencode(path), 0xFFF): path.name for path in paths}

    def events(self) -> set[tuple[str, int, bytes]]:
        found = set()
        with suppress(BlockingIOError):
            raw = os.read(self.fd, 65_536)
            while raw:
                watch, mask, _, length = struct.unpack_from("iIII", raw)
                found.add((self.of[watch], mask & ~0x4000_0000, raw[16 : 16 + length].rstrip(b"\0")))
                raw = raw[16 + length :]
        return found

    def close(self) -> None:
        os.close(self.fd)


async def test_who_watches_a_file_or_folder_is_told_that_s3_deleted_it(engine, place):  # noqa: F811
    for key in (b"d/f", b"d/g", b"e/x", b"links/one"):
        await engine.objects.put("bucket", key, body_of(b"content"), PutSpec())

    def watch():
        os.link(place / "links/one", place / "links/two")
        return Watch(place / "d/f", place / "d/g", place / "e", place / "links/one")

    watching = await there(watch)
    try:
        await engine.objects.delete("bucket", b"d/f")
        await engine.objects.put("bucket", b"d/g", body_of(b"another"), PutSpec())
        await engine.objects.delete("bucket", b"e/x")  # and the folder with it
        await engine.objects.delete("bucket", b"links/two")  # the other name stays
        await engine.changes.taken_in()
        told: set = set()
        with trio.fail_after(5):
            while not {("f", IN_DELETE_SELF, b""), ("g", IN_DELETE_SELF, b""), ("e", IN_DELETE_SELF, b"")} <= told:
                told |= watching.events()
                await trio.sleep(0.01)
        assert not any(name == "one" and mask & (IN_DELETE_SELF | IN_IGNORED) for name, mask, _ in told)
        assert await there(lambda: (place / "links/one").stat().st_nlink) == 1
        assert await there((place / "d/g").read_bytes) == b"another"
    finally:
        watching.close()
