"""Extended attributes of inodes.

Room: stratum/engine. May import: core, engine.{file_mounted, file_table}.

The kernel asks for `security.capability` before every write(2): most inodes have no attribute at all, and this
is remembered, so that such a question does not reach the index.
"""

import msgspec

from stratum.core.errors import AttributeExists, InvalidArgument, MetadataTooLarge, NoSuchAttribute
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

    async def set(self, number: int, name: bytes, value: bytes, *, create: bool = False, replace: bool = False) -> None:
        """Set an attribute.

        Raises NoSuchInode, AttributeExists (`create`), NoSuchAttribute (`replace`), MetadataTooLarge.
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
            self._touch(txn, number)
            save(txn, key, value)

        await self._mounted.meta.room()
        self._mounted.apply(change)
        self._bare.pop(number, None)

    async def remove(self, number: int, name: bytes) -> None:
        """Remove an attribute. Raises NoSuchInode, NoSuchAttribute."""
        key = xattr_key(number, name)

        def change(txn: Txn) -> None:
            if txn.get(key) is None:
                raise NoSuchAttribute(name.decode(errors="replace"))
            self._touch(txn, number)
            txn.delete(key)

        await self._mounted.meta.room()
        self._mounted.apply(change)

    def _touch(self, txn: Txn, number: int) -> None:
        inode = load_inode(txn, number)
        save(txn, inode_key(number), msgspec.structs.replace(inode, ctime=self._mounted.now_ns()))
