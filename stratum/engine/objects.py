"""Objects as S3 knows them: put, open, delete, copy, list.

Room: stratum/engine. May import: core, store, engine.{buckets, changes, contents, ingest, new_objects, object_rename,
open_object, sealing_copies}.

Invariants
    O1  A put stages its bytes first; one change then makes a new inode, swaps the entry and retires the old inode.
    O2  Conditions are evaluated inside that change, so races have one winner.
    O3  An answer to S3 rests only on what is durable: closed files are published first (`settle`), and reads use
        `read_durable`.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TypeVar

import msgspec
import trio

from stratum.core.conditions import check_delete, check_read, check_write
from stratum.core.config import Limits
from stratum.core.encryption import CustomerKey
from stratum.core.errors import MarkerFound, NoSuchKey, NoSuchVersion, QuotaExceeded, SourceChanged, StratumError
from stratum.core.inodes import attributes_of, get_inode, give_attributes, stored_bytes
from stratum.core.listing import list_page
from stratum.core.locks import check_deletable
from stratum.core.manifest import Span, attach, inode_user, some_spans, spans_in
from stratum.core.names import check_key
from stratum.core.namespace import Change, resolve, scan_keys
from stratum.core.objects import (
    UNCONDITIONAL,
    Condition,
    CopySpec,
    Deleted,
    ListPage,
    ListQuery,
    ObjectView,
    PutSpec,
    RenameSpec,
    VersionPage,
    VersionQuery,
)
from stratum.core.quotas import NOTHING, Amount, check_room, counted
from stratum.core.records import Checksum, Inode, Kind, Run
from stratum.core.schema import inode_key, take_number
from stratum.core.txn import Txn, save
from stratum.core.user_attributes import SPACE
from stratum.core.version_listing import version_page
from stratum.core.versions import Place, Removed, mark_deleted, next_version, put_current, remove_version
from stratum.core.views import object_at, view_of
from stratum.engine.buckets import find_bucket
from stratum.engine.ingest import Ingest, Ingested
from stratum.engine.locking import retention_of_new
from stratum.engine.new_objects import COPIED, NewObject, born, copied, copied_checksum, renamed
from stratum.engine.object_rename import find_source, move_entry
from stratum.engine.open_object import OpenObject
from stratum.engine.sealing_copies import take_over
from stratum.engine.surroundings import Surroundings

SPANS_AT_ONCE = 256  # runs of an object read in one turn of the loop
OPEN_ATTEMPTS = 4  # of reading runs in turns, while the object is replaced or written; then in one
COPY_ATTEMPTS = 5  # of a copy whose source is replaced while it is looked at

T = TypeVar("T")
ObjectChange = Callable[[Txn], tuple[ObjectView, list[Change]]]


class Objects:
    """The verbs of S3 on whole objects."""

    def __init__(self, surroundings: Surroundings, limits: Limits) -> None:
        self._around = surroundings
        self._limits = limits

    async def put(self, bucket: str, key: bytes, body: AsyncIterator[bytes], spec: PutSpec) -> ObjectView:
        """Store `body` under `key`; durable and visible on return.

        Raises NoSuchBucket, KeyTooLong, PreconditionFailed, QuotaExceeded, TooLarge, TooFewDisks, what `spec.check`
        raises, and to seal it NotSealing, NoMasterKey, NoSuchNamedKey.
        """
        check_key(key)
        await self._check_early(bucket, key, spec.condition)
        if spec.size is not None:
            self._around.meta.read(lambda txn: check_fits(txn, bucket, key, spec.size or 0))
        run = await self._around.sealing.begin(spec.seal)
        ingest = Ingest(self._around.contents, self._limits, spec.algorithms, self._limits.object_bytes_max, run)
        staged = await ingest.take(body)
        try:
            checksum = spec.check(staged.digests, staged.size)
            return await self._publish_staged(bucket, key, staged, spec, checksum)
        except BaseException:
            await self._discard(staged)
            raise

    async def _discard(self, staged: Ingested) -> None:
        with trio.CancelScope(shield=True):
            await self._around.contents.discard(staged.spans)

    async def _check_early(self, bucket: str, key: bytes, condition: Condition) -> None:
        """Refuse before the body is read what would be refused at commit anyway."""
        await self._settle(bucket, key)
        self._around.meta.read(lambda txn: check_now(txn, bucket, key, condition))

    async def _publish_staged(
        self, bucket: str, key: bytes, staged: Ingested, spec: PutSpec, checksum: Checksum | None
    ) -> ObjectView:
        def change(txn: Txn) -> tuple[ObjectView, list[Change]]:
            check_now(txn, bucket, key, spec.condition)
            new = NewObject(
                content=self._record(txn, staged),
                size=staged.size,
                etag=staged.etag,
                sealed=staged.sealed,
                headers=dict(spec.headers),
                metadata=dict(spec.metadata),
                checksum=checksum,
                owner=spec.owner,
                tags=dict(spec.tags),
                acl=spec.acl,
                retention=spec.retention,
                legal_hold=spec.legal_hold,
                storage_class=spec.storage_class,
                event=spec.event,
                principal=spec.principal,
            )
            return self.publish(txn, bucket, key, new)

        return await self.commit(change)

    def _record(self, txn: Txn, staged: Ingested) -> int:
        """Inside a change: make a content of what was staged; 0: of no byte."""
        content = take_number(txn, "content") if staged.spans else 0
        if content:
            self._around.contents.record(txn, content, staged.spans)
        return content

    async def commit(self, change: ObjectChange) -> ObjectView:
        """Run a change that publishes an object; tell the kernel's caches once it is applied."""

        def apply(txn: Txn) -> ObjectView:
            view, changes = change(txn)
            told.extend(changes)
            return view

        told: list[Change] = []
        return await self._apply(apply, told)

    async def _apply(self, change: Callable[[Txn], T], told: list[Change]) -> T:
        """Apply, tell the kernel's caches, wait until it is durable. An error, too, rests on durable rows only (O3)."""
        meta = self._around.meta
        await meta.room()
        try:
            result, ticket = meta.apply(change)
        except StratumError:
            await meta.durable(meta.seen)
            raise
        self._around.changes.notify(told)
        await meta.durable(ticket)
        await self._around.changes.taken_in()
        return result

    def publish(self, txn: Txn, bucket: str, key: bytes, new: NewObject) -> tuple[ObjectView, list[Change]]:
        """Inside a change: make a new inode and let the key point to it (O1)."""
        place = self.place(txn, bucket, key)
        number = take_number(txn, "inode")
        version, sequence = next_version(txn, place.bucket, key)
        if new.content:  # before the old inode goes: an object copied onto itself shares its bytes
            attach(txn, new.content, inode_user(number))
        changes, parent, name = put_current(txn, place, number)
        if changes[-1].inode != number and new.content:
            self._around.overwritten(txn, new.content)
        retention = new.retention or retention_of_new(txn, bucket, place.bucket, place.maker.now)
        inode = msgspec.structs.replace(
            born(new, place.maker),
            parent=parent,
            name=name,
            version=version,
            sequence=sequence,
            retention=retention,
            bucket=place.root,
        )
        save(txn, inode_key(number), inode)
        view = ObjectView(
            bucket=bucket, key=key, inode_number=number, inode=inode, versioned=bool(place.bucket.versioning)
        )
        self._around.consequences.written(txn, bucket, place.bucket, view, new.event, new.principal)
        return view, changes

    def place(self, txn: Txn, bucket: str, key: bytes) -> Place:
        """Inside a change: a key as core.versions wants it. Raises NoSuchBucket."""
        is_open = self._around.files.is_pinned
        return Place(bucket=find_bucket(txn, bucket), key=key, maker=self._around.maker(), is_open=is_open)

    async def head(self, bucket: str, key: bytes, version: str | None = None) -> ObjectView:
        """Return the attributes of the current object, or of the version of that id.

        Raises NoSuchBucket, NoSuchKey, MarkerFound, NoSuchVersion, InvalidArgument.
        """
        await self._settle(bucket, key)
        return await self._around.meta.read_durable(lambda txn: object_at(txn, bucket, key, version))

    async def open(
        self, bucket: str, key: bytes, version: str | None = None, customer: CustomerKey | None = None
    ) -> OpenObject:
        """Return one version of the object, ready to be read.

        Raises as `head`; of an encrypted one CustomerKeyNeeded, CustomerKeyUnwanted, NoSuchNamedKey, NoMasterKey.
        """
        await self._settle(bucket, key)

        for attempt in range(OPEN_ATTEMPTS):
            found = await self._opened(bucket, key, version, SPANS_AT_ONCE if attempt < OPEN_ATTEMPTS - 1 else None)
            if found is not None:
                view, spans = found
                break
        return OpenObject(view, spans, self._around, self._around.sealing.open_any(view.inode.sealed, customer))

    async def _opened(
        self, bucket: str, key: bytes, version: str | None, count: int | None
    ) -> tuple[ObjectView, list[Span]] | None:
        """A version and all its runs, read `count` in a turn of the loop; None: its record changed meanwhile."""

        def first(txn: Txn) -> tuple[ObjectView, list[Span], int, bytes | None]:
            view = object_at(txn, bucket, key, version)
            spans, rest = _spans_of(txn, view, 0, count)
            return view, spans, rest, txn.get(inode_key(view.inode_number))

        view, spans, rest, record = await self._around.meta.read_durable(first)
        while rest < stored_bytes(view.inode):
            await trio.lowlevel.checkpoint()

            def more(txn: Txn, start: int = rest) -> tuple[list[Span], int] | None:
                unchanged = txn.get(inode_key(view.inode_number)) == record
                return _spans_of(txn, view, start, count) if unchanged else None

            found = await self._around.meta.read_durable(more)
            if found is None:
                return None
            rest = found[1]
            spans += found[0]
        return view, spans

    async def amend(
        self, bucket: str, key: bytes, version: str | None, change: Callable[[Inode], Inode], event: str = ""
    ) -> ObjectView:
        """Replace attributes of one version (tags, ACL, lock) by what `change` makes of its record; nothing else moves.

        Raises as `head`, and what `change` raises.
        """
        await self._settle(bucket, key)

        def apply(txn: Txn) -> ObjectView:
            old = object_at(txn, bucket, key, version)
            stored = get_inode(txn, old.inode_number)
            new = msgspec.structs.replace(change(stored), ctime=self._around.now_ns())
            save(txn, inode_key(old.inode_number), new)
            view = replace(old, inode=new)
            self._around.consequences.written(txn, bucket, find_bucket(txn, bucket), view, event, "")
            return view

        return await self._apply(apply, [])

    async def delete(
        self,
        bucket: str,
        key: bytes,
        condition: Condition = UNCONDITIONAL,
        *,
        version: str | None = None,
        bypass_governance: bool = False,
        principal: str = "",
    ) -> Deleted:
        """Remove the key (a delete marker, where the bucket has versioning) or one version of it for good.

        What is not there is no error. Raises NoSuchBucket, PreconditionFailed, Locked, InvalidArgument.
        """
        await self._settle(bucket, key)

        def change(txn: Txn) -> Deleted:
            place = self.place(txn, bucket, key)
            if not _is_there(txn, bucket, key, condition, version):
                return Deleted()
            if version is None:
                removed = mark_deleted(txn, place, principal)
            else:
                now = place.maker.now
                may = partial(check_deletable, now=now, bypass_governance=bypass_governance)
                removed = remove_version(txn, place, version, may)
            self.tell_removed(txn, bucket, place, removed, principal, asked=version)
            told.extend(removed.changes)
            shown = removed.version or ("null" if place.bucket.versioning else "")
            return Deleted(version=shown if removed.done or version else "", marker=removed.marker)

        told: list[Change] = []
        return await self._apply(change, told)

    def tell_removed(
        self, txn: Txn, bucket: str, place: Place, removed: Removed, principal: str, *, asked: str | None
    ) -> None:
        """Inside a change: what follows from a delete."""
        if removed.done:
            event = "ObjectRemoved:DeleteMarkerCreated" if removed.marker and asked is None else "ObjectRemoved:Delete"
            self._around.consequences.removed(
                txn, bucket, place.bucket, place.key, removed.version, removed.sequence, event, principal
            )

    async def copy(
        self,
        source_bucket: str,
        source_key: bytes,
        bucket: str,
        key: bytes,
        spec: CopySpec,
        source_version: str | None = None,
    ) -> ObjectView:
        """Copy an object; where no byte must be sealed or opened for it, none moves: both inodes share one content.

        Raises NoSuchBucket, NoSuchKey, NoSuchVersion, MarkerFound, PreconditionFailed (source or destination), what
        `open` and `put` raise of encrypted objects, and SourceChanged if the source does so all the time.
        """
        check_key(key)
        for _ in range(COPY_ATTEMPTS - 1):
            with suppress(SourceChanged):
                return await self._copy(source_bucket, source_key, bucket, key, spec, source_version)
        return await self._copy(source_bucket, source_key, bucket, key, spec, source_version)

    async def _copy(
        self, source_bucket: str, source_key: bytes, bucket: str, key: bytes, spec: CopySpec, source_version: str | None
    ) -> ObjectView:
        """Copy an object. Raises as `copy`, and SourceChanged if what was looked at is another object at the change."""
        await self._settle(bucket, key)
        opened = await self.open(source_bucket, source_key, source_version, spec.source_customer)
        check_read(spec.source_condition, opened.view.inode, copying=True)
        self._around.meta.read(lambda txn: check_now(txn, bucket, key, spec.condition))
        taken = await take_over(self._around, self._limits, opened, spec)

        def change(txn: Txn) -> tuple[ObjectView, list[Change]]:
            source = taken.described or taken.checked(object_at(txn, source_bucket, source_key, source_version).inode)
            if taken.staged is None:
                check_read(spec.source_condition, source, copying=True)
            check_now(txn, bucket, key, spec.condition)
            checksum = source.checksum if taken.staged else copied_checksum(spec, source, taken.known)
            content = self._record(txn, taken.staged) if taken.staged else self.shared_content(txn, source)
            etag = taken.etag if taken.staged or taken.sealed else source.etag
            new = copied(spec, source, content=content, etag=etag, checksum=checksum, sealed=taken.sealed)
            more = attributes_of(txn, opened.view.inode_number, SPACE) if spec.metadata is None else []
            view, changes = self.publish(txn, bucket, key, new)
            give_attributes(txn, view.inode_number, more)  # those that metadata has no room for (engine/file_xattrs.py)
            return view, changes

        try:
            return await self.commit(change)
        except BaseException:
            if taken.staged is not None:
                await self._discard(taken.staged)
            raise

    def shared_content(self, txn: Txn, source: Inode) -> int:
        """Inside a change: the content that a copy of `source` shares; of a symlink, one that holds its target."""
        if source.kind is not Kind.SYMLINK:
            return source.content
        content = take_number(txn, "content")
        self._around.contents.record(txn, content, [(0, Run(None, source.target))])
        return content

    async def rename(self, bucket: str, key: bytes, spec: RenameSpec) -> ObjectView:
        """Let `key` name what another key of the bucket names now; replaces what was under it.

        Raises NoSuchBucket, NoSuchKey, KeyTooLong, PreconditionFailed.
        """
        check_key(key)
        await self._settle(bucket, spec.source)
        await self._settle(bucket, key)

        def change(txn: Txn) -> tuple[ObjectView, list[Change]]:
            source = find_source(txn, bucket, spec)
            check_now(txn, bucket, key, spec.condition)
            old, new = self.place(txn, bucket, spec.source), self.place(txn, bucket, key)
            if new.bucket.versioning:
                content = self.shared_content(txn, source)
                view, changes = self.publish(txn, bucket, key, renamed(source, content, spec))
                removed = mark_deleted(txn, old, spec.principal)
                changes = [*changes, *removed.changes]
            else:
                view, changes, removed = move_entry(txn, bucket, old, new)
                self._around.consequences.written(txn, bucket, new.bucket, view, COPIED, spec.principal)
            self.tell_removed(txn, bucket, old, removed, spec.principal, asked=None)
            return view, changes

        return await self.commit(change)

    async def list(self, bucket: str, query: ListQuery) -> ListPage:
        """Return one page of keys in UTF-8 byte order. Raises NoSuchBucket."""
        await self._around.files.settle(None)

        def read(txn: Txn) -> ListPage:
            found = find_bucket(txn, bucket)

            def source(start: bytes) -> Iterator[tuple[bytes, ObjectView]]:
                for key, entry in scan_keys(txn, found.root, prefix=query.prefix, start=start):
                    view = view_of(txn, bucket, key, entry, versioned=bool(found.versioning))
                    if view is not None:
                        yield key, view

            return list_page(source, query)

        return await self._around.meta.read_durable(read)

    async def list_versions(self, bucket: str, query: VersionQuery) -> VersionPage:
        """Return one page of versions: keys in UTF-8 byte order, of each the newest first. Raises NoSuchBucket."""
        await self._around.files.settle(None)
        return await self._around.meta.read_durable(
            lambda txn: version_page(txn, bucket, find_bucket(txn, bucket), query)
        )

    async def _settle(self, bucket: str, key: bytes) -> None:
        """Publish the file behind a key first, if it was closed a moment ago (O3)."""
        files = self._around.files
        if files.idle:
            return
        entry = self._around.meta.read(lambda txn: resolve(txn, find_bucket(txn, bucket).root, key))
        if entry is not None:
            await files.settle(entry.inode)


