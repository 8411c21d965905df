"""How the bytes of a mounted file are encrypted: by pages, so that it can be changed in place.

Room: stratum/engine. May import: core, engine.{configurations, contents, file_mounted, sealing}.

A file that is made, or emptied, in a bucket with default encryption is encrypted as the bucket says; one that was
encrypted before stays so. One that has plain bytes keeps to that until it is emptied, as an object of S3 does. What S3
sealed in runs is sealed anew, as a whole, when it is first changed. Under a customer's key nothing can be changed.

Invariants
    G1  Pages are sealed from what the file is at one instant; each page that changes is sealed as a whole, with a new
        salt. What of it was not written is read, and so verified, first.
    G2  Pages beyond what was written are zeros, not stored.
"""

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import msgspec
import trio

from stratum.core import sealed_pages
from stratum.core.config import KIB
from stratum.core.encryption import KIND, SSE_C, Encryption, SealSpec, default_spec
from stratum.core.errors import NoSuchInode
from stratum.core.inodes import get_inode
from stratum.core.manifest import Span
from stratum.core.mount_names import path_of
from stratum.core.ranges import Ranges, gaps, is_buffer
from stratum.core.records import Inode, Sealed
from stratum.core.sealed_pages import PageOpener, PageSealer, pages_of, runs_of, stored_at
from stratum.core.txn import Txn
from stratum.engine.configurations import configuration
from stratum.engine.contents import Contents
from stratum.engine.file_mounted import Mounted
from stratum.engine.sealing import ObjectKey

IN_THREAD_BYTES = 64 * KIB  # from here on a hop to a thread costs less than the loop would stand still
TOGETHER = 64  # pages sealed in one step: 1 MiB

Below = Callable[[int, int], Awaitable[bytes]]
"""The plain bytes of a range as they were before what moves now."""


@dataclass(slots=True)
class Pages:
    """The pages of one file. `size`: of the file whose pages are stored, in plain bytes."""

    key: ObjectKey
    size: int = 0

    def record(self, size: int) -> Sealed:
        """How a file of `size` bytes is encrypted."""
        stored = sealed_pages.stored_size(size)
        return msgspec.structs.replace(
            self.key.sealed, size=stored, parts=(size,), salts=b"", format=sealed_pages.FORMAT
        )

    def stored(self, start: int, stop: int) -> tuple[int, int]:
        """The stored range that holds [start, stop), not empty and within `size`."""
        return sealed_pages.stored_span(self.size, start, stop)

    async def open(self, contents: Contents, spans: list[Span], start: int, stop: int) -> bytes:
        """The plain bytes [start, stop) of what `spans` hold; zeros beyond `size`. Raises TooFewShards, CorruptSeal."""
        size = self.size
        end = min(stop, size)
        if start >= end:
            return bytes(stop - start)
        opener = PageOpener(self.key.secret, size, start, end)
        stored = await contents.read(spans, *sealed_pages.stored_span(size, start, end))
        if len(stored) < IN_THREAD_BYTES:
            plain = opener.feed(stored)
        else:
            plain = await trio.to_thread.run_sync(opener.feed, stored)
        return plain if end == stop else plain + bytes(stop - end)

    async def seal(self, moving: Ranges, size: int, below: Below) -> Ranges:
        """The stored form of what moves into a file that will have `size` bytes. Raises what `below` raises."""
        sealed, sealer = Ranges(), PageSealer(self.key.secret, secrets.token_bytes(sealed_pages.SALT_BYTES))
        if size < self.size:
            sealed.clear(sealed_pages.stored_size(size), stored_at(pages_of(0, self.size).stop))
        for start, stop in moving.zeros():
            whole = range(-(-start // sealed_pages.PAGE_BYTES), stop // sealed_pages.PAGE_BYTES)
            if whole:
                sealed.clear(stored_at(whole.start), stored_at(whole.stop))
        for first, behind in runs_of(self._changed(moving, size), TOGETHER):
            start, stop = first * sealed_pages.PAGE_BYTES, min(behind * sealed_pages.PAGE_BYTES, size)
            plain = await _together(moving, start, stop, below)
            if len(plain) < IN_THREAD_BYTES:
                stored = sealer.seal(first, plain)
            else:
                stored = await trio.to_thread.run_sync(sealer.seal, first, plain)
            sealed.place(stored_at(first), stored_at(first) + len(stored), stored)
        return sealed

    def _changed(self, moving: Ranges, size: int) -> list[int]:
        """The pages of the file, as it will be, that are to be sealed: not those that become nothing but zeros."""
        changed: set[int] = set()
        for start, stop, piece in moving:
            pages = pages_of(start, min(stop, size)) if start < size else range(0)
            if piece is not None:
                changed.update(pages)
            elif pages:  # whole pages of zeros are not stored
                changed.update(
                    page
                    for page in {pages[0], pages[-1]}
                    if page * sealed_pages.PAGE_BYTES < start or stop < (page + 1) * sealed_pages.PAGE_BYTES
                )
        last = min(size, self.size)
        if size != self.size and last % sealed_pages.PAGE_BYTES:  # was, or becomes, the last page: is short
            changed.add(last // sealed_pages.PAGE_BYTES)
        return sorted(changed)


async def _together(moving: Ranges, start: int, stop: int, below: Below) -> bytearray:
    """The plain bytes [start, stop): what moves, over what was there."""
    plain = bytearray(stop - start)
    found = moving.within(start, stop)
    for low, high in gaps(found, start, stop):
        plain[low - start : high - start] = await below(low, high)
    for low, high, piece in found:
        if is_buffer(piece):
            plain[low - start : high - start] = piece
    return plain


@dataclass(frozen=True, slots=True)
class Form:
    """How a file is to be stored. `pages` None: plain. `anew`: nothing that was stored before is part of it any more;
    `convert`: the published bytes are to be stored again in this form first."""

    pages: Pages | None
    anew: bool = False
    convert: bool = False


async def form_of(mounted: Mounted, inode: Inode, *, emptied: bool) -> Form:
    """How a file is to be stored from now on. `emptied`: it is begun anew, or new.

    Raises NotSealing, NoMasterKey, NoSuchNamedKey, CorruptSeal.
    """
    sealed = inode.sealed
    if not emptied and sealed is not None and sealed.size:
        key = mounted.sealing.open(sealed, None)
        if sealed.format == sealed_pages.FORMAT:
            return Form(Pages(key, inode.size))
        return Form(Pages(key, inode.size), anew=True, convert=True)
    if not emptied:
        return Form(None)
    spec = mounted.meta.read(lambda txn: default_of(txn, inode)) or _as_before(sealed)
    pages = None if spec is None else Pages(await mounted.sealing.make(spec))
    return Form(pages, anew=pages is not None or sealed is not None)


def default_of(txn: Txn, inode: Inode) -> SealSpec | None:
    """What the bucket that a file is in says of files that bring nothing of their own."""
    try:
        root, _ = path_of(txn, inode.parent)
        bucket = get_inode(txn, root).name.removesuffix(b"/").decode()
    except NoSuchInode:  # its folder is gone, and so is the file
        return None
    default = configuration(txn, bucket, KIND, Encryption)
    return None if default is None else default_spec(default)


def _as_before(sealed: Sealed | None) -> SealSpec | None:
    """A file that was encrypted stays so; under a customer's key only the customer could."""
    if sealed is None or sealed.scheme == SSE_C:
        return None
    return SealSpec(scheme=sealed.scheme, key_id=sealed.key_id, context=sealed.context, bucket_key=sealed.bucket_key)
