"""A POST form, read off the wire: its fields, whole and bounded, and its file as a stream.

Room: stratum/s3. May import: core.config, s3.{errors, http}.

Invariants
    M1  Memory is bounded: the fields together, the headers of a part, how much may come before the file. The file is
        handed on piece by piece, as it comes.
    M2  Each field stands once, whatever the case of its name; what comes after the file is never looked at.
    M3  A form that ends before its file does is an error, never a shorter file.

Source: RFC 7578; docs.aws.amazon.com/AmazonS3/latest/API/RESTObjectPOST.html
"""

from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass

from multipart import MultipartError, MultipartSegment, ParserLimitReached, PushMultipartParser, parse_options_header

from stratum.core.config import KIB
from stratum.s3.errors import S3Error
from stratum.s3.http import Request

FIELDS_BYTES = 20 * KIB  # AWS: "up to 20 KB" of form data besides the file
FIELDS_MAX = 200
BEFORE_FILE_BYTES = 128 * KIB  # fields with the headers and boundaries around them
PART_HEADER_BYTES = 4 * KIB
BOUNDARY_CHARACTERS = 70  # RFC 2046, 5.1.1
FILE = "file"
FILENAME = "${filename}"


Event = MultipartSegment | bytes | bytearray | None


class FormFile:
    """The bytes of the file, once, piece by piece."""

    def __init__(self, parts: "_Parts") -> None:
        self._parts = parts

    def __aiter__(self) -> "FormFile":
        return self

    async def __anext__(self) -> bytes:
        event = await self._parts.next()
        if event is None:
            raise StopAsyncIteration
        assert isinstance(event, bytes | bytearray), "the file ends before the next part begins"
        return bytes(event)


@dataclass(frozen=True, slots=True)
class Form:
    """`fields` by lower-case name."""

    fields: dict[str, str]
    filename: str
    file: FormFile

    def filled(self) -> dict[str, str]:
        """The fields with `${filename}` replaced by the name of the file, which browsers may send with its folders."""
        name = self.filename.replace("\\", "/").rpartition("/")[2]
        untouched = ("policy", "signature", "x-amz-signature")
        return {
            field: value if field in untouched else value.replace(FILENAME, name)
            for field, value in self.fields.items()
        }


def is_form(request: Request) -> bool:
    """Is it a POST of a form, whose fields say who asks? Anything signed elsewhere is not."""
    if request.method != "POST" or request.header("authorization") is not None or b"X-Amz-" in request.raw_query:
        return False
    return (request.header("content-type") or "").lower().startswith("multipart/form-data")


async def read_form(request: Request) -> Form:
    """Read up to the first byte of the file.

    Raises MalformedPOSTRequest, MaxPostPreDataLengthExceeded, InvalidArgument, IncompleteBody.
    """
    parts = _Parts(request.body, _parser(request))
    fields: dict[str, str] = {}
    size = 0
    while (part := await parts.begin()) is not None:
        name = (part.name or "").lower()
        if name == FILE:
            return Form(fields, part.filename or "", FormFile(parts))
        if not name or name in fields:
            raise S3Error("InvalidArgument", "A field of the form has no name, or comes twice.", ArgumentName=name)
        raw = await _value(parts, FIELDS_BYTES - size - len(name))
        size += len(name) + len(raw)
        fields[name] = _text(name, raw)
    raise S3Error("InvalidArgument", "POST requires exactly one file upload per request.", ArgumentName=FILE)


def _parser(request: Request) -> PushMultipartParser:
    _, options = parse_options_header(request.header("content-type") or "")
    boundary = options.get("boundary", "")
    if not 1 <= len(boundary) <= BOUNDARY_CHARACTERS or not boundary.isascii():
        raise S3Error("MalformedPOSTRequest")
    try:
        return PushMultipartParser(boundary, max_header_size=PART_HEADER_BYTES, max_segment_count=FIELDS_MAX)
    except MultipartError as error:
        raise S3Error("MalformedPOSTRequest") from error


class _Parts:
    """What the parser finds, as it is asked for."""

    def __init__(self, body: AsyncIterator[bytes], parser: PushMultipartParser) -> None:
        self._body, self._parser = body, parser
        self._found: deque[Event] = deque()
        self._before = 0  # bytes read so far, up to the beginning of the file

    async def begin(self) -> MultipartSegment | None:
        """The next part; None where the form ends without a further one. Raises what `read_form` raises."""
        while not self._found:
            if self._before > BEFORE_FILE_BYTES:
                raise S3Error("MaxPostPreDataLengthExceeded")
            if not await self._read():
                self._close()
                return None
        part = self._found.popleft()
        assert isinstance(part, MultipartSegment), "what is no part was taken by the one before"
        return part

    async def next(self) -> bytes | bytearray | None:
        """More bytes of the part that has begun; None: it is over. Raises IncompleteBody, MalformedPOSTRequest."""
        while not self._found:
            if not await self._read():
                raise S3Error("IncompleteBody")  # M3
        event = self._found.popleft()
        assert not isinstance(event, MultipartSegment), "a part ends before the next one begins"
        return event

    async def _read(self) -> bool:
        """Take in one more piece of the body; False at its end."""
        try:
            piece = await anext(self._body)
        except StopAsyncIteration:
            return False
        self._before += len(piece)
        try:
            self._found.extend(self._parser.parse(piece))
        except ParserLimitReached as error:
            raise S3Error("MaxPostPreDataLengthExceeded") from error
        except MultipartError as error:
            raise S3Error("MalformedPOSTRequest") from error
        return True

    def _close(self) -> None:
        try:
            self._parser.close()
        except MultipartError as error:
            raise S3Error("IncompleteBody") from error


async def _value(parts: _Parts, room: int) -> bytes:
    pieces: list[bytes | bytearray] = []
    while (piece := await parts.next()) is not None:
        room -= len(piece)
        pieces.append(piece)
        if room < 0:
            break
    if room < 0:
        raise S3Error("MaxPostPreDataLengthExceeded")
    return b"".join(pieces)


def _text(name: str, raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise S3Error("InvalidArgument", "A field of the form is not valid UTF-8.", ArgumentName=name) from error
