"""The bytes of a shard file: a header, then frames. Nothing in it is trusted before its check has passed.

Room: stratum/core. May import: core.errors.

    shard header, 128 bytes, little endian
        0  magic b"STRMSHRD"      8  format version u16   10  k u8   11  m u8   12  shard index u8   13  zeros
       16  store id, 16 bytes    32  volume id u64        40  sequence of the index at creation u64   48  zeros
      112  XXH3-128 of bytes 0..112
    frame, 32 + width bytes: one cell of one stripe
        0  magic b"CELL"          4  width u32             8  zeros, 8 bytes
       16  XXH3-128 of the cell  32  the cell, zero padded to its width

Invariants
    F1  Frames follow each other without gaps; all shards of a volume have frames at the same positions, of the
        same widths.
    F2  A cell's checksum is seeded with store, volume, shard index, position and width. So a stale, swapped or
        misdirected frame fails its check, although it was a good one elsewhere.
"""

import struct
from dataclasses import dataclass
from functools import lru_cache

import xxhash

from stratum.core.errors import Corrupt

FORMAT_VERSION = 1
HEADER_BYTES = 128
FRAME_HEADER_BYTES = 32
WIDTH_STEP = 64  # widths of cells that are not full are rounded up to this, bytes
MAX_WIDTH = 16 * 1024**2  # a larger width in a frame header is damage

_MAGIC = b"STRMSHRD"
_FRAME_MAGIC = b"CELL"
_HEADER = struct.Struct("<8sHBBBxxx16sQQ64x")
_SEED = struct.Struct("<QQQ")
_POSITION = struct.Struct("<QI")
_PREFIX = struct.Struct("<4sI8x")
_CHECKED = _HEADER.size  # the checksum of the header rests behind it

Buffer = bytes | bytearray | memoryview


class BadShard(Corrupt):
    """A shard header or a frame is not what was written there."""


@dataclass(frozen=True, slots=True)
class ShardHeader:
    """What a shard file says it is."""

    store: bytes  # 16 bytes
    volume: int
    shard: int
    k: int
    m: int
    sequence: int  # commit sequence of the index when the volume was begun; advice for recovery tools


def encode_header(header: ShardHeader) -> bytes:
    """Return the 128 bytes at the beginning of a shard file."""
    raw = _HEADER.pack(
        _MAGIC, FORMAT_VERSION, header.k, header.m, header.shard, header.store, header.volume, header.sequence
    )
    return raw + xxhash.xxh3_128_digest(raw)


def decode_header(raw: Buffer) -> ShardHeader:
    """Return what a shard file says it is. Raises BadShard."""
    if len(raw) < HEADER_BYTES:
        raise BadShard("the header is cut short")
    if xxhash.xxh3_128_digest(raw[:_CHECKED]) != raw[_CHECKED:HEADER_BYTES]:
        raise BadShard("the header fails its checksum")
    magic, version, k, m, shard, store, volume, sequence = _HEADER.unpack(raw[:_CHECKED])
    if magic != _MAGIC or version != FORMAT_VERSION:
        raise BadShard(f"not a shard of format {FORMAT_VERSION}")
    return ShardHeader(store, volume, shard, k, m, sequence)


def shard_seed(store: bytes, volume: int, shard: int) -> int:
    """Return what ties the checksums of a shard to its place (F2)."""
    low, high = struct.unpack("<QQ", xxhash.xxh3_128_digest(store))
    return int(xxhash.xxh3_64_intdigest(_SEED.pack(high, volume, shard), seed=low))


def frame_header(seed: int, position: int, cell: Buffer) -> bytes:
    """Return the 32 bytes before `cell` when its frame begins at byte `position` of the shard file."""
    width = len(cell)
    return _prefix(width) + _checksum(seed, position, width, cell)


def is_good(seed: int, position: int, width: int, frame: Buffer) -> bool:
    """Does `frame` hold the cell of that width that was written at that position of that shard?"""
    return (
        len(frame) == FRAME_HEADER_BYTES + width
        and frame[:16] == _prefix(width)
        and frame[16:32] == _checksum(seed, position, width, frame[32:])
    )


def width_in(frame: Buffer) -> int:
    """Return the width a frame claims; believe it only once `is_good` says so. Raises BadShard."""
    if len(frame) < FRAME_HEADER_BYTES:
        raise BadShard("a frame header is cut short")
    width = int.from_bytes(frame[4:8], "little")
    if frame[:16] != _PREFIX.pack(_FRAME_MAGIC, width) or not 0 < width <= MAX_WIDTH:
        raise BadShard("no frame where one should begin")
    return width


@lru_cache(maxsize=1024)
def _prefix(width: int) -> bytes:
    return _PREFIX.pack(_FRAME_MAGIC, width)


def _checksum(seed: int, position: int, width: int, cell: Buffer) -> bytes:
    place = xxhash.xxh3_64_intdigest(_POSITION.pack(position, width), seed=seed)
    return xxhash.xxh3_128_digest(cell, seed=place)
