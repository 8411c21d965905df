"""Who a disk is: `stratum-disk.json` at its root, and which disk belongs into which slot.

Room: stratum/store. May import: core.errors, core.records, store.disk.

The file is JSON: `format` (1), `store` and `disk` (32 hex digits each), `slot`, `created` (nanoseconds since 1970),
`tier` (which set of disks it is of; empty: hot).
It is written once, when an empty folder is claimed.

Invariants
    I1  A disk is known by its identity, never by its path: paths may be permuted at will.
    I2  Only an empty folder is ever claimed (a fresh file system's `lost+found` does not count). What belongs to
        another store, holds files without an identity, or shows an identity twice is left alone.
    I3  An empty folder where a file system of its own was mounted before, and none is now, is a mount that is
        missing: it is left alone.
    I4  Claiming can be cut off anywhere: a claimed disk that no record knows is taken for its slot again, as new.
    I6  A disk that was taken out of the store for good never comes back by itself.
    I5  An empty folder named for one tier never takes the slot of a disk of another.
"""

import secrets
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import msgspec

from stratum.core.errors import ForeignDisk, StoreFull, Unavailable
from stratum.core.records import Disk as DiskRecord
from stratum.store.disk import CallFailed, Disk, FileMissing, FolderDisk, make_folder

NAME = "stratum-disk.json"
TEMPORARY = f"{NAME}.tmp"
FORMAT = 1
PURPOSE = "identity"

_PROBE = "stratum-probe.tmp"
_PROBE_BYTES = 4096
_NOT_CONTENT = {TEMPORARY, _PROBE, "lost+found"}
_MAX_BYTES = 4096

OpenDisk = Callable[[int, Path], Disk]


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """The content of the identity file."""

    format: int
    store: str
    disk: str
    slot: int
    created: int
    tier: str = ""


def read_identity(disk: Disk) -> Identity | None:
    """Return who the disk is, None if it has no identity file. Raises ForeignDisk if it makes no sense."""
    try:
        file = disk.open(NAME, purpose=PURPOSE)
    except FileMissing:
        return None
    try:
        raw = file.read(0, _MAX_BYTES, purpose=PURPOSE)
    finally:
        file.close()
    try:
        found = msgspec.json.decode(raw, type=Identity)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ForeignDisk(f"{disk.name}/{NAME} cannot be read: {error}") from error
    if found.format != FORMAT:
        raise ForeignDisk(f"{disk.name}/{NAME} has format {found.format}, this version knows {FORMAT}")
    return found


def claim(disk: Disk, store_id: bytes, slot: int, created: int, tier: str = "") -> Identity:
    """Give a disk a new identity, durably: on return it is ours. Raises DiskFailed, StoreFull, Busy."""
    disk_id = secrets.token_hex(16)
    identity = Identity(format=FORMAT, store=store_id.hex(), disk=disk_id, slot=slot, created=created, tier=tier)
    disk.unlink(TEMPORARY, purpose=PURPOSE)
    file = disk.create(TEMPORARY, purpose=PURPOSE)
    try:
        file.append([msgspec.json.format(msgspec.json.encode(identity), indent=2), b"\n"], purpose=PURPOSE)
        file.fsync(purpose=PURPOSE)
    finally:
        file.close()
    disk.rename(TEMPORARY, NAME, purpose=PURPOSE)  # <-- the commit point
    disk.fsync_directory("", purpose=PURPOSE)
    return identity


def try_out(disk: Disk) -> None:
    """Write, sync, read back and remove a small file. Raises DiskFailed, Busy; that the disk is full is fine."""
    expected = secrets.token_bytes(_PROBE_BYTES)
    disk.unlink(_PROBE, purpose=PURPOSE)
    try:
        file = disk.create(_PROBE, purpose=PURPOSE)
        try:
            file.append([expected], purpose=PURPOSE)
            file.fsync(purpose=PURPOSE)
            found = file.read(0, _PROBE_BYTES, purpose=PURPOSE)
        finally:
            file.close()
    except StoreFull:
        found = expected
    disk.unlink(_PROBE, purpose=PURPOSE)
    if found != expected:
        raise CallFailed(disk, f"{disk.name}: reads back other bytes than were written")


