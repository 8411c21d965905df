"""Lifecycle: what the rules of buckets ask for is done when it is due, with no scan of what is not.

Room: stratum/engine. May import: core, store, engine.{buckets, changes, configurations, lifecycle_look, objects,
surroundings}.

Invariants
    Y1  In the change that writes a key stands the row that says when to look at it again. Other rules for a bucket
        write, in the change that stores them, one row that lets the whole bucket be looked at, a slice at a time.
    Y2  A row goes in the change that does what it was for, or writes where to go on: killed anywhere, nothing is lost
        and nothing is done twice (law 7).
    Y3  One slice is one short change; between two slices the event loop is free.
    Y4  Nothing happens but at a day boundary: between a mistake in a rule and its consequence there is at least the
        rest of the day.

A transition gives a version its new class, if that stands for a tier (`classes`); the tier follows from the class
(engine/tiers.py). One to another class is kept and shown and does nothing; when such a class is given a tier later, the
rules are to be stored once more, so that the bucket is looked at. See docs/decisions/0011.
"""

import logging
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from itertools import islice

import trio

from stratum.core.directories import Change
from stratum.core.errors import StratumError
from stratum.core.lifecycle import KIND, LifecycleRules
from stratum.core.lifecycle_due import (
    Due,
    abort_due,
    look_after_change,
    look_after_write,
    next_boundary,
    remind,
    remind_of_bucket,
    time_of,
)
from stratum.core.objects import ObjectView, VersionQuery
from stratum.core.records import Bucket, Inode, Upload, decode
from stratum.core.schema import DUE, UPLOAD_BY_KEY, bucket_key, configuration_key, due_key, upload_key
from stratum.core.txn import Txn, load, save, successor
from stratum.core.upload_rows import end_upload
from stratum.core.version_listing import version_page
from stratum.engine.buckets import find_bucket
from stratum.engine.lifecycle_look import MOVED, PREFIX, Look, look_at
from stratum.engine.objects import Objects
from stratum.engine.surroundings import Surroundings

log = logging.getLogger(__name__)

ROWS_AT_ONCE = 64  # due rows whose changes share a commit
KEYS_AT_ONCE = 32  # of a bucket in one slice
RULES_AT_ONCE = 3200  # times keys in one slice: about 2 ms
BUCKETS_KEPT = 256  # whose rules are kept decoded
LEAST_SLEEP = 1.0  # seconds
LONGEST_SLEEP = 60.0  # seconds: the wall clock may be set meanwhile
CREATED = "ObjectCreated:"


@dataclass(frozen=True, slots=True)
class Done:
    """What one row came to."""

    expired: int = 0
    aborted: int = 0
    moved: int = 0
    changes: tuple[Change, ...] = ()


