"""Mounted files and S3 on one real engine: who sees what when, and what outlives what.

Room: tests. May import: stratum, tests.engine.
"""

import os
from dataclasses import replace
from hashlib import md5

import pytest
import trio
import trio.testing

from stratum.core.config import KIB
from stratum.core.errors import NoSuchInode, NoSuchKey, StoreFull
from stratum.core.objects import CopySpec, ListQuery, PutSpec
from stratum.core.records import Inode
from stratum.core.schema import NOT_PUBLISHED, ORPHAN, inode_key
from stratum.core.txn import load, scan_records
from stratum.core.views import object_at
from stratum.engine.engine import open_engine
from stratum.engine.file_attributes import AttributeChange
from stratum.engine.file_names import Caller
from tests.engine.conftest import ROOT, Clock, body_of, engine_at, get, settings_for

WHO = Caller(1000, 1000)


async def root_of(engine, bucket="bucket"):
    return (await engine.buckets.get(bucket)).root


async def create(engine, name, content=b"", parent=None):
    """Open a new file with bytes in it; return (handle, inode number)."""
    parent = parent or await root_of(engine)
    handle, number, _ = await engine.files.create(parent, name, 0o644, WHO, exclusive=True, truncate=False)
    if content:
        await engine.files.write(handle, 0, content)
    return handle, number


async def close(engine, handle):
    await engine.files.flush(handle)
    await engine.files.release(handle)


async def write_file(engine, name, content):
    handle, number = await create(engine, name, content)
    await close(engine, handle)
    return number


async def keys(engine):
    return [view.key for view in (await engine.objects.list("bucket", ListQuery())).objects]


def orphans(engine):
    return engine.meta.read(lambda txn: list(scan_records(txn, ORPHAN, int)))


async def test_a_closed_file_is_published_before_s3_looks_at_its_key_or_lists_over_it(engine):
    await write_file(engine, b"one", b"1")
    assert not engine.files.idle
    assert await get(engine, b"one") == b"1"
    await write_file(engine, b"two", b"2")
    assert await keys(engine) == [b"one", b"two"]
    assert engine.files.idle


async def test_a_closed_file_is_published_soon_even_if_nobody_asks(engine):
    number = await write_file(engine, b"one", b"1")
    with trio.fail_after(5):
        while not engine.files.idle:
            await trio.sleep(0.005)
    assert engine.meta.read(lambda txn: load(txn, inode_key(number), Inode)).etag == md5(b"1").hexdigest()


async def test_many_closed_files_share_few_commits(engine):
    before = engine.meta.sequence
    for number in range(300):
        await write_file(engine, b"%d" % number, os.urandom(6 * KIB))
    await engine.files.settle(None)
    assert len(await keys(engine)) == 300
    assert engine.meta.sequence - before < 100


async def test_what_was_synced_outlives_a_process_that_ends_without_a_word(tmp_path):
    content = os.urandom(3 << 20)
    async with engine_at(tmp_path) as engine:
        await engine.buckets.create("bucket", "alice")
        handle, _ = await create(engine, b"synced", content)
        await engine.files.fsync(handle)
        await engine.files.write(handle, 0, b"not synced")
        other, _ = await create(engine, b"other")
        root = await root_of(engine)
        await engine.files.names.rename(root, b"synced", root, b"new name", noreplace=False, exchange=False)
        await engine.files.fsync(other)
        engine.files.close = _do_nothing
        engine.meta.close = _do_nothing
        engine.meta.abandon()
    async with engine_at(tmp_path) as engine:
        assert await get(engine, b"new name") == content
        assert await keys(engine) == [b"new name", b"other"]


async def _do_nothing():
    pass


async def test_with_durable_close_everything_is_durable_when_close_returns(tmp_path):
    settings = replace(settings_for(tmp_path), close="durable")
    async with open_engine(settings, root=ROOT, now_ns=Clock()) as engine:
        await engine.buckets.create("bucket", "alice")
        handle, number = await create(engine, b"f", b"x" * 10_000)
        await engine.files.flush(handle)
        assert engine.files.idle
        inode = await engine.meta.read_durable(lambda txn: load(txn, inode_key(number), Inode))
        assert inode.size == 10_000
        assert engine.meta.seen <= engine.meta.sequence


async def test_a_full_store_is_reported_by_fsync_and_else_by_the_next_call_once(engine):
    handle, _ = await create(engine, b"f", b"x" * 10_000)
    store, engine.files._mounted.contents.store = engine.files._mounted.contents.store, _full
    with pytest.raises(StoreFull):
        await engine.files.fsync(handle)
    await engine.files.flush(handle)
    await engine.files.settle(None)
    with pytest.raises(StoreFull):
        await engine.files.write(handle, 0, b"y")
    await engine.files.write(handle, 0, b"y")
    engine.files._mounted.contents.store = store
    await engine.files.fsync(handle)
    await close(engine, handle)
    assert await get(engine, b"f") == b"y" + b"x" * 9_999


