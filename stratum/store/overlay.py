"""Changes that are visible but not yet durable, laid over the committed index.

Room: stratum/store. May import: core.txn.

A `Layer` holds the rows that one batch changes, or several that followed each other. At most four exist at a time:
the open one, which collects; below it the sealed one, which the journal is to get; one with what only the journal has;
and one that the index is getting. A `MergedTxn` looks through them onto the committed rows.

Invariants
    O1  A change that raises leaves its layer exactly as it was.
    O2  A sealed layer never changes again, but to `take` the next one, when the journal has both.
    O3  `MergedTxn.seen` is at least the number of every layer whose row, or removal of a row, was looked at.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from typing import Final

from stratum.core.txn import Txn

KEY_BYTES = 2048
_FEW = 32  # keys that are cheaper put in their places one by one
ROW_COST = 200  # bytes of memory a pending row costs besides its key and value (measured: 180 to 220)


class _Absent:
    """The type of ABSENT."""


ABSENT: Final = _Absent()  # the layer says nothing about the key; None says that it is removed


class Layer:
    """The rows that one batch puts (bytes) or removes (None), and their keys in order.

    `cost` is the memory it takes, in bytes. `number` is the batch's place in the order of all commits.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.rows: dict[bytes, bytes | None] = {}
        self.keys: list[bytes] = []
        self.cost = 0
        self._ordered = True

    def change(self, key: bytes, value: bytes | None) -> bytes | _Absent | None:
        """Set what the layer says about `key`; return what it said before."""
        before = self.rows.get(key, ABSENT)
        if isinstance(before, _Absent):
            insort(self.keys, key)
            self.cost += len(key) + ROW_COST
        elif before is not None:
            self.cost -= len(before)
        self.rows[key] = value
        self.cost += len(value) if value is not None else 0
        return before

    def restore(self, key: bytes, before: bytes | _Absent | None) -> None:
        """Take back a `change` that returned `before`."""
        if not isinstance(before, _Absent):
            self.change(key, before)
            return
        value = self.rows.pop(key)
        del self.keys[bisect_left(self.keys, key)]
        self.cost -= len(key) + ROW_COST + (len(value) if value is not None else 0)

    def take(self, newer: "Layer") -> None:
        """Say what the layer above says, and the rest as before. `cost` becomes a bound: nothing is taken off."""
        added = [key for key in newer.keys if key not in self.rows]
        if self._ordered and len(added) < _FEW:
            for key in added:
                insort(self.keys, key)
        else:
            self.keys += added
            self._ordered = False
        self.rows |= newer.rows
        self.cost += newer.cost
        self.number = newer.number

    def changes(self) -> list[tuple[bytes, bytes | None]]:
        """Everything the layer says, in key order. In any thread, if the layer is sealed."""
        return [(key, self.rows[key]) for key in (self.keys if self._ordered else sorted(self.rows))]

    def first(self, start: bytes, stop: bytes) -> bytes | None:
        """The layer's smallest key with start <= key < stop, or None."""
        if not self._ordered:
            self.keys.sort()
            self._ordered = True
        position = bisect_left(self.keys, start)
        if position == len(self.keys) or self.keys[position] >= stop:
            return None
        return self.keys[position]


class MergedTxn:
    """A `core.txn.Txn` that reads through layers (newest first) onto committed rows, and writes to the first.

    With `writable` off, put and delete raise TypeError. `seen` is the highest number of a layer that was
    looked at, 0 if none was: what was read is durable once that batch is.
    """

    __slots__ = ("_base", "_layers", "_undo", "_writable", "seen")

    def __init__(self, base: Txn, layers: Sequence[Layer], *, writable: bool) -> None:
        self._base = base
        self._layers = layers
        self._writable = writable
        self._undo: list[tuple[bytes, bytes | _Absent | None]] = []
        self.seen = 0

    @property
    def changed(self) -> bool:
        """Whether anything was put or deleted."""
        return bool(self._undo)

    def get(self, key: bytes) -> bytes | None:
        """Return the value under `key`, or None."""
        for layer in self._layers:
            value = layer.rows.get(key, ABSENT)
            if not isinstance(value, _Absent):
                if layer.number > self.seen:
                    self.seen = layer.number
                return value
        return self._base.get(key)

    def put(self, key: bytes, value: bytes) -> None:
        """Store `value` under `key`."""
        if type(value) is not bytes:
            raise TypeError(f"a value is bytes, not {type(value).__name__}")
        self._change(key, value)

    def delete(self, key: bytes) -> None:
        """Remove `key`."""
        self._change(key, None)

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield (key, value) with start <= key < stop in byte order."""
        base = self._base.scan(start, stop)
        pending = self._first(start, stop)
        for row in base:
            while pending is not None and pending <= row[0]:
                value = self.get(pending)
                if value is not None:
                    yield pending, value
                at, pending = pending, self._first(pending + b"\0", stop)
                if at == row[0]:
                    break
            else:
                yield row
        while pending is not None:
            value = self.get(pending)
            if value is not None:
                yield pending, value
            pending = self._first(pending + b"\0", stop)

    def touched(self, tables: bytes) -> list[tuple[bytes, bytes | None, bytes | None]]:
        """(key, before, now) of every row that was changed, of those whose keys begin with one of `tables`."""
        before: dict[bytes, bytes | _Absent | None] = {}
        for key, was in self._undo:
            if key[0] in tables:
                before.setdefault(key, was)
        rows, below = self._layers[0].rows, MergedTxn(self._base, self._layers[1:], writable=False)
        found = [(key, below.get(key) if isinstance(was, _Absent) else was, rows[key]) for key, was in before.items()]
        self.seen = max(self.seen, below.seen)
        return found

    def undo(self) -> None:
        """Take back every put and delete (O1)."""
        for key, before in reversed(self._undo):
            self._layers[0].restore(key, before)
        self._undo.clear()

    def _change(self, key: bytes, value: bytes | None) -> None:
        if not self._writable:
            raise TypeError("a query changed a row")
        if type(key) is not bytes or not 1 <= len(key) <= KEY_BYTES or key[0] == 0xFF:
            raise ValueError(f"not a key of 1 to {KEY_BYTES} bytes below 0xff: {key[:40]!r}")
        self._undo.append((key, self._layers[0].change(key, value)))

    def _first(self, start: bytes, stop: bytes) -> bytes | None:
        """The smallest key in [start, stop) that any layer says something about."""
        found = [key for layer in self._layers if (key := layer.first(start, stop)) is not None]
        return min(found, default=None)
