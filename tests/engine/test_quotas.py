"""Quotas through the engine: both doors, uploads, versions, and the count that proves the counters."""

import msgspec
import pytest
import trio

from stratum.core.errors import CrossesBuckets, NoSuchUser, QuotaExceeded
from stratum.core.objects import CopySpec, PartName, PutSpec, UploadSpec
from stratum.core.records import Inode, Part, Usage
from stratum.core.schema import INODE, PART, USAGE, bucket_usage_key, inode_key, part_key
from stratum.core.txn import load, save, scan_records, successor
from stratum.engine import quotas
from stratum.engine.quotas import COUNTED
from tests.engine.conftest import body_of
from tests.engine.examination import check_records
from tests.engine.test_files import WHO, close, create, root_of, write_file

B = "bucket"


async def put(engine, key, size, bucket=B):
    return await engine.objects.put(bucket, key, body_of(bytes(size)), PutSpec(size=size))


def held(engine, bucket=B):
    row = engine.quotas.bucket(bucket)
    return row.bytes, row.objects


async def test_a_put_beyond_the_quota_is_refused_before_its_body_is_read(engine):
    await engine.quotas.set(bucket=B, bytes_max=1000)
    await put(engine, b"a", 600)
    read = []

    async def body():
        read.append(True)
        yield bytes(500)

    with pytest.raises(QuotaExceeded):
        await engine.objects.put(B, b"b", body(), PutSpec(size=500))
    assert not read
    with pytest.raises(QuotaExceeded):  # whose size was not known: at its end
        await engine.objects.put(B, b"b", body(), PutSpec())
    assert held(engine) == (600, 1)


async def test_an_object_may_be_replaced_in_a_full_bucket_but_not_by_a_larger_one(engine):
    await engine.quotas.set(bucket=B, bytes_max=1000, objects_max=1)
    await put(engine, b"a", 1000)
    await put(engine, b"a", 1000)
    with pytest.raises(QuotaExceeded):
        await put(engine, b"a", 1001)
    with pytest.raises(QuotaExceeded):
        await put(engine, b"b", 0)
    await engine.objects.delete(B, b"a")
    assert held(engine) == (0, 0)


async def test_versions_count_and_give_back_when_they_go(engine):
    await engine.buckets.amend(B, lambda bucket: msgspec.structs.replace(bucket, versioning="Enabled"))
    await engine.quotas.set(bucket=B, bytes_max=1000)
    first = await put(engine, b"a", 600)
    with pytest.raises(QuotaExceeded):
        await put(engine, b"a", 600)
    await engine.objects.delete(B, b"a")  # a delete marker frees nothing, and is always allowed
    assert held(engine) == (600, 1)
    await engine.objects.delete(B, b"a", version=first.version)
    assert held(engine) == (0, 0)


async def test_parts_count_while_the_upload_lasts(engine):
    await engine.quotas.set(bucket=B, bytes_max=1000)
    upload = await engine.uploads.create(B, b"m", UploadSpec())
    part = await engine.uploads.part(B, b"m", upload, 1, body_of(bytes(700)), size=700)
    assert held(engine) == (700, 0)
    with pytest.raises(QuotaExceeded):
        await engine.uploads.part(B, b"m", upload, 2, body_of(bytes(400)), size=400)
    await engine.uploads.part(B, b"m", upload, 1, body_of(bytes(900)), size=900)  # instead of the first
    part = await engine.uploads.part(B, b"m", upload, 1, body_of(bytes(1000)), size=1000)
    await engine.uploads.complete(B, b"m", upload, [PartName(number=1, etag=part.etag)])
    assert held(engine) == (1000, 1)
    other = await engine.uploads.create(B, b"n", UploadSpec())
    with pytest.raises(QuotaExceeded):
        await engine.uploads.part(B, b"n", other, 1, body_of(bytes(1)))
    await engine.objects.delete(B, b"m")
    await engine.uploads.part(B, b"n", other, 1, body_of(bytes(1)))
    await engine.uploads.abort(B, b"n", other)
    assert held(engine) == (0, 0)


