"""`.versions` of buckets with versioning, through a real mount.

Room: tests. May import: stratum, tests.
"""

import os
import shutil
import stat
from pathlib import Path

import msgspec
import pytest
import trio

from stratum.core.encryption import SSE_C, CustomerKey, SealSpec
from stratum.core.objects import ListQuery, PutSpec
from tests.engine.conftest import body_of, get
from tests.stratumfs.test_mount import engine, errno_of, place, put, there  # noqa: F401 - fixtures

pytestmark = pytest.mark.fuse


@pytest.fixture
async def kept(engine, place):  # noqa: F811
    """A bucket with versioning."""
    await engine.buckets.amend("bucket", lambda bucket: msgspec.structs.replace(bucket, versioning="Enabled"))
    return place


def contents(folder: Path) -> list[bytes]:
    """What the files of a folder hold, newest first by what they are called."""
    return [(folder / name).read_bytes() for name in sorted(os.listdir(folder), reverse=True)]


def sync(folder: Path) -> None:
    """Have everything closed published."""
    fd = os.open(folder, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)


async def test_earlier_versions_are_seen_read_and_brought_back_with_cp(engine, kept):  # noqa: F811
    for content in (b"one", b"two " * 50_000, b"three"):
        await put(engine, b"d/f", content)
    await engine.objects.delete("bucket", b"d/f")
    await put(engine, b"d/other", b"x")

    def play():
        view = kept / "d/.versions/f"
        assert contents(view) == [b"three", b"two " * 50_000, b"one"]
        newest = max(view.iterdir())
        shutil.copy2(newest, kept / "d/f")
        return newest.name

    name = await there(play)
    assert await get(engine, b"d/f") == b"three"
    time, _, version = name.rpartition("-")
    assert time.endswith("Z") and len(version) == 32
    assert await there(contents, kept / "d/.versions/f") == [b"three", b"two " * 50_000, b"one"]


async def test_what_the_mount_overwrote_and_unlinked_is_there(kept):
    def play():
        for content in (b"1", b"22"):
            (kept / "f").write_bytes(content)
            sync(kept)  # what is replaced before anybody saw it leaves no version
        (kept / "f").unlink()
        (kept / "g").write_bytes(b"only one")
        return contents(kept / ".versions/f"), os.listdir(kept / ".versions"), os.listdir(kept)

    assert await there(play) == ([b"22", b"1"], ["f"], ["g"])


async def test_a_file_closed_a_moment_ago_has_left_its_version_when_somebody_looks(engine, kept):  # noqa: F811
    engine.files._table.publisher._pace.rest = lambda sort: 1e9  # nothing is published unless somebody asks

    def play():
        (kept / "f").write_bytes(b"1")
        (kept / "d").mkdir()
        (kept / "d/%f").write_bytes(b"1")
        sync(kept)
        (kept / "f").write_bytes(b"22")
        seen = [contents(kept / ".versions/f")]  # found by its name
        (kept / "f").write_bytes(b"333")
        seen.append(contents(kept / ".versions/f"))  # listed
        (kept / "d/%f").write_bytes(b"22")
        seen.append([(kept / ".versions/d/%f").is_dir()])
        (kept / "g").write_bytes(b"1")
        sync(kept)
        (kept / "g").write_bytes(b"22")
        return seen, sorted(os.listdir(kept / ".versions"))

    with trio.fail_after(20):
        assert await there(play) == ([[b"1"], [b"22", b"1"], [True]], ["d", "f", "g"])


async def test_what_was_in_folders_that_are_gone_is_found_above(engine, kept):  # noqa: F811
    for key in (b"a/b/c", b"a/b", b"a/b/c/d", b"a//", b"top"):
        await put(engine, key, b"content of " + key)
        await engine.objects.delete("bucket", key)

    def play():
        view = kept / ".versions"
        assert sorted(os.listdir(kept)) == []
        found = {}
        for folder, _, names in os.walk(view):
            found.update({(Path(folder) / name).read_bytes(): Path(folder).relative_to(view) for name in names})
        return {content: str(path) for content, path in found.items()}

    assert await there(play) == {
        b"content of a/b/c": "a/b/%file%c",
        b"content of a/b": "a/%file%b",
        b"content of a/b/c/d": "a/b/c/d",
        b"content of a//": "a/%dir%/%file%",
        b"content of top": "top",
    }


async def test_nothing_of_it_can_be_changed(engine, kept):  # noqa: F811
    await put(engine, b"f", b"old")
    await put(engine, b"f", b"new")

    def play():
        view = kept / ".versions"
        version = next((view / "f").iterdir())
        assert stat.S_IMODE(version.stat().st_mode) & 0o222 == 0
        calls = [
            (os.unlink, version),
            (os.rmdir, view / "f"),
            (os.truncate, version, 0),
            (os.open, version, os.O_WRONLY),
            (os.chmod, version, 0o777),
            (os.utime, version),
            (os.setxattr, version, "user.a", b"1"),
            (os.mkdir, view / "new"),
            (os.link, version, kept / "linked"),
            (os.rename, version, kept / "moved"),
            (os.rename, kept / "f", view / "f/moved"),
            (os.symlink, "x", view / "link"),
            (os.mkfifo, view / "fifo"),
        ]
        return {errno_of(*call) for call in calls}, errno_of((view / "made").write_bytes, b"")

    assert await there(play) == ({"EROFS"}, "EROFS")
    assert await get(engine, b"f") == b"new"