@dataclass(frozen=True, slots=True)
class Sight:
    """What is at a path: a disk with an identity, an empty folder (no identity), or a problem (no disk)."""

    path: Path
    disk: Disk | None = None
    identity: Identity | None = None
    problem: str = ""
    tier: str = ""  # that the path is named for


def look(place: int, path: Path, open_disk: OpenDisk = FolderDisk, tier: str = "") -> Sight:
    """Look what is at `path`. Blocking; never raises for what is found there."""
    try:
        disk = open_disk(place, path)
        identity = read_identity(disk)
        if identity is None and set(disk.list("", purpose=PURPOSE)) - _NOT_CONTENT:
            return Sight(path, problem=f"holds files but no {NAME}: not a disk of this store, and not empty")
    except FileMissing:
        return Sight(path, problem="there is no such folder")
    except (Unavailable, ForeignDisk) as error:
        return Sight(path, problem=str(error))
    return Sight(path, disk, identity, tier=tier)


@dataclass(slots=True)
class Assignment:
    """Which sight goes into which slot, and why the others go nowhere."""

    known: dict[int, Sight] = field(default_factory=dict)  # shows the identity its slot expects
    strange: dict[int, Sight] = field(default_factory=dict)  # claimed for the slot, but no record says so (I4)
    empty: dict[int, Sight] = field(default_factory=dict)  # to be claimed
    problems: list[tuple[Path, str]] = field(default_factory=list)
    occupied: frozenset[int] = frozenset()  # slots that had a disk before

    @property
    def taken(self) -> set[int]:
        """Slots that have a disk."""
        return {*self.occupied, *self.known, *self.strange, *self.empty}


def assign(
    sights: Mapping[int, Sight],
    known: Mapping[int, DiskRecord],
    store_id: bytes,
    occupied: frozenset[int] = frozenset(),
    removed: Collection[str] = (),
) -> Assignment:
    """Decide which disk belongs into which slot.

    `sights`: by place, the slot that an empty folder found there prefers. `known`: the records of the slots.
    `occupied`: slots that have their disk already. `removed`: identities that are not of the store any more.
    """
    found = Assignment(occupied=occupied)
    slot_of = {record.identity: slot for slot, record in known.items()}
    strangers, empties = [], []
    for place, sight in sorted(sights.items()):
        if sight.disk is None:
            found.problems.append((sight.path, sight.problem))
        elif sight.identity is None:
            empties.append((place, sight))
        elif sight.identity.store != store_id.hex():
            found.problems.append((sight.path, f"belongs to another store ({sight.identity.store})"))
        elif sight.identity.disk in removed:
            found.problems.append((sight.path, "was removed from this store; empty it to use it again"))
        elif sight.identity.disk in slot_of:
            _put(found, found.known, slot_of[sight.identity.disk], sight)
        elif sight.identity.slot not in known:
            _put(found, found.known, sight.identity.slot, sight)
        else:
            strangers.append(sight)
    for sight in strangers:
        assert sight.identity is not None
        _put(found, found.strange, sight.identity.slot, sight)
    _assign_empties(found, empties, known)
    return found


def _put(found: Assignment, among: dict[int, Sight], slot: int, sight: Sight) -> None:
    if slot in found.taken:
        found.problems.append((sight.path, f"slot {slot} has another disk already; empty this one to use it"))
    else:
        among[slot] = sight


def _assign_empties(found: Assignment, empties: Sequence[tuple[int, Sight]], known: Mapping[int, DiskRecord]) -> None:
    """The slot of its place if that has no disk, else the first known slot without one, else a new slot."""
    displaced = []
    for place, sight in empties:
        if place in found.taken or _other_tier(known.get(place), sight):
            displaced.append(sight)
        else:
            _put_empty(found, place, sight, known)
    for sight in displaced:
        free = [slot for slot in range(max(known, default=-1) + len(found.taken) + 2) if slot not in found.taken]
        slot = next((slot for slot in free if slot in known and not _other_tier(known[slot], sight)), None)
        slot = next(slot for slot in free if slot not in known) if slot is None else slot
        _put_empty(found, slot, sight, known)


