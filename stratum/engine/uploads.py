"""Multipart uploads: parts are contents of their own; Complete concatenates their runs without moving a byte.

Room: stratum/engine. May import: core, store, engine.{buckets, endings, ingest, joining, objects, sealing,
sealing_copies, surroundings}.

Invariants
    U1  An upload id is valid until Complete or Abort commits; then the id or the object exists, never both.
    U2  A part replaces the part of the same number; the old part's content is freed in the same change.
"""

import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from functools import partial

import msgspec
import trio

from stratum.core.checksums import encode_base64
from stratum.core.conditions import check_read
from stratum.core.config import Limits
from stratum.core.encryption import CustomerKey
from stratum.core.endings import keep_content
from stratum.core.errors import InvalidArgument, NoSuchKey, NoSuchUpload, RangeNotSatisfiable, TooLarge
from stratum.core.manifest import attach, copy_spans, detach, part_user, truncate
from stratum.core.multipart import algorithm_of, assemble, etag_of
from stratum.core.names import check_key
from stratum.core.namespace import Change
from stratum.core.objects import UNCONDITIONAL, Check, Condition, ObjectView, PartName, UploadSpec, accept
from stratum.core.quotas import Amount, check_room
from stratum.core.records import Checksum, Part, Upload
from stratum.core.schema import UPLOAD_BY_KEY, part_key, take_number, upload_by_key, upload_key
from stratum.core.txn import Txn, load, save, successor
from stratum.core.upload_rows import end_and_leave, end_upload, end_with_parts, parts_of, some_parts
from stratum.core.views import object_at
from stratum.engine.buckets import find_bucket
from stratum.engine.endings import Endings
from stratum.engine.ingest import Ingest, Ingested
from stratum.engine.joining import (
    PARTS_LOOKED_AT,
    Completion,
    PartsChanged,
    PartWatch,
    is_short,
    join,
    object_of,
    stored_parts,
)
from stratum.engine.objects import Objects, check_now
from stratum.engine.sealing_copies import computed, digests_of
from stratum.engine.surroundings import Surroundings

ATTEMPTS = 3  # of a Complete whose parts are replaced while it goes on; then it is done in one change


@dataclass(frozen=True, slots=True)
class UploadPage:
    """A page of uploads under way: (key, id, upload), in key order, then by id."""

    uploads: list[tuple[bytes, str, Upload]]
    common_prefixes: list[bytes]
    next_key: bytes | None
    next_upload: str | None


