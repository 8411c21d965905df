"""What packing collects: a walk over all volumes, then over the runs in the index, in small steps.

Room: stratum/engine. May import: core, store, engine.{small_uses, surroundings}. Looking is no access (law 12).
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from itertools import islice
from typing import NamedTuple

import trio

from stratum.core.config import Settings
from stratum.core.inodes import get_inode
from stratum.core.manifest import INODE_USER, content_users
from stratum.core.namespace import path_of
from stratum.core.packing import (
    DAY_NS,
    Bin,
    Bins,
    PackingRule,
    Piece,
    Use,
    is_inline_taken,
    is_taken,
    temperature,
    why_repacked,
)
from stratum.core.records import Inode, Run, Volume, decode
from stratum.core.schema import RUN, VOLUME, id_of, inode_key, run_end, run_key, volume_user_key
from stratum.core.tiering.hints import parsed
from stratum.core.tiers import HOLDER, is_inner, route, stream_bytes
from stratum.core.txn import Txn, load, successor
from stratum.engine.small_uses import SmallUses
from stratum.engine.surroundings import Surroundings
from stratum.store.volumes import Volumes

SLICE = 100  # rows with what belongs to them, in one look: under 5 ms of the event loop
COUNTED = 1000  # rows that are only added up


class Wishes(NamedTuple):
    """What pieces of one volume have in common: a pin, the cold backend that routes name, and where they come from."""

    pin: str = ""
    routed: str = ""
    tier: str = ""  # where they are held now, and go back to
    backend: str = ""


class Facts(NamedTuple):
    """What is known of a content: days since its last use, and what its owners want."""

    idle: float
    wishes: Wishes


class PackingWalk:
    """Finds what is to be packed. `several`: is there another tier than hot?"""

    def __init__(
        self,
        surroundings: Surroundings,
        volumes: Volumes,
        uses: SmallUses,
        settings: Settings,
        several: Callable[[], bool],
    ) -> None:
        limits = settings.limits
        self._around = surroundings
        self._volumes = volumes
        self._uses = uses
        self._settings = settings
        self._limits = limits
        self._several = several
        self.day_ns: Callable[[], int] = lambda: DAY_NS
        self.rule = PackingRule(cold_days=limits.packing_cold_days, bin_bytes_min=limits.packing_bytes_min)
        self._bins: Bins[Wishes] = Bins(limits.volume_bytes, limits.packing_pieces, limits.packing_bins, self.rule)

    def today(self) -> int:
        """The day of the tiering clock."""
        return self._around.now_ns() // self.day_ns()

    async def bins(self, pause: float = 0.0) -> AsyncGenerator[Bin[Wishes], None]:
        """Look at everything once; yield what is to share a volume. `pause`: seconds between two steps."""
        async for number, volume in self._sealed_volumes(pause):
            for full in await self._of_volume(number, volume):
                yield full
        if self._several():
            async for pieces in self._inline(pause):
                for piece, facts in pieces:
                    for full in self._bins.add([piece], facts.wishes):
                        yield full
        for rest in self._bins.rest():
            yield rest

    async def _sealed_volumes(self, pause: float) -> AsyncGenerator[tuple[int, Volume], None]:
        after = VOLUME
        while rows := self._around.meta.read(lambda txn: list(islice(txn.scan(after, successor(VOLUME)), SLICE))):  # noqa: B023
            for key, raw in rows:
                volume, number = decode(key, raw, Volume), id_of(key)
                if volume.sealed and not is_inner(volume) and self._volumes.placed(number) is None:
                    yield number, volume
            after = rows[-1][0] + b"\0"
            await trio.sleep(pause)

    async def _of_volume(self, number: int, volume: Volume) -> list[Bin[Wishes]]:
        """Collect of a volume what is worth it."""
        contents, live = await self._contents_of(number)
        held, room = volume.held is not None, stream_bytes(volume)
        reason, known = why_repacked(Use(room, live, 0, held), tiers=False, rule=self.rule), {}
        if not reason and (held or not self._several() or len(contents) < 2):
            return []
        async for some in _in_slices(contents):
            known.update(self._around.meta.read(lambda txn: {one: self._facts(txn, one) for one, _ in some}))  # noqa: B023
        if not reason:
            cold = sum(used for one, used in contents if self._is_cold(known[one]))
            known_live = sum(used for _, used in contents)
            reason = why_repacked(Use(known_live, known_live, cold, held), tiers=True, rule=self.rule)
        if not reason:
            return []
        full: list[Bin[Wishes]] = []
        home = {"tier": volume.tier, "backend": volume.held.backend} if volume.held is not None else {}
        for content, facts in known.items():
            if facts is not None:
                taken = [
                    each for each in await self._pieces(number, content, facts) if is_taken(reason, each, self.rule)
                ]
                full += self._bins.add(taken, facts.wishes._replace(**home))
        return full

    def _is_cold(self, facts: Facts | None) -> bool:
        return facts is not None and temperature(facts.idle, self.rule) > 0

    async def _contents_of(self, number: int) -> tuple[list[tuple[int, int]], int]:
        """Contents with the bytes that they use, as many as fit a volume; and the bytes of all."""
        found: list[tuple[int, int]] = []
        live = 0
        after, stop = volume_user_key(number, 0), volume_user_key(number, HOLDER)
        while rows := self._around.meta.read(lambda txn: list(islice(txn.scan(after, stop), COUNTED))):  # noqa: B023
            used = [(id_of(key, 9), decode(key, raw, int)) for key, raw in rows]
            live += sum(size for _, size in used)
            found += used[: self._limits.packing_pieces - len(found)]
            after = rows[-1][0] + b"\0"
            await trio.lowlevel.checkpoint()
        return found, live

    async def _pieces(self, number: int, content: int, facts: Facts) -> list[Piece]:
        """The runs of a content that rest in a volume, in order."""
        found: list[Piece] = []
        after, stop = run_key(content, 0), run_key(content, 0)[:9] + b"\xff" * 9
        while rows := self._around.meta.read(lambda txn: list(islice(txn.scan(after, stop), COUNTED))):  # noqa: B023
            for key, raw in rows:
                run = decode(key, raw, Run)
                if run.extent is not None and run.extent.volume == number:
                    found.append(Piece(content, run_end(key) - run.length, run, facts.idle))
            after = rows[-1][0] + b"\0"
            if len(rows) == COUNTED:
                await trio.lowlevel.checkpoint()
        return found

    async def _inline(self, pause: float) -> AsyncGenerator[list[tuple[Piece, Facts]], None]:
        """What rests in the index and is cold, in slices."""
        after = RUN
        while rows := self._around.meta.read(lambda txn: list(islice(txn.scan(after, successor(RUN)), SLICE))):  # noqa: B023
            yield self._around.meta.read(lambda txn: self._cold_inline(txn, rows))
            after = rows[-1][0] + b"\0"
            await trio.sleep(pause)

    def _cold_inline(self, txn: Txn, rows: Sequence[tuple[bytes, bytes]]) -> list[tuple[Piece, Facts]]:
        found: list[tuple[Piece, Facts]] = []
        for key, raw in rows:
            run = decode(key, raw, Run)
            if run.inline is None or run.length < self.rule.inline_bytes_min:
                continue
            facts = self._facts(txn, id_of(key))
            if facts is not None:
                piece = Piece(id_of(key), run_end(key) - run.length, run, facts.idle)
                found += [(piece, facts)] * is_inline_taken(piece, self.rule)
        return found

    def _facts(self, txn: Txn, content: int) -> Facts | None:
        """None: nobody can say, a part of an upload, or a file that is open."""
        idle, wishes = float("inf"), None
        for kind, number in content_users(txn, content):
            inode = load(txn, inode_key(number), Inode) if kind == INODE_USER else None
            if inode is None:
                return None
            pin, hint = _said(inode, "stratum-pin"), _said(inode, "stratum-hint")
            since = (self._around.now_ns() - inode.mtime) / self.day_ns()
            hints = parsed(hint)
            pin = pin or hints.pin
            wanted = hints.hot or hints.no_cold or pin == "hot" or bool(hints.schedule or hints.max_latency_ms)
            idle = min(idle, 0.0 if wanted else max(0.0, since))
            wishes = wishes or Wishes(pin, self._routed(txn, inode))
        last = self._uses.last(txn, content)
        return None if wishes is None else Facts(min(idle, max(0.0, self.today() - last)), wishes)

    def _routed(self, txn: Txn, inode: Inode) -> str:
        if not self._settings.routes:
            return ""
        root, prefix = path_of(txn, inode.parent)
        bucket = get_inode(txn, root).name.removesuffix(b"/").decode()
        return route(self._settings.routes, bucket, prefix + inode.name, inode.tags, inode.metadata)


def _said(inode: Inode, name: str) -> str:
    return inode.metadata.get(name) or inode.tags.get(name) or ""


async def _in_slices(rows: Sequence[tuple[int, int]], size: int = SLICE) -> AsyncGenerator[list[tuple[int, int]], None]:
    for at in range(0, len(rows), size):
        yield list(rows[at : at + size])
        await trio.lowlevel.checkpoint()
