"""How a mounted file becomes its next published version: one change of the index.

Room: stratum/engine. May import: core, engine.{file_mounted, file_sealed, file_versions, locking}.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from stratum.core.locks import is_locked
from stratum.core.manifest import Span, attach, copy_spans, detach, inode_user, punch, users
from stratum.core.records import Inode, Sealed
from stratum.core.schema import inode_key, not_published_key, take_number
from stratum.core.sealed_pages import plain_holes, stored_holes
from stratum.core.txn import Txn, load, save
from stratum.core.versions import arrived, keep_copy
from stratum.engine.file_mounted import Mounted
from stratum.engine.file_sealed import begun_anew
from stratum.engine.file_versions import place_of, told_written
from stratum.engine.locking import retention_of_new


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """What a file becomes. `mtime` None: as the record says."""

    number: int
    size: int
    mtime: int | None
    ctime: int
    etag: str
    zeros: Sequence[tuple[int, int]]
    spans: Sequence[Span]
    sealed: Sealed | None = None  # how the bytes of `spans`, and those that stay, are encrypted
    anew: bool = False  # nothing of what was published before is part of it
    keep: bool = True  # what was published before becomes a version of its own, where the bucket has versioning


def publish(txn: Txn, mounted: Mounted, new: Publication) -> Inode | None:
    """Inside a change: make `new` the published version. Returns the record; None if the inode is gone."""
    old = load(txn, inode_key(new.number), Inode)
    if old is None:
        return None
    contents, place = mounted.contents, place_of(txn, mounted, new.number, old)
    if place is not None and (new.keep or is_locked(old, mounted.now_ns())):
        keep_copy(txn, place.place, new.number, old)
    if new.anew:
        old = begun_anew(txn, new.number, old)
    content = _own_content(txn, new.number, old, needed=bool(new.spans or new.zeros))
    resting = resting_bytes(old)
    for start, stop in new.zeros:
        resting -= punch(txn, content, start, stop)
    if new.spans:
        resting += contents.record(txn, content, new.spans)
    holes = max(new.size - resting, 0) if new.sealed is None else plain_holes(max(new.sealed.size - resting, 0))
    inode = msgspec.structs.replace(
        old,
        size=new.size,
        mtime=old.mtime if new.mtime is None else new.mtime,
        ctime=max(old.ctime, new.ctime),
        content=content,
        etag=new.etag,
        sealed=new.sealed,
        checksum=None,
        parts=(),
        generation=old.generation + 1,
        part_checksums=(),
        upload="",
        holes=holes,  # where copies are not told their holes, fewer are known than there are
    )
    if place is not None:
        inode = arrived(txn, place.place, inode)
        retention = retention_of_new(txn, place.bucket, place.place.bucket, mounted.now_ns())
        inode = msgspec.structs.replace(inode, retention=retention, legal_hold=False)
    save(txn, inode_key(new.number), inode)
    if not old.etag:
        txn.delete(not_published_key(new.number))
    if place is not None:
        told_written(txn, mounted, place, new.number, inode)
    return inode


def resting_bytes(inode: Inode) -> int:
    """Stored bytes of a file, as far as known."""
    if not inode.content:
        return 0
    return inode.size - inode.holes if inode.sealed is None else inode.sealed.size - stored_holes(inode.holes)


def _own_content(txn: Txn, number: int, inode: Inode, *, needed: bool) -> int:
    """A content that nobody but the inode uses: a clone if it is shared (manifest M4), made if there is none."""
    if inode.content and (not needed or users(txn, inode.content) == 1):
        return inode.content
    if not needed:
        return 0
    content = take_number(txn, "content")
    attach(txn, content, inode_user(number))
    if inode.content:
        copy_spans(txn, inode.content, 0, 2**62, content, 0)
        detach(txn, inode.content, inode_user(number))
    return content
