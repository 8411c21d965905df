"""The golden store of format 0.3: what 0.2 did not know, and how to read it back.

Room: tests. May import: stratum, tests.engine, tests.golden.

What services make by themselves in the course of days is made by them here: the clock is turned. What is in the index
for moments only, or comes from a model that is not installed everywhere, is put there by hand (`passing_rows`).
"""

import msgspec
import trio

from stratum.core import encryption, intelligent_tiering, inventory, replication
from stratum.core.objects import PutSpec
from stratum.core.patterns import Profile
from stratum.core.principals import Principal
from stratum.core.records import Garbage, Held, LeftHeld, LeftShards, Packed, Repair, Wish
from stratum.core.schema import (
    GROUP,
    ROOT_INODE,
    content_class_key,
    garbage_key,
    hour_profile_key,
    inventory_run_key,
    left_held_key,
    left_shards_key,
    packed_key,
    repair_key,
    wish_key,
)
from stratum.core.tiering.settings import KIND as TIERING
from stratum.core.tiering.settings import BucketTiering
from stratum.core.txn import Txn, save, scan_records
from stratum.engine.engine import Engine
from stratum.engine.file_names import Caller
from tests.engine.conftest import Clock
from tests.engine.operations import Body
from tests.golden import everything
from tests.golden.everything import bytes_of
from tests.golden.rows import all_rows

BUCKETS = ("days", "near")  # those of everything.py are described there
DAY = 86_400 * 10**9
GONE = 2**40  # a volume that there never was: what waits to be done about it is done as soon as it is looked at
WHO = Caller(1000, 100)
UNFINISHED = "tenant"  # owns what a kill left: its counters are others afterwards
CLAIMS = {"sub": "robot", "groups.name": "builders"}


async def fill(engine: Engine, clock: Clock) -> dict:
    """All that 0.2 did not know; return what only a client would keep: a session and its token."""
    await engine.buckets.create("days", "dana")
    await engine.buckets.create("near", "dana")
    await _limits_and_roles(engine)
    await engine.buckets.create("unpublished", "tenant")
    await _configurations(engine)
    await _mounted(engine)
    await _replicated(engine)
    await _disks(engine)
    await _days(engine, clock)
    dana = Principal(user="dana", name="Dana", access_key="DANAKEY")
    policy = everything.IDENTITY
    begun = await engine.sessions.assume(dana, "reader", "a session", 3600, policy)
    return {"access key": begun.session.access_key, "secret key": begun.session.secret_key, "token": begun.token}


async def _limits_and_roles(engine: Engine) -> None:
    await engine.tenants.add("A tenant", tenant="tenant", email="Root@tenant.example")
    await engine.quotas.set(bucket="days", bytes_max=10**9, objects_max=1000)
    await engine.quotas.set(user="dana", bytes_max=10**12)
    policies = {"all": everything.IDENTITY}
    await engine.roles.put("reader", policies=policies, account="dana", users=("dana", "eve"))
    await engine.roles.put("robot", policies=policies, provider="idp", claims=CLAIMS, seconds=7200)


def configurations() -> dict[str, object]:
    """Those that 0.2 did not know."""
    away = replication.ReplicationRule(
        "away", True, "elsewhere", "moon", 2, "out/", {"t": "1"}, markers=False, storage_class="STANDARD_IA"
    )
    markers = replication.ReplicationRule("markers", True, "elsewhere", "sun", prefix="gone/", markers=True)
    near = replication.ReplicationRule("near", True, "near", prefix="near/", legacy=True)
    archive = intelligent_tiering.ArchiveTier("DEEP_ARCHIVE_ACCESS", 180)
    return {
        replication.KIND: replication.Replication("arn:aws:iam::1:role/r", (away, markers, near)),
        replication.RESYNC: replication.Resync(1, b"near/a", 3, 4, 1, ended=10**18),
        TIERING: BucketTiering(mode="auto", pin="", no_cold=True, max_latency_ms=500.0),
        intelligent_tiering.KIND: intelligent_tiering.TieringConfigurations(
            {"late": intelligent_tiering.TieringConfiguration(enabled=True, tiers=(archive,))}
        ),
    }


async def _configurations(engine: Engine) -> None:
    for kind, record in configurations().items():
        await engine.configurations.put("days", kind, record)
    await engine.configurations.put("tiers", TIERING, BucketTiering(mode="observe"))  # it stays where it was moved
    wanted = inventory.Inventory(
        True, "near", inventory.WEEKLY, inventory.ALL, inventory.FIELDS, "a", "lists/", "dana", encryption.SSE_S3, "k"
    )
    await engine.inventories.put("days", "all", lambda found: inventory.Inventories({"all": wanted}))


async def _mounted(engine: Engine) -> None:
    """Files in pages that are encrypted one by one, names that are no text, attributes of every kind."""
    names = engine.files.names
    sealed, days = (names.lookup(ROOT_INODE, each)[0] for each in (b"sealed", b"days"))
    for name, size in ((b"pages", 40_000), (b"no pages", 0)):
        handle, _, _ = await engine.files.create(sealed, name, 0o600, WHO, exclusive=True, truncate=False)
        if size:
            await engine.files.write(handle, 0, bytes_of(size, "pages"))
            await engine.files.write(handle, 5 * 16_384 + 100, b"behind a page that is a hole")
        await engine.files.fsync(handle)
        await engine.files.release(handle)
    handle, number, _ = await engine.files.create(days, b"caf\xe9", 0o644, WHO, exclusive=True, truncate=False)
    await engine.files.write(handle, 300, b"sparse, and its name is Latin-1")
    await engine.files.release(handle)
    await engine.files.xattrs.set(number, b"user.colour", b"gr\xfcn")
    await engine.files.xattrs.set(number, b"user.large", b"x" * 3000)
    await engine.files.xattrs.set(number, b"user.stratum.pin", b"hot")
    await engine.files.fsync_directory()


