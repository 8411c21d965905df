"""How the metadata index is found again at start: as it is, rolled forward, or built anew from the journal.

Room: stratum/store. May import: core, store.disk, store.index.

The newest sequence wins. What the index has more than the journal can only be commits that nobody was promised
(index and journal are written at the same time), or the journal was lost; both ways the index is right, and a
snapshot must be taken before anything else is journaled. What the journal has more is applied to the index.

Invariants
    V1  `index` appears by a rename, whole: it is built and synced as `index.building`, and renamed only when the
        journal has vouched that it knows the newest commit.
    V2  An index that is damaged or too old is renamed to `index.damaged-<n>`, never changed or deleted.
    V3  While the index is open, or after an unclean stop, the file `index.open` exists. After an unclean stop
        every page and every record is checked; after a clean one, only if the index is small.
"""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from stratum.core.config import MIB
from stratum.core.errors import Corrupt, CorruptJournal, ForeignDisk
from stratum.store.disk import FolderDisk, make_folder
from stratum.store.index import (
    DATA_FILE,
    SEQUENCE_KEY,
    Change,
    Index,
    IndexDamaged,
    find_damage,
    find_damaged_row,
)

log = logging.getLogger(__name__)

INDEX, BUILDING, DAMAGED, MARKER = "index", "index.building", "index.damaged-", "index.open"
ALWAYS_CHECKED = 64 * MIB  # an index up to this size is checked at every start (about a second)
GROUP_COST = 16 * MIB  # what one commit takes while rolling forward
GROUP_ROWS = 20_000
_PURPOSE = "index"

Kind = Literal["new", "clean", "rolled-forward", "rebuilt"]
Record = tuple[int, list[Change]]  # sequence, what it changes


class ReadBack(Protocol):
    """What the journal found on the disks (see store/journal.py)."""

    @property
    def rows(self) -> Iterator[tuple[bytes, bytes]] | None:
        """Rows of the newest good snapshot, None if there is none."""
        ...

    @property
    def snapshot_seq(self) -> int:
        """Sequence that the snapshot shows, 0 if there is none."""
        ...

    @property
    def records(self) -> Iterator[tuple[int, list[Change]]]:
        """Everything after the snapshot, in order. May raise CorruptJournal."""
        ...

    @property
    def last_seq(self) -> int:
        """The newest sequence on any disk, 0 if there is none."""
        ...


@dataclass(frozen=True, slots=True)
class Recovery:
    """How the store came up: what was done, how many journal records were applied, and why."""

    kind: Kind
    records: int
    reason: str


class Plan(NamedTuple):
    """What to do at start: build the index anew or keep it, take a snapshot at once or not."""

    kind: Kind
    rebuild: bool
    snapshot: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Opened:
    """An index that is up to date. With `snapshot_due` the journal lacks what the index holds. A `provisional`
    one was built anew and is used only after `put_in_place`."""

    index: Index
    recovery: Recovery
    snapshot_due: bool
    provisional: bool


def decide(have: int | None, oldest: int, last: int, damage: str) -> Plan:
    """What to do with an index at sequence `have` (None: no sound index, and why in `damage`), when the
    journal begins after `oldest` and ends with `last` (0: empty). Raises IndexDamaged."""
    if have is None:
        if last > 0:
            return Plan("rebuilt", True, False, damage or "the index is missing")
        if damage:
            raise IndexDamaged(f"{damage}; no disk has a journal to build it anew from")
        return Plan("new", True, False, "nothing was stored yet")
    if have == last:
        return Plan("clean" if last else "new", False, False, "")
    if last == 0:
        return Plan("rolled-forward", False, True, "journal missing, rebuilt from the index")
    if have > last:
        return Plan("rolled-forward", False, True, f"the index was {have - last} commits ahead of the journal")
    if have >= oldest:
        return Plan("rolled-forward", False, False, f"the index was {last - have} commits behind the journal")
    return Plan("rebuilt", True, False, f"the index ({have}) is older than the oldest snapshot ({oldest})")


def open_index(folder: Path, store_id: bytes, found: ReadBack, *, map_bytes: int) -> Opened:
    """Open the index in `folder` and bring it up to date with the journal that was `found`.

    Raises IndexDamaged, CorruptJournal, ForeignDisk, DiskFailed, StoreFull.
    """
    make_folder(folder)
    home = FolderDisk(-1, folder)
    index, damage = _open_sound(home, folder, store_id, map_bytes)
    try:
        have = index.sequence() if index is not None else None
        plan = decide(have, found.snapshot_seq, found.last_seq, damage)
        if plan.rebuild:
            if index is not None:
                index.close()
            index, count = _rebuild(home, folder, store_id, found, map_bytes)
        else:
            assert index is not None, "a plan keeps only an index that there is"
            count = _roll_forward(index, found.records, index.sequence(), found.last_seq)
    except BaseException:
        if index is not None:
            index.close()
        raise
    log.info("metadata: %s, %d journal records applied %s", plan.kind, count, plan.reason)
    return Opened(index, Recovery(plan.kind, count, plan.reason), plan.snapshot, plan.rebuild)


