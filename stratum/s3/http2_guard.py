"""What of a client's HTTP/2 frames reaches the library: counted by their headers, in small batches. No socket here.

Room: stratum/s3. May import: core.config.

Each frame costs the library tens of microseconds, and a client nine bytes. So they are counted before it sees them
(decision 0022): what a client has no use for in such numbers ends the connection with ENHANCE_YOUR_CALM (RFC 9113,
10.5). Only the nine bytes ahead of each frame are read here; what they mean is h2's to say.
"""

from collections.abc import Callable, Iterator
from enum import IntEnum
from struct import Struct

from h2.errors import ErrorCodes

from stratum.core.config import Limits

PREFACE = 24  # bytes that every client begins with; h2 compares them
FRAME_BYTES = 16 * 1024  # of a frame, at most: what we tell clients is the least that RFC 9113 allows
BATCH = 8  # frames that the library is given at once; the event loop is for others in between
CONTINUATIONS = 16  # frames of one header block
SETTINGS = 32  # settings in one frame; RFC 9113 knows six
_HEADER = Struct(">HBBBL")
_END_STREAM, _END_HEADERS = 0x1, 0x4


class Kind(IntEnum):
    """Types of frames (RFC 9113, 6)."""

    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


_KINDS = frozenset(Kind)


class Calm(Exception):
    """The connection ends with GOAWAY and this code."""

    def __init__(self, why: str, code: ErrorCodes = ErrorCodes.ENHANCE_YOUR_CALM) -> None:
        super().__init__(why)
        self.code = code


class Allowance:
    """So many of something, and as many again in each `per` seconds."""

    def __init__(self, most: float, per: float) -> None:
        self._most, self._rate = most, most / per
        self._left, self._at = most, 0.0

    def earn(self, more: float) -> None:
        """It was made up for."""
        self._left = min(self._most, self._left + more)

    def take(self, now: float, what: str) -> None:
        """Use one up at `now`, in seconds of any clock. Raises Calm."""
        self.earn((now - self._at) * self._rate)
        self._at = now
        self._left -= 1
        if self._left < 0:
            raise Calm(f"too many {what}")


class Guard:
    """One connection's. `serves(stream)`: is there a request on it that has not ended?"""

    def __init__(self, limits: Limits, serves: Callable[[int], bool]) -> None:
        self._limits, self._serves = limits, serves
        per, small = limits.http2_calm_time, limits.http2_small_frames
        self._resets, self._trailers = Allowance(limits.http2_resets, per), Allowance(limits.http2_resets, per)
        self._settings, self._pings = Allowance(limits.http2_settings, per), Allowance(limits.http2_pings, per)
        self._dropped = Allowance(limits.http2_priorities, per)
        self._small, self._windows = Allowance(small, per), Allowance(small, per)
        self._late = 0  # bytes that may be on their way to streams that we ended
        self._highest = 0  # stream that was opened last
        self._fresh: set[int] = set()  # streams of this batch, that `serves` cannot know
        self._block, self._continued = 0, 0  # bytes and further frames of a header block
        self._closes = False  # this frame is the last one of its header block
        self._head, self._rest, self._drops = b"", PREFACE, False
        self.in_block = False  # a header block has begun and not ended

    def sent(self, size: int) -> None:
        """So many bytes went to the client, who has to say that there is room for more."""
        self._windows.earn(size / self._limits.http2_frame_worth)

    def ended(self) -> None:
        """We ended a stream whose client may be sending: at most its window is on its way."""
        window = self._limits.http2_window_bytes
        self._late = min(self._late + window, window * self._limits.http2_streams)

    def refused(self, now: float) -> None:
        """A request came that cannot be taken. Raises Calm."""
        self._resets.take(now, "streams at once")

    def batches(self, received: bytes, now: float) -> Iterator[bytes]:
        """Yield what of `received` the library may see, a few frames at once. Raises Calm."""
        data, at, frames, passed = self._head + received, 0, 0, bytearray()
        while at < len(data):
            if self._rest:
                piece = data[at : at + self._rest]
                self._rest -= len(piece)
                passed += b"" if self._drops else piece
            else:
                piece = data[at : at + _HEADER.size]
                if len(piece) < _HEADER.size:
                    break
                if frames >= BATCH:
                    yield bytes(passed)
                    frames, passed = 0, bytearray()
                    self._fresh.clear()
                self._drops = not self._passes(piece, now)
                passed += b"" if self._drops else piece
                frames += 0 if self._drops else self._weight()
            at += len(piece)
            if self._closes and not self._rest:
                self.in_block = self._closes = False
        self._head = data[at:]
        if passed:
            yield bytes(passed)
            self._fresh.clear()

    def _passes(self, head: bytes, now: float) -> bool:
        high, low, kind, flags, stream = _HEADER.unpack(head)
        length = self._rest = high << 8 | low
        if length > FRAME_BYTES:
            raise Calm("a frame is too large", ErrorCodes.FRAME_SIZE_ERROR)
        if self.in_block and kind != Kind.CONTINUATION:
            return True  # h2 ends the connection
        if kind == Kind.DATA:
            self._data(length, bool(flags & _END_STREAM), stream, now)
        elif kind in (Kind.HEADERS, Kind.CONTINUATION):
            self._headers(kind, length, bool(flags & _END_HEADERS), stream, now)
        elif kind == Kind.PUSH_PROMISE:
            raise Calm("a client promised something", ErrorCodes.PROTOCOL_ERROR)
        elif kind == Kind.PRIORITY or kind not in _KINDS:
            self._dropped.take(now, "frames that mean nothing")
            return False
        else:
            self._control(kind, length, now)
        return True

    def _weight(self) -> int:
        """A large header block takes the library milliseconds."""
        return 1 + self._rest // 512 if self.in_block else 1

    def _data(self, length: int, last: bool, stream: int, now: float) -> None:
        if stream <= self._highest and stream not in self._fresh and not self._serves(stream):
            self._late -= length + 1  # an empty one is not for nothing
            if self._late < 0:
                raise Calm("data for streams that have ended")
        self._small.earn(length / self._limits.http2_frame_worth)
        if not last:
            self._small.take(now, "small frames of data")

    def _headers(self, kind: int, length: int, last: bool, stream: int, now: float) -> None:
        if kind == Kind.HEADERS:
            if stream <= self._highest:
                self._trailers.take(now, "trailers")
            self._highest = max(self._highest, stream)
            self._fresh.add(stream)
            self._block, self._continued, self.in_block = length, 0, True
        else:
            self._block += length
            self._continued += 1
        self._closes = last
        if self._block > self._limits.header_bytes or self._continued > CONTINUATIONS:
            raise Calm("a header block is too large")

    def _control(self, kind: int, length: int, now: float) -> None:
        if kind == Kind.RST_STREAM:
            self._resets.take(now, "resets of streams")
        elif kind == Kind.PING:
            self._pings.take(now, "pings")
        elif kind == Kind.WINDOW_UPDATE:
            self._windows.take(now, "small windows")
        elif kind == Kind.SETTINGS:
            self._settings.take(now, "settings")
            if length > SETTINGS * 6:
                raise Calm("too many settings")