async def _replicated(engine: Engine) -> None:
    """One that has arrived, one that waits for a remote that nobody knows, and a delete marker that does."""
    await engine.buckets.amend("days", lambda record: msgspec.structs.replace(record, versioning="Enabled"))
    await engine.objects.put("days", b"near/a", Body(bytes_of(3000, "near")), PutSpec())
    await engine.objects.put("days", b"out/a", Body(bytes_of(3000, "out")), PutSpec(tags={"t": "1"}))
    await engine.objects.put("days", b"gone/a", Body(b"deleted since"), PutSpec())
    await engine.objects.delete("days", b"gone/a")
    with trio.fail_after(30):
        while (await engine.objects.head("days", b"near/a")).inode.replication != replication.COMPLETED:
            await trio.sleep(0.01)


async def _disks(engine: Engine) -> None:
    """One was added and removed again; one was added and stays, and another one is empty and may be removed."""
    folder = everything.added_disk(engine.settings)
    for path, leaves in ((folder.with_name("borrowed"), None), (folder, 5)):
        path.mkdir()
        slot = await engine.disk_changes.add(str(path))
        await engine.disk_changes.drain(slot if leaves is None else leaves)
        with trio.fail_after(60):
            while (row := (await _row(engine, slot if leaves is None else leaves))).shards or row.shard_bytes:
                await engine.relocator.one_pass()
                await trio.sleep(0.01)
        if leaves is None:
            await engine.disk_changes.remove(slot)


async def _row(engine: Engine, slot: int):
    return next(row for row in await engine.disk_changes.list() if row.slot == slot)


async def _days(engine: Engine, clock: Clock) -> None:
    """Eight days of reads, each with its evening; then small pieces that nobody used are collected."""
    clever = PutSpec(
        storage_class=intelligent_tiering.STORAGE_CLASS, metadata={"stratum-hint": "cold schedule=mon@09:00"}
    )
    await engine.objects.put("days", b"clever", Body(bytes_of(20_000, "clever")), clever)
    for number in range(4):
        await engine.objects.put("days", b"small/%d" % number, Body(bytes_of(6000, number)), PutSpec())
    for _ in range(8):
        view = await engine.objects.head("days", b"clever")
        for volume in await engine.tiers.volumes_of(view.inode.content):
            engine.heat.read(volume, 1, 20_000)
            engine.heat.interest(volume)
        clock.ns += DAY
        await engine.tiering.catch_up()
    engine.packing.uses.used((await engine.objects.head("days", b"small/1")).inode.content, 6000)
    await engine.packing.uses.flush()
    await engine.tiering.close()


async def unfinished(engine: Engine) -> None:
    """What is there when the kill comes: an event nobody was told, a file that is not closed, one without a name."""
    await engine.objects.put("kinds", b"a late z", Body(b"nobody was told"), PutSpec(principal="dana"))
    unpublished = engine.files.names.lookup(ROOT_INODE, b"unpublished")[0]
    await engine.files.create(unpublished, b"file", 0o600, WHO, exclusive=True, truncate=False)
    await engine.files.create_unnamed(unpublished, 0o600, WHO)


async def passing_rows(engine: Engine) -> dict[bytes, bytes]:
    """Notes of work that is under way, as a kill leaves them; return all rows as they are then."""
    view = await engine.objects.head("days", b"clever")
    (volume, *_) = await engine.tiers.volumes_of(view.inode.content)
    held = Held("remote", "sha256/00/00/" + "0" * 64, 10, bytes(32))

    def change(txn: Txn) -> dict[bytes, bytes]:
        now = engine.now_ns()
        save(txn, garbage_key(GONE), Garbage(now, "DELETED"))
        save(txn, repair_key(GONE, 3), Repair(now, "damaged"))
        save(txn, left_shards_key(GONE), LeftShards((0, 2)))
        save(txn, left_held_key(held.backend, held.key), LeftHeld(GONE, held))
        save(txn, wish_key(GONE), Wish("cold", "remote", now, "TEST", soon=False))
        save(txn, packed_key(volume), Packed(19_000, 31.5))
        save(txn, content_class_key(view.inode.content), "application/x-test")
        group = next(int.from_bytes(rest, "big") for rest, _ in scan_records(txn, GROUP, object))
        profile = Profile()
        profile.note(20, 3.0)
        save(txn, hour_profile_key(group), profile.stored())
        begun = inventory.InventoryRun(now, now, (inventory.ListFile("lists/1", 10, "0" * 32),), b"a", "1", "why not")
        save(txn, inventory_run_key("days", "no longer wanted"), begun)
        return all_rows(txn)

    return await engine.meta.write(change)


async def describe(engine: Engine, session: dict) -> dict:
    """What 0.2 did not know, as plain values."""
    who = engine.sessions.principal_of(session["access key"], session["token"])
    return {
        "objects": {name: await everything.objects_of(engine, name) for name in BUCKETS},
        "buckets": [_usage(row) for row in engine.quotas.buckets() if row.owner != UNFINISHED],
        "owners": [_usage(row) for row in engine.quotas.owners() if row.owner != UNFINISHED],
        "session": [who.user, who.role, who.account, who.session, list(who.limits)],
        "secret key": engine.sessions.secret_of(session["access key"], session["token"]),
        "disks": [
            [row.slot, row.identity, row.tier, row.leaving_since is not None, row.added]
            for row in await engine.disk_changes.list()
        ],
        "week": everything.plain(engine.tiering.report()[0]),
    }


def _usage(row) -> list:
    return [row.name, row.owner, row.bytes, row.objects, row.bytes_max, row.objects_max]
