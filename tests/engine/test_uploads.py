"""Multipart uploads: parts survive, Complete concatenates, Abort frees."""

import base64
import hashlib
import random
import zlib

import pytest

from stratum.core.checksums import Digests
from stratum.core.errors import InvalidPart, InvalidPartOrder, NoSuchUpload, PartTooSmall, RangeNotSatisfiable
from stratum.core.objects import Condition, PartName, PutSpec, UploadSpec
from stratum.core.records import Checksum
from stratum.core.schema import GARBAGE, PART, RUN, UPLOAD, UPLOAD_BY_KEY
from stratum.core.txn import successor
from tests.engine.conftest import body_of, engine_at, get

MIB = 1 << 20


def part_bytes(number: int, size: int = 5 * MIB) -> bytes:
    return random.Random(number).randbytes(size)


def crc(digests, size):
    return Checksum("crc32", base64.b64encode(digests["crc32"]).decode())


async def upload_parts(engine, upload: str, bodies: dict[int, bytes]) -> list[PartName]:
    names = []
    for number, body in bodies.items():
        part = await engine.uploads.part(
            "bucket", b"k", upload, number, body_of(body), algorithms=frozenset({"crc32"}), check=crc
        )
        names.append(PartName(number=number, etag=part.etag))
    return names


def rows(engine, table: bytes) -> int:
    return engine.meta.read(lambda txn: sum(1 for _ in txn.scan(table, successor(table))))


async def test_complete_concatenates_the_named_parts_and_ends_the_upload(engine):
    spec = UploadSpec(checksum_algorithm="crc32", checksum_type="FULL_OBJECT", metadata={"a": "b"})
    upload = await engine.uploads.create("bucket", b"k", spec)
    bodies = {3: part_bytes(3), 7: part_bytes(7), 9: b"tail"}
    names = await upload_parts(engine, upload, bodies)
    await upload_parts(engine, upload, {8: b"not named"})
    view = await engine.uploads.complete("bucket", b"k", upload, names)
    whole = b"".join(bodies.values())
    md5s = b"".join(hashlib.md5(body).digest() for body in bodies.values())
    assert view.etag == f"{hashlib.md5(md5s).hexdigest()}-3"
    crc32 = base64.b64encode(zlib.crc32(whole).to_bytes(4, "big")).decode()
    assert view.inode.checksum == Checksum("crc32", crc32, "FULL_OBJECT")
    assert (view.inode.parts, view.inode.metadata) == ((5 * MIB, 5 * MIB, 4), {"a": "b"})
    assert await get(engine, b"k") == whole
    assert view.inode.part_checksums == tuple(
        base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode() for body in bodies.values()
    )
    assert [rows(engine, table) for table in (UPLOAD, UPLOAD_BY_KEY, PART)] == [0, 0, 0]


async def test_complete_refuses_what_does_not_fit_and_the_upload_stays(engine):
    upload = await engine.uploads.create("bucket", b"k", UploadSpec())
    names = await upload_parts(engine, upload, {1: part_bytes(1), 2: b"small", 3: b"end"})
    with pytest.raises(PartTooSmall):
        await engine.uploads.complete("bucket", b"k", upload, names)
    with pytest.raises(InvalidPartOrder):
        await engine.uploads.complete("bucket", b"k", upload, [names[2], names[0]])
    with pytest.raises(InvalidPart):
        await engine.uploads.complete("bucket", b"k", upload, [names[0], PartName(number=5, etag="0" * 32)])
    with pytest.raises(NoSuchUpload):
        await engine.uploads.complete("bucket", b"other", upload, names)
    await engine.uploads.complete("bucket", b"k", upload, [names[0], names[2]])
    assert await get(engine, b"k") == part_bytes(1) + b"end"


async def test_a_part_replaces_the_part_of_its_number(engine):
    upload = await engine.uploads.create("bucket", b"k", UploadSpec())
    await upload_parts(engine, upload, {1: part_bytes(1)})
    names = await upload_parts(engine, upload, {1: b"new"})
    _, parts, more = await engine.uploads.list_parts("bucket", b"k", upload, 0, 10)
    assert ([number for number, _ in parts], more) == ([1], False)
    await engine.uploads.complete("bucket", b"k", upload, names)
    assert await get(engine, b"k") == b"new"


async def test_abort_frees_every_part(engine):
    upload = await engine.uploads.create("bucket", b"k", UploadSpec())
    await upload_parts(engine, upload, {1: part_bytes(1), 2: b"x"})
    await engine.uploads.abort("bucket", b"k", upload)
    assert [rows(engine, table) for table in (UPLOAD, UPLOAD_BY_KEY, PART, RUN)] == [0, 0, 0, 0]
    assert rows(engine, GARBAGE) == 1


