"""Read every shard once per `scrub_interval`, and queue what fails its checks. Looking is never an access (law 12).

Room: stratum/engine. May import: core, store, engine.{repairer, surroundings}.
"""

import logging

import trio

from stratum.core.config import Limits
from stratum.core.errors import StratumError
from stratum.core.records import Volume, decode
from stratum.core.schema import COUNTER, VOLUME
from stratum.core.txn import Txn, load, save, successor
from stratum.engine.repairer import Repairer
from stratum.engine.surroundings import Surroundings
from stratum.store.volumes import Volumes

log = logging.getLogger(__name__)
CURSOR = COUNTER + b"scrub"  # the last volume looked at: a scrub goes on there after a restart


class Scrubber:
    """Walks the volumes in order of their ids, spread evenly over the interval."""

    def __init__(self, surroundings: Surroundings, volumes: Volumes, repairer: Repairer, limits: Limits) -> None:
        self._around = surroundings
        self._volumes = volumes
        self._repairer = repairer
        self._limits = limits
        self.verified = 0  # volumes since the start
        self.damaged = 0  # shards since the start
        self._in_cycle = 0
        self._last_cycle = 1000  # volumes of a whole walk; a guess until the first has ended

    async def run(self) -> None:
        """Run until cancelled."""
        while True:
            try:
                total = await self.step()
            except StratumError as error:
                log.warning("scrub postponed: %s", error)
                total = 1
            await trio.sleep(min(self._limits.scrub_interval / max(total, 1), 3600.0))

    async def step(self) -> int:
        """Verify the next volume; return how many volumes a whole walk has (at least 1)."""
        found = self._around.meta.read(self._next)
        if found is None:
            self._last_cycle, self._in_cycle = max(self._in_cycle, 1), 0
            await self._around.meta.write(lambda txn: txn.delete(CURSOR))
            return self._last_cycle
        number, volume = found
        if volume.sealed and volume.held is None and self._volumes.placed(number) is None:
            await self.verify(number, volume)
        await self._around.meta.write(lambda txn: save(txn, CURSOR, number))
        self._in_cycle += 1
        return self._last_cycle

    async def verify(self, number: int, volume: Volume) -> dict[int, str]:
        """Check every frame of every shard of a volume; queue the bad ones; return {shard: reason}."""
        bad = await self._volumes.verify(number, volume)
        self.verified += 1
        self.damaged += len(bad)
        for shard, reason in bad.items():
            self._repairer.note_damage(number, shard, f"scrub: {reason}")
        return bad

    def _next(self, txn: Txn) -> tuple[int, Volume] | None:
        after = load(txn, CURSOR, int) or 0
        start = VOLUME + (after + 1).to_bytes(8, "big")
        for key, raw in txn.scan(start, successor(VOLUME)):
            return int.from_bytes(key[1:], "big"), decode(key, raw, Volume)
        return None
