"""The operations during which the power goes: each with the store it begins on, and its steps.

Room: tests. May import: stratum, tests.engine.
"""

import errno
import random
import shutil
from collections.abc import Awaitable, Callable

import msgspec
import trio

from stratum.core.encryption import SSE_S3, SealSpec
from stratum.core.errors import Busy, ReadOnly
from stratum.core.objects import CopySpec, PartName, PutSpec, UploadSpec, VersionQuery
from stratum.core.placement import choose_slots
from stratum.core.schema import ROOT_INODE
from stratum.engine.engine import Engine
from stratum.engine.file_names import Caller
from stratum.store.shards import path_of
from tests.engine.crash import Operation, Step, World
from tests.engine.examination import volumes_of

BUCKET = "bucket"
KEY = b"dir/key"
INLINE, PACK, LARGE = 40, 1000, 20_000  # bytes: in the index, in a pack, in three volumes of their own
WHO = Caller(0, 0)

NEIGHBOURS = {b"a": INLINE, b"b/c": PACK, b"dir/other": LARGE, b"z": 0}  # keys that nobody touches

# Every key that an operation uses.
KEYS = [(BUCKET, key) for key in (KEY, b"copy", b"dir/file", b"dir/new", b"moved/key", b"moved/other", *NEIGHBOURS)]


def bytes_of(size: int, seed: object = 0) -> bytes:
    """The same bytes for the same arguments."""
    return random.Random(f"{size}/{seed}").randbytes(size)


PACKING = {"packing_bytes_min": 100, "packing_bytes_per_second": 10**12}
PARTS = [bytes_of(size, "part") for size in (3000, PACK, INLINE, LARGE)]


class Body:
    """A body that comes in small pieces, and may be left unread."""

    def __init__(self, content: bytes) -> None:
        self._pieces = iter([content[at : at + 1500] for at in range(0, len(content), 1500)])

    def __aiter__(self) -> "Body":
        return self

    async def __anext__(self) -> bytes:
        for piece in self._pieces:
            return piece
        raise StopAsyncIteration


async def put(engine: Engine, key: bytes, size: int, seed: object = 0) -> None:
    """Put an object whose metadata names its version."""
    await engine.objects.put(BUCKET, key, Body(bytes_of(size, seed)), PutSpec(metadata={"version": str(seed)}))


async def furnish(engine: Engine) -> None:
    """A bucket with objects of every kind."""
    await engine.buckets.create(BUCKET, "alice")
    for key, size in NEIGHBOURS.items():
        await put(engine, key, size, "neighbour")


def _with_key(size: int) -> Callable[[Engine], Awaitable[None]]:
    async def prepare(engine: Engine) -> None:
        await furnish(engine)
        await put(engine, KEY, size, "old")

    return prepare


async def _upload(engine: Engine) -> str:
    await furnish(engine)
    return await engine.uploads.create(BUCKET, KEY, UploadSpec(metadata={"version": "upload"}))


async def upload_with_parts(engine: Engine) -> tuple[str, list[PartName]]:
    """An upload with four parts; returns its id and the names of the first three."""
    upload = await _upload(engine)
    names = []
    for number, body in enumerate(PARTS, 1):
        part = await engine.uploads.part(BUCKET, KEY, upload, number, Body(body))
        names.append(PartName(number=number, etag=part.etag))
    return upload, names[:3]


def _put(size: int) -> Step:
    return Step(lambda engine, _: put(engine, KEY, size, "new"))


async def _delete(engine: Engine, _: object) -> None:
    await engine.objects.delete(BUCKET, KEY)


async def _copy(engine: Engine, _: object) -> None:
    await engine.objects.copy(BUCKET, KEY, BUCKET, b"copy", CopySpec(metadata={"version": "copy"}))


def _part(number: int, body: bytes) -> Step:
    async def act(engine: Engine, upload: object) -> None:
        await engine.uploads.part(BUCKET, KEY, str(upload), number, Body(body))

    return Step(act)


