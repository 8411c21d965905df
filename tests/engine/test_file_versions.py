"""A bucket with versioning, changed through the mount: S3 keeps seeing what was there before."""

import msgspec

from stratum.core.objects import VersionQuery
from tests.engine.test_files import WHO, close, create, root_of, write_file

B = "bucket"


async def versioned(engine, status="Enabled"):
    root = await root_of(engine)
    await engine.buckets.amend(B, lambda bucket: msgspec.structs.replace(bucket, versioning=status))
    return root


async def history(engine, key=b"f"):
    """[(body or None for a marker, latest)], newest first."""
    page = await engine.objects.list_versions(B, VersionQuery(prefix=key))
    found = []
    for version in page.versions:
        if version.key == key:
            body = None if version.marker else await read(engine, key, version.version)
            found.append((body, version.latest))
    return found


async def write_below(engine, directory, name, content):
    handle, number = await create(engine, name, content, directory)
    await close(engine, handle)
    return number


async def read(engine, key, version=None):
    opened = await engine.objects.open(B, key, version)
    return b"".join([piece async for piece in opened.stream(0, opened.view.size)])


async def overwrite(engine, number, body, *, syncs=0):
    handle = engine.files.open(number, writes=True, truncate=True)
    for at in range(syncs):
        await engine.files.write(handle, 0, b"synced %d" % at)
        await engine.files.fsync(handle)
    await engine.files.write(handle, 0, body)
    await engine.files.flush(handle)
    await engine.files.release(handle)


async def test_a_file_written_to_again_leaves_the_version_before(engine):
    await versioned(engine)
    number = await write_file(engine, b"f", b"one")
    await engine.files.settle(None)
    await overwrite(engine, number, b"two")
    assert await history(engine) == [(b"two", True), (b"one", False)]


async def test_a_file_that_stays_open_makes_one_version_however_often_it_is_synced(engine):
    await versioned(engine)
    number = await write_file(engine, b"f", b"one")
    await engine.files.settle(None)
    await overwrite(engine, number, b"end result", syncs=5)
    assert await history(engine) == [(b"end result", True), (b"one", False)]


async def test_unlink_makes_a_delete_marker(engine):
    root = await versioned(engine)
    await write_file(engine, b"f", b"one")
    await engine.files.settle(None)
    await engine.files.names.unlink(root, b"f")
    assert await history(engine) == [(None, True), (b"one", False)]


async def test_a_file_that_s3_never_saw_leaves_nothing(engine):
    root = await versioned(engine)
    handle, _, _ = await engine.files.create(root, b"f", 0o644, WHO, exclusive=True, truncate=False)
    await engine.files.names.unlink(root, b"f")
    await engine.files.release(handle)
    assert await history(engine) == []


async def test_the_way_editors_save_leaves_the_version_before_and_nothing_of_the_temporary_name(engine):
    root = await versioned(engine)
    await write_file(engine, b"f", b"one")
    await write_file(engine, b"f.tmp", b"two")
    await engine.files.settle(None)
    await engine.files.names.rename(root, b"f.tmp", root, b"f", noreplace=False, exchange=False)
    assert await history(engine) == [(b"two", True), (b"one", False)]
    assert await history(engine, b"f.tmp") == []


async def test_a_renamed_file_with_a_history_leaves_a_marker_and_the_history(engine):
    root = await versioned(engine)
    number = await write_file(engine, b"f", b"one")
    await engine.files.settle(None)
    await overwrite(engine, number, b"two")
    await engine.files.settle(None)
    await engine.files.names.rename(root, b"f", root, b"g", noreplace=False, exchange=False)
    assert await history(engine) == [(None, True), (b"one", False)]
    assert await history(engine, b"g") == [(b"two", True)]


async def test_in_a_suspended_bucket_only_versions_with_an_id_are_kept(engine):
    await versioned(engine)
    number = await write_file(engine, b"f", b"kept")
    await engine.files.settle(None)
    await versioned(engine, "Suspended")
    for body in (b"null 1", b"null 2"):
        await overwrite(engine, number, body)
        await engine.files.settle(None)
    assert await history(engine) == [(b"null 2", True), (b"kept", False)]


async def test_a_renamed_directory_takes_its_files_along_and_leaves_their_history(engine):
    root = await versioned(engine)
    folder, _ = await engine.files.names.make_directory(root, b"d", 0o755, WHO)
    number = await write_below(engine, folder, b"f", b"one")
    await engine.files.settle(None)
    await overwrite(engine, number, b"two")
    await engine.files.settle(None)
    await engine.files.names.rename(root, b"d", root, b"e", noreplace=False, exchange=False)
    assert await history(engine, b"d/f") == [(b"one", False)]
    assert await history(engine, b"e/f") == [(b"two", True)]
    await overwrite(engine, number, b"three")
    assert await history(engine, b"e/f") == [(b"three", True), (b"two", False)]
