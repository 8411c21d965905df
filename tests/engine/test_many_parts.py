"""What has thousands of parts is completed, aborted, listed, copied and deleted in short turns of the event loop."""

from contextlib import contextmanager
from unittest.mock import patch

import pytest
import trio

from stratum.core import endings, manifest, upload_rows
from stratum.core.errors import InvalidPart, InvalidPartOrder, NoSuchUpload, PreconditionFailed, StratumError
from stratum.core.objects import Condition, CopySpec, PartName, PutSpec, RenameSpec
from stratum.engine import joining, objects
from tests.engine.conftest import body_of, engine_at, get
from tests.engine.examination import check_records, observe
from tests.engine.many_parts import begun, bytes_of, counted_turns

COUNT = 2000
ROWS_MAX = 1500  # in one turn of the loop: measured at 2 us each, some 3 ms


@pytest.fixture
async def tiny(tmp_path):
    """An engine that takes parts of any size."""
    async with engine_at(tmp_path, part_bytes_min=1, reap_interval=1e6, repair_interval=1e6) as opened:
        await opened.buckets.create("bucket", "alice")
        yield opened


async def test_no_turn_of_the_loop_is_longer_for_an_object_of_many_parts(tiny, monkeypatch):
    upload, names = await begun(tiny, b"k", COUNT)
    other, _ = await begun(tiny, b"other", COUNT)
    found: dict[str, int] = {}
    with counted_turns(monkeypatch) as turns:

        async def seen(what, awaitable):
            turns.taken()
            result = await awaitable
            found[what] = turns.taken()
            return result

        _, parts, more = await seen("list", tiny.uploads.list_parts("bucket", b"k", upload, 1200, 700))
        assert ([number for number, _ in parts], more) == (list(range(1201, 1901)), True)
        view = await seen("complete", tiny.uploads.complete("bucket", b"k", upload, names))
        assert (view.size, len(view.inode.parts)) == (len(whole(COUNT)), COUNT)
        await seen("copy", tiny.objects.copy("bucket", b"k", "bucket", b"copy", CopySpec()))
        assert await seen("get", get(tiny, b"copy")) == whole(COUNT)
        await seen("delete a copy", tiny.objects.delete("bucket", b"copy"))
        assert await get(tiny, b"k") == whole(COUNT)
        await seen("overwrite", tiny.objects.put("bucket", b"k", body_of(b"x"), PutSpec()))
        await seen("abort", tiny.uploads.abort("bucket", b"other", other))
    assert {what: rows for what, rows in found.items() if rows > ROWS_MAX} == {}
    found["what is left"] = turns.taken()


@pytest.fixture
def short_slices(monkeypatch):
    """What is many is three."""
    for module in (upload_rows, joining, endings):
        monkeypatch.setattr(module, "PARTS_AT_ONCE", 3)
    for module in (manifest, joining, endings):
        monkeypatch.setattr(module, "RUNS_AT_ONCE", 3)
    monkeypatch.setattr(joining, "PARTS_LOOKED_AT", 3)
    monkeypatch.setattr(objects, "SPANS_AT_ONCE", 3)


async def in_order(engine) -> None:
    """Everything that was ended is freed, and all rows fit together."""
    await engine.endings.one_pass()
    for _ in range(3):
        await engine.reaper.one_pass()
    check_records(engine)


def whole(count: int) -> bytes:
    return b"".join(bytes_of(number) for number in range(1, count + 1))


async def test_what_was_ended_is_freed_whatever_ended_it(tiny, short_slices):
    for key in (b"a", b"b", b"c", b"d"):
        upload, names = await begun(tiny, key, 10)
        await tiny.uploads.complete("bucket", key, upload, names[:8])
    await tiny.objects.copy("bucket", b"a", "bucket", b"a2", CopySpec())
    await tiny.objects.delete("bucket", b"a")
    await tiny.objects.put("bucket", b"b", body_of(b"x"), PutSpec())
    await tiny.objects.rename("bucket", b"c", RenameSpec(source=b"d"))
    upload, _ = await begun(tiny, b"e", 10)
    await tiny.uploads.abort("bucket", b"e", upload)
    await in_order(tiny)
    assert (await get(tiny, b"a2"), await get(tiny, b"c")) == (whole(8), whole(8))


async def test_a_refused_complete_leaves_the_upload_as_it_was(tiny, short_slices):
    upload, names = await begun(tiny, b"k", 10)
    await tiny.objects.put("bucket", b"k", body_of(b"there"), PutSpec())
    with pytest.raises(PreconditionFailed):
        await tiny.uploads.complete("bucket", b"k", upload, names, condition=Condition(if_none_match=("*",)))
    with pytest.raises(InvalidPart):
        await tiny.uploads.complete("bucket", b"k", upload, [*names[:9], PartName(number=10, etag="0" * 32)])
    with pytest.raises(InvalidPartOrder):
        await tiny.uploads.complete("bucket", b"k", upload, names[::-1])
    await in_order(tiny)
    assert await get(tiny, b"k") == b"there"
    await tiny.uploads.complete("bucket", b"k", upload, names)
    assert await get(tiny, b"k") == whole(10)
    await in_order(tiny)