async def _complete(engine: Engine, prepared: object) -> None:
    upload, names = prepared
    await engine.uploads.complete(BUCKET, KEY, upload, names)


async def _abort(engine: Engine, prepared: object) -> None:
    await engine.uploads.abort(BUCKET, KEY, prepared[0])


async def _put_with_a_failing_disk(engine: Engine, _: object) -> None:
    """Acknowledged with five good shards of six. The sixth is parity: no reader will ever miss it."""
    last_slot = choose_slots(max(volumes_of(engine)) + 1, range(6), 6)[5]
    engine.disks.get(last_slot).inject(errno.EIO, purpose="shard", op="fsync", times=None)
    await put(engine, KEY, LARGE, "new")


async def _put_a_copy(engine: Engine, _: object) -> None:
    await put(engine, b"copy", LARGE, "copy")


# --- disks ----------------------------------------------------------------------------------------------------


async def _add_a_disk(engine: Engine, _: object) -> None:
    await engine.disk_changes.add(str(engine.settings.data.parent / "disks" / "6"))


async def _empty_a_disk(engine: Engine, _: object) -> None:
    await engine.disk_changes.drain(0)
    for _pass in range(2):  # the first seals the pack
        await engine.relocator.one_pass()
        await engine.repairer.record_seals()


async def _remove_a_disk(engine: Engine, _: object) -> None:
    await engine.disk_changes.remove(0)


# --- services and restarts ------------------------------------------------------------------------------------


async def _damaged(engine: Engine) -> None:
    """Two shards of every volume are gone, and that is known."""
    await _with_key(LARGE)(engine)
    await engine.volumes.close()  # seals the pack
    await engine.repairer.record_seals()
    for number, volume in volumes_of(engine).items():
        for shard in (0, 5):
            disk = engine.disks.get(volume.slots[shard])
            disk.unlink(path_of(number, shard), purpose="damage")
            disk.fsync_directory(path_of(number, shard).rpartition("/")[0], purpose="damage")
            engine.repairer.note_damage(number, shard, "removed")


async def _repair(engine: Engine, _: object) -> None:
    await engine.repairer.one_pass()


async def _deleted(engine: Engine) -> None:
    await _with_key(LARGE)(engine)
    await engine.objects.delete(BUCKET, KEY)


async def _used_again(engine: Engine) -> None:
    """A pack that became garbage while it was open, and then got another piece."""
    await engine.buckets.create(BUCKET, "alice")
    await put(engine, KEY, PACK, "old")
    await engine.objects.delete(BUCKET, KEY)
    await put(engine, KEY, PACK, "new")


async def _reap(engine: Engine, _: object) -> None:
    await engine.reaper.one_pass()


async def _close(engine: Engine, _: object) -> None:
    await put(engine, KEY, PACK, "new")
    await engine.volumes.close()
    await engine.repairer.record_seals()
    await engine.meta.close()


# --- the mount ------------------------------------------------------------------------------------------------


async def _directory(engine: Engine, name: bytes = b"dir") -> int:
    root = engine.files.names.lookup(ROOT_INODE, BUCKET.encode())[0]
    return engine.files.names.lookup(root, name)[0]


async def _rename_file(engine: Engine, _: object) -> None:
    directory = await _directory(engine)
    await engine.files.names.rename(directory, b"key", directory, b"other", noreplace=False, exchange=False)


async def _rename_directory(engine: Engine, _: object) -> None:
    root = engine.files.names.lookup(ROOT_INODE, BUCKET.encode())[0]
    await engine.files.names.rename(root, b"dir", root, b"moved", noreplace=True, exchange=False)


async def _nothing(engine: Engine, _: object) -> None:
    """To have been opened is all."""


async def _await_repairs(engine: Engine, _: object) -> None:
    """An empty disk took a slot: its shards are to be queued."""
    while not engine.repairer.waiting() and engine.meta.failed is None:
        await trio.sleep(0)
    await engine.repairer.one_pass()