async def test_a_copy_counts_in_full_although_no_byte_moves(engine):
    await put(engine, b"a", 600)
    await engine.quotas.set(bucket=B, bytes_max=1000)
    with pytest.raises(QuotaExceeded):
        await engine.objects.copy(B, b"a", B, b"b", CopySpec())
    await engine.buckets.create("other", "alice")
    await engine.objects.copy(B, b"a", "other", b"b", CopySpec())
    assert held(engine, "other") == (600, 1)


async def test_one_of_two_puts_at_once_gets_the_last_room(engine):
    await engine.quotas.set(bucket=B, bytes_max=1000)
    refused = []

    async def one(key):
        try:
            await put(engine, key, 600)
        except QuotaExceeded:
            refused.append(key)

    async with trio.open_nursery() as nursery:
        for number in range(8):
            nursery.start_soon(one, b"k%d" % number)
    assert len(refused) == 7
    assert held(engine) == (600, 1)


# --- the mount ------------------------------------------------------------------------------------------------


async def test_a_write_beyond_the_quota_fails_itself(engine):
    root = await root_of(engine)
    await engine.quotas.set(bucket=B, bytes_max=1000)
    handle, _ = await create(engine, b"f", b"", root)
    await engine.files.write(handle, 0, bytes(900))
    other, _ = await create(engine, b"g", b"", root)
    with pytest.raises(QuotaExceeded):  # what is in memory counts
        await engine.files.write(other, 0, bytes(200))
    await engine.files.write(handle, 0, bytes(900))  # in place: nothing more
    await close(engine, handle)
    await close(engine, other)
    await engine.files.settle(None)
    assert held(engine) == (900, 2)
    await engine.files.names.unlink(root, b"f")
    assert held(engine) == (0, 1)


async def test_a_file_that_lost_its_room_to_s3_says_so_at_fsync(engine):
    root = await root_of(engine)
    await engine.quotas.set(bucket=B, bytes_max=1000)
    handle, _ = await create(engine, b"f", b"", root)
    await engine.files.write(handle, 0, bytes(900))
    await put(engine, b"s3", 500)
    with pytest.raises(QuotaExceeded):
        await engine.files.fsync(handle)
    await engine.objects.delete(B, b"s3")
    await engine.files.fsync(handle)
    await close(engine, handle)
    assert held(engine) == (900, 1)


async def test_no_name_is_made_where_no_object_may_be(engine):
    root = await root_of(engine)
    await engine.quotas.set(bucket=B, objects_max=1)
    await engine.files.names.symlink(root, b"s", b"target", WHO)
    with pytest.raises(QuotaExceeded):
        await create(engine, b"f", b"", root)
    await engine.files.names.make_directory(root, b"d", 0o755, WHO)  # a directory is no object


async def test_a_file_counts_in_the_bucket_it_is_in(engine):
    await engine.buckets.create("other", "bob")
    root, other = await root_of(engine), (await engine.buckets.get("other")).root
    names = engine.files.names
    number = await write_file(engine, b"f", b"12345")
    await engine.files.settle(None)
    await names.rename(root, b"f", other, b"f", noreplace=False, exchange=False)
    assert (held(engine), held(engine, "other")) == ((0, 0), (5, 1))
    with pytest.raises(CrossesBuckets):
        await names.link(number, root, b"again")
    directory, _ = await names.make_directory(root, b"d", 0o755, WHO)
    await names.rename(root, b"d", other, b"d", noreplace=False, exchange=False)  # empty
    await close(engine, (await create(engine, b"g", b"1", directory))[0])
    await engine.files.settle(None)
    assert held(engine, "other") == (6, 2)
    with pytest.raises(CrossesBuckets):
        await names.rename(other, b"d", root, b"d", noreplace=False, exchange=False)


