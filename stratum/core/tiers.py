"""Where a volume is, and how it is put elsewhere in one change. Its extents, and what S3 shows, never change by it.

Room: stratum/core. May import: core.{config, manifest, records, schema, txn}.

The *stream* of a sealed volume is its k data shard files, from their headers to `shard_bytes`, one behind the other,
each header with sequence 0. Position p of data shard c is byte c * shard_bytes + p of it, so whoever holds the stream
can serve cells, and each is verified by its own frame. Where it rests:

    hot     shards of the volume itself on hot disks (`slots`)
    warm    in inner volumes on warm disks (`held.extents`), which are ordinary ones of that tier
    cold    as an object of a remote backend (`held.key`)

Invariants
    T1  Before the first byte of a copy is written anywhere where it could outlast a crash unseen, a row (LeftShards,
        LeftHeld) says where it will be. The change that makes the copy the volume's own takes the row away, and leaves
        one for what it replaces. So all there is, is named by a volume or by a row, and only the reaper deletes.
        The row of shards stays: attempts that were cut off may have left files under temporary names.
    T2  Nothing is swapped but the volume that was copied, and only while a content uses it.
    T3  An inner volume is used by the volumes whose streams rest in it: by a row as of a content.
"""

from collections.abc import Iterable, Sequence

import msgspec

from stratum.core.config import TierRoute
from stratum.core.manifest import is_used, note_if_unused
from stratum.core.records import Extent, Held, LeftHeld, LeftShards, Volume
from stratum.core.schema import (
    REPAIR,
    left_held_key,
    left_shards_key,
    repair_key,
    volume_key,
    volume_user_key,
    wish_key,
)
from stratum.core.txn import Txn, load, save, successor

HOT, WARM, COLD = "", "warm", "cold"  # as records have them
SHOWN = {HOT: "hot", WARM: "warm", COLD: "cold"}
STORED = {"hot": HOT, "warm": WARM, "cold": COLD}
HOLDER = 1 << 63  # added to a volume's id, it stands for that volume among the users of inner volumes (T3)


def key_of(prefix: str, sha256: bytes) -> str:
    """The key of a remote object: by what is in it."""
    digest = sha256.hex()
    return f"{prefix.strip('/')}/sha256/{digest[:2]}/{digest[2:4]}/{digest}".lstrip("/")


def stream_bytes(volume: Volume) -> int:
    """The length of a volume's stream."""
    return volume.k * volume.shard_bytes


def is_inner(volume: Volume) -> bool:
    """Does it hold the streams of others?"""
    return volume.tier == WARM and volume.held is None


def same_bytes(one: Volume | None, other: Volume) -> bool:
    """Is it the same volume at the same place? A repair may have changed a slot."""
    return one is not None and msgspec.structs.replace(one, slots=other.slots) == other


def intend_shards(txn: Txn, volume: int, slots: Iterable[int]) -> None:
    """Inside a change: there may be shards of the volume on these slots, too, from now on (T1)."""
    left = load(txn, left_shards_key(volume), LeftShards)
    both = set(slots) | set(left.slots if left else ())
    save(txn, left_shards_key(volume), LeftShards(tuple(sorted(both))))


def intend_held(txn: Txn, volume: int, held: Held) -> None:
    """Inside a change: there may be something under this key of the backend from now on (T1)."""
    save(txn, left_held_key(held.backend, held.key), LeftHeld(volume, held))


def swap(txn: Txn, number: int, before: Volume, after: Volume) -> bool:
    """Inside a change: let the volume be what `after` says, if it still is `before` and somebody uses it (T2).

    Inner volumes that `after` names must be recorded in the same change. The wish for it is fulfilled, or void.
    """
    current = load(txn, volume_key(number), Volume)
    txn.delete(wish_key(number))
    if current is None or not same_bytes(current, before) or not is_used(txn, number):
        return False
    for extent in inner_extents(after):
        key = volume_user_key(extent.volume, HOLDER | number)
        save(txn, key, (load(txn, key, int) or 0) + extent.length)
    save(txn, volume_key(number), after)
    let_go(txn, number, current)
    if after.held is not None and after.held.key:
        txn.delete(left_held_key(after.held.backend, after.held.key))
    _forget_repairs(txn, number)
    return True


def let_go(txn: Txn, number: int, volume: Volume) -> None:
    """Inside a change: the volume is no longer where `volume` says; what is there waits for the reaper."""
    if volume.held is None:
        if volume.slots:
            intend_shards(txn, number, volume.slots)
    elif volume.held.key:
        intend_held(txn, number, volume.held)
    for inner in {extent.volume for extent in inner_extents(volume)}:
        txn.delete(volume_user_key(inner, HOLDER | number))
        note_if_unused(txn, inner)


def shards_cleared(txn: Txn, number: int, slots: Sequence[int]) -> None:
    """Inside a change: on these slots there is nothing of the volume but what is its own."""
    left = load(txn, left_shards_key(number), LeftShards)
    rest = tuple(slot for slot in left.slots if slot not in slots) if left else ()
    if rest:
        save(txn, left_shards_key(number), LeftShards(rest))
    else:
        txn.delete(left_shards_key(number))


def inner_extents(volume: Volume) -> tuple[Extent, ...]:
    """Where its stream rests on warm disks."""
    return volume.held.extents if volume.held is not None else ()


def _forget_repairs(txn: Txn, number: int) -> None:
    prefix = repair_key(number, 0)[:-1]
    assert prefix.startswith(REPAIR)
    for key in [key for key, _ in txn.scan(prefix, successor(prefix))]:
        txn.delete(key)


def route(routes: Sequence[TierRoute], bucket: str, key: bytes, tags: dict[str, str], metadata: dict[str, str]) -> str:
    """The cold backend that an object's volumes go to, as the first matching route has it; empty: none matches."""
    for each in routes:
        if each.bucket not in ("", bucket) or not key.startswith(each.prefix.encode()):
            continue
        if _has(tags, each.tag) and _has(metadata, each.metadata):
            return each.backend
    return ""


def _has(found: dict[str, str], wanted: str) -> bool:
    name, _, value = wanted.partition("=")
    return not wanted or found.get(name) == value
