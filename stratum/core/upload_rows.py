"""The rows of multipart uploads under way: their parts, their end, and the end of all of a bucket.

Room: stratum/core. May import: core.
"""

from collections.abc import Collection
from itertools import islice

from stratum.core.manifest import detach_all, part_user
from stratum.core.records import Bucket, Ended, Part, Upload, decode
from stratum.core.schema import PART, UPLOAD_BY_KEY, bucket_key, ended_key, part_key, upload_by_key, upload_key
from stratum.core.txn import Txn, load, save, scan_records, successor

PARTS_AT_ONCE = 64  # freed in the change that ends their upload; more of them in turns of their own (core/endings.py)
UPLOADS_OF_A_BUCKET_MAX = 20_000  # that may end in one change
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


def end_uploads_of(txn: Txn, bucket: str) -> bool:
    """End every upload of a bucket, as S3 does when an otherwise empty one is deleted.

    False, and nothing has changed: there are more than one change should carry (they can be aborted one by one).
    """
    row_prefix = UPLOAD_BY_KEY + bucket.encode() + b"/"
    rows = list(islice(txn.scan(row_prefix, successor(row_prefix)), UPLOADS_OF_A_BUCKET_MAX + 1))
    if len(rows) > UPLOADS_OF_A_BUCKET_MAX:
        return False
    at_once = PARTS_AT_ONCE
    for row, _ in rows:
        upload_id = row.rpartition(b"\0")[2].decode()
        upload = load(txn, upload_key(upload_id), Upload)
        if upload is None:
            continue
        parts = some_parts(txn, upload_id, 0, at_once + 1)
        if len(parts) > at_once:
            end_and_leave(txn, upload, upload_id, 0)
            continue
        at_once -= len(parts)
        end_with_parts(txn, upload, upload_id, dict(parts))
    return True
