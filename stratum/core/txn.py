"""The two things a metadata transaction is: ordered bytes, and typed records on top.

Room: stratum/core. May import: core.errors, core.records.

`Txn` is deliberately small, so that LMDB with a write-behind overlay stands behind it today and a distributed
ordered store could tomorrow (design section 6). A change function may be run again, must not await, and must
touch only the transaction and its own arguments (law 4).
"""

from collections.abc import Iterator
from typing import Protocol, TypeVar

from stratum.core.records import decode, decode_known, encode_counter

T = TypeVar("T")


class Txn(Protocol):
    """An ordered map of bytes to bytes, seen at one instant. Keys are 1 to 2048 bytes."""

    def get(self, key: bytes) -> bytes | None:
        """Return the value under `key`, or None."""

    def put(self, key: bytes, value: bytes) -> None:
        """Store `value` under `key`, replacing what was there."""

    def delete(self, key: bytes) -> None:
        """Remove `key`; removing what is not there is not an error."""

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield (key, value) with start <= key < stop in byte order.

        Changing keys that were already yielded is allowed while scanning; changes ahead of the cursor may or
        may not be seen.
        """


def load(txn: Txn, key: bytes, type: type[T]) -> T | None:  # noqa: A002
    """Return the record under `key`, or None. Raises CorruptRecord."""
    raw = txn.get(key)
    return None if raw is None else decode_known(key, raw, type)


def save(txn: Txn, key: bytes, record: object) -> None:
    """Store `record` under `key`."""
    txn.put(key, encode_counter(key, record))


def scan_records(txn: Txn, prefix: bytes, type: type[T]) -> Iterator[tuple[bytes, T]]:  # noqa: A002
    """Yield (key without prefix, record) for every key below `prefix`, in byte order. Raises CorruptRecord."""
    for key, raw in txn.scan(prefix, successor(prefix)):
        yield key[len(prefix) :], decode(key, raw, type)


def successor(prefix: bytes) -> bytes:
    """Return the smallest key above every key that begins with `prefix` (not empty, not all 0xff)."""
    trimmed = prefix.rstrip(b"\xff")
    assert trimmed, "a prefix of only 0xff has no successor"
    return trimmed[:-1] + bytes((trimmed[-1] + 1,))