class Lifecycle:
    """A consequence of every write, and the service that acts at due times."""

    def __init__(
        self, surroundings: Surroundings, objects: Objects, day_seconds: int, classes: Collection[str]
    ) -> None:
        self._around = surroundings
        self._objects = objects
        self._day = day_seconds * 10**9
        self._classes = classes
        self._sooner = trio.Event()
        self._kept: dict[str, tuple[bytes, LifecycleRules]] = {}
        self.expired = 0  # versions and delete markers, and current objects, since the start
        self.moved_down = 0  # versions that got another class
        self.aborted = 0  # uploads

    # --- consequences of writes -----------------------------------------------------------------------------

    def written(self, txn: Txn, name: str, bucket: Bucket, view: ObjectView, event: str, principal: str) -> None:
        """See engine.consequences."""
        rules, now = self._rules(txn, name), self._around.now_ns
        if rules is None or event == MOVED:
            return
        if event.startswith(CREATED):
            when = self._after_write(rules, view.key, view.inode, versioned=bool(bucket.versioning))
        else:
            when = look_after_change(rules, view.key, now(), self._day)
        self._remind(txn, when, Due(name, view.key))

    def removed(
        self, txn: Txn, name: str, bucket: Bucket, key: bytes, version: str, sequence: int, event: str, principal: str
    ) -> None:
        """See engine.consequences. Where there are no versions, nothing is left to look at."""
        rules = self._rules(txn, name) if bucket.versioning and not event.startswith(PREFIX) else None
        if rules is not None:
            self._remind(txn, look_after_change(rules, key, self._around.now_ns(), self._day), Due(name, key))

    def begun(self, txn: Txn, name: str, upload_id: str, upload: Upload) -> None:
        """See engine.consequences."""
        rules = self._rules(txn, name)
        if rules is not None:
            self._remind_of_upload(txn, rules, Due(name, upload.key, upload=upload_id), upload, self._around.now_ns())

    def moved(self, txn: Txn, name: str) -> None:
        """See engine.consequences."""
        if self._rules(txn, name) is not None:
            remind_of_bucket(txn, name)
            self._sooner.set()

    def _after_write(self, rules: LifecycleRules, key: bytes, inode: Inode, *, versioned: bool) -> int | None:
        now = self._around.now_ns()
        return look_after_write(rules, key, inode, versioned=versioned, now=now, day=self._day, classes=self._classes)

    def _remind(self, txn: Txn, when: int | None, due: Due) -> None:
        if when is not None:
            remind(txn, when, due)
            self._sooner.set()

    def _remind_of_upload(self, txn: Txn, rules: LifecycleRules, due: Due, upload: Upload, now: int) -> None:
        found = abort_due(rules, upload.key, upload.created, self._day)
        if found is not None:
            self._remind(txn, max(found[0], next_boundary(now, self._day)), due)

    def _rules(self, txn: Txn, name: str) -> LifecycleRules | None:
        """The rules of a bucket; a thousand of them are not decoded for every write."""
        row = configuration_key(name, KIND)
        raw = txn.get(row)
        if raw is None:
            return None
        kept = self._kept.get(name)
        if kept is None or kept[0] != raw:
            if len(self._kept) >= BUCKETS_KEPT:
                self._kept.clear()
            kept = self._kept[name] = raw, decode(row, raw, LifecycleRules)
        return kept[1]

    # --- rules ------------------------------------------------------------------------------------------------

    async def put(self, bucket: str, rules: LifecycleRules) -> None:
        """Replace the rules of a bucket, durable on return; what is there already is looked at soon (Y1).

        Raises NoSuchBucket.
        """

        def change(txn: Txn) -> None:
            find_bucket(txn, bucket)
            save(txn, configuration_key(bucket, KIND), rules)
            remind_of_bucket(txn, bucket)

        await self._around.meta.write(change)
        self._sooner.set()

    # --- the service ------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Run until cancelled."""
        while True:
            self._sooner = trio.Event()
            pause = LONGEST_SLEEP
            try:
                await self.one_pass()
                pause = min(LONGEST_SLEEP, self._seconds_to_next())
            except StratumError as error:
                log.warning("lifecycle postponed: %s", error)
            with trio.move_on_after(pause):
                await self._sooner.wait()
                await trio.sleep(min(LEAST_SLEEP, pause))  # a busy bucket writes many rows, and hardly one is for now

    def _seconds_to_next(self) -> float:
        first = self._around.meta.read(lambda txn: next(iter(txn.scan(DUE, successor(DUE))), None))
        return LONGEST_SLEEP if first is None else max(0.0, (time_of(first[0]) - self._around.now_ns()) / 10**9)

    async def one_pass(self) -> None:
        """Do everything that is due now."""
        while rows := self._due_rows():
            if not self._around.files.idle:
                await self._around.files.settle(None)
            await self._work_through(rows)

    def _due_rows(self) -> list[bytes]:
        stop = due_key(self._around.now_ns() + 1, 0)
        return self._around.meta.read(lambda txn: [row for row, _ in islice(txn.scan(DUE, stop), ROWS_AT_ONCE)])

    async def _work_through(self, rows: list[bytes]) -> None:
        meta, ticket = self._around.meta, self._around.meta.seen
        for row in rows:
            await meta.room()
            try:
                done, ticket = meta.apply(self._change(row, self._take))
            except StratumError as error:
                log.warning("lifecycle of one key postponed: %s", error)
                done, ticket = meta.apply(self._change(row, self._postpone))
            self.expired += done.expired
            self.aborted += done.aborted
            self.moved_down += done.moved
            self._around.changes.notify(done.changes)
            await trio.lowlevel.checkpoint()
        await meta.durable(ticket)
        await self._around.changes.taken_in()

    def _change(self, row: bytes, act: Callable[[Txn, bytes, Due], Done]) -> Callable[[Txn], Done]:
        def change(txn: Txn) -> Done:
            due = load(txn, row, Due)
            if due is None:
                return Done()
            txn.delete(row)
            return act(txn, row, due)

        return change

    def _postpone(self, txn: Txn, row: bytes, due: Due) -> Done:
        remind(txn, next_boundary(self._around.now_ns(), self._day), due)
        return Done()

    def _take(self, txn: Txn, row: bytes, due: Due) -> Done:
        """Inside a change: what a row is for. A bucket or rules that are gone make it mean nothing."""
        bucket, rules = load(txn, bucket_key(due.bucket), Bucket), self._rules(txn, due.bucket)
        if bucket is None or rules is None:
            return Done()
        if due.whole:
            return self._slice(txn, due, bucket, rules)
        if due.upload:
            return self._upload(txn, due, rules)
        return self._key(txn, due, rules)

    def _key(self, txn: Txn, due: Due, rules: LifecycleRules) -> Done:
        place = self._objects.place(txn, due.bucket, due.key)
        look = Look(txn, due.bucket, place, rules, self._day, self._around.consequences, self._classes)
        look_at(look, due)
        if look.again is not None:
            remind(txn, look.again, Due(due.bucket, due.key))
        if look.rest is not None:
            remind(txn, look.now, look.rest)
        return Done(expired=look.expired, moved=look.moved, changes=tuple(look.changes))

    def _upload(self, txn: Txn, due: Due, rules: LifecycleRules) -> Done:
        upload, now = load(txn, upload_key(due.upload), Upload), self._around.now_ns()
        if upload is None:
            return Done()
        found = abort_due(rules, upload.key, upload.created, self._day)
        if found is None or found[0] > now:
            self._remind_of_upload(txn, rules, due, upload, now)
            return Done()
        end_upload(txn, upload, due.upload)
        return Done(aborted=1)

    # --- other rules: everything that is there ------------------------------------------------------------------

    def _slice(self, txn: Txn, due: Due, bucket: Bucket, rules: LifecycleRules) -> Done:
        """Inside a change: write the rows of the next few keys, then of the next few uploads (`upload` is set then)."""
        if due.upload:
            self._slice_of_uploads(txn, due, rules)
            return Done()
        query, now = VersionQuery(key_marker=due.key, limit=_slice_size(rules)), self._around.now_ns()
        page = version_page(txn, due.bucket, bucket, query)
        for each in page.versions:
            if bucket.versioning or each.view is None:
                when = look_after_change(rules, each.key, now, self._day)
            else:
                when = self._after_write(rules, each.key, each.view.inode, versioned=False)
            self._remind(txn, when, Due(due.bucket, each.key))
        more = page.next_key is not None
        remind_of_bucket(txn, due.bucket, page.next_key or b"", uploads=not more)
        return Done()

    def _slice_of_uploads(self, txn: Txn, due: Due, rules: LifecycleRules) -> None:
        prefix, now = UPLOAD_BY_KEY + due.bucket.encode() + b"/", self._around.now_ns()
        size = _slice_size(rules)
        rows = list(islice(_behind(txn, prefix, due.key), size))
        for row in rows:
            upload_id = row.rpartition(b"\0")[2].decode()
            upload = load(txn, upload_key(upload_id), Upload)
            if upload is not None:
                self._remind_of_upload(txn, rules, Due(due.bucket, upload.key, upload=upload_id), upload, now)
        if len(rows) == size:
            remind_of_bucket(txn, due.bucket, rows[-1], uploads=True)


def _slice_size(rules: LifecycleRules) -> int:
    """How many keys or uploads fit into a short change (Y3)."""
    return max(1, min(KEYS_AT_ONCE, RULES_AT_ONCE // max(1, len(rules.rules))))


def _behind(txn: Txn, prefix: bytes, row: bytes) -> Iterator[bytes]:
    """The keys of rows below a prefix, behind one of them (empty: all)."""
    return (key for key, _ in txn.scan(row + b"\0" if row else prefix, successor(prefix)))
