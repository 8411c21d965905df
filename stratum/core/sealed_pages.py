"""Encrypted content that can be changed in place: pages, each sealed by itself.

Room: stratum/core. May import: core.{config, errors, sealing}. Random bytes are arguments, always.

What is written through the mount is sealed so (format 2); what S3 puts is sealed in runs (core.sealing, format 1). A
page is 16 KiB of the file, the last one what is left. Stored is a salt of 16 bytes, then the page under AES-256-GCM.
Page n rests at n times the size of a full stored page. Where nothing is stored, a page is zeros.

Invariants
    P1  The key of a page is derived from the object's key and its salt; all pages sealed in one go share a salt, which
        is random; the nonce is the page's number. So no pair of key and nonce ever comes twice.
    P2  A page is bound to its number: none can be taken from elsewhere. That it is the newest of that number, and how
        many there are, the record of the object says.
    P3  Nothing of a page is handed out before all of it is verified.
"""

from collections.abc import Iterator

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from stratum.core.config import KIB
from stratum.core.errors import CorruptSeal
from stratum.core.sealing import TAG_BYTES, page_key

FORMAT = 2
PAGE_BYTES = 16 * KIB
SALT_BYTES = 16
OVERHEAD = SALT_BYTES + TAG_BYTES
CIPHERS_MAX = 256  # salts whose ciphers are at hand: a file written in one go has few

_NO_SALT = bytes(SALT_BYTES)


def pages_of(start: int, stop: int) -> range:
    """The numbers of the pages that hold bytes of [start, stop)."""
    return range(start // PAGE_BYTES, -(-stop // PAGE_BYTES))


def stored_at(page: int) -> int:
    """The stored offset of a page."""
    return page * (PAGE_BYTES + OVERHEAD)


def stored_size(plain: int) -> int:
    """Stored bytes of a file of `plain` bytes, pages of zeros included."""
    return plain + -(-plain // PAGE_BYTES) * OVERHEAD


def stored_span(size: int, start: int, stop: int) -> tuple[int, int]:
    """The stored range that holds the plain bytes [start, stop), not empty, of a file of `size` bytes."""
    assert 0 <= start < stop <= size
    pages = pages_of(start, stop)
    return stored_at(pages[0]), min(stored_at(pages[-1] + 1), stored_size(size))


def plain_holes(missing: int) -> int:
    """How many bytes are zeros at least, where so many stored bytes are not there."""
    return missing // (PAGE_BYTES + OVERHEAD) * PAGE_BYTES


def stored_holes(holes: int) -> int:
    """The stored bytes that are not there, where so many are zeros (`plain_holes`)."""
    return holes // PAGE_BYTES * (PAGE_BYTES + OVERHEAD)


class PageSealer:
    """Seals pages in one go: each number once at most. `salt`: SALT_BYTES that are random (P1)."""

    def __init__(self, object_key: bytes, salt: bytes) -> None:
        assert len(salt) == SALT_BYTES and salt != _NO_SALT
        self._salt = salt
        self._cipher = AESGCM(page_key(object_key, salt))

    def seal(self, first: int, plain: bytes | bytearray) -> bytes:
        """Return the stored form of the pages from number `first` on."""
        view, sealed = memoryview(plain), []
        for at in range(0, len(view), PAGE_BYTES):
            number = first + at // PAGE_BYTES
            sealed += [self._salt, self._cipher.encrypt(_nonce(number), view[at : at + PAGE_BYTES], _bound(number))]
        return b"".join(sealed)


class PageOpener:
    """Opens the stored bytes `stored_span(size, start, stop)` and yields the plain bytes [start, stop)."""

    def __init__(self, object_key: bytes, size: int, start: int, stop: int) -> None:
        self._object_key = object_key
        self._size, self._start, self._stop = size, start, stop
        self._wanted = iter(pages_of(start, stop)) if start < stop else iter(())
        self._next = next(self._wanted, None)
        self._ciphers: dict[bytes, AESGCM] = {}
        self._kept = b""

    @property
    def done(self) -> bool:
        """Was everything opened?"""
        return self._next is None

    def feed(self, piece: bytes) -> bytes:
        """Take the next stored bytes, return the plain bytes of the pages that are complete. Raises CorruptSeal."""
        stored = self._kept + piece if self._kept else piece
        view, at, opened = memoryview(stored), 0, []
        while self._next is not None:
            begin = self._next * PAGE_BYTES
            length = min(PAGE_BYTES, self._size - begin)
            if len(view) - at < length + OVERHEAD:
                break
            plain = self._open(self._next, view[at : at + length + OVERHEAD])
            opened.append(plain[max(self._start - begin, 0) : self._stop - begin])
            at += length + OVERHEAD
            self._next = next(self._wanted, None)
        self._kept = bytes(view[at:])
        return b"".join(opened)

    def _open(self, number: int, stored: memoryview) -> bytes:
        salt = bytes(stored[:SALT_BYTES])
        if salt == _NO_SALT and not any(stored):
            return bytes(len(stored) - OVERHEAD)
        cipher = self._ciphers.get(salt)
        if cipher is None:
            if len(self._ciphers) >= CIPHERS_MAX:
                self._ciphers.clear()
            cipher = self._ciphers[salt] = AESGCM(page_key(self._object_key, salt))
        try:
            return cipher.decrypt(_nonce(number), stored[SALT_BYTES:], _bound(number))
        except InvalidTag as error:
            raise CorruptSeal(f"page {number} fails its check") from error


def runs_of(pages: list[int], most: int) -> Iterator[tuple[int, int]]:
    """Yield (first, behind the last) of neighbouring pages, at most `most` together. `pages` in order."""
    first = behind = None
    for page in pages:
        if first is not None and behind == page and page - first < most:
            behind = page + 1
            continue
        if first is not None and behind is not None:
            yield first, behind
        first, behind = page, page + 1
    if first is not None and behind is not None:
        yield first, behind


def _nonce(number: int) -> bytes:
    return number.to_bytes(12, "big")


def _bound(number: int) -> bytes:
    return bytes((FORMAT,)) + number.to_bytes(8, "big")
