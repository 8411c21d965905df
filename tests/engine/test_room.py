"""What `df` says of the mount: room for content after parity, and no device counted twice."""

import os

import pytest


async def test_six_folders_on_one_device_have_the_room_of_that_device_less_parity(engine, tmp_path):
    device = os.statvfs(tmp_path)
    room = engine.files.attributes.room()
    assert room.total == pytest.approx(device.f_blocks * device.f_frsize * 4 / 6, rel=0.01)
    assert room.free == pytest.approx(device.f_bavail * device.f_frsize * 4 / 6, rel=0.05)