@pytest.mark.parametrize("closed", [False, True])
async def test_who_moves_a_file_just_written_to_a_full_bucket_is_told(engine, closed):
    await engine.buckets.create("other", "bob")
    await engine.quotas.set(bucket="other", bytes_max=1000)
    root, other = await root_of(engine), (await engine.buckets.get("other")).root
    handle, _ = await create(engine, b"f", bytes(2000), root)
    if closed:
        await close(engine, handle)
    with pytest.raises(QuotaExceeded):
        await engine.files.names.rename(root, b"f", other, b"f", noreplace=False, exchange=False)
    if not closed:
        await close(engine, handle)
    await engine.files.settle(None)
    assert (held(engine), held(engine, "other")) == ((2000, 1), (0, 0))


# --- counting -------------------------------------------------------------------------------------------------


async def test_the_quota_of_a_user_is_for_all_its_buckets(engine):
    user = await engine.users.create("alice", user="alice")
    await engine.buckets.create("second", user)
    await engine.quotas.set(user=user, bytes_max=1000)
    await put(engine, b"a", 600)
    with pytest.raises(QuotaExceeded):
        await put(engine, b"a", 600, "second")
    assert engine.quotas.owner(user).bytes == 600
    with pytest.raises(NoSuchUser):
        await engine.quotas.set(user="nobody", bytes_max=1)


async def test_a_count_anew_finds_what_is_wrong_and_puts_it_right_while_the_store_is_in_use(engine, monkeypatch):
    monkeypatch.setattr(quotas, "SLICE", 2)  # so that much changes before and behind it
    for number in range(30):
        await put(engine, b"k%d" % number, number)

    key = bucket_usage_key(await root_of(engine))

    def damage(txn):
        save(txn, key, msgspec.structs.replace(load(txn, key, Usage), bytes=7))

    assert await engine.quotas.count(repair=False) == {}
    await engine.meta.write(damage)
    wrong = await engine.quotas.count(repair=False)
    assert wrong == {B: ((7, 30), (sum(range(30)), 30))}
    async with trio.open_nursery() as nursery:
        for number in range(30):
            nursery.start_soon(put, engine, b"k%d" % number, 100)
        await engine.quotas.count(repair=True)
    assert held(engine) == (3000, 30)
    check_records(engine)


async def test_a_store_from_before_there_were_quotas_is_counted_once(engine):
    root = await root_of(engine)
    await engine.buckets.amend(B, lambda bucket: msgspec.structs.replace(bucket, versioning="Enabled"))
    for size in (5, 7):
        await put(engine, b"deep/er/key", size)
    await engine.objects.delete(B, b"deep/er/key")  # its directories are gone, its versions are not
    await close(engine, (await create(engine, b"f", b"123", root))[0])
    await engine.files.settle(None)
    upload = await engine.uploads.create(B, b"m", UploadSpec())
    await engine.uploads.part(B, b"m", upload, 1, body_of(bytes(11)))

    def forget(txn):
        for key in [key for key, _ in txn.scan(USAGE, successor(USAGE))]:
            txn.delete(key)
        for rest, inode in list(scan_records(txn, INODE, Inode)):
            save(txn, inode_key(int.from_bytes(rest, "big")), msgspec.structs.replace(inode, bucket=0))
        for rest, part in list(scan_records(txn, PART, Part)):
            number = int.from_bytes(rest[-4:], "big")
            save(txn, part_key(rest[:-4].decode(), number), msgspec.structs.replace(part, bucket=0))
        txn.delete(COUNTED)

    await engine.meta.write(forget)
    assert not engine.quotas.complete
    await engine.quotas.run()
    assert engine.quotas.complete
    assert held(engine) == (5 + 7 + 3 + 11, 3)
    await engine.uploads.abort(B, b"m", upload)
    check_records(engine)
