"""Keys above keys: rotation, loss, and nothing readable on disk."""

import os
import shutil

import msgspec
import pytest
import trio

from stratum.core.encryption import SSE_C, SSE_KMS, SSE_S3, CustomerKey, SealSpec
from stratum.core.errors import (
    Corrupt,
    CustomerKeyNeeded,
    CustomerKeyWrong,
    EntryExists,
    InvalidArgument,
    NoMasterKey,
    NoSuchNamedKey,
    NotPermitted,
    NotSealing,
)
from stratum.core.objects import CopySpec, PartName, PutSpec, UploadSpec
from stratum.core.records import Inode
from stratum.core.schema import inode_key
from stratum.core.txn import load, save
from stratum.core.views import object_at
from stratum.engine import objects
from stratum.engine.file_attributes import AttributeChange
from stratum.engine.keys import NO_MASTER_KEYS, MasterKeys
from tests.engine.conftest import body_of, engine_at, get, read_all

CANARY = b"a canary that nobody but its owner should ever read"
OLD, NEW, OTHER = bytes(range(32)), bytes(range(50, 82)), bytes(range(100, 132))
MINE = CustomerKey(bytes(range(7, 39)), "md5 of mine")
SPECS = {
    SSE_S3: SealSpec(scheme=SSE_S3),
    SSE_KMS: SealSpec(scheme=SSE_KMS),
    SSE_C: SealSpec(scheme=SSE_C, customer=MINE),
}
every_scheme = pytest.mark.parametrize("scheme", SPECS)


def customer_of(scheme: str) -> CustomerKey | None:
    return SPECS[scheme].customer