def _other_tier(record: DiskRecord | None, sight: Sight) -> bool:
    return record is not None and record.tier != sight.tier  # I5


def _put_empty(found: Assignment, slot: int, sight: Sight, known: Mapping[int, DiskRecord]) -> None:
    record = known.get(slot)
    assert sight.disk is not None
    if record is not None and record.own_filesystem and not sight.disk.own_filesystem:  # I3
        reason = f"is an empty folder, but slot {slot} was a file system of its own: is it not mounted?"
        found.problems.append((sight.path, reason))
    else:
        found.empty[slot] = sight


class Absent(NamedTuple):
    """A slot without a disk: where its disk was last seen, and why it is not there."""

    path: str
    reason: str


@dataclass(slots=True)
class Joined:
    """The disks of a store."""

    disks: dict[int, Disk] = field(default_factory=dict)
    records: dict[int, DiskRecord] = field(default_factory=dict)  # of those disks; save the ones that changed
    new: list[int] = field(default_factory=list)  # slots whose disk is a new one: every shard must be rebuilt
    problems: list[tuple[Path, str]] = field(default_factory=list)
    absent: dict[int, Absent] = field(default_factory=dict)  # slots without a disk


def join(
    paths: Sequence[Path],
    known: Mapping[int, DiskRecord],
    store_id: bytes,
    *,
    created: int | None = None,
    open_disk: OpenDisk = FolderDisk,
    tiers: Mapping[Path, str] | None = None,
    removed: Collection[str] = (),
) -> Joined:
    """Find the disks of a store at `paths`, and claim the empty folders that may be claimed. Blocking.

    `known` is what the store remembers; if it is empty the store is new and folders that do not exist are made.
    `created`: the time for new identities, nanoseconds (default: now). `tiers`: of the paths that are not for hot.
    `removed`: see `assign`.
    """
    created = time.time_ns() if created is None else created
    sights = {}
    for place, path in enumerate(paths):
        if not known:
            _make_if_missing(path)
        sights[place] = look(place, path, open_disk, (tiers or {}).get(path, ""))
    joined = settle(assign(sights, known, store_id, removed=removed), known, store_id, created)
    reasons = dict(joined.problems)
    for place, path in enumerate(paths):
        if path in reasons and place not in joined.disks and place not in joined.absent:
            joined.absent[place] = Absent(str(path), reasons[path])  # a slot that never had a disk
    return joined


def settle(found: Assignment, known: Mapping[int, DiskRecord], store_id: bytes, created: int) -> Joined:
    """Carry out an assignment: claim what is empty, tell each disk its slot. Blocking."""
    joined = Joined(problems=list(found.problems))
    for slot, sight in {**found.known, **found.strange, **found.empty}.items():
        assert sight.disk is not None
        try:
            identity = sight.identity or claim(sight.disk, store_id, slot, created, sight.tier)
            record = DiskRecord(identity.disk, sight.disk.own_filesystem, str(sight.path), identity.tier)
        except Unavailable as error:
            joined.problems.append((sight.path, str(error)))
            continue
        sight.disk.slot = slot
        joined.disks[slot] = sight.disk
        joined.records[slot] = record
        if slot not in found.known:
            joined.new.append(slot)
    reasons = {str(path): reason for path, reason in joined.problems}
    for slot, record in known.items():
        if slot not in joined.disks:
            reason = reasons.get(record.path, "no disk shows the identity of this slot")
            joined.absent[slot] = Absent(record.path, reason)
    return joined


def _make_if_missing(path: Path) -> None:
    try:
        make_folder(path)
    except OSError:
        return  # `look` meets the same trouble and has the words for it
