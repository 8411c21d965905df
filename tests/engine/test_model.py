"""Random histories against a dict: writes of every kind mixed with restarts, kills, cuts, damage and lost disks.

At most two of the six disks are missing or damaged at a time, until a scrub has restored what they held.
"""

import hashlib
import random
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from stratum.core.errors import NoSuchKey
from stratum.core.objects import CopySpec, ListQuery, PartName, PutSpec, UploadSpec
from stratum.core.schema import ROOT_INODE
from tests.engine.crash import HANGS, SMALL, Fixed, Killed, World, fast_folder, kill
from tests.engine.examination import Version, check_files, check_records, observe, settle, volumes_of
from tests.engine.operations import BUCKET, INLINE, LARGE, PACK, Body, bytes_of

KEYS = [b"a", b"a-b", b"a/b", b"a/b/c", b"a//b", b"b/", b"m", b"n"]  # m and n also through the mount
SIZES = [0, 1, INLINE, PACK, 1501, 5000, LARGE]

keys, sizes, numbers = st.sampled_from(KEYS), st.sampled_from(SIZES), st.integers(0, 2**16)
disks = st.integers(0, 5)
writes = st.one_of(
    st.tuples(st.just("put"), keys, sizes, numbers),
    st.tuples(st.just("delete"), keys),
    st.tuples(st.just("copy"), keys, keys),
    st.tuples(st.just("begin"), keys),
    st.tuples(st.just("part"), numbers, st.integers(1, 4), sizes, numbers),
    st.tuples(st.just("complete"), numbers),
    st.tuples(st.just("multipart"), keys, st.dictionaries(st.integers(1, 9), st.sampled_from(SIZES[1:]), min_size=1)),
    st.tuples(st.just("abort"), numbers),
    st.tuples(st.just("mount_write"), st.sampled_from(KEYS[-2:]), st.integers(0, 6000), st.integers(1, 3000), numbers),
    st.tuples(st.just("mount_rename"), st.sampled_from(KEYS[-2:]), st.sampled_from(KEYS[-2:])),
)
looks = st.one_of(
    st.tuples(st.just("read"), keys, st.integers(0, LARGE), st.integers(1, 5000)),
    st.tuples(st.just("list"), st.sampled_from([b"", b"a", b"a/"]), st.sampled_from([b"", b"/"]), st.integers(1, 4)),
)
faults = st.one_of(
    st.tuples(st.just("restart")),
    st.tuples(st.just("kill"), numbers),
    st.tuples(st.just("lose_index")),
    st.tuples(st.just("flip"), disks, numbers),
    st.tuples(st.just("drop"), disks),
    st.tuples(st.just("bring_back"), disks),
    st.tuples(st.just("bring_back_empty"), disks),
    st.tuples(st.just("scrub")),
    st.tuples(st.just("reap")),
)
histories = st.lists(st.one_of(writes, writes, writes, looks, faults), min_size=10, max_size=40)


class Restart(Exception):
    """The next life begins. `prepare` is called in between."""

    def __init__(self, prepare=lambda: None):
        self.prepare = prepare