class Uploads:
    """The verbs of multipart upload."""

    def __init__(self, surroundings: Surroundings, objects: Objects, endings: Endings, limits: Limits) -> None:
        self._around = surroundings
        self._objects = objects
        self._endings = endings
        self._watch = PartWatch()
        self._limits = limits

    async def create(self, bucket: str, key: bytes, spec: UploadSpec) -> str:
        """Begin an upload, return its id. Raises NoSuchBucket, KeyTooLong; NotSealing, NoMasterKey, NoSuchNamedKey."""
        check_key(key)
        upload_id = secrets.token_urlsafe(24)
        upload = Upload(
            bucket=bucket,
            key=key,
            created=self._around.now_ns(),
            owner=spec.owner,
            headers=dict(spec.headers),
            metadata=dict(spec.metadata),
            checksum_algorithm=spec.checksum_algorithm,
            checksum_type=spec.checksum_type,
            tags=dict(spec.tags),
            acl=spec.acl,
            retention=spec.retention,
            legal_hold=spec.legal_hold,
            storage_class=spec.storage_class,
            initiator=spec.principal,
            sealed=None if spec.seal is None else (await self._around.sealing.make(spec.seal)).sealed,
        )

        def change(txn: Txn) -> None:
            find_bucket(txn, bucket)
            save(txn, upload_key(upload_id), upload)
            save(txn, upload_by_key(bucket, key, upload_id), 1)
            self._around.consequences.begun(txn, bucket, upload_id, upload)

        await self._around.meta.write(change)
        return upload_id

    async def get(self, bucket: str, key: bytes, upload_id: str) -> Upload:
        """Return the upload's record. Raises NoSuchBucket, NoSuchUpload."""
        return await self._around.meta.read_durable(lambda txn: _find(txn, bucket, key, upload_id))

    async def part(
        self,
        bucket: str,
        key: bytes,
        upload_id: str,
        number: int,
        body: AsyncIterator[bytes],
        *,
        algorithms: frozenset[str] = frozenset(),
        check: Check = accept,
        customer: CustomerKey | None = None,
        size: int | None = None,
    ) -> Part:
        """Store one part, of `size` bytes if that is known; it survives a cut on return.

        Raises NoSuchUpload, InvalidArgument, TooLarge, QuotaExceeded; CustomerKeyNeeded, CustomerKeyWrong,
        CustomerKeyUnwanted.
        """
        self._check_number(number)
        upload = self._around.meta.read(lambda txn: _find(txn, bucket, key, upload_id))
        self._around.meta.read(lambda txn: _check_fits(txn, bucket, upload_id, number, size or 0))
        run = self._around.sealing.resume(upload.sealed, customer)
        ingest = Ingest(self._around.contents, self._limits, algorithms, self._limits.part_bytes_max, run)
        return await self._keep_part(bucket, key, upload_id, number, await ingest.take(body), check)

    async def _keep_part(
        self, bucket: str, key: bytes, upload_id: str, number: int, staged: Ingested, check: Check
    ) -> Part:
        try:
            checksum = check(staged.digests, staged.size)
            return await self._record_part(bucket, key, upload_id, number, staged, checksum)
        except BaseException:
            with trio.CancelScope(shield=True):
                await self._around.contents.discard(staged.spans)
            raise

    async def _record_part(
        self, bucket: str, key: bytes, upload_id: str, number: int, staged: Ingested, checksum: Checksum | None
    ) -> Part:
        sealed, salt = staged.sealed, staged.run.salt if staged.run else b""
        part = Part(
            content=0,
            size=staged.size,
            etag=staged.etag,
            modified=self._around.now_ns(),
            checksum=checksum,
            stored=sealed.size if sealed else 0,
            salt=salt,
        )

        def change(txn: Txn) -> Part:
            _find(txn, bucket, key, upload_id)
            self._watch.stored(upload_id, number)
            content = take_number(txn, "content")
            self._around.contents.record(txn, content, staged.spans)
            kept = msgspec.structs.replace(part, content=content)
            _replace_part(txn, bucket, upload_id, number, kept)
            return kept

        return await self._around.meta.write(change)

    async def copy_part(
        self,
        bucket: str,
        key: bytes,
        upload_id: str,
        number: int,
        source_bucket: str,
        source_key: bytes,
        byte_range: tuple[int, int] | None,
        source_condition: Condition = UNCONDITIONAL,
        source_version: str | None = None,
        customer: CustomerKey | None = None,
        source_customer: CustomerKey | None = None,
    ) -> Part:
        """Make a part from bytes [first, last + 1) of an object. They are read once for the ETag, and where one of
        both is encrypted they are stored anew; else no byte moves.

        Raises NoSuchUpload, NoSuchKey, NoSuchVersion, MarkerFound, RangeNotSatisfiable (not inside the source),
        TooLarge, PreconditionFailed; CustomerKeyNeeded, CustomerKeyWrong, CustomerKeyUnwanted.
        """
        self._check_number(number)
        upload = await self.get(bucket, key, upload_id)
        algorithm, run = algorithm_of(upload), self._around.sealing.resume(upload.sealed, customer)
        source = await self._objects.open(source_bucket, source_key, source_version, source_customer)
        check_read(source_condition, source.view.inode, copying=True)
        start, stop = byte_range or (0, source.view.size)
        if not 0 <= start <= stop <= source.view.size:
            raise RangeNotSatisfiable(f"Range specified is not valid for source object of size: {source.view.size}")
        if stop - start > self._limits.part_bytes_max:
            raise TooLarge(f"over {self._limits.part_bytes_max} bytes")
        if run is not None or source.key is not None:
            ingest = Ingest(self._around.contents, self._limits, frozenset((algorithm,)), stop - start, run)
            async with aclosing(source.stream(start, stop)) as pieces:
                staged = await ingest.take(pieces)
            return await self._keep_part(bucket, key, upload_id, number, staged, computed(algorithm))
        digests = await digests_of(source, start, stop, {"md5", algorithm})
        checksum = Checksum(algorithm, encode_base64(digests[algorithm]))
        etag, now = digests["md5"].hex(), self._around.now_ns()

        def change(txn: Txn) -> Part:
            _find(txn, bucket, key, upload_id)
            self._watch.stored(upload_id, number)
            current = object_at(txn, source_bucket, source_key, source_version)
            check_read(Condition(if_match=(source.view.etag,)), current.inode, copying=True)
            content = take_number(txn, "content")
            shared = self._objects.shared_content(txn, current.inode)
            copy_spans(txn, shared, start, stop, content, 0)
            if shared != current.inode.content:  # made for this of a symlink, and nobody else's
                truncate(txn, shared, 0)
            part = Part(content=content, size=stop - start, etag=etag, modified=now, checksum=checksum)
            _replace_part(txn, bucket, upload_id, number, part)
            return part

        return await self._around.meta.write(change)

    def _check_number(self, number: int) -> None:
        if not 1 <= number <= self._limits.parts:
            raise InvalidArgument(f"Part number must be an integer between 1 and {self._limits.parts}, inclusive")

    async def complete(
        self,
        bucket: str,
        key: bytes,
        upload_id: str,
        names: Sequence[PartName],
        *,
        condition: Condition = UNCONDITIONAL,
        checksum: Checksum | None = None,
        size: int | None = None,
        principal: str = "",
        customer: CustomerKey | None = None,
    ) -> ObjectView:
        """Make the object from the named parts, free the others, end the upload (U1).

        A Complete that is sent again, because its answer was lost, finds the object that it made.
        Raises NoSuchUpload, InvalidPart, InvalidPartOrder, PartTooSmall, BadDigest, WrongSize, PreconditionFailed;
        CustomerKeyNeeded, CustomerKeyWrong, CustomerKeyUnwanted.
        """
        self._check_customer(bucket, key, upload_id, customer)
        asked = Completion(
            bucket=bucket,
            key=key,
            upload_id=upload_id,
            names=names,
            condition=condition,
            checksum=checksum,
            size=size,
            principal=principal,
        )
        if not self._around.meta.read(lambda txn: is_short(txn, upload_id)):
            for _ in range(ATTEMPTS):
                with suppress(PartsChanged):
                    return await self._complete_in_steps(asked)
        return await self._objects.commit(partial(self._complete_at_once, asked))

    def _complete_at_once(self, asked: Completion, txn: Txn) -> tuple[ObjectView, list[Change]]:
        """Inside a change: all of a Complete."""
        bucket, key, upload_id = asked.bucket, asked.key, asked.upload_id
        try:
            upload = _find(txn, bucket, key, upload_id)
        except NoSuchUpload:
            return _completed_before(txn, asked), []
        stored = dict(parts_of(txn, upload_id))
        content = take_number(txn, "content")
        new, parts = object_of(asked, upload, stored, self._limits.part_bytes_min, content)
        check_now(txn, bucket, key, asked.condition)
        assemble(txn, content, upload_id, asked.numbers(), parts)
        view, changes = self._objects.publish(txn, bucket, key, new)
        end_with_parts(txn, upload, upload_id, stored, frozenset(asked.numbers()))
        return view, changes

    async def _complete_in_steps(self, asked: Completion) -> ObjectView:
        """As `complete`, of many parts. Raises also PartsChanged."""
        meta, find = self._around.meta, partial(_find, bucket=asked.bucket, key=asked.key, upload_id=asked.upload_id)
        with self._watch.of(asked.upload_id) as touched, self._endings.putting_together() as content:
            try:
                upload, stored = await stored_parts(meta, find, asked.upload_id)
            except NoSuchUpload:  # it was completed a moment ago, perhaps
                return await meta.read_durable(lambda txn: _completed_before(txn, asked))
            new, parts = await trio.to_thread.run_sync(
                object_of, asked, upload, stored, self._limits.part_bytes_min, content
            )
            await meta.read_durable(lambda txn: check_now(txn, asked.bucket, asked.key, asked.condition))
            await join(meta, parts, content, touched)
            counted = sum(part.size for part in stored.values() if part.bucket)

            def change(txn: Txn) -> tuple[ObjectView, list[Change]]:
                try:
                    find(txn)
                except NoSuchUpload:
                    return _completed_before(txn, asked), []
                if touched:
                    raise PartsChanged
                check_now(txn, asked.bucket, asked.key, asked.condition)
                keep_content(txn, content)
                view, changes = self._objects.publish(txn, asked.bucket, asked.key, new)
                end_and_leave(txn, upload, asked.upload_id, counted)
                return view, changes

            return await self._objects.commit(change)

    def _check_customer(self, bucket: str, key: bytes, upload_id: str, customer: CustomerKey | None) -> None:
        """Complete vouches for checksums of the bytes: who may not read them may not ask for it, as at AWS."""
        found = self._around.meta.read(lambda txn: _find_or_none(txn, bucket, key, upload_id))
        if found is not None:
            self._around.sealing.open_any(found.sealed, customer)

    async def abort(self, bucket: str, key: bytes, upload_id: str) -> None:
        """End the upload and free its parts. Raises NoSuchUpload."""

        def change(txn: Txn) -> None:
            end_upload(txn, _find(txn, bucket, key, upload_id), upload_id)

        await self._around.meta.write(change)
        self._endings.wake()

    async def list_parts(
        self, bucket: str, key: bytes, upload_id: str, after: int, limit: int
    ) -> tuple[Upload, list[tuple[int, Part]], bool]:
        """Return (upload, parts with numbers above `after`, are there more). Raises NoSuchUpload."""

        def look(txn: Txn) -> tuple[Upload, list[tuple[int, Part]]]:
            wanted = min(limit + 1 - len(parts), PARTS_LOOKED_AT)
            return _find(txn, bucket, key, upload_id), some_parts(txn, upload_id, after, wanted)

        parts: list[tuple[int, Part]] = []
        while True:
            upload, found = await self._around.meta.read_durable(look)
            parts += found
            if len(found) < PARTS_LOOKED_AT or len(parts) > limit:
                return upload, parts[:limit], len(parts) > limit
            after = found[-1][0]
            await trio.lowlevel.checkpoint()

    async def list_uploads(
        self, bucket: str, prefix: bytes, delimiter: bytes, key_marker: bytes, upload_marker: str, limit: int
    ) -> UploadPage:
        """Return a page of uploads after (key_marker, upload_marker). Raises NoSuchBucket."""

        def query(txn: Txn) -> UploadPage:
            find_bucket(txn, bucket)
            return _upload_page(txn, bucket, prefix, delimiter, (key_marker, upload_marker), limit)

        return await self._around.meta.read_durable(query)


