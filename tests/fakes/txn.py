"""A transaction in memory, for tests of rooms that only decide.

Room: tests. May import: stratum.core.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterator
from typing import TypeVar

T = TypeVar("T")


class MemoryTxn:
    """`core.txn.Txn` over a dict and a sorted list of its keys.

    `rows` may be read by tests, and compared between two transactions. A scan survives changes made while it
    runs: it always goes on behind the last key it yielded. Like the real thing it refuses what is not bytes
    and keys that are not 1 to 2048 bytes.
    """

    def __init__(self, rows: dict[bytes, bytes] | None = None) -> None:
        self.rows: dict[bytes, bytes] = dict(rows or {})
        self._keys = sorted(self.rows)

    def get(self, key: bytes) -> bytes | None:
        _check(key)
        return self.rows.get(key)

    def put(self, key: bytes, value: bytes) -> None:
        _check(key)
        if type(value) is not bytes:
            raise TypeError(f"a value is bytes, not {type(value).__name__}")
        if key not in self.rows:
            insort(self._keys, key)
        self.rows[key] = value

    def delete(self, key: bytes) -> None:
        _check(key)
        if self.rows.pop(key, None) is not None:
            del self._keys[bisect_left(self._keys, key)]

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        at = start
        while True:
            position = bisect_left(self._keys, at)
            if position == len(self._keys) or self._keys[position] >= stop:
                return
            key = self._keys[position]
            yield key, self.rows[key]
            at = key + b"\x00"

    def attempt(self, change: Callable[["MemoryTxn"], T]) -> T:
        """Run `change` as `meta.write` would: if it raises, nothing happened."""
        before = dict(self.rows)
        try:
            return change(self)
        except BaseException:
            self.rows = before
            self._keys = sorted(before)
            raise


def _check(key: bytes) -> None:
    if type(key) is not bytes:
        raise TypeError(f"a key is bytes, not {type(key).__name__}")
    if not 1 <= len(key) <= 2048:
        raise ValueError(f"a key has 1 to 2048 bytes, not {len(key)}")