async def _full(content):
    raise StoreFull("no room")


async def test_writers_wait_instead_of_filling_the_memory(tmp_path):
    async with engine_at(tmp_path, dirty_bytes=1 << 20, dirty_bytes_per_file=256 * KIB, pack_bytes=64 * KIB) as engine:
        await engine.buckets.create("bucket", "alice")
        memory, most = engine.files._mounted.memory, 0
        handles = [(await create(engine, b"%d" % number))[0] for number in range(8)]
        piece = os.urandom(50 * KIB)
        for round_ in range(20):
            for handle in handles:
                await engine.files.write(handle, round_ * len(piece), piece)
                most = max(most, memory.held)
        assert most <= (1 << 20) + len(piece)
        for handle in handles:
            await close(engine, handle)
        for number in range(8):
            assert await get(engine, b"%d" % number) == piece * 20
        assert memory.held == 0


async def test_an_unlinked_file_is_freed_when_the_last_user_lets_go(engine):
    handle, number = await create(engine, b"f", b"x" * 100_000)
    await engine.files.fsync(handle)
    engine.files.pin(number)
    await engine.files.names.unlink(await root_of(engine), b"f")
    assert orphans(engine) and engine.files.attributes.get(number).nlink == 0
    assert await engine.files.read(handle, 99_999, 10) == b"x"
    await close(engine, handle)
    assert orphans(engine)
    engine.files.unpin([(number, 1)])
    assert not orphans(engine)
    with pytest.raises(NoSuchInode):
        engine.files.attributes.get(number)


async def test_an_object_replaced_over_s3_is_kept_for_those_who_have_it_open(engine):
    await engine.objects.put("bucket", b"k", body_of(b"old" * 5000), PutSpec())
    number, _ = engine.files.names.lookup(await root_of(engine), b"k")
    handle = engine.files.open(number, writes=True)
    await engine.objects.put("bucket", b"k", body_of(b"new"), PutSpec())
    await engine.files.write(handle, 0, b"OLD")
    await engine.files.fsync(handle)
    assert await engine.files.read(handle, 0, 6) == b"OLDold"
    assert await get(engine, b"k") == b"new"
    await close(engine, handle)
    await engine.files.settle(None)
    await trio.testing.wait_all_tasks_blocked()  # it is freed just after
    assert not orphans(engine)


async def test_orphans_of_an_earlier_run_are_freed_at_start(tmp_path):
    async with engine_at(tmp_path) as engine:
        await engine.buckets.create("bucket", "alice")
        handle, number = await create(engine, b"f", b"x")
        await engine.files.names.unlink(await root_of(engine), b"f")
        await engine.files.fsync_directory()
        await engine.files.fsync(handle)
        engine.files.close = _do_nothing
    async with engine_at(tmp_path) as engine:
        assert not orphans(engine)
        with pytest.raises(NoSuchInode):
            engine.files.attributes.get(number)


@pytest.mark.parametrize("unnamed", [False, True])
async def test_a_file_that_was_open_when_the_process_ended_is_seen_by_s3_as_by_the_mount(tmp_path, unnamed):
    async with engine_at(tmp_path) as engine:
        await engine.buckets.create("bucket", "alice")
        root = await root_of(engine)
        if unnamed:
            handle, number, _ = await engine.files.create_unnamed(root, 0o644, WHO)
            await engine.files.names.link(number, root, b"f")
        else:
            handle, number = await create(engine, b"f")
        await engine.files.write(handle, 0, b"never synced")
        await create(engine, b"gone")
        await engine.files.names.unlink(root, b"gone")
        await engine.meta.write(lambda txn: None)  # the names are durable, the bytes are not
        engine.files.close = _do_nothing
        engine.files._table.publisher.enqueue = lambda file: None
    async with engine_at(tmp_path) as engine:
        assert await keys(engine) == [b"f"]
        assert await get(engine, b"f") == b""
        assert engine.files.attributes.get(number).size == 0
        assert engine.meta.read(lambda txn: list(scan_records(txn, NOT_PUBLISHED, int))) == []


async def test_a_copy_made_over_s3_does_not_change_with_the_file(engine):
    number = await write_file(engine, b"f", b"x" * 200_000)
    await engine.objects.copy("bucket", b"f", "bucket", b"copy", CopySpec())
    handle = engine.files.open(number, writes=True)
    await engine.files.write(handle, 5, b"changed")
    await close(engine, handle)
    assert await get(engine, b"copy") == b"x" * 200_000
    assert await get(engine, b"f") == b"x" * 5 + b"changed" + b"x" * 199_988


