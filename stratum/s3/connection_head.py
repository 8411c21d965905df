"""The head of a request: bytes in, a Head or the S3 error that refuses it out. No socket here.

Room: stratum/s3. May import: core.config, s3.errors.

llhttp (through httptools) judges the syntax; what it lets pass and we do not is checked here (docs/decisions/0006).
Nobody on the way to us may read a request differently than we do, so whatever has two readings is refused (RFC 9112,
11.2).
"""

import re
from dataclasses import dataclass

import httptools

from stratum.core.config import Limits
from stratum.s3.errors import S3Error
from stratum.s3.http import Headers

END = b"\r\n\r\n"
_REQUEST_LINE = re.compile(rb"([A-Z]+(?:-[A-Z]+)?) ([!-~]+) HTTP/([0-9])\.([0-9])\r\n")
_ONCE = frozenset((b"host", b"content-length", b"transfer-encoding"))


@dataclass(frozen=True, slots=True)
class Head:
    """What a request says before its body. Header names are lower-case; nothing is decoded."""

    method: str
    raw_path: bytes
    raw_query: bytes
    version: str  # 1.0 or 1.1
    headers: Headers
    length: int  # bytes of the body; unknown if `chunked`
    chunked: bool
    keep_alive: bool
    expects: bool  # 100 Continue


class _Judged:
    """What llhttp calls back with."""

    def __init__(self) -> None:
        self.headers: Headers = []
        self.complete = False
        self.parser = httptools.HttpRequestParser(self)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        self.complete = True
        self.keep_alive = self.parser.should_keep_alive()


def find_head(received: bytes, seen: int, limits: Limits) -> int:
    """Return where the head in `received` ends (after its empty line), or 0: not there yet.

    `seen`: so many bytes held no end before. Raises S3Error for what cannot become a head any more.
    """
    end = received.find(END, max(0, seen - 3), limits.header_bytes)
    if end >= 0:
        return end + 4
    if len(received) >= limits.header_bytes:
        raise S3Error("RequestHeaderSectionTooLarge")
    if not received[:1].isalpha() or received.count(b"\n") != received.count(b"\r\n"):
        raise _not_http("Lines end with CRLF, and the first one begins with a method.")
    return 0


def parse_head(head: bytes, limits: Limits) -> Head:
    """Return the request that `head`, up to its empty line, stands for. Raises S3Error."""
    method, target, version = _request_line(head, limits)
    judged = _judge(head)
    if len(judged.headers) > limits.header_count:
        raise S3Error("RequestHeaderSectionTooLarge")
    single = _single(judged.headers)
    if version == "1.1" and b"host" not in single:
        raise S3Error("InvalidRequest", "HTTP/1.1 wants a Host header.")
    chunked = _is_chunked(single, version)
    path, _, query = target.partition(b"?")
    return Head(
        method=method,
        raw_path=path,
        raw_query=query,
        version=version,
        headers=judged.headers,
        length=0 if chunked else int(single.get(b"content-length", b"0")),
        chunked=chunked,
        keep_alive=judged.keep_alive,
        expects=version == "1.1" and _expects(judged.headers),
    )


def _request_line(head: bytes, limits: Limits) -> tuple[str, bytes, str]:
    line = _REQUEST_LINE.match(head)
    if line is None:
        raise _not_http("The request line is not METHOD TARGET VERSION.")
    method, target, major, minor = line.groups()
    if major != b"1" or minor not in b"01":
        raise S3Error("HttpVersionNotSupported")
    if len(target) > limits.target_bytes:
        raise S3Error("RequestHeaderSectionTooLarge", "The URL is too long.")
    if method == b"CONNECT":
        raise S3Error("MethodNotAllowed")
    # The absolute form (http://host/path) names the host a second time: only proxies are sent it, and we are none.
    if (not target.startswith(b"/") and (method, target) != (b"OPTIONS", b"*")) or b"#" in target:
        raise S3Error("InvalidURI")
    return method.decode(), target, f"1.{minor.decode()}"


def _judge(head: bytes) -> _Judged:
    judged = _Judged()
    try:
        judged.parser.feed_data(head)
    except httptools.HttpParserUpgrade:
        pass  # the wish to speak something else than HTTP/1.1 is not granted (RFC 9110, 7.8)
    except httptools.HttpParserInvalidMethodError as error:
        raise S3Error("MethodNotAllowed") from error
    except httptools.HttpParserError as error:
        raise _not_http(f"{error}.") from error
    if not judged.complete:
        raise _not_http("The head of the request ends too early.")
    return judged


def _single(headers: Headers) -> dict[bytes, bytes]:
    single: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in _ONCE:
            if name in single:
                raise S3Error("InvalidRequest", f"{name.decode()} may be there once only.")
            single[name] = value
    return single


def _expects(headers: Headers) -> bool:
    return any(name == b"expect" and value.lower() == b"100-continue" for name, value in headers)


def _is_chunked(single: dict[bytes, bytes], version: str) -> bool:
    coding = single.get(b"transfer-encoding")
    if coding is None:
        return False
    if b"content-length" in single:
        raise S3Error("InvalidRequest", "Content-Length and Transfer-Encoding exclude each other.")
    if coding.lower() != b"chunked" or version != "1.1":
        raise S3Error("InvalidRequest", "The only Transfer-Encoding is chunked, of HTTP/1.1.")
    return True


def _not_http(why: str) -> S3Error:
    return S3Error("BadRequest", f"This is not a well-formed request. {why}")
