"""`<data>/store.json`: which store this is and which disks it knows.

Room: stratum/store. May import: core, store.disk.

It is advice, not truth: the truth is the identity file on every disk. With it, an empty folder at the path of a known
disk can be told from a disk that was never there, and a mount that is missing from one that never was one. Lost, it is
written anew from the disks. Layout: docs/format.md, "store.json".
"""

import secrets
from collections.abc import Mapping

import msgspec

from stratum.core.errors import ForeignDisk
from stratum.core.records import Disk as DiskRecord
from stratum.store.disk import Disk

NAME = "store.json"
FORMAT = 1


class StoreFile(msgspec.Struct, frozen=True, kw_only=True):
    """The content of store.json."""

    format: int
    store: str  # 32 hex digits
    disks: dict[int, DiskRecord]
    removed: dict[str, str] = {}  # identities that were taken out of the store for good, and where they were


def read_store_file(data: Disk) -> StoreFile | None:
    """Return what store.json says, None if there is none. Raises ForeignDisk if it cannot be understood."""
    size = data.size(NAME)
    if size is None:
        return None
    file = data.open(NAME, purpose="store")
    try:
        raw = file.read(0, size, purpose="store")
    finally:
        file.close()
    try:
        found = msgspec.json.decode(raw, type=StoreFile)
    except msgspec.DecodeError as error:
        raise ForeignDisk(f"{data.name}/{NAME} cannot be read: {error}; remove it to have it written anew") from error
    if found.format != FORMAT:
        raise ForeignDisk(f"{data.name}/{NAME} has format {found.format}, this version knows {FORMAT}")
    return found


def write_store_file(
    data: Disk, store_id: bytes, disks: Mapping[int, DiskRecord], removed: Mapping[str, str] | None = None
) -> None:
    """Write store.json so that a cut leaves the old or the new one."""
    raw = msgspec.json.encode(
        StoreFile(format=FORMAT, store=store_id.hex(), disks=dict(disks), removed=dict(removed or {}))
    )
    temporary = f"{NAME}.tmp-{secrets.token_hex(4)}"
    file = data.create(temporary, purpose="store")
    try:
        file.append([msgspec.json.format(raw, indent=2)], purpose="store")
        file.fsync(purpose="store")
    finally:
        file.close()
    data.rename(temporary, NAME, purpose="store")
    data.fsync_directory("", purpose="store")
