"""The rows of multipart uploads under way: their parts, their end, and the end of all of a bucket.

Room: stratum/core. May import: core.

A bucket may be deleted while it has thousands of uploads: their rows stay, and are ended a slice at a time
(engine/endings.py). Nobody finds them meanwhile, for their bucket is gone; one of the same name is not made before.
"""

from collections.abc import Collection
from itertools import islice

from stratum.core.manifest import detach_all, part_user
from stratum.core.records import Bucket, Ended, Part, Upload, decode
from stratum.core.schema import PART, UPLOAD_BY_KEY, bucket_key, ended_key, part_key, upload_by_key, upload_key
from stratum.core.txn import Txn, load, save, scan_records, successor

PARTS_AT_ONCE = 48  # freed in the change that ends their upload; more of them in turns of their own (core/endings.py)
NUMBER_MAX = 2**32 - 1


def parts_of(txn: Txn, upload_id: str) -> list[tuple[int, Part]]:
    """The parts of an upload with their numbers, in order."""
    prefix = PART + upload_id.encode()
    return [(int.from_bytes(rest, "big"), part) for rest, part in scan_records(txn, prefix, Part)]


def some_parts(txn: Txn, upload_id: str, after: int, count: int) -> list[tuple[int, Part]]:
    """The first `count` parts with numbers above `after`, in order."""
    prefix = PART + upload_id.encode()
    if after >= NUMBER_MAX:
        return []
    rows = islice(txn.scan(part_key(upload_id, after + 1), successor(prefix)), count)
    return [(int.from_bytes(key[len(prefix) :], "big"), decode(key, raw, Part)) for key, raw in rows]


def end_upload(txn: Txn, upload: Upload, upload_id: str) -> None:
    """Forget the upload and free its parts: at once if they are few, else they are left to core/endings.py."""
    parts = some_parts(txn, upload_id, 0, PARTS_AT_ONCE + 1)
    if len(parts) > PARTS_AT_ONCE:
        end_and_leave(txn, upload, upload_id, 0)
    else:
        end_with_parts(txn, upload, upload_id, dict(parts))


def end_with_parts(
    txn: Txn, upload: Upload, upload_id: str, parts: dict[int, Part], taken: Collection[int] = ()
) -> None:
    """Forget the upload and free its parts, but for those whose contents were `taken` over (their numbers)."""
    left = [(part.content, part_user(upload_id, number)) for number, part in parts.items() if number not in taken]
    detach_all(txn, left)
    for number in parts:
        txn.delete(part_key(upload_id, number))
    _forget(txn, upload, upload_id)


def end_and_leave(txn: Txn, upload: Upload, upload_id: str, counted: int) -> None:
    """Forget the upload. Its parts are left to core/endings.py; so many bytes of them count elsewhere already."""
    bucket = load(txn, bucket_key(upload.bucket), Bucket)
    save(txn, ended_key(upload_id), Ended(bucket=bucket.root if bucket else 0, bytes=counted))
    _forget(txn, upload, upload_id)


def _forget(txn: Txn, upload: Upload, upload_id: str) -> None:
    txn.delete(upload_key(upload_id))
    txn.delete(upload_by_key(upload.bucket, upload.key, upload_id))


def has_uploads(txn: Txn, bucket: str) -> bool:
    """Is there a row of an upload under way of a bucket of that name, which may be gone?"""
    prefix = _rows_of(bucket)
    return next(iter(txn.scan(prefix, successor(prefix))), None) is not None


def end_some_uploads(txn: Txn, bucket: str, count: int) -> bool:
    """End the next `count` uploads of a bucket that is, or is being, deleted. True: there are more."""
    prefix = _rows_of(bucket)
    rows = list(islice(txn.scan(prefix, successor(prefix)), count + 1))
    at_once = PARTS_AT_ONCE
    for row, _ in rows[:count]:
        upload_id = row.rpartition(b"\0")[2].decode()
        upload = load(txn, upload_key(upload_id), Upload)
        if upload is None:
            txn.delete(row)  # names nothing, and must not be met again
            continue
        parts = some_parts(txn, upload_id, 0, at_once + 1)
        if len(parts) > at_once:
            end_and_leave(txn, upload, upload_id, 0)
            continue
        at_once -= len(parts)
        end_with_parts(txn, upload, upload_id, dict(parts))
    return len(rows) > count


def some_deserted(txn: Txn, after: bytes, count: int) -> tuple[list[str], bytes]:
    """Of the next `count` buckets with uploads, those that are gone; and behind which key to go on (empty: nowhere)."""
    gone: list[str] = []
    for _ in range(count):
        row = next(iter(txn.scan(max(after, UPLOAD_BY_KEY), successor(UPLOAD_BY_KEY))), None)
        if row is None:
            return gone, b""
        name = row[0][len(UPLOAD_BY_KEY) :].partition(b"/")[0].decode()
        if load(txn, bucket_key(name), Bucket) is None:
            gone.append(name)
        after = successor(_rows_of(name))
    return gone, after


def _rows_of(bucket: str) -> bytes:
    return UPLOAD_BY_KEY + bucket.encode() + b"/"
