"""What `df` says of the mount: room for content after parity, and no device counted twice."""

import os

import pytest

from tests.engine.test_files import write_file


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
