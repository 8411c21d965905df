"""Replication: what was written into a bucket goes to others, in the order of each key, at least once.

Room: stratum/engine. May import: core, store, engine.{buckets, configurations, grounds, objects, pacing,
replication_rows, surroundings}.

Invariants
    X1  What is to go is a row, written in the change that stores the version: it is there just if the version is.
    X2  Each target has a queue of its own. Versions of one key go one after another; of other keys, a few at a
        time. A row goes when the target has the version. So a cut in between sends it again, which a target that has it
        already notices.
    X3  A target that is away, or lets nobody in, stops its queue alone; what it refuses for good is FAILED and left.
    X5  A version whose bytes cannot be read is FAILED, and leaves the queue for another one that is tried again and
        again, ever less often; once it can be read it goes, unless a later version of its key went before it.
    X4  Into a bucket of this store goes only what its owner may put there, asked each time.
"""

import logging
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

import msgspec
import trio

from stratum.core.access import Decision, decide
from stratum.core.config import Settings
from stratum.core.encryption import SSE_C, SealSpec
from stratum.core.errors import (
    Corrupt,
    NoSuchBucket,
    NotPermitted,
    StratumError,
    TooFewShards,
    Unavailable,
)
from stratum.core.inodes import get_inode
from stratum.core.objects import CopySpec, ObjectView
from stratum.core.policy import AccessRequest, resource_arn
from stratum.core.principals import OPERATOR, OPERATOR_ID, Principal
from stratum.core.records import Bucket, Inode, Upload, decode
from stratum.core.replication import (
    BY_REPLICATION,
    COMPLETED,
    FAILED,
    KIND,
    LATER,
    MARK,
    PENDING,
    Outgoing,
    Replication,
    Target,
    is_replica,
    mark_of,
    targets_for,
)
from stratum.core.schema import (
    configuration_key,
    inode_key,
    outgoing_key,
    outgoing_prefix,
    take_number,
)
from stratum.core.txn import Txn, load, save, successor
from stratum.engine.buckets import find_bucket
from stratum.engine.grounds import Grounds
from stratum.engine.objects import Objects
from stratum.engine.pacing import Pace
from stratum.engine.replication_rows import (
    current_of,
    is_newest,
    put_off,
    queues,
    replica_of,
    settle,
    source_of,
    waiting_key,
)
from stratum.engine.surroundings import Surroundings

log = logging.getLogger(__name__)

ROWS_AT_ONCE, KEYS_AT_ONCE = 64, 4  # of one target
PAUSE, LONGEST_PAUSE = 1.0, 300.0  # seconds
BUCKETS_KEPT = 256


class Refused(NotPermitted):
    """A target will not have this version, now or later."""


class Unreadable(Corrupt):
    """The bytes of a version cannot be read now."""


class Remote(Protocol):
    """How versions get to buckets elsewhere. Unavailable: not now; any other error: never."""

    async def replicate(
        self,
        bucket: str,
        key: bytes,
        view: ObjectView,
        metadata: Mapping[str, str],
        storage_class: str,
        stream: Callable[[], AsyncGenerator[bytes, None]],
    ) -> None:
        """Have the version there, with this metadata; nothing, if what is there has the same mark."""

    async def remove(self, bucket: str, key: bytes) -> None:
        """Have the key absent there."""

    async def retag(self, bucket: str, key: bytes, mark: str, tags: Mapping[str, str]) -> None:
        """Have these tags on the object, if it is the replica with that mark."""

    async def run(self) -> None:
        """Work until cancelled."""


@dataclass(slots=True)
class Standing:
    """How it stands with a target: since the start, but `waiting`, which is of the last look."""

    waiting: int = 0
    sent: int = 0
    bytes: int = 0
    failed: int = 0
    trouble: str = ""


