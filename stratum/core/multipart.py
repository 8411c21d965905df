"""What Complete makes of parts: which count, the ETag, the checksum, the manifest.

Room: stratum/core. May import: core.checksums, core.errors, core.manifest, core.objects, core.records.

Source: docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html and
.../userguide/checking-object-integrity-upload.html (composite and full-object checksums).
"""

import base64
from collections.abc import Mapping, Sequence
from hashlib import md5
from itertools import accumulate, pairwise

from stratum.core.checksums import FULL_OBJECT, combine_crc, composite
from stratum.core.errors import BadDigest, InvalidPart, InvalidPartOrder, PartTooSmall, WrongSize
from stratum.core.manifest import part_user, take_over
from stratum.core.objects import PartName
from stratum.core.records import Checksum, Part, Upload
from stratum.core.txn import Txn

DEFAULT_ALGORITHM = "crc64nvme"  # of parts and whole when the client named none, as at AWS


def choose_parts(
    names: Sequence[PartName], stored: Mapping[int, Part], part_bytes_min: int, size: int | None
) -> list[Part]:
    """Return the named parts in order; of a part that is named twice in a row (it was sent twice) the last.

    Raises InvalidPartOrder, InvalidPart (missing, other ETag or checksum), PartTooSmall (all but the last),
    WrongSize if the parts do not add up to `size` bytes.
    """
    numbers = [name.number for name in names]
    if not numbers:
        raise InvalidPart("no part is named")
    if any(high < low for low, high in pairwise(numbers)):
        raise InvalidPartOrder(str(numbers[:20]))
    names = list({name.number: name for name in names}.values())
    parts = [_named(name, stored.get(name.number)) for name in names]
    for name, part in zip(names[:-1], parts[:-1], strict=True):
        if part.size < part_bytes_min:
            raise PartTooSmall(f"part {name.number} has {part.size} bytes, fewer than {part_bytes_min}")
    total = sum(part.size for part in parts)
    if size is not None and size != total:
        raise WrongSize(f"The x-amz-mp-object-size of {size} does not match what was computed: {total}")
    return parts


def _named(name: PartName, part: Part | None) -> Part:
    if part is None or part.etag != name.etag:
        raise InvalidPart(f"part {name.number}")
    if name.checksum and not _is_checksum(name, part.checksum):
        raise InvalidPart(f"checksum of part {name.number}")
    return part


def _is_checksum(name: PartName, stored: Checksum | None) -> bool:
    """Of an upload without an algorithm of its own, only checksums of the default one are kept.

    What a client names of another was verified when the part came; the ETag, its MD5, says that these are the bytes.
    """
    if stored is None:
        return False
    if name.algorithm and name.algorithm != stored.algorithm:
        return stored.algorithm == DEFAULT_ALGORITHM
    return stored.value == name.checksum


def etag_of(parts: Sequence[Part] | Sequence[PartName]) -> str:
    """hex(md5(md5 of part 1, md5 of part 2 ...))-N, as every client that checks it computes it. Raises InvalidPart."""
    try:
        joined = b"".join(bytes.fromhex(part.etag) for part in parts)
    except ValueError as error:
        raise InvalidPart("the ETag of a part is no MD5") from error
    return f"{md5(joined, usedforsecurity=False).hexdigest()}-{len(parts)}"


def checksum_of(upload: Upload, parts: Sequence[Part], claimed: Checksum | None) -> Checksum | None:
    """Return the object's checksum from those of its parts; None where a part has none (one stored by 0.1).

    Raises BadDigest if `claimed` (kind empty: not said) is of another algorithm or type, or differs.
    """
    algorithm = algorithm_of(upload)
    kind = upload.checksum_type or FULL_OBJECT
    if claimed is not None and (claimed.algorithm != algorithm or claimed.kind not in ("", kind)):
        raise BadDigest(f"The upload was created using a {kind} {algorithm} checksum.")
    known = part_checksums_of(upload, parts)
    if not known:
        return None
    raw = [base64.b64decode(each) for each in known]
    if kind == FULL_OBJECT:
        made = Checksum(algorithm, _combined(algorithm, raw, parts), FULL_OBJECT)
    else:
        made = Checksum(algorithm, composite(algorithm, raw), kind)
    if claimed is not None and claimed.value not in (made.value, made.value.partition("-")[0]):
        raise BadDigest(f"The {algorithm} you specified did not match the calculated checksum.")
    return made


def algorithm_of(upload: Upload) -> str:
    """The algorithm whose checksum every part of an upload gets, whatever else a client sends with it."""
    return upload.checksum_algorithm or DEFAULT_ALGORITHM


def part_checksums_of(upload: Upload, parts: Sequence[Part]) -> tuple[str, ...]:
    """The checksums of the parts, base64, in order (Inode.part_checksums); nothing if one part has none."""
    algorithm = algorithm_of(upload)
    known = [part.checksum.value for part in parts if part.checksum and part.checksum.algorithm == algorithm]
    return tuple(known) if len(known) == len(parts) else ()


def _combined(algorithm: str, raw: Sequence[bytes], parts: Sequence[Part]) -> str:
    total = raw[0]
    for digest, part in zip(raw[1:], parts[1:], strict=True):
        total = combine_crc(algorithm, total, digest, part.size)
    return base64.b64encode(total).decode()


def assemble(txn: Txn, content: int, upload_id: str, numbers: Sequence[int], parts: Sequence[Part]) -> None:
    """Let `content` have the bytes of the parts of those numbers, one behind the other. No byte moves.

    The contents of the parts are gone then; their rows are the caller's.
    """
    offsets = accumulate((part.stored or part.size for part in parts), initial=0)
    users = (part_user(upload_id, number) for number in numbers)
    take_over(txn, [(part.content, user, at) for part, user, at in zip(parts, users, offsets, strict=False)], content)
