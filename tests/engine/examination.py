"""What a store holds, seen through its doors; and what must hold between its records and its files.

Room: tests. May import: stratum, tests.engine.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import trio

from stratum.core.errors import NoSuchKey
from stratum.core.manifest import inode_user, is_used, part_user
from stratum.core.objects import ListQuery, PartName, VersionQuery
from stratum.core.records import Bucket, Ended, Entry, Inode, Kind, Part, Run, Usage, Volume
from stratum.core.records import Version as OlderVersion
from stratum.core.schema import (
    BUCKET,
    CONTENT_USER,
    DYING,
    ENDED,
    ENTRY,
    GARBAGE,
    INODE,
    LEFT_HELD,
    LEFT_SHARDS,
    ORPHAN,
    OWNER_USAGE,
    PART,
    REPAIR,
    ROOT_INODE,
    RUN,
    VERSION,
    VOLUME,
    VOLUME_USER,
    bucket_usage_key,
)
from stratum.core.tiers import HOLDER, inner_extents
from stratum.core.txn import Txn, load, scan_records
from stratum.engine.engine import Engine
from stratum.store.identity import NAME
from stratum.store.shards import path_of
from tests.engine.conftest import read_all
from tests.engine.crash import World

FILES = re.compile(
    r"stratum-disk\.json"
    r"|stratum-probe\.tmp"  # of a disk that was tried out as the power went; the next try takes it away
    r"|volumes/[0-9a-f]{2}/[0-9a-f]{16}\.\d+"
    r"|journal/[0-9a-f.-]+\.(log|epoch)"
    r"|snapshots/[0-9a-f.-]+\.snap"
)


@dataclass(frozen=True)
class Version:
    """One version of an object, all of it."""

    body: bytes
    etag: str
    metadata: tuple[tuple[str, str], ...]


@dataclass
class State:
    """All that S3 shows."""

    objects: dict[tuple[str, bytes], Version] = field(default_factory=dict)
    uploads: dict[tuple[str, bytes, str], dict[int, tuple[str, int]]] = field(default_factory=dict)
    buckets: list[str] = field(default_factory=list)
    older: dict[tuple[str, bytes, str], Version | None] = field(default_factory=dict)  # None: a delete marker

    def __repr__(self) -> str:
        shown = {key: (version.etag, len(version.body)) for key, version in self.objects.items()}
        return (
            f"State({shown}, uploads={self.uploads}, buckets={self.buckets}, older={[key[1:] for key in self.older]})"
        )


async def observe(engine: Engine, keys: Iterable[tuple[str, bytes]] = ()) -> State:
    """Read everything: by listing (three keys a page) and by key. What is not listed must not be found by key."""
    state = State(buckets=[name for name, _ in await engine.buckets.list()])
    for bucket in state.buckets:
        after = b""
        while True:
            page = await engine.objects.list(bucket, ListQuery(after=after, limit=3))
            for listed in page.objects:
                opened = await engine.objects.open(bucket, listed.key)
                assert opened.view == listed
                assert (bucket, listed.key) not in state.objects, "a key is listed twice"
                state.objects[bucket, listed.key] = await _version(opened)
            if page.next_after is None:
                break
            assert page.next_after > after, "a listing does not get on"
            after = page.next_after
        await _observe_uploads(engine, bucket, state)
        await _observe_versions(engine, bucket, state)
    for bucket, key in keys:
        if bucket in state.buckets and (bucket, key) not in state.objects:
            try:
                await engine.objects.open(bucket, key)
            except NoSuchKey:
                continue
            raise AssertionError(f"{key!r} is not listed, but it is there")
    return state


def check_uploads(state: State) -> None:
    """The upload id or the object made from it: never both (objects made from uploads say so in their metadata)."""
    for bucket, key, _ in state.uploads:
        version = state.objects.get((bucket, key))
        assert version is None or ("version", "upload") not in version.metadata


async def _version(opened) -> Version:
    body = await read_all(opened)
    etag = opened.view.etag
    assert len(body) == opened.view.size
    if "-" not in etag:
        assert hashlib.md5(body).hexdigest() == etag, "body and ETag are not of one version"
    return Version(body, etag, tuple(sorted(opened.view.inode.metadata.items())))


async def _observe_versions(engine: Engine, bucket: str, state: State) -> None:
    """Every version beside the current objects, two to a page."""
    markers: tuple[bytes | None, str] = b"", ""
    while markers[0] is not None:
        query = VersionQuery(key_marker=markers[0], version_marker=markers[1], limit=2)
        page = await engine.objects.list_versions(bucket, query)
        for found in page.versions:
            if found.latest and not found.marker:
                assert (bucket, found.key) in state.objects, "a current object is in one listing only"
                continue
            place = (bucket, found.key, found.version)
            assert place not in state.older, "a version is listed twice"
            opened = None if found.marker else await engine.objects.open(bucket, found.key, found.version)
            state.older[place] = None if opened is None else await _version(opened)
        markers = page.next_key, page.next_version


async def _observe_uploads(engine: Engine, bucket: str, state: State) -> None:
    page = await engine.uploads.list_uploads(bucket, b"", b"", b"", "", 1000)
    for key, upload, _ in page.uploads:
        _, parts, more = await engine.uploads.list_parts(bucket, key, upload, 0, 1000)
        assert not more
        state.uploads[bucket, key, upload] = {number: (part.etag, part.size) for number, part in parts}


# --- between records and files ------------------------------------------------------------------------------------


async def settle(engine: Engine) -> None:
    """What the services do in time: repair all that waits, free what is free. Nothing is damaged afterwards."""
    with trio.fail_after(20):  # what an empty disk lacks is queued in its own time
        while damage := await _repaired(engine):
            assert engine.meta.failed is None, damage
    await engine.endings.one_pass()
    for _ in range(3):  # a volume becomes garbage, is removed, is gone
        await engine.reaper.one_pass()
    assert await _repaired(engine) == {}


async def _repaired(engine: Engine) -> dict[int, object]:
    """Repair what is queued; what is still damaged."""
    await engine.repairer.one_pass()
    verified = {number: await engine.volumes.verify(number, volume) for number, volume in volumes_of(engine).items()}
    waiting = {number: "queued" for number, _ in engine.repairer.waiting()}
    return {number: bad for number, bad in verified.items() if bad} | waiting


def volumes_of(engine: Engine) -> dict[int, Volume]:
    """The recorded volumes."""
    return engine.meta.read(
        lambda txn: {int.from_bytes(rest, "big"): volume for rest, volume in scan_records(txn, VOLUME, Volume)}
    )


def check_files(world: World, engine: Engine) -> None:
    """After `settle`: every file has an owner, every recorded shard a file, and every volume a user (P9)."""
    wanted = Counter(
        (slot, path_of(number, shard))
        for number, volume in volumes_of(engine).items()
        for shard, slot in enumerate(volume.slots)
    )
    found = Counter(
        (disk.slot, path) for disk in world.disks.values() for path in disk.paths() if path.startswith("volumes/")
    )
    assert found == wanted, f"orphans {found - wanted}, missing {wanted - found}"
    objects = {volume.held.key for volume in volumes_of(engine).values() if volume.held is not None and volume.held.key}
    assert set(world.cold.objects) == objects, "what the cold backend holds"
    used = {engine.disks.state(slot).path for slot in engine.disks.slots()}
    ours = [disk for disk in world.disks.values() if disk.name in used and NAME in disk.paths()]
    odd = [path for disk in ours for path in disk.paths() if not FILES.fullmatch(path)]
    assert odd == [], odd


def check_records(engine: Engine) -> None:
    """After `settle`: names, inodes, contents and volumes refer to each other exactly as they say."""
    engine.meta.read(_check_tree)
    engine.meta.read(_check_contents)
    engine.meta.read(_check_volumes)
    engine.meta.read(_check_usage)


def _check_tree(txn: Txn) -> None:
    inodes = {int.from_bytes(rest, "big"): inode for rest, inode in scan_records(txn, INODE, Inode)}
    links = Counter(entry.inode for _, entry in scan_records(txn, ENTRY, Entry))
    links.update(row.inode for _, row in scan_records(txn, VERSION, OlderVersion) if row.inode)
    links.update(bucket.root for _, bucket in scan_records(txn, BUCKET, Bucket) if bucket.root not in links)
    assert set(links) | {ROOT_INODE} == set(inodes), "an inode without a name, or a name without an inode"
    for number, inode in inodes.items():
        if inode.kind is not Kind.DIRECTORY:
            assert inode.nlink == links[number]
    assert not list(scan_records(txn, ORPHAN, int))
    parents = {int.from_bytes(rest[:8], "big") for rest, _ in scan_records(txn, ENTRY, Entry)}
    assert all(inodes[parent].kind is Kind.DIRECTORY for parent in parents)


def _check_usage(txn: Txn) -> None:
    """What buckets and owners are said to hold is what the rows add up to."""
    bytes_of, objects_of = Counter[int](), Counter[int]()
    for _, inode in scan_records(txn, INODE, Inode):
        if inode.kind is not Kind.DIRECTORY:
            assert inode.bucket, "an inode that counts nowhere"
            bytes_of[inode.bucket] += inode.size - inode.holes
            objects_of[inode.bucket] += 1
    assert not list(scan_records(txn, ENDED, Ended)), "parts of ended uploads are left"
    for _, part in scan_records(txn, PART, Part):
        bytes_of[part.bucket] += part.size
    owners: Counter[tuple[str, str]] = Counter()
    for _, bucket in scan_records(txn, BUCKET, Bucket):
        usage = load(txn, bucket_usage_key(bucket.root), Usage)
        assert usage is not None
        assert (usage.bytes, usage.objects) == (bytes_of.pop(bucket.root, 0), objects_of[bucket.root])
        owners[usage.owner, "bytes"] += usage.bytes
        owners[usage.owner, "objects"] += usage.objects
    assert not bytes_of, "something counts in a bucket that there is not"
    for rest, usage in scan_records(txn, OWNER_USAGE, Usage):
        assert (usage.bytes, usage.objects) == tuple(owners[rest.decode(), what] for what in ("bytes", "objects"))


def _check_contents(txn: Txn) -> None:
    used = {(rest[:8], rest[8:]) for rest, _ in scan_records(txn, CONTENT_USER, int)}
    wanted = {
        (inode.content.to_bytes(8, "big"), inode_user(int.from_bytes(rest, "big")))
        for rest, inode in scan_records(txn, INODE, Inode)
        if inode.content
    }
    wanted |= {
        (part.content.to_bytes(8, "big"), part_user(rest[:-4].decode(), int.from_bytes(rest[-4:], "big")))
        for rest, part in scan_records(txn, PART, Part)
    }
    assert used == wanted, "contents and those who use them"
    assert not list(scan_records(txn, DYING, int)), "contents to be freed are left"
    runs = list(scan_records(txn, RUN, Run))
    assert {rest[:8] for rest, _ in runs} <= {content for content, _ in used}, "bytes that nobody uses"
    counted: Counter[tuple[int, int]] = Counter()
    for rest, run in runs:
        if run.extent is not None:
            counted[run.extent.volume, int.from_bytes(rest[:8], "big")] += run.length
    for rest, volume in scan_records(txn, VOLUME, Volume):
        for extent in inner_extents(volume):
            counted[extent.volume, HOLDER | int.from_bytes(rest, "big")] += extent.length
    users = scan_records(txn, VOLUME_USER, int)
    assert {(int.from_bytes(rest[:8], "big"), int.from_bytes(rest[8:], "big")): count for rest, count in users} == dict(
        counted
    ), "volumes and the contents that use them"


def _check_volumes(txn: Txn) -> None:
    recorded = {int.from_bytes(rest, "big") for rest, _ in scan_records(txn, VOLUME, Volume)}
    used = {int.from_bytes(rest[:8], "big") for rest, _ in scan_records(txn, VOLUME_USER, int)}
    assert recorded == used, f"not recorded: {used - recorded}, not used: {recorded - used}"
    assert all(is_used(txn, number) for number in recorded)
    assert not list(txn.scan(GARBAGE, bytes((GARBAGE[0] + 1,))))
    assert not list(txn.scan(REPAIR, bytes((REPAIR[0] + 1,))))
    assert not list(txn.scan(LEFT_SHARDS, bytes((LEFT_SHARDS[0] + 1,))))
    assert not list(txn.scan(LEFT_HELD, bytes((LEFT_HELD[0] + 1,))))


async def complete_all(engine: Engine, bodies: dict[tuple[str, int], bytes]) -> None:
    """Complete every upload with all its parts: each object is the parts' bytes. `bodies`: by ETag and size."""
    for (bucket, key, upload), parts in (await observe(engine)).uploads.items():
        if parts:
            names = [PartName(number=number, etag=etag) for number, (etag, _) in sorted(parts.items())]
            await engine.uploads.complete(bucket, key, upload, names)
            body = await read_all(await engine.objects.open(bucket, key))
            assert body == b"".join(bodies[parts[number]] for number in sorted(parts))
