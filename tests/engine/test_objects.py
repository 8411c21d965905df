"""Objects over the engine: what is put is what is read, conditions hold at commit, copies share their bytes."""

import hashlib
import random

import pytest
import trio

from stratum.core.errors import (
    BadDigest,
    BucketExists,
    BucketNotEmpty,
    InvalidBucketName,
    KeyTooLong,
    NoSuchBucket,
    NoSuchKey,
    PreconditionFailed,
)
from stratum.core.objects import Condition, CopySpec, ListQuery, PutSpec
from stratum.core.records import Volume
from stratum.core.schema import GARBAGE, VOLUME
from stratum.core.txn import scan_records, successor
from tests.engine.conftest import body_of, engine_at, get

SIZES = [0, 1, 4096, 4097, 70_000, 1 << 20, (1 << 20) + 1, 5_000_001]


def bytes_of(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


@pytest.mark.parametrize("size", SIZES)
async def test_what_is_put_is_what_is_read_and_its_etag_is_the_md5(engine, size):
    body = bytes_of(size)
    pieces = [body[at : at + 65_536] for at in range(0, size, 65_536)]
    view = await engine.objects.put("bucket", b"a/b", body_of(*pieces), PutSpec(metadata={"x": "y"}))
    assert view.etag == hashlib.md5(body).hexdigest()
    assert await get(engine, b"a/b") == body
    seen = await engine.objects.head("bucket", b"a/b")
    assert (seen.size, seen.inode.metadata) == (size, {"x": "y"})


async def test_ranges_of_a_large_object_are_exact(engine):
    body = bytes_of(5_000_001)
    await engine.objects.put("bucket", b"k", body_of(body), PutSpec())
    opened = await engine.objects.open("bucket", b"k")
    for start, stop in [(0, 1), (65_535, 65_537), (262_143, 262_145), (1_048_575, 3_000_000), (5_000_000, 5_000_001)]:
        assert b"".join([piece async for piece in opened.stream(start, stop)]) == body[start:stop]


async def test_an_object_survives_a_restart(tmp_path):
    bodies = {f"k{size}".encode(): bytes_of(size, size) for size in SIZES}
    async with engine_at(tmp_path) as engine:
        await engine.buckets.create("bucket", "alice")
        for key, body in bodies.items():
            await engine.objects.put("bucket", key, body_of(body), PutSpec())
    async with engine_at(tmp_path) as engine:
        for key, body in bodies.items():
            assert await get(engine, key) == body


async def test_a_reader_keeps_the_bytes_it_opened_while_the_key_is_overwritten(engine):
    old, new = bytes_of(3_000_000, 1), bytes_of(3_000_000, 2)
    await engine.objects.put("bucket", b"k", body_of(old), PutSpec())
    opened = await engine.objects.open("bucket", b"k")
    await engine.objects.put("bucket", b"k", body_of(new), PutSpec())
    assert b"".join([piece async for piece in opened.stream(0, opened.view.size)]) == old
    assert await get(engine, b"k") == new


async def test_a_body_that_fails_its_check_leaves_nothing_visible(engine):
    def refuse(digests, size):
        raise BadDigest("no")

    await engine.objects.put("bucket", b"k", body_of(b"old"), PutSpec())
    for size in (10, 100_000, 3_000_000):
        with pytest.raises(BadDigest):
            await engine.objects.put("bucket", b"k", body_of(bytes_of(size)), PutSpec(check=refuse))
    assert await get(engine, b"k") == b"old"
    page = await engine.objects.list("bucket", ListQuery())
    assert [view.key for view in page.objects] == [b"k"]


async def test_of_racing_creations_exactly_one_wins(engine):
    won: list[int] = []

    async def create(i: int) -> None:
        try:
            spec = PutSpec(condition=Condition(if_none_match=("*",)))
            await engine.objects.put("bucket", b"lock", body_of(b"%d" % i), spec)
            won.append(i)
        except PreconditionFailed:
            pass

    async with trio.open_nursery() as nursery:
        for i in range(20):
            nursery.start_soon(create, i)
    assert len(won) == 1
    assert await get(engine, b"lock") == b"%d" % won[0]


async def test_if_match_swaps_only_the_version_it_names(engine):
    first = await engine.objects.put("bucket", b"k", body_of(b"1"), PutSpec())
    await engine.objects.put("bucket", b"k", body_of(b"2"), PutSpec(condition=Condition(if_match=(first.etag,))))
    with pytest.raises(PreconditionFailed):
        await engine.objects.put("bucket", b"k", body_of(b"3"), PutSpec(condition=Condition(if_match=(first.etag,))))
    with pytest.raises(NoSuchKey):
        spec = PutSpec(condition=Condition(if_match=(first.etag,)))
        await engine.objects.put("bucket", b"other", body_of(b"3"), spec)


@pytest.mark.parametrize("size", [10, 100_000, 3_000_000])
async def test_an_object_copied_onto_itself_keeps_its_bytes(engine, size):
    await engine.objects.put("bucket", b"k", body_of(bytes_of(size)), PutSpec())
    for number in range(3):
        await engine.objects.copy("bucket", b"k", "bucket", b"k", CopySpec(metadata={"n": str(number)}))
        assert await get(engine, b"k") == bytes_of(size)


async def test_a_copy_shares_its_volumes_and_outlives_its_source(engine):
    body = bytes_of(3_000_000)
    await engine.objects.put("bucket", b"k", body_of(body), PutSpec(headers={"content-type": "a/b"}))
    before = engine.meta.read(lambda txn: sum(1 for _ in txn.scan(VOLUME, successor(VOLUME))))
    await engine.objects.copy("bucket", b"k", "bucket", b"copy", CopySpec())
    after = engine.meta.read(lambda txn: sum(1 for _ in txn.scan(VOLUME, successor(VOLUME))))
    assert before == after
    await engine.objects.delete("bucket", b"k")
    assert await get(engine, b"copy") == body
    assert (await engine.objects.head("bucket", b"copy")).inode.headers == {"content-type": "a/b"}


async def test_deleting_the_last_user_of_a_volume_makes_it_garbage(engine):
    await engine.objects.put("bucket", b"k", body_of(bytes_of(3_000_000)), PutSpec())
    await engine.objects.delete("bucket", b"k")
    await engine.objects.delete("bucket", b"k")  # a second time is no error
    volumes = {key for key, _ in engine.meta.read(lambda txn: list(scan_records(txn, VOLUME, Volume)))}
    garbage = {key[1:] for key, _ in engine.meta.read(lambda txn: list(txn.scan(GARBAGE, successor(GARBAGE))))}
    assert volumes and volumes == garbage
    with pytest.raises(NoSuchKey):
        await engine.objects.head("bucket", b"k")


async def test_buckets_have_names_owners_and_an_end(engine):
    with pytest.raises(BucketExists) as caught:
        await engine.buckets.create("bucket", "bob")
    assert caught.value.args[1] == "alice"
    with pytest.raises(InvalidBucketName):
        await engine.buckets.create("No", "alice")
    await engine.objects.put("bucket", b"k", body_of(b"x"), PutSpec())
    with pytest.raises(BucketNotEmpty):
        await engine.buckets.delete("bucket")
    await engine.objects.delete("bucket", b"k")
    await engine.buckets.delete("bucket")
    with pytest.raises(NoSuchBucket):
        await engine.objects.head("bucket", b"k")
    assert await engine.buckets.list() == []


async def test_a_key_over_1024_bytes_is_refused(engine):
    with pytest.raises(KeyTooLong):
        await engine.objects.put("bucket", b"k" * 1025, body_of(b""), PutSpec())
    await engine.objects.put("bucket", b"k" * 1024, body_of(b"long"), PutSpec())
    assert await get(engine, b"k" * 1024) == b"long"


async def test_a_listing_is_in_byte_order_and_folds_common_prefixes(engine):
    for key in (b"a", b"a-b", b"a.b", b"a/b", b"a/c", b"a0", b"z//x"):
        await engine.objects.put("bucket", key, body_of(b""), PutSpec())
    page = await engine.objects.list("bucket", ListQuery())
    assert [view.key for view in page.objects] == [b"a", b"a-b", b"a.b", b"a/b", b"a/c", b"a0", b"z//x"]
    page = await engine.objects.list("bucket", ListQuery(delimiter=b"/", limit=3))
    assert ([view.key for view in page.objects], page.common_prefixes) == ([b"a", b"a-b", b"a.b"], ())
    page = await engine.objects.list("bucket", ListQuery(delimiter=b"/", after=page.next_after))
    assert ([view.key for view in page.objects], page.common_prefixes) == ([b"a0"], (b"a/", b"z/"))
