"""The rows of multipart uploads under way: their parts, their end, and the end of all of a bucket.

Room: stratum/core. May import: core.
"""

from collections.abc import Collection

from stratum.core.manifest import detach_all, part_user
from stratum.core.records import Part, Upload
from stratum.core.schema import PART, UPLOAD_BY_KEY, part_key, upload_by_key, upload_key
from stratum.core.txn import Txn, load, scan_records, successor

ROWS_OF_A_BUCKET_MAX = 20_000  # uploads and parts that may end in one change


def parts_of(txn: Txn, upload_id: str) -> list[tuple[int, Part]]:
    """The parts of an upload with their numbers, in order."""
    prefix = PART + upload_id.encode()
    return [(int.from_bytes(rest, "big"), part) for rest, part in scan_records(txn, prefix, Part)]


def end_upload(txn: Txn, upload: Upload, upload_id: str, parts: dict[int, Part], taken: Collection[int] = ()) -> None:
    """Forget the upload and free its parts, but for those whose contents were `taken` over (their numbers)."""
    left = [(part.content, part_user(upload_id, number)) for number, part in parts.items() if number not in taken]
    detach_all(txn, left)
    for number in parts:
        txn.delete(part_key(upload_id, number))
    txn.delete(upload_key(upload_id))
    txn.delete(upload_by_key(upload.bucket, upload.key, upload_id))


def end_uploads_of(txn: Txn, bucket: str) -> bool:
    """End every upload of a bucket, as S3 does when an otherwise empty one is deleted.

    False, and nothing has changed: there are more than one change should carry (they can be aborted one by one).
    """
    row_prefix = UPLOAD_BY_KEY + bucket.encode() + b"/"
    found: list[tuple[Upload, str, dict[int, Part]]] = []
    rows = 0
    for row, _ in txn.scan(row_prefix, successor(row_prefix)):
        upload_id = row.rpartition(b"\0")[2].decode()
        upload = load(txn, upload_key(upload_id), Upload)
        if upload is None:
            continue
        parts = dict(parts_of(txn, upload_id))
        rows += 1 + len(parts)
        if rows > ROWS_OF_A_BUCKET_MAX:
            return False
        found.append((upload, upload_id, parts))
    for upload, upload_id, parts in found:
        end_upload(txn, upload, upload_id, parts)
    return True
