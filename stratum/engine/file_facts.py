"""What the attributes `user.stratum.*` of a file say: where it is, why, and, of the root, how the store is.

Room: stratum/engine. May import: core, store, engine.{file_xattrs, files, tiers}. Looking is no access (law 12).
"""

from collections.abc import Awaitable, Callable

import msgspec

from stratum.core.errors import Conflict, NotFound
from stratum.core.inodes import get_inode
from stratum.core.namespace import path_of
from stratum.core.objects import ObjectView
from stratum.core.records import Inode, Kind
from stratum.core.schema import REPAIR, ROOT_INODE
from stratum.core.txn import Txn, successor
from stratum.engine.file_xattrs import RESERVED
from stratum.engine.files import Files
from stratum.engine.tiers import Tiers
from stratum.store.disks import Disks
from stratum.store.meta import Meta

Why = Callable[[ObjectView], Awaitable[str]]
"""One plain sentence: why an object is where it is."""


class FileFacts:
    """Facts of one store. `why` is set by who decides about tiers."""

    def __init__(self, meta: Meta, disks: Disks, files: Files, tiers: Tiers) -> None:
        self._meta = meta
        self._disks = disks
        self._files = files
        self._tiers = tiers
        self.why: Why | None = None
        files.xattrs.own.update(
            {RESERVED + b"tier": self._tier, RESERVED + b"why": self._why, RESERVED + b"status": self._status}
        )

    async def _tier(self, number: int, inode: Inode) -> bytes | None:
        """hot, warm, cold; or shares, as `x-stratum-tier` of S3 shows them."""
        view = self._view(number, inode)
        return None if view is None else self._tiers.tier_of(view).summary.encode()

    async def _why(self, number: int, inode: Inode) -> bytes | None:
        view = self._view(number, inode)
        if view is None:
            return None
        if self.why is None:
            return b"hot: the store has no other tier" if not self._tiers.several else None
        try:
            return (await self.why(view)).encode()
        except (NotFound, Conflict):  # nobody decides about it
            return None

    async def _status(self, number: int, inode: Inode) -> bytes | None:
        """JSON: state (healthy, degraded, read-only), room, and whether closed files wait for publication."""
        if number != ROOT_INODE:
            return None
        room = self._files.attributes.room()
        told = {
            "state": self._state(),
            "total_bytes": room.total,
            "free_bytes": room.free,
            "disks": len(self._disks.slots()),
            "disks_in_service": len(self._disks.in_service()),
            "unpublished": not self._files.idle,
            "sequence": self._meta.sequence,
        }
        return msgspec.json.encode(told)

    def _state(self) -> str:
        if self._meta.failed is not None:
            return "read-only"
        lost = len(self._disks.slots()) - len(self._disks.in_service())
        waiting = self._meta.read(lambda txn: next(iter(txn.scan(REPAIR, successor(REPAIR))), None))
        return "degraded" if lost or waiting else "healthy"

    def _view(self, number: int, inode: Inode) -> ObjectView | None:
        """The object as S3 names it; None: it is no file, or its name is gone."""
        if inode.kind is not Kind.OBJECT or not inode.nlink:
            return None

        def read(txn: Txn) -> ObjectView:
            root, prefix = path_of(txn, inode.parent)
            bucket = get_inode(txn, root).name.removesuffix(b"/").decode()
            return ObjectView(bucket=bucket, key=prefix + inode.name, inode_number=number, inode=inode)

        return self._meta.read(read)
