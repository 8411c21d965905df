"""Moves: a volume is copied to another tier, what was copied is verified, one change swaps, the reaper clears away.

Room: stratum/engine. May import: core, store, engine.{pacing, surroundings}.

Invariants
    V1  Copy, verify, swap, orphan (law 3): killed anywhere, the volume is where it was or where it was to go, all of
        it, and what is left over is named by a row (core/tiers.py, T1). Moving again is no harm.
    V2  A wish is a row of the index: it outlives a crash, and goes with the swap, or when it means nothing any more.
    V3  A backend that is down or refuses pauses the moves that need it, and nothing else.
"""

import hashlib
import logging
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from itertools import islice

import msgspec
import trio

from stratum.core.config import Limits
from stratum.core.errors import Busy, InvalidArgument, StratumError, Unavailable
from stratum.core.manifest import is_used, note_if_unused
from stratum.core.records import Held, Volume, Wish
from stratum.core.schema import WISH, volume_key, wish_key
from stratum.core.tiers import (
    HOT,
    SHOWN,
    intend_held,
    intend_shards,
    is_inner,
    stream_bytes,
    swap,
)
from stratum.core.txn import Txn, load
from stratum.engine.pacing import Pace
from stratum.engine.surroundings import Surroundings
from stratum.store.backends import Backend, BackendDown, HeldMissing, HeldWrong
from stratum.store.volumes import Volumes

log = logging.getLogger(__name__)

PIECE = 4 * 1024**2  # bytes asked of a holder at a time
AT_ONCE = 256  # wishes looked at in one pass
PAUSES = (1.0, 4.0, 15.0, 60.0, 300.0)  # seconds before a move that failed so often is tried again


@dataclass(slots=True)
class Moving:
    """A move under way."""

    source: str  # tiers
    target: str
    total: int  # bytes of the stream
    done: int = 0
    reason: str = ""


@dataclass(slots=True)
class Put:
    """A move that was put off: how often, until when (trio's clock), why."""

    times: int
    until: float
    reason: str


