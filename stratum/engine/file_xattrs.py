"""Extended attributes of inodes.

Room: stratum/engine. May import: core, engine.{file_history, file_mounted, file_table}.

Three kinds, by name. `user.*` of a file is the user metadata of the object (core.user_attributes); what S3 could not
carry for its size stays a row of the inode. `user.stratum.*` says what the store knows (`own`), or is a wish of the
user. Everything else is a row. Access control lists are rows too; a change of one changes the mode, and the other way
round (core.posix_acl).

The kernel asks for `security.capability` before every write(2): most inodes have no row at all, and this is
remembered, so that such a question does not reach the index.
"""

import stat
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping

import msgspec

from stratum.core import posix_acl
from stratum.core.errors import AttributeExists, InvalidArgument, MetadataTooLarge, NoSuchAttribute, NotPermitted
from stratum.core.records import Inode, Kind
from stratum.core.schema import XATTR, inode_key, xattr_key
from stratum.core.tiering.hints import parsed
from stratum.core.txn import Txn, load, save, successor
from stratum.core.user_attributes import OWN, SPACE, metadata_bytes, to_attributes, to_metadata
from stratum.engine.file_history import check_changeable, is_folder, real
from stratum.engine.file_mounted import Mounted
from stratum.engine.file_table import load_inode

BARE_MAX = 65_536  # inodes remembered to have no row
NAME_BYTES = 255  # XATTR_NAME_MAX
RESERVED = SPACE + OWN

WISHES: Mapping[bytes, tuple[bytes, ...]] = {
    RESERVED + b"hint": (b"hot", b"cold", b"another hint (docs/operator.md)"),
    RESERVED + b"pin": (b"hot", b"warm", b"cold"),
}
"""What may be set in `user.stratum.`, and to what. Of hints, whatever core.tiering.hints understands."""

Fact = Callable[[int, Inode], Awaitable[bytes | None]]
"""What the store says of an inode (number, record); None: nothing."""


