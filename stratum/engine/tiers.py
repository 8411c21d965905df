"""Tiers: where an object is, and the wish to have it elsewhere. One door for S3, the operator, lifecycle and decisions.

Room: stratum/engine. May import: core, store, engine.{leftovers, mover, surroundings}. Looking is no access (law 12).
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import trio

from stratum.core.config import Settings
from stratum.core.errors import Busy, InvalidArgument, StratumError
from stratum.core.intelligent_tiering import STORAGE_CLASS as INTELLIGENT
from stratum.core.manifest import INODE_USER, content_users, volume_users
from stratum.core.objects import ObjectView
from stratum.core.records import Bucket, Inode, Run, Upload, Volume, Wish, decode
from stratum.core.schema import VOLUME, inode_key, run_key, volume_key, wish_key
from stratum.core.tiering.settings import AUTO
from stratum.core.tiers import COLD, HOLDER, HOT, SHOWN, STORED, is_inner, route, stream_bytes
from stratum.core.txn import Txn, load, save, successor
from stratum.engine.consequences import Consequences
from stratum.engine.leftovers import Leftovers
from stratum.engine.mover import Mover
from stratum.engine.reaper import Reaper
from stratum.engine.surroundings import Surroundings
from stratum.engine.sweeper import Sweeper
from stratum.store.backends import Backend, Runs
from stratum.store.disks import Disks
from stratum.store.volumes import Volumes

RUNS_LOOKED_AT = 800  # of an object, to say where it is, within 5 ms: the first 50 GB of what is in full volumes
AT_ONCE = 500  # wishes in one change
NEIGHBOURING = 200  # volumes looked at for what lies beside an object
NEIGHBOURS = 1000  # contents named that share volumes with an object
SLICE = 2000  # rows in one transaction, under 5 ms of the event loop
STANDARD = "STANDARD"


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Bytes of an object by tier as S3 names it (hot, warm, cold); those in the index count as hot."""

    bytes: Mapping[str, int]

    @property
    def summary(self) -> str:
        """One word if it is in one tier, else each with its share: `mixed; hot=12%, cold=88%`."""
        if len(self.bytes) <= 1:
            return next(iter(self.bytes), "hot")
        whole = sum(self.bytes.values())
        return "mixed; " + ", ".join(
            f"{tier}={100 * size / whole:.0f}%" for tier in SHOWN.values() if (size := self.bytes.get(tier))
        )