class Replications:
    """A consequence of every write, and the service that sends versions on."""

    def __init__(
        self,
        surroundings: Surroundings,
        objects: Objects,
        settings: Settings,
        store: bytes,
        remotes: Mapping[str, Remote],
    ) -> None:
        self._around = surroundings
        self._objects = objects
        self._store = store
        self._limits = settings.limits
        self._grounds = Grounds(surroundings.meta)
        self._pace = Pace(settings.limits.replication_bytes_per_second, lambda: 0.0)
        self._more = trio.Event()
        self._busy: set[str] = set()
        self._late: dict[tuple[str, bytes], trio.Event] = {}  # keys of which a version is being sent that was put off
        self._kept: dict[str, tuple[bytes, Replication]] = {}
        self.remotes = dict(remotes)
        self.standing: dict[str, Standing] = {}

    # --- consequences of writes -----------------------------------------------------------------------------

    def written(self, txn: Txn, name: str, bucket: Bucket, view: ObjectView, event: str, principal: str) -> None:
        """See engine.consequences."""
        tags = event.startswith("ObjectTagging:") and bool(view.inode.replication)
        rules = self.rules(txn, name) if tags or event.startswith("ObjectCreated:") else None
        if rules is None or is_replica(view.inode.metadata, view.key):
            return
        self.send(txn, rules, name, view, tags=tags)

    def send(self, txn: Txn, rules: Replication, name: str, view: ObjectView, *, tags: bool = False) -> int:
        """Inside a change: let a version go wherever the rules say, or only its `tags`; return how many times."""
        found = targets_for(rules, view.key, view.inode.tags)
        rows = [
            Outgoing(name, view.key, view.version, r.target, r.remote, 0, False, r.storage_class, tags) for r in found
        ]
        queued = self._queue(txn, rows)
        if rows:
            inode = get_inode(txn, view.inode_number)
            failed = queued < len(rows) or (tags and inode.replication == FAILED)
            due = queued + (inode.replicas_due if tags else 0)
            inode = msgspec.structs.replace(inode, replication=FAILED if failed else PENDING, replicas_due=due)
            save(txn, inode_key(view.inode_number), inode)
        return queued

    def removed(
        self, txn: Txn, name: str, bucket: Bucket, key: bytes, version: str, sequence: int, event: str, principal: str
    ) -> None:
        """See engine.consequences. Only delete markers go on; a version that is taken away stays where it went."""
        if not event.endswith(":DeleteMarkerCreated") or principal == BY_REPLICATION:
            return
        rules = self.rules(txn, name)
        if rules is not None:
            self.send_marker(txn, rules, name, key, version)

    def send_marker(self, txn: Txn, rules: Replication, name: str, key: bytes, version: str) -> int:
        """Inside a change: let a delete marker go wherever the rules say; return how many times."""
        found = targets_for(rules, key, {}, marker=True)
        return self._queue(
            txn, [Outgoing(name, key, version or "null", r.target, r.remote, 0, marker=True) for r in found]
        )

    def begun(self, txn: Txn, name: str, upload_id: str, upload: Upload) -> None:
        """See engine.consequences."""

    def moved(self, txn: Txn, name: str) -> None:
        """See engine.consequences. Renames of directories through the mount are not followed."""

    def rules(self, txn: Txn, name: str) -> Replication | None:
        """The rules of a bucket; None: it has none."""
        row = configuration_key(name, KIND)
        raw = txn.get(row)
        if raw is None:
            return None
        kept = self._kept.get(name)
        if kept is None or kept[0] != raw:
            if len(self._kept) >= BUCKETS_KEPT:
                self._kept.clear()
            kept = self._kept[name] = raw, decode(row, raw, Replication)
        return kept[1]

    def _queue(self, txn: Txn, rows: Sequence[Outgoing]) -> int:
        """Inside a change: let versions go; return how many found room."""
        queued = 0
        for row in rows:
            queue = Target(row.target, row.remote).queue
            waiting = load(txn, waiting_key(queue), int) or 0
            if waiting >= self._limits.replications:
                continue
            save(txn, waiting_key(queue), waiting + 1)
            number = take_number(txn, "outgoing")
            save(txn, outgoing_key(queue, number), msgspec.structs.replace(row, since=self._around.now_ns()))
            queued += 1
        if queued:
            self._more.set()
        return queued

    # --- may it? --------------------------------------------------------------------------------------------

    def may_put(self, owner: str, target: str, *, marker: bool = False) -> bool:
        """May the owner of a bucket (canonical id; empty: the operator) replicate into that one of this store? (X4)"""
        principal = OPERATOR if owner in ("", OPERATOR_ID) else Principal(user=owner, name=owner)
        asked = AccessRequest(
            principal=principal,
            action="s3:ReplicateDelete" if marker else "s3:ReplicateObject",
            resource=f"{resource_arn(target)}/*",
            context={},
        )
        return decide(asked, self._grounds.of(target, principal)) is Decision.ALLOW

    # --- the service ----------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Send until cancelled."""
        async with trio.open_nursery() as nursery:
            for remote in self.remotes.values():
                nursery.start_soon(remote.run)
            while True:
                self._more = trio.Event()
                try:
                    self._serve_all(nursery)
                except StratumError as error:
                    log.warning("replication waits %d s: %s", PAUSE, error)
                    await trio.sleep(PAUSE)
                    continue
                await self._more.wait()

    def _serve_all(self, nursery: trio.Nursery) -> None:
        for queue in self._around.meta.read(queues):
            if queue not in self._busy:
                self._busy.add(queue)
                nursery.start_soon(self._serve, queue)

    async def _serve(self, queue: str) -> None:
        """Work a queue off; a target that is away is waited for."""
        pause, standing = PAUSE, self.standing.setdefault(queue, Standing())
        try:
            while True:
                try:
                    if not await self.one_pass(queue):
                        break
                    pause, standing.trouble = PAUSE, ""
                except StratumError as error:
                    standing.trouble = str(error)
                    log.warning("replication to %s waits %d s: %s", queue, pause, error)
                    await trio.sleep(pause)
                    pause = min(2 * pause, LONGEST_PAUSE)
        finally:
            self._busy.discard(queue)
        self._more.set()  # what came since the last look found the queue busy

    async def one_pass(self, queue: str) -> int:
        """Send the oldest of a queue; return how many there were. Raises Unavailable: the target is away."""
        rows = await self._around.meta.read_durable(lambda txn: self._look(txn, queue))
        by_key: dict[tuple[str, bytes], list[tuple[bytes, Outgoing]]] = {}
        for row, version in rows:
            by_key.setdefault((version.bucket, version.key), []).append((row, version))
        turns = trio.CapacityLimiter(KEYS_AT_ONCE)
        away: list[Unavailable] = []
        unread = 0

        async def work(versions: list[tuple[bytes, Outgoing]]) -> None:
            nonlocal unread
            async with turns:
                for row, version in versions:
                    if away:
                        return
                    try:
                        unread += not await self._one(queue, row, version)
                    except Unavailable as error:
                        away.append(error)

        async with trio.open_nursery() as nursery:
            for versions in by_key.values():
                nursery.start_soon(work, versions)
        if away:
            raise away[0]
        if rows and unread == len(rows) and queue.endswith(LATER):
            raise Unavailable(f"{self.standing[queue].waiting} versions cannot be read")
        return len(rows)

    def _look(self, txn: Txn, queue: str) -> list[tuple[bytes, Outgoing]]:
        self.standing.setdefault(queue, Standing()).waiting = load(txn, waiting_key(queue), int) or 0
        prefix = outgoing_prefix(queue)
        rows = islice(txn.scan(prefix, successor(prefix)), ROWS_AT_ONCE)
        return [(row, decode(row, raw, Outgoing)) for row, raw in rows]

    async def _one(self, queue: str, row: bytes, version: Outgoing) -> bool:
        """Send a version, and note what came of it. False: it cannot be read, and was put off (X5)."""
        standing, status = self.standing[queue], COMPLETED
        try:
            send = self._send_late if queue.endswith(LATER) else self._send_in_turn
            standing.bytes += await send(version)
            standing.sent += 1
        except Unavailable:
            raise
        except Unreadable as error:
            if not queue.endswith(LATER):
                log.error("a version for %s cannot be read, and is tried again later: %s", queue, error)
            await self._around.meta.room()
            self._around.meta.apply(lambda txn: put_off(txn, queue, row, version))
            self._more.set()
            return False
        except StratumError as error:
            status, standing.failed = FAILED, standing.failed + 1
            log.error("a version for %s was not replicated: %s", queue, error)
        await self._around.meta.room()
        self._around.meta.apply(lambda txn: settle(txn, queue, row, version, status))
        return True

    async def _send_in_turn(self, version: Outgoing) -> int:
        """As `_send`, after an earlier version of the key that is on its way late."""
        late = self._late.get((version.bucket, version.key))
        if late is not None:
            await late.wait()
        return await self._send(version)

    async def _send_late(self, version: Outgoing) -> int:
        """As `_send`, unless a later version of the key has gone before."""
        if not self._around.meta.read(lambda txn: is_newest(txn, version)):
            raise Refused("it could not be read before a later version of its key went")
        done = self._late[version.bucket, version.key] = trio.Event()
        try:
            return await self._send(version)
        finally:
            done.set()
            self._late.pop((version.bucket, version.key), None)

    async def _send(self, version: Outgoing) -> int:
        """Have a version at its target; return the bytes of it. Raises Unavailable: not now; any other: never."""
        mark = mark_of(self._store, version.bucket, version.key, version.version)
        source = self._around.meta.read(lambda txn: source_of(txn, version))
        if source is None:
            return 0  # it was taken away, or its bucket: nothing is to be there
        owner, view = source
        if not version.remote:
            return await self._to_bucket(owner, version, view, mark)
        remote = self.remotes.get(version.remote)
        if remote is None:
            raise Unavailable(f"there is no [replication.{version.remote}] in the settings")
        if view is None:
            await remote.remove(version.target, version.key)
            return 0
        if version.tags:
            await remote.retag(version.target, version.key, mark, view.inode.tags)
            return 0
        await self._to_remote(remote, version, view, mark)
        return view.size

    async def _to_bucket(self, owner: str, version: Outgoing, view: ObjectView | None, mark: str) -> int:
        target, key = version.target, version.key
        try:
            allowed = self.may_put(owner, target, marker=view is None)
        except NoSuchBucket as error:
            raise Refused(f"bucket {target} is gone") from error
        if not allowed:
            raise Refused(f"its owner may not replicate into bucket {target}")
        there = self._around.meta.read(lambda txn: current_of(txn, target, key))
        if view is None:
            if there is not None:
                await self._objects.delete(target, key, principal=BY_REPLICATION)
            return 0
        inode = view.inode
        if version.tags:
            return await self._retag(target, key, mark, inode.tags)
        if there is not None and there.metadata.get(MARK) == mark:
            return 0
        spec = CopySpec(
            metadata={**inode.metadata, MARK: mark},
            owner=self._around.meta.read(lambda txn: find_bucket(txn, target).owner),
            retention=inode.retention,
            legal_hold=inode.legal_hold,
            storage_class=version.storage_class or inode.storage_class,
            principal=BY_REPLICATION,
            seal=_seal(inode),
        )
        try:
            await self._objects.copy(version.bucket, key, target, key, spec, version.version or None)
        except (TooFewShards, Corrupt) as error:
            raise Unreadable(str(error)) from error
        return view.size

    async def _retag(self, target: str, key: bytes, mark: str, tags: Mapping[str, str]) -> int:
        found = self._around.meta.read(lambda txn: replica_of(txn, target, key, mark))
        if found is not None:
            await self._objects.amend(target, key, found, lambda inode: msgspec.structs.replace(inode, tags=dict(tags)))
        return 0

    async def _to_remote(self, remote: Remote, version: Outgoing, view: ObjectView, mark: str) -> None:
        if view.inode.sealed is not None and view.inode.sealed.scheme == SSE_C:
            raise Refused("only its owner has the key that it is encrypted with")
        opened = await self._objects.open(version.bucket, version.key, version.version or None)
        unread: list[StratumError] = []

        async def stream() -> AsyncGenerator[bytes, None]:
            try:
                async with aclosing(opened.unseen(0, view.size)) as pieces:
                    async for piece in pieces:
                        await self._pace.take(len(piece))
                        yield piece
            except StratumError as error:
                unread.append(error)
                raise

        metadata = {**view.inode.metadata, MARK: mark}
        storage_class = version.storage_class or view.inode.storage_class
        try:
            await remote.replicate(version.target, version.key, view, metadata, storage_class, stream)
        except StratumError as error:
            if unread:
                raise Unreadable(str(unread[0])) from error
            raise


def _seal(inode: Inode) -> SealSpec | None:
    """A replica is encrypted as the source is. Raises Refused for one that only its owner can open."""
    sealed = inode.sealed
    if sealed is None:
        return None
    if sealed.scheme == SSE_C:
        raise Refused("only its owner has the key that it is encrypted with")
    return SealSpec(scheme=sealed.scheme, key_id=sealed.key_id, context=sealed.context, bucket_key=sealed.bucket_key)
