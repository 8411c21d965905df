"""The engine below mounted files, in memory: an index without commits, volumes without disks.

Room: tests. May import: stratum.core, stratum.engine, tests.fakes.
"""

from stratum.core.config import Limits
from stratum.core.errors import StoreFull
from stratum.core.manifest import spans_in, write_spans
from stratum.core.records import Extent, Inode, Kind, Run
from stratum.core.schema import inode_key, take_number
from stratum.core.txn import load, save
from stratum.engine.file_mounted import Memory, Mounted
from stratum.engine.keys import NO_MASTER_KEYS, Keys
from stratum.engine.sealing import Sealing
from tests.fakes.txn import MemoryTxn

LIMITS = Limits(
    inline_bytes=16,
    pack_bytes=64,
    dirty_bytes=4096,
    dirty_bytes_per_file=512,
    object_bytes_max=1 << 20,
)


class FakeMeta:
    """`Meta` without a disk: what is applied is durable when somebody waits for it."""

    def __init__(self) -> None:
        self.txn = MemoryTxn()
        self.ticket = self.durable_ticket = 0
        self.failed = None
        self.commit_seconds = 0.0

    def read(self, query):
        return query(self.txn)

    def apply(self, change):
        result = self.txn.attempt(change)
        self.ticket += 1
        return result, self.ticket

    async def write(self, change):
        return self.apply(change)[0]

    async def durable(self, ticket):
        self.durable_ticket = max(self.durable_ticket, ticket)

    async def room(self):
        pass


class FakeContents:
    """`Contents` in memory. `full`: every store fails. Bytes of an unfinished stream cannot be read."""

    def __init__(self, limits) -> None:
        self.limits = limits
        self.volumes: dict[int, bytes] = {}
        self.shared: set[int] = set()
        self.discarded: list[int] = []
        self.full = False

    def place(self, content, *, shared=False):
        if self.full:
            raise StoreFull("no room")
        number = len(self.volumes) + 1
        self.volumes[number] = bytes(content)
        if shared:
            self.shared.add(number)
        return [(0, Run(Extent(number, 0, 16, 0, len(content))))]

    async def store(self, content):
        if not content:
            return []
        if len(content) <= self.limits.inline_bytes:
            return [(0, Run(None, bytes(content)))]
        return self.place(content, shared=True)

    def writer(self):
        return FakeWriter(self)

    def record(self, txn, content, spans):
        return write_spans(txn, content, spans)

    async def discard(self, spans):
        self.discarded += [run.extent.volume for _, run in spans]

    async def read(self, spans, start, stop):
        whole = bytearray(stop - start)
        before = -1
        for offset, run in spans:
            assert offset >= before, "spans are in order and do not overlap"
            before = offset + run.length
            whole_run = (
                run.inline
                if run.extent is None
                else self.volumes[run.extent.volume][run.extent.skip : run.extent.skip + run.extent.length]
            )
            low, high = max(offset, start), min(offset + run.length, stop)
            if low < high:
                whole[low - start : high - start] = whole_run[low - offset : high - offset]
        return bytes(whole)


class FakeWriter:
    def __init__(self, contents) -> None:
        self.contents = contents
        self.written = bytearray()

    async def write(self, content):
        if self.contents.full:
            raise StoreFull("no room")
        self.written += content

    async def finish(self):
        return self.contents.place(self.written) if self.written else []

    async def abort(self):
        pass


class World:
    """One mounted file system in memory."""

    def __init__(self, limits=LIMITS, masters=NO_MASTER_KEYS) -> None:
        self.meta = FakeMeta()
        self.contents = FakeContents(limits)
        self.now = 0
        sealing = Sealing(Keys(self.meta, masters, self.clock))
        self.mounted = Mounted(self.meta, self.contents, limits, self.clock, Memory(limits.dirty_bytes), sealing)

    def clock(self) -> int:
        self.now += 1
        return self.now

    def make_file(self, **fields) -> int:
        def change(txn):
            number = take_number(txn, "inode")
            zero = dict.fromkeys(("uid", "gid", "size", "atime", "mtime", "ctime", "btime"), 0)
            plain = {"kind": Kind.OBJECT, "mode": 0o100644, "nlink": 1} | zero
            save(txn, inode_key(number), Inode(**(plain | fields)))
            return number

        return self.meta.apply(change)[0]

    def inode(self, number) -> Inode:
        return load(self.meta.txn, inode_key(number), Inode)

    async def published(self, number) -> bytes:
        inode = self.inode(number)
        if inode.sealed is not None and inode.size:
            key = self.mounted.sealing.open(inode.sealed, None)
            spans = spans_in(self.meta.txn, inode.content, 0, inode.sealed.size)
            opener = key.unsealer(0, inode.size)
            plain = opener.feed(await self.contents.read(spans, 0, inode.sealed.size))
            assert opener.done
            return plain
        return await self.contents.read(spans_in(self.meta.txn, inode.content, 0, inode.size), 0, inode.size)
