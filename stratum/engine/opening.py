"""Find the store's disks and its index, whatever was lost, swapped or emptied since the last stop.

Room: stratum/engine. May import: core, store.
"""

import logging
import secrets
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

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
    paths: dict[Path, str]  # where disks are looked for, and of which tier those are
    removed: dict[str, str]  # identities of disks that were taken out for good, and where they were

    def remember(self, slot: int, record: DiskRecord) -> None:
        """Note in store.json which disk is in a slot now, once its shards are queued for repair. Blocking."""
        before = self.remembered.get(slot)
        if before is not None and before.added and before.path == record.path:
            record = msgspec.structs.replace(record, added=True)
        self.records[slot] = self.remembered[slot] = record
        self._write()

    def forget(self, slot: int) -> None:
        """Note in store.json that there is no such slot any more, and that its disk is not ours. Blocking."""
        record = self.records.pop(slot, None) or self.remembered.get(slot)
        self.remembered.pop(slot, None)
        if record is not None:
            self.removed[record.identity] = record.path
        self._write()

    def _write(self) -> None:
        write_store_file(self.data, self.store_id, self.remembered, self.removed)


def open_store(settings: Settings, now_ns: Callable[[], int], open_disk: OpenDisk = FolderDisk) -> OpenedStore:
    """Join the disks and open the index. Blocking. Raises ForeignDisk, CorruptJournal, DiskFailed."""
    folder = Path(settings.data)
    make_folder(folder)
    data = FolderDisk(-1, folder)
    known = read_store_file(data) or _from_disks(list(paths_of(settings)), open_disk)
    named = paths_of(settings)
    paths = {**named, **_added(known.disks, named)}  # those of the settings first
    store_id = bytes.fromhex(known.store)
    joined = join(
        list(paths), known.disks, store_id, created=now_ns(), open_disk=open_disk, tiers=paths, removed=known.removed
    )
    for path, reason in joined.problems:
        log.error("%s is not used: %s", path, reason)
    if not joined.disks:
        raise ForeignDisk("none of the disks can be used: " + "; ".join(f"{p}: {why}" for p, why in joined.problems))
    replaced = _replaced(known, joined)
    joined.absent = {  # missed is what we know, and what the settings name, unless it was removed
        slot: absent
        for slot, absent in joined.absent.items()
        if slot in known.disks or (Path(absent.path) in named and absent.path not in known.removed.values())
    }
    kept = {slot for slot, record in known.disks.items() if record.added}
    joined.records = {
        slot: msgspec.structs.replace(record, added=slot in kept) for slot, record in joined.records.items()
    }
    records = {**known.disks, **joined.records}
    here = {Path(record.path) for record in records.values()}
    paths = {path: tier for path, tier in paths.items() if path in named or path in here}  # not where one was before
    remembered = {**known.disks, **{slot: record for slot, record in joined.records.items() if slot not in replaced}}
    if remembered != known.disks:
        write_store_file(data, store_id, remembered, known.removed)
    disks = Disks(joined.disks, settings.limits, absent=joined.absent, tiers=_tiers_of_slots(records, joined, paths))
    meta = Meta.open(folder / INDEX_FOLDER, disks, settings.journal_copies, store_id, settings.limits)
    if meta.recovery.kind in ("rolled-forward", "rebuilt"):
        log.warning(
            "the index was %s: %s (%d records)", meta.recovery.kind, meta.recovery.reason, meta.recovery.records
        )
    return OpenedStore(
        store_id, data, disks, meta, records, remembered, open_disk, replaced, paths, dict(known.removed)
    )


def paths_of(settings: Settings) -> dict[Path, str]:
    """Where the settings say that disks are, those of the hot tier first, and the tier of each."""
    warm = settings.warm.disks if settings.warm else ()
    return {Path(path): "" for path in settings.disks} | {Path(path): WARM for path in warm}


def _added(known: Mapping[int, DiskRecord], named: Mapping[Path, str]) -> dict[Path, str]:
    """Where disks are that were added by command, and that the settings do not name, by whatever path."""
    folders = {path.resolve() for path in named}
    found = {Path(record.path): record.tier for record in known.values() if record.added}
    return {path: tier for path, tier in found.items() if path.resolve() not in folders}


def _tiers_of_slots(records: Mapping[int, DiskRecord], joined: Joined, tiers: Mapping[Path, str]) -> dict[int, str]:
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
    on_replaced: Callable[[int, DiskRecord], None],
    on_returned: Callable[[int], None],
    now_ns: Callable[[], int],
) -> DiskWatch:
    """The service that notices disks that go and come back."""
    return DiskWatch(
        store.disks,
        store.store_id,
        known=store.records,
        paths=list(store.paths),
        tiers=store.paths,
        on_replaced=on_replaced,
        on_returned=on_returned,
        now_ns=now_ns,
        open_disk=store.open_disk,
    )
