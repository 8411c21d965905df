"""The body of a request as verified, decoded bytes, and the check that says whether they are what was promised.

Room: stratum/s3. May import: core.{checksums, objects, records}, s3.{chunked, errors, http, sigv4}.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from stratum.core.objects import Check
from stratum.s3.http import Request
from stratum.s3.sigv4 import Verified


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """A body on its way in, as PutSpec takes it; `claimed`: the client sent a digest of its own."""

    body: AsyncIterator[bytes]
    size: int
    algorithms: frozenset[str]
    check: Check
    algorithm: str  # the checksum that will be stored
    claimed: bool


def open_payload(request: Request, verified: Verified, *, default_algorithm: str = "crc64nvme") -> Payload:
    """Return the payload. Without a checksum of the client, `default_algorithm` is computed and stored; empty: none."""
    raise NotImplementedError


async def read_whole(payload: Payload, size_max: int) -> bytes:
    """Return a small body (XML), checked. Raises MaxMessageLengthExceeded and what the check raises."""
    raise NotImplementedError
