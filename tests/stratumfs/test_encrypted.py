"""Files of buckets with default encryption, and encrypted objects as files, through a real mount.

Room: tests. May import: stratum, tests.
"""

import os
import subprocess
from hashlib import md5
from pathlib import Path

import msgspec
import pytest

from stratum.core.encryption import KIND, SSE_C, SSE_KMS, SSE_S3, CustomerKey, Encryption, SealSpec
from stratum.core.errors import NoSuchKey
from stratum.core.objects import CopySpec, PutSpec
from tests.engine.conftest import body_of, get, read_all
from tests.stratumfs.test_mount import engine, errno_of, place, put, there  # noqa: F401 - fixtures

pytestmark = pytest.mark.fuse

SECRET = b"nobody but the owner may read this. "


@pytest.fixture
async def encrypted(engine, place):  # noqa: F811
    """A bucket whose objects are encrypted unless they say otherwise."""
    await engine.configurations.put("bucket", KIND, Encryption(SSE_S3))
    return place


async def sealed(engine, key: bytes):  # noqa: F811
    return (await engine.objects.head("bucket", key)).inode.sealed


def found_on_disks(engine, needle: bytes) -> list[str]:  # noqa: F811
    """The files of the store, index and journal included, that hold these bytes."""
    folder = Path(engine.settings.data).parent
    command = ["grep", "-rlaF", "--exclude-dir=mnt", needle.decode(), "data", "disks"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False).stdout.split()


