"""A pack that nobody writes to any more is repaired all the same."""

from stratum.core.objects import PutSpec
from tests.engine.conftest import body_of, get


async def test_a_shard_of_the_open_pack_is_rebuilt_although_nothing_is_written_after_its_loss(engine):
    await engine.objects.put("bucket", b"k", body_of(b"x" * 9000), PutSpec())
    number = (await engine.objects.open("bucket", b"k")).spans[0][1].extent.volume
    engine.repairer.note_damage(number, 0, "its disk came back empty")
    assert engine.repairer.waiting() == [(number, 0)]
    await engine.repairer.one_pass()
    await engine.repairer.one_pass()
    assert engine.repairer.waiting() == []
    assert await get(engine, b"k") == b"x" * 9000
    await engine.objects.put("bucket", b"next", body_of(b"y" * 9000), PutSpec())
    assert await get(engine, b"next") == b"y" * 9000
