"""Objects as S3 knows them: put, open, delete, copy, list.

Room: stratum/engine. May import: core, store, engine.{buckets, changes, contents, ingest}.

Invariants
    O1  A put stages its bytes first; one change then makes a new inode, swaps the entry and retires the old inode.
    O2  Conditions are evaluated inside that change, so races have one winner.
    O3  An answer to S3 rests only on what is durable: closed files are published first (`settle`), and reads use
        `read_durable`.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from hashlib import md5
from typing import TypeVar

import trio

from stratum.core.conditions import check_read, check_write
from stratum.core.config import Limits
from stratum.core.errors import NoSuchKey, StratumError
from stratum.core.inodes import drop_link
from stratum.core.listing import list_page
from stratum.core.manifest import Span, attach, inode_user, spans_in
from stratum.core.names import check_key
from stratum.core.namespace import Change, put_entry, remove_entry, resolve, scan_keys
from stratum.core.objects import UNCONDITIONAL, Condition, CopySpec, ListPage, ListQuery, ObjectView, PutSpec
from stratum.core.records import Checksum, Entry, Inode, Kind, Run
from stratum.core.schema import inode_key, take_number
from stratum.core.txn import Txn, save
from stratum.core.views import object_at, view_of
from stratum.engine.buckets import find_bucket
from stratum.engine.ingest import Ingest, Ingested
from stratum.engine.surroundings import Surroundings

OBJECT_MODE = 0o100644

T = TypeVar("T")
ObjectChange = Callable[[Txn], tuple[ObjectView, list[Change]]]


@dataclass(frozen=True, slots=True)
class NewObject:
    """What a put, a copy and a complete have in common: everything of the new inode but its content's birth."""

    content: int
    size: int
    etag: str
    headers: dict[str, str]
    metadata: dict[str, str]
    checksum: Checksum | None = None
    parts: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class OpenObject:
    """One version of an object, ready to be read; later changes of the key do not affect it."""

    view: ObjectView
    spans: list[Span]
    surroundings: Surroundings

    def stream(self, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        """Yield the verified bytes [start, stop) in pieces of at most 1 MiB."""
        return self.surroundings.contents.stream(self.spans, start, stop)


class Objects:
    """The verbs of S3 on whole objects."""

    def __init__(self, surroundings: Surroundings, limits: Limits) -> None:
        self._around = surroundings
        self._limits = limits

    async def put(self, bucket: str, key: bytes, body: AsyncIterator[bytes], spec: PutSpec) -> ObjectView:
        """Store `body` under `key`; durable and visible on return.

        Raises NoSuchBucket, KeyTooLong, PreconditionFailed, TooLarge, TooFewDisks, and what `spec.check` raises.
        """
        check_key(key)
        await self._check_early(bucket, key, spec.condition)
        ingest = Ingest(self._around.contents, self._limits, spec.algorithms, self._limits.object_bytes_max)
        staged = await ingest.take(body)
        try:
            checksum = spec.check(staged.digests, staged.size)
            return await self._publish_staged(bucket, key, staged, spec, checksum)
        except BaseException:
            with trio.CancelScope(shield=True):
                await self._around.contents.discard(staged.spans)
            raise

    async def _check_early(self, bucket: str, key: bytes, condition: Condition) -> None:
        """Refuse before the body is read what would be refused at commit anyway."""
        await self._settle(bucket, key)
        self._around.meta.read(lambda txn: check_now(txn, bucket, key, condition))

    async def _publish_staged(
        self, bucket: str, key: bytes, staged: Ingested, spec: PutSpec, checksum: Checksum | None
    ) -> ObjectView:
        def change(txn: Txn) -> tuple[ObjectView, list[Change]]:
            check_now(txn, bucket, key, spec.condition)
            content = take_number(txn, "content") if staged.spans else 0
            if content:
                self._around.contents.record(txn, content, staged.spans)
            new = NewObject(content, staged.size, staged.md5, dict(spec.headers), dict(spec.metadata), checksum)
            return self.publish(txn, bucket, key, new)

        return await self.commit(change)

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
        maker = self._around.maker()
        number = take_number(txn, "inode")
        inode = Inode(
            kind=Kind.OBJECT,
            mode=OBJECT_MODE,
            uid=maker.uid,
            gid=maker.gid,
            nlink=1,
            size=new.size,
            atime=maker.now,
            mtime=maker.now,
            ctime=maker.now,
            btime=maker.now,
            content=new.content,
            etag=new.etag,
            headers=new.headers,
            metadata=new.metadata,
            checksum=new.checksum,
            parts=new.parts,
            generation=1,
        )
        save(txn, inode_key(number), inode)
        if new.content:
            attach(txn, new.content, inode_user(number))
        root = find_bucket(txn, bucket).root
        old, changes = put_entry(txn, root, key, number, Kind.OBJECT, maker)
        if old is not None:
            self._retire(txn, old)
        return ObjectView(bucket=bucket, key=key, inode_number=number, inode=inode), changes

    def _retire(self, txn: Txn, old: Entry) -> None:
        if old.kind is not Kind.DIRECTORY:
            pinned = self._around.files.is_pinned(old.inode)
            drop_link(txn, old.inode, open_somewhere=pinned, now=self._around.now_ns())

    async def head(self, bucket: str, key: bytes) -> ObjectView:
        """Return the object's attributes. Raises NoSuchBucket, NoSuchKey."""
        await self._settle(bucket, key)
        return await self._around.meta.read_durable(lambda txn: object_at(txn, bucket, key))

    async def open(self, bucket: str, key: bytes) -> OpenObject:
        """Return one version of the object, ready to be read. Raises NoSuchBucket, NoSuchKey."""
        await self._settle(bucket, key)

        def query(txn: Txn) -> OpenObject:
            view = object_at(txn, bucket, key)
            return OpenObject(view, _spans_of(txn, view), self._around)

        return await self._around.meta.read_durable(query)

    async def delete(self, bucket: str, key: bytes, condition: Condition = UNCONDITIONAL) -> None:
        """Remove the key; a key that is not there is no error. Raises NoSuchBucket, PreconditionFailed."""
        await self._settle(bucket, key)

        def change(txn: Txn) -> None:
            check_now(txn, bucket, key, condition)
            root, is_open = find_bucket(txn, bucket).root, self._around.files.is_pinned
            old, changes = remove_entry(txn, root, key, self._around.now_ns(), is_open=is_open)
            if old is not None:
                self._retire(txn, old)
            told.extend(changes)

        told: list[Change] = []
        await self._apply(change, told)

    async def copy(self, source_bucket: str, source_key: bytes, bucket: str, key: bytes, spec: CopySpec) -> ObjectView:
        """Copy an object without moving a byte: both inodes share one content.

        Raises NoSuchBucket, NoSuchKey, PreconditionFailed (source or destination).
        """
        check_key(key)
        await self._settle(source_bucket, source_key)
        await self._settle(bucket, key)

        def change(txn: Txn) -> tuple[ObjectView, list[Change]]:
            source = object_at(txn, source_bucket, source_key).inode
            check_read(spec.source_condition, source, copying=True)
            check_now(txn, bucket, key, spec.condition)
            new = NewObject(
                content=source.content,
                size=source.size,
                etag=source.etag,
                headers=dict(source.headers if spec.headers is None else spec.headers),
                metadata=dict(source.metadata if spec.metadata is None else spec.metadata),
                checksum=source.checksum,
            )
            return self.publish(txn, bucket, key, new)

        return await self.commit(change)

    async def md5_of(self, source: OpenObject, start: int, stop: int) -> str:
        """Return the hex md5 of bytes [start, stop) of an open object; reads them once."""
        digest = md5(usedforsecurity=False)
        async for piece in source.stream(start, stop):
            await trio.to_thread.run_sync(digest.update, piece)
        return digest.hexdigest()

    async def list(self, bucket: str, query: ListQuery) -> ListPage:
        """Return one page of keys in UTF-8 byte order. Raises NoSuchBucket."""
        await self._around.files.settle(None)

        def read(txn: Txn) -> ListPage:
            root = find_bucket(txn, bucket).root

            def source(start: bytes) -> Iterator[tuple[bytes, ObjectView]]:
                for key, entry in scan_keys(txn, root, prefix=query.prefix, start=start):
                    view = view_of(txn, bucket, key, entry)
                    if view is not None:
                        yield key, view

            return list_page(source, query)

        return await self._around.meta.read_durable(read)

    async def _settle(self, bucket: str, key: bytes) -> None:
        """Publish the file behind a key first, if it was closed a moment ago (O3)."""
        files = self._around.files
        if files.idle:
            return
        entry = self._around.meta.read(lambda txn: resolve(txn, find_bucket(txn, bucket).root, key))
        if entry is not None:
            await files.settle(entry.inode)


def check_now(txn: Txn, bucket: str, key: bytes, condition: Condition) -> None:
    """Inside a change: refuse if the condition does not hold. Raises NoSuchBucket, NoSuchKey, PreconditionFailed."""
    find_bucket(txn, bucket)
    if condition == UNCONDITIONAL:
        return
    try:
        current: Inode | None = object_at(txn, bucket, key).inode
    except NoSuchKey:
        current = None
    check_write(condition, current)


def _spans_of(txn: Txn, view: ObjectView) -> list[Span]:
    if view.inode.kind is Kind.SYMLINK:
        return [(0, Run(None, view.inode.target))]
    return spans_in(txn, view.inode.content, 0, view.inode.size)
