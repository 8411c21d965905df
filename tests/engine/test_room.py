"""What `df` says of the mount: room for content after parity, and no device counted twice; and that it is true."""

import os
import subprocess
from contextlib import contextmanager

import pytest
import trio

from stratum.core.config import KIB, MIB
from stratum.core.errors import StoreFull
from tests.engine.conftest import engine_at, get
from tests.engine.test_files import close, create, keys, root_of, write_file


async def test_six_folders_on_one_device_have_the_room_of_that_device_less_parity(engine, tmp_path):
    device = os.statvfs(tmp_path)
    room = engine.files.attributes.room()
    assert room.total == pytest.approx(device.f_blocks * device.f_frsize * 4 / 6, rel=0.01)
    assert room.free == pytest.approx(device.f_bavail * device.f_frsize * 4 / 6, rel=0.05)


async def test_inside_a_bucket_with_a_quota_there_is_the_room_that_the_quota_leaves(engine):
    await engine.quotas.set(bucket="bucket", bytes_max=10_000)
    root = (await engine.buckets.get("bucket")).root
    number = await write_file(engine, b"f", bytes(3000))
    await engine.files.settle(None)
    for inside in (root, number):
        room = engine.files.attributes.room(inside)
        assert (room.total, room.free) == (10_000, 7000)
    assert engine.files.attributes.room().total > 10_000


@contextmanager
def disks_of(folder, sizes):
    """Disks that are file systems of their own, of so many MiB."""
    places = [folder / "disks" / str(slot) for slot in range(len(sizes))]
    mounted = []
    try:
        for place, size in zip(places, sizes, strict=True):
            place.mkdir(parents=True)
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}m", "tmpfs", place], check=True)
            mounted.append(place)
        yield
    finally:
        for place in mounted:
            subprocess.run(["umount", "-l", place], check=True)


async def fill(engine, prefix, size, most=10_000):
    """Write files until one is refused, or there are `most`; return how many were taken."""
    for count in range(most):
        handle, _ = await create(engine, b"%s-%d" % (prefix, count), os.urandom(size))
        try:
            await engine.files.fsync(handle)
        except StoreFull:
            root = await root_of(engine)
            await engine.files.names.unlink(root, b"%s-%d" % (prefix, count))
            return count
        finally:
            await engine.files.release(handle)
    return most


@pytest.mark.fuse  # mounts file systems
@pytest.mark.parametrize("sizes", [[32] * 6, [48, 48, 48, 32, 24, 24], [32] * 8], ids=["equal", "unequal", "eight"])
async def test_what_df_promises_can_be_written_and_a_full_store_can_still_be_emptied(tmp_path, sizes):
    with disks_of(tmp_path, sizes):
        limits = {"disk_check_interval": 0.05, "reap_interval": 0.05, "reap_delay": 0.1, "volume_bytes": MIB}
        async with engine_at(tmp_path, disks=len(sizes), **limits) as engine:
            await engine.buckets.create("bucket", "alice")
            promised = engine.files.attributes.room().free
            assert promised == engine.disk_changes.capacities()["hot"].free_bytes  # as the console says it
            count = await fill(engine, b"large", 512 * KIB)
            assert count * 512 * KIB == pytest.approx(promised, rel=0.08)
            with trio.fail_after(60):
                while engine.files.attributes.room().free > promised // 20:
                    await trio.sleep(0.01)
            small = await fill(engine, b"small", 3 * KIB)  # rests in the index, which has no more room than the rest
            assert small < 10_000
            for number in range(count):
                await engine.files.names.unlink(await root_of(engine), b"large-%d" % number)
            await engine.files.fsync_directory()
            assert engine.meta.failed is None
            with trio.fail_after(60):
                while engine.files.attributes.room().free < promised * 3 // 4:
                    await trio.sleep(0.05)
            handle, _ = await create(engine, b"again", b"x" * (512 * KIB))
            await close(engine, handle)
            assert b"again" in await keys(engine) and len(await get(engine, b"again")) == 512 * KIB


@pytest.mark.fuse  # mounts file systems
@pytest.mark.parametrize("sizes", [[32] * 6, [32] * 3 + [34] * 5, [34] * 5 + [32] * 3], ids=["equal", "first", "last"])
async def test_small_files_fill_a_store_no_further_than_it_can_be_emptied_however_late_a_look_at_it(tmp_path, sizes):
    """What rests in the index makes the journal grow, and nothing else asks a disk for its room then. It is on three
    disks, and moves to others only where there is room for all of it."""
    with disks_of(tmp_path, sizes):
        limits = {"disk_check_interval": 1e6, "volume_bytes": MIB}
        async with engine_at(tmp_path, disks=len(sizes), **limits) as engine:
            await engine.buckets.create("bucket", "alice")
            room = engine.files.attributes.room().free
            await fill(engine, b"large", 512 * KIB, most=room // (512 * KIB) - 8)
            count = await fill(engine, b"small", 3 * KIB)
            assert 0 < count < 10_000
            for number in range(count):
                await engine.files.names.unlink(await root_of(engine), b"small-%d" % number)
            await engine.files.fsync_directory()
            assert engine.meta.failed is None
