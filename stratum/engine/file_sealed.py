"""Encrypted objects as files: read through the mount like any other, and never changed in place.

Room: stratum/engine. May import: core, engine.{file_mounted, sealing}.

A write into the middle of an encrypted file would make it a mixture, so it is refused (EPERM). What replaces the file
(truncation to nothing, then writing; or renaming another file over it) makes a new, plain version of it: bytes that
come through the mount are not encrypted at rest. A file under a customer's key cannot be read: nobody can send the key.
"""

import msgspec
import trio

from stratum.core.errors import NoSuchInode, NotPermitted
from stratum.core.manifest import Span, detach, inode_user, spans_in
from stratum.core.records import Inode, Sealed
from stratum.core.schema import inode_key
from stratum.core.sealing import SEGMENT_BYTES, stored_span
from stratum.core.txn import Txn, load
from stratum.engine.file_mounted import Mounted


def check_readable(mounted: Mounted, inode: Inode) -> None:
    """Refuse what cannot be opened. Raises CustomerKeyNeeded, NoMasterKey, NoSuchNamedKey, CorruptSeal."""
    if inode.sealed is not None:
        mounted.sealing.open(inode.sealed, None)


def bytes_sealed(inode: Inode) -> Sealed | None:
    """How the bytes of a file are encrypted; None where they are not, or where there is none."""
    return inode.sealed if inode.sealed is not None and inode.sealed.size else None


def check_changeable(sealed: Sealed | None) -> None:
    """Refuse a change in place of published bytes that are encrypted. Raises NotPermitted."""
    if sealed is not None:
        raise NotPermitted("an encrypted file can be replaced, but not changed in place")


async def read_sealed(mounted: Mounted, number: int, sealed: Sealed, start: int, stop: int) -> bytes:
    """Return the plain bytes [start, stop) of an encrypted file, which must not be empty.

    Raises CustomerKeyNeeded, NoMasterKey, NoSuchNamedKey, CorruptSeal, TooFewShards.
    """
    unsealer = mounted.sealing.open(sealed, None).unsealer(start, stop)
    first, end = stored_span(sealed.parts, start, stop)
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
    """Inside a change: the record of an encrypted file without its bytes, to become another version.

    Nothing of the encrypted bytes may show in it: they are longer than the file was.
    """
    if inode.content:
        detach(txn, inode.content, inode_user(number))
    return msgspec.structs.replace(inode, content=0, sealed=None)
