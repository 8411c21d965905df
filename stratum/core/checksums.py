"""Checksums and digests of object bytes: computed while they stream by, combined, shown as S3 shows them.

Room: stratum/core. May import: nothing.

Sources: docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html (which algorithm
allows which multipart type); raw digests are big-endian there, so they are everywhere here.
"""

import base64
import binascii
import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import xxhash
from awscrt import checksums as crt

Buffer = bytes | bytearray | memoryview

FULL_OBJECT, COMPOSITE = "FULL_OBJECT", "COMPOSITE"


class Running(Protocol):
    """A digest under way."""

    def update(self, data: Buffer, /) -> None:
        """Take the next bytes."""

    def digest(self) -> bytes:
        """Return the raw digest of all bytes so far."""


class _Crc:
    def __init__(self, step: Callable[[Buffer, int], int], width: int) -> None:
        self._step, self._width, self._value = step, width, 0

    def update(self, data: Buffer) -> None:
        self._value = self._step(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(self._width, "big")


@dataclass(frozen=True, slots=True)
class Algorithm:
    """One digest S3 knows: raw size in bytes, and the types a multipart object may have, the default first."""

    width: int
    types: tuple[str, ...]
    start: Callable[[], Running]


def _md5() -> Running:
    return hashlib.md5(usedforsecurity=False)


def _sha1() -> Running:
    return hashlib.sha1(usedforsecurity=False)


ALGORITHMS = {
    "md5": Algorithm(16, (COMPOSITE,), _md5),
    "crc32": Algorithm(4, (COMPOSITE, FULL_OBJECT), lambda: _Crc(crt.crc32, 4)),
    "crc32c": Algorithm(4, (COMPOSITE, FULL_OBJECT), lambda: _Crc(crt.crc32c, 4)),
    "crc64nvme": Algorithm(8, (FULL_OBJECT,), lambda: _Crc(crt.crc64nvme, 8)),
    "sha1": Algorithm(20, (COMPOSITE,), _sha1),
    "sha256": Algorithm(32, (COMPOSITE,), hashlib.sha256),
    "sha512": Algorithm(64, (COMPOSITE,), hashlib.sha512),
    "xxhash64": Algorithm(8, (COMPOSITE,), xxhash.xxh64),
    "xxhash3": Algorithm(8, (COMPOSITE,), xxhash.xxh3_64),
    "xxhash128": Algorithm(16, (COMPOSITE,), xxhash.xxh3_128),
}

_COMBINE = {
    "crc32": crt.combine_crc32,
    "crc32c": crt.combine_crc32c,
    "crc64nvme": crt.combine_crc64nvme,
}


class Digests:
    """Several digests of one run of bytes, each byte read once per algorithm. Not for use in two threads at once."""

    def __init__(self, algorithms: Iterable[str]) -> None:
        self._running = {name: ALGORITHMS[name].start() for name in sorted(set(algorithms))}

    def update(self, data: Buffer) -> None:
        """Take the next bytes. Holds the GIL only between algorithms."""
        for running in self._running.values():
            running.update(data)

    def results(self) -> dict[str, bytes]:
        """Return {algorithm: raw digest} of all bytes so far."""
        return {name: running.digest() for name, running in self._running.items()}


def combine_crc(algorithm: str, a: bytes, b: bytes, length_b: int) -> bytes:
    """Return the CRC of A followed by B, from the CRCs of both and the length of B in bytes."""
    width = ALGORITHMS[algorithm].width
    combined = _COMBINE[algorithm](int.from_bytes(a, "big"), int.from_bytes(b, "big"), length_b)
    return int(combined).to_bytes(width, "big")


def composite(algorithm: str, digests: Sequence[bytes]) -> str:
    """Return base64(H(digest 1, digest 2 ...))-N: the checksum of a multipart object from those of its parts."""
    running = ALGORITHMS[algorithm].start()
    running.update(b"".join(digests))
    return f"{encode_base64(running.digest())}-{len(digests)}"


def encode_base64(raw: bytes) -> str:
    """Return the standard base64 of `raw`, padded, on one line."""
    return base64.b64encode(raw).decode("ascii")


def decode_base64(text: str, width: int) -> bytes | None:
    """Return the `width` bytes that `text` stands for, or None if it is not their one base64 form."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw if len(raw) == width and encode_base64(raw) == text else None
