"""Buckets: directories of the root with a name S3 allows and a birth certificate.

Room: stratum/engine. May import: core, store, engine.{changes, endings}.
"""

from collections.abc import Callable, Mapping

from stratum.core.errors import BucketExists, BucketNotEmpty, NoSuchBucket
from stratum.core.names import check_bucket_name
from stratum.core.namespace import Change, DirectoryMaker, is_empty, make_directory, remove_directory
from stratum.core.records import Acl, Bucket
from stratum.core.schema import BUCKET, CONFIGURATION, ROOT_INODE, VERSION, bucket_key, configuration_key
from stratum.core.txn import Txn, load, save, scan_records, successor
from stratum.core.upload_rows import end_some_uploads, has_uploads
from stratum.core.versions import ENABLED
from stratum.engine.changes import Changes
from stratum.engine.endings import UPLOADS_AT_ONCE, Endings
from stratum.store.meta import Meta


def find_bucket(txn: Txn, name: str) -> Bucket:
    """Return the bucket. Raises NoSuchBucket."""
    bucket = load(txn, bucket_key(name), Bucket)
    if bucket is None:
        raise NoSuchBucket(name)
    return bucket


class Buckets:
    """Create, delete and list buckets."""

    def __init__(self, meta: Meta, changes: Changes, endings: Endings, maker: Callable[[], DirectoryMaker]) -> None:
        self._meta = meta
        self._endings = endings
        self._changes = changes
        self._maker = maker

    async def create(
        self,
        name: str,
        owner: str,
        *,
        tell: bool = True,
        lock: bool = False,
        acl: Acl | None = None,
        told: Mapping[str, object] | None = None,
    ) -> Bucket:
        """Make an empty bucket, durable on return. Raises InvalidBucketName, BucketExists (name, owner).

        `lock`: with object lock, and so with versioning. `told`: kind -> configuration that it has from birth.
        `tell=False` for the mount: the kernel knows, and holds a lock that an invalidation would wait for.
        """
        check_bucket_name(name)
        maker = self._maker()

        def change(txn: Txn) -> tuple[Bucket, list[Change]] | None:
            old = load(txn, bucket_key(name), Bucket)
            if old is not None:
                raise BucketExists(name, old.owner)
            if has_uploads(txn, name):
                return None  # of one that was deleted a moment ago
            root, changes = make_directory(txn, ROOT_INODE, name.encode() + b"/", maker, explicit=True)
            versioning = ENABLED if lock else ""
            bucket = Bucket(root=root, created=maker.now, owner=owner, versioning=versioning, lock=lock, acl=acl)
            save(txn, bucket_key(name), bucket)
            for kind, record in (told or {}).items():
                save(txn, configuration_key(name, kind), record)
            return bucket, changes

        while (made := await self._meta.write(change)) is None:
            await self._endings.end_uploads_of(name)
        bucket, changes = made
        if tell:
            self._changes.notify(changes)
            await self._changes.taken_in()
        return bucket

    async def delete(self, name: str, *, tell: bool = True) -> None:
        """Delete an empty bucket and its uploads; `tell` as in `create`. Raises NoSuchBucket, BucketNotEmpty."""
        now = self._maker().now

        def change(txn: Txn) -> tuple[list[Change], bool]:
            bucket = find_bucket(txn, name)
            versions = VERSION + bucket.root.to_bytes(8, "big")
            if not is_empty(txn, bucket.root) or any(True for _ in txn.scan(versions, successor(versions))):
                raise BucketNotEmpty(name)
            more = end_some_uploads(txn, name, UPLOADS_AT_ONCE)
            txn.delete(bucket_key(name))
            told = CONFIGURATION + name.encode() + b"\0"
            for key in [key for key, _ in txn.scan(told, successor(told))]:
                txn.delete(key)
            return remove_directory(txn, ROOT_INODE, name.encode() + b"/", now), more

        changes, more = await self._meta.write(change)
        if more:
            self._endings.bucket_deleted(name)
        self._endings.wake()
        if tell:
            self._changes.notify(changes)
            await self._changes.taken_in()

    async def amend(self, name: str, change: Callable[[Bucket], Bucket]) -> Bucket:
        """Replace the bucket's record by what `change` makes of it. Raises NoSuchBucket, and what `change` raises."""

        def apply(txn: Txn) -> Bucket:
            bucket = change(find_bucket(txn, name))
            save(txn, bucket_key(name), bucket)
            return bucket

        return await self._meta.write(apply)

    async def get(self, name: str) -> Bucket:
        """Return the bucket. Raises NoSuchBucket."""
        return await self._meta.read_durable(lambda txn: find_bucket(txn, name))

    async def list(self) -> list[tuple[str, Bucket]]:
        """All buckets, by name."""
        return await self._meta.read_durable(
            lambda txn: [(name.decode(), bucket) for name, bucket in scan_records(txn, BUCKET, Bucket)]
        )