class Tiers:
    """The tiers of a store."""

    def __init__(
        self,
        surroundings: Surroundings,
        volumes: Volumes,
        disks: Disks,
        backends: Mapping[str, Backend],
        settings: Settings,
    ) -> None:
        self._around = surroundings
        self._volumes = volumes
        self._backends = backends
        self._settings = settings
        self._classes = {name: STORED[tier] for name, tier in settings.storage_classes}
        self.mover = Mover(surroundings, volumes, backends, settings.limits)
        self.leftovers = Leftovers(surroundings, volumes, disks, backends, settings.limits)
        self.sweeper = Sweeper(surroundings, backends, settings.limits)
        self.lost: dict[int, str] = {}  # volumes that a backend should hold and does not give back right
        volumes.held.on_wrong = self._note_wrong

    @property
    def several(self) -> bool:
        """Is there more than the hot tier?"""
        return bool(self._backends)

    @property
    def services(self) -> list[Callable[[], Awaitable[None]]]:
        """What runs for as long as the engine does."""
        if not self.several:
            return []
        return [
            self.mover.run,
            self.sweeper.run,
            *(each.run for each in self._backends.values() if isinstance(each, Runs)),
        ]

    def attach(self, consequences: Consequences, reaper: Reaper) -> None:
        """Let writes that ask for a class have what follows, and the reaper clear away what moves leave behind."""
        if self.several:
            consequences.add(self)
        reaper.further.append(self.leftovers.one_pass)

    def tiers(self) -> list[str]:
        """The tiers there are, as S3 names them."""
        return [SHOWN[HOT], *dict.fromkeys(SHOWN[each.tier] for each in self._backends.values())]

    # --- where things are -----------------------------------------------------------------------------------

    def tier_of(self, view: ObjectView) -> Whereabouts:
        """Where the bytes of an object are."""
        if not self.several or not view.inode.content:
            return Whereabouts({"hot": view.inode.size})
        return self._around.meta.read(lambda txn: _whereabouts(txn, view.inode.content))

    def shown_class(self, inode: Inode, where: Whereabouts | None = None) -> str:
        """The storage class of an object as S3 may show it: that which was asked for, once it is true; else empty."""
        wanted = inode.storage_class
        if not wanted or wanted == STANDARD:
            return ""
        if self._is_decided(wanted):
            return wanted
        if where is None:
            where = self._around.meta.read(lambda txn: _whereabouts(txn, inode.content))
        return wanted if set(where.bytes) <= {SHOWN[self._classes.get(wanted, HOT)]} else ""

    def stands_for(self, storage_class: str) -> str | None:
        """The tier (hot, warm, cold) that a storage class stands for, None if it is not configured."""
        if storage_class in ("", STANDARD) or self._is_decided(storage_class):
            return "hot"
        tier = self._classes.get(storage_class)
        return None if tier is None else SHOWN[tier]

    def _is_decided(self, storage_class: str) -> bool:
        """Is it the class of what the tiering service decides about, where it does and no setting says otherwise?"""
        decides = self.several and self._settings.tiering.mode == AUTO
        return decides and storage_class == INTELLIGENT and INTELLIGENT not in self._classes

    async def volumes_of(self, content: int) -> list[int]:
        """The volumes in which bytes of a content rest, in order."""
        found: dict[int, None] = {}
        after = run_key(content, 0)
        stop = after[:9] + b"\xff" * 9
        while content:
            rows = self._around.meta.read(lambda txn: list(islice(txn.scan(after, stop), SLICE)))  # noqa: B023
            runs = (decode(key, raw, Run) for key, raw in rows)
            found.update(dict.fromkeys(run.extent.volume for run in runs if run.extent is not None))
            if len(rows) < SLICE:
                break
            after = rows[-1][0] + b"\0"
            await trio.lowlevel.checkpoint()
        return list(found)

    def neighbours(self, volumes: Sequence[int], content: int) -> list[tuple[int, int]]:
        """What else rests in these volumes: (inode number, bytes), within bounds: NEIGHBOURING, NEIGHBOURS."""

        def read(txn: Txn) -> list[tuple[int, int]]:
            found: Counter[int] = Counter()
            for volume in volumes[:NEIGHBOURING]:
                for other, used in islice(volume_users(txn, volume), NEIGHBOURS):
                    if other not in (content,) and other < HOLDER:
                        for kind, number in content_users(txn, other):
                            found[number if kind == INODE_USER else 0] += used
            return found.most_common(NEIGHBOURS)

        return self._around.meta.read(read)

    async def waiting(self, volumes: Sequence[int]) -> dict[int, str]:
        """Which of the volumes wait to be moved; with why a move was put off, where it was."""
        put_off = self.mover.put_off
        found: dict[int, str] = {}
        for at in range(0, len(volumes), SLICE):
            some = volumes[at : at + SLICE]
            rows = self._around.meta.read(lambda txn: [one for one in some if txn.get(wish_key(one)) is not None])  # noqa: B023
            found.update({number: put_off[number].reason if number in put_off else "" for number in rows})
            await trio.lowlevel.checkpoint()
        return found

    def key_of_inode(self, number: int) -> bytes:
        """The last name of an inode, for messages."""
        inode = self._around.meta.read(lambda txn: load(txn, inode_key(number), Inode))
        return inode.name if inode is not None else b""

    # --- wishes ---------------------------------------------------------------------------------------------

    async def want(
        self, volumes: Iterable[int], tier: str, reason: str, backend: str = "", *, soon: bool = True
    ) -> int:
        """Queue the volumes for a move to `tier` (hot, warm, cold), durably; return how many were not there already.

        `reason`: a short code that is shown. `soon`: also a pack that is still open is sealed for it.
        Raises InvalidArgument if there is no such tier or backend, Busy if too many wait.
        """
        target = self._checked(tier, backend)
        waiting = self.mover.waiting
        if waiting >= self._settings.limits.wishes:
            raise Busy(f"{waiting} volumes wait to be moved")
        wish = Wish(target, backend, self._around.now_ns(), reason, soon)
        numbers = list(volumes)
        queued = 0
        for at in range(0, len(numbers), AT_ONCE):
            some = numbers[at : at + AT_ONCE]
            queued += await self._around.meta.write(lambda txn: sum(_wish(txn, number, wish) for number in some))  # noqa: B023
        self.mover.expect(queued)
        return queued

    async def want_object(self, view: ObjectView, tier: str, reason: str, backend: str = "") -> list[int]:
        """Queue all volumes of an object; return them. The backend is routed if none is named."""
        if tier == SHOWN[COLD] and not backend:
            backend = self.routed(view)
        numbers = await self.volumes_of(view.inode.content)
        await self.want(numbers, tier, reason, backend)
        return numbers

    def routed(self, view: ObjectView) -> str:
        """The cold backend that the routes name for an object; empty: none does."""
        return route(self._settings.routes, view.bucket, view.key, view.inode.tags, view.inode.metadata)

    def _checked(self, tier: str, backend: str) -> str:
        if tier not in STORED:
            raise InvalidArgument(f"{tier!r} is not hot, warm or cold")
        self.mover.target(STORED[tier], backend)
        return STORED[tier]

    # --- consequences of writes (see engine.consequences) -----------------------------------------------------

    def written(self, txn: Txn, name: str, bucket: Bucket, view: ObjectView, event: str, principal: str) -> None:
        """A class that stands for another tier than hot is a wish."""
        tier = self._classes.get(view.inode.storage_class, HOT) if view.inode.storage_class else HOT
        if tier == HOT or not view.inode.content:
            return
        wish = Wish(tier, self.routed(view) if tier == COLD else "", self._around.now_ns(), "CLASS", False)
        self.mover.expect(sum(_wish(txn, number, wish) for number in _volumes_of(txn, view.inode.content)))

    def removed(
        self, txn: Txn, name: str, bucket: Bucket, key: bytes, version: str, sequence: int, event: str, principal: str
    ) -> None:
        """See engine.consequences."""

    def begun(self, txn: Txn, name: str, upload_id: str, upload: Upload) -> None:
        """See engine.consequences."""

    def moved(self, txn: Txn, name: str) -> None:
        """See engine.consequences."""

    # --- for the operator -----------------------------------------------------------------------------------

    async def status(self) -> dict[str, Any]:
        """Tiers, backends and moves as plain values."""
        mover, held = self.mover, self._volumes.held
        now = trio.current_time()
        return {
            "tiers": await self._by_tier(),
            "backends": [
                {"name": each.name, "tier": each.tier, "trouble": getattr(each, "trouble", "")}
                for each in self._backends.values()
            ],
            "moves": {
                "waiting": mover.waiting,
                "under_way": [
                    {
                        "volume": f"{number:016x}",
                        "from": one.source,
                        "to": one.target,
                        "bytes": one.total,
                        "done": one.done,
                    }
                    for number, one in mover.under_way.items()
                ],
                "put_off": [
                    {
                        "volume": f"{number:016x}",
                        "times": put.times,
                        "seconds": max(0, put.until - now),
                        "why": put.reason,
                    }
                    for number, put in islice(mover.put_off.items(), 20)
                ],
                "done": {f"{source} to {target}": count for (source, target), count in mover.moved.items()},
                "bytes": mover.moved_bytes,
                "failed": mover.failed,
            },
            "lost": {f"{number:016x}": why for number, why in islice(self.lost.items(), 100)},
            "reads_of_held_volumes": {
                "bytes_served": held.served,
                "bytes_fetched": held.fetched,
                "reads_that_waited": held.waited,
            },
            "left_behind": {
                "shards_removed": self.leftovers.shards_removed,
                "objects_removed": self.leftovers.objects_removed,
                "orphans_found": self.sweeper.found,
            },
        }

    async def _by_tier(self) -> dict[str, dict[str, int]]:
        found = {tier: {"volumes": 0, "bytes": 0} for tier in self.tiers()}
        after = VOLUME
        while rows := self._around.meta.read(lambda txn: list(islice(txn.scan(after, successor(VOLUME)), SLICE))):  # noqa: B023
            for key, raw in rows:
                volume = decode(key, raw, Volume)
                if not is_inner(volume):
                    one = found.setdefault(SHOWN[volume.tier], {"volumes": 0, "bytes": 0})
                    one["volumes"] += 1
                    one["bytes"] += stream_bytes(volume)
            after = rows[-1][0] + b"\0"
            await trio.lowlevel.checkpoint()
        return found

    def _note_wrong(self, volume: int, reason: str) -> None:
        self.lost[volume] = reason

    async def check(self, name: str) -> str:
        """Ask a backend whether it can be used; return what is wrong, or nothing. Raises InvalidArgument."""
        backend = self._backends.get(name)
        if backend is None:
            raise InvalidArgument(f"there is no backend {name!r}")
        try:
            await backend.health()
        except StratumError as error:
            return str(error)
        return ""


