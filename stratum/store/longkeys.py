"""Keys of any length on a map that only takes short ones, in the same order.

Room: stratum/store. May import: core.records, core.txn.

LMDB takes keys of 511 bytes; a directory entry may need 1034. A key of at most 510 bytes is stored as it is.
Of a longer key, the first 511 bytes (the head) are a row of their own whose value is a continuation id, and
the rest of the key is stored below `0xff | id (8 bytes)`, by the same rule again. All keys with one head rest
together under its id, so a walk that descends at every row of 511 bytes is in byte order of the full keys.

Invariants
    K1  A row of exactly 511 bytes is a head, and its continuation holds at least one row.
    K2  Keys that begin with 0xff are the index's own: continuations (at least 9 bytes) and the few rows named
        here and in `index.py` (at most 8 bytes). No key of a caller begins so.
    K3  Ids come from a counter row and are never reused, so that an id never means two heads.
"""

from collections.abc import Iterator

from stratum.core.records import decode, encode
from stratum.core.txn import Txn, successor

HEAD_BYTES = 511  # LMDB's longest key
RESERVED = b"\xff"
COUNTER_KEY = RESERVED + b"next"


class LongKeys:
    """A `core.txn.Txn` for keys of any length over one that takes keys of at most 511 bytes."""

    __slots__ = ("_rows",)

    def __init__(self, rows: Txn) -> None:
        self._rows = rows

    def get(self, key: bytes) -> bytes | None:
        """Return the value under `key`, or None. Raises CorruptRecord."""
        if len(key) < HEAD_BYTES:
            return self._rows.get(key)
        _, folded = self._fold(key)
        return None if folded is None else self._rows.get(folded)

    def put(self, key: bytes, value: bytes) -> None:
        """Store `value` under `key`. Raises CorruptRecord."""
        while len(key) >= HEAD_BYTES:
            head = key[:HEAD_BYTES]
            continuation = self._continuation(head)
            if continuation is None:
                continuation = self._new_continuation(head)
            key = continuation + key[HEAD_BYTES:]
        self._rows.put(key, value)

    def delete(self, key: bytes) -> None:
        """Remove `key` and the heads that it leaves without a row (K1). Raises CorruptRecord."""
        heads, folded = self._fold(key)
        if folded is None:
            return
        self._rows.delete(folded)
        for head, continuation in reversed(heads):
            if any(True for _ in self._rows.scan(continuation, successor(continuation))):
                return
            self._rows.delete(head)

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield (key, value) with start <= key < stop in byte order. Raises CorruptRecord."""
        return self._walk(start, min(stop, RESERVED), folded=b"", shown=b"")

    def _walk(self, low: bytes, high: bytes, *, folded: bytes, shown: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Walk stored keys in [low, high), which begin with `folded`, for keys that begin with `shown`."""
        cut = len(folded)
        first, last = low[:HEAD_BYTES], high[:HEAD_BYTES]
        end = last + b"\0" if len(high) > HEAD_BYTES else high  # the head `last` may hold keys < high
        for key, value in self._rows.scan(first, end):
            if len(key) < HEAD_BYTES:
                yield (shown + key[cut:] if cut else key), value
                continue
            below = _read_continuation(key, value)
            yield from self._walk(
                below + low[HEAD_BYTES:] if key == first else below,
                below + high[HEAD_BYTES:] if key == last else successor(below),
                folded=below,
                shown=shown + key[cut:],
            )

    def _fold(self, key: bytes) -> tuple[list[tuple[bytes, bytes]], bytes | None]:
        """The heads on the way to `key` with their continuations, and its stored key (None: no such row)."""
        heads: list[tuple[bytes, bytes]] = []
        while len(key) >= HEAD_BYTES:
            head = key[:HEAD_BYTES]
            continuation = self._continuation(head)
            if continuation is None:
                return heads, None
            heads.append((head, continuation))
            key = continuation + key[HEAD_BYTES:]
        return heads, key

    def _continuation(self, head: bytes) -> bytes | None:
        raw = self._rows.get(head)
        return None if raw is None else _read_continuation(head, raw)

    def _new_continuation(self, head: bytes) -> bytes:
        raw = self._rows.get(COUNTER_KEY)
        number = 1 if raw is None else decode(COUNTER_KEY, raw, int)
        self._rows.put(COUNTER_KEY, encode(COUNTER_KEY, number + 1))
        self._rows.put(head, encode(head, number))
        return RESERVED + number.to_bytes(8, "big")


def _read_continuation(head: bytes, raw: bytes) -> bytes:
    return RESERVED + decode(head, raw, int).to_bytes(8, "big")
