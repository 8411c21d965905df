"""What is made of a put, a copy, a Complete and a rename: the record of a new version.

Room: stratum/engine. May import: core.
"""

from dataclasses import dataclass, field

from stratum.core.checksums import FULL_OBJECT
from stratum.core.directories import DirectoryMaker
from stratum.core.errors import SourceChanged
from stratum.core.objects import CopySpec, RenameSpec
from stratum.core.records import Acl, Checksum, Inode, Kind, Retention, Sealed
from stratum.core.replication import without_mark

OBJECT_MODE = 0o100644
COPIED = "ObjectCreated:Copy"  # also of a rename: S3 has no event of its own for it


@dataclass(frozen=True, slots=True)
class KnownChecksum:
    """A checksum that was computed of a content before the change that wants it."""

    content: int
    etag: str
    checksum: Checksum


@dataclass(frozen=True, slots=True, kw_only=True)
class NewObject:
    """What a put, a copy and a complete have in common: everything of the new inode but its birth."""

    content: int
    size: int
    etag: str
    headers: dict[str, str]
    metadata: dict[str, str]
    checksum: Checksum | None = None
    parts: tuple[int, ...] = ()
    part_checksums: tuple[str, ...] = ()
    owner: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    acl: Acl | None = None
    retention: Retention | None = None
    legal_hold: bool = False
    sealed: Sealed | None = None
    storage_class: str = ""
    upload: str = ""
    modified: int = 0  # ns; 0: now
    event: str = "ObjectCreated:Put"
    principal: str = ""


def born(new: NewObject, maker: DirectoryMaker) -> Inode:
    """The record of a new version; its place, its version id and a bucket's default retention are still to be added."""
    modified = new.modified or maker.now
    return Inode(
        kind=Kind.OBJECT,
        mode=OBJECT_MODE,
        uid=maker.uid,
        gid=maker.gid,
        nlink=1,
        size=new.size,
        atime=maker.now,
        mtime=modified,
        ctime=maker.now,
        btime=maker.now,
        content=new.content,
        etag=new.etag,
        headers=new.headers,
        metadata=new.metadata,
        checksum=new.checksum,
        parts=new.parts,
        generation=1,
        owner=new.owner,
        tags=new.tags,
        acl=new.acl,
        legal_hold=new.legal_hold,
        sealed=new.sealed,
        storage_class=new.storage_class,
        part_checksums=new.part_checksums,
        upload=new.upload,
    )


def renamed(source: Inode, content: int, spec: RenameSpec) -> NewObject:
    """The version that a rename makes under the new key: all of the source, its Last-Modified and lock included."""
    return NewObject(
        content=content,
        size=source.size,
        etag=source.etag,
        headers=source.headers,
        metadata=source.metadata,
        checksum=source.checksum,
        parts=source.parts,
        part_checksums=source.part_checksums,
        owner=source.owner,
        tags=source.tags,
        acl=source.acl,
        retention=source.retention,
        legal_hold=source.legal_hold,
        sealed=source.sealed,
        storage_class=source.storage_class,
        upload=source.upload,
        modified=source.mtime,
        event=COPIED,
        principal=spec.principal,
    )


def copied(
    spec: CopySpec, source: Inode, *, content: int, etag: str, checksum: Checksum | None, sealed: Sealed | None
) -> NewObject:
    """The version that a copy makes: the source's bytes and size, and of the rest what the spec does not replace."""
    return NewObject(
        content=content,
        size=source.size,
        etag=etag,
        headers=spec.headers_of(source),
        metadata=without_mark(source.metadata) if spec.metadata is None else dict(spec.metadata),
        checksum=checksum,
        parts=source.parts,
        part_checksums=source.part_checksums if checksum == source.checksum else (),
        owner=spec.owner,
        tags=dict(source.tags if spec.tags is None else spec.tags),
        acl=spec.acl,
        retention=spec.retention,
        legal_hold=spec.legal_hold,
        sealed=sealed,
        storage_class=spec.storage_class,
        event=COPIED,
        principal=spec.principal,
    )


def copied_checksum(spec: CopySpec, source: Inode, known: KnownChecksum | None) -> Checksum | None:
    """The checksum that a copy is to have. Raises SourceChanged if it was computed of another source."""
    if not spec.checksum_algorithm or has_whole(source, spec.checksum_algorithm):
        return source.checksum
    if known is None or (known.content, known.etag) != (source.content, source.etag):
        raise SourceChanged("the source of the copy changed meanwhile")
    return known.checksum


def has_whole(source: Inode, algorithm: str) -> bool:
    """Is its checksum one of that algorithm over all bytes?"""
    checksum = source.checksum
    return checksum is not None and (checksum.algorithm, checksum.kind) == (algorithm, FULL_OBJECT)
