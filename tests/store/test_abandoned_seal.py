"""A stream may be given up while its last volume is made durable behind it: that ends the volume, and nothing else."""

import threading
from pathlib import Path

import pytest
import trio

from stratum.core.layout import stripe
from stratum.store import failpoints
from stratum.store.disk import FolderDisk
from stratum.store.open_volume import VolumeBroken
from tests.store.volume_world import World


async def test_a_volume_that_is_abandoned_while_it_is_synced_is_broken_and_the_service_goes_on(tmp_path):
    world = World()
    for slot in range(6):
        folder = Path(tmp_path / str(slot))
        folder.mkdir()
        world.slots.admit(slot, FolderDisk(slot, folder))
    volume = world.volumes.begin(())
    await volume.append(stripe(b"x" * 1000, volume.k, 256))
    reached, go_on = threading.Event(), threading.Event()

    def hold(name: str) -> None:
        if name == "before shard.fsync":
            reached.set()
            go_on.wait(10)

    failpoints.set_hook(hold)
    try:
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def sync() -> None:
                with pytest.raises(VolumeBroken):
                    await volume.sync()

            await trio.to_thread.run_sync(reached.wait, 10)
            world.volumes.abandon(volume)
            go_on.set()
    finally:
        failpoints.set_hook(None)
    assert volume.durable == 128, "nothing was promised"
