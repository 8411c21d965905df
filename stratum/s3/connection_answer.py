"""One answer as bytes of HTTP/1.1: its head, and its body by length, in chunks, or up to the end. No socket here.

Room: stratum/s3. May import: s3.http.
"""

import re
from collections.abc import Callable
from http import HTTPStatus

from stratum.s3.http import Headers

_PHRASES = {status.value: f"{status.value} {status.phrase}".encode() for status in HTTPStatus}
_FORBIDDEN = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_OURS = frozenset((b"connection", b"transfer-encoding", b"keep-alive"))


class BadAnswer(Exception):
    """The application said what must not go over the wire; a bug."""


class Answer:
    """Encodes one answer. `close`: no request may follow it, as far as is known."""

    def __init__(self, *, method: str, version: str, close: bool, date: Callable[[], Headers]) -> None:
        self._method, self._version, self._date = method, version, date
        self.close = close
        self.started = self.ended = False
        self._rest: int | None = None  # bytes of the body to come; None: unknown
        self._chunked = self._bodiless = False
        self.by_closing = False  # only the end of the connection says that the body is whole

    def begin(self, status: int, headers: Headers) -> bytes:
        """Return the head. Raises BadAnswer."""
        self.started = True
        self._bodiless = self._method == "HEAD" or status in (204, 304)
        lines = [b"HTTP/1.1 " + _PHRASES.get(status, b"%d -" % status)]
        for name, value in headers:
            if _FORBIDDEN.search(name) or _FORBIDDEN.search(value):
                raise BadAnswer(f"the header {name!r} holds what no header may")
            name = name.lower()
            if name == b"content-length":
                self._rest = int(value)
            if name not in _OURS and not (name == b"content-length" and status == 204):
                lines.append(name + b": " + value)
            elif name == b"connection" and b"close" in value.lower():
                self.close = True
        lines += [name + b": " + value for name, value in self._date()]
        lines += self._ends()
        return b"\r\n".join(lines) + b"\r\n\r\n"

    def _ends(self) -> list[bytes]:
        lines = []
        if self._rest is None and not self._bodiless:
            self._chunked = self._version == "1.1"
            self.by_closing = not self._chunked
            self.close = self.close or self.by_closing
            lines += [b"transfer-encoding: chunked"] if self._chunked else []
        if self.close:
            return [*lines, b"connection: close"]
        return [*lines, b"connection: keep-alive"] if self._version == "1.0" else lines

    def piece(self, body: bytes) -> bytes:
        """Return a piece of the body as it goes over the wire. Raises BadAnswer: longer than its head said."""
        if self._bodiless or not body:
            return b""
        if self._chunked:
            return b"%x\r\n%b\r\n" % (len(body), body)
        if self._rest is not None:
            self._rest -= len(body)
            if self._rest < 0:
                raise BadAnswer("the body is longer than its head said")
        return body

    def end(self) -> bytes:
        """Return what ends the body. Raises BadAnswer: shorter than its head said."""
        if self._rest and not self._bodiless:
            raise BadAnswer("the body is shorter than its head said")
        self.ended = True
        return b"0\r\n\r\n" if self._chunked else b""
