"""One mounted file against a bytearray: whatever is written, cut, moved, published, or fails.

Room: tests. May import: stratum.core, stratum.engine, tests.engine.
"""

from contextlib import contextmanager
from dataclasses import replace
from hashlib import md5

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from stratum.core import sealed_pages
from stratum.core.encryption import SSE_S3, SealSpec
from stratum.core.errors import StoreFull, TooLarge
from stratum.core.manifest import attach, inode_user, spans_in, users, volume_users
from stratum.core.schema import VOLUME_USER, inode_key
from stratum.core.txn import save
from stratum.engine import file_pages
from stratum.engine.file_open import OpenFile
from stratum.engine.keys import NO_MASTER_KEYS
from tests.engine.conftest import MASTERS
from tests.engine.mounted import LIMITS, World

SPACE = 800
offsets = st.one_of(st.sampled_from(range(0, SPACE, 50)), st.integers(0, SPACE))  # often the same ones
lengths = st.sampled_from([1, 16, 50, 63, 64, 100, 200])
step = st.one_of(
    st.tuples(st.just("write"), offsets, lengths),
    st.tuples(st.just("append"), st.just(0), lengths),
    st.tuples(st.just("truncate"), offsets, st.just(0)),
    st.tuples(st.just("begin anew"), st.just(0), st.just(0)),
    st.tuples(st.just("push"), st.just(0), st.just(0)),
    st.tuples(st.just("fsync"), st.just(0), st.just(0)),
    st.tuples(st.just("close"), st.just(0), st.just(0)),
    st.tuples(st.just("reopen"), st.just(0), st.just(0)),
    st.tuples(st.just("read"), offsets, st.integers(1, 600)),
    st.tuples(st.just("full"), st.just(0), st.just(0)),
    st.tuples(st.just("room again"), st.just(0), st.just(0)),
)


class Model:
    """What the file must be, and what its published version must be."""

    def __init__(self) -> None:
        self.live = bytearray()
        self.public = None
        self.stamp = 0

    def write(self, offset: int, length: int) -> bytes:
        self.stamp += 1
        piece = bytes((self.stamp * 7 + i) % 255 + 1 for i in range(length))
        self.live.extend(bytes(max(0, offset + length - len(self.live))))
        self.live[offset : offset + length] = piece
        return piece

    def truncate(self, size: int) -> None:
        del self.live[size:]
        self.live.extend(bytes(size - len(self.live)))


async def play(steps, masters=NO_MASTER_KEYS) -> None:
    world, model = World(masters=masters), Model()
    number = world.make_file()
    file = OpenFile(world.mounted, number, world.inode(number))
    for what, offset, length in steps:
        if what in ("write", "append"):
            offset = len(model.live) if what == "append" else offset
            file.write(offset, model.write(offset, length))
        elif what in ("truncate", "begin anew"):
            file.truncate(offset)
            model.truncate(offset)
        elif what == "read":
            await check_read(file, model, offset, length)
        elif what in ("full", "room again"):
            world.contents.full = what == "full"
        else:
            file = await move(world, file, model, what)
        assert file.size == len(model.live)
        check_shown(world, file, model)
        assert world.mounted.memory.held == file.held
    world.contents.full = False
    file = await move(world, file, model, "close")
    await check_read(file, model, 0, 2 * SPACE)
    check_counts(world)


async def move(world, file, model, what):
    try:
        if what == "push":
            await file.push()
        else:
            await file.publish(closing=what != "fsync")
            model.public = bytes(model.live)
    except StoreFull:
        assert world.contents.full or file.lost
        if file.lost is not None:  # only the file's beginning anew would help: the published version stays
            await check_published(world, file.number, model)
            await file.forget()
            file = OpenFile(world.mounted, file.number, world.inode(file.number))
            model.live = bytearray(model.public or b"")
        return file
    await check_published(world, file.number, model)
    if what == "reopen":
        assert not file.dirty
        return OpenFile(world.mounted, file.number, world.inode(file.number))
    return file


def check_shown(world, file, model):
    """A program that skips holes must not skip bytes: no more of them are shown than there may be."""
    shown = file.shown(world.inode(file.number))
    assert shown.size == len(model.live)
    assert 0 <= shown.holes <= model.live.count(0)


async def check_read(file, model, offset, length):
    try:
        assert await file.read(offset, length) == model.live[offset : offset + length]
    except StoreFull:
        assert file.lost is not None


