"""Event notifications: what happened to keys is told to whom a bucket's owner named, at least once and in order.

Room: stratum/engine. May import: core, store, engine.{buckets, configurations, surroundings}.

Invariants
    T1  An event is a row, written in the change that it tells of: it is there exactly if the write is.
    T2  Each target has a queue of its own, told in order; a row goes after the target has taken it (2xx). So a cut in
        between tells it again, and never leaves it out.
    T3  A queue has an end: what does not fit is counted and left out, the oldest stay. No write waits for a target.
    T4  Only rows that are durable are told: nobody hears of what a power cut then undoes.

A rename of a directory through the mount changes many keys at once and is told of none.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Protocol

import msgspec
import trio

from stratum.core.config import Limits, NotifyTarget
from stratum.core.errors import NotDelivered, StratumError
from stratum.core.notification import KIND, TEST_EVENT, Configuration, Notifications, message, wants
from stratum.core.objects import ObjectView
from stratum.core.records import Bucket, Event, Upload, decode
from stratum.core.schema import COUNTER, bucket_key, configuration_key, event_key, events_prefix, take_number
from stratum.core.txn import Txn, load, save, successor
from stratum.engine.buckets import find_bucket
from stratum.engine.surroundings import Surroundings

log = logging.getLogger(__name__)

EVENTS_AT_ONCE = 64  # read at once; told one by one
PAUSE, LONGEST_PAUSE = 1.0, 300.0  # seconds between two attempts
BUCKETS_KEPT = 256


class Sender(Protocol):
    """How a message gets to a target."""

    async def send(self, target: NotifyTarget, body: bytes) -> None:
        """Return once the target has taken it. Raises NotDelivered."""

    async def aclose(self) -> None:
        """Let go of connections."""


@dataclass(slots=True)
class Standing:
    """How it stands with a target since the start; `waiting` and `dropped`: as of the last look, ever."""

    delivered: int = 0
    failed: int = 0  # attempts
    expired: int = 0  # given up after Limits.event_age
    waiting: int = 0
    dropped: int = 0


class Notifying:
    """A consequence of every write, and the service that tells of them."""

    def __init__(
        self,
        surroundings: Surroundings,
        targets: Sequence[NotifyTarget],
        limits: Limits,
        region: str,
        sender: Sender,
    ) -> None:
        self._around = surroundings
        self._targets = {target.name: target for target in targets}
        self._limits = limits
        self._region = region
        self.sender = sender
        self._more = {name: trio.Event() for name in self._targets}
        self._kept: dict[str, tuple[bytes, Notifications]] = {}
        self.standing = {name: Standing() for name in self._targets}

    @property
    def targets(self) -> frozenset[str]:
        """The names that configurations may use."""
        return frozenset(self._targets)

    # --- consequences of writes -----------------------------------------------------------------------------

    def written(self, txn: Txn, name: str, bucket: Bucket, view: ObjectView, event: str, principal: str) -> None:
        """See engine.consequences."""
        wanted = self._wanted(txn, name, event, view.key)
        if wanted:
            shown = Event(event, self._around.now_ns(), name, view.key, view.version, view.size, view.etag, principal)
            self._queue(txn, shown, wanted)

    def removed(
        self, txn: Txn, name: str, bucket: Bucket, key: bytes, version: str, sequence: int, event: str, principal: str
    ) -> None:
        """See engine.consequences."""
        wanted = self._wanted(txn, name, event, key)
        if wanted:
            shown = (version or "null") if bucket.versioning else ""
            self._queue(txn, Event(event, self._around.now_ns(), name, key, shown, principal=principal), wanted)

    def begun(self, txn: Txn, name: str, upload_id: str, upload: Upload) -> None:
        """See engine.consequences. S3 tells of no such thing."""

    def moved(self, txn: Txn, name: str) -> None:
        """See engine.consequences."""

    def _wanted(self, txn: Txn, name: str, event: str, key: bytes) -> list[Configuration]:
        row = configuration_key(name, KIND)
        raw = txn.get(row) if event else None
        if raw is None:
            return []
        kept = self._kept.get(name)
        if kept is None or kept[0] != raw:
            if len(self._kept) >= BUCKETS_KEPT:
                self._kept.clear()
            kept = self._kept[name] = raw, decode(row, raw, Notifications)
        found = [each for each in kept[1].configurations if each.target in self._targets]
        return [each for each in found if wants(each, event, key)]

    def _queue(self, txn: Txn, event: Event, wanted: Sequence[Configuration]) -> None:
        """Inside a change: write a row for each who is to be told, no two of them the same (T1, T3)."""
        number = take_number(txn, "event")
        for each in wanted:
            waiting = load(txn, _waiting(each.target), int) or 0
            if waiting >= self._limits.events:
                save(txn, _dropped(each.target), (load(txn, _dropped(each.target), int) or 0) + 1)
                continue
            save(txn, _waiting(each.target), waiting + 1)
            row = msgspec.structs.replace(event, sequence=number, target=each.target, configuration=each.id)
            save(txn, event_key(each.target, number), row)
            self._more[each.target].set()

    # --- configurations ---------------------------------------------------------------------------------------

    async def put(self, bucket: str, wanted: Notifications, *, test: bool = True) -> None:
        """Replace the configurations of a bucket, durable on return. `test`: each target is told `s3:TestEvent`.

        Raises NoSuchBucket.
        """
        now = self._around.now_ns()

        def change(txn: Txn) -> None:
            find_bucket(txn, bucket)
            if not wanted.configurations:
                txn.delete(configuration_key(bucket, KIND))
                return
            save(txn, configuration_key(bucket, KIND), wanted)
            one_of_each = {each.target: each for each in wanted.configurations}
            if test:
                self._queue(txn, Event(TEST_EVENT, now, bucket, b""), list(one_of_each.values()))

        await self._around.meta.write(change)

    # --- the service ------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Tell every target of its events until cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                for target in self._targets.values():
                    nursery.start_soon(self._serve, target)
                await trio.sleep_forever()
        finally:
            with trio.move_on_after(1) as scope:
                scope.shield = True
                await self.sender.aclose()

    async def _serve(self, target: NotifyTarget) -> None:
        pause = PAUSE
        while True:
            self._more[target.name] = trio.Event()
            try:
                if await self.tell(target):
                    pause = PAUSE
                    continue
            except StratumError as error:
                log.warning("notifications wait %d s: %s", pause, error)
                await trio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
                continue
            await self._more[target.name].wait()

    async def tell(self, target: NotifyTarget) -> int:
        """Tell a target what waits for it, oldest first; return how much that was. Raises NotDelivered."""
        rows = await self._around.meta.read_durable(lambda txn: self._look(txn, target.name))  # T4
        for row, event, owner in rows:
            standing = self.standing[target.name]
            try:
                told = message(event, time=_shown(event.time), region=self._region, owner=owner)
                await self.sender.send(target, told)
                standing.delivered += 1
            except NotDelivered:
                standing.failed += 1
                if self._around.now_ns() - event.time < self._limits.event_age * 10**9:
                    raise
                standing.expired += 1
                log.error("an event for %s was given up", target.name)
            await self._around.meta.room()
            self._around.meta.apply(lambda txn, row=row: _told(txn, target.name, row))  # type: ignore[misc]
        return len(rows)

    def _look(self, txn: Txn, name: str) -> list[tuple[bytes, Event, str]]:
        """The oldest rows of a target, with the owners of their buckets."""
        self.standing[name].waiting = load(txn, _waiting(name), int) or 0
        self.standing[name].dropped = load(txn, _dropped(name), int) or 0
        prefix = events_prefix(name)
        found = []
        for row, raw in islice(txn.scan(prefix, successor(prefix)), EVENTS_AT_ONCE):
            event = decode(row, raw, Event)
            bucket = load(txn, bucket_key(event.bucket), Bucket)
            found.append((row, event, bucket.owner if bucket is not None else ""))
        return found


def _shown(time_ns: int) -> str:
    moment = datetime.fromtimestamp(time_ns // 10**9, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{time_ns // 10**6 % 1000:03d}Z"


def _told(txn: Txn, target: str, row: bytes) -> None:
    if txn.get(row) is not None:
        txn.delete(row)
        save(txn, _waiting(target), max(0, (load(txn, _waiting(target), int) or 0) - 1))


def _waiting(target: str) -> bytes:
    return COUNTER + b"events-waiting/" + target.encode()


def _dropped(target: str) -> bytes:
    return COUNTER + b"events-dropped/" + target.encode()
