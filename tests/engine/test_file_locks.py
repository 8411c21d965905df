"""Object lock holds against the mount: what is locked stays under its key, whatever is done to the file."""

import msgspec
import pytest

from stratum.core.errors import CrossesBuckets
from stratum.core.locks import COMPLIANCE, DAY_NS, KIND, ObjectLock
from stratum.core.objects import VersionQuery
from tests.engine.test_file_versions import B, history, overwrite, write_below
from tests.engine.test_files import WHO, root_of, write_file


async def vault(engine, *, default: bool = True) -> int:
    """The root of a bucket with object lock, and (`default`) a retention for everything in it."""
    root = await root_of(engine)
    await engine.buckets.amend(B, lambda bucket: msgspec.structs.replace(bucket, versioning="Enabled", lock=True))
    if default:
        await engine.configurations.put(B, KIND, ObjectLock(COMPLIANCE, days=1))
    return root


async def hold(engine, key: bytes) -> None:
    await engine.objects.amend(B, key, None, lambda inode: msgspec.structs.replace(inode, legal_hold=True))


async def move(engine, root: int, old: bytes, new: bytes, *, exchange: bool = False) -> None:
    await engine.files.names.rename(root, old, root, new, noreplace=False, exchange=exchange)


async def test_a_file_gets_the_default_retention_of_its_bucket(engine):
    await vault(engine)
    await write_file(engine, b"f", b"one")
    await engine.files.settle(None)
    retention = (await engine.objects.head(B, b"f")).inode.retention
    assert retention.mode == COMPLIANCE and retention.until > engine.now_ns() + DAY_NS / 2


async def test_every_retained_version_of_a_file_that_stays_open_is_kept(engine):
    await vault(engine)
    number = await write_file(engine, b"f", b"one")
    await engine.files.settle(None)
    await overwrite(engine, number, b"the very end", syncs=2)
    await engine.files.settle(None)
    assert [body for body, _ in await history(engine, b"f")] == [b"the very end", b"synced 1", b"synced 0", b"one"]
    page = await engine.objects.list_versions(B, VersionQuery(prefix=b"f"))
    assert all(version.view.inode.retention.mode == COMPLIANCE for version in page.versions)


async def test_the_lock_of_one_version_is_not_that_of_the_next(engine):
    await vault(engine, default=False)
    number = await write_file(engine, b"f", b"one")
    await engine.files.settle(None)
    await hold(engine, b"f")
    await overwrite(engine, number, b"two")
    await engine.files.settle(None)
    page = await engine.objects.list_versions(B, VersionQuery(prefix=b"f"))
    assert [version.view.inode.legal_hold for version in page.versions] == [False, True]


async def test_a_locked_file_and_a_directory_that_may_hold_one_are_not_renamed(engine):
    root = await vault(engine, default=False)
    await write_file(engine, b"f", b"one")
    await write_file(engine, b"free", b"two")
    directory, _ = await engine.files.names.make_directory(root, b"d", 0o755, WHO)
    await write_below(engine, directory, b"g", b"three")
    await engine.files.settle(None)
    await hold(engine, b"f")
    for old, new, exchange in ((b"f", b"x", False), (b"f", b"free", True), (b"free", b"f", True), (b"d", b"e", False)):
        with pytest.raises(CrossesBuckets):
            await move(engine, root, old, new, exchange=exchange)
    await move(engine, root, b"free", b"f")  # over it: the locked one stays as a version
    assert await history(engine, b"f") == [(b"two", True), (b"one", False)]
    await engine.files.names.unlink(root, b"f")
    assert [body for body, _ in await history(engine, b"f")] == [None, b"two", b"one"]
