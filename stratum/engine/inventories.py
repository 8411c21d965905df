"""Inventories: lists of what is in a bucket, written into another one at their times, in bounded steps.

Room: stratum/engine. May import: core, store, engine.{access_logs, buckets, configurations, objects, surroundings,
tiers}.

Invariants
    N1  What is due, and how far it has come, is a row: killed anywhere, a list goes on behind its last written file.
    N2  One step reads a bounded number of versions; between two steps the event loop is free.
    N3  The manifest is written last, when every file that it names is durable. So a list that has one is whole.
    N4  Lists go only where the policy of the target bucket lets the service by its name; that is asked for every list.

A list is no snapshot: it says of each key what was so when the list came by, as at AWS.
"""

import gzip
import logging
import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import md5

import msgspec
import trio

from stratum.core.config import Settings
from stratum.core.encryption import KIND as ENCRYPTION
from stratum.core.encryption import Encryption, SealSpec
from stratum.core.errors import MalformedPolicy, NoSuchBucket, NotPermitted, StratumError
from stratum.core.inventory import (
    ALL,
    KIND,
    SERVICE,
    TIERS,
    WHERE,
    Inventories,
    Inventory,
    InventoryRun,
    ListFile,
    lines,
    manifest,
    next_due,
    place_of,
    row_of,
    schema_of,
)
from stratum.core.objects import PutSpec, VersionQuery, VersionView
from stratum.core.records import Bucket
from stratum.core.schema import INVENTORY_RUN, configuration_key, inventory_run_key
from stratum.core.service_writes import service_may_put
from stratum.core.txn import Txn, load, save, scan_records
from stratum.engine.access_logs import policy_of
from stratum.engine.buckets import find_bucket
from stratum.engine.configurations import configuration
from stratum.engine.objects import Objects
from stratum.engine.surroundings import Surroundings
from stratum.engine.tiers import Tiers

log = logging.getLogger(__name__)

VERSIONS_AT_ONCE = 100  # in one step: some milliseconds
FILE_BYTES = 8 << 20  # of lines in one file, before they are packed
LONGEST_SLEEP = 60.0  # seconds
GRANTED = {"s3:x-amz-acl": ("bucket-owner-full-control",)}  # as policies for inventories ask for


@dataclass(frozen=True, slots=True)
class _Job:
    """A list that is due."""

    bucket: str
    name: str
    wanted: Inventory
    source: Bucket
    target: Bucket
    seal: SealSpec | None

    @property
    def row(self) -> bytes:
        return inventory_run_key(self.bucket, self.name)


