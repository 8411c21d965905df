"""Encrypted objects as files: read through the mount like any other.

Room: stratum/engine. May import: core, engine.{file_mounted, sealing}.

A file under a customer's key can be neither read nor changed: nobody can send the key (EACCES, EPERM). It can be
replaced: emptied and written, or renamed over.
"""

import msgspec
import trio

from stratum.core.encryption import SSE_C
from stratum.core.errors import NoSuchInode, NotPermitted
from stratum.core.manifest import Span, detach, inode_user, spans_in
from stratum.core.records import Inode, Sealed
from stratum.core.schema import inode_key
from stratum.core.sealing import SEGMENT_BYTES
from stratum.core.txn import Txn, load
from stratum.engine.file_mounted import Mounted


def check_readable(mounted: Mounted, inode: Inode, *, writes: bool = False) -> None:
    """Refuse what cannot be opened. Raises CustomerKeyNeeded, NoMasterKey, NoSuchNamedKey, CorruptSeal.

    `writes`: who opens it may mean to replace it, and needs no customer's key for that.
    """
    if inode.sealed is not None and not (writes and inode.sealed.scheme == SSE_C):
        mounted.sealing.open(inode.sealed, None)


def bytes_sealed(inode: Inode) -> Sealed | None:
    """How the bytes of a file are encrypted; None where they are not, or where there is none."""
    return inode.sealed if inode.sealed is not None and inode.sealed.size else None


def check_changeable(sealed: Sealed | None) -> None:
    """Refuse a change in place of published bytes under a customer's key. Raises NotPermitted."""
    if sealed is not None and sealed.scheme == SSE_C:
        raise NotPermitted("a file under a customer's key can be replaced, but not changed in place")


async def read_sealed(mounted: Mounted, number: int, sealed: Sealed, start: int, stop: int) -> bytes:
    """Return the plain bytes [start, stop) of an encrypted file, which must not be empty.

    Raises CustomerKeyNeeded, NoMasterKey, NoSuchNamedKey, CorruptSeal, TooFewShards.
    """
    key = mounted.sealing.open(sealed, None)
    unsealer = key.unsealer(start, stop)
    first, end = key.stored_span(start, stop)
    spans = mounted.meta.read(lambda txn: _spans(txn, number, first, end))
    stored = await mounted.contents.read(spans, first, end)
    if len(stored) <= 2 * SEGMENT_BYTES:
        return unsealer.feed(stored)
    return await trio.to_thread.run_sync(unsealer.feed, stored)


def _spans(txn: Txn, number: int, start: int, stop: int) -> list[Span]:
    inode = load(txn, inode_key(number), Inode)
    if inode is None:
        raise NoSuchInode(f"inode {number}")
    return spans_in(txn, inode.content, start, stop)


def begun_anew(txn: Txn, number: int, inode: Inode) -> Inode:
    """Inside a change: the record of a file without its bytes, to become another version with none of them."""
    if inode.content:
        detach(txn, inode.content, inode_user(number))
    return msgspec.structs.replace(inode, content=0, sealed=None)