async def test_truncating_by_name_is_published_as_by_close(engine):
    number = await write_file(engine, b"f", b"x" * 10_000)
    await engine.files.attributes.set(number, AttributeChange(size=3))
    assert await get(engine, b"f") == b"xxx"


async def test_the_setgid_bit_of_a_directory_hands_down_its_group(engine):
    names, root = engine.files.names, await root_of(engine)
    directory, _ = await names.make_directory(root, b"d", 0o2775, Caller(1, 77))
    _, below = await names.make_directory(directory, b"e", 0o755, WHO)
    _, _, file = await engine.files.create(directory, b"f", 0o644, WHO, exclusive=True, truncate=False)
    assert (below.gid, file.gid, below.mode & 0o7777) == (77, 77, 0o2755)


async def test_a_file_deleted_before_it_was_published_leaves_nothing(engine):
    await write_file(engine, b"f", b"x" * 100_000)
    await engine.files.names.unlink(await root_of(engine), b"f")
    await engine.files.settle(None)
    assert await keys(engine) == []
    with trio.fail_after(10):  # it is let go of a moment after it was found to have no name
        while engine.files._mounted.memory.held or engine.files._table.files:
            await trio.lowlevel.checkpoint()
    assert not orphans(engine)


async def rename(engine, old, new, *, exchange=False):
    root = await root_of(engine)
    await engine.files.names.rename(root, old, root, new, noreplace=False, exchange=exchange)


def seen_now(engine, key):
    """What S3 would find under a key, did it not wait for what was closed; None: nothing."""
    try:
        return engine.meta.read(lambda txn: object_at(txn, "bucket", key, None)).inode.etag
    except NoSuchKey:
        return None


@pytest.mark.parametrize("size", [3, 200_000])
@pytest.mark.parametrize("exchange", [False, True])
async def test_a_key_is_never_without_a_version_while_a_new_file_is_renamed_over_it(engine, size, exchange):
    content = os.urandom(size)
    await write_file(engine, b"f", b"old")
    await engine.files.settle(None)
    await write_file(engine, b"f.tmp", content)
    assert seen_now(engine, b"f.tmp") is None
    await rename(engine, *((b"f", b"f.tmp") if exchange else (b"f.tmp", b"f")), exchange=exchange)
    assert seen_now(engine, b"f") == md5(content).hexdigest()
    assert await get(engine, b"f") == content
    assert await keys(engine) == ([b"f", b"f.tmp"] if exchange else [b"f"])


async def test_a_file_renamed_over_another_has_its_bytes_after_any_commit_that_has_its_name(tmp_path):
    async with engine_at(tmp_path) as engine:
        await engine.buckets.create("bucket", "alice")
        await write_file(engine, b"f", b"old")
        await engine.files.settle(None)
        await create(engine, b"f.tmp", b"new")  # not closed: no publication of its own is under way
        await rename(engine, b"f.tmp", b"f")
        await engine.files._mounted.durable()
        engine.files.close = _do_nothing
        engine.meta.close = _do_nothing
        engine.meta.abandon()
    async with engine_at(tmp_path) as engine:
        assert await get(engine, b"f") == b"new"


async def test_where_a_file_cannot_be_published_what_it_would_replace_stays(engine):
    await write_file(engine, b"f", b"old")
    await engine.files.settle(None)
    handle, _ = await create(engine, b"f.tmp", b"x" * 10_000)
    store, engine.files._mounted.contents.store = engine.files._mounted.contents.store, _full
    with pytest.raises(StoreFull):
        await rename(engine, b"f.tmp", b"f")
    engine.files._mounted.contents.store = store
    assert await get(engine, b"f") == b"old"
    await rename(engine, b"f.tmp", b"f")
    assert await get(engine, b"f") == b"x" * 10_000
    await close(engine, handle)


@pytest.mark.parametrize("how", ["open", "create", "truncate"])
async def test_a_closed_file_is_published_whole_although_it_is_emptied_and_written_anew_at_once(engine, how):
    number = await write_file(engine, b"f", b"one, whole")
    await engine.files.publish_closed(number) if how == "open" else None
    if how == "create":
        handle, _, _ = await engine.files.create(
            await root_of(engine), b"f", 0o644, WHO, exclusive=False, truncate=True
        )
    else:
        handle = engine.files.open(number, writes=True, truncate=how == "open")
        if how == "truncate":
            await engine.files.attributes.set(number, AttributeChange(size=0), opened=True)
    await engine.files.write(handle, 0, b"tw")
    assert await get(engine, b"f") == b"one, whole"
    await engine.files.settle(None)
    assert engine.files.idle
    assert await get(engine, b"f") == b"one, whole"
    await engine.files.write(handle, 2, b"o, whole")
    await close(engine, handle)
    assert await get(engine, b"f") == b"two, whole"