async def test_parts_survive_a_restart(tmp_path):
    async with engine_at(tmp_path) as engine:
        await engine.buckets.create("bucket", "alice")
        upload = await engine.uploads.create("bucket", b"k", UploadSpec())
        names = await upload_parts(engine, upload, {1: part_bytes(1)})
    async with engine_at(tmp_path) as engine:
        names += await upload_parts(engine, upload, {2: b"end"})
        await engine.uploads.complete("bucket", b"k", upload, names)
        assert await get(engine, b"k") == part_bytes(1) + b"end"


async def test_a_copied_part_is_a_range_of_its_source(engine):
    source = part_bytes(1, 7 * MIB)
    await engine.objects.put("bucket", b"source", body_of(source), PutSpec())
    upload = await engine.uploads.create("bucket", b"k", UploadSpec())
    part = await engine.uploads.copy_part("bucket", b"k", upload, 1, "bucket", b"source", (100, 6 * MIB))
    assert part.etag == hashlib.md5(source[100 : 6 * MIB]).hexdigest()
    await engine.uploads.complete("bucket", b"k", upload, [PartName(number=1, etag=part.etag)])
    await engine.objects.delete("bucket", b"source")
    assert await get(engine, b"k") == source[100 : 6 * MIB]


async def test_uploads_are_listed_in_key_order_page_by_page(engine):
    made = set()
    for key in (b"b", b"a/1", b"a/2", b"c", b"b"):
        made.add((key, await engine.uploads.create("bucket", key, UploadSpec())))
    seen, marker = [], (b"", "")
    while True:
        page = await engine.uploads.list_uploads("bucket", b"", b"", *marker, 2)
        seen += [(key, upload) for key, upload, _ in page.uploads]
        if page.next_key is None:
            break
        marker = (page.next_key, page.next_upload)
    assert seen == sorted(made)
    page = await engine.uploads.list_uploads("bucket", b"", b"/", b"", "", 10)
    assert (page.common_prefixes, [key for key, _, _ in page.uploads]) == ([b"a/"], [b"b", b"b", b"c"])


async def test_a_bucket_with_nothing_but_uploads_can_be_deleted_and_they_end_with_it(engine):
    upload = await engine.uploads.create("bucket", b"k", UploadSpec())
    await upload_parts(engine, upload, {1: part_bytes(1)})
    assert rows(engine, GARBAGE) == 0
    await engine.buckets.delete("bucket")
    assert [rows(engine, table) for table in (UPLOAD, UPLOAD_BY_KEY, PART)] == [0, 0, 0]
    assert rows(engine, GARBAGE) > 0
    await engine.buckets.create("bucket", "alice")
    with pytest.raises(NoSuchUpload):
        await engine.uploads.list_parts("bucket", b"k", upload, 0, 10)


async def test_a_complete_that_is_sent_again_finds_the_object_it_made(engine):
    upload = await engine.uploads.create("bucket", b"k", UploadSpec())
    names = await upload_parts(engine, upload, {1: part_bytes(1), 2: b"end"})
    once = Condition(if_none_match=("*",))
    view = await engine.uploads.complete("bucket", b"k", upload, names, condition=once)
    again = await engine.uploads.complete("bucket", b"k", upload, names, condition=once)
    assert (again.inode_number, again.etag) == (view.inode_number, view.etag)
    other_id = await engine.uploads.create("bucket", b"k", UploadSpec())
    await engine.uploads.abort("bucket", b"k", other_id)
    for key, upload_id, parts in (
        (b"k", upload, names[:1]),
        (b"k", other_id, names),
        (b"other", upload, names),
    ):
        with pytest.raises(NoSuchUpload):
            await engine.uploads.complete("bucket", key, upload_id, parts)
    await engine.objects.put("bucket", b"k", body_of(b"new"), PutSpec())
    with pytest.raises(NoSuchUpload):
        await engine.uploads.complete("bucket", b"k", upload, names)


async def test_a_copied_part_has_the_checksum_of_its_bytes(engine):
    body = part_bytes(4)
    await engine.objects.put("bucket", b"source", body_of(body), PutSpec())
    for algorithm in ("", "sha256"):
        upload = await engine.uploads.create("bucket", b"k", UploadSpec(checksum_algorithm=algorithm))
        part = await engine.uploads.copy_part("bucket", b"k", upload, 1, "bucket", b"source", (7, 1000))
        digests = Digests([algorithm or "crc64nvme"])
        digests.update(body[7:1000])
        assert part.checksum.algorithm == (algorithm or "crc64nvme")
        assert base64.b64decode(part.checksum.value) == digests.results()[part.checksum.algorithm]
        with pytest.raises(RangeNotSatisfiable):
            await engine.uploads.copy_part("bucket", b"k", upload, 1, "bucket", b"source", (7, len(body) + 1))