def _wish(txn: Txn, number: int, wish: Wish) -> bool:
    """Inside a change: wish a volume elsewhere, unless it is there. The newest wish counts."""
    volume = load(txn, volume_key(number), Volume)
    there = volume is not None and volume.tier == wish.tier
    there = there and (not wish.backend or volume.held is None or volume.held.backend == wish.backend)  # type: ignore[union-attr]
    if there:
        txn.delete(wish_key(number))
        return False
    save(txn, wish_key(number), wish)
    return True


def _runs(txn: Txn, content: int) -> list[Run]:
    start = run_key(content, 0)
    return [decode(key, raw, Run) for key, raw in islice(txn.scan(start, start[:9] + b"\xff" * 9), RUNS_LOOKED_AT)]


def _volumes_of(txn: Txn, content: int) -> list[int]:
    start = run_key(content, 0)
    runs = (decode(key, raw, Run) for key, raw in txn.scan(start, start[:9] + b"\xff" * 9))
    return list(dict.fromkeys(run.extent.volume for run in runs if run.extent is not None))


def _whereabouts(txn: Txn, content: int) -> Whereabouts:
    found: Counter[str] = Counter()
    tiers: dict[int, str] = {}
    for run in _runs(txn, content) if content else []:
        if run.extent is None:
            found["hot"] += run.length
            continue
        number = run.extent.volume
        if number not in tiers:
            volume = load(txn, volume_key(number), Volume)
            tiers[number] = SHOWN[volume.tier if volume is not None else HOT]
        found[tiers[number]] += run.length
    return Whereabouts(dict(found))
