"""What Complete makes of parts: which count, the ETag, the checksum, the manifest.

Room: stratum/core. May import: core.checksums, core.errors, core.manifest, core.objects, core.records.

Source: docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html and
.../userguide/checking-object-integrity-upload.html (composite and full-object checksums).
"""

import base64
from collections.abc import Mapping, Sequence
from hashlib import md5
from itertools import pairwise

from stratum.core.checksums import combine_crc, composite
from stratum.core.errors import BadDigest, IncompleteBody, InvalidPart, InvalidPartOrder, PartTooSmall
from stratum.core.manifest import copy_spans
from stratum.core.objects import PartName
from stratum.core.records import Checksum, Part, Upload
from stratum.core.txn import Txn

DEFAULT_ALGORITHM = "crc64nvme"  # of parts and whole when the client named none, as at AWS


def choose_parts(
    names: Sequence[PartName], stored: Mapping[int, Part], part_bytes_min: int, size: int | None
) -> list[Part]:
    """Return the named parts in order.

    Raises InvalidPartOrder, InvalidPart (missing, other ETag or checksum), PartTooSmall (all but the last),
    IncompleteBody if the parts do not add up to `size` bytes.
    """
    numbers = [name.number for name in names]
    if not numbers:
        raise InvalidPart("no part is named")
    if any(high <= low for low, high in pairwise(numbers)):
        raise InvalidPartOrder(str(numbers[:20]))
    parts = [_named(name, stored.get(name.number)) for name in names]
    for name, part in zip(names[:-1], parts[:-1], strict=True):
        if part.size < part_bytes_min:
            raise PartTooSmall(f"part {name.number} has {part.size} bytes, fewer than {part_bytes_min}")
    if size is not None and size != sum(part.size for part in parts):
        raise IncompleteBody(f"the parts do not add up to {size} bytes")
    return parts


def _named(name: PartName, part: Part | None) -> Part:
    if part is None or part.etag != name.etag:
        raise InvalidPart(f"part {name.number}")
    if name.checksum and (part.checksum is None or part.checksum.value != name.checksum):
        raise InvalidPart(f"checksum of part {name.number}")
    return part


def etag_of(parts: Sequence[Part]) -> str:
    """hex(md5(md5 of part 1, md5 of part 2 ...))-N, as every client that checks it computes it."""
    joined = b"".join(bytes.fromhex(part.etag) for part in parts)
    return f"{md5(joined, usedforsecurity=False).hexdigest()}-{len(parts)}"


def checksum_of(upload: Upload, parts: Sequence[Part], claimed: Checksum | None) -> Checksum | None:
    """Return the object's checksum from those of its parts. Raises BadDigest if `claimed` differs from it."""
    algorithm = upload.checksum_algorithm or DEFAULT_ALGORITHM
    kind = upload.checksum_type or "FULL_OBJECT"
    checksums = [part.checksum for part in parts]
    known = [each for each in checksums if each is not None and each.algorithm == algorithm]
    if len(known) < len(parts):
        return None
    raw = [base64.b64decode(each.value) for each in known]
    if kind == "FULL_OBJECT":
        made = Checksum(algorithm, _combined(algorithm, raw, parts), "FULL_OBJECT")
    else:
        made = Checksum(algorithm, composite(algorithm, raw), "COMPOSITE")
    if claimed is not None and claimed.value.partition("-")[0] != made.value.partition("-")[0]:
        raise BadDigest(f"the {algorithm} of the whole object is another")
    return made


def _combined(algorithm: str, raw: Sequence[bytes], parts: Sequence[Part]) -> str:
    total = raw[0]
    for digest, part in zip(raw[1:], parts[1:], strict=True):
        total = combine_crc(algorithm, total, digest, part.size)
    return base64.b64encode(total).decode()


def assemble(txn: Txn, content: int, parts: Sequence[Part]) -> None:
    """Let `content` share the bytes of the parts, one behind the other. No byte moves."""
    at = 0
    for part in parts:
        copy_spans(txn, part.content, 0, part.size, content, at)
        at += part.size
