"""The form of encrypted content, and of a key that is wrapped by another.

Room: stratum/core. May import: core.config, core.errors. Random bytes are arguments, always.

A *run* is what was sealed in one go: the body of a PUT, or one part. It is cut into segments of 64 KiB; each is sealed
with AES-256-GCM under a key of the run's own, so stored bytes are plain bytes plus 16 a segment. A content is its runs
one behind the other. Everything above knows plain offsets, everything below (extents, compactor, repair) stored ones.

Invariants
    S1  The key of a run is derived from the object's key and a random salt of the run, and is used for one run only.
        The nonce is the segment's number. So no pair of key and nonce ever comes twice.
    S2  A segment is bound to its number and to whether it is the last: none can be reordered, dropped, repeated or
        taken from elsewhere, and a run cannot end early, without being noticed.
    S3  Nothing of a segment is handed out before all of it is verified.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from stratum.core.config import KIB
from stratum.core.errors import CorruptSeal, WrongKey

FORMAT = 1
SEGMENT_BYTES = 64 * KIB
TAG_BYTES = 16
KEY_BYTES = 32
SALT_BYTES = 12  # of a run: unique below one object key
WRAP_SALT_BYTES = 28  # random bytes of one wrap: 16 for the key it is made with, 12 for the nonce

_SEGMENT_KEY, _ETAG, _WRAP = b"stratum segment key 1", b"stratum etag 1", b"stratum wrap 1"
_PAGE_KEY = b"stratum page key 1"
_FULL = SEGMENT_BYTES + TAG_BYTES


# --- sizes and ranges -------------------------------------------------------------------------------------------


def sealed_size(plain: int) -> int:
    """Stored bytes of a run of `plain` bytes."""
    return plain + -(-plain // SEGMENT_BYTES) * TAG_BYTES


def stored_size(runs: Sequence[int]) -> int:
    """Stored bytes of a content whose runs have these plain sizes."""
    return sum(map(sealed_size, runs))


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment to be opened: which it is, how many bytes are stored of it, and what of its plain bytes is wanted."""

    run: int
    number: int
    last: bool
    stored: int
    low: int
    high: int


