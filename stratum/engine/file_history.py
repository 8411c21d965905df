"""`.versions`: the earlier versions of a bucket's keys, as folders and files of the mount that nobody can change.

Room: stratum/engine. May import: core, engine.{file_mounted, file_table}.

    <folder>/.versions/<name>/<time>-<version id>          one version of <folder>/<name>
    <folder>/.versions/<deeper>/.../<name>/<time>-...      of what is, or was, in folders below

Each folder of a bucket that has, or had, versioning has one. It is found by its name but not listed, so that no backup
walks into it. Where a key `.versions` is stored, that has the name, and the view is under its alias `%versions%` alone.

Invariants
    H1  Nothing of the view is stored: S3 cannot see it. Its numbers are from VIEW on, where no inode ever is.
    H2  Who looks into the view sees what every close so far has left there: what is not published yet is, first.
    H3  A folder of the view can be entered by whoever could enter the folder it stands for; where that is gone, by the
        owner of the nearest one that is there.
"""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec
import xxhash

from stratum.core.alias import VERSIONS, visible_name
from stratum.core.directories import get_directory, get_entry
from stratum.core.errors import NoSuchInode, NotFound, ReadOnly
from stratum.core.inodes import get_inode
from stratum.core.key_walk import split_key
from stratum.core.mount_names import path_of
from stratum.core.namespace import resolve
from stratum.core.records import Bucket, Inode, Kind, Version
from stratum.core.schema import ROOT_INODE, bucket_key
from stratum.core.txn import Txn, load
from stratum.core.version_tree import find_version, is_below, names_below, versions_of
from stratum.core.versions import NULL
from stratum.engine.file_mounted import Mounted
from stratum.engine.file_table import FileTable, load_inode

VIEW_NAMES = (b".versions", VERSIONS)
VIEW = 1 << 62
_FOLDER = VIEW | 1 << 61
_HASH_BITS = (1 << 61) - 1
NANOSECONDS = 10**9
REMEMBERED = 65_536  # folders of the view whose numbers are remembered though the kernel does not know them

Node = tuple[int, Inode]
"""An inode number and its record as the mount shows it."""


