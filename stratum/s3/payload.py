"""The body of a request as verified, decoded bytes, and the check that says whether they are what was promised.

Room: stratum/s3. May import: core.{checksums, objects, records}, s3.{chunked, errors, http, sigv4}.

Invariants
    P1  What `body` yields is content: no framing. What cannot be told before its last byte (digests, length, trailer)
        is told by `check`, which everyone who reads a body must ask before anything becomes visible.
    P2  A plain body is handed through as it is: no copy, no wrapper.
"""

import re
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace

from stratum.core.checksums import ALGORITHMS, decode_base64, encode_base64
from stratum.core.objects import Check
from stratum.core.records import Checksum
from stratum.s3.chunked import ChunkedDecoder
from stratum.s3.errors import S3Error
from stratum.s3.http import Request
from stratum.s3.sigv4 import Verified

UNSIGNED = "UNSIGNED-PAYLOAD"
STREAMING_UNSIGNED_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
STREAMING_SIGNED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
STREAMING_SIGNED_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
STREAMING = (STREAMING_UNSIGNED_TRAILER, STREAMING_SIGNED, STREAMING_SIGNED_TRAILER)
ELLIPTIC = "STREAMING-AWS4-ECDSA-"  # SigV4A

_PREFIX = "x-amz-checksum-"
_NOT_DIGESTS = ("algorithm", "mode", "type")
_HEX = re.compile(r"[0-9a-f]{64}")
_SIZE = re.compile(r"[0-9]{1,18}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """A body on its way in, as PutSpec takes it; `claimed`: the client sent a digest of its own.

    `algorithm`: of the checksum that the client sends, empty: none. `sent`: that checksum, once `check` has passed.
    """

    body: AsyncIterator[bytes]
    size: int | None  # declared, bytes; None: nobody said (forms, HTTP's own chunks)
    algorithms: frozenset[str]
    check: Check
    claimed: bool
    algorithm: str = ""
    sent: Callable[[], Checksum | None] = lambda: None

    def storing(self, algorithm: str) -> "Payload":
        """The same body with the same checks, but what is stored is the checksum of that algorithm."""

        def check(digests: Mapping[str, bytes], size: int) -> Checksum | None:
            self.check(digests, size)
            return Checksum(algorithm, encode_base64(digests[algorithm]))

        return replace(self, algorithms=self.algorithms | {algorithm}, check=check)


@dataclass(slots=True)
class _Expected:
    """What the headers promise of the body, and, once it has ended, its trailer."""

    size: int | None
    sha256: str = ""  # hex; empty: the payload is not signed as a whole
    md5: bytes | None = None
    algorithm: str = ""  # of the checksum to verify and to store; empty: none
    checksum: bytes | None = None  # None: to be computed only, or still to come in the trailer
    trailer: str | None = None  # name of the header announced for the end

    @property
    def algorithms(self) -> frozenset[str]:
        wanted = (self.algorithm, "md5" if self.md5 else "", "sha256" if self.sha256 else "")
        return frozenset(name for name in wanted if name)

    def sent(self) -> Checksum | None:
        """The checksum that the client sent, if any; of a trailer once that has come."""
        return None if self.checksum is None else Checksum(self.algorithm, encode_base64(self.checksum))

    def check(self, digests: Mapping[str, bytes], size: int) -> Checksum | None:
        """See core.objects.Check."""
        if self.size is not None and size != self.size:
            raise S3Error("IncompleteBody")
        if self.sha256 and digests["sha256"].hex() != self.sha256:
            computed = digests["sha256"].hex()
            given = self.sha256
            raise S3Error(
                "XAmzContentSHA256Mismatch", ClientComputedContentSHA256=given, S3ComputedContentSHA256=computed
            )
        if self.md5 is not None and digests["md5"] != self.md5:
            raise S3Error(
                "BadDigest",
                "The Content-MD5 you specified did not match what we received.",
                ExpectedDigest=encode_base64(self.md5),
                CalculatedDigest=encode_base64(digests["md5"]),
            )
        if not self.algorithm:
            return None
        if self.checksum is not None and digests[self.algorithm] != self.checksum:
            name = self.algorithm.upper()
            raise S3Error("BadDigest", f"The {name} you specified did not match the calculated checksum.")
        return Checksum(self.algorithm, encode_base64(digests[self.algorithm]))


class _Decoded:
    """The content of an aws-chunked body."""

    def __init__(self, encoded: AsyncIterator[bytes], decoder: ChunkedDecoder, expected: _Expected) -> None:
        self._encoded, self._decoder, self._expected = encoded, decoder, expected
        self._ready: list[bytes] = []
        self._ended = False

    def __aiter__(self) -> "_Decoded":
        return self

    async def __anext__(self) -> bytes:
        while not self._ready:
            if self._ended:
                raise StopAsyncIteration
            try:
                self._ready = self._decoder.feed(await anext(self._encoded))
                self._ready.reverse()
            except StopAsyncIteration:
                self._end()
        return self._ready.pop()

    def _end(self) -> None:
        self._ended = True
        value = self._decoder.finish()
        if value is not None:
            self._expected.checksum = _digest(self._expected.algorithm, value)


def open_payload(
    request: Request, verified: Verified, *, default_algorithm: str = "crc64nvme", checksums: bool = True
) -> Payload:
    """Return the body of `request` (whose headers include those moved into the URL).

    Without a checksum of the client, `default_algorithm` is computed and stored, as AWS does; empty: none.
    `checksums=False` where x-amz-checksum-* speaks of something else than this body (CompleteMultipartUpload).
    Raises MissingContentLength, InvalidRequest, InvalidArgument, InvalidDigest, MalformedTrailerError, NotImplemented.
    """
    headers = request.header_map()
    mode = _mode(verified.content_sha256)
    expected = _Expected(size=_size(headers, mode), sha256="" if mode in (UNSIGNED, *STREAMING) else mode)
    _expect_md5(expected, headers)
    _expect_trailer(expected, headers, mode)
    if checksums:
        _expect_checksum(expected, headers, presigned=verified.presigned)
    algorithm = expected.algorithm
    expected.algorithm = algorithm or default_algorithm
    return Payload(
        body=_body(request, verified, mode, expected),
        size=expected.size,
        algorithms=expected.algorithms,
        check=expected.check,
        claimed=expected.md5 is not None or bool(algorithm),
        algorithm=algorithm,
        sent=expected.sent,
    )


def open_form_payload(
    body: AsyncIterator[bytes], fields: Mapping[str, str], *, default_algorithm: str = "crc64nvme"
) -> Payload:
    """Return the file of a POST form, whose fields say what headers say of another body. Raises as `open_payload`."""
    expected = _Expected(size=None)
    _expect_md5(expected, fields)
    _expect_checksum(expected, fields, presigned=True)
    claimed = expected.md5 is not None or bool(expected.algorithm)
    algorithm = expected.algorithm
    expected.algorithm = algorithm or default_algorithm
    return Payload(
        body=body,
        size=None,
        algorithms=expected.algorithms,
        check=expected.check,
        claimed=claimed,
        algorithm=algorithm,
        sent=expected.sent,
    )


def _body(request: Request, verified: Verified, mode: str, expected: _Expected) -> AsyncIterator[bytes]:
    if mode not in STREAMING:
        return request.body
    seal = None if mode == STREAMING_UNSIGNED_TRAILER else verified.seal()
    decoder = ChunkedDecoder(decoded_length=expected.size, seal=seal, trailer=expected.trailer)
    return _Decoded(request.body, decoder, expected)


def _mode(content_sha256: str) -> str:
    if content_sha256 in (UNSIGNED, *STREAMING) or _HEX.fullmatch(content_sha256):
        return content_sha256
    if content_sha256.startswith(ELLIPTIC):
        raise S3Error("NotImplemented", Header="x-amz-content-sha256")
    raise S3Error(
        "InvalidArgument",
        f"x-amz-content-sha256 must be {UNSIGNED}, {', '.join(STREAMING)} or a valid sha256 value.",
        ArgumentName="x-amz-content-sha256",
        ArgumentValue=content_sha256,
    )


def _size(headers: Mapping[str, str], mode: str) -> int | None:
    """The declared size of the content, in bytes; None: HTTP's own chunks say where it ends."""
    name = "x-amz-decoded-content-length" if mode in STREAMING else "content-length"
    text = headers.get(name)
    if text is None:
        if mode in STREAMING:
            raise S3Error("MissingContentLength")
        return None if "transfer-encoding" in headers else 0
    if not _SIZE.fullmatch(text):
        raise S3Error("InvalidArgument", f"{name} must be a number of bytes.", ArgumentName=name, ArgumentValue=text)
    return int(text)


def _expect_md5(expected: _Expected, headers: Mapping[str, str]) -> None:
    if "content-md5" in headers:
        expected.md5 = decode_base64(headers["content-md5"], 16)
        if expected.md5 is None:
            raise S3Error("InvalidDigest", "The Content-MD5 you specified is not valid.")


def _expect_trailer(expected: _Expected, headers: Mapping[str, str], mode: str) -> None:
    name = headers.get("x-amz-trailer", "").strip().lower()
    if not name:
        if mode == STREAMING_SIGNED_TRAILER:
            raise S3Error("MalformedTrailerError")
        return
    if mode not in (STREAMING_UNSIGNED_TRAILER, STREAMING_SIGNED_TRAILER):
        raise S3Error("InvalidRequest", "x-amz-trailer needs a payload that has a trailer.")
    algorithm = name.removeprefix(_PREFIX)
    if not name.startswith(_PREFIX) or algorithm not in ALGORITHMS:
        raise S3Error("InvalidRequest", "The value specified in the x-amz-trailer header is not supported")
    expected.algorithm, expected.trailer = algorithm, name


def _expect_checksum(expected: _Expected, headers: Mapping[str, str], *, presigned: bool) -> None:
    given = {name.removeprefix(_PREFIX): value for name, value in headers.items() if name.startswith(_PREFIX)}
    found = [name for name in given if name not in _NOT_DIGESTS]
    if len(found) + (expected.trailer is not None) > 1:
        message = "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed."
        raise S3Error("InvalidRequest", message)
    if found:
        expected.algorithm = found[0]
        if expected.algorithm not in ALGORITHMS:
            raise S3Error("InvalidRequest", "The algorithm type you specified in x-amz-checksum- header is invalid.")
        expected.checksum = _digest(expected.algorithm, given[expected.algorithm])
    named = headers.get("x-amz-sdk-checksum-algorithm", "").lower()
    if named and named != expected.algorithm and (expected.algorithm or not presigned):
        message = "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer"
        raise S3Error("InvalidRequest", f"{message} headers were found.")


def _digest(algorithm: str, value: str) -> bytes:
    raw = decode_base64(value, ALGORITHMS[algorithm].width)
    if raw is None:
        raise S3Error("InvalidRequest", f"Value for {_PREFIX}{algorithm} header is invalid.")
    return raw
