"""Packing: small pieces of like temperature are brought together in volumes that can move to another tier as a whole,
and volumes that are mostly garbage are emptied. Which pieces, and why: core/packing.py.

Room: stratum/engine. May import: core, store, engine.{contents, pacing, packing_walk, small_uses, surroundings, tiers}.

What `packing_walk` collected is copied into new volumes, verified as every read is, and swapped run by run.

Invariants
    P1  A run is replaced only if, inside the change, it is still exactly the one that was read: so the bytes are.
    P2  It may be cut anywhere and run again; what was stored for nothing goes to the reaper, and so does a volume
        that nothing uses any more.
    P3  ETag, times, version, generation and size do not change: nobody sees it, and it is no access (law 12).
    P4  Bounded: `packing_bytes_per_second`, less while the foreground waits; one new volume at a time.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from itertools import islice

import trio

from stratum.core.config import MIB, Settings
from stratum.core.errors import StratumError
from stratum.core.manifest import INODE_USER, Span, content_users, extents_of, spans_in
from stratum.core.packing import Bin, Piece
from stratum.core.records import Extent, Packed
from stratum.core.schema import PACKED, id_of, packed_key, volume_key
from stratum.core.tiers import COLD, SHOWN
from stratum.core.txn import Txn, load, save, successor
from stratum.engine.contents import spans_of
from stratum.engine.files import Files
from stratum.engine.pacing import Pace
from stratum.engine.packing_walk import PackingWalk, Wishes
from stratum.engine.small_uses import SmallUses
from stratum.engine.surroundings import Surroundings
from stratum.engine.tiers import Tiers
from stratum.store.packs import Packs
from stratum.store.volumes import Volumes

log = logging.getLogger(__name__)

SWAPPED = 25  # runs replaced in one change
ROWS = 1000  # looked at in one step
BATCH_BYTES = 4 * MIB  # read, then appended: what one step holds in memory
REST = 60  # steps' pauses between two walks
REPACKED = "REPACKED"  # why a volume goes back to the tier where its pieces were


def packing_of(
    surroundings: Surroundings, volumes: Volumes, tiers: Tiers, files: Files, settings: Settings
) -> "Packing":
    """The service of a store, told of every use through either door. Its days are those of the tiering clock."""
    day_ns = int(settings.tiering.day_seconds * 1e9)
    uses = SmallUses(surroundings.meta, lambda: surroundings.now_ns() // day_ns, settings.limits.pack_bytes)
    surroundings.used = uses.used
    files.on_open = lambda inode: uses.used(inode.content, inode.size)
    packing = Packing(surroundings, volumes, tiers, uses, settings)
    packing.walking.day_ns = lambda: day_ns
    return packing


class Packing:
    """The service."""

    def __init__(
        self, surroundings: Surroundings, volumes: Volumes, tiers: Tiers, uses: SmallUses, settings: Settings
    ) -> None:
        limits = settings.limits
        self._around = surroundings
        self._volumes = volumes
        self._tiers = tiers
        self.limits = limits
        self.uses = uses
        self.walking = PackingWalk(surroundings, volumes, uses, settings, lambda: tiers.several)
        self._pace = Pace(limits.packing_bytes_per_second, lambda: volumes.pressure)
        self.packed = 0  # pieces, since the start
        self.packed_bytes = 0
        self.made = 0  # volumes

    @property
    def services(self) -> list[Callable[[], Awaitable[None]]]:
        """What runs for as long as the engine does."""
        return [self.run, self.uses.run]

    async def run(self) -> None:
        """Run until cancelled."""
        while True:
            await trio.sleep(REST * self.limits.packing_interval)
            try:
                await self.walk(self.limits.packing_interval)
            except StratumError as error:
                log.warning("packing postponed: %s", error)

    async def walk(self, pause: float = 0.0) -> None:
        """Look at everything once, with a pause between two steps, and pack what is worth it."""
        async with aclosing(self.walking.bins(pause)) as found:
            async for full in found:
                await self._store(full)
        await self.uses.forget_old(self.walking.today() - int(self.walking.rule.cold_days * 32))
        await self._forget_gone()

    def inherited(self, volume: int) -> Packed | None:
        """For who decides about tiers: what a volume's pieces were like before they came together."""
        return self._around.meta.read(lambda txn: load(txn, packed_key(volume), Packed))

    # --- copy, verify, swap ---------------------------------------------------------------------------------

    async def _store(self, full: Bin[Wishes]) -> None:
        """Let the pieces of a bin share volumes of their own."""
        pack, made = self._volumes.apart(), set[int]()
        staged: list[tuple[Piece, list[Span]]] = []
        try:
            for batch in _batches(full.pieces):
                staged += await self._append(pack, batch)
        except BaseException:
            with trio.CancelScope(shield=True):
                await self._give_up(pack, staged)
            raise
        await pack.close()
        for at in range(0, len(staged), SWAPPED):
            made |= await self._swap(staged[at : at + SWAPPED], full)
            await trio.lowlevel.checkpoint()
        self.made += len(made)
        await self._back_home(made, full.wishes)

    async def _give_up(self, pack: Packs, staged: Sequence[tuple[Piece, list[Span]]]) -> None:
        await pack.close()
        try:
            await self._around.contents.discard([span for _, spans in staged for span in spans])
        except StratumError as error:
            log.warning("what was packed for nothing stays until the next start: %s", error)

    async def _append(self, pack: Packs, batch: Sequence[Piece]) -> list[tuple[Piece, list[Span]]]:
        largest = self.limits.pack_bytes
        bodies: list[bytes] = []
        counts: list[int] = []
        with self._volumes.pinned({piece.run.extent.volume for piece in batch if piece.run.extent is not None}):
            for piece in batch:
                body = await self._around.contents.read([(0, piece.run)], 0, piece.run.length)
                await self._pace.take(len(body))
                cut = [body[at : at + largest] for at in range(0, len(body), largest)]
                bodies += cut
                counts.append(len(cut))
        rest = iter(await pack.append(bodies))
        found: list[tuple[Piece, list[Span]]] = []
        for piece, count in zip(batch, counts, strict=True):
            extents: list[Extent] = [extent for _ in range(count) for extent in next(rest)]
            found.append((piece, [(piece.offset + at, run) for at, run in spans_of(extents)]))
        return found

    async def _swap(self, some: Sequence[tuple[Piece, list[Span]]], full: Bin[Wishes]) -> set[int]:
        """Replace runs that are still what they were; return the new volumes that are used."""
        contents = self._around.contents
        packed = Packed(self.walking.today(), min(full.idle, 1e6))

        def change(txn: Txn) -> tuple[list[Piece], list[int]]:
            done: list[Piece] = []
            inodes: list[int] = []
            for piece, spans in some:
                if spans_in(txn, piece.content, piece.offset, piece.offset + piece.run.length) != [
                    (piece.offset, piece.run)
                ]:
                    continue  # P1
                contents.record(txn, piece.content, spans)
                done.append(piece)
                inodes += [number for kind, number in content_users(txn, piece.content) if kind == INODE_USER]
                for volume in {extent.volume for extent in extents_of(spans)}:
                    save(txn, packed_key(volume), packed)
            return done, inodes

        done, inodes = await self._around.meta.write(change)
        for number in inodes:
            self._around.files.moved(number)
        self.packed += len(done)
        self.packed_bytes += sum(piece.run.length for piece in done)
        swapped = {(piece.content, piece.offset) for piece in done}
        failed = [spans for piece, spans in some if (piece.content, piece.offset) not in swapped]
        if failed:
            await contents.discard([span for spans in failed for span in spans])
        return {
            extent.volume
            for piece, spans in some
            if (piece.content, piece.offset) in swapped
            for extent in extents_of(spans)
        }

    async def _back_home(self, made: Iterable[int], wishes: Wishes) -> None:
        """Pieces that were far away go there again."""
        if wishes.tier:
            await self._tiers.want(made, SHOWN[wishes.tier], REPACKED, wishes.backend if wishes.tier == COLD else "")

    async def _forget_gone(self) -> None:
        """Rows of volumes that are gone say nothing."""

        def gone(txn: Txn) -> tuple[list[bytes], bytes]:
            keys = [key for key, _ in islice(txn.scan(after, successor(PACKED)), ROWS)]
            return [key for key in keys if txn.get(volume_key(id_of(key))) is None], (*keys, b"")[len(keys) - 1]

        after = PACKED
        while after:
            keys, last = self._around.meta.read(gone)
            if keys:
                await self._around.meta.write(lambda txn: _delete(txn, keys))  # noqa: B023
            after = last + b"\0" if last else b""
            await trio.lowlevel.checkpoint()


def _batches(pieces: Sequence[Piece]) -> Iterable[list[Piece]]:
    """Pieces in the order in which they rest, so many bytes at a time."""
    order = sorted(pieces, key=lambda each: (each.run.extent.volume, each.run.extent.at) if each.run.extent else (0, 0))
    batch: list[Piece] = []
    size = 0
    for piece in order:
        batch.append(piece)
        size += piece.run.length
        if size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _delete(txn: Txn, keys: Iterable[bytes]) -> None:
    for key in keys:
        txn.delete(key)
