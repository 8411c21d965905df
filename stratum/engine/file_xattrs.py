"""Extended attributes of inodes.

Room: stratum/engine. May import: core, engine.{file_mounted, file_table}.

Access control lists are attributes too; a change of one changes the mode, and the other way round (core.posix_acl).

The kernel asks for `security.capability` before every write(2): most inodes have no attribute at all, and this
is remembered, so that such a question does not reach the index.
"""

import stat

import msgspec

from stratum.core import posix_acl
from stratum.core.errors import AttributeExists, InvalidArgument, MetadataTooLarge, NoSuchAttribute, NotPermitted
from stratum.core.records import Inode, Kind
from stratum.core.schema import XATTR, inode_key, xattr_key
from stratum.core.txn import Txn, load, save, successor
from stratum.engine.file_mounted import Mounted
from stratum.engine.file_table import load_inode

BARE_MAX = 65_536  # inodes remembered to have no attribute
NAME_BYTES = 255  # XATTR_NAME_MAX


class FileXattrs:
    """Extended attributes. Names and values are bytes; the caller checks the name space."""

    def __init__(self, mounted: Mounted) -> None:
        self._mounted = mounted
        self._bare: dict[int, None] = {}

    def has_none(self, number: int) -> bool:
        """Is the inode known to have no attribute? False may also mean: not known."""
        return number in self._bare

    def note_bare(self, number: int) -> None:
        """The inode has no attribute: it is new."""
        if len(self._bare) >= BARE_MAX:
            del self._bare[next(iter(self._bare))]
        self._bare[number] = None

    def get(self, number: int, name: bytes) -> bytes:
        """The value. Raises NoSuchAttribute."""
        if number not in self._bare:
            value = self._mounted.meta.read(lambda txn: load(txn, xattr_key(number, name), bytes))
            if value is not None:
                return value
            if not self.names(number):
                self.note_bare(number)
        raise NoSuchAttribute(name.decode(errors="replace"))

    def names(self, number: int) -> list[bytes]:
        """All names, in byte order."""
        prefix = XATTR + number.to_bytes(8, "big")
        return self._mounted.meta.read(
            lambda txn: [key[len(prefix) :] for key, _ in txn.scan(prefix, successor(prefix))]
        )

    def note_made(self, number: int, parent: int) -> None:
        """The inode is new: it has no attribute, but for the access control list that its directory gives."""
        if self.has_none(parent) or not self.names(number):
            self.note_bare(number)

    async def set(
        self,
        number: int,
        name: bytes,
        value: bytes,
        *,
        create: bool = False,
        replace: bool = False,
        keep_setgid: bool = True,
    ) -> None:
        """Set an attribute. `keep_setgid`: whoever asks may set that bit, so a new list does not take it away.

        Raises NoSuchInode, AttributeExists (`create`), NoSuchAttribute (`replace`), MetadataTooLarge, InvalidArgument
        (no list), NotPermitted (a default list of something that is no directory).
        """
        if not 0 < len(name) <= NAME_BYTES:
            raise InvalidArgument(f"a name of {len(name)} bytes")
        if len(value) > self._mounted.limits.xattr_bytes:
            raise MetadataTooLarge(f"{len(value)} bytes")
        key = xattr_key(number, name)

        def change(txn: Txn) -> None:
            exists = txn.get(key) is not None
            if exists and create:
                raise AttributeExists(name.decode(errors="replace"))
            if not exists and replace:
                raise NoSuchAttribute(name.decode(errors="replace"))
            inode = load_inode(txn, number)
            kept = True
            if name in posix_acl.NAMES:
                inode, kept = _with_acl(inode, name, posix_acl.parse(value), keep_setgid=keep_setgid)
            save(txn, inode_key(number), msgspec.structs.replace(inode, ctime=self._mounted.now_ns()))
            if kept:
                save(txn, key, value)
            else:
                txn.delete(key)

        await self._mounted.meta.room()
        self._mounted.apply(change)
        self._bare.pop(number, None)

    async def remove(self, number: int, name: bytes) -> None:
        """Remove an attribute; a list that is not there is removed already. Raises NoSuchInode, NoSuchAttribute."""
        key = xattr_key(number, name)

        def change(txn: Txn) -> None:
            if txn.get(key) is None:
                if name in posix_acl.NAMES:
                    return
                raise NoSuchAttribute(name.decode(errors="replace"))
            self._touch(txn, number)
            txn.delete(key)

        await self._mounted.meta.room()
        self._mounted.apply(change)

    def _touch(self, txn: Txn, number: int) -> None:
        inode = load_inode(txn, number)
        save(txn, inode_key(number), msgspec.structs.replace(inode, ctime=self._mounted.now_ns()))


def _with_acl(inode: Inode, name: bytes, acl: posix_acl.PosixAcl, *, keep_setgid: bool) -> tuple[Inode, bool]:
    """What the record becomes, and whether the list is to be stored: one that says no more than the mode is not."""
    if name == posix_acl.DEFAULT:
        if inode.kind is not Kind.DIRECTORY:
            raise NotPermitted("only a directory has a default access control list")
        return inode, True
    mode = inode.mode & ~0o777 | acl.mode
    if not keep_setgid:
        mode &= ~stat.S_ISGID
    return msgspec.structs.replace(inode, mode=mode), not acl.is_plain


def inherit_acl(txn: Txn, parent: int, mode: int) -> tuple[int, list[tuple[bytes, bytes]]]:
    """What the default list of a directory makes of the mode of something new in it, and the attributes it gets."""
    raw = load(txn, xattr_key(parent, posix_acl.DEFAULT), bytes)
    if raw is None:
        return mode, []
    own = posix_acl.parse(raw).limited_to(mode)
    rows = [] if own.is_plain else [(posix_acl.ACCESS, own.dump())]
    if stat.S_ISDIR(mode):
        rows.append((posix_acl.DEFAULT, raw))
    return mode & ~0o777 | own.mode, rows


def note_mode(txn: Txn, number: int, mode: int) -> None:
    """chmod(2): the access control list, if there is one, says the same from now on."""
    key = xattr_key(number, posix_acl.ACCESS)
    raw = load(txn, key, bytes)
    if raw is not None:
        save(txn, key, posix_acl.parse(raw).with_mode(mode).dump())