def _find(txn: Txn, bucket: str, key: bytes, upload_id: str) -> Upload:
    find_bucket(txn, bucket)
    known = upload_id.isascii() and 0 < len(upload_id) <= 64
    upload = load(txn, upload_key(upload_id), Upload) if known else None
    if upload is None or upload.bucket != bucket or upload.key != key:
        raise NoSuchUpload(upload_id)
    return upload


def _check_fits(txn: Txn, bucket: str, upload_id: str, number: int, size: int) -> None:
    """Is there room in the quotas for the part? Raises QuotaExceeded."""
    old = load(txn, part_key(upload_id, number), Part)
    check_room(txn, find_bucket(txn, bucket).root, Amount(size - (old.size if old else 0)))


def _find_or_none(txn: Txn, bucket: str, key: bytes, upload_id: str) -> Upload | None:
    try:
        return _find(txn, bucket, key, upload_id)
    except NoSuchUpload:
        return None


def _completed_before(txn: Txn, asked: Completion) -> ObjectView:
    """The object that Complete made of this upload and these parts, if the key still shows it. Raises NoSuchUpload."""
    try:
        view = object_at(txn, asked.bucket, asked.key)
    except NoSuchKey as error:
        raise NoSuchUpload(asked.upload_id) from error
    names = list({name.number: name for name in asked.names}.values())
    if not view.inode.upload or view.inode.upload != asked.upload_id or view.etag != etag_of(names):
        raise NoSuchUpload(asked.upload_id)
    return view