def check_now(txn: Txn, bucket: str, key: bytes, condition: Condition) -> None:
    """Inside a change: refuse if the condition does not hold for the current object.

    Raises NoSuchBucket, NoSuchKey, PreconditionFailed.
    """
    find_bucket(txn, bucket)
    if condition == UNCONDITIONAL:
        return
    try:
        current: Inode | None = object_at(txn, bucket, key).inode
    except NoSuchKey:
        current = None
    check_write(condition, current)


def check_fits(txn: Txn, bucket: str, key: bytes, size: int) -> None:
    """Is there room in the quotas for an object of `size` bytes? Raises NoSuchBucket, QuotaExceeded."""
    found = find_bucket(txn, bucket)
    try:
        check_room(txn, found.root, Amount(size, 1))
    except QuotaExceeded:
        entry = None if found.versioning else resolve(txn, found.root, key)
        _, replaced = (0, NOTHING) if entry is None else counted(get_inode(txn, entry.inode))
        check_room(txn, found.root, Amount(size, 1).plus(replaced, -1))


def _is_there(txn: Txn, bucket: str, key: bytes, condition: Condition, version: str | None) -> bool:
    """Inside a change: is there something that a delete with this condition means? Raises PreconditionFailed."""
    if condition == UNCONDITIONAL:
        return True
    try:
        check_delete(condition, object_at(txn, bucket, key, version).inode)
    except MarkerFound:
        check_delete(condition, None, marker=True)
    except (NoSuchKey, NoSuchVersion):
        return False
    return True


def _spans_of(txn: Txn, view: ObjectView, start: int, count: int | None) -> tuple[list[Span], int]:
    """The first `count` runs from `start` on, and where the rest begins (at the end: there is none)."""
    stop = stored_bytes(view.inode)
    if view.inode.kind is Kind.SYMLINK:
        return [(0, Run(None, view.inode.target))], stop
    if count is None:
        return spans_in(txn, view.inode.content, start, stop), stop
    return some_spans(txn, view.inode.content, start, stop, count)
