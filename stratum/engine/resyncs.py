"""What was in a bucket before its replication: it goes too, when the operator asks for it.

Room: stratum/engine. May import: core, engine.{buckets, objects, replication_rows, replications, surroundings}.

Keys are walked in their order, a few in a turn; each is judged, and what of it is to go is queued, in one change, which
also notes how far it has come. The queues then work as for anything that is written.

Invariants
    Y1  It can be cut anywhere and goes on where it stood; what was queued already is not queued again.
    Y2  A target orders versions by their arrival. So of a key only those go that are later than what has gone, oldest
        first; what was the last to go is sent again only while it is current: a target that has it takes no harm.
    Y3  It fills a queue to a part of its room only: what is written meanwhile finds room.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice

import msgspec
import trio

from stratum.core.config import Limits
from stratum.core.errors import InvalidArgument, NoSuchBucket, StratumError
from stratum.core.inodes import get_inode
from stratum.core.namespace import resolve
from stratum.core.objects import ObjectView, VersionQuery
from stratum.core.replication import COMPLETED, FAILED, PENDING, REPLICA, RESYNC, Replication, Resync, Target, status_of
from stratum.core.schema import BUCKET, bucket_key, configuration_key
from stratum.core.txn import Txn, load, save, successor
from stratum.core.versions import NULL, rows
from stratum.core.views import row_view, view_of
from stratum.engine.buckets import find_bucket
from stratum.engine.objects import Objects
from stratum.engine.replication_rows import waiting_key
from stratum.engine.replications import Replications
from stratum.engine.surroundings import Surroundings

log = logging.getLogger(__name__)

KEYS_AT_ONCE = 64  # of a page
VERSIONS_AT_ONCE = 100  # of one key, the newest
BUCKETS_AT_ONCE = 500  # looked at in one turn
WAITING_MAX = 1000  # of one target, for it to go on (Y3)
PAUSE = 1.0  # seconds

GONE = (PENDING, COMPLETED, FAILED, REPLICA)


@dataclass(frozen=True, slots=True)
class Found:
    """A version as it is found. `view`: None for a delete marker."""

    version: str
    view: ObjectView | None

    @property
    def status(self) -> str:
        """As S3 shows it; empty: nothing, as of every marker."""
        return "" if self.view is None else status_of(self.view.inode, self.view.key)


class Resyncs:
    """Begin, stop, show; and the service that does it."""

    def __init__(
        self, surroundings: Surroundings, objects: Objects, replications: Replications, limits: Limits
    ) -> None:
        self._around = surroundings
        self._objects = objects
        self._replications = replications
        self._room = max(1, min(WAITING_MAX, limits.replications // 2))
        self._wanted = trio.Event()
        self._turn = trio.Lock()
        self._going: set[str] | None = None  # buckets; None: not looked yet

    async def begin(self, bucket: str) -> Resync:
        """Let all that is in the bucket go, from its first key on. Raises NoSuchBucket, InvalidArgument: no rules."""

        def change(txn: Txn) -> Resync:
            find_bucket(txn, bucket)
            if self._replications.rules(txn, bucket) is None:
                raise InvalidArgument(f"bucket {bucket} has no replication configuration")
            begun = Resync(self._around.now_ns())
            save(txn, configuration_key(bucket, RESYNC), begun)
            return begun

        begun = await self._around.meta.write(change)
        if self._going is not None:
            self._going.add(bucket)
        self._wanted.set()
        return begun

    async def stop(self, bucket: str) -> None:
        """Forget it; what is queued goes. Raises NoSuchBucket."""

        def change(txn: Txn) -> None:
            find_bucket(txn, bucket)
            txn.delete(configuration_key(bucket, RESYNC))

        await self._around.meta.write(change)

    async def found(self) -> list[tuple[str, Resync]]:
        """By bucket: those that go on, and those that have ended."""
        made: list[tuple[str, Resync]] = []
        after: bytes | None = BUCKET
        while after is not None:
            some, after = self._around.meta.read(partial(_some, after))
            made += some
            await trio.lowlevel.checkpoint()
        return made

    async def run(self) -> None:
        """Run until cancelled."""
        while True:
            self._wanted = trio.Event()
            try:
                await self.one_pass()
            except StratumError as error:
                log.warning("a resync goes on later: %s", error)
                await trio.sleep(PAUSE)
                continue
            await self._wanted.wait()

    async def one_pass(self) -> None:
        """Do all that is begun, by turns. Raises CorruptRecord."""
        async with self._turn:
            if self._going is None:
                self._going = {bucket for bucket, each in await self.found() if not each.ended}
            while self._going:
                moved = [await self._try_step(bucket) for bucket in sorted(self._going)]
                if not any(moved):
                    await trio.sleep(PAUSE)

    async def _try_step(self, bucket: str) -> bool:
        try:
            return await self.one_step(bucket)
        except StratumError as error:
            log.warning("the resync of bucket %s goes on later: %s", bucket, error)
            return False

    async def one_step(self, bucket: str) -> bool:
        """Do the next page of keys of a bucket. False: nothing could be done. Raises ReadOnly, CorruptRecord."""
        meta = self._around.meta
        resync, rules = meta.read(
            lambda txn: (load(txn, configuration_key(bucket, RESYNC), Resync), self._replications.rules(txn, bucket))
        )
        page = None
        if resync is not None and rules is not None and not resync.ended:
            with suppress(NoSuchBucket):
                query = VersionQuery(key_marker=resync.after, limit=KEYS_AT_ONCE)
                page = await self._objects.list_versions(bucket, query)
        if resync is None or page is None or not page.versions:
            if resync is not None:
                meta.apply(partial(_end, bucket, resync.begun, self._around.now_ns()))
            self._forget(bucket, resync)
            return True
        return await self._keys(bucket, resync.begun, list(dict.fromkeys(each.key for each in page.versions)))

    def _forget(self, bucket: str, seen: Resync | None) -> None:
        """It is at its end, unless it was begun anew meanwhile."""
        now = self._around.meta.read(lambda txn: load(txn, configuration_key(bucket, RESYNC), Resync))
        if self._going is not None and (now is None or now.ended or seen is None or now.begun == seen.begun):
            self._going.discard(bucket)

    async def _keys(self, bucket: str, begun: int, keys: Sequence[bytes]) -> bool:
        """Do these keys, as long as there is room. False: there is none."""
        for place, key in enumerate(keys):
            if self._around.meta.read(partial(self._is_full, bucket)):
                return place > 0
            await self._around.meta.room()
            self._around.meta.apply(partial(self._key, bucket, begun, key))
            await trio.lowlevel.checkpoint()
        return True

    def _is_full(self, bucket: str, txn: Txn) -> bool:
        rules = self._replications.rules(txn, bucket)
        queues = {Target(rule.target, rule.remote).queue for rule in rules.rules} if rules is not None else set()
        return any((load(txn, waiting_key(queue), int) or 0) >= self._room for queue in queues)

    def _key(self, bucket: str, begun: int, key: bytes, txn: Txn) -> None:
        """Inside a change: queue what of a key is to go, and note that it was looked at."""
        resync = load(txn, configuration_key(bucket, RESYNC), Resync)
        rules = self._replications.rules(txn, bucket)
        if resync is None or resync.begun != begun or rules is None:
            return  # stopped, begun anew, or no longer wanted
        found = list(islice(_newest_first(txn, bucket, key), VERSIONS_AT_ONCE))[::-1]
        start = first_to_go([each.status for each in found])
        resync = msgspec.structs.replace(
            resync,
            after=key,
            looked=resync.looked + len(found),
            queued=resync.queued + self._send(txn, rules, bucket, key, found[start:]),
            behind=resync.behind + sum(each.status in ("", FAILED) for each in found[:start] if each.view),
        )
        save(txn, configuration_key(bucket, RESYNC), resync)

    def _send(self, txn: Txn, rules: Replication, bucket: str, key: bytes, versions: Sequence[Found]) -> int:
        sent = 0
        for each in versions:
            if each.view is None:
                sent += self._replications.send_marker(txn, rules, bucket, key, each.version)
            else:
                sent += self._replications.send(txn, rules, bucket, each.view)
        return sent


def first_to_go(statuses: Sequence[str]) -> int:
    """Of the versions of a key, oldest first: the index of the first that is to go (Y2)."""
    last = max((place for place, status in enumerate(statuses) if status in GONE), default=-1)
    again = last == len(statuses) - 1 and last >= 0 and statuses[last] in (COMPLETED, FAILED)
    return last if again else last + 1


def _newest_first(txn: Txn, name: str, key: bytes) -> Iterator[Found]:
    """The versions of a key. What only the mount has made (symlinks, folders) is none of them."""
    bucket = find_bucket(txn, name)
    entry = resolve(txn, bucket.root, key)
    view = None if entry is None else view_of(txn, name, key, entry, versioned=bool(bucket.versioning))
    if view is not None and get_inode(txn, view.inode_number).etag:
        yield Found(view.version, view)
    for _, row in rows(txn, bucket.root, key):
        yield Found(row.version or NULL, row_view(txn, name, key, row) if row.inode else None)


def _some(after: bytes, txn: Txn) -> tuple[list[tuple[str, Resync]], bytes | None]:
    """Those of the next buckets, and behind which row to go on."""
    names = [row[1:].decode() for row, _ in islice(txn.scan(after, successor(BUCKET)), BUCKETS_AT_ONCE)]
    found = ((name, load(txn, configuration_key(name, RESYNC), Resync)) for name in names)
    rest = bucket_key(names[-1]) + b"\0" if len(names) == BUCKETS_AT_ONCE else None
    return [(name, each) for name, each in found if each is not None], rest


def _end(bucket: str, begun: int, now: int, txn: Txn) -> None:
    resync = load(txn, configuration_key(bucket, RESYNC), Resync)
    if resync is not None and resync.begun == begun:
        save(txn, configuration_key(bucket, RESYNC), msgspec.structs.replace(resync, ended=now))
