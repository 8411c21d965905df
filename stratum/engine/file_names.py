"""The verbs of the mount on names: look up, list, make, link, rename, remove.

Room: stratum/engine. May import: core, engine.{buckets, file_history, file_mounted, file_succession,
file_table, file_xattrs}.

Every verb is one change: visible at once, durable with the next group commit, in the order of the calls. Names are
those of the mount, aliases included (core.alias). Directory 1 holds the buckets: a directory made there is a bucket.
What is in a folder `.versions` cannot be changed: every verb that would raises ReadOnly (file_history).
"""

import stat
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from stratum.core.alias import parse, stored_name_to_make
from stratum.core.directories import get_directory
from stratum.core.errors import (
    CrossesBuckets,
    EntryExists,
    InvalidArgument,
    InvalidBucketName,
    NameTooLong,
    NoSuchKey,
    NotADirectory,
    NotPermitted,
    TooManyLinks,
)
from stratum.core.inodes import drop_link, get_inode
from stratum.core.mount_names import target_name
from stratum.core.names import FILE_NAME_BYTES
from stratum.core.namespace import (
    DirectoryMaker,
    add,
    drop,
    find,
    is_empty,
    make_directory,
    path_of,
    remove_directory,
    rename,
    take_marker,
    visible_children,
)
from stratum.core.records import Entry, Inode, Kind
from stratum.core.schema import ROOT_INODE, inode_key, not_published_key, orphan_key, take_number, xattr_key
from stratum.core.txn import Txn, save
from stratum.core.views import EMPTY_MD5
from stratum.engine.buckets import Buckets
from stratum.engine.file_digest import md5_of
from stratum.engine.file_history import VIEW_NAMES, History, Listed, Node, check_changeable, in_view
from stratum.engine.file_mounted import Mounted
from stratum.engine.file_succession import published_with_rename
from stratum.engine.file_table import FileTable, load_inode
from stratum.engine.file_versions import has_arrived, has_left, was_replaced, was_unlinked
from stratum.engine.file_xattrs import inherit_acl
from stratum.engine.locking import check_may_move

