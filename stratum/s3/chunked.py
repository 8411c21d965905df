"""Decoder of aws-chunked bodies, sans I/O: encoded bytes in, verified content and the trailer out.

Room: stratum/s3. May import: s3.{errors, sigv4}.

    signed    hex(size);chunk-signature=<64 hex>\\r\\n <content> \\r\\n ... 0;chunk-signature=<64 hex>\\r\\n
    unsigned  hex(size)\\r\\n <content> \\r\\n ... 0\\r\\n
    then      [name:value (\\r\\n or \\n\\r\\n) [x-amz-trailer-signature:<64 hex>\\r\\n]] \\r\\n

Invariants
    K1  Content is handed on as it comes and verified at the end of its chunk: memory is bounded whatever size a client
        declares, and a body that fails has raised before its end, so nothing of it was published.
    K2  A body that stops anywhere before its last line end is an error; there is no state that waits for ever.
    K3  No work per byte: lines are searched for, content is sliced.

Source: docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html and sigv4-streaming-trailers.html.
"""

import hashlib
import re
from enum import Enum, auto

from stratum.s3.errors import S3Error
from stratum.s3.sigv4 import EMPTY_SHA256, Seal

LINE_MAX = 1024  # a chunk's header line, bytes
TRAILER_MAX = 4096
CHUNK_MIN = 8192  # as AWS: only the last chunk may be smaller

_HEADER = re.compile(rb"([0-9A-Fa-f]{1,16})\r\n")
_SIGNED_HEADER = re.compile(rb"([0-9A-Fa-f]{1,16});chunk-signature=([0-9a-f]{64})\r\n")
# minio-go ends a trailer line with \n\r\n, botocore with \r\n.
_TRAILER = re.compile(rb"([!-9;-~]+):([ -~]*)(?:\r\n|\n\r\n|\n)\r\n")
_SIGNED_TRAILER = re.compile(rb"([!-9;-~]+):([ -~]*)(?:\r\n|\n\r\n|\n)x-amz-trailer-signature:([0-9a-f]{64})\r\n\r\n")


class _At(Enum):
    HEADER = auto()
    CONTENT = auto()
    CONTENT_END = auto()
    TRAILER = auto()


class ChunkedDecoder:
    """One aws-chunked body. `seal`: its chunks are signed; `trailer`: the lower-case name announced for the end."""

    def __init__(self, *, decoded_length: int, seal: Seal | None = None, trailer: str | None = None) -> None:
        self._decoded_length = decoded_length
        self._seal = seal
        self._trailer = trailer
        self._at = _At.HEADER
        self._line = bytearray()
        self._chunk = 0  # size of the chunk before, or under way
        self._left = 0  # content still to come of it
        self._size = 0  # content of all chunks so far
        self._given = ""
        self._sha256 = hashlib.sha256()

    def feed(self, data: bytes) -> list[bytes]:
        """Return the content that `data` brings, in order.

        Raises InvalidRequest (not this format), InvalidChunkSizeError, IncompleteBody (more than was declared),
        SignatureDoesNotMatch, MalformedTrailerError.
        """
        content: list[bytes] = []
        at = 0
        while at < len(data):
            if self._at is _At.CONTENT:
                at += self._take_content(data, at, content)
            elif self._at is _At.TRAILER:
                self._take_trailer(data[at:])
                at = len(data)
            else:
                at = self._take_line(data, at)
        return content

    def finish(self) -> str | None:
        """Return the value of the announced trailer, once the body has ended.

        Raises IncompleteBody (it ended early), MalformedTrailerError, SignatureDoesNotMatch.
        """
        if self._at is not _At.TRAILER or self._size != self._decoded_length:
            raise S3Error("IncompleteBody")
        rest = bytes(self._line)
        if self._trailer is None:
            if rest != b"\r\n":
                raise self._cut_short(rest, b"\r\n")
            return None
        match = (_TRAILER if self._seal is None else _SIGNED_TRAILER).fullmatch(rest)
        if match is None:
            raise S3Error("MalformedTrailerError" if self._seal is None else "IncompleteBody")
        name, value = (text.decode("ascii") for text in match.groups()[:2])
        if name.lower() != self._trailer:
            raise S3Error("MalformedTrailerError")
        if self._seal is not None:
            line = f"{name.lower()}:{value.strip()}\n".encode()
            self._seal.check_trailer(line, match.group(3).decode("ascii"))
        return value.strip()

    def _cut_short(self, rest: bytes, wanted: bytes) -> S3Error:
        return S3Error("IncompleteBody" if wanted.startswith(rest) else "MalformedTrailerError")

    def _take_content(self, data: bytes, at: int, content: list[bytes]) -> int:
        take = min(self._left, len(data) - at)
        piece = data if take == len(data) else data[at : at + take]
        if self._seal is not None:
            self._sha256.update(piece)
        content.append(piece)
        self._left -= take
        if not self._left:
            self._end_chunk()
        return take

    def _end_chunk(self) -> None:
        if self._seal is not None:
            self._seal.check_chunk(self._sha256.hexdigest(), self._given)
            self._sha256 = hashlib.sha256()
        self._at = _At.CONTENT_END

    def _take_line(self, data: bytes, at: int) -> int:
        """Collect up to a line feed; act on the line once it is whole."""
        end = data.find(b"\n", at, at + LINE_MAX) + 1
        self._line += data[at : end or at + LINE_MAX]
        if len(self._line) > LINE_MAX or (not end and len(data) - at >= LINE_MAX):
            raise S3Error("InvalidRequest", "A chunk's header is too long.")
        if not end:
            return len(data)
        line, self._line = bytes(self._line), bytearray()
        if self._at is _At.HEADER:
            self._begin_chunk(line)
        elif line == b"\r\n":
            self._at = _At.HEADER
        else:
            raise S3Error("InvalidRequest", "A chunk is longer than its header says.")
        return end

    def _begin_chunk(self, line: bytes) -> None:
        match = (_HEADER if self._seal is None else _SIGNED_HEADER).fullmatch(line)
        if match is None:
            raise S3Error("InvalidRequest", "A chunk's header is not well formed.")
        size = int(match.group(1), 16)
        if size and 0 < self._chunk < CHUNK_MIN:
            raise S3Error("InvalidChunkSizeError")
        if self._size + size > self._decoded_length:
            raise S3Error("IncompleteBody", "The body is longer than x-amz-decoded-content-length.")
        self._given = match.group(2).decode("ascii") if self._seal is not None else ""
        self._chunk = self._left = size
        self._size += size
        self._at = _At.CONTENT
        if not size:
            if self._seal is not None:
                self._seal.check_chunk(EMPTY_SHA256, self._given)
            self._at = _At.TRAILER

    def _take_trailer(self, data: bytes) -> None:
        self._line += data[: TRAILER_MAX + 1]
        if len(self._line) > TRAILER_MAX:
            raise S3Error("MalformedTrailerError")