async def test_of_many_completes_that_race_one_makes_the_object(tiny, short_slices):
    upload, names = await begun(tiny, b"k", 10)
    ends = []

    async def complete():
        try:
            view = await tiny.uploads.complete("bucket", b"k", upload, names, condition=Condition(if_none_match=("*",)))
            ends.append(view.inode_number)
        except PreconditionFailed:
            ends.append(None)

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(complete)
    assert len(set(ends) - {None}) == 1, ends
    assert await get(tiny, b"k") == whole(10)
    await in_order(tiny)


@pytest.mark.parametrize("steps", range(0, 12, 2))
async def test_a_part_that_is_stored_meanwhile_is_in_the_object_or_refuses_it(tiny, short_slices, steps):
    upload, names = await begun(tiny, b"k", 10)
    ends = []

    async def complete():
        try:
            await tiny.uploads.complete("bucket", b"k", upload, names)
            ends.append(whole(10))
        except InvalidPart:
            ends.append(None)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(complete)
        for _ in range(steps):
            await trio.lowlevel.checkpoint()
        try:
            await tiny.uploads.part("bucket", b"k", upload, 7, body_of(b"another"))
        except NoSuchUpload:
            assert ends
    if ends == [None]:
        _, parts, _ = await tiny.uploads.list_parts("bucket", b"k", upload, 0, 100)
        assert (len(parts), dict(parts)[7].size) == (10, 7)
        await tiny.uploads.abort("bucket", b"k", upload)
    else:
        assert await get(tiny, b"k") == ends[0]
    await in_order(tiny)


async def test_parts_and_object_count_once_at_every_moment(tiny, short_slices):
    upload, names = await begun(tiny, b"k", 10)
    size = len(whole(10))
    await tiny.quotas.set(bucket="bucket", bytes_max=size)
    seen = []
    free = endings.free_parts

    def watching(txn):
        seen.append(tiny.quotas.bucket("bucket").bytes)
        return free(txn)

    with patch("stratum.engine.endings.free_parts", watching):
        await tiny.uploads.complete("bucket", b"k", upload, names)
        assert tiny.quotas.bucket("bucket").bytes == size
        assert await tiny.quotas.count(repair=False) == {}
        await tiny.endings.one_pass()
    assert set(seen) == {size}
    await in_order(tiny)
    assert tiny.quotas.bucket("bucket").bytes == size


class Killed(BaseException):
    pass


@pytest.mark.parametrize("end", ["complete", "abort", "delete"])
async def test_a_kill_between_any_two_changes_leaves_the_upload_or_its_end(tmp_path, short_slices, end):
    """Cut after each change in turn, until one comes through."""
    cut, done = 0, False
    while not done:
        folder = tmp_path / str(cut)
        try:
            async with engine_at(folder, part_bytes_min=1) as engine:
                await engine.buckets.create("bucket", "alice")
                upload, names = await begun(engine, b"k", 10)
                if end == "delete":
                    await engine.uploads.complete("bucket", b"k", upload, names)
                    await engine.endings.one_pass()
                with killed_after(engine.meta, cut):
                    if end == "complete":
                        await engine.uploads.complete("bucket", b"k", upload, names)
                    elif end == "abort":
                        await engine.uploads.abort("bucket", b"k", upload)
                    else:
                        await engine.objects.delete("bucket", b"k")
                    await engine.endings.one_pass()
                    done = True
        except* (Killed, StratumError):  # what goes on meanwhile finds the index closed
            pass
        async with engine_at(folder, part_bytes_min=1) as engine:
            found = await observe(engine, [("bucket", b"k")])
            bodies, uploads = [each.body for each in found.objects.values()], list(found.uploads.values())
            assert (bodies, [len(parts) for parts in uploads]) in ALLOWED[end]
            await in_order(engine)
        cut += 1
    assert cut > 3


ALLOWED = {
    "complete": [([], [10]), ([whole(10)], [])],
    "abort": [([], [10]), ([], [])],
    "delete": [([whole(10)], []), ([], [])],
}


@contextmanager
def killed_after(meta, changes: int):
    """Let the engine die before the next change after so many, when these are durable."""
    apply, room, left = meta.apply, meta.room, changes

    def counting(change):
        nonlocal left
        if not left:
            meta.abandon()
            raise Killed
        left -= 1
        return apply(change)

    meta.apply, meta.room = counting, meta._batches.drain
    try:
        yield
    finally:
        meta.apply, meta.room = apply, room