__all__ = ["Caller", "FileNames", "Listed", "Node"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: becomes the owner of what is made. `umask`: the bits to leave out, if nobody has done so yet."""

    uid: int
    gid: int
    umask: int = 0


class FileNames:
    """Names of one tree."""

    def __init__(self, mounted: Mounted, table: FileTable, buckets: Buckets, history: History) -> None:
        self._mounted = mounted
        self._table = table
        self._buckets = buckets
        self._history = history

    # --- looking --------------------------------------------------------------------------------------------

    def lookup(self, parent: int, name: bytes) -> Node | None:
        """What a name leads to, or None. Raises NoSuchInode, NameTooLong."""
        if in_view(parent):
            return self._history.lookup(parent, name)

        def query(txn: Txn) -> Node | None:
            if name in (b".", b".."):
                here = load_inode(txn, parent)
                number = parent if name == b"." else here.parent or parent
                return number, load_inode(txn, number)
            found = find(txn, parent, name)
            return None if found is None else (found[1].inode, get_inode(txn, found[1].inode))

        node = self._mounted.meta.read(query)
        if node is None:
            check_length(name)
            return self._history.enter(parent, name)
        return node[0], self._table.shown(*node)

    def comes_unannounced(self, parent: int, name: bytes) -> bool:
        """May the name be there later without anybody telling the kernel?"""
        return in_view(parent) or name in VIEW_NAMES

    def list(self, directory: int, after: bytes | None, limit: int) -> list[Listed]:
        """At most `limit` entries above the stored name `after`, in stored order. Raises CorruptRecord."""
        if in_view(directory):
            return self._history.list(directory, after, limit)

        def query(txn: Txn) -> list[Listed]:
            listed: list[Listed] = []
            for name, stored, entry in visible_children(txn, directory, after):
                inode = self._table.shown(entry.inode, get_inode(txn, entry.inode))
                listed.append(Listed(name, stored, entry.cookie, entry.inode, inode))
                if len(listed) >= limit:
                    break
            return listed

        return self._mounted.meta.read(query)

    def stored_name_at(self, directory: int, cookie: int) -> bytes | None:
        """The stored name of the entry with a cookie; None if there is none any more. Reads the whole directory."""
        if in_view(directory):
            return self._history.stored_name_at(directory, cookie)

        def query(txn: Txn) -> bytes | None:
            shown = visible_children(txn, directory)
            return next((stored for _, stored, entry in shown if entry.cookie == cookie), None)

        return self._mounted.meta.read(query)

    # --- making ---------------------------------------------------------------------------------------------

    async def create(
        self, parent: int, name: bytes, mode: int, who: Caller, *, exclusive: bool = True
    ) -> tuple[int, Inode, bool]:
        """Make an empty file that S3 does not see before it is closed; return (number, record, made).

        Not `exclusive`: a file that is there already is returned as it is. Raises EntryExists, NotPermitted (beside
        the buckets), NameTooLong, NoSuchInode.
        """
        if exclusive or not in_view(parent):
            try:  # that it is there already is rare: the kernel has asked just before
                number, inode = await self._make(parent, name, Kind.OBJECT, stat.S_IFREG | stat.S_IMODE(mode), who)
            except EntryExists:
                if exclusive:
                    raise
            else:
                return number, inode, True
        node = self.lookup(parent, name)
        if node is None:
            check_changeable(parent)
            raise NoSuchKey(name.decode(errors="replace"))
        return *node, False

    async def make_node(self, parent: int, name: bytes, mode: int, rdev: int, who: Caller) -> Node:
        """Make a FIFO, socket or device, or an empty file that S3 sees at once. Raises as `create`."""
        if stat.S_ISREG(mode):
            return await self._make(parent, name, Kind.OBJECT, mode, who, etag=EMPTY_MD5)
        return await self._make(parent, name, Kind.SPECIAL, mode, who, rdev=rdev)

    async def make_unnamed(self, parent: int, mode: int, who: Caller) -> Node:
        """Make a file that has no name yet, as if in a directory: O_TMPFILE of open(2). `link` may give it one.

        Raises NotPermitted (beside the buckets), NoSuchInode.
        """
        check_changeable(parent)
        now = self._mounted.now_ns()

        def change(txn: Txn) -> Node:
            above = _parent(txn, parent)
            number = take_number(txn, "inode")
            own_mode, rows = inherit_acl(txn, parent, stat.S_IFREG | stat.S_IMODE(mode), who.umask)
            inode = Inode(
                kind=Kind.OBJECT,
                mode=own_mode,
                uid=who.uid,
                gid=_group(above, who),
                nlink=0,
                size=0,
                atime=now,
                mtime=now,
                ctime=now,
                btime=now,
                parent=parent,
                bucket=path_of(txn, parent)[0],
            )
            save(txn, inode_key(number), inode)
            save(txn, orphan_key(number), 1)  # freed, unless it is linked before its last use ends
            _save_xattrs(txn, number, rows)
            return number, inode

        return await self._apply(change)

    async def symlink(self, parent: int, name: bytes, target: bytes, who: Caller) -> Node:
        """Make a symbolic link. Raises as `create`."""
        mode = stat.S_IFLNK | 0o777
        return await self._make(
            parent, name, Kind.SYMLINK, mode, who, etag=md5_of(target), target=target, size=len(target)
        )

    async def _make(
        self,
        parent: int,
        name: bytes,
        kind: Kind,
        mode: int,
        who: Caller,
        *,
        etag: str = "",
        target: bytes = b"",
        size: int = 0,
        rdev: int = 0,
    ) -> Node:
        check_changeable(parent)
        now = self._mounted.now_ns()

        def change(txn: Txn) -> Node:
            above = _parent(txn, parent)
            stored, beside = _name_to_make(txn, parent, name, directory=False)
            number = take_number(txn, "inode")
            own_mode, rows = (mode, []) if kind is Kind.SYMLINK else inherit_acl(txn, parent, mode, who.umask)
            inode = Inode(
                kind=kind,
                mode=own_mode,
                uid=who.uid,
                gid=_group(above, who),
                nlink=1,
                size=size,
                atime=now,
                mtime=now,
                ctime=now,
                btime=now,
                etag=etag,
                target=target,
                rdev=rdev,
                parent=parent,
                name=stored,
                bucket=path_of(txn, parent)[0],
            )
            add(txn, parent, stored, number, kind, now, beside=beside)
            save(txn, inode_key(number), inode)
            if kind is Kind.OBJECT and not etag:
                save(txn, not_published_key(number), 1)
            _save_xattrs(txn, number, rows)
            return number, inode

        return await self._apply(change)

    async def make_directory(self, parent: int, name: bytes, mode: int, who: Caller) -> Node:
        """Make a directory; below the root, a bucket.

        Raises EntryExists, BucketExists, InvalidBucketName, NameTooLong, NoSuchInode.
        """
        check_changeable(parent)
        permissions = stat.S_IFDIR | stat.S_IMODE(mode)
        if parent == ROOT_INODE:
            return await self._make_bucket(name, permissions & ~who.umask, who)
        now = self._mounted.now_ns()

        def change(txn: Txn) -> Node:
            above = get_directory(txn, parent)
            stored, beside = _name_to_make(txn, parent, name, directory=True)
            own_mode, rows = inherit_acl(txn, parent, permissions, who.umask)
            inherited = own_mode | (above.mode & stat.S_ISGID)
            maker = DirectoryMaker(uid=who.uid, gid=_group(above, who), mode=inherited, now=now)
            number, _ = make_directory(txn, parent, stored, maker, beside=beside)
            _save_xattrs(txn, number, rows)
            return number, get_inode(txn, number)

        return await self._apply(change)

    async def _make_bucket(self, name: bytes, mode: int, who: Caller) -> Node:
        root = (await self._buckets.create(_bucket_name(name), "", tell=False)).root

        def change(txn: Txn) -> Node:
            inode = msgspec.structs.replace(load_inode(txn, root), mode=mode, uid=who.uid, gid=who.gid)
            save(txn, inode_key(root), inode)
            return root, inode

        return await self._apply(change)

    async def link(self, number: int, parent: int, name: bytes) -> Node:
        """Give a file one more name.

        Raises NotPermitted (a directory, or beside the buckets), TooManyLinks, EntryExists, NoSuchKey, NameTooLong,
        CrossesBuckets.
        """
        check_changeable(number, parent)
        now = self._mounted.now_ns()

        def change(txn: Txn) -> Node:
            _parent(txn, parent)
            inode = load_inode(txn, number)
            if inode.kind is Kind.DIRECTORY:
                raise NotPermitted("a directory has one name")
            unnamed = inode.nlink == 0 and inode.parent != 0 and not inode.name
            if inode.nlink == 0 and not unnamed:
                raise NoSuchKey(f"inode {number} has no name left")
            if inode.nlink >= self._mounted.limits.links:
                raise TooManyLinks(f"inode {number}")
            if inode.bucket not in (0, path_of(txn, parent)[0]):
                raise CrossesBuckets("a file counts in the quota of one bucket")
            stored, beside = _name_to_make(txn, parent, name, directory=False)
            add(txn, parent, stored, number, inode.kind, now, beside=beside)
            inode = msgspec.structs.replace(inode, nlink=inode.nlink + 1, ctime=now)
            if unnamed:
                inode = msgspec.structs.replace(inode, parent=parent, name=stored)
                txn.delete(orphan_key(number))
                save(txn, not_published_key(number), 1)
            save(txn, inode_key(number), inode)
            return number, inode

        number, inode = await self._apply(change)
        file = self._table.files.get(number)
        if inode.nlink == 1 and file is not None and file.dirty:  # until now nobody could see what was written
            self._table.publisher.enqueue(file)
        return number, self._table.shown(number, inode)

    # --- removing and moving --------------------------------------------------------------------------------

    async def unlink(self, parent: int, name: bytes) -> None:
        """Take away a name that is no directory's. Raises NoSuchKey, IsADirectory, NameTooLong."""
        check_changeable(parent)
        now = self._mounted.now_ns()

        def change(txn: Txn) -> None:
            stored, _ = _existing(txn, parent, name)
            entry, _ = drop(txn, parent, stored, now)
            was_unlinked(txn, self._mounted, parent, stored, entry)

        await self._apply(change)

    async def remove_directory(self, parent: int, name: bytes) -> None:
        """Remove an empty directory; below the root, a bucket.

        Raises NoSuchKey, NotADirectory, DirectoryNotEmpty, BucketNotEmpty, NameTooLong.
        """
        check_changeable(parent)
        if parent == ROOT_INODE:
            await self._buckets.delete(_bucket_name(name), tell=False)
            return
        now = self._mounted.now_ns()

        def change(txn: Txn) -> None:
            stored, entry = _existing(txn, parent, name)
            if entry.kind is not Kind.DIRECTORY:
                raise NotADirectory(name.decode(errors="replace"))
            marker = take_marker(txn, entry.inode)
            remove_directory(txn, parent, stored, now, is_open=self._table.is_pinned)
            self._drop_link(txn, marker, now)

        await self._apply(change)

    async def rename(
        self, parent: int, name: bytes, new_parent: int, new_name: bytes, *, noreplace: bool, exchange: bool
    ) -> None:
        """Move a name, replacing what was there, or exchange two names.

        Raises what core.rename raises, and CrossesBuckets for what object lock holds in place, and for a directory
        that would take any number of files to another bucket (they are copied then, and counted).
        """
        check_changeable(parent, new_parent)
        now = self._mounted.now_ns()

        def change(txn: Txn) -> None:
            get_directory(txn, new_parent)
            stored, entry = _existing(txn, parent, name)
            check_may_move(txn, self._mounted, parent, stored, entry)
            _check_counted(txn, entry, parent, new_parent)
            if find(txn, new_parent, new_name) is None:
                check_length(new_name)
            new_stored = target_name(txn, new_parent, new_name, directory=entry.kind is Kind.DIRECTORY)
            _check_key(txn, new_parent, new_stored)
            if exchange:
                other_stored, other = _existing(txn, new_parent, new_name)
                check_may_move(txn, self._mounted, new_parent, other_stored, other)
                _check_counted(txn, other, parent, new_parent)
            done = rename(
                txn,
                parent,
                stored,
                new_parent,
                new_stored,
                now,
                noreplace=noreplace,
                exchange=exchange,
                beside=parse(new_name).beside,
                is_open=self._table.is_pinned,
            )
            if done.replaced is not None and done.replaced.kind is not Kind.DIRECTORY:
                was_replaced(txn, self._mounted, new_parent, new_stored, done.replaced)
            self._drop_link(txn, done.marker, now)
            for change in done.changes:
                if not change.removed:
                    has_arrived(txn, self._mounted, change.parent, change.name)
            if done.changes and not exchange:
                has_left(txn, self._mounted, parent, stored)

        number = self._mounted.meta.read(
            lambda txn: published_with_rename(txn, parent, name, new_parent, new_name, exchange=exchange)
        )
        file = self._table.files.get(number)
        if file is None or not await file.publish(closing=True, renamed=change):
            await self._apply(change)

    def _drop_link(self, txn: Txn, entry: Entry | None, now: int) -> None:
        if entry is not None:
            drop_link(txn, entry.inode, open_somewhere=self._table.is_pinned(entry.inode), now=now)

    async def _apply(self, change: Callable[[Txn], T]) -> T:
        await self._mounted.meta.room()
        return self._mounted.apply(change)


def _check_counted(txn: Txn, entry: Entry, parent: int, new_parent: int) -> None:
    """Refuse to take a directory that is not empty to another bucket: what is in it counts where it is."""
    if entry.kind is not Kind.DIRECTORY or ROOT_INODE in (parent, new_parent) or is_empty(txn, entry.inode):
        return
    if parent != new_parent and path_of(txn, parent)[0] != path_of(txn, new_parent)[0]:
        raise CrossesBuckets("what is in a directory counts in the quota of one bucket")


def _save_xattrs(txn: Txn, number: int, rows: list[tuple[bytes, bytes]]) -> None:
    for name, value in rows:
        save(txn, xattr_key(number, name), value)


def check_length(name: bytes) -> None:
    """Raise NameTooLong for a name that nothing can be made under."""
    if len(name) > FILE_NAME_BYTES:
        raise NameTooLong(f"{len(name)} bytes")


def _parent(txn: Txn, number: int) -> Inode:
    """The directory in which something that is no directory is made. Raises NotPermitted, NoSuchInode."""
    if number == ROOT_INODE:
        raise NotPermitted("only buckets are in the root directory")
    return get_directory(txn, number)


def _group(parent: Inode, who: Caller) -> int:
    return parent.gid if parent.mode & stat.S_ISGID else who.gid


def _name_to_make(txn: Txn, parent: int, name: bytes, *, directory: bool) -> tuple[bytes, bool]:
    """The stored name, and whether the other kind of the same base may be there.

    Raises EntryExists, NameTooLong, InvalidArgument.
    """
    if find(txn, parent, name) is not None:
        raise EntryExists(name.decode(errors="replace"))
    check_length(name)
    stored = stored_name_to_make(name, directory=directory)
    _check_key(txn, parent, stored)
    return stored, parse(name).beside


def _check_key(txn: Txn, parent: int, stored: bytes) -> None:
    """Raise InvalidArgument for what would be an empty key: a bucket's own `%file%` stands for nothing."""
    if not stored and get_directory(txn, parent).parent == ROOT_INODE:
        raise InvalidArgument("no key is empty")


def _existing(txn: Txn, parent: int, name: bytes) -> tuple[bytes, Entry]:
    found = find(txn, parent, name)
    if found is None:
        check_length(name)
        raise NoSuchKey(name.decode(errors="replace"))
    return found


def _bucket_name(name: bytes) -> str:
    try:
        return name.decode("ascii")
    except UnicodeDecodeError as error:
        raise InvalidBucketName(name.decode(errors="replace")) from error