async def test_s3_sees_nothing_of_it_and_backups_do_not_walk_into_it(engine, kept):  # noqa: F811
    await put(engine, b"d/f", b"old")
    await put(engine, b"d/f", b"new")
    assert await there(lambda: len(os.listdir(kept / "d/.versions"))) == 1
    assert await there(lambda: [names for _, *names in os.walk(kept)]) == [[["d"], []], [[], ["f"]]]
    page = await engine.objects.list("bucket", ListQuery())
    assert [view.key for view in page.objects] == [b"d/f"]


async def test_a_key_of_the_same_name_has_it_and_the_alias_leads_to_the_versions(engine, kept):  # noqa: F811
    await put(engine, b"f", b"old")
    await put(engine, b"f", b"new")
    assert await there(os.listdir, kept / ".versions") == ["f"]
    await put(engine, b".versions/f", b"a real one")
    await put(engine, b"%versions%", b"another")

    def play():
        assert (kept / ".versions/f").read_bytes() == b"a real one"
        assert (kept / "%file%%25versions%25").read_bytes() == b"another"
        assert sorted(os.listdir(kept)) == ["%file%%25versions%25", ".versions", "f"]
        return contents(kept / "%versions%/f")

    assert await there(play) == [b"old"]


async def test_without_versioning_it_is_an_ordinary_name(engine, place):  # noqa: F811
    def play():
        assert errno_of(os.stat, place / ".versions") == "ENOENT"
        assert errno_of(os.stat, place / "%versions%") == "ENOENT"
        assert errno_of(os.stat, place.parent / ".versions") == "ENOENT"
        (place / ".versions").mkdir()
        (place / ".versions/f").write_bytes(b"x")
        assert errno_of(os.mkdir, place / "%versions%") == "EINVAL"

    await there(play)
    assert await get(engine, b".versions/f") == b"x"


async def test_versions_that_come_later_are_seen_at_once(engine, kept):  # noqa: F811
    await put(engine, b"f", b"1")
    assert await there(errno_of, os.stat, kept / ".versions/f") == "ENOENT"
    for count in (1, 2, 3):
        await put(engine, b"f", b"next")
        assert await there(lambda: len(os.listdir(kept / ".versions/f"))) == count


async def test_a_folder_that_others_may_not_enter_keeps_its_versions_from_them(engine, kept):  # noqa: F811
    for key in (b"secret/f", b"gone/f"):
        await put(engine, key, b"1")
        await put(engine, key, b"2")
    await engine.objects.delete("bucket", b"gone/f")

    def play():
        os.chmod(kept / "secret", 0o700)
        return [stat.S_IMODE((kept / ".versions" / name).stat().st_mode) for name in ("secret", "secret/f", "gone")]

    assert await there(play) == [0o500, 0o500, 0o500]


async def test_a_version_deleted_for_good_and_a_folder_closed_to_others_are_so_at_once(engine, kept):  # noqa: F811
    for body in (b"1", b"2"):
        await put(engine, b"d/f", body)

    def look():
        (name,) = os.listdir(kept / "d/.versions/f")
        path = kept / "d/.versions/f" / name
        assert path.read_bytes() == b"1"
        assert stat.S_IMODE((kept / ".versions/d").stat().st_mode) == 0o555
        os.chmod(kept / "d", 0o700)
        return path, stat.S_IMODE((kept / ".versions/d").stat().st_mode)

    path, mode = await there(look)
    await engine.objects.delete("bucket", b"d/f", version=path.name.rpartition("-")[2])
    assert (mode, await there(errno_of, os.stat, path)) == (0o500, "ENOENT")


async def test_many_names_and_versions_are_listed_whole(engine, kept):  # noqa: F811
    def make():
        for number in range(300):
            (kept / f"file-{number:03}").write_bytes(b"x")
        sync(kept)
        for number in range(300):
            (kept / f"file-{number:03}").unlink()

    await there(make)
    for number in range(60):
        await put(engine, b"one", b"%d" % number)
    assert await there(lambda: sorted(os.listdir(kept / ".versions"))) == [
        *(f"file-{number:03}" for number in range(300)),
        "one",
    ]
    assert await there(lambda: len(set(os.listdir(kept / ".versions/one")))) == 59


async def test_a_version_under_a_customers_key_is_refused_like_the_file(engine, kept):  # noqa: F811
    spec = PutSpec(seal=SealSpec(scheme=SSE_C, customer=CustomerKey(bytes(32), "md5")))
    await engine.objects.put("bucket", b"f", body_of(b"secret"), spec)
    await put(engine, b"f", b"plain")
    version = await there(lambda: next((kept / ".versions/f").iterdir()))
    assert await there(errno_of, version.read_bytes) == "EACCES"
