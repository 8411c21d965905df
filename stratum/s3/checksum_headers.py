"""Headers that speak of the checksum of an object to come, not of the body they come with.

Room: stratum/s3. May import: core.{checksums, records}, s3.errors.

Source: docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html
"""

from collections.abc import Mapping

from stratum.core.checksums import ALGORITHMS
from stratum.core.records import Checksum
from stratum.s3.errors import S3Error

ALGORITHM, TYPE, PREFIX = "x-amz-checksum-algorithm", "x-amz-checksum-type", "x-amz-checksum-"
TYPES = ("COMPOSITE", "FULL_OBJECT")


def wanted_algorithm(headers: Mapping[str, str]) -> str:
    """Return the algorithm that a copy or an upload asks for, empty if none. Raises InvalidRequest."""
    algorithm = headers.get(ALGORITHM, "").lower()
    if algorithm and algorithm not in ALGORITHMS:
        valid = ", ".join(name.upper() for name in ALGORITHMS)
        message = f"Checksum algorithm provided is unsupported. Please try again with any of the valid types: [{valid}]"
        raise S3Error("InvalidRequest", message)
    return algorithm


def checksum_plan(headers: Mapping[str, str]) -> tuple[str, str]:
    """(algorithm, type) of a multipart upload, both empty where none was asked for. Raises InvalidRequest."""
    algorithm, kind = wanted_algorithm(headers), _kind(headers)
    if not algorithm:
        if kind:
            message = f"The {TYPE} header can only be used with the {ALGORITHM} header."
            raise S3Error("InvalidRequest", message)
        return "", ""
    types = ALGORITHMS[algorithm].types
    if kind and kind not in types:
        message = f"The {kind} checksum type cannot be used with the {algorithm} checksum algorithm."
        raise S3Error("InvalidRequest", message)
    return algorithm, kind or types[0]


def claimed_checksum(headers: Mapping[str, str]) -> Checksum | None:
    """The checksum of the whole that Complete is told; its kind is empty if not said. Raises InvalidRequest."""
    found = [name for name in ALGORITHMS if headers.get(PREFIX + name)]
    if len(found) > 1:
        message = "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed."
        raise S3Error("InvalidRequest", message)
    kind = _kind(headers)
    return Checksum(found[0], headers[PREFIX + found[0]], kind) if found else None


def _kind(headers: Mapping[str, str]) -> str:
    kind = headers.get(TYPE, "").upper()
    if kind and kind not in TYPES:
        raise S3Error("InvalidRequest", f"Value for {TYPE} header is invalid.")
    return kind


def check_part_algorithm(upload: str, sent: str) -> None:
    """Refuse a part with a checksum of another algorithm than its upload names (empty: none). Raises InvalidRequest."""
    if upload and sent and upload != sent:
        message = f"Checksum Type mismatch occurred, expected checksum Type: {upload}, actual checksum Type: {sent}"
        raise S3Error("InvalidRequest", message)
