"""What moves left behind: shards that no record names, objects that no volume is held by. Part of the reaper.

Room: stratum/engine. May import: core, store, engine.surroundings.

Invariants
    G5  Only what a row names (LeftShards, LeftHeld), for `reap_delay` since this process first saw it, while nobody
        reads, moves or repairs the volume; and only what the volume's record does not name at that moment.
    G6  The files or the object go first, the row after: a crash in between does it again.
"""

import logging
from collections.abc import Mapping
from itertools import islice

import trio

from stratum.core.config import Limits
from stratum.core.errors import StratumError
from stratum.core.records import LeftHeld, LeftShards, Volume
from stratum.core.schema import LEFT_HELD, LEFT_SHARDS, volume_key
from stratum.core.tiers import shards_cleared
from stratum.core.txn import Txn, load, scan_records
from stratum.engine.surroundings import Surroundings
from stratum.store.backends import Backend
from stratum.store.disks import Disks
from stratum.store.volumes import Volumes

log = logging.getLogger(__name__)
ROWS = 10_000  # looked at in one pass


class Leftovers:
    """Clears away after moves."""

    def __init__(
        self,
        surroundings: Surroundings,
        volumes: Volumes,
        disks: Disks,
        backends: Mapping[str, Backend],
        limits: Limits,
    ) -> None:
        self._around = surroundings
        self._volumes = volumes
        self._disks = disks
        self._backends = backends
        self._limits = limits
        self._seen: dict[tuple[str, object], float] = {}
        self.shards_removed = 0  # volumes whose shards were removed from a disk, since the start
        self.objects_removed = 0

    async def one_pass(self) -> None:
        """Clear away what is due now."""
        shards, objects = self._around.meta.read(self._rows)
        due = self._due([*[("shards", number) for number in shards], *[("held", row) for row in objects]])
        for number, left in shards.items():
            if ("shards", number) in due:
                await self._guarded(number, left)
        for row, gone in objects.items():
            if ("held", row) in due:
                await self._guarded(gone.volume, gone, row)

    def _rows(self, txn: Txn) -> tuple[dict[int, LeftShards], dict[bytes, LeftHeld]]:
        shards = islice(scan_records(txn, LEFT_SHARDS, LeftShards), ROWS)
        objects = islice(scan_records(txn, LEFT_HELD, LeftHeld), ROWS)
        return (
            {int.from_bytes(rest, "big"): left for rest, left in shards},
            {LEFT_HELD + rest: gone for rest, gone in objects},
        )

    def _due(self, present: list[tuple[str, object]]) -> set[tuple[str, object]]:
        now = trio.current_time()
        self._seen = {each: self._seen.get(each, now) for each in present}
        return {each for each in present if now - self._seen[each] >= self._limits.reap_delay}

    async def _guarded(self, number: int, left: LeftShards | LeftHeld, row: bytes = b"") -> None:
        if self._volumes.is_pinned(number):
            return
        try:
            with self._volumes.exclusive(number):
                volume = self._around.meta.read(lambda txn: load(txn, volume_key(number), Volume))
                if isinstance(left, LeftShards):
                    await self._clear_shards(number, left, volume)
                else:
                    await self._clear_held(row, left, volume)
        except StratumError as error:
            log.warning("what a move of volume %016x left behind stays for now: %s", number, error)

    async def _clear_shards(self, number: int, left: LeftShards, volume: Volume | None) -> None:
        own = volume.slots if volume is not None else ()
        cleared: list[int] = []
        for slot in left.slots:
            if slot in self._disks.in_service():  # durably, before the row goes: nothing else knows
                await self._volumes.remove_from(slot, number, durably=True, unfinished=slot in own)
                cleared.append(slot)
                self.shards_removed += slot not in own
        if cleared:
            await self._around.meta.write(lambda txn: shards_cleared(txn, number, cleared))

    async def _clear_held(self, row: bytes, left: LeftHeld, volume: Volume | None) -> None:
        held = left.held
        now = volume.held if volume is not None else None
        own = now is not None and (now.backend, now.key) == (held.backend, held.key)
        backend = self._backends.get(held.backend)
        if not own:
            if backend is None:
                return  # its settings are gone: the row waits for them
            await backend.delete(held)
            self.objects_removed += 1
        await self._around.meta.write(lambda txn: txn.delete(row))