def _replace_a_disk(world: World) -> None:
    world.disk(2).wipe()


def _lose_the_index(world: World) -> None:
    shutil.rmtree(world.meta)


async def _barrier(engine: Engine, _: object) -> None:
    await engine.files.fsync_directory()


async def _write_and_fsync(engine: Engine, _: object) -> None:
    """Overwrite the middle and append, through the mount."""
    number = engine.files.names.lookup(await _directory(engine), b"key")[0]
    handle = engine.files.open(number, writes=True)
    await engine.files.write(handle, 300, bytes_of(700, "mount"))
    await engine.files.write(handle, LARGE, bytes_of(900, "tail"))
    await engine.files.fsync(handle)
    await engine.files.release(handle)


async def _in_small_runs(engine: Engine) -> object:
    """The key written through the mount in pieces, each fsynced: a run a piece."""
    await _with_key(LARGE)(engine)
    number = engine.files.names.lookup(await _directory(engine), b"key")[0]
    handle = engine.files.open(number, writes=True)
    for at in range(0, 20 * INLINE, INLINE):
        await engine.files.write(handle, at, bytes_of(INLINE, at))
        await engine.files.fsync(handle)
    await engine.files.release(handle)
    return None


async def _compact(engine: Engine, _: object) -> None:
    await engine.compactor.step()
    assert engine.compactor.replaced, "there was something to compact"


async def _create_and_close(engine: Engine, _: object) -> None:
    directory = await _directory(engine)
    handle, _, _ = await engine.files.create(directory, b"file", 0o644, WHO, exclusive=True, truncate=False)
    await engine.files.write(handle, 0, bytes_of(3000, "mount"))
    await engine.files.flush(handle)
    await engine.files.release(handle)


async def _see_over_s3(engine: Engine, _: object) -> None:
    """What S3 shows of a closed file is durable."""
    await engine.objects.head(BUCKET, b"dir/file")


async def _unlink(engine: Engine, _: object) -> None:
    await engine.files.names.unlink(await _directory(engine), b"key")


# --- where the bucket has versioning --------------------------------------------------------------------------------


def _versioned(size: int) -> Callable[[Engine], Awaitable[None]]:
    async def prepare(engine: Engine) -> None:
        await furnish(engine)
        await put(engine, KEY, INLINE, "oldest")
        await engine.buckets.amend(BUCKET, lambda bucket: msgspec.structs.replace(bucket, versioning="Enabled"))
        await put(engine, KEY, size, "old")

    return prepare


async def _delete_current_version(engine: Engine, _: object) -> None:
    current = await engine.objects.head(BUCKET, KEY)
    await engine.objects.delete(BUCKET, KEY, version=current.version)


async def _undelete(engine: Engine, _: object) -> None:
    page = await engine.objects.list_versions(BUCKET, VersionQuery(prefix=KEY))
    await engine.objects.delete(BUCKET, KEY, version=page.versions[0].version)


async def _tag(engine: Engine, _: object) -> None:
    await engine.objects.amend(
        BUCKET, KEY, None, lambda inode: msgspec.structs.replace(inode, metadata={"version": "tagged"})
    )


# --- encrypted ----------------------------------------------------------------------------------------------------

SEAL = SealSpec(scheme=SSE_S3)


async def _put_encrypted(engine: Engine, size: int, seed: str) -> None:
    spec = PutSpec(metadata={"version": seed}, seal=SEAL)
    await engine.objects.put(BUCKET, KEY, Body(bytes_of(size, seed)), spec)


def _encrypted(size: int) -> Step:
    return Step(lambda engine, _: _put_encrypted(engine, size, "new"))


def _with_encrypted(size: int) -> Callable[[Engine], Awaitable[None]]:
    async def prepare(engine: Engine) -> None:
        await furnish(engine)
        await _put_encrypted(engine, size, "old")

    return prepare