class FileXattrs:
    """Extended attributes. Names and values are bytes; the caller checks the name space.

    `own`: facts of the store, read-only attributes that are not listed, so that no copy tries to set them.
    """

    def __init__(self, mounted: Mounted) -> None:
        self._mounted = mounted
        self._bare: OrderedDict[int, None] = OrderedDict()  # of a dict, the first is ever harder to find
        self.own: dict[bytes, Fact] = {}
        self.on_wish: Callable[[Txn, int], None] = lambda txn, content: None  # a wish about a content is another now

    def has_none(self, number: int) -> bool:
        """Is the inode known to have no row? False may also mean: not known. Says nothing of `user.*`."""
        return number in self._bare or is_folder(number)

    async def fact(self, number: int, name: bytes) -> bytes:
        """The value of an attribute in `user.stratum.`. Raises NoSuchAttribute, NoSuchInode."""
        if is_folder(number):
            raise NoSuchAttribute(name.decode(errors="replace"))
        number = real(number)
        tell = self.own.get(name)
        if tell is None:
            return self.get(number, name)
        told = await tell(number, self._mounted.meta.read(lambda txn: load_inode(txn, number)))
        if told is None:
            raise NoSuchAttribute(name.decode(errors="replace"))
        return told

    def note_bare(self, number: int) -> None:
        """The inode has no attribute: it is new."""
        if len(self._bare) >= BARE_MAX:
            self._bare.popitem(last=False)
        self._bare[number] = None

    def get(self, number: int, name: bytes) -> bytes:
        """The value. Raises NoSuchAttribute, of `user.*` NoSuchInode."""
        number = real(number)
        if name.startswith(SPACE):
            found = to_attributes(self._mounted.meta.read(lambda txn: load_inode(txn, number)).metadata).get(name)
            if found is not None:
                return found[0]
        if number not in self._bare:
            value = self._mounted.meta.read(lambda txn: load(txn, xattr_key(number, name), bytes))
            if value is not None:
                return value
            if not self._rows(number):
                self.note_bare(number)
        raise NoSuchAttribute(name.decode(errors="replace"))

    def names(self, number: int) -> list[bytes]:
        """All names, in byte order. Raises NoSuchInode."""
        if is_folder(number):
            return []
        number = real(number)
        metadata = self._mounted.meta.read(lambda txn: load_inode(txn, number)).metadata
        return sorted({*self._rows(number), *to_attributes(metadata)} - self.own.keys())

    def _rows(self, number: int) -> list[bytes]:
        prefix = XATTR + number.to_bytes(8, "big")
        return self._mounted.meta.read(
            lambda txn: [key[len(prefix) :] for key, _ in txn.scan(prefix, successor(prefix))]
        )

    def note_made(self, number: int, parent: int) -> None:
        """The inode is new: it has no attribute, but for the access control list that its directory gives."""
        if not self.has_none(parent) and not self._rows(parent):
            self.note_bare(parent)  # so that the next one made in it is not looked at
        if self.has_none(parent) or not self._rows(number):
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
        (no list, or no wish there is), NotPermitted (a fact of the store; a default list of what is no directory).
        """
        check_changeable(number)
        self._check(name, value)
        key = xattr_key(number, name)

        def change(txn: Txn) -> None:
            inode = load_inode(txn, number)
            held = to_attributes(inode.metadata).get(name) if name.startswith(SPACE) else None
            exists = held is not None or txn.get(key) is not None
            if exists and create:
                raise AttributeExists(name.decode(errors="replace"))
            if not exists and replace:
                raise NoSuchAttribute(name.decode(errors="replace"))
            kept = True
            if name in posix_acl.NAMES:
                inode, kept = _with_acl(inode, name, posix_acl.parse(value), keep_setgid=keep_setgid)
            elif name.startswith(SPACE):
                inode, kept = self._with_metadata(inode, name, value, held[1] if held else "")
            save(txn, inode_key(number), msgspec.structs.replace(inode, ctime=self._mounted.now_ns()))
            if name in WISHES:
                self.on_wish(txn, inode.content)
            if kept:
                save(txn, key, value)
            else:
                txn.delete(key)

        await self._mounted.meta.room()
        self._mounted.apply(change)
        self._bare.pop(number, None)

    def _check(self, name: bytes, value: bytes) -> None:
        if not 0 < len(name) <= NAME_BYTES:
            raise InvalidArgument(f"a name of {len(name)} bytes")
        if len(value) > self._mounted.limits.xattr_bytes:
            raise MetadataTooLarge(f"{len(value)} bytes")
        if name.startswith(RESERVED):
            if name not in WISHES:
                raise NotPermitted(f"{name.decode(errors='replace')} is a fact of the store")
            if value not in WISHES[name] and not (name == RESERVED + b"hint" and _is_hint(value)):
                told = " or ".join(word.decode() for word in WISHES[name])
                raise InvalidArgument(f"{name.decode()} is {told}")

    def _with_metadata(self, inode: Inode, name: bytes, value: bytes, old: str) -> tuple[Inode, bool]:
        """What the record becomes, and whether the attribute is to be a row: where metadata has no room for it.

        `old`: the metadata name that it stands under so far.
        """
        if inode.kind is not Kind.OBJECT:
            return inode, True
        others = {meta: text for meta, text in inode.metadata.items() if meta != old}
        metadata = dict([*others.items(), to_metadata(name, value)])
        room = metadata_bytes(metadata) <= self._mounted.limits.metadata_bytes
        return msgspec.structs.replace(inode, metadata=metadata if room else others), not room

    async def remove(self, number: int, name: bytes) -> None:
        """Remove an attribute; a list that is not there is removed already.

        Raises NoSuchInode, NoSuchAttribute, NotPermitted (a fact of the store).
        """
        check_changeable(number)
        if name in self.own:
            raise NotPermitted(f"{name.decode()} is a fact of the store")
        key = xattr_key(number, name)

        def change(txn: Txn) -> None:
            inode = load_inode(txn, number)
            held = to_attributes(inode.metadata).get(name) if name.startswith(SPACE) else None
            if held is None and txn.get(key) is None:
                if name in posix_acl.NAMES:
                    return
                raise NoSuchAttribute(name.decode(errors="replace"))
            kept = {meta: text for meta, text in inode.metadata.items() if held is None or meta != held[1]}
            inode = msgspec.structs.replace(inode, metadata=kept, ctime=self._mounted.now_ns())
            save(txn, inode_key(number), inode)
            if name in WISHES:
                self.on_wish(txn, inode.content)
            txn.delete(key)

        await self._mounted.meta.room()
        self._mounted.apply(change)


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


def inherit_acl(txn: Txn, parent: int, mode: int, umask: int) -> tuple[int, list[tuple[bytes, bytes]]]:
    """What the default list of a directory makes of the mode of something new in it, and the attributes it gets.

    `umask` takes from the mode only where there is no such list (acl(5)).
    """
    raw = load(txn, xattr_key(parent, posix_acl.DEFAULT), bytes)
    if raw is None:
        return mode & ~umask, []
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


def _is_hint(value: bytes) -> bool:
    found = parsed(value.decode(errors="replace"))
    return bool(found.words) and not found.wrong
