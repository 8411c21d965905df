"""What backends have of ours and no record or row names any more is found by listing them, slowly.

Room: stratum/engine. May import: core, store, engine.surroundings.

Moves leave rows for all that they begin (core/tiers.py, T1), so there is nothing to find, unless the index lost its
newest rows (it was put back from a backup). What is found gets such a row, and goes the way of all leftovers.

Invariants
    S1  Found is only what bears a key of our layout, is a day old by the backend's clock, was named by nothing in this
        listing and in the one before, and says itself that this very store put it there.
    S2  Memory: 8 bytes for each volume held by that backend. Rate: a page each `cold_sweep_pause`.
"""

import bisect
import logging
from array import array
from collections.abc import Mapping
from itertools import islice

import trio

from stratum.core.config import Limits
from stratum.core.errors import StratumError
from stratum.core.records import Held, Volume, decode
from stratum.core.schema import VOLUME, left_held_key
from stratum.core.tiers import intend_held
from stratum.core.txn import Txn, successor
from stratum.engine.surroundings import Surroundings
from stratum.store.backends import Backend, Listed, Sweepable

log = logging.getLogger(__name__)
SLICE = 2000
OLD_ENOUGH = 86_400.0  # seconds since it was put there
NOBODY = 0  # the volume of a row for what no volume is known for


class Sweeper:
    """Lists the backends that can be listed."""

    def __init__(self, surroundings: Surroundings, backends: Mapping[str, Backend], limits: Limits) -> None:
        self._around = surroundings
        self._backends = backends
        self._limits = limits
        self._before: dict[str, set[str]] = {}  # backend -> keys that nothing named in the last listing
        self.found = 0  # since the start

    async def run(self) -> None:
        """Run until cancelled."""
        while True:
            await trio.sleep(self._limits.cold_sweep_interval)
            for name in list(self._backends):
                try:
                    await self.sweep(name)
                except StratumError as error:
                    log.warning("what %s holds could not be listed: %s", name, error)

    async def sweep(self, name: str) -> None:
        """List one backend once. Raises BackendDown."""
        backend = self._backends[name]
        if not isinstance(backend, Sweepable):
            return
        named = await self._named(name)
        unnamed: set[str] = set()
        after = ""
        while page := await backend.page(after):
            after = page[-1].key
            unnamed.update(each.key for each in page if self._is_unnamed(name, each, named))
            await trio.sleep(self._limits.cold_sweep_pause)
        for key in sorted(unnamed & self._before.get(name, set())):
            if await backend.is_ours(key):
                held = Held(name, key, 0, bytes.fromhex(_digest_in(key)))
                await self._around.meta.write(lambda txn, held=held: intend_held(txn, NOBODY, held))  # type: ignore[misc]
                self.found += 1
                log.warning("%s holds %s, which no volume needs", name, key)
        self._before[name] = unnamed

    def _is_unnamed(self, name: str, listed: Listed, named: "array[int]") -> bool:
        digest = _digest_in(listed.key)
        if not digest or self._around.now_ns() / 10**9 - listed.modified < OLD_ENOUGH:
            return False
        short = int(digest[:16], 16)
        at = bisect.bisect_left(named, short)
        if at < len(named) and named[at] == short:
            return False
        return self._around.meta.read(lambda txn: txn.get(left_held_key(name, listed.key))) is None

    async def _named(self, name: str) -> "array[int]":
        """The first 8 bytes of the digests of all that the backend is to hold, in order."""
        found = array("Q")
        after = VOLUME
        while rows := self._around.meta.read(lambda txn: _slice(txn, after)):  # noqa: B023
            for key, raw in rows:
                held = decode(key, raw, Volume).held
                if held is not None and held.backend == name:
                    found.append(int.from_bytes(held.sha256[:8], "big"))
            after = rows[-1][0] + b"\0"
            await trio.lowlevel.checkpoint()
        return array("Q", sorted(found))


def _slice(txn: Txn, after: bytes) -> list[tuple[bytes, bytes]]:
    return list(islice(txn.scan(after, successor(VOLUME)), SLICE))


def _digest_in(key: str) -> str:
    """The digest that a key of our layout names; empty: it is none."""
    parts = key.split("/")
    digest = parts[-1]
    if len(parts) < 4 or len(digest) != 64 or parts[-4:-1] != ["sha256", digest[:2], digest[2:4]]:
        return ""
    return digest if all(letter in "0123456789abcdef" for letter in digest) else ""