def _replace_part(txn: Txn, bucket: str, upload_id: str, number: int, part: Part) -> None:
    old = load(txn, part_key(upload_id, number), Part)
    part = msgspec.structs.replace(part, bucket=find_bucket(txn, bucket).root)
    attach(txn, part.content, part_user(upload_id, number))
    save(txn, part_key(upload_id, number), part)
    if old is not None:
        detach(txn, old.content, part_user(upload_id, number))


def _upload_page(
    txn: Txn, bucket: str, prefix: bytes, delimiter: bytes, after: tuple[bytes, str], limit: int
) -> UploadPage:
    uploads: list[tuple[bytes, str, Upload]] = []
    prefixes: list[bytes] = []
    last: tuple[bytes, str] | None = None
    base = UPLOAD_BY_KEY + bucket.encode() + b"/"
    start: bytes | None = base + max(prefix, after[0])
    while start is not None:
        rows, start = txn.scan(start, successor(base + prefix)), None
        for row, _ in rows:
            key, _, raw_id = row[len(base) :].rpartition(b"\0")
            place = (key, raw_id.decode())
            if not _is_after(place, after):
                continue
            head, found, _ = key[len(prefix) :].partition(delimiter) if delimiter else (key, b"", b"")
            folder = prefix + head + delimiter
            shown = bool(found) and after[0].startswith(folder)  # on an earlier page
            if not shown and len(uploads) + len(prefixes) >= limit:
                return UploadPage(uploads, prefixes, *(last or (b"", "")))
            if found:
                if not shown:
                    prefixes.append(folder)
                    last = (folder, "")
                start = successor(base + folder)  # what lies below it is not read
                break
            upload = load(txn, upload_key(place[1]), Upload)
            if upload is not None:
                uploads.append((*place, upload))
            last = place
    return UploadPage(uploads, prefixes, None, None)


def _is_after(place: tuple[bytes, str], marker: tuple[bytes, str]) -> bool:
    """An upload marker counts only with a key marker; without one, all uploads of the marked key are passed over."""
    if not marker[1]:
        return place[0] > marker[0] if marker[0] else True
    return place > marker