def segments_in(runs: Sequence[int], start: int, stop: int) -> Iterator[Segment]:
    """The segments that hold the plain bytes [start, stop) of a content, in order; their stored bytes are adjacent."""
    for run, (begin, size) in enumerate(_placed(runs)):
        low, high = max(start - begin, 0), min(stop - begin, size)
        if low >= high:
            continue
        for number in range(low // SEGMENT_BYTES, -(-high // SEGMENT_BYTES)):
            at = number * SEGMENT_BYTES
            length = min(SEGMENT_BYTES, size - at)
            last = at + length == size
            yield Segment(run, number, last, length + TAG_BYTES, max(low - at, 0), min(high - at, length))


def stored_span(runs: Sequence[int], start: int, stop: int) -> tuple[int, int]:
    """The stored range [first, end) that holds the plain bytes [start, stop), which must not be empty."""
    assert 0 <= start < stop <= sum(runs)
    return _stored_at(runs, start, up=False), _stored_at(runs, stop, up=True)


def _placed(runs: Sequence[int]) -> Iterator[tuple[int, int]]:
    """(first plain byte, plain bytes) of each run."""
    return zip(accumulate(runs, initial=0), runs, strict=False)


def _stored_at(runs: Sequence[int], plain: int, *, up: bool) -> int:
    """The stored offset at which the segment with plain byte `plain` begins; `up`: at which the one before it ends."""
    before = 0
    for begin, size in _placed(runs):
        inside = plain - begin
        if inside < size or (up and inside == size):
            full = -(-inside // SEGMENT_BYTES) if up else inside // SEGMENT_BYTES
            return before + sealed_size(min(full * SEGMENT_BYTES, size))
        before += sealed_size(size)
    return before


# --- sealing and opening ----------------------------------------------------------------------------------------


def run_key(object_key: bytes, salt: bytes) -> bytes:
    """The key of the run with that salt (S1)."""
    assert len(object_key) == KEY_BYTES and len(salt) == SALT_BYTES
    return _derived(object_key, _SEGMENT_KEY + salt, KEY_BYTES)


def page_key(object_key: bytes, salt: bytes) -> bytes:
    """The key of the pages with that salt (core.sealed_pages)."""
    return _derived(object_key, _PAGE_KEY + salt, KEY_BYTES)


def hidden_etag(object_key: bytes, md5: bytes) -> str:
    """An ETag that tells nothing of the content, and is the same for the same bytes under the same object key."""
    return _derived(object_key, _ETAG + md5, 16).hex()


class Sealer:
    """Seals one run while it streams by. Holds the GIL only between segments; not for use in two threads at once."""

    def __init__(self, key: bytes) -> None:
        """`key`: from `run_key`, of a salt that was never used before."""
        self._cipher = AESGCM(key)
        self._number = 0
        self._kept = b""

    def feed(self, piece: bytes) -> bytes:
        """Take the next plain bytes, return what is sealed by now. The last segment is kept back until `finish`."""
        view, sealed = memoryview(piece), []
        while len(self._kept) + len(view) > SEGMENT_BYTES:
            segment, view = _taken(self._kept, view, SEGMENT_BYTES)
            self._kept = b""
            sealed.append(self._seal(segment, last=False))
        self._kept = b"".join((self._kept, view))
        return b"".join(sealed)

    def finish(self) -> bytes:
        """Return the last segment; nothing if there never was a byte."""
        kept, self._kept = self._kept, b""
        return self._seal(kept, last=True) if kept else b""

    def _seal(self, plain: bytes | memoryview, *, last: bool) -> bytes:
        number, self._number = self._number, self._number + 1
        return self._cipher.encrypt(_nonce(number), plain, _bound(number, last=last))


class Unsealer:
    """Opens the stored bytes `stored_span(runs, start, stop)` and yields the plain bytes [start, stop)."""

    def __init__(self, keys: Sequence[bytes], runs: Sequence[int], start: int, stop: int) -> None:
        """`keys`: of each run, from `run_key`."""
        self._keys = keys
        self._wanted = segments_in(runs, start, stop)
        self._next = next(self._wanted, None)
        self._run, self._cipher = -1, AESGCM(bytes(KEY_BYTES))
        self._kept = b""

    @property
    def done(self) -> bool:
        """Was everything opened?"""
        return self._next is None

    def feed(self, piece: bytes) -> bytes:
        """Take the next stored bytes, return the plain bytes of the segments that are complete. Raises CorruptSeal."""
        view, opened = memoryview(piece), []
        while self._next is not None and len(self._kept) + len(view) >= self._next.stored:
            segment, view = _taken(self._kept, view, self._next.stored)
            self._kept = b""
            opened.append(self._open(self._next, segment))
            self._next = next(self._wanted, None)
        self._kept = b"".join((self._kept, view))
        return opened[0] if len(opened) == 1 else b"".join(opened)

    def _open(self, segment: Segment, sealed: bytes | memoryview) -> bytes:
        if segment.run != self._run:
            self._run, self._cipher = segment.run, AESGCM(self._keys[segment.run])
        try:
            bound = _bound(segment.number, last=segment.last)
            plain = self._cipher.decrypt(_nonce(segment.number), sealed, bound)
        except InvalidTag as error:
            raise CorruptSeal(f"segment {segment.number} of run {segment.run} fails its check") from error
        return plain if segment.high - segment.low == len(plain) else plain[segment.low : segment.high]


def _taken(kept: bytes, view: memoryview, size: int) -> tuple[bytes | memoryview, memoryview]:
    """The next `size` bytes, and what follows them; only what was kept is copied."""
    rest = size - len(kept)
    return (b"".join((kept, view[:rest])) if kept else view[:rest]), view[rest:]


def _nonce(number: int) -> bytes:
    return number.to_bytes(12, "big")


def _bound(number: int, *, last: bool) -> bytes:
    return bytes((FORMAT,)) + number.to_bytes(8, "big") + bytes((last,))


# --- wrapping ---------------------------------------------------------------------------------------------------


def wrap(key: bytes, secret: bytes, salt: bytes, bound: bytes) -> bytes:
    """Return `secret` sealed by `key`, for `unwrap` with the same `bound`.

    `salt`: WRAP_SALT_BYTES that are random, so that two wraps of one secret have nothing in common, and one key may
    wrap without limit.
    """
    assert len(salt) == WRAP_SALT_BYTES and len(key) == KEY_BYTES
    return salt + AESGCM(_derived(key, _WRAP + salt[:16], KEY_BYTES)).encrypt(salt[16:], secret, bound)


def unwrap(key: bytes, wrapped: bytes, bound: bytes) -> bytes:
    """Return the secret. Raises WrongKey if `key` or `bound` is another than it was wrapped with, or it was changed."""
    salt = wrapped[:WRAP_SALT_BYTES]
    try:
        opener = AESGCM(_derived(key, _WRAP + salt[:16], KEY_BYTES))
        return opener.decrypt(salt[16:], wrapped[WRAP_SALT_BYTES:], bound)
    except (InvalidTag, ValueError) as error:
        raise WrongKey("a key does not open what it should") from error


def _derived(key: bytes, purpose: bytes, length: int) -> bytes:
    return HKDFExpand(algorithm=SHA256(), length=length, info=purpose).derive(key)
