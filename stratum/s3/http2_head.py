"""The head of an HTTP/2 request: what h2 lets pass and we do not.

Room: stratum/s3. May import: core.config, s3.{errors, http}.

h2 refuses itself, by ending the connection: upper case, connection headers (Transfer-Encoding is one), several Host or
one that is not :authority, lengths that are no numbers or differ, pseudo headers that are missing, twice or too late.
"""

import re
from collections.abc import Iterable

from hpack import Decoder, HeaderTuple
from hpack.exceptions import HPACKDecodingError

from stratum.core.config import Limits
from stratum.s3.errors import S3Error
from stratum.s3.http import Headers

SIZE_UPDATES = 2  # of the table, in one header block (RFC 7541, 4.2)
_METHOD = re.compile(rb"[A-Z]+(?:-[A-Z]+)?")
_TARGET = re.compile(rb"/[!-\"$-~]*")  # visible, and no fragment
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


class BoundedDecoder(Decoder):
    """HPACK's, which lets one header block change the size of the table a thousand times."""

    _updates = 0

    @property
    def header_table_size(self) -> int:
        """As it was."""
        return self.header_table.maxsize

    @header_table_size.setter
    def header_table_size(self, value: int) -> None:
        self._updates += 1
        if self._updates > SIZE_UPDATES:
            raise HPACKDecodingError("the table changes its size too often")
        self.header_table.maxsize = value

    def decode(self, data: bytes, raw: bool = False) -> Iterable[HeaderTuple]:
        """As it was."""
        self._updates = 0
        return super().decode(data, raw)


def check_head(headers: Headers, limits: Limits) -> None:
    """Raise S3Error unless we would take such a head over HTTP/1.1 too."""
    pseudo = dict(headers[:4])
    method, target = pseudo.get(b":method", b""), pseudo.get(b":path", b"")
    rest = [(name, value) for name, value in headers if not name.startswith(b":")]
    if len(rest) > limits.header_count or _size(headers) > limits.header_bytes:
        raise S3Error("RequestHeaderSectionTooLarge")
    if len(target) > limits.target_bytes:
        raise S3Error("RequestHeaderSectionTooLarge", "The URL is too long.")
    if method == b"CONNECT" or not _METHOD.fullmatch(method):
        raise S3Error("MethodNotAllowed")
    if not _TARGET.fullmatch(target) and (method, target) != (b"OPTIONS", b"*"):
        raise S3Error("InvalidURI")
    if sum(name == b"content-length" for name, _ in rest) > 1:
        raise S3Error("InvalidRequest", "content-length may be there once only.")
    if any(_CONTROL.search(value) for _, value in headers):
        raise S3Error("BadRequest", "This is not a well-formed request. A header holds a control character.")


def _size(headers: Headers) -> int:
    return sum(len(name) + len(value) + 4 for name, value in headers)