def _copy_onto_itself(seal: SealSpec | None) -> Step:
    spec = CopySpec(metadata={"version": "plain" if seal is None else seal.scheme}, seal=seal)

    async def act(engine: Engine, _: object) -> None:
        await engine.objects.copy(BUCKET, KEY, BUCKET, KEY, spec)

    return Step(act)


async def _rotate(engine: Engine, _: object) -> None:
    await engine.keys.rotate("stratum/s3")
    await _put_encrypted(engine, PACK, "after the rotation")


# --- tiers ------------------------------------------------------------------------------------------------------------


def _in_tier(tier: str) -> Callable[[Engine], Awaitable[None]]:
    """The volumes of the key, which are its own, in `tier`."""

    async def prepare(engine: Engine) -> None:
        await _with_key(LARGE)(engine)
        await engine.repairer.record_seals()
        await _move_to(tier)(engine, None)
        for _ in range(3):
            await engine.reaper.one_pass()

    return prepare


def _move_to(tier: str) -> Callable[[Engine, object], Awaitable[None]]:
    async def act(engine: Engine, _: object) -> None:
        view = await engine.objects.head(BUCKET, KEY)
        if tier == "hot" and engine.tiers.tier_of(view).summary == "hot":
            return
        await engine.tiers.want_object(view, tier, "TEST")
        await engine.tiers.mover.one_pass()
        if engine.meta.failed is not None:
            raise ReadOnly(engine.meta.failed)
        if engine.tiers.mover.put_off:
            raise Busy(str(engine.tiers.mover.put_off))
        assert engine.tiers.tier_of(view).summary == tier

    return act


def _moves(*tiers: str) -> list[Step]:
    return [Step(_move_to(tier)) for tier in tiers]


async def _small_and_old(engine: Engine) -> None:
    """Contents in packs and in the index that nobody used for long, some beside one that is new."""
    await _with_key(PACK)(engine)
    for number in range(3):
        await put(engine, b"dir/%d" % number, 100, "inline")
    for number in volumes_of(engine):
        engine.volumes.finish(number)
    await engine.repairer.record_seals()
    engine.objects._around.now_ns.ns += 60 * 86_400 * 10**9
    await engine.objects.copy(BUCKET, KEY, BUCKET, b"copy", CopySpec(metadata={"version": "copy"}))


async def _pack(engine: Engine, _: object) -> None:
    await engine.packing.walk()
    if engine.meta.failed is not None:
        raise ReadOnly(engine.meta.failed)
    assert engine.packing.packed, "there was something to pack"


