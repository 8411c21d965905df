"""Times of mounted files: what utimens set is not overwritten by a publication that was under way."""

import pytest
import trio.testing

from stratum.core.errors import NoSuchKey
from stratum.engine.file_attributes import AttributeChange
from stratum.engine.file_names import Caller


async def test_an_mtime_set_while_the_bytes_of_a_close_are_on_their_way_stays(engine):
    bucket = await engine.buckets.get("bucket")
    who = Caller(uid=0, gid=0)
    handle, number, _ = await engine.files.create(bucket.root, b"f", 0o644, who, exclusive=True, truncate=False)
    await engine.files.write(handle, 0, bytes(100_000))
    with pytest.raises(NoSuchKey):
        await engine.objects.head("bucket", b"f")
    await engine.files.flush(handle)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(engine.files.settle, number)
        await trio.testing.wait_all_tasks_blocked()
        await engine.files.attributes.set(number, AttributeChange(mtime=12345))
    assert (await engine.objects.head("bucket", b"f")).inode.mtime == 12345