def put_in_place(folder: Path, index: Index, *, map_bytes: int) -> Index:
    """Put a provisional index where the next start looks for it (V1, V2), and return it, opened again.

    Raises DiskFailed.
    """
    index.close()
    home = FolderDisk(-1, folder)
    home.fsync_directory(BUILDING, purpose=_PURPOSE)
    if home.exists(INDEX):
        home.rename(INDEX, _free_name(home), purpose=_PURPOSE)
    home.rename(BUILDING, INDEX, purpose=_PURPOSE)
    home.fsync_directory("", purpose=_PURPOSE)
    return Index(folder / INDEX, map_bytes=map_bytes)


def closed_cleanly(folder: Path) -> None:
    """Say that the index was closed with everything in it (V3). Raises DiskFailed."""
    home = FolderDisk(-1, folder)
    home.unlink(MARKER, purpose=_PURPOSE)
    home.fsync_directory("", purpose=_PURPOSE)


def _open_sound(home: FolderDisk, folder: Path, store_id: bytes, map_bytes: int) -> tuple[Index | None, str]:
    """Open the index if it is there and sound; else say what is wrong with it ("": it is not there)."""
    size = home.size(f"{INDEX}/{DATA_FILE}")
    unclean = home.exists(MARKER)
    if not unclean:
        home.create(MARKER, purpose=_PURPOSE).close()
        home.fsync_directory("", purpose=_PURPOSE)
    if size is None:
        return None, ""
    thorough = unclean or size <= ALWAYS_CHECKED
    damage = find_damage(folder / INDEX) if thorough else ""
    if damage:
        return None, damage
    try:
        index = Index(folder / INDEX, map_bytes=map_bytes)
    except Corrupt as error:
        return None, str(error)
    try:
        damage = find_damaged_row(index) if thorough else ""
        owner = index.store_id()
    except Corrupt as error:
        damage = str(error)
    if damage:
        index.close()
        return None, damage
    if owner != store_id:
        index.close()
        raise ForeignDisk(f"{folder / INDEX} belongs to store {owner.hex()}, not to {store_id.hex()}")
    return index, ""


def _rebuild(home: FolderDisk, folder: Path, store_id: bytes, found: ReadBack, map_bytes: int) -> tuple[Index, int]:
    """Build the index from snapshot and journal; return it and how many records were applied."""
    for name in home.list(BUILDING, purpose=_PURPOSE):
        home.unlink(f"{BUILDING}/{name}", purpose=_PURPOSE)
    index = Index(folder / BUILDING, map_bytes=map_bytes)
    try:
        index.claim(store_id)
        rows = found.rows
        begin = found.snapshot_seq  # of the snapshot that could be read: asked only now
        if rows is not None:
            _apply(index, ((begin, [row]) for row in rows if row[0] != SEQUENCE_KEY))
            index.commit(begin, [])  # it may have no rows at all
        count = _roll_forward(index, found.records, begin, found.last_seq)
    except BaseException:
        index.close()
        raise
    return index, count


def _free_name(home: FolderDisk) -> str:
    number = 1
    while home.exists(f"{DAMAGED}{number}"):
        number += 1
    return f"{DAMAGED}{number}"


def _roll_forward(index: Index, records: Iterable[Record], have: int, last: int) -> int:
    """Apply every record after `have`; return how many. Raises CorruptJournal if they do not reach `last`."""
    count = 0

    def missing() -> Iterator[Record]:
        nonlocal count, have
        for sequence, changes in records:
            if sequence <= have:
                continue
            if sequence != have + 1:
                raise CorruptJournal(f"the journal has commit {sequence} but not {have + 1}")
            yield sequence, changes
            have = sequence
            count += 1

    _apply(index, missing())
    if have < last:
        raise CorruptJournal(f"the journal ends with commit {last}, but {have + 1} is missing")
    return count


def _apply(index: Index, records: Iterable[Record]) -> None:
    """Commit records to the index, many in one commit."""
    rows: list[Change] = []
    cost = reached = 0
    for sequence, changes in records:
        rows += changes
        cost += sum(len(key) + len(value or b"") for key, value in changes)
        reached = sequence
        if cost >= GROUP_COST or len(rows) >= GROUP_ROWS:
            _commit(index, reached, rows, cost)
            rows, cost = [], 0
    if reached:
        _commit(index, reached, rows, cost)


def _commit(index: Index, sequence: int, rows: list[Change], cost: int) -> None:
    if index.must_grow(cost, len(rows)):
        index.grow(cost, len(rows))
    index.commit(sequence, rows)
