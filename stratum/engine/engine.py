"""The engine: one door to buckets, objects, uploads, files and health, and the services behind it.

Room: stratum/engine. May import: core, store, engine.*.

Start: disks by identity, index (recovered from the journal if need be), volumes, services. Stop: the reverse.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import trio

from stratum.core.config import Limits, Settings
from stratum.core.errors import StratumError
from stratum.core.namespace import DirectoryMaker
from stratum.core.records import Volume
from stratum.core.schema import volume_key
from stratum.core.txn import load
from stratum.engine.access_logs import AccessLogs
from stratum.engine.buckets import Buckets
from stratum.engine.changes import Changes
from stratum.engine.compactor import Compactor
from stratum.engine.configurations import Configurations
from stratum.engine.consequences import Consequences
from stratum.engine.contents import Contents
from stratum.engine.credentials import Credentials, RootCredential
from stratum.engine.disk_changes import DiskChanges
from stratum.engine.disk_events import DiskEvents
from stratum.engine.endings import Endings
from stratum.engine.file_facts import FileFacts
from stratum.engine.files import Files
from stratum.engine.first_writes import FirstWrites
from stratum.engine.follow_ups import FollowUps, follow_ups
from stratum.engine.grounds import Grounds
from stratum.engine.heat import Heat
from stratum.engine.heat_files import FileReads
from stratum.engine.inventories import InventoryLists
from stratum.engine.keys import NO_MASTER_KEYS, Keys, MasterKeys
from stratum.engine.lifecycle import Lifecycle
from stratum.engine.notifications import Notifying
from stratum.engine.objects import Objects
from stratum.engine.opening import OpenedStore, close_store, disk_watch, open_store
from stratum.engine.packing import Packing, packing_of
from stratum.engine.pattern_watch import PatternWatch
from stratum.engine.quotas import Quotas
from stratum.engine.reaper import Reaper
from stratum.engine.relocator import Relocator
from stratum.engine.repairer import Repairer
from stratum.engine.replications import Replications
from stratum.engine.resyncs import Resyncs
from stratum.engine.roles import Roles
from stratum.engine.scrubber import Scrubber
from stratum.engine.sealing import Sealing
from stratum.engine.sessions import Sessions
from stratum.engine.surroundings import Surroundings
from stratum.engine.tenants import Tenants
from stratum.engine.tier_backends import backends_of
from stratum.engine.tiering import Tiering
from stratum.engine.tiers import Tiers
from stratum.engine.uploads import Uploads
from stratum.engine.users import Users
from stratum.engine.volume_ids import VolumeIds
from stratum.engine.web_identities import WebIdentities
from stratum.store.backends import Backend
from stratum.store.disk import FolderDisk
from stratum.store.disks import Disks
from stratum.store.fetch import Fetch
from stratum.store.identity import OpenDisk
from stratum.store.meta import Meta
from stratum.store.volumes import Volumes

log = logging.getLogger(__name__)

DIRECTORY_MODE = 0o040755


@dataclass(slots=True)
class Engine:
    """Everything a door may use."""

    settings: Settings
    store_id: bytes
    disks: Disks
    meta: Meta
    volumes: Volumes
    contents: Contents
    changes: Changes
    buckets: Buckets
    configurations: Configurations
    consequences: Consequences
    objects: Objects
    uploads: Uploads
    files: Files
    credentials: Credentials
    users: Users
    grounds: Grounds
    keys: Keys
    sealing: Sealing
    reaper: Reaper
    repairer: Repairer
    scrubber: Scrubber
    compactor: Compactor
    follow_ups: FollowUps
    tiers: Tiers
    quotas: Quotas
    relocator: Relocator
    disk_changes: DiskChanges
    endings: Endings
    now_ns: Callable[[], int]
    file_facts: FileFacts = field(init=False)
    heat: Heat = field(init=False)
    tiering: Tiering = field(init=False)
    packing: Packing = field(init=False)
    patterns: PatternWatch = field(init=False)
    roles: Roles = field(init=False)
    tenants: Tenants = field(init=False)
    sessions: Sessions = field(init=False)
    web_identities: WebIdentities = field(init=False)

    def __post_init__(self) -> None:
        self.file_facts = FileFacts(self.meta, self.disks, self.files, self.tiers)
        self.inventories.tiers = self.tiers
        self.roles = Roles(self.meta, self.now_ns)
        self.tenants = Tenants(self.meta, self.users, self.credentials, self.quotas, self.limits)
        providers = self.settings.oidc
        named = frozenset(each.name for each in providers)
        self.sessions = Sessions(self.meta, self.credentials, named, self.now_ns)
        self.web_identities = WebIdentities(providers, Fetch(), self.now_ns)

    @property
    def limits(self) -> Limits:
        """The limits in force."""
        return self.settings.limits

    @property
    def lifecycle(self) -> Lifecycle:
        """What acts by the lifecycle rules of buckets."""
        return self.follow_ups.lifecycle

    @property
    def notifying(self) -> Notifying:
        """What tells of events."""
        return self.follow_ups.notifying

    @property
    def inventories(self) -> InventoryLists:
        """What writes lists of what is in buckets."""
        return self.follow_ups.inventories

    @property
    def replications(self) -> Replications:
        """What sends versions on to other buckets."""
        return self.follow_ups.replications

    @property
    def resyncs(self) -> Resyncs:
        """What was in buckets before their replication."""
        return self.follow_ups.resyncs

    @property
    def access_logs(self) -> AccessLogs:
        """What writes lines about requests into buckets."""
        return self.follow_ups.access_logs


@asynccontextmanager
async def open_engine(
    settings: Settings,
    *,
    root: RootCredential,
    now_ns: Callable[[], int],
    owner: tuple[int, int] = (0, 0),
    masters: MasterKeys = NO_MASTER_KEYS,
    open_disk: OpenDisk = FolderDisk,
    cold: Sequence[Backend] | None = None,
) -> AsyncIterator[Engine]:
    """Open the store of `settings` and run its services while the context lasts.

    `root`: the operator's credential. `now_ns`: wall clock, nanoseconds. `owner`: uid and gid of what S3 makes.
    `masters`: what the key store is sealed with; none: nothing is encrypted at rest.
    `cold`: the cold backends; None: those of the settings. Raises ForeignDisk, CorruptJournal, TooFewDisks.
    """
    store = await trio.to_thread.run_sync(open_store, settings, now_ns, open_disk)
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(store.meta.run)
            engine, services = await _put_together(store, settings, root, now_ns, owner, masters, cold)
            for service in services:
                nursery.start_soon(service)
            yield engine
            with trio.CancelScope(shield=True):
                await _wind_up(engine)
            nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True):
            await close_store(store)


async def _wind_up(engine: Engine) -> None:
    """Put everything in order for a stop. What cannot be done now, the next start does."""
    for step in (
        engine.follow_ups.close,
        engine.files.close,
        engine.tiering.close,
        engine.volumes.close,
        engine.repairer.record_seals,
    ):
        try:
            await step()
        except StratumError as error:
            log.error("not everything could be put in order before the stop: %s", error)


async def _put_together(
    store: OpenedStore,
    settings: Settings,
    root: RootCredential,
    now_ns: Callable[[], int],
    owner: tuple[int, int],
    masters: MasterKeys,
    cold: Sequence[Backend] | None,
) -> tuple[Engine, list[Callable[[], Awaitable[None]]]]:
    meta, limits, ids = store.meta, settings.limits, VolumeIds(store.meta)
    first = FirstWrites(meta, ids, now_ns, owner, limits.disk_check_interval)
    volumes, backends = _volumes_of(store, settings, ids, now_ns, lambda *bad: repairer.note_damage(*bad), cold)
    contents, changes, maker = Contents(meta, volumes, limits), Changes(), partial(_directory_maker, owner, now_ns)
    endings = Endings(meta, limits)
    buckets, consequences = Buckets(meta, changes, endings, maker), Consequences()
    sealing, quotas = Sealing(keys := Keys(meta, masters, now_ns)), Quotas(meta)
    files = Files(meta, contents, buckets, store.disks, settings, now_ns, consequences, sealing, quotas)
    around = Surroundings(meta, contents, changes, now_ns, maker, files, sealing, consequences)
    repairer, objects = Repairer(around, volumes, store.disks, limits), Objects(around, limits)
    scrubber, compactor = Scrubber(around, volumes, repairer, limits), Compactor(around, limits)
    followers = follow_ups(around, objects, settings, store.store_id)
    events = DiskEvents(store, volumes, repairer, limits.repair_interval)
    watch = disk_watch(store, events.replaced, events.returned, now_ns)
    relocator = Relocator(around, volumes, store.disks, limits)
    for slot in store.replaced:
        events.replaced(slot, store.records[slot])
    engine = Engine(
        settings=settings,
        store_id=store.store_id,
        disks=store.disks,
        meta=meta,
        volumes=volumes,
        contents=contents,
        changes=changes,
        buckets=buckets,
        configurations=Configurations(meta),
        consequences=consequences,
        objects=objects,
        uploads=Uploads(around, objects, endings, limits),
        files=files,
        credentials=Credentials(meta, root, limits, now_ns),
        users=Users(meta, limits, now_ns),
        grounds=Grounds(meta),
        keys=keys,
        sealing=sealing,
        reaper=Reaper(around, volumes, store.disks, limits, lambda: ids.first),
        repairer=repairer,
        scrubber=scrubber,
        compactor=compactor,
        follow_ups=followers,
        tiers=Tiers(around, volumes, store.disks, backends, settings),
        quotas=quotas,
        relocator=relocator,
        disk_changes=DiskChanges(around, store, volumes, relocator, watch, settings),
        endings=endings,
        now_ns=now_ns,
    )
    _let_decide(engine, around)
    await first.attempt(quotas.start, files.free_orphans, keys.start)
    return engine, [first.run, ids.run, volumes.run, events.run, watch.run, *_of_parts(engine), *_of_tiers(engine)]


def _of_parts(engine: Engine) -> list[Callable[[], Awaitable[None]]]:
    parts = (engine.repairer, engine.reaper, engine.scrubber, engine.compactor, engine.files, engine.quotas)
    return [*(each.run for each in parts), engine.relocator.run, engine.endings.run, *engine.follow_ups.services]


def _of_tiers(engine: Engine) -> list[Callable[[], Awaitable[None]]]:
    return [each for part in (engine.packing, engine.tiers, engine.tiering, engine.patterns) for each in part.services]


def _let_decide(engine: Engine, around: Surroundings) -> None:
    """Let what follows from writes reach the tiers, let signals count, and somebody decide by them."""
    engine.tiers.attach(engine.consequences, engine.reaper)
    engine.heat = Heat(engine.meta, engine.now_ns)
    engine.tiering = Tiering(around, engine.tiers, engine.disks, engine.heat, engine.settings)
    engine.tiering.start()
    engine.file_facts.why = engine.tiering.why
    engine.files.reads = FileReads(engine.heat, engine.meta)
    engine.packing = packing_of(around, engine.volumes, engine.tiers, engine.files, engine.settings)
    engine.patterns = PatternWatch(around, engine.volumes, engine.files, engine.heat, engine.tiering, engine.packing)


def _directory_maker(owner: tuple[int, int], now_ns: Callable[[], int]) -> DirectoryMaker:
    return DirectoryMaker(uid=owner[0], gid=owner[1], mode=DIRECTORY_MODE, now=now_ns())


def _volumes_of(
    store: OpenedStore,
    settings: Settings,
    ids: VolumeIds,
    now_ns: Callable[[], int],
    on_damage: Callable[[int, int, str], None],
    cold: Sequence[Backend] | None,
) -> tuple[Volumes, Mapping[str, Backend]]:
    backends: dict[str, Backend] = {}
    volumes = Volumes(
        disks=store.disks,
        settings=settings,
        store_id=store.store_id,
        take_volume_id=ids.take,
        find=partial(_find_volume, store.meta),
        sequence=lambda: store.meta.sequence,
        on_damage=on_damage,
        now_ns=now_ns,
        backends=backends,
        journal_slots=lambda: store.meta.journal_slots,
    )
    backends.update(backends_of(settings, store.store_id, volumes, store.meta, cold))
    return volumes, backends


def _find_volume(meta: Meta, number: int) -> Volume | None:
    return meta.read(lambda txn: load(txn, volume_key(number), Volume))