OPERATIONS = [
    Operation("put inline", furnish, [_put(INLINE)]),
    Operation("put pack", furnish, [_put(PACK)]),
    Operation("put large", furnish, [_put(LARGE)]),
    Operation("put with a failing disk", furnish, [Step(_put_a_copy), Step(_put_with_a_failing_disk)]),
    Operation("overwrite inline by large", _with_key(INLINE), [_put(LARGE)]),
    Operation("overwrite large by pack", _with_key(LARGE), [_put(PACK)]),
    Operation("delete", _with_key(LARGE), [Step(_delete)]),
    Operation("copy, then delete the source", _with_key(PACK), [Step(_copy), Step(_delete)]),
    Operation("multipart part", _upload, [_part(1, PARTS[0])]),
    Operation("multipart part replaced", _upload, [_part(1, PARTS[1]), _part(1, PARTS[2])]),
    Operation("multipart complete", upload_with_parts, [Step(_complete)]),
    Operation("multipart abort", upload_with_parts, [Step(_abort)]),
    Operation("repair", _damaged, [Step(_repair)]),
    Operation("reap", _deleted, [Step(_reap)]),
    Operation("reap what is used again", _used_again, [Step(_reap)]),
    Operation("snapshots", furnish, [_put(PACK), _put(INLINE), _put(LARGE)] * 2, {"journal_segment_bytes": 600}),
    Operation("put and close", furnish, [Step(_close)]),
    Operation("start", _with_key(LARGE), [Step(_nothing)], from_start=True),
    Operation("start after a kill", _with_key(LARGE), [Step(_nothing)], from_start=True, killed=True),
    Operation("start without the index", _with_key(LARGE), [Step(_nothing)], from_start=True, spoil=_lose_the_index),
    Operation(
        "start with an empty disk",
        _with_key(LARGE),
        [Step(_await_repairs)],
        from_start=True,
        spoil=_replace_a_disk,
        delicate=("after identity.rename", "after store.rename"),
    ),
    Operation("mount rename over a file", _with_key(LARGE), [Step(_rename_file, False), Step(_barrier)]),
    Operation("mount rename of a directory", _with_key(LARGE), [Step(_rename_directory, False), Step(_barrier)]),
    Operation("mount write and fsync", _with_key(LARGE), [Step(_write_and_fsync)]),
    Operation("compact", _in_small_runs, [Step(_compact)]),
    Operation(
        "mount create and close",
        furnish,
        [Step(_create_and_close, False), Step(_see_over_s3)],
        makes=b"dir/file",
    ),
    Operation("mount unlink", _with_key(LARGE), [Step(_unlink, False), Step(_barrier)]),
    Operation("overwrite with versioning", _versioned(LARGE), [_put(PACK), Step(_tag)]),
    Operation("delete with versioning, and back", _versioned(PACK), [Step(_delete), Step(_undelete), _put(INLINE)]),
    Operation("delete a version", _versioned(LARGE), [Step(_delete_current_version), Step(_delete_current_version)]),
    Operation("mount fsync with versioning", _versioned(LARGE), [Step(_write_and_fsync)]),
    Operation("mount rename with versioning", _versioned(LARGE), [Step(_rename_file, False), Step(_barrier)]),
    Operation("mount unlink with versioning", _versioned(LARGE), [Step(_unlink, False), Step(_barrier)]),
    Operation("put encrypted for the first time", furnish, [_encrypted(INLINE)]),
    Operation("overwrite by encrypted", _with_key(PACK), [_encrypted(LARGE), _encrypted(PACK)]),
    Operation("seal and open in place", _with_encrypted(LARGE), [_copy_onto_itself(None), _copy_onto_itself(SEAL)]),
    Operation("move hot to warm", _in_tier("hot"), _moves("warm"), tiers=True),
    Operation("move hot to cold", _in_tier("hot"), _moves("cold"), tiers=True),
    Operation("move warm to hot", _in_tier("warm"), _moves("hot"), tiers=True),
    Operation("move cold to hot", _in_tier("cold"), _moves("hot"), tiers=True),
    Operation("move warm to cold", _in_tier("warm"), [*_moves("cold"), Step(_reap)], tiers=True),
    Operation("move cold to warm", _in_tier("cold"), [*_moves("warm"), Step(_reap)], tiers=True),
    Operation("move down, and reap", _in_tier("hot"), [*_moves("warm"), Step(_reap)], tiers=True),
    Operation("delete what is cold", _in_tier("cold"), [Step(_delete), Step(_reap)], tiers=True),
    Operation("delete what is warm", _in_tier("warm"), [Step(_delete), Step(_reap)], tiers=True),
    Operation(
        "move off a disk",
        _with_key(LARGE),
        [Step(_add_a_disk), Step(_empty_a_disk), Step(_reap), Step(_remove_a_disk)],
        spare=1,
        delicate=("after identity.rename", "after store.rename", "after identity.unlink"),
    ),
    Operation("pack what is small and old", _small_and_old, [Step(_pack)], PACKING, tiers=True),
    Operation("pack, and reap", _small_and_old, [Step(_pack), Step(_reap)], PACKING, tiers=True),
    Operation("rotate a named key", _with_encrypted(PACK), [_copy_onto_itself(SEAL), Step(_rotate)]),
]