class InventoryLists:
    """Configurations of inventories, and the service that writes them. `tiers` is set while the engine is made."""

    tiers: Tiers

    def __init__(self, surroundings: Surroundings, objects: Objects, settings: Settings) -> None:
        self._around = surroundings
        self._objects = objects
        self._day = settings.day_seconds * 10**9
        self._sooner = trio.Event()
        self.written = 0  # lists since the start
        self.failed = 0

    # --- configurations ---------------------------------------------------------------------------------------

    async def put(self, bucket: str, name: str, change: Callable[[Inventories], Inventories]) -> None:
        """Replace the configurations of a bucket by what `change` makes of them; the one called `name` is new.

        Raises NoSuchBucket, and what `change` raises.
        """
        now = self._around.now_ns()

        def apply(txn: Txn) -> None:
            find_bucket(txn, bucket)
            found = change(configuration(txn, bucket, KIND, Inventories) or Inventories())
            save(txn, configuration_key(bucket, KIND), found)
            row, wanted = inventory_run_key(bucket, name), found.configurations.get(name)
            if wanted is None or not wanted.enabled:
                txn.delete(row)
            elif load(txn, row, InventoryRun) is None:
                save(txn, row, InventoryRun(next_due(now, self._day, wanted.frequency)))

        await self._around.meta.write(apply)
        self._sooner.set()

    # --- the service ------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Run until cancelled."""
        while True:
            self._sooner = trio.Event()
            pause = LONGEST_SLEEP
            try:
                await self.one_pass()
                pause = self._pause()
            except StratumError as error:
                log.warning("inventories postponed: %s", error)
            with trio.move_on_after(pause):
                await self._sooner.wait()

    def _pause(self) -> float:
        runs = self._around.meta.read(lambda txn: [run for _, run in scan_records(txn, INVENTORY_RUN, InventoryRun)])
        first = min((run.due for run in runs), default=None)
        if first is None:
            return LONGEST_SLEEP
        return min(LONGEST_SLEEP, max(1.0, (first - self._around.now_ns()) / 10**9))

    async def one_pass(self) -> None:
        """Write every list that is due now."""
        now = self._around.now_ns()

        def query(txn: Txn) -> list[bytes]:
            return [key for key, run in scan_records(txn, INVENTORY_RUN, InventoryRun) if run.begun or run.due <= now]

        for key in self._around.meta.read(query):
            bucket, _, name = key.decode().partition("\0")
            await self._one(bucket, name)

    async def _one(self, bucket: str, name: str) -> None:
        row, trouble = inventory_run_key(bucket, name), ""
        try:
            job = self._around.meta.read(lambda txn: _job(txn, bucket, name))
            if job is None:
                await self._around.meta.write(lambda txn: txn.delete(row))
                return
            await self._write(job)
            self.written += 1
        except StratumError as error:
            trouble = str(error)
            self.failed += 1
            log.warning("inventory %s of %s was not written: %s", name, bucket, error)
        await self._around.meta.write(lambda txn: self._done(txn, row, bucket, name, trouble))

    def _done(self, txn: Txn, row: bytes, bucket: str, name: str, trouble: str) -> None:
        """Inside a change: the next list is due at its time."""
        wanted = (configuration(txn, bucket, KIND, Inventories) or Inventories()).configurations.get(name)
        if wanted is None or not wanted.enabled:
            txn.delete(row)
        else:
            save(txn, row, InventoryRun(next_due(self._around.now_ns(), self._day, wanted.frequency), trouble=trouble))

    async def _write(self, job: _Job) -> None:
        """Write one list, from where it stands (N1)."""
        run = self._around.meta.read(lambda txn: load(txn, job.row, InventoryRun))
        if run is None or not run.begun:
            run = InventoryRun(0 if run is None else run.due, begun=self._around.now_ns())
        while run is not None and (run.key_marker or not run.files):
            run = await self._one_file(job, run)
            if not run.key_marker:
                break
        moment = datetime.fromtimestamp(run.begun // 10**9, UTC).strftime("%Y-%m-%dT%H-%MZ")
        told = manifest(job.wanted, source=job.bucket, begun=run.begun, files=run.files)
        place = f"{place_of(job.wanted, job.bucket, job.name)}/{moment}"
        await self._put(job, f"{place}/manifest.json", told, "application/json")
        digest = md5(told, usedforsecurity=False).hexdigest().encode()
        await self._put(job, f"{place}/manifest.checksum", digest, "text/plain")

    async def _one_file(self, job: _Job, run: InventoryRun) -> InventoryRun:
        """Write the next file of a list, and how far that went."""
        text, key, version, more = bytearray(), run.key_marker, run.version_marker, True
        columns = schema_of(job.wanted)
        while more and len(text) < FILE_BYTES:
            query = VersionQuery(
                prefix=(job.wanted.prefix or "").encode(),
                key_marker=key,
                version_marker=version,
                limit=VERSIONS_AT_ONCE,
            )
            page = await self._objects.list_versions(job.bucket, query)
            shown = [each for each in page.versions if job.wanted.versions == ALL or (each.latest and not each.marker)]
            text += lines([self._row(job, each, columns) for each in shown], columns)
            more, key, version = page.next_key is not None, page.next_key or b"", page.next_version
            await trio.lowlevel.checkpoint()
        packed = await trio.to_thread.run_sync(lambda: gzip.compress(bytes(text), 6, mtime=0))
        name = f"{place_of(job.wanted, job.bucket, job.name)}/data/{secrets.token_hex(16)}.csv.gz"
        await self._put(job, name, packed, "application/gzip")
        file = ListFile(name, len(packed), md5(packed, usedforsecurity=False).hexdigest())
        new = msgspec.structs.replace(run, files=(*run.files, file), key_marker=key, version_marker=version)

        def change(txn: Txn) -> None:
            if load(txn, job.row, InventoryRun) is not None:  # else it was taken away meanwhile
                save(txn, job.row, new)

        await self._around.meta.write(change)
        return new

    def _row(self, job: _Job, view: VersionView, columns: tuple[str, ...]) -> dict[str, str]:
        inode = view.view.inode if view.view is not None else None
        until = _iso(inode.retention.until) if inode is not None and inode.retention is not None else ""
        row = row_of(job.bucket, job.source.owner, view, modified=_iso(view.modified), until=until)
        if view.view is not None and (WHERE in columns or "StorageClass" in columns):
            where = self.tiers.tier_of(view.view)
            row[WHERE] = TIERS.get(where.summary, where.summary.upper())
            row["StorageClass"] = self.tiers.shown_class(view.view.inode, where) or "STANDARD"
        return row

    async def _put(self, job: _Job, key: str, content: bytes, kind: str) -> None:
        spec = PutSpec(headers={"content-type": kind}, owner=job.target.owner, principal=SERVICE, seal=job.seal)
        await self._objects.put(job.wanted.target, key.encode(), _once(content), spec)


def _job(txn: Txn, bucket: str, name: str) -> _Job | None:
    """What is wanted now; None: nothing any more. Raises NoSuchBucket (the target is gone), NotPermitted (N4)."""
    try:
        source = find_bucket(txn, bucket)
    except NoSuchBucket:
        return None
    wanted = (configuration(txn, bucket, KIND, Inventories) or Inventories()).configurations.get(name)
    if wanted is None or not wanted.enabled:
        return None
    target = find_bucket(txn, wanted.target)
    try:
        policy = policy_of(txn, wanted.target)
    except MalformedPolicy:
        policy = None
    place = f"{place_of(wanted, bucket, name)}/"
    allowed = service_may_put(
        policy, SERVICE, target=wanted.target, prefix=place, source=bucket, account=source.owner, more=GRANTED
    )
    if not allowed:
        raise _Refused(f"the policy of bucket {wanted.target} does not let {SERVICE} write there")
    default = configuration(txn, wanted.target, ENCRYPTION, Encryption)
    chosen = Encryption(wanted.encryption, wanted.key_id) if wanted.encryption else default
    seal = (
        None if chosen is None else SealSpec(scheme=chosen.scheme, key_id=chosen.key_id, bucket_key=chosen.bucket_key)
    )
    return _Job(bucket, name, wanted, source, target, seal)


class _Refused(NotPermitted):
    """A list that may not be written where it is wanted."""


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content


def _iso(moment: int) -> str:
    text = datetime.fromtimestamp(moment // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{moment // 10**6 % 1000:03d}Z"
