"""copy_file_range of a whole file moves no byte, and two files that share bytes are two files.

Room: tests. May import: stratum, tests.engine.
"""

import os
from hashlib import md5

import pytest
import trio

from stratum.core.config import KIB, MIB
from stratum.core.encryption import KIND, SSE_S3, Encryption
from stratum.core.errors import QuotaExceeded
from stratum.core.records import Inode
from stratum.core.schema import VOLUME_USER, inode_key
from stratum.core.txn import load, successor
from stratum.engine.file_names import Caller
from tests.engine.conftest import engine_at, get
from tests.engine.test_files import close, create, keys, root_of, write_file

SIZES = [5 * KIB, 300 * KIB, 9 * MIB + 17]
WHO = Caller(0, 0)


def volumes(engine) -> set[bytes]:
    """The volumes that somebody uses."""
    rows = engine.meta.read(lambda txn: [key for key, _ in txn.scan(VOLUME_USER, successor(VOLUME_USER))])
    return {key[1:9] for key in rows}


async def copy(engine, number, name, length=1 << 62) -> int:
    """Copy a file as cp does; return the number of the copy."""
    source = engine.files.open(number, writes=False)
    target, copied = await create(engine, name)
    size = engine.files.attributes.get(number).size
    done = 0
    while done < size:
        done += await engine.files.copy(source, done, target, done, length)
    await engine.files.release(source)
    await close(engine, target)
    return copied


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("settled", [True, False])
async def test_a_whole_copy_moves_no_byte_and_is_a_file_of_its_own(engine, size, settled):
    content = os.urandom(size)
    number = await write_file(engine, b"one", content)
    if settled:
        await engine.files.settle(None)
    copied = await copy(engine, number, b"two")
    assert await get(engine, b"two") == content
    before = volumes(engine)
    assert (await engine.objects.head("bucket", b"two")).etag == md5(content).hexdigest()
    for changed, other, name in ((copied, number, b"one"), (number, copied, b"two")):
        seen = await get(engine, name)
        handle = engine.files.open(changed, writes=True)
        await engine.files.write(handle, size // 2, b"changed")
        await close(engine, handle)
        assert await get(engine, name) == seen
        reading = engine.files.open(other, writes=False)
        assert await engine.files.read(reading, 0, size) == seen
        await engine.files.release(reading)
    assert len(before) <= 1 + size // (64 * MIB)


async def test_the_copy_of_a_large_file_uses_the_volumes_of_the_first_one_also_when_that_is_gone(tmp_path):
    limits = {"reap_interval": 0.01, "reap_delay": 0.0}
    content = os.urandom(3 * MIB)
    async with engine_at(tmp_path, **limits) as engine:
        await engine.buckets.create("bucket", "alice")
        number = await write_file(engine, b"one", content)
        await engine.files.settle(None)
        before = volumes(engine)
        await copy(engine, number, b"two")
        await engine.files.settle(None)
        assert volumes(engine) == before
        await engine.files.names.unlink(await root_of(engine), b"one")
        await engine.files.fsync_directory()
        await trio.sleep(0.1)
        assert await get(engine, b"two") == content
    async with engine_at(tmp_path, **limits) as engine:
        assert await keys(engine) == [b"two"] and await get(engine, b"two") == content


async def test_what_is_not_published_or_not_whole_is_copied_byte_by_byte(engine):
    content = os.urandom(200 * KIB)
    writing, number = await create(engine, b"one", content)
    await copy(engine, number, b"open")
    await close(engine, writing)
    await copy(engine, number, b"pieces", length=64 * KIB)
    target, _ = await create(engine, b"more", b"before")
    source = engine.files.open(number, writes=False)
    assert await engine.files.copy(source, 0, target, 6, 1 << 40) == len(content)
    await close(engine, target)
    for name, expected in ((b"open", content), (b"pieces", content), (b"more", b"before" + content)):
        assert await get(engine, name) == expected


async def test_holes_stay_holes_and_a_file_that_was_emptied_is_replaced_at_once(engine):
    handle, number = await create(engine, b"one", b"x" * (100 * KIB))
    await engine.files.write(handle, 50 * MIB, b"y" * (100 * KIB))
    await close(engine, handle)
    await write_file(engine, b"two", os.urandom(2 * MIB))
    await engine.files.settle(None)
    source = engine.files.open(number, writes=False)
    root = await root_of(engine)
    target, copied, _ = await engine.files.create(root, b"two", 0o644, WHO, exclusive=False, truncate=True)
    assert await engine.files.copy(source, 0, target, 0, 1 << 40) == 50 * MIB + 100 * KIB
    await engine.files.write(target, 3, b"abc")
    await close(engine, target)
    found = await get(engine, b"two")
    assert (found[:6], found[100 * KIB : 50 * MIB].count(0)) == (b"xxxabc", 50 * MIB - 100 * KIB)
    assert found[50 * MIB :] == b"y" * (100 * KIB)
    inode = engine.meta.read(lambda txn: load(txn, inode_key(copied), Inode))
    assert inode.holes == 50 * MIB - 100 * KIB and inode.etag.endswith("-1")


async def test_a_copy_counts_in_full_for_quotas(engine):
    number = await write_file(engine, b"one", bytes(range(256)) * (4 * KIB))
    await engine.files.settle(None)
    await engine.quotas.set(bucket="bucket", bytes_max=3 * MIB // 2)
    with pytest.raises(QuotaExceeded):
        await copy(engine, number, b"two")


@pytest.mark.parametrize("which", ["source", "target", "both"])
async def test_what_is_encrypted_is_not_shared_and_stays_encrypted(engine, which):
    await engine.buckets.create("sealed", "alice")
    await engine.configurations.put("sealed", KIND, Encryption(SSE_S3))
    roots = {name: (await engine.buckets.get(name)).root for name in ("bucket", "sealed")}
    content = os.urandom(300 * KIB)
    made, number = await create(engine, b"one", content, roots["bucket" if which == "target" else "sealed"])
    await close(engine, made)
    await engine.files.settle(None)
    before = volumes(engine)
    source = engine.files.open(number, writes=False)
    where = "bucket" if which == "source" else "sealed"
    target, copied = await create(engine, b"two", parent=roots[where])
    assert await engine.files.copy(source, 0, target, 0, 1 << 40) == len(content)
    await close(engine, target)
    assert await get(engine, b"two", where) == content
    inode = engine.meta.read(lambda txn: load(txn, inode_key(copied), Inode))
    assert (inode.sealed is not None) == (where == "sealed")
    assert volumes(engine) >= before
