"""Lifecycle rules on a real engine: what they do, when, and what they never do. The wall clock is moved by hand."""

from contextlib import asynccontextmanager
from dataclasses import replace

import msgspec
import pytest
import trio

from stratum.core.errors import MarkerFound, NoSuchKey, NoSuchUpload
from stratum.core.lifecycle import KIND, LifecycleRules, Rule, Transition
from stratum.core.objects import ListQuery, PutSpec, UploadSpec, VersionQuery
from stratum.core.records import Retention
from stratum.core.schema import DUE
from stratum.core.txn import successor
from stratum.engine.engine import open_engine
from tests.engine.conftest import NOW, ROOT, body_of, settings_for

DAY = 10**10  # ns: ten seconds
MIDNIGHT = -(-NOW // DAY) * DAY


class HandClock:
    """Moves when it is told to, and a microsecond with each look."""

    def __init__(self) -> None:
        self.ns = MIDNIGHT + DAY // 2

    def __call__(self) -> int:
        self.ns += 1000
        return self.ns

    def midnight(self, days: int = 1) -> None:
        """To a moment after that many midnights."""
        self.ns = (self.ns // DAY + days) * DAY + 10**6


class Kept:
    """A bucket with rules."""

    def __init__(self, engine, clock) -> None:
        self.engine, self.clock = engine, clock

    async def rules(self, *rules: Rule) -> None:
        await self.engine.lifecycle.put("bucket", LifecycleRules(rules))

    async def put(self, key: bytes, body: bytes = b"x", **spec):
        return await self.engine.objects.put("bucket", key, body_of(body), PutSpec(**spec))

    async def keys(self) -> list[bytes]:
        page = await self.engine.objects.list("bucket", ListQuery())
        return [each.key for each in page.objects]

    async def versions(self) -> list[tuple[bytes, bool]]:
        """(key, is it a marker), newest first."""
        page = await self.engine.objects.list_versions("bucket", VersionQuery())
        return [(each.key, each.marker) for each in page.versions]

    async def days(self, count: int) -> None:
        """Let so many days pass; the service looks once in each."""
        for _ in range(count):
            self.clock.midnight()
            await self.engine.lifecycle.one_pass()

    async def versioned(self, lock: bool = False) -> None:
        await self.engine.buckets.amend(
            "bucket", lambda bucket: msgspec.structs.replace(bucket, versioning="Enabled", lock=lock)
        )

    def rows(self) -> int:
        return self.engine.meta.read(lambda txn: sum(1 for _ in txn.scan(DUE, successor(DUE))))


@asynccontextmanager
async def opened(folder):
    clock = HandClock()
    settings = replace(settings_for(folder), day_seconds=10)
    async with open_engine(settings, root=ROOT, now_ns=clock) as engine:
        yield Kept(engine, clock)


@pytest.fixture
async def kept(tmp_path):
    async with opened(tmp_path) as made:
        await made.engine.buckets.create("bucket", "alice")
        yield made


def rule(name: str = "one", **parts) -> Rule:
    return Rule(id=name, enabled=True, **parts)


async def test_an_object_expires_at_the_first_midnight_after_its_days_and_not_before(kept):
    await kept.rules(rule(prefix="old/", days=2))
    await kept.put(b"old/a")
    await kept.put(b"new/a")
    await kept.days(2)
    assert await kept.keys() == [b"new/a", b"old/a"]
    await kept.days(1)
    assert await kept.keys() == [b"new/a"]
    assert kept.engine.lifecycle.expired == 1
    assert kept.rows() == 0


async def test_rules_hold_for_what_was_there_before_them_whatever_its_number(kept):
    for number in range(100):
        await kept.put(b"key-%03d" % number)
    kept.clock.midnight(9)
    await kept.rules(rule(days=1, prefix="key-0"))
    await kept.engine.lifecycle.one_pass()
    assert len(await kept.keys()) == 100, "nothing goes on the day on which a rule was stored"
    await kept.days(1)
    assert await kept.keys() == []
    assert kept.rows() == 0


async def test_a_key_that_was_written_again_gets_its_days_anew(kept):
    await kept.rules(rule(days=2))
    await kept.put(b"key")
    await kept.days(2)
    await kept.put(b"key", b"again")
    await kept.days(2)
    assert await kept.keys() == [b"key"]
    await kept.days(1)
    assert await kept.keys() == []


async def test_without_its_rule_an_object_stays_though_it_was_due(kept):
    await kept.rules(rule(days=1))
    await kept.put(b"key")
    await kept.engine.configurations.delete("bucket", KIND)
    await kept.days(9)
    await kept.rules(rule(days=1, prefix="other"), Rule(id="off", enabled=False, days=1))
    await kept.days(9)
    assert await kept.keys() == [b"key"]
    assert kept.rows() == 0


async def test_a_bucket_that_was_made_again_is_judged_by_its_own_rules(kept):
    await kept.rules(rule(days=1))
    await kept.put(b"key")
    await kept.engine.objects.delete("bucket", b"key")
    await kept.engine.buckets.delete("bucket")
    await kept.engine.buckets.create("bucket", "bob")
    await kept.put(b"key")
    await kept.days(5)
    assert await kept.keys() == [b"key"]


async def test_writing_a_key_often_leaves_one_row_a_day(kept):
    await kept.rules(rule(days=1))
    await kept.engine.lifecycle.one_pass()
    for _ in range(20):
        await kept.put(b"key")
    assert kept.rows() == 1


async def test_tags_and_sizes_decide_and_later_tags_too(kept):
    await kept.rules(rule("t", days=1, tags={"temp": "yes"}), rule("s", days=1, larger=10, smaller=20))
    for size in (10, 11, 19, 20):
        await kept.put(b"size-%d" % size, bytes(size))
    await kept.put(b"tagged", tags={"temp": "yes", "other": "1"})
    await kept.put(b"untagged")
    await kept.days(2)
    assert await kept.keys() == [b"size-10", b"size-20", b"untagged"]
    tags = {"temp": "yes"}
    await kept.engine.objects.amend(
        "bucket", b"untagged", None, lambda inode: msgspec.structs.replace(inode, tags=tags), "ObjectTagging:Put"
    )
    await kept.days(1)
    assert await kept.keys() == [b"size-10", b"size-20"]


async def test_a_date_lets_everything_expire_from_then_on(kept):
    await kept.rules(rule(date=MIDNIGHT + 3 * DAY))
    await kept.put(b"before")
    await kept.days(2)
    assert await kept.keys() == [b"before"]
    await kept.days(1)
    assert await kept.keys() == []
    await kept.put(b"after")
    await kept.days(1)
    assert await kept.keys() == []


async def test_where_versioning_is_a_marker_comes_then_versions_go_then_the_marker(kept):
    await kept.versioned()
    await kept.rules(rule(days=1, noncurrent_days=3, prefix="a"))
    await kept.put(b"a")
    await kept.days(2)
    assert await kept.versions() == [(b"a", True), (b"a", False)]
    with pytest.raises(MarkerFound):
        await kept.engine.objects.head("bucket", b"a")
    await kept.days(2)
    assert await kept.versions() == [(b"a", True), (b"a", False)]
    await kept.days(2)
    assert await kept.versions() == [(b"a", True)]
    await kept.days(1)
    assert await kept.versions() == []
    await kept.days(1)
    assert kept.rows() == 0


async def test_the_last_marker_of_a_key_goes_if_that_is_asked_for(kept):
    await kept.versioned()
    await kept.rules(rule(marker=True, prefix="a"))
    made = await kept.put(b"a")
    await kept.put(b"b")
    for key in (b"a", b"b"):
        await kept.engine.objects.delete("bucket", key)
    await kept.days(3)
    assert await kept.versions() == [(b"a", True), (b"a", False), (b"b", True), (b"b", False)]
    await kept.engine.objects.delete("bucket", b"a", version=made.version)
    await kept.days(1)
    assert await kept.versions() == [(b"b", True), (b"b", False)]


async def test_as_many_newer_versions_stay_as_a_rule_says(kept):
    await kept.versioned()
    await kept.rules(rule(noncurrent_days=1, newer=2))
    for number in range(6):
        await kept.put(b"key", b"%d" % number)
    await kept.days(2)
    page = await kept.engine.objects.list_versions("bucket", VersionQuery())
    assert [each.view.size for each in page.versions] == [1, 1, 1]
    assert [each.latest for each in page.versions] == [True, False, False]
    await kept.put(b"key")
    assert len(await kept.versions()) == 4
    await kept.days(1)
    assert len(await kept.versions()) == 3, "one more was written, so the oldest is one too many"


async def test_a_key_with_very_many_versions_is_worked_off_in_slices(kept):
    await kept.versioned()
    for _ in range(200):
        await kept.put(b"key")
    await kept.rules(rule(noncurrent_days=1, newer=3))
    await kept.days(2)
    assert len(await kept.versions()) == 4
    await kept.rules(rule(noncurrent_days=1))
    await kept.days(2)
    assert len(await kept.versions()) == 1


async def test_a_version_counts_its_days_from_when_it_ceased_to_be_current(kept):
    await kept.versioned()
    await kept.rules(rule(noncurrent_days=2))
    await kept.put(b"key")
    await kept.days(9)
    await kept.put(b"key")
    await kept.days(2)
    assert len(await kept.versions()) == 2
    await kept.days(1)
    assert len(await kept.versions()) == 1


async def test_what_object_lock_holds_stays_until_it_is_let_go(kept):
    await kept.versioned(lock=True)
    await kept.rules(rule(noncurrent_days=1))
    until = kept.clock.ns + 5 * DAY
    held = await kept.put(b"held", legal_hold=True)
    await kept.put(b"kept", retention=Retention("GOVERNANCE", until))
    await kept.put(b"free")
    for key in (b"held", b"kept", b"free"):
        await kept.put(key)
    await kept.days(3)
    assert [key for key, _ in await kept.versions()] == [b"free", b"held", b"held", b"kept", b"kept"]
    await kept.days(4)
    assert [key for key, _ in await kept.versions()] == [b"free", b"held", b"held", b"kept"]
    await kept.engine.objects.amend(
        "bucket", b"held", held.version, lambda inode: msgspec.structs.replace(inode, legal_hold=False)
    )
    await kept.days(1)
    assert [key for key, _ in await kept.versions()] == [b"free", b"held", b"kept"]


async def test_uploads_that_nobody_completes_are_aborted_begun_before_the_rule_or_after(kept):
    before = await kept.engine.uploads.create("bucket", b"a/1", UploadSpec())
    for number in range(40):
        await kept.engine.uploads.create("bucket", b"a/many-%d" % number, UploadSpec())
    await kept.rules(rule(prefix="a/", abort_days=1))
    after = await kept.engine.uploads.create("bucket", b"a/2", UploadSpec())
    other = await kept.engine.uploads.create("bucket", b"b/1", UploadSpec())
    await kept.days(1)
    assert kept.engine.lifecycle.aborted == 0
    await kept.days(1)
    assert kept.engine.lifecycle.aborted == 42
    for key, upload in ((b"a/1", before), (b"a/2", after)):
        with pytest.raises(NoSuchUpload):
            await kept.engine.uploads.get("bucket", key, upload)
    await kept.engine.uploads.get("bucket", b"b/1", other)


async def test_a_file_with_an_old_time_stamp_is_not_old(kept):
    await kept.rules(rule(days=3))
    made = await kept.put(b"key")
    await kept.engine.objects.amend(
        "bucket", b"key", None, lambda inode: msgspec.structs.replace(inode, mtime=MIDNIGHT - 999 * DAY)
    )
    await kept.days(3)
    assert await kept.keys() == [b"key"]
    assert made.inode.btime > MIDNIGHT


@pytest.mark.parametrize("cut", range(0, 30, 3))
async def test_a_service_that_is_killed_anywhere_goes_on_where_it_was(tmp_path, cut):
    async with opened(tmp_path) as first:
        await first.engine.buckets.create("bucket", "alice")
        for number in range(40):
            await first.put(b"key-%02d" % number)
        await first.rules(rule(days=1))
        with trio.CancelScope() as scope:
            steps = 0

            async def count() -> None:
                nonlocal steps
                steps += 1
                if steps > cut:
                    scope.cancel()
                await checkpoint()

            checkpoint = trio.lowlevel.checkpoint
            first.clock.midnight(3)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(trio.lowlevel, "checkpoint", count)
                await first.engine.lifecycle.one_pass()
    async with opened(tmp_path) as second:
        second.clock.ns = first.clock.ns
        await second.engine.lifecycle.one_pass()
        await second.days(1)
        assert await second.keys() == []
        assert second.rows() == 0


async def test_the_service_wakes_for_what_is_due_sooner_than_it_thought(kept, monkeypatch):
    monkeypatch.setattr("stratum.engine.lifecycle.LEAST_SLEEP", 0.001)
    monkeypatch.setattr("stratum.engine.lifecycle.LONGEST_SLEEP", 0.001)
    await kept.put(b"key")
    await kept.rules(rule(days=1))
    first = kept.clock.ns
    while kept.engine.meta.read(lambda txn: next(iter(txn.scan(DUE, successor(DUE))))[0][1:9]) < first.to_bytes(8):
        await trio.sleep(0.001)  # until the bucket was looked at, and the key has a row of its own
    kept.clock.midnight(2)
    while kept.engine.lifecycle.expired == 0:
        await trio.sleep(0.001)
    with pytest.raises(NoSuchKey):
        await kept.engine.objects.head("bucket", b"key")


async def test_a_version_that_an_old_file_replaced_counts_from_when_that_happened(kept):
    await kept.versioned()
    await kept.rules(rule(noncurrent_days=3))
    await kept.put(b"key")
    await kept.days(5)
    await kept.put(b"key")  # as a rename through the mount would bring it: born long ago
    old = MIDNIGHT - 999 * DAY
    await kept.engine.objects.amend(
        "bucket", b"key", None, lambda inode: msgspec.structs.replace(inode, mtime=old, btime=old)
    )
    await kept.days(3)
    assert len(await kept.versions()) == 2
    await kept.days(1)
    assert len(await kept.versions()) == 1


async def test_keys_that_a_renamed_directory_brings_are_judged_by_their_new_names(kept):
    await kept.rules(rule(days=1, prefix="old/"), rule("two", abort_days=1))
    for number in range(40):
        await kept.put(b"new/%d" % number)
    await kept.engine.lifecycle.one_pass()
    root = (await kept.engine.buckets.get("bucket")).root
    await kept.engine.files.names.rename(root, b"new", root, b"old", noreplace=False, exchange=False)
    await kept.engine.lifecycle.one_pass()
    assert len(await kept.keys()) == 40
    await kept.days(2)
    assert await kept.keys() == []


async def test_the_history_that_a_renamed_directory_leaves_behind_goes_like_any_other(kept):
    await kept.versioned()
    for _ in range(2):
        await kept.put(b"d/f")
    root = (await kept.engine.buckets.get("bucket")).root
    await kept.engine.files.names.rename(root, b"d", root, b"e", noreplace=False, exchange=False)
    assert await kept.versions() == [(b"d/f", False), (b"e/f", False)]
    await kept.rules(rule(noncurrent_days=1, prefix="d/"))
    await kept.days(2)
    assert await kept.versions() == [(b"e/f", False)]


class Written:
    """A consequence that notes the transitions of which it is told."""

    def __init__(self) -> None:
        self.moved_down: list[tuple[bytes, str]] = []

    def written(self, txn, name, bucket, view, event, principal) -> None:
        if event == "LifecycleTransition":
            self.moved_down.append((view.key, view.inode.storage_class))

    def removed(self, *arguments) -> None:
        pass

    def begun(self, *arguments) -> None:
        pass

    def moved(self, *arguments) -> None:
        pass


async def test_a_version_gets_the_class_that_is_due_if_that_stands_for_a_tier_and_never_a_higher_one(kept):
    written = Written()
    kept.engine.consequences.add(written)
    kept.engine.lifecycle._classes = ("STANDARD_IA", "GLACIER")
    down = (Transition("STANDARD_IA", days=1), Transition("DEEP_ARCHIVE", days=2), Transition("GLACIER", days=3))
    older = (Transition("GLACIER", days=1),)
    await kept.versioned()
    await kept.rules(rule(prefix="a", transitions=down, noncurrent_transitions=older, larger=0))
    await kept.put(b"a1")
    await kept.put(b"a2", storage_class="GLACIER")
    await kept.put(b"b")
    await kept.days(2)
    assert written.moved_down == [(b"a1", "STANDARD_IA")]
    before = await kept.engine.objects.head("bucket", b"a1")
    await kept.days(2)
    assert written.moved_down == [(b"a1", "STANDARD_IA"), (b"a1", "GLACIER")]
    after = await kept.engine.objects.head("bucket", b"a1")
    assert msgspec.structs.replace(after.inode, storage_class="STANDARD_IA") == before.inode
    await kept.put(b"a1")
    await kept.put(b"a1")
    await kept.days(2)
    assert written.moved_down[2:] == [(b"a1", "STANDARD_IA"), (b"a1", "GLACIER")]


async def test_small_objects_stay_unless_a_rule_speaks_of_sizes(kept):
    kept.engine.lifecycle._classes = ("GLACIER",)
    down = (Transition("GLACIER", days=1),)
    await kept.rules(rule(transitions=down))
    await kept.put(b"small")
    await kept.put(b"large", bytes(128 * 1024))
    await kept.days(2)
    assert kept.engine.lifecycle.moved_down == 1
    await kept.engine.lifecycle.put("bucket", LifecycleRules((rule(transitions=down),), "varies_by_storage_class"))
    await kept.engine.lifecycle.one_pass()
    await kept.days(1)
    assert kept.engine.lifecycle.moved_down == 2
