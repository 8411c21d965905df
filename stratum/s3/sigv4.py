"""AWS Signature Version 4.

Room: stratum/s3.
"""

from collections.abc import Callable
from dataclasses import dataclass

from stratum.s3.http import Headers, Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """Who signed a request, and how its payload is vouched for."""

    access_key: str
    content_sha256: str
    moved_headers: Headers  # x-amz-* parameters of a presigned URL: treat them as headers


class Verifier:
    """Checks signatures."""

    def __init__(self, *, region: str, secret_of: Callable[[str], str]) -> None:
        raise NotImplementedError

    def verify(self, request: Request, *, now_s: int) -> Verified:
        """Return who signed. Raises S3Error (AccessDenied if nobody did)."""
        raise NotImplementedError