@pytest.mark.parametrize("size", [0, 1, 3000, 16_384, 100_000, (9 << 20) + 17])
async def test_what_is_written_is_encrypted_and_reads_the_same_through_both_doors(engine, encrypted, size):  # noqa: F811
    content = (SECRET * (size // len(SECRET) + 1))[:size]
    await there((encrypted / "f").write_bytes, content)
    assert await get(engine, b"f") == content
    assert await there((encrypted / "f").read_bytes) == content
    assert (await engine.objects.head("bucket", b"f")).etag == md5(content).hexdigest()
    assert (await sealed(engine, b"f")).scheme == SSE_S3
    opened = await engine.objects.open("bucket", b"f")
    for start, stop in ((0, size // 3), (size // 3, size // 2 + 1), (max(size - 5, 0), size)):
        assert await read_all(opened, start, min(stop, size)) == content[start:stop]
    if size >= len(SECRET):
        await engine.meta.durable(engine.meta.seen)
        assert await there(found_on_disks, engine, SECRET) == []


async def test_a_named_key_hides_the_etag(engine, place):  # noqa: F811
    await engine.keys.create("k")
    await engine.configurations.put("bucket", KIND, Encryption(SSE_KMS, "k"))
    await there((place / "f").write_bytes, b"x" * 5000)
    held = await sealed(engine, b"f")
    assert (held.scheme, held.key_id) == (SSE_KMS, "k")
    assert (await engine.objects.head("bucket", b"f")).etag != md5(b"x" * 5000).hexdigest()
    assert await get(engine, b"f") == b"x" * 5000


@pytest.mark.parametrize("size", [100, 50_000, (3 << 20) + 5])
@pytest.mark.parametrize("through", ["s3", "mount"])
async def test_encrypted_files_are_changed_in_place(engine, encrypted, size, through):  # noqa: F811
    content = bytearray(os.urandom(size))
    if through == "s3":
        await engine.objects.put("bucket", b"f", body_of(bytes(content)), PutSpec(seal=SealSpec(scheme=SSE_S3)))
    else:
        await there((encrypted / "f").write_bytes, bytes(content))

    def play():
        with open(encrypted / "f", "r+b") as file:
            for at in (size // 2, 3, size - 1, size + 40_000):
                file.seek(at)
                file.write(b"changed")
                file.flush()
                os.fsync(file.fileno())
                content.extend(bytes(max(at + 7 - len(content), 0)))
                content[at : at + 7] = b"changed"
                file.seek(0)
                assert file.read() == content
            file.truncate(size // 3)
            del content[size // 3 :]
        with open(encrypted / "f", "ab") as file:
            file.write(b"appended")
        content.extend(b"appended")
        assert (encrypted / "f").read_bytes() == content

    await there(play)
    assert await get(engine, b"f") == bytes(content)
    assert (await sealed(engine, b"f")).scheme == SSE_S3


async def test_what_was_encrypted_stays_so_when_it_is_emptied(engine, place):  # noqa: F811
    await engine.objects.put("bucket", b"f", body_of(b"one"), PutSpec(seal=SealSpec(scheme=SSE_S3)))
    before = await sealed(engine, b"f")
    await there((place / "f").write_bytes, b"two")
    after = await sealed(engine, b"f")
    assert after.scheme == SSE_S3 and after.wrapped != before.wrapped
    assert await get(engine, b"f") == b"two"


async def test_a_plain_file_stays_plain_until_it_is_emptied(engine, place):  # noqa: F811
    await put(engine, b"f", b"plain")
    await engine.configurations.put("bucket", KIND, Encryption(SSE_S3))

    def append():
        with open(place / "f", "ab") as file:
            file.write(b"er")

    await there(append)
    assert await sealed(engine, b"f") is None and await get(engine, b"f") == b"plainer"
    await there((place / "f").write_bytes, b"anew")
    assert await sealed(engine, b"f") is not None and await get(engine, b"f") == b"anew"


async def test_a_file_under_a_customers_key_can_only_be_replaced(engine, place):  # noqa: F811
    spec = PutSpec(seal=SealSpec(scheme=SSE_C, customer=CustomerKey(bytes(32), "md5")))
    await engine.objects.put("bucket", b"f", body_of(b"secret"), spec)

    def play():
        assert errno_of((place / "f").read_bytes) == "EACCES"
        fd = os.open(place / "f", os.O_WRONLY)
        assert errno_of(os.pwrite, fd, b"x", 0) == "EPERM"
        os.close(fd)
        (place / "f").write_bytes(b"replaced")

    await there(play)
    assert await get(engine, b"f") == b"replaced" and await sealed(engine, b"f") is None


async def test_holes_of_an_encrypted_file_are_not_stored(engine, encrypted):  # noqa: F811
    def play():
        with open(encrypted / "f", "wb") as file:
            file.truncate(1 << 40)
            file.seek(1 << 39)
            file.write(b"island")
        with open(encrypted / "f", "rb") as file:
            file.seek((1 << 39) - 3)
            assert file.read(12) == b"\0\0\0island\0\0\0"
            os.fsync(file.fileno())
        return (encrypted / "f").stat().st_blocks

    assert await there(play) <= 64
    opened = await engine.objects.open("bucket", b"f")
    assert await read_all(opened, (1 << 39) - 2, (1 << 39) + 8) == b"\0\0island\0\0"


async def test_copies_and_versions_of_a_file_keep_what_they_were(engine, encrypted):  # noqa: F811
    await engine.buckets.amend("bucket", lambda bucket: msgspec.structs.replace(bucket, versioning="Enabled"))
    await there((encrypted / "f").write_bytes, b"a" * 40_000)
    await engine.objects.copy("bucket", b"f", "bucket", b"copy", CopySpec(seal=SealSpec(scheme=SSE_S3)))
    await engine.objects.copy("bucket", b"f", "bucket", b"plain", CopySpec())

    def change():
        with open(encrypted / "f", "r+b") as file:
            file.seek(20_000)
            file.write(b"b")
            file.flush()
            os.fsync(file.fileno())
        version = next((encrypted / ".versions/f").iterdir())
        return version.read_bytes()

    await get(engine, b"f")
    changed = b"a" * 20_000 + b"b" + b"a" * 19_999
    assert await there(change) != changed
    assert await get(engine, b"f") == changed
    assert await get(engine, b"copy") == await get(engine, b"plain") == b"a" * 40_000
    assert await sealed(engine, b"plain") is None


async def test_without_a_master_key_nothing_is_written_in_plain(tmp_path, transport):
    from stratum.engine.keys import NO_MASTER_KEYS
    from tests.engine.conftest import engine_at
    from tests.stratumfs.test_mount import mounted

    async with engine_at(tmp_path, masters=NO_MASTER_KEYS) as engine:  # noqa: F811
        await engine.buckets.create("bucket", "alice")
        await engine.configurations.put("bucket", KIND, Encryption(SSE_S3))
        async with mounted(tmp_path, engine, transport) as root:

            def play():
                fd = os.open(root / "bucket/f", os.O_CREAT | os.O_WRONLY)
                os.write(fd, SECRET)
                assert errno_of(os.fsync, fd) == "ENOKEY"
                os.unlink(root / "bucket/f")
                os.close(fd)

            await there(play)
        with pytest.raises(NoSuchKey):
            await engine.objects.head("bucket", b"f")
        assert await there(found_on_disks, engine, SECRET) == []
