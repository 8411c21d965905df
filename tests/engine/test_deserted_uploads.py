"""A bucket with thousands of uploads under way is deleted at once; they end in short turns of the event loop."""

import pytest

from stratum.core.errors import BucketNotEmpty, NoSuchBucket, NoSuchUpload
from stratum.core.manifest import attach, part_user, write_spans
from stratum.core.objects import PutSpec, UploadSpec
from stratum.core.records import Part, Run, Upload
from stratum.core.schema import ENDED, PART, UPLOAD, UPLOAD_BY_KEY, part_key, take_number, upload_by_key, upload_key
from stratum.core.txn import save, successor
from stratum.engine.buckets import find_bucket
from stratum.engine.endings import UPLOADS_AT_ONCE
from tests.engine.conftest import body_of, engine_at
from tests.engine.examination import check_records
from tests.engine.many_parts import counted_turns

ROWS_MAX = 700  # in one turn of the loop: measured at 2 us each, some 2 ms
MANY = 5 * UPLOADS_AT_ONCE + 3


@pytest.fixture
async def engine(tmp_path):
    async with engine_at(tmp_path, part_bytes_min=1, reap_interval=1e6, ending_interval=1e6) as opened:
        yield opened


async def deserting(engine, count: int, parts: int = 2) -> None:
    """A bucket with so many uploads, put straight into the index."""
    await engine.buckets.create("bucket", "alice")

    def change(txn):
        root = find_bucket(txn, "bucket").root
        for number in range(count):
            upload, key = f"upload{number:06}", b"k/%04d" % (number % 7)
            save(txn, upload_key(upload), Upload(bucket="bucket", key=key, created=number, owner="alice"))
            save(txn, upload_by_key("bucket", key, upload), 1)
            for each in range(1, parts + 1):
                content = take_number(txn, "content")
                write_spans(txn, content, [(0, Run(None, b"bytes"))])
                attach(txn, content, part_user(upload, each))
                save(txn, part_key(upload, each), Part(content=content, size=5, etag="0" * 32, modified=1, bucket=root))

    await engine.meta.write(change)


def rows_left(engine) -> list[bytes]:
    def look(txn):
        return [row for table in (UPLOAD, UPLOAD_BY_KEY, PART, ENDED) for row, _ in txn.scan(table, successor(table))]

    return engine.meta.read(look)


async def test_no_turn_of_the_loop_is_longer_for_a_bucket_of_many_uploads(engine, monkeypatch):
    await deserting(engine, MANY)
    with counted_turns(monkeypatch) as turns:
        await engine.buckets.delete("bucket")
        await engine.endings.one_pass()
    assert turns.taken() <= ROWS_MAX
    assert rows_left(engine) == []
    await engine.reaper.one_pass()
    check_records(engine)


@pytest.mark.parametrize("parts", [0, 1, 40, 70])
async def test_whatever_parts_they_have_nothing_is_left(engine, parts):
    await deserting(engine, UPLOADS_AT_ONCE + 2, parts)
    await engine.buckets.delete("bucket")
    await engine.endings.one_pass()
    assert rows_left(engine) == []
    check_records(engine)


async def test_a_bucket_of_the_same_name_never_has_them(engine):
    await deserting(engine, MANY)
    await engine.buckets.delete("bucket")
    with pytest.raises(NoSuchBucket):
        await engine.uploads.abort("bucket", b"k/0006", "upload000160")
    await engine.buckets.create("bucket", "bob")
    page = await engine.uploads.list_uploads("bucket", b"", b"", b"", "", 1000)
    assert page.uploads == []
    with pytest.raises(NoSuchUpload):
        await engine.uploads.abort("bucket", b"k/0006", "upload000160")
    await engine.endings.one_pass()
    assert rows_left(engine) == []


async def test_what_a_kill_leaves_the_next_start_ends(tmp_path):
    async with engine_at(tmp_path, ending_interval=1e6) as engine:
        await deserting(engine, MANY)
        await engine.buckets.create("other", "alice")
        kept = await engine.uploads.create("other", b"k", UploadSpec())
        engine.endings.bucket_deleted = lambda name: None  # the process does not come to it
        await engine.buckets.delete("bucket")
        assert len(rows_left(engine)) > MANY
    async with engine_at(tmp_path, ending_interval=1e6) as engine:
        await engine.endings.one_pass()
        assert len(rows_left(engine)) == 2
        await engine.uploads.abort("other", b"k", kept)


async def test_a_bucket_that_is_not_empty_keeps_all_its_uploads(engine):
    await deserting(engine, MANY)
    await engine.objects.put("bucket", b"k", body_of(b"x"), PutSpec())
    before = rows_left(engine)
    with pytest.raises(BucketNotEmpty):
        await engine.buckets.delete("bucket")
    await engine.endings.end_uploads_of("bucket")
    assert rows_left(engine) == before
