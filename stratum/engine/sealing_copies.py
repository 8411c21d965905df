"""What a copy takes over of its source, where one of them is encrypted.

Room: stratum/engine. May import: core, engine.{ingest, new_objects, open_object, sealing, surroundings}.

Two plain objects share their bytes. Two encrypted ones share them too: the copy has the same object key, wrapped for
its own holder. Between plain and encrypted, and from a hidden ETag to a true one, bytes are read and stored anew.
"""

from collections.abc import Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass

import msgspec
import trio

from stratum.core.checksums import FULL_OBJECT, Digests, encode_base64
from stratum.core.config import Limits
from stratum.core.encryption import SSE_S3, SealSpec
from stratum.core.errors import SourceChanged
from stratum.core.objects import Check, CopySpec
from stratum.core.records import Checksum, Inode, Sealed
from stratum.engine.ingest import Ingest, Ingested
from stratum.engine.new_objects import KnownChecksum, has_whole
from stratum.engine.open_object import OpenObject
from stratum.engine.sealing import ObjectKey
from stratum.engine.surroundings import Surroundings


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What is ready for the change that makes the copy. `staged`: bytes stored anew; None: they are shared.

    `described`: the source as the copy is to take after it, once `staged`; None: as it is at the change.
    """

    source: Inode
    sealed: Sealed | None = None
    etag: str = ""
    staged: Ingested | None = None
    described: Inode | None = None
    known: KnownChecksum | None = None

    def checked(self, current: Inode) -> Inode:
        """The source, whose bytes the copy shares. Raises SourceChanged if it is no longer what was looked at."""
        sealed = current.sealed is not None or self.source.sealed is not None
        if sealed and (current.sealed, current.content) != (self.source.sealed, self.source.content):
            raise SourceChanged("the source of the copy changed meanwhile")
        return current


async def take_over(around: Surroundings, limits: Limits, source: OpenObject, spec: CopySpec) -> Taken:
    """Get ready what a copy needs beside records. Raises what reading, storing and wrapping raise."""
    inode = source.view.inode
    if _must_move(inode.sealed, spec.seal):
        return await _moved(around, limits, source, spec)
    known = await _checksum(source, spec.checksum_algorithm)
    if source.key is None or spec.seal is None:
        return Taken(source=inode, etag=inode.etag, known=known)
    sealed = await around.sealing.rewrap(source.key, spec.seal)
    return Taken(source=inode, sealed=sealed, etag=_etag(source.key, sealed, inode), known=known)


def _must_move(source: Sealed | None, wanted: SealSpec | None) -> bool:
    if source is None or wanted is None:
        return source is not None or wanted is not None
    return wanted.scheme == SSE_S3 != source.scheme


def _etag(key: ObjectKey, sealed: Sealed, source: Inode) -> str:
    """A hidden ETag stays; a true one is hidden where the copy's scheme wants that."""
    return source.etag if key.sealed.scheme != SSE_S3 else ObjectKey(key.secret, sealed).etag(source.etag)


async def _moved(around: Surroundings, limits: Limits, source: OpenObject, spec: CopySpec) -> Taken:
    inode = source.view.inode
    run = await around.sealing.begin(spec.seal)
    true = inode.sealed is None or inode.sealed.scheme == SSE_S3
    algorithm = _wanted_algorithm(inode, spec.checksum_algorithm, keeps_parts=true)
    ingest = Ingest(around.contents, limits, frozenset({algorithm} - {""}), limits.object_bytes_max, run)
    async with aclosing(source.stream(0, source.view.size)) as pieces:
        staged = await ingest.take(pieces)
    checksum = Checksum(algorithm, encode_base64(staged.digests[algorithm])) if algorithm else inode.checksum
    described = msgspec.structs.replace(inode, checksum=checksum, sealed=None)
    if not true:  # its parts and its ETag say nothing of these bytes
        described = msgspec.structs.replace(described, parts=(), part_checksums=(), etag=staged.md5)
    elif checksum != inode.checksum:
        described = msgspec.structs.replace(described, part_checksums=())
    etag = described.etag if run is None else run.key.etag(described.etag)
    return Taken(source=inode, sealed=staged.sealed, etag=etag, staged=staged, described=described)


def _wanted_algorithm(source: Inode, asked: str, *, keeps_parts: bool) -> str:
    """Of which a checksum of the whole has to be computed; empty: the source's is right for the copy, too."""
    if asked:
        return "" if has_whole(source, asked) else asked
    composite = source.checksum is not None and source.checksum.kind != FULL_OBJECT
    return source.checksum.algorithm if source.checksum is not None and composite and not keeps_parts else ""


async def _checksum(source: OpenObject, algorithm: str) -> KnownChecksum | None:
    """Read the source for the checksum that the copy is to have, if that is another than it has already."""
    inode = source.view.inode
    if not algorithm or has_whole(inode, algorithm):
        return None
    raw = (await digests_of(source, 0, source.view.size, [algorithm]))[algorithm]
    return KnownChecksum(inode.content, inode.etag, Checksum(algorithm, encode_base64(raw)))


def computed(algorithm: str) -> Check:
    """A Check that refuses nothing and has the checksum of that algorithm stored."""
    return lambda digests, size: Checksum(algorithm, encode_base64(digests[algorithm]))


async def digests_of(source: OpenObject, start: int, stop: int, algorithms: Iterable[str]) -> Mapping[str, bytes]:
    """Return {algorithm: raw digest} of bytes [start, stop) of an open object; reads them once."""
    digests = Digests(algorithms)
    async with aclosing(source.stream(start, stop)) as pieces:
        async for piece in pieces:
            await trio.to_thread.run_sync(digests.update, piece)
    return digests.results()