async def check_published(world, number, model):
    inode = world.inode(number)
    if model.public is None:
        assert inode.etag == ""
        return
    assert await world.published(number) == model.public
    assert inode.size == len(model.public)
    if inode.sealed is None:
        resting = spans_in(world.meta.txn, inode.content, 0, inode.size)
        assert inode.holes == inode.size - sum(run.length for _, run in resting)
    else:
        resting = spans_in(world.meta.txn, inode.content, 0, 1 << 40)
        assert all(offset + run.length <= inode.sealed.size for offset, run in resting)
        assert all(run.extent or b"\1\2\3\4\5\6\7" not in run.inline for _, run in resting)
    if not inode.etag.endswith("-1"):
        assert inode.etag == md5(model.public).hexdigest()


def check_counts(world):
    """Every volume a content uses is counted, and none is used that others could take away while it was unpublished."""
    for key, _ in world.meta.txn.scan(VOLUME_USER, VOLUME_USER + b"\xff" * 16):
        volume = int.from_bytes(key[1:9], "big")
        for content, used in volume_users(world.meta.txn, volume):
            spans = spans_in(world.meta.txn, content, 0, 1 << 40)
            assert used == sum(run.length for _, run in spans if run.extent and run.extent.volume == volume)


@settings(max_examples=400, deadline=None)
@given(st.lists(step, min_size=4, max_size=30))
def test_a_file_is_what_was_written_into_it_and_its_published_version_what_it_was_then(steps):
    trio.run(play, steps)


@settings(max_examples=400, deadline=None)
@given(st.lists(step, min_size=4, max_size=30))
def test_an_encrypted_file_is_the_same_and_nothing_of_it_is_stored_plain(steps):
    with sealed_by_default(page_bytes=48):
        trio.run(play, steps, MASTERS)


@contextmanager
def sealed_by_default(page_bytes=sealed_pages.PAGE_BYTES):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sealed_pages, "PAGE_BYTES", page_bytes)
        patched.setattr(file_pages, "default_of", lambda txn, inode: SealSpec(scheme=SSE_S3))
        yield


async def opened(size=0, **limits):
    world = World(replace(LIMITS, **limits))
    number = world.make_file()
    file = OpenFile(world.mounted, number, world.inode(number))
    if size:
        file.write(0, b"p" * size)
        await file.publish(closing=True)
    return world, file


@pytest.mark.parametrize("size", [0, 1, 500, 200_000])
async def test_a_file_written_from_its_start_has_the_md5_of_its_bytes(size):
    world, file = await opened()
    content = bytes(i % 251 for i in range(size))
    for at in range(0, size, 70_000):
        file.write(at, content[at : at + 70_000])
        await file.push()
    await file.publish(closing=False)
    assert world.inode(file.number).etag == md5(content).hexdigest()


async def test_zeros_in_place_of_bytes_change_the_md5():
    world, file = await opened()
    file.write(0, b"x" * 100)
    await file.push()
    file.truncate(50)
    file.truncate(100)
    await file.publish(closing=True)
    assert world.inode(file.number).etag == md5(b"x" * 50 + bytes(50)).hexdigest()


async def test_a_large_file_written_anew_has_the_md5_of_its_bytes():
    world, file = await opened(2 << 20, object_bytes_max=1 << 30)
    file.write(5, b"out of order")
    file.truncate(0)
    file.write(0, b"n" * (3 << 20))
    await file.publish(closing=True)
    assert world.inode(file.number).etag == md5(b"n" * (3 << 20)).hexdigest()


async def test_a_large_file_changed_in_its_middle_gets_a_new_etag_that_is_no_md5():
    world, file = await opened(2 << 20, object_bytes_max=1 << 30)
    etags = {world.inode(file.number).etag}
    for _ in range(3):
        file.write(100, b"same")
        await file.publish(closing=True)
        etags.add(world.inode(file.number).etag)
    assert len(etags) == 4
    assert sum(etag.endswith("-1") for etag in etags) == 3


async def test_a_small_file_synced_without_an_md5_gets_one_when_it_is_closed():
    world, file = await opened(200_000)
    file.write(100, b"changed")
    await file.publish(closing=False)
    assert world.inode(file.number).etag.endswith("-1")
    await file.publish(closing=True)
    assert world.inode(file.number).etag == md5(b"p" * 100 + b"changed" + b"p" * (200_000 - 107)).hexdigest()
    assert not file.dirty


async def test_what_is_pushed_without_being_published_never_joins_a_shared_pack():
    world, file = await opened()
    for at in (0, 1000, 100, 2000):
        file.write(at, b"x" * 30)
    await file.push()
    assert not world.contents.shared
    file.write(3000, b"y" * 30)
    await file.publish(closing=True)
    assert len(world.contents.shared) == 1