class Mover:
    """Moves volumes that are wished elsewhere."""

    def __init__(
        self, surroundings: Surroundings, volumes: Volumes, backends: Mapping[str, Backend], limits: Limits
    ) -> None:
        self._around = surroundings
        self._volumes = volumes
        self._backends = backends
        self._limits = limits
        self._pace = Pace(limits.move_bytes_per_second, lambda: volumes.pressure)
        self._sooner = trio.Event()
        self.on_moved: Callable[[int, Volume, Volume, str], None] = _ignored  # volume, before, after, reason
        self.under_way: dict[int, Moving] = {}
        self.put_off: dict[int, Put] = {}
        self.moved: dict[tuple[str, str], int] = {}  # (from, to) -> volumes, since the start
        self.moved_bytes = 0
        self.failed = 0
        self.waiting = 0  # wishes, as of the last pass and with those that came since

    # --- the service ----------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Run until cancelled."""
        while True:
            self._sooner = trio.Event()
            try:
                await self.one_pass()
            except StratumError as error:
                log.warning("moves postponed: %s", error)
            with trio.move_on_after(self._pause()):
                await self._sooner.wait()

    def expect(self, count: int) -> None:
        """There are so many new wishes."""
        self.waiting += count
        if count:
            self._sooner.set()

    def _pause(self) -> float:
        soonest = min((put.until for put in self.put_off.values()), default=float("inf"))
        return max(0.05, min(soonest - trio.current_time(), self._limits.seal_delay))

    async def one_pass(self) -> None:
        """Try every wish that may be fulfilled now, some at the same time."""
        turns = trio.CapacityLimiter(self._limits.moves)
        after, left = WISH, 0
        while wishes := self._wishes(after):
            async with trio.open_nursery() as nursery:
                for number, wish in wishes:
                    if self._is_due(number, wish):
                        await turns.acquire_on_behalf_of(number)
                        nursery.start_soon(self._attempt, number, wish, turns)
            after = wish_key(wishes[-1][0]) + b"\0"
            left += self._around.meta.read(lambda txn: sum(txn.get(wish_key(one)) is not None for one, _ in wishes))
        self.waiting = left

    def _wishes(self, after: bytes) -> list[tuple[int, Wish]]:
        def read(txn: Txn) -> list[tuple[int, Wish]]:
            rows = islice(txn.scan(after, bytes((WISH[0] + 1,))), AT_ONCE)
            return [
                (int.from_bytes(key[1:], "big"), wish) for key, _ in rows if (wish := load(txn, key, Wish)) is not None
            ]

        return self._around.meta.read(read)

    def _is_due(self, number: int, wish: Wish) -> bool:
        put = self.put_off.get(number)
        if number in self.under_way or (put is not None and put.until > trio.current_time()):
            return False
        return (
            wish.soon or self._around.now_ns() - wish.since >= self._limits.seal_delay * 10**9 or self._sealed(number)
        )

    def _sealed(self, number: int) -> bool:
        volume = self._load(number)
        return volume is None or volume.sealed

    async def _attempt(self, number: int, wish: Wish, turns: trio.CapacityLimiter) -> None:
        try:
            await self.move(number, wish.tier, wish.backend, wish.reason)
            self.put_off.pop(number, None)
        except InvalidArgument as error:
            log.error("volume %016x cannot be moved to %s: %s", number, SHOWN[wish.tier], error)
            await self._drop(number)
        except StratumError as error:
            self._put_off(number, error)
        finally:
            turns.release_on_behalf_of(number)

    def _put_off(self, number: int, error: StratumError) -> None:
        times = (self.put_off[number].times if number in self.put_off else 0) + (not isinstance(error, Busy))
        pause = self._limits.cold_pause if isinstance(error, BackendDown) else PAUSES[min(times, len(PAUSES) - 1)]
        self.put_off[number] = Put(times, trio.current_time() + pause, str(error))
        self.failed += not isinstance(error, Busy)
        level = logging.DEBUG if isinstance(error, Busy) else logging.WARNING
        log.log(level, "the move of volume %016x is put off: %s", number, error)

    async def _drop(self, number: int) -> None:
        self.put_off.pop(number, None)
        await self._around.meta.write(lambda txn: txn.delete(wish_key(number)))

    # --- one move -------------------------------------------------------------------------------------------

    async def move(self, number: int, tier: str, backend: str = "", reason: str = "") -> None:
        """Let the volume be in `tier` (of the cold ones, in `backend`; empty: the first), if anybody still uses it.

        Raises Busy (not sealed yet, or in other hands), InvalidArgument (an inner volume, no such tier), BackendDown,
        HeldMissing, HeldWrong, TooFewShards, TooFewDisks, StoreFull, DiskFailed, ReadOnly.
        """
        with self._volumes.exclusive(number):
            before = self._load(number)
            if before is None or not self._around.meta.read(lambda txn: is_used(txn, number)):
                await self._drop(number)
                return
            target = self.target(tier, backend)
            if is_inner(before):
                raise InvalidArgument("it holds other volumes")
            if before.tier == tier and (before.held is None or target is None or before.held.backend == target.name):
                await self._drop(number)
                return
            if not before.sealed or self._volumes.placed(number) is not None:
                self._volumes.finish(number)
                raise Busy(f"volume {number:016x} is still being written")
            self.under_way[number] = Moving(SHOWN[before.tier], SHOWN[tier], stream_bytes(before), reason=reason)
            try:
                await (self._up(number, before) if target is None else self._down(number, before, tier, target))
            finally:
                del self.under_way[number]

    def target(self, tier: str, backend: str = "") -> Backend | None:
        """Who takes volumes of a tier; None: the hot disks. Raises InvalidArgument."""
        if tier == HOT:
            return None
        for each in self._backends.values():
            if each.tier == tier and backend in ("", each.name):
                return each
        raise InvalidArgument(f"no backend {backend!r} of tier {SHOWN.get(tier, tier)} is configured")

    def _load(self, number: int) -> Volume | None:
        return self._around.meta.read(lambda txn: load(txn, volume_key(number), Volume))

    async def _down(self, number: int, before: Volume, tier: str, target: Backend) -> None:
        size = stream_bytes(before)
        sha256 = before.held.sha256 if before.held is not None else await self._digest(number, before)
        planned = target.plan(size, sha256)
        if planned.key:
            await self._around.meta.write(lambda txn: intend_held(txn, number, planned))
        held = await target.put(lambda: self._stream(number, before, counted=True), planned)
        try:
            await self._verify(target, held)
            after = msgspec.structs.replace(before, tier=tier, held=held, slots=())
            done = await self._around.meta.write(lambda txn: self._swap(txn, number, before, after))
        except BaseException:
            if held.extents:  # nothing but this task knows of them
                with trio.CancelScope(shield=True):
                    await _give_up(target, held)
            raise
        self._note(number, before, after, moved=done)

    async def _up(self, number: int, before: Volume) -> None:
        slots = self._volumes.hot_slots(number, before)
        await self._around.meta.write(lambda txn: intend_shards(txn, number, slots))
        after = msgspec.structs.replace(before, tier=HOT, held=None, slots=slots)

        async def fetch(start: int, stop: int) -> bytes:
            return await self._fetch(number, before, start, stop)

        await self._volumes.write_shards(number, after, slots, fetch)
        bad = await self._volumes.verify(number, after)
        if bad:
            raise HeldWrong(f"volume {number:016x}: {bad}")
        done = await self._around.meta.write(lambda txn: self._swap(txn, number, before, after))
        self._note(number, before, after, moved=done)

    def _swap(self, txn: Txn, number: int, before: Volume, after: Volume) -> bool:
        """Inside a change."""
        inner = after.held.extents if after.held is not None else ()
        self._volumes.record(txn, inner)
        done = swap(txn, number, before, after)
        if not done:
            for each in {extent.volume for extent in inner}:
                note_if_unused(txn, each)
        return done

    async def _verify(self, target: Backend, held: Held) -> None:
        found = await target.head(held)
        if found is None:
            raise HeldMissing(f"{target.name} does not have what was just put there")
        if found.size != held.size or found.sha256 not in (b"", held.sha256):
            raise HeldWrong(f"{target.name} has something else than what was put there")

    def _note(self, number: int, before: Volume, after: Volume, *, moved: bool) -> None:
        self._volumes.moved(number)
        if moved:
            way = SHOWN[before.tier], SHOWN[after.tier]
            self.moved[way] = self.moved.get(way, 0) + 1
            self.moved_bytes += stream_bytes(after)
            moving = self.under_way.get(number)
            self.on_moved(number, before, after, moving.reason if moving is not None else "")
            log.info("volume %016x moved from %s to %s", number, *way)

    # --- bytes ----------------------------------------------------------------------------------------------

    async def _digest(self, number: int, volume: Volume) -> bytes:
        digest = hashlib.sha256()
        async with aclosing(self._stream(number, volume, counted=False)) as pieces:
            async for piece in pieces:
                digest.update(piece)
        return digest.digest()

    async def _stream(self, number: int, volume: Volume, *, counted: bool) -> AsyncGenerator[bytes, None]:
        if counted:
            self.under_way[number].done = 0
        if volume.held is None:
            async with aclosing(self._volumes.stream(number, volume)) as pieces:
                async for piece in pieces:
                    await self._take(number, len(piece), counted=counted)
                    yield piece
            return
        size = stream_bytes(volume)
        for at in range(0, size, PIECE):
            yield await self._fetch(number, volume, at, min(at + PIECE, size))

    async def _fetch(self, number: int, volume: Volume, start: int, stop: int) -> bytes:
        assert volume.held is not None
        await self._take(number, stop - start, counted=True)
        return await self._volumes.held.backend_of(volume.held).get(volume.held, start, stop)

    async def _take(self, number: int, size: int, *, counted: bool) -> None:
        await self._pace.take(size)
        if counted:
            self.under_way[number].done += size


def _ignored(number: int, before: Volume, after: Volume, reason: str) -> None:
    """Nobody wants to know."""


async def _give_up(target: Backend, held: Held) -> None:
    try:
        await target.delete(held)
    except Unavailable as error:
        log.warning("what was copied for nothing stays until the next start: %s", error)