@dataclass(frozen=True, slots=True)
class Listed:
    """An entry of a directory as the mount lists it. `cookie`: its place, which no other entry ever has."""

    name: bytes
    stored: bytes
    cookie: int
    number: int
    inode: Inode


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of the view: of the names below `key` (empty, or ending in a slash), or of the versions of `key`."""

    root: int
    key: bytes
    of_versions: bool
    parent: int

    @property
    def number(self) -> int:
        """Always the same for the same folder."""
        told = b"%d %d " % (self.root, self.of_versions) + self.key
        return _FOLDER | (xxhash.xxh3_64_intdigest(told) & _HASH_BITS)


def in_view(number: int) -> bool:
    """Is this the number of something in the view?"""
    return number >= VIEW


def is_folder(number: int) -> bool:
    """Is this the number of a folder of the view?"""
    return number >= _FOLDER


def check_changeable(*numbers: int) -> None:
    """Raise ReadOnly if any of these is in the view."""
    if any(map(in_view, numbers)):
        raise ReadOnly("earlier versions cannot be changed")


def real(number: int) -> int:
    """The inode behind a version in the view, or behind any other number. Raises NoSuchInode for a folder of it."""
    if is_folder(number):
        raise NoSuchInode(f"folder {number:x} of versions")
    return number & ~VIEW


class History:
    """The view."""

    def __init__(self, mounted: Mounted, table: FileTable) -> None:
        self._mounted = mounted
        self._table = table
        self._folders: OrderedDict[int, Folder] = OrderedDict()
        self._pins: dict[int, int] = {}

    # --- looking --------------------------------------------------------------------------------------------

    async def settle(self, number: int) -> None:
        """Have published what was closed and leaves versions in a folder of the view, or in those below it.

        Raises NoSuchInode, ReadOnly.
        """
        publisher, folder = self._table.publisher, self._folder(number)
        if publisher.idle:
            return
        if not folder.of_versions:
            await publisher.settle(None)
            return
        entry = self._mounted.meta.read(lambda txn: resolve(txn, folder.root, folder.key))
        if entry is not None:
            await publisher.settle(entry.inode)

    def enter(self, directory: int, name: bytes) -> Node | None:
        """The view of a directory, if `name` asks for it; None if not, or where there is no versioning."""
        if name not in VIEW_NAMES or directory == ROOT_INODE:
            return None

        def query(txn: Txn) -> Node | None:
            root, prefix = path_of(txn, directory)
            bucket = load(txn, bucket_key(get_inode(txn, root).name.removesuffix(b"/").decode()), Bucket)
            if bucket is None or not bucket.versioning:
                return None
            return self._node(txn, Folder(root, prefix, False, directory))

        return self._mounted.meta.read(query)

    def lookup(self, number: int, name: bytes) -> Node | None:
        """What a name in a folder of the view leads to, or None. Raises NoSuchInode."""
        folder = self._folder(number)

        def query(txn: Txn) -> Node | None:
            if name == b".":
                return self._node(txn, folder)
            if name == b"..":
                above = folder.parent
                return self._node(txn, self._folder(above)) if in_view(above) else (above, load_inode(txn, above))
            if folder.of_versions:
                row = find_version(txn, folder.root, folder.key, name.rpartition(b"-")[2].decode("latin-1"))
                return None if row is None or version_name(row) != name else _file(txn, row)
            for stored in self._candidates(txn, folder, name):
                return self._node(txn, self._below(folder, stored))
            return None

        return self._mounted.meta.read(query)

    def _candidates(self, txn: Txn, folder: Folder, name: bytes) -> Iterator[bytes]:
        """The stored name that is shown as `name`: guessed, else looked for."""
        for stored in (name + b"/", name):
            if self._shown(txn, folder, stored) == name and self._is_there(txn, folder, stored):
                yield stored
        if name.startswith(b"%"):
            shown = names_below(txn, folder.root, folder.key)
            yield from (stored for stored in shown if self._shown(txn, folder, stored) == name)

    def _is_there(self, txn: Txn, folder: Folder, stored: bytes) -> bool:
        key = folder.key + stored
        if stored.endswith(b"/"):
            return is_below(txn, folder.root, key)
        return next(versions_of(txn, folder.root, key), None) is not None

    def _shown(self, txn: Txn, folder: Folder, stored: bytes) -> bytes:
        beside = not stored.endswith(b"/") and is_below(txn, folder.root, folder.key + stored + b"/")
        return visible_name(stored, beside_directory=beside)

    def list(self, number: int, after: bytes | None, limit: int) -> list[Listed]:
        """At most `limit` entries of a folder of the view above the stored name `after`. Raises NoSuchInode."""
        folder = self._folder(number)

        def query(txn: Txn) -> list[Listed]:
            listed: list[Listed] = []
            for name, stored, node in self._listed(txn, folder, after):
                listed.append(Listed(name, stored, _cookie(stored), *node))
                if len(listed) >= limit:
                    break
            return listed

        return self._mounted.meta.read(query)

    def _listed(self, txn: Txn, folder: Folder, after: bytes | None) -> Iterator[tuple[bytes, bytes, Node]]:
        if not folder.of_versions:
            for stored in names_below(txn, folder.root, folder.key, after):
                yield self._shown(txn, folder, stored), stored, self._node(txn, self._below(folder, stored))
            return
        behind = after is None
        for row in versions_of(txn, folder.root, folder.key):
            name = version_name(row)
            if behind:
                yield name, name, _file(txn, row)
            behind = behind or name == after

    def stored_name_at(self, number: int, cookie: int) -> bytes | None:
        """The stored name of the entry with a cookie, None if there is none any more. Reads the whole folder."""
        folder = self._folder(number)

        def query(txn: Txn) -> bytes | None:
            return next((stored for _, stored, _ in self._listed(txn, folder, None) if _cookie(stored) == cookie), None)

        return self._mounted.meta.read(query)

    def record(self, number: int) -> Inode:
        """A number of the view as the mount shows it. Raises NoSuchInode."""
        if is_folder(number):
            folder = self._folder(number)
            return self._mounted.meta.read(lambda txn: _as_folder(txn, folder))
        return _as_version(self._mounted.meta.read(lambda txn: load_inode(txn, real(number))))

    # --- what the kernel knows ------------------------------------------------------------------------------

    def pin(self, number: int, times: int) -> None:
        """The kernel was told of a number of the view."""
        if not is_folder(number):
            self._table.pin(real(number), times)
        else:
            self._pins[number] = self._pins.get(number, 0) + times

    def unpin(self, number: int, times: int) -> None:
        """The kernel forgot a number of the view."""
        if not is_folder(number):
            self._table.unpin([(real(number), times)])
            return
        left = self._pins.pop(number, 0) - times
        if left > 0:
            self._pins[number] = left

    def _folder(self, number: int) -> Folder:
        folder = self._folders.get(number)
        if folder is None:
            raise NoSuchInode(f"folder {number:x} of versions")
        return folder

    def _below(self, folder: Folder, stored: bytes) -> Folder:
        return Folder(folder.root, folder.key + stored, not stored.endswith(b"/"), folder.number)

    def _node(self, txn: Txn, folder: Folder) -> Node:
        number = folder.number
        self._folders[number] = folder
        self._folders.move_to_end(number)
        if len(self._folders) > REMEMBERED + len(self._pins):
            oldest = next(iter(self._folders))
            if oldest in self._pins:
                self._folders.move_to_end(oldest)
            else:
                del self._folders[oldest]
        return number, _as_folder(txn, folder)


def version_name(row: Version) -> bytes:
    """The name of a version: when it was written (UTC, whole seconds), and its id: `2026-11-21T08-00-00Z-<id>`."""
    written = datetime.fromtimestamp(row.modified // NANOSECONDS, UTC)
    return f"{written:%Y-%m-%dT%H-%M-%SZ}-{row.version or NULL}".encode()


def _cookie(stored: bytes) -> int:
    return xxhash.xxh3_64_intdigest(stored) >> 2 | 1 << 3


def _file(txn: Txn, row: Version) -> Node:
    return VIEW | row.inode, _as_version(get_inode(txn, row.inode))


def _as_version(inode: Inode) -> Inode:
    return msgspec.structs.replace(inode, mode=inode.mode & ~0o222, nlink=1)


def _as_folder(txn: Txn, folder: Folder) -> Inode:
    """A folder as the directory it stands for, or, where that is gone, closed to all but the owner (H3)."""
    names, _ = split_key(folder.key)
    directory, missing = folder.root, False
    for name in names:
        entry = get_entry(txn, directory, name)
        missing = entry is None or entry.kind is not Kind.DIRECTORY
        if entry is None or missing:
            break
        directory = entry.inode
    try:
        inode = get_directory(txn, directory)
    except NotFound as error:
        raise NoSuchInode("the bucket is gone") from error
    mode = 0o040500 if missing else inode.mode & ~0o222
    return msgspec.structs.replace(inode, mode=mode, nlink=2)
