"""Two files of a real mount against two byte strings: whatever is done to them, by whatever call, in whatever order.

Room: tests. May import: stratum, stratumfs, tests.engine, tests.stratumfs.

`tests/engine/test_file_open.py` does the same beneath the mount, where failures can be played; here the kernel takes
part, with its page cache and its own idea of sizes. No shared maps: a page fault on a mount of this very process
would wait for the event loop, and hold what the event loop needs to get memory.
"""

import errno
import mmap
import os
import random
from hashlib import md5

import pytest

from tests.engine.conftest import get
from tests.stratumfs.test_mount import engine, place, there  # noqa: F401 - fixtures
from tests.stratumfs.test_raw import fallocate

pytestmark = pytest.mark.fuse

LARGEST = 400_000
STEPS = 250
SYNCS = 6
SECTOR = 512
HOLES = 0x01 | 0x02, 0x10, 0x10 | 0x01  # fallocate: punch, zero range, zero range without growing


class Play:
    """What is done to a file, by chance, and what it must hold then. Everything here runs beside the event loop."""

    def __init__(self, folder, chance):
        self.path, self.other = folder / "file", folder / "other"
        self.chance = chance
        self.content = bytearray()
        self.plain = [os.open(self.path, os.O_RDWR | os.O_CREAT) for _ in range(2)]
        self.direct = os.open(self.path, os.O_RDWR | os.O_DIRECT)

    def close(self):
        for descriptor in (*self.plain, self.direct):
            os.close(descriptor)

    def run(self, steps):
        moves = [getattr(self, name) for name in dir(self) if name.startswith("do_")]
        for _ in range(steps):
            self.chance.choice(moves)()
        assert self.path.stat().st_size == len(self.content)
        assert self.path.read_bytes() == self.content

    # --- by chance ------------------------------------------------------------------------------------------

    def place(self):
        return self.chance.choice([self.chance.randrange(LARGEST), self.chance.randrange(len(self.content) + 1)])

    def length(self):
        return self.chance.choice([self.chance.randrange(1, 100), 4096, self.chance.randrange(1, 140_000)])

    def one(self):
        return self.chance.choice(self.plain)

    def put(self, offset, piece):
        if piece:
            self.content.extend(bytes(max(offset + len(piece) - len(self.content), 0)))
            self.content[offset : offset + len(piece)] = piece

    # --- calls ----------------------------------------------------------------------------------------------

    def do_write(self):
        offset, piece = self.place(), self.chance.randbytes(self.length())
        assert os.pwrite(self.one(), piece, offset) == len(piece)
        self.put(offset, piece)

    def do_append(self):
        if len(self.content) < LARGEST:
            piece = self.chance.randbytes(self.length())
            with open(self.path, "ab", buffering=0) as file:
                file.write(piece)
            self.put(len(self.content), piece)

    def do_read(self):
        offset, length = self.place(), self.length()
        assert os.pread(self.one(), length, offset) == self.content[offset : offset + length]

    def do_write_past_the_cache(self):
        offset, length = (number // SECTOR * SECTOR for number in (self.place(), self.length() + SECTOR))
        with mmap.mmap(-1, length) as aligned:
            aligned[:] = piece = self.chance.randbytes(length)
            assert os.pwrite(self.direct, aligned, offset) == length
        self.put(offset, piece)

    def do_read_past_the_cache(self):
        offset, length = (number // SECTOR * SECTOR for number in (self.place(), self.length() + SECTOR))
        with mmap.mmap(-1, length) as aligned:
            count = os.preadv(self.direct, [aligned], offset)
            assert aligned[:count] == self.content[offset : offset + length]

    def do_cut(self):
        size = self.chance.choice([self.place(), len(self.content) // 2, 0])
        self.chance.choice([os.truncate, os.ftruncate])(self.one(), size)
        self.content[size:] = bytes(max(size - len(self.content), 0))

    def do_empty(self):
        if self.chance.random() < 0.3:
            os.close(os.open(self.path, os.O_WRONLY | os.O_TRUNC))
            self.content.clear()

    def do_make_holes(self):
        offset, length, mode = self.place(), self.length(), self.chance.choice(HOLES)
        if fallocate(self.one(), mode, offset, length) == errno.EOPNOTSUPP:  # through libfuse
            return
        stop = offset + length if mode == 0x10 else min(offset + length, len(self.content))
        self.put(offset, bytes(max(stop - offset, 0)))

    def do_find_data(self):
        offset = self.place()
        try:
            found = os.lseek(self.one(), offset, os.SEEK_DATA)
        except OSError as error:
            assert error.errno == errno.ENXIO
            found = len(self.content)
        assert not any(self.content[offset:found])

    def do_copy_out_and_in(self):
        offset, to, length = self.place(), self.place(), self.length()
        if self.chance.random() < 0.3:
            offset, length = 0, max(len(self.content), 1)
        other = os.open(self.other, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        copied = _all(lambda done: os.copy_file_range(self.one(), other, length - done, offset + done, done))
        piece = os.pread(other, length, 0)
        assert piece == self.content[offset : offset + length]
        assert _all(lambda done: os.copy_file_range(other, self.one(), copied - done, done, to + done)) == len(piece)
        os.close(other)
        self.put(to, piece)

    def do_open_anew(self):
        at = self.chance.randrange(2)
        os.close(self.plain[at])
        self.plain[at] = os.open(self.path, os.O_RDWR)

    def do_sync_and_forget(self):
        os.fsync(self.one())
        os.posix_fadvise(self.one(), 0, 0, os.POSIX_FADV_DONTNEED)

    def do_rename(self):
        os.rename(self.path, self.path.with_name("away"))
        os.rename(self.path.with_name("away"), self.path)


def _all(copy):
    """Go on until everything is copied; return how much that was."""
    done = 0
    while True:
        count = copy(done)
        if count == 0:
            return done
        done += count


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_file_is_what_was_done_to_it_and_s3_has_the_same_whenever_it_is_synced(
    engine,  # noqa: F811
    place,  # noqa: F811
    seed,
):
    play = await there(Play, place, random.Random(seed))
    seen = {}
    try:
        for _ in range(SYNCS):
            await there(play.run, STEPS // SYNCS)
            await there(os.fsync, play.plain[0])
            assert await get(engine, b"file") == play.content
            etag = (await engine.objects.head("bucket", b"file")).etag
            assert "-" in etag or etag == md5(play.content).hexdigest()
            assert seen.setdefault(etag, bytes(play.content)) == play.content
    finally:
        await there(play.close)