class Machine:
    """The engine and the dict side by side."""

    def __init__(self, folder):
        self.world = World(folder, replace(SMALL, journal_segment_bytes=4000))
        self.objects = {}
        self.uploads = {}
        self.harmed = set()  # disks missing or damaged, or that were and are not restored yet
        self.engine = None

    async def run(self, history):
        """Live through the history, however many lives that takes; then restore everything."""
        rest = [("make",), *history, ("restart",), ("scrub",)]
        while rest:
            try:
                with trio.fail_after(HANGS):
                    async with self.world.engine() as self.engine:
                        if rest[0] != ("make",):
                            await self.compare()
                        while rest:
                            name, *arguments = rest.pop(0)
                            await getattr(self, name)(*arguments)
            except* (Restart, Killed) as group:
                for error in group.exceptions:
                    getattr(error, "prepare", lambda: None)()

    async def compare(self):
        """Everything S3 shows is what the dict says."""
        seen = await observe(self.engine, [(BUCKET, key) for key in KEYS])
        assert {key: version for (_, key), version in seen.objects.items()} == self.objects
        assert {upload: (key, parts) for (_, key, upload), parts in seen.uploads.items()} == {
            upload: (key, {number: (hashlib.md5(body).hexdigest(), len(body)) for number, body in parts.items()})
            for upload, (key, parts) in self.uploads.items()
        }

    async def make(self):
        await self.engine.buckets.create(BUCKET, "alice")

    # --- writes ---------------------------------------------------------------------------------------------

    def version(self, body, etag=None, **metadata):
        return Version(body, etag or hashlib.md5(body).hexdigest(), tuple(sorted(metadata.items())))

    async def put(self, key, size, seed):
        body = bytes_of(size, seed)
        await self.engine.objects.put(BUCKET, key, Body(body), PutSpec(metadata={"seed": str(seed)}))
        self.objects[key] = self.version(body, seed=str(seed))

    async def delete(self, key):
        await self.engine.objects.delete(BUCKET, key)
        self.objects.pop(key, None)

    async def copy(self, source, target):
        try:
            await self.engine.objects.copy(BUCKET, source, BUCKET, target, CopySpec())
        except NoSuchKey:
            assert source not in self.objects
        else:
            self.objects[target] = self.objects[source]

    async def begin(self, key):
        upload = await self.engine.uploads.create(BUCKET, key, UploadSpec(metadata={"multi": "part"}))
        self.uploads[upload] = key, {}

    def chosen(self, number):
        """An upload under way: (id, key, parts)."""
        if not self.uploads:
            return None
        upload = list(self.uploads)[number % len(self.uploads)]
        return upload, *self.uploads[upload]

    async def part(self, which, number, size, seed):
        if chosen := self.chosen(which):
            upload, key, parts = chosen
            await self.engine.uploads.part(BUCKET, key, upload, number, Body(bytes_of(size, seed)))
            parts[number] = bytes_of(size, seed)

    async def complete(self, which):
        chosen = self.chosen(which)
        if chosen and chosen[2] and all(chosen[2].values()):
            upload, key, parts = chosen
            names = [PartName(number=n, etag=hashlib.md5(parts[n]).hexdigest()) for n in sorted(parts)]
            view = await self.engine.uploads.complete(BUCKET, key, upload, names)
            self.objects[key] = self.version(b"".join(parts[n] for n in sorted(parts)), view.etag, multi="part")
            del self.uploads[upload]

    async def multipart(self, key, parts):
        """A whole upload."""
        await self.begin(key)
        which = len(self.uploads) - 1
        for number, size in parts.items():
            await self.part(which, number, size, number)
        await self.complete(which)

    async def abort(self, which):
        if chosen := self.chosen(which):
            await self.engine.uploads.abort(BUCKET, chosen[1], chosen[0])
            del self.uploads[chosen[0]]

    def directory(self):
        return self.engine.files.names.lookup(ROOT_INODE, BUCKET.encode())[0]

    async def mount_write(self, key, offset, size, seed):
        if key in self.objects:
            handle = self.engine.files.open(self.engine.files.names.lookup(self.directory(), key)[0], writes=True)
            await self.engine.files.write(handle, offset, bytes_of(size, seed))
            await self.engine.files.fsync(handle)
            await self.engine.files.release(handle)
            old = self.objects[key]
            body = bytearray(old.body.ljust(offset, b"\0"))
            body[offset : offset + size] = bytes_of(size, seed)
            etag = (await self.engine.objects.head(BUCKET, key)).etag
            self.objects[key] = Version(bytes(body), etag, old.metadata)

    async def mount_rename(self, old, new):
        if old in self.objects and old != new:
            here = self.directory()
            await self.engine.files.names.rename(here, old, here, new, noreplace=False, exchange=False)
            await self.engine.files.fsync_directory()
            self.objects[new] = self.objects.pop(old)

    # --- looks ----------------------------------------------------------------------------------------------

    async def read(self, key, start, size):
        try:
            opened = await self.engine.objects.open(BUCKET, key)
        except NoSuchKey:
            assert key not in self.objects
            return
        body = self.objects[key].body
        stop = min(start + size, len(body))
        if start < stop:
            assert b"".join([piece async for piece in opened.stream(start, stop)]) == body[start:stop]

    async def list(self, prefix, delimiter, limit):
        found, after = [], b""
        while after is not None:
            query = ListQuery(prefix=prefix, delimiter=delimiter, after=after, limit=limit)
            page = await self.engine.objects.list(BUCKET, query)
            assert len(page.objects) + len(page.common_prefixes) <= limit
            found += sorted([view.key for view in page.objects] + list(page.common_prefixes))
            after = page.next_after
        expected = []
        for key in sorted(key for key in self.objects if key.startswith(prefix)):
            head, cut, _ = key[len(prefix) :].partition(delimiter) if delimiter else (key[len(prefix) :], b"", b"")
            if not expected or expected[-1] != prefix + head + cut:
                expected.append(prefix + head + cut)
        assert found == expected

    # --- faults ---------------------------------------------------------------------------------------------

    async def restart(self):
        raise Restart

    async def kill(self, seed):
        """Without a stop; and the power goes, too, for half of the seeds."""
        for disk in self.world.disks.values():
            disk.cut_power(random.Random(seed) if seed % 2 else Fixed(0.0))
        await kill(self.engine)

    async def lose_index(self):
        raise Restart(lambda: shutil.rmtree(self.world.meta))

    def may_harm(self, disk):
        return disk in self.harmed or len(self.harmed) < 2

    async def flip(self, disk, seed):
        paths = [path for path in self.world.disk(disk).paths() if path.startswith("volumes/")]
        if self.may_harm(disk) and paths and disk not in self.world.away:
            chance = random.Random(seed)
            path = chance.choice(paths)
            size = len(self.world.disk(disk).content(path))
            if size:
                self.world.disk(disk).flip_bit(path, chance.randrange(size), chance.randrange(8))
                self.harmed.add(disk)

    async def drop(self, disk):
        if self.may_harm(disk) and disk not in self.world.away:
            self.harmed.add(disk)
            self.world.away.add(disk)
            for slot in self.engine.disks.in_service():
                if self.engine.disks.get(slot) is self.world.disk(disk):
                    self.engine.disks.fail(slot, "pulled")

    async def bring_back(self, disk):
        if disk in self.world.away:
            raise Restart(lambda: self.world.away.discard(disk))

    async def bring_back_empty(self, disk):
        if disk in self.world.away:
            self.world.disk(disk).wipe()
            raise Restart(lambda: self.world.away.discard(disk))

    async def scrub(self):
        """Find and repair everything; with all disks there, full redundancy is restored."""
        await self.engine.volumes.close()  # the pack under way cannot be judged
        for number, volume in volumes_of(self.engine).items():
            await self.engine.scrubber.verify(number, volume)
        await self.engine.repairer.one_pass()
        if not self.world.away:
            await settle(self.engine)
            check_files(self.world, self.engine)
            check_records(self.engine)
            self.harmed.clear()
        raise Restart

    async def reap(self):
        await self.engine.reaper.one_pass()


@settings(max_examples=25, deadline=None, derandomize=True)
@given(histories)
def test_whatever_happens_the_store_is_what_a_dict_would_be(history):
    with tempfile.TemporaryDirectory(dir=fast_folder()) as folder:
        trio.run(Machine(Path(folder)).run, history)
