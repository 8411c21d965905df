"""A small request body (XML), read whole and checked.

Room: stratum/s3. May import: core.checksums, s3.{errors, payload}.
"""

from stratum.core.checksums import Digests
from stratum.s3.errors import S3Error
from stratum.s3.payload import Payload


async def read_whole(payload: Payload, size_max: int) -> bytes:
    """Return the body. Raises S3Error MaxMessageLengthExceeded over `size_max` bytes, and what the check raises."""
    digests = Digests(payload.algorithms | {"md5"})
    pieces: list[bytes] = []
    size = 0
    async for piece in payload.body:
        size += len(piece)
        if size > size_max:
            raise S3Error("MaxMessageLengthExceeded", MaxMessageLengthBytes=str(size_max))
        digests.update(piece)
        pieces.append(piece)
    payload.check(digests.results(), size)
    return b"".join(pieces)