async def test_stored_bytes_that_were_overwritten_before_they_were_published_go_to_the_reaper():
    world, file = await opened()
    file.write(0, b"x" * 100)
    await file.push()
    file.write(0, b"y" * 200)
    await file.push()
    await file.publish(closing=True)
    assert await world.published(file.number) == b"y" * 200
    used = {run.extent.volume for _, run in spans_in(world.meta.txn, world.inode(file.number).content, 0, 200)}
    stored = set(world.contents.volumes)
    assert {run.extent.volume for _, run in world.mounted.unwanted} == stored - used


async def test_a_content_shared_with_a_copy_is_cloned_before_it_is_changed():
    world, file = await opened(300)
    original = world.inode(file.number)
    copy = world.make_file(content=original.content, size=300, etag=original.etag)
    attach(world.meta.txn, original.content, inode_user(copy))
    file.write(10, b"changed")
    await file.publish(closing=True)
    assert await world.published(copy) == b"p" * 300
    assert await world.published(file.number) == b"p" * 10 + b"changed" + b"p" * 283
    assert users(world.meta.txn, original.content) == 1
    check_counts(world)


@pytest.mark.parametrize("start", [0, 10])
async def test_what_is_written_during_a_publication_is_not_part_of_it(start):
    world, file = await opened()
    first, later = b"\0" * start + b"first" * 10, b"later" + (b"\0" * start + b"first" * 10)[5:40]
    file.write(start, b"first" * 10)
    store, inside = world.contents.store, []

    async def slow(content):
        if not inside:
            inside.append(content)
            file.write(0, b"later")
            file.truncate(40)
            assert await file.read(0, 100) == later
        return await store(content)

    world.contents.store = slow
    await file.publish(closing=True)
    assert inside
    assert await world.published(file.number) == first
    assert world.inode(file.number).etag == md5(first).hexdigest()
    assert file.dirty
    await file.publish(closing=True)
    assert await world.published(file.number) == later


async def test_what_is_written_during_a_publication_does_not_look_like_a_hole_after_it():
    world, file = await opened()
    file.write(0, b"x" * 20)
    store = world.contents.store

    async def slow(content):
        file.write(20, b"y" * 100)
        return await store(content)

    world.contents.store = slow
    await file.publish(closing=True)
    shown = file.shown(world.inode(file.number))
    assert (shown.size, shown.holes) == (120, 0)


async def test_a_time_that_was_set_is_not_undone_by_the_publication_of_earlier_writes():
    world, file = await opened()
    file.write(0, b"x")
    inode = world.inode(file.number)
    save(world.meta.txn, inode_key(file.number), type(inode)(**{**_fields(inode), "mtime": 12345}))
    file.mtime_was_set()
    assert file.shown(world.inode(file.number)).mtime == 12345
    await file.publish(closing=True)
    assert world.inode(file.number).mtime == 12345
    file.write(0, b"y")
    assert file.shown(world.inode(file.number)).mtime != 12345


def _fields(inode):
    return {name: getattr(inode, name) for name in inode.__struct_fields__}


async def test_a_file_without_a_name_is_not_published():
    world, file = await opened()
    file.write(0, b"x" * 100)
    inode = world.inode(file.number)
    save(world.meta.txn, inode_key(file.number), type(inode)(**{**_fields(inode), "nlink": 0}))
    await file.publish(closing=True)
    assert world.inode(file.number).etag == ""
    assert await file.read(0, 200) == b"x" * 100


async def test_a_file_does_not_grow_over_the_limit():
    _, file = await opened()
    with pytest.raises(TooLarge):
        file.write(LIMITS.object_bytes_max, b"x")
    with pytest.raises(TooLarge):
        file.truncate(LIMITS.object_bytes_max + 1)
    file.truncate(LIMITS.object_bytes_max)
    assert await file.read(LIMITS.object_bytes_max - 2, 10) == b"\0\0"


async def test_lost_bytes_are_reported_and_a_file_begun_anew_is_whole_again():
    world, file = await opened(100)
    file.write(0, b"x" * 200)
    await file.push()  # in a stream, no longer in memory
    world.contents.full = True
    file.write(200, b"x" * 10)
    for _ in range(2):
        with pytest.raises(StoreFull):
            await file.publish(closing=True)
    world.contents.full = False
    with pytest.raises(StoreFull):
        await file.read(0, 10)
    assert await world.published(file.number) == b"p" * 100
    file.truncate(0)
    file.write(0, b"whole")
    await file.publish(closing=True)
    assert await world.published(file.number) == b"whole"
