"""Find the store's disks and its index, whatever was lost, swapped or emptied since the last stop.

Room: stratum/engine. May import: core, store.
"""

import logging
import secrets
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stratum.core.config import Settings
from stratum.core.errors import ForeignDisk, StratumError
from stratum.core.records import Disk as DiskRecord
from stratum.core.tiers import WARM
from stratum.store.disk import Disk, FolderDisk, make_folder
from stratum.store.disk_watch import DiskWatch
from stratum.store.disks import Disks
from stratum.store.identity import Joined, OpenDisk, join, look
from stratum.store.meta import Meta
from stratum.store.store_file import StoreFile, read_store_file, write_store_file

log = logging.getLogger(__name__)

INDEX_FOLDER = "meta"


@dataclass(slots=True)
class OpenedStore:
    """What the engine is put together from."""

    store_id: bytes
    data: Disk
    disks: Disks
    meta: Meta
    records: dict[int, DiskRecord]
    remembered: dict[int, DiskRecord]  # what store.json says: not yet the disks that `replaced` others
    open_disk: OpenDisk
    replaced: list[int]  # slots whose disk is a new, empty one: every shard must be rebuilt

    def remember(self, slot: int, record: DiskRecord) -> None:
        """Note in store.json which disk is in a slot now, once its shards are queued for repair. Blocking."""
        self.records[slot] = self.remembered[slot] = record
        write_store_file(self.data, self.store_id, self.remembered)


def open_store(settings: Settings, now_ns: Callable[[], int], open_disk: OpenDisk = FolderDisk) -> OpenedStore:
    """Join the disks and open the index. Blocking. Raises ForeignDisk, CorruptJournal, DiskFailed."""
    folder = Path(settings.data)
    make_folder(folder)
    data = FolderDisk(-1, folder)
    paths = paths_of(settings)
    known = read_store_file(data) or _from_disks(paths, open_disk)
    store_id = bytes.fromhex(known.store)
    joined = join(paths, known.disks, store_id, created=now_ns(), open_disk=open_disk, tiers=tiers_of(settings))
    for path, reason in joined.problems:
        log.error("%s is not used: %s", path, reason)
    if not joined.disks:
        raise ForeignDisk("none of the disks can be used: " + "; ".join(f"{p}: {why}" for p, why in joined.problems))
    replaced = _replaced(known, joined)
    records = {**known.disks, **joined.records}
    remembered = {**known.disks, **{slot: record for slot, record in joined.records.items() if slot not in replaced}}
    if remembered != known.disks:
        write_store_file(data, store_id, remembered)
    disks = Disks(joined.disks, settings.limits, absent=joined.absent, tiers=_tiers_of_slots(records, joined, settings))
    meta = Meta.open(folder / INDEX_FOLDER, disks, settings.journal_copies, store_id, settings.limits)
    if meta.recovery.kind in ("rolled-forward", "rebuilt"):
        log.warning(
            "the index was %s: %s (%d records)", meta.recovery.kind, meta.recovery.reason, meta.recovery.records
        )
    return OpenedStore(store_id, data, disks, meta, records, remembered, open_disk, replaced)


def paths_of(settings: Settings) -> list[Path]:
    """Where the disks are, those of the hot tier first."""
    return [Path(path) for path in (*settings.disks, *(settings.warm.disks if settings.warm else ()))]


def tiers_of(settings: Settings) -> dict[Path, str]:
    """The tiers of the paths that are not for hot."""
    return {Path(path): WARM for path in settings.warm.disks} if settings.warm else {}


def _tiers_of_slots(records: Mapping[int, DiskRecord], joined: Joined, settings: Settings) -> dict[int, str]:
    tiers = tiers_of(settings)
    named = {slot: tiers.get(Path(absent.path), "") for slot, absent in joined.absent.items()}
    known = {slot: record.tier for slot, record in records.items() if slot in joined.disks or slot in joined.absent}
    return {**named, **known}


def _from_disks(paths: Sequence[Path], open_disk: OpenDisk) -> StoreFile:
    """Without store.json: the store that the disks say they belong to, or a new one."""
    identities = [sight.identity for slot, path in enumerate(paths) if (sight := look(slot, path, open_disk)).identity]
    votes = Counter(identity.store for identity in identities if identity is not None)
    if not votes:
        return StoreFile(format=1, store=secrets.token_hex(16), disks={})
    store, _ = votes.most_common(1)[0]
    found = {
        identity.slot: DiskRecord(identity.disk, False, "", identity.tier)
        for identity in identities
        if identity is not None and identity.store == store
    }
    log.warning("store.json is missing; %d disks say that this is store %s", len(found), store)
    return StoreFile(format=1, store=store, disks=found)


def _replaced(known: StoreFile, joined: Joined) -> list[int]:
    return [slot for slot in joined.new if known.disks]


async def close_store(store: OpenedStore) -> None:
    """Make everything durable and let go."""
    try:
        await store.meta.close()
    except StratumError as error:
        log.error("the index could not be closed cleanly: %s", error)


def disk_watch(
    store: OpenedStore,
    settings: Settings,
    on_replaced: Callable[[int, DiskRecord], None],
    on_returned: Callable[[int], None],
    now_ns: Callable[[], int],
) -> DiskWatch:
    """The service that notices disks that go and come back."""
    return DiskWatch(
        store.disks,
        store.store_id,
        known=store.records,
        paths=paths_of(settings),
        tiers=tiers_of(settings),
        on_replaced=on_replaced,
        on_returned=on_returned,
        now_ns=now_ns,
        open_disk=store.open_disk,
    )
