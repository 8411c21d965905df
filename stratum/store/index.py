"""The index: one LMDB environment with every row, and how it is opened, checked, written and grown.

Room: stratum/store. May import: core, store.failpoints, store.longkeys, store.overlay. The only module that knows LMDB.

Invariants
    I1  Every commit carries its sequence number in the row `n | commit`, and its pages are synced. The page that makes
        it the newest is synced with the next commit, or by `close`: a power cut may undo the last commit, and no more.
        The redo journal has that one (M3), and the next start rolls forward (docs/decisions/0026).
    I2  One thread writes. No transaction is open when the map grows, none is used after a fork.
    I3  What LMDB says goes up as our own errors: IndexDamaged for pages not as written, DiskFailed for the rest.
    I4  The rows of the index's own are keyed as longkeys.py says (K2), with a checksum as every record.
    I5  `look` keeps its transaction open from one call to the next, for to begin one costs more than a row: until the
        owner of the loop says that a commit is done (`committed`), and before the map grows.
    I6  A row remembered for `look` is as the last commit left it that `committed` was told of. What a commit under way
        changes is never asked for here: the overlay has it.

The settings are LMDB's safe ones (sync, no writemap), but for the meta page (I1); the file format is pinned
(lib_version 0 is that of LMDB 0.9).
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from os import getpid
from pathlib import Path
from typing import TypeVar

import lmdb
import msgspec
from lmdb.verify import VerifyError
from lmdb.verify import verify as verify_pages

from stratum.core.errors import Corrupt, DiskFailed
from stratum.core.records import decode, encode
from stratum.core.schema import COUNTER
from stratum.core.txn import Txn, load
from stratum.store import failpoints
from stratum.store.longkeys import COUNTER_KEY, RESERVED, LongKeys

SEQUENCE_KEY = COUNTER + b"commit"
DATA_FILE = "data.mdb"
_STORE_KEY = RESERVED + b"store"
_READERS = 126
_REMEMBERED, _REMEMBERED_BYTES = 16_384, 1024  # rows, and the largest of them: 4 MiB as a rule, never above 20
_FILL = 0.8  # of the map, before it grows
_PAGES_PER_ROW = 4  # generous: pages one changed row may dirty (address space costs nothing)
_DAMAGE = (
    lmdb.CorruptedError,
    lmdb.InvalidError,
    lmdb.PageNotFoundError,
    lmdb.VersionMismatchError,
    lmdb.IncompatibleError,
)

T = TypeVar("T")
Change = tuple[bytes, bytes | None]  # a row to put, or (None) to remove
Remembered = OrderedDict[bytes, bytes | None]


class IndexDamaged(Corrupt):
    """The index is not what was written: it must be rebuilt from the journal."""


class Rows:
    """A `core.txn.Txn` on one LMDB transaction. Keys are 1 to 511 bytes."""

    __slots__ = ("_txn",)

    def __init__(self, txn: "lmdb.Transaction[bytes]") -> None:
        self._txn = txn

    def get(self, key: bytes) -> bytes | None:
        """See Txn."""
        found: bytes | None = self._txn.get(key)
        return found

    def put(self, key: bytes, value: bytes) -> None:
        """See Txn."""
        self._txn.put(key, value)

    def delete(self, key: bytes) -> None:
        """See Txn."""
        self._txn.delete(key)

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        """See Txn."""
        cursor = self._txn.cursor()
        if cursor.set_range(start or b"\0"):
            for row in cursor:
                if row[0] >= stop:
                    return
                yield row


class RememberedRows:
    """A `core.txn.Txn` for looking alone, which asks the one below once for a row, be it there or not.

    Every row that LMDB is asked for gives the interpreter away, and with it the turn, to threads that commit.
    """

    __slots__ = ("_below", "_rows", "scan")

    def __init__(self, below: Txn, rows: Remembered) -> None:
        self._below = below
        self._rows = rows
        self.scan = below.scan

    def get(self, key: bytes) -> bytes | None:
        """See Txn."""
        try:
            return self._rows[key]
        except KeyError:
            found = self._below.get(key)
            remember(self._rows, key, found)
            return found

    def put(self, key: bytes, value: bytes) -> None:
        """Never: the overlay takes what is put."""
        raise TypeError("the index is changed by a commit")

    def delete(self, key: bytes) -> None:
        """Never: the overlay takes what is removed."""
        raise TypeError("the index is changed by a commit")


def remember(rows: Remembered, key: bytes, value: bytes | None) -> None:
    """Note what a row is, and let the one noted longest ago go where there is no room."""
    if len(key) + (0 if value is None else len(value)) > _REMEMBERED_BYTES:
        rows.pop(key, None)
        return
    if len(rows) >= _REMEMBERED and key not in rows:
        rows.popitem(last=False)  # of a dict, the first is ever harder to find
    rows[key] = value


class Index:
    """An open index. Any thread may read, one at a time commit; `grow` only when nothing else runs."""

    def __init__(self, folder: Path, *, map_bytes: int) -> None:
        """Open the index in `folder`, or make an empty one. Raises IndexDamaged, DiskFailed."""
        self._process = getpid()
        try:
            self._env = lmdb.open(
                str(folder),
                map_size=map_bytes,
                max_readers=_READERS,
                max_spare_txns=4,
                sync=True,
                metasync=False,
                writemap=False,
                map_async=False,
                readahead=False,
                lib_version=0,
            )
        except lmdb.Error as error:
            raise _translate(error) from error
        flags = self._env.flags()
        if not flags["sync"] or flags["writemap"] or flags["map_async"]:
            raise RuntimeError(f"LMDB opened with other flags than asked for: {flags}")
        self._env.reader_check()  # slots of processes that were killed
        self._held: tuple[lmdb.Transaction[bytes], RememberedRows] | None = None
        self._remembered: Remembered = OrderedDict()
        self._page = self._env.stat()["psize"]

    def read(self, query: Callable[[Txn], T]) -> T:
        """Run `query` on a snapshot of what is committed. Raises IndexDamaged, DiskFailed."""
        if getpid() != self._process:
            raise RuntimeError("the index was opened in another process (before a fork)")
        try:
            with self._env.begin() as txn:
                return query(LongKeys(Rows(txn)))
        except lmdb.Error as error:
            raise _translate(error) from error

    def look(self, query: Callable[[Txn], T]) -> T:
        """As `read`, for one thread alone, which calls `committed` after every commit: until then it may see the one
        before."""
        if getpid() != self._process:
            raise RuntimeError("the index was opened in another process (before a fork)")
        try:
            held = self._held
            if held is None:
                txn = self._env.begin()
                held = self._held = (txn, RememberedRows(LongKeys(Rows(txn)), self._remembered))
            return query(held[1])
        except lmdb.Error as error:
            self._let_go()
            raise _translate(error) from error

    def committed(self, rows: Mapping[bytes, bytes | None] | None) -> None:
        """A commit of these rows has ended (None: nobody knows how): `look` is to see it from now on."""
        self._let_go()
        if rows is None or len(rows) > _REMEMBERED // 8:  # so many are not worth the time of the loop
            self._remembered.clear()
        else:
            for key, value in rows.items():
                remember(self._remembered, key, value)

    def _let_go(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            held[0].abort()

    def commit(self, sequence: int, changes: Iterable[Change]) -> None:
        """Put and remove rows in one durable transaction. After an error its outcome is unknown.

        Raises IndexDamaged, DiskFailed.
        """
        if getpid() != self._process:
            raise RuntimeError("the index was opened in another process (before a fork)")
        try:
            failpoints.before("index", "commit")
            with self._env.begin(write=True) as txn:
                rows = LongKeys(Rows(txn))
                for key, value in changes:
                    if value is None:
                        rows.delete(key)
                    else:
                        rows.put(key, value)
                rows.put(SEQUENCE_KEY, encode(SEQUENCE_KEY, sequence))
            failpoints.after("index", "commit")
        except lmdb.Error as error:
            raise _translate(error) from error
        except OSError as error:  # from a failpoint: LMDB has errors of its own
            raise DiskFailed(f"metadata index: {error}") from error

    def sequence(self) -> int:
        """Number of the last commit, 0 before the first. Raises CorruptRecord, IndexDamaged."""
        return self.read(sequence_of)

    def store_id(self) -> bytes:
        """Id of the store that the index belongs to, empty if it has none yet. Raises CorruptRecord."""
        raw = self.read(lambda txn: txn.get(_STORE_KEY))
        return b"" if raw is None else decode(_STORE_KEY, raw, bytes)

    def claim(self, store_id: bytes) -> None:
        """Say which store the index belongs to, durably. Raises DiskFailed."""
        try:
            with self._env.begin(write=True) as txn:
                txn.put(_STORE_KEY, encode(_STORE_KEY, store_id))
            self._env.sync(True)
        except lmdb.Error as error:
            raise _translate(error) from error

    def must_grow(self, cost: int, rows: int) -> bool:
        """Whether the map is too small for a commit of `rows` rows and `cost` bytes."""
        return self._wanted(cost, rows) > self._env.info()["map_size"] * _FILL

    def grow(self, cost: int, rows: int) -> None:
        """Make the map large enough. No other transaction may be open in this process (I2). Raises DiskFailed."""
        self._let_go()
        size = max(2 * self._env.info()["map_size"], 2 * self._wanted(cost, rows))
        try:
            self._env.set_mapsize(size // self._page * self._page)
        except lmdb.Error as error:
            raise _translate(error) from error

    def close(self) -> None:
        """Make the last commit durable as well, and let go of the files. Raises DiskFailed."""
        self._let_go()
        try:
            self._env.sync(True)
        except lmdb.Error as error:
            raise _translate(error) from error
        finally:
            self._env.close()

    def _wanted(self, cost: int, rows: int) -> int:
        used = (int(self._env.info()["last_pgno"]) + 1) * self._page
        return used + 2 * cost + (rows + 64) * _PAGES_PER_ROW * self._page


def sequence_of(txn: Txn) -> int:
    """Number of the last commit that `txn` sees, 0 before the first. Raises CorruptRecord."""
    return load(txn, SEQUENCE_KEY, int) or 0


def find_damage(folder: Path) -> str:
    """Check every page of the closed index in `folder` (about 100 MB/s): what is wrong, "" if nothing is.

    To be called before the index is opened: LMDB kills the process when it meets a truncated file.
    """
    try:
        problems: list[str] = verify_pages(str(folder), subdir=True)  # type: ignore[no-untyped-call]
    except (VerifyError, OSError) as error:
        return f"index cannot be checked: {error}"
    return f"index pages: {problems[0]} ({len(problems)} in all)" if problems else ""


def find_damaged_row(index: Index) -> str:
    """Check every record against its checksum: what is wrong with the first bad one, "" if all are good."""

    def look(txn: Txn) -> None:
        for _ in sound_rows(txn):
            pass
        load(txn, COUNTER_KEY, int)
        load(txn, _STORE_KEY, bytes)

    try:
        index.read(look)
    except Corrupt as error:
        return str(error)
    return ""


def sound_rows(txn: Txn) -> Iterator[tuple[bytes, bytes]]:
    """All rows but the sequence, each checked against its checksum. Raises CorruptRecord at the first bad one."""
    for key, raw in txn.scan(b"\0", RESERVED):
        decode(key, raw, msgspec.Raw)
        if key != SEQUENCE_KEY:
            yield key, raw


def _translate(error: "lmdb.Error") -> Corrupt | DiskFailed:
    if isinstance(error, _DAMAGE):
        return IndexDamaged(f"metadata index: {error}")
    return DiskFailed(f"metadata index: {error}")
