"""The index: one LMDB environment with every row, and how it is opened, checked, written and grown.

Room: stratum/store. May import: core, store.failpoints, store.longkeys, store.overlay. The only module that knows LMDB.

Invariants
    I1  Every commit carries its sequence number in the row `n | commit`, and its pages are synced. The page that makes
        it the newest is synced with the next commit, or by `close`: a power cut may undo the last commit, and no more.
        The redo journal has that one (M3), and the next start rolls forward (docs/decisions/0026).
    I2  One thread writes. No transaction is open when the map grows, none is used after a fork.
    I3  What LMDB says goes up as our own errors: IndexDamaged for pages not as written, DiskFailed for the rest.
    I4  The rows of the index's own are keyed as longkeys.py says (K2), with a checksum as every record.

The settings are LMDB's safe ones (sync, no writemap), but for the meta page (I1); the file format is pinned
(lib_version 0 is that of LMDB 0.9).
"""

from collections.abc import Callable, Iterable, Iterator
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
        """Make the map large enough. No transaction may be open in this process (I2). Raises DiskFailed."""
        size = max(2 * self._env.info()["map_size"], 2 * self._wanted(cost, rows))
        try:
            self._env.set_mapsize(size // self._page * self._page)
        except lmdb.Error as error:
            raise _translate(error) from error

    def close(self) -> None:
        """Make the last commit durable as well, and let go of the files. Raises DiskFailed."""
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
