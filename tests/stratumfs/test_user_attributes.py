"""`user.*` attributes of files and the metadata of objects, through a real mount.

Room: tests. May import: stratum, tests.
"""

import json
import os

import pytest

from stratum.core.objects import CopySpec, PutSpec
from tests.engine.conftest import body_of, get
from tests.stratumfs.test_mount import engine, errno_of, place, put, there  # noqa: F401 - fixtures

pytestmark = pytest.mark.fuse


async def metadata(engine, key: bytes) -> dict[str, str]:  # noqa: F811
    return (await engine.objects.head("bucket", key)).inode.metadata


def attributes(path) -> dict[str, bytes]:
    return {name: os.getxattr(path, name) for name in os.listxattr(path)}


async def test_metadata_that_s3_set_is_an_attribute_and_survives_edits(engine, place):  # noqa: F811
    await engine.objects.put("bucket", b"f", body_of(b"x"), PutSpec(metadata={"colour": "red", "stratum-hint": "hot"}))

    def play():
        seen = attributes(place / "f")
        with open(place / "f", "ab") as file:
            file.write(b"y")
            os.fsync(file.fileno())
        os.rename(place / "f", place / "g")
        return seen

    assert await there(play) == {"user.colour": b"red", "user.stratum.hint": b"hot"}
    assert await metadata(engine, b"g") == {"colour": "red", "stratum-hint": "hot"}
    assert await get(engine, b"g") == b"xy"


async def test_attributes_set_through_the_mount_are_metadata_of_s3_and_go_along_with_a_copy(engine, place):  # noqa: F811
    def set_some():
        (place / "f").write_bytes(b"x")
        os.setxattr(place / "f", "user.colour", b"red")
        os.setxattr(place / "f", "user.Binary", b"\0\xff")
        os.setxattr(place / "f", "user.large", bytes(60_000))

    await there(set_some)
    seen = await metadata(engine, b"f")
    assert seen == {"colour": "red", "stratum-xattr-%42inary": "%00%ff"}
    await engine.objects.copy("bucket", b"f", "bucket", b"copy", CopySpec())
    await engine.objects.copy("bucket", b"f", "bucket", b"f", CopySpec())
    await engine.objects.copy("bucket", b"f", "bucket", b"other", CopySpec(metadata={"colour": "blue"}))
    for name in ("copy", "f"):
        assert await there(attributes, place / name) == {
            "user.colour": b"red",
            "user.Binary": b"\0\xff",
            "user.large": bytes(60_000),
        }
    assert await there(attributes, place / "other") == {"user.colour": b"blue"}


async def test_attributes_are_created_replaced_and_removed_wherever_they_stand(place):  # noqa: F811
    def play():
        path = place / "f"
        path.write_bytes(b"")
        for value in (b"short", bytes(5000), b"\xff", b"short again"):
            os.setxattr(path, "user.a", value)
            assert attributes(path) == {"user.a": value}
            assert errno_of(os.setxattr, path, "user.a", b"", os.XATTR_CREATE) == "EEXIST"
        os.setxattr(path, "user.a", b"replaced", os.XATTR_REPLACE)
        assert errno_of(os.setxattr, path, "user.b", b"", os.XATTR_REPLACE) == "ENODATA"
        before = path.stat().st_ctime_ns
        os.removexattr(path, "user.a")
        assert path.stat().st_ctime_ns > before
        assert attributes(path) == {} and errno_of(os.removexattr, path, "user.a") == "ENODATA"
        assert errno_of(os.setxattr, path, "user." + "n" * 300, b"") in ("ERANGE", "EINVAL")
        (place / "d").mkdir()
        os.setxattr(place / "d", "user.a", b"of a directory")
        assert attributes(place / "d") == {"user.a": b"of a directory"}

    await there(play)


async def test_what_the_store_knows_is_read_only_and_wishes_are_checked(engine, place):  # noqa: F811
    await put(engine, b"f", b"x")

    def play():
        path = place / "f"
        assert os.getxattr(path, "user.stratum.tier") == b"hot"
        assert os.getxattr(path, "user.stratum.why").startswith(b"hot")
        assert os.listxattr(path) == []
        for fact in ("tier", "why", "status", "other"):
            assert errno_of(os.setxattr, path, f"user.stratum.{fact}", b"cold") == "EPERM"
        assert errno_of(os.removexattr, path, "user.stratum.tier") == "EPERM"
        for wish, value in (("hint", b"lukewarm"), ("pin", b""), ("pin", b"HOT")):
            assert errno_of(os.setxattr, path, f"user.stratum.{wish}", value) == "EINVAL"
        os.setxattr(path, "user.stratum.pin", b"warm")
        os.setxattr(path, "user.stratum.hint", b"cold")
        assert attributes(path) == {"user.stratum.hint": b"cold", "user.stratum.pin": b"warm"}
        assert errno_of(os.getxattr, place, "user.stratum.tier") == "ENODATA"
        return json.loads(os.getxattr(place.parent, "user.stratum.status"))

    status = await there(play)
    assert status["state"] == "healthy" and status["disks_in_service"] == 6
    assert await metadata(engine, b"f") == {"stratum-hint": "cold", "stratum-pin": "warm"}
    assert await there(errno_of, os.getxattr, place, "user.stratum.status") == "ENODATA"


async def test_setting_an_attribute_changes_neither_etag_nor_date_of_the_object(engine, place):  # noqa: F811
    await put(engine, b"f", b"x")
    before = await engine.objects.head("bucket", b"f")
    await there(os.setxattr, place / "f", "user.a", b"1")
    after = await engine.objects.head("bucket", b"f")
    assert (after.etag, after.inode.mtime) == (before.etag, before.inode.mtime)
    assert after.inode.ctime > before.inode.ctime
