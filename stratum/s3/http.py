"""One S3 request and one answer, as plain values: no web framework beyond this point.

Room: stratum/s3. May import: nothing.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

Headers = list[tuple[bytes, bytes]]


class NoBody:
    """The body of a request that has none."""

    def __aiter__(self) -> "NoBody":
        return self

    async def __anext__(self) -> bytes:
        raise StopAsyncIteration


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request as it came over the wire: nothing decoded, nothing normalised.

    Header names are lower-case. `raw_path` and `raw_query` are the two sides of the first `?` of the target.
    """

    method: str
    raw_path: bytes
    raw_query: bytes = b""
    headers: Headers = field(default_factory=list)
    body: AsyncIterator[bytes] = field(default_factory=NoBody)
    peer: str = ""
    scheme: str = "http"
    tls_version: str = ""  # of the client's own connection: 1.2, 1.3; empty: none, or not known
    request_id: str = ""
    website: bool = False  # asked at a host that is a bucket's web site
    bucket: str | None = None  # named by the host (hosts.py); None: the path begins with the bucket

    def header(self, name: str) -> str | None:
        """Return a header's value, or None. Repeated fields come joined by commas (RFC 9110, 5.3)."""
        wanted = name.encode("ascii")
        found = [value.strip() for key, value in self.headers if key == wanted]
        return b",".join(found).decode("latin-1") if found else None

    def header_map(self) -> dict[str, str]:
        """Return all headers by name, repeated fields joined by commas."""
        found: dict[str, str] = {}
        for raw_name, raw_value in self.headers:
            name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1").strip()
            found[name] = f"{found[name]},{value}" if name in found else value
        return found


@dataclass(frozen=True, slots=True)
class Response:
    """An answer. A body that is a stream must yield exactly what `content-length` says, or raise."""

    status: int
    headers: Headers = field(default_factory=list)
    body: bytes | AsyncIterator[bytes] = b""


def header(name: str, value: str | int) -> tuple[bytes, bytes]:
    """Return a response header. Raises ValueError for what may not stand in one (CR, LF, NUL, non-ASCII)."""
    text = str(value)
    if not text.isascii() or any((ord(char) < 0x20 and char != "\t") or char == "\x7f" for char in text):
        raise ValueError(f"{name}: a header value may hold printable ASCII only")
    return name.encode("ascii"), text.encode("ascii")