def canaries(size: int) -> bytes:
    return (CANARY * (size // len(CANARY) + 1))[:size]


def sealed_of(engine, key: bytes):
    return engine.meta.read(lambda txn: load(txn, inode_key(number_of(engine, key)), Inode)).sealed


def number_of(engine, key: bytes) -> int:
    return engine.meta.read(lambda txn: object_at(txn, "bucket", key).inode_number)


async def read(engine, key: bytes, scheme: str) -> bytes:
    return await read_all(await engine.objects.open("bucket", key, customer=customer_of(scheme)))


def files_with(folder, text: bytes) -> list[str]:
    found = []
    for place, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(place, name), "rb") as file:
                if text in file.read():
                    found.append(os.path.join(place, name))
    return found


async def test_no_plain_byte_of_a_sealed_object_is_on_any_disk_in_any_form(tmp_path):
    """Inline, in a pack, in volumes of its own, in parts, copied; index, journal and snapshots included."""
    async with engine_at(tmp_path) as engine:
        await engine.buckets.create("bucket", "alice")
        for scheme, spec in SPECS.items():
            for size in (60, 4000, 200_000, 3_000_000):
                key = b"%s-%d" % (scheme.encode(), size)
                await engine.objects.put("bucket", key, body_of(canaries(size)), PutSpec(seal=spec))
            upload = await engine.uploads.create("bucket", b"parts", UploadSpec(seal=spec))
            part = await engine.uploads.part(
                "bucket", b"parts", upload, 1, body_of(canaries(100_000)), customer=spec.customer
            )
            named = [PartName(number=1, etag=part.etag)]
            await engine.uploads.complete("bucket", b"parts", upload, named, customer=spec.customer)
            copy = CopySpec(seal=SPECS[SSE_S3], source_customer=spec.customer)
            await engine.objects.copy("bucket", b"parts", "bucket", b"copy", copy)
    assert files_with(tmp_path, CANARY[:24]) == []
    assert files_with(tmp_path, MINE.secret) == []

    async with engine_at(tmp_path) as engine:  # and the search would have found it
        await engine.objects.put("bucket", b"plain", body_of(canaries(3_000_000)), PutSpec())
    assert files_with(tmp_path, CANARY[:24])


@every_scheme
async def test_every_object_has_a_key_of_its_own_even_for_the_same_bytes(engine, scheme):
    for key in (b"a", b"b"):
        await engine.objects.put("bucket", key, body_of(b"x" * 1000), PutSpec(seal=SPECS[scheme]))
    one, two = sealed_of(engine, b"a"), sealed_of(engine, b"b")
    assert one.wrapped != two.wrapped and one.salts != two.salts
    opened = [engine.sealing.open(each, customer_of(scheme)).secret for each in (one, two)]
    assert opened[0] != opened[1]


async def test_a_part_that_is_sent_again_is_sealed_under_another_key_and_has_the_same_etag(engine):
    upload = await engine.uploads.create("bucket", b"k", UploadSpec(seal=SPECS[SSE_KMS]))
    parts = [await engine.uploads.part("bucket", b"k", upload, 1, body_of(b"same")) for _ in range(2)]
    assert parts[0].salt != parts[1].salt
    assert parts[0].etag == parts[1].etag


@every_scheme
async def test_without_a_master_key_only_customers_can_seal(tmp_path, scheme):
    async with engine_at(tmp_path, masters=NO_MASTER_KEYS) as engine:
        await engine.buckets.create("bucket", "alice")
        spec = PutSpec(seal=SPECS[scheme])
        if scheme == SSE_C:
            await engine.objects.put("bucket", b"k", body_of(b"x"), spec)
            assert await read(engine, b"k", scheme) == b"x"
        else:
            with pytest.raises(NotSealing):
                await engine.objects.put("bucket", b"k", body_of(b"x"), spec)
            with pytest.raises(NotSealing):
                await engine.uploads.create("bucket", b"k", UploadSpec(seal=SPECS[scheme]))
            with pytest.raises(NotSealing):
                await engine.keys.create("mine")
            assert engine.keys.list() == []


async def test_another_master_key_opens_nothing_and_seals_nothing(tmp_path):
    async with engine_at(tmp_path, masters=MasterKeys((OLD,))) as engine:
        await engine.buckets.create("bucket", "alice")
        await engine.objects.put("bucket", b"k", body_of(b"x"), PutSpec(seal=SPECS[SSE_S3]))
        await engine.objects.put("bucket", b"plain", body_of(b"y"), PutSpec())
    async with engine_at(tmp_path, masters=MasterKeys((OTHER,))) as engine:
        with pytest.raises(NoMasterKey):
            await engine.objects.open("bucket", b"k")
        for spec in (SPECS[SSE_S3], SPECS[SSE_KMS]):  # the second would need a key that is not made yet
            with pytest.raises(NoMasterKey):
                await engine.objects.put("bucket", b"new", body_of(b"x"), PutSpec(seal=spec))
        with pytest.raises(NoMasterKey):
            await engine.keys.create("mine")
        assert await get(engine, b"plain") == b"y"
        assert (await engine.objects.head("bucket", b"k")).size == 1
    async with engine_at(tmp_path, masters=MasterKeys((OLD,))) as engine:
        assert await get(engine, b"k") == b"x"


async def test_a_master_key_is_replaced_by_a_restart_with_both_and_then_given_up(tmp_path):
    async with engine_at(tmp_path, masters=MasterKeys((OLD,))) as engine:
        await engine.buckets.create("bucket", "alice")
        await engine.keys.create("invoices")
        await engine.keys.rotate("invoices")
        await engine.objects.put("bucket", b"a", body_of(b"a"), PutSpec(seal=SPECS[SSE_S3]))
        spec = SealSpec(scheme=SSE_KMS, key_id="invoices")
        await engine.objects.put("bucket", b"b", body_of(b"b"), PutSpec(seal=spec))
    async with engine_at(tmp_path, masters=MasterKeys((OLD, NEW))) as engine:
        assert [await get(engine, key) for key in (b"a", b"b")] == [b"a", b"b"]
    async with engine_at(tmp_path, masters=MasterKeys((NEW,))) as engine:
        assert [await get(engine, key) for key in (b"a", b"b")] == [b"a", b"b"]
        await engine.objects.put("bucket", b"c", body_of(b"c"), PutSpec(seal=SPECS[SSE_S3]))
    async with engine_at(tmp_path, masters=MasterKeys((OLD,))) as engine:
        with pytest.raises(NoMasterKey):
            await engine.objects.open("bucket", b"a")


async def test_a_named_key_gets_generations_and_what_older_ones_wrapped_stays_readable(engine):
    await engine.keys.create("invoices")
    spec = SealSpec(scheme=SSE_KMS, key_id="invoices")
    for number in range(3):
        await engine.objects.put("bucket", b"%d" % number, body_of(b"%d" % number), PutSpec(seal=spec))
        assert await engine.keys.rotate("invoices") == number + 2
    assert [await get(engine, b"%d" % number) for number in range(3)] == [b"0", b"1", b"2"]
    generations = [int.from_bytes(sealed_of(engine, b"%d" % number).wrapped[:4], "big") for number in range(3)]
    assert generations == [0, 1, 2]
    await engine.objects.copy("bucket", b"0", "bucket", b"0", CopySpec(seal=spec))
    assert int.from_bytes(sealed_of(engine, b"0").wrapped[:4], "big") == 3
    assert await get(engine, b"0") == b"0"


async def test_named_keys_are_made_once_and_with_plain_names(engine):
    await engine.keys.create("invoices")
    with pytest.raises(EntryExists):
        await engine.keys.create("invoices")
    for name in ("", "/x", "a b", "stratum/s3", "alias/x", "\u00e9", "x" * 129):
        with pytest.raises(InvalidArgument):
            await engine.keys.create(name)
    for name in ("never-made", "stratum/s3", "\u00e9", "x" * 600):
        with pytest.raises(NoSuchNamedKey):
            await engine.objects.put("bucket", b"k", body_of(b""), PutSpec(seal=SealSpec(scheme=SSE_KMS, key_id=name)))


async def test_a_built_in_key_is_made_once_by_many_at_once(engine):
    async def put(number: int) -> None:
        await engine.objects.put("bucket", b"%d" % number, body_of(b"x"), PutSpec(seal=SPECS[SSE_S3]))

    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(put, number)
    assert [(name, generations) for name, _, generations in engine.keys.list()] == [("stratum/s3", 1)]
    assert [await get(engine, b"%d" % number) for number in range(20)] == [b"x"] * 20


async def test_a_customers_key_is_checked_by_what_it_opens_not_by_its_md5(engine):
    await engine.objects.put("bucket", b"k", body_of(b"x"), PutSpec(seal=SPECS[SSE_C]))
    with pytest.raises(CustomerKeyNeeded):
        await engine.objects.open("bucket", b"k")
    for wrong in (CustomerKey(OTHER, MINE.md5), CustomerKey(MINE.secret, "another md5")):
        with pytest.raises(CustomerKeyWrong):
            await engine.objects.open("bucket", b"k", customer=wrong)


@pytest.mark.parametrize(
    "change", [{"context": "e30="}, {"scheme": SSE_S3}, {"key_id": "other"}, {"wrapped": b"\0" * 80}, {"format": 3}]
)
async def test_a_record_that_says_other_things_of_its_key_does_not_open(engine, change):
    await engine.keys.create("other")
    await engine.objects.put("bucket", b"k", body_of(b"x"), PutSpec(seal=SPECS[SSE_KMS]))
    await engine.objects.put("bucket", b"s3", body_of(b"x"), PutSpec(seal=SPECS[SSE_S3]))
    sealed = msgspec.structs.replace(sealed_of(engine, b"k"), **change)
    with pytest.raises(Corrupt):
        engine.sealing.open(sealed, None)


async def test_bytes_under_another_objects_record_are_noticed(engine):
    for key, byte in ((b"a", b"a"), (b"b", b"b")):
        await engine.objects.put("bucket", key, body_of(byte * 100), PutSpec(seal=SPECS[SSE_S3]))
    a, b = sealed_of(engine, b"a"), sealed_of(engine, b"b")

    def swap(txn):
        number = number_of(engine, b"a")
        inode = load(txn, inode_key(number), Inode)
        save(txn, inode_key(number), msgspec.structs.replace(inode, sealed=msgspec.structs.replace(b, size=a.size)))

    await engine.meta.write(swap)
    with pytest.raises(Corrupt):
        await get(engine, b"a")


async def test_no_repr_shows_a_key(engine):
    spec = SealSpec(scheme=SSE_C, customer=MINE)
    key = await engine.sealing.make(SPECS[SSE_S3])
    generation = await engine.keys.current("stratum/s3")
    for thing, secret in (
        (spec, MINE.secret),
        (PutSpec(seal=spec), MINE.secret),
        (key, key.secret),
        (key.begin(), key.secret),
        (generation, generation.key),
        (MasterKeys((OLD,)), OLD),
    ):
        assert repr(secret)[2:-1] not in repr(thing) and secret.hex() not in repr(thing)


@every_scheme
async def test_the_compactor_and_lost_disks_leave_sealed_bytes_as_they_are(tmp_path, scheme):
    body, size, customer = canaries(20 * 5000), 5000, customer_of(scheme)
    async with engine_at(tmp_path, part_bytes_min=1) as engine:
        await engine.buckets.create("bucket", "alice")
        upload = await engine.uploads.create("bucket", b"k", UploadSpec(seal=SPECS[scheme]))
        names = []
        for number in range(20):
            piece = body_of(body[number * size : (number + 1) * size])
            part = await engine.uploads.part("bucket", b"k", upload, number + 1, piece, customer=customer)
            names.append(PartName(number=number + 1, etag=part.etag))
        await engine.uploads.complete("bucket", b"k", upload, names, customer=customer)
        await engine.objects.put("bucket", b"big", body_of(canaries(2_000_000)), PutSpec(seal=SPECS[scheme]))
        await engine.compactor.step()
        assert engine.compactor.replaced == 20
        assert await read(engine, b"k", scheme) == body
    for slot in (1, 4):
        shutil.rmtree(tmp_path / "disks" / str(slot))
    async with engine_at(tmp_path) as engine:
        assert await read(engine, b"k", scheme) == body
        assert await read(engine, b"big", scheme) == canaries(2_000_000)
        opened = await engine.objects.open("bucket", b"k", customer=customer)
        assert await read_all(opened, 4990, 15010) == body[4990:15010]


@pytest.mark.parametrize("scheme", [SSE_S3, SSE_KMS])
@pytest.mark.parametrize("size", [50, 300_000, 2_500_000])
async def test_the_mount_reads_what_the_server_can_open(engine, scheme, size):
    body = canaries(size)
    await engine.objects.put("bucket", b"k", body_of(body), PutSpec(seal=SPECS[scheme]))
    number = number_of(engine, b"k")
    assert engine.files.attributes.get(number).size == size
    handle = engine.files.open(number, writes=False)
    assert await engine.files.read(handle, 0, size + 100) == body
    for start in (0, 49, 65_530, 131_072, size - 1, size):
        assert await engine.files.read(handle, start, 70_000) == body[start : start + 70_000]
    await engine.files.release(handle)


async def test_the_mount_cannot_read_what_only_a_customer_can_open(engine):
    await engine.objects.put("bucket", b"k", body_of(b"x"), PutSpec(seal=SPECS[SSE_C]))
    number = number_of(engine, b"k")
    with pytest.raises(CustomerKeyNeeded):
        engine.files.open(number, writes=False)
    handle = engine.files.open(number, writes=True)
    with pytest.raises(CustomerKeyNeeded):
        await engine.files.read(handle, 0, 1)
    await engine.files.release(handle)
    assert await read(engine, b"k", SSE_C) == b"x"


async def test_a_file_under_a_customers_key_is_never_changed_in_place(engine):
    body, scheme = canaries(200_000), SSE_C
    await engine.objects.put("bucket", b"k", body_of(body), PutSpec(seal=SPECS[scheme]))
    before = await engine.objects.head("bucket", b"k")
    number = number_of(engine, b"k")
    handle = engine.files.open(number, writes=True)
    with pytest.raises(NotPermitted):
        await engine.files.write(handle, 10, b"a mixture")
    with pytest.raises(NotPermitted):
        await engine.files.write(handle, len(body), b"appended")
    for size in (5, 300_000):
        with pytest.raises(NotPermitted):
            await engine.files.attributes.set(number, AttributeChange(size=size), opened=True)
    await engine.files.fsync(handle)
    await engine.files.release(handle)
    assert await engine.objects.head("bucket", b"k") == before
    assert await read(engine, b"k", scheme) == body


@every_scheme
@pytest.mark.parametrize("size", [0, 10, 200_000, 2_000_000])
async def test_a_sealed_file_that_is_begun_anew_stays_sealed_with_nothing_of_the_old(engine, scheme, size):
    body = canaries(200_000)
    await engine.objects.put("bucket", b"k", body_of(body), PutSpec(seal=SPECS[scheme]))
    number = number_of(engine, b"k")
    handle = engine.files.open(number, writes=True, truncate=True)
    if size:
        await engine.files.write(handle, size - 5, b"tail!")
    wanted = bytes(size - 5) + b"tail!" if size else b""
    assert await engine.files.read(handle, 0, size + 10) == wanted
    await engine.files.fsync(handle)
    assert await engine.files.read(handle, 0, size + 10) == wanted
    view = await engine.objects.head("bucket", b"k")
    assert view.size == size
    assert (view.inode.sealed.scheme if view.inode.sealed else SSE_C) == scheme  # nobody could send a customer's key
    assert await get(engine, b"k") == wanted
    await engine.files.write(handle, 3, b"now it can be changed")
    await engine.files.fsync(handle)
    await engine.files.release(handle)
    assert (await get(engine, b"k"))[3:24] == b"now it can be changed"


async def test_a_version_keeps_its_seal_when_the_mount_writes_a_new_one(engine):
    await engine.buckets.amend("bucket", lambda bucket: msgspec.structs.replace(bucket, versioning="Enabled"))
    first = await engine.objects.put("bucket", b"k", body_of(canaries(100_000)), PutSpec(seal=SPECS[SSE_S3]))
    handle = engine.files.open(number_of(engine, b"k"), writes=True, truncate=True)
    await engine.files.write(handle, 0, b"plain")
    await engine.files.fsync(handle)
    await engine.files.release(handle)
    assert await get(engine, b"k") == b"plain"
    opened = await engine.objects.open("bucket", b"k", first.inode.version)
    assert opened.view.inode.sealed is not None
    assert await read_all(opened) == canaries(100_000)


@pytest.mark.parametrize("before, after", [(None, SSE_S3), (SSE_S3, SSE_S3), (SSE_S3, SSE_KMS), (SSE_KMS, None)])
@pytest.mark.parametrize("wanted", [None, SSE_S3, SSE_KMS])
async def test_a_copy_whose_source_is_replaced_meanwhile_is_one_of_both_and_readable(
    engine, monkeypatch, before, after, wanted
):
    """Its record must never speak of other bytes than those that it shares."""
    await engine.objects.put("bucket", b"a", body_of(b"old" * 3000), PutSpec(seal=SPECS.get(before)))
    ready = objects.take_over

    async def replaced_meanwhile(*arguments):
        monkeypatch.setattr(objects, "take_over", ready)
        taken = await ready(*arguments)
        await engine.objects.put("bucket", b"a", body_of(b"new" * 9000), PutSpec(seal=SPECS.get(after)))
        return taken

    monkeypatch.setattr(objects, "take_over", replaced_meanwhile)
    view = await engine.objects.copy("bucket", b"a", "bucket", b"b", CopySpec(seal=SPECS.get(wanted)))
    assert await get(engine, b"b") in (b"old" * 3000, b"new" * 9000)
    assert (view.inode.sealed and view.inode.sealed.scheme) == wanted
    assert len(await get(engine, b"b")) == view.size
