"""Where the body of a request ends, and what of the received bytes is content. No socket here.

Room: stratum/s3. May import: core.config, s3.errors.

A framing is fed what was received and returns content, and what came after the body: the next request, untouched.
"""

import re
from typing import Protocol

import httptools

from stratum.core.config import Limits
from stratum.s3.errors import S3Error

_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:;[^\r\n]*)?\r\n")
_CHUNKED_HEAD = b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"


class Framing(Protocol):
    """How long a body is."""

    ended: bool

    def split(self, received: bytes) -> tuple[bytes, bytes]:
        """Return (content, what is left: an unfinished line or, once `ended`, the next request). Raises S3Error."""
        ...

    def most(self) -> int | None:
        """So many bytes may be received without touching the next request; None: unknown."""
        ...


class Sized:
    """A body of `length` bytes; 0: none."""

    def __init__(self, length: int) -> None:
        self._rest = length
        self.ended = length == 0

    def split(self, received: bytes) -> tuple[bytes, bytes]:
        """See Framing. Copies nothing unless a next request stands in `received`."""
        content = received if len(received) <= self._rest else received[: self._rest]
        self._rest -= len(content)
        self.ended = self._rest == 0
        return content, received[len(content) :]

    def most(self) -> int:
        """See Framing."""
        return self._rest


class Chunked:
    """A body in HTTP chunks. llhttp judges every byte of the framing; it is fed line by line, so that we know where
    the body ends (it does not tell). Trailers are read and dropped: those of S3 stand inside the content.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._parser = httptools.HttpRequestParser(self)
        self._parser.feed_data(_CHUNKED_HEAD)
        self._step = self._size
        self._content: list[bytes] = []
        self._rest = 0  # bytes to come of this chunk
        self._trailers = 0  # bytes of them so far
        self.ended = False

    def on_message_complete(self) -> None:
        """Called back by the parser."""
        self.ended = True

    def most(self) -> None:
        """See Framing."""

    def split(self, received: bytes) -> tuple[bytes, bytes]:
        """See Framing."""
        at, view = 0, memoryview(received)
        try:
            while not self.ended and (taken := self._step(received, at)):
                self._parser.feed_data(view[at : at + taken])
                at += taken
        except httptools.HttpParserError as error:
            raise _broken(f"{error}.") from error
        content, self._content = b"".join(self._content), []
        return content, received[at:]

    def _size(self, received: bytes, at: int) -> int:
        end = self._line_end(received, at, self._limits.chunk_line_bytes)
        if not end:
            return 0
        line = _SIZE_LINE.fullmatch(received, at, end)
        if line is None:
            raise _broken("A chunk begins with its size.")
        self._rest = int(line[1], 16)
        self._step = self._chunk if self._rest else self._trailer
        return end - at

    def _chunk(self, received: bytes, at: int) -> int:
        piece = received[at : at + self._rest]
        if piece:
            self._content.append(piece)
        self._rest -= len(piece)
        if not self._rest:
            self._step = self._chunk_end
        return len(piece)

    def _chunk_end(self, received: bytes, at: int) -> int:
        if len(received) - at >= 2:
            self._step = self._size
            return 2  # CRLF, or the parser refuses it
        return 0

    def _trailer(self, received: bytes, at: int) -> int:
        end = self._line_end(received, at, self._limits.header_bytes - self._trailers)
        self._trailers += max(0, end - at)
        return max(0, end - at)

    def _line_end(self, received: bytes, at: int, most: int) -> int:
        """Return where the line at `at` ends; 0: not there yet."""
        end = received.find(b"\r\n", at, at + most)
        if end >= 0:
            return end + 2
        if len(received) - at >= most or b"\n" in received[at:]:
            raise _broken("A line is too long, or does not end with CRLF.")
        return 0


def framing_of(length: int, chunked: bool, limits: Limits) -> Framing:
    """Return how the body of a request is framed."""
    return Chunked(limits) if chunked else Sized(length)


def _broken(why: str) -> S3Error:
    return S3Error("InvalidRequest", f"The chunks of the body are broken. {why}")
