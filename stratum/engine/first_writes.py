"""What every start writes before anything else: the root of a new store, the seals of what a crash left open.

Room: stratum/engine. May import: core, store, engine.volume_ids.

A store that comes up read-only (too few disks) serves what it can, and makes up for this when it can write.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence

import msgspec
import trio

from stratum.core.errors import StratumError
from stratum.core.records import Inode, Kind, Volume
from stratum.core.schema import ROOT_INODE, VOLUME, inode_key, volume_key
from stratum.core.txn import Txn, load, save, scan_records
from stratum.engine.volume_ids import VolumeIds
from stratum.store.meta import Meta

log = logging.getLogger(__name__)

ROOT_MODE = 0o040755


class FirstWrites:
    """Made once; the volume ids last, so that no volume is begun before the old ones are sealed."""

    def __init__(
        self, meta: Meta, ids: VolumeIds, now_ns: Callable[[], int], owner: tuple[int, int], interval: float
    ) -> None:
        """`owner`: uid and gid of the root directory; `interval`: seconds before what failed is tried again."""
        self._meta = meta
        self._ids = ids
        self._now_ns = now_ns
        self._owner = owner
        self._interval = interval
        self._done = False

    async def attempt(self, *also: Callable[[], Awaitable[None]]) -> None:
        """Make them, and what else there is to do at a start; a failure is logged."""
        try:
            await self._meta.write(self._make_root)
            unsealed = self._meta.read(_unsealed)
            if unsealed:
                await self._meta.write(lambda txn: _seal(txn, unsealed))
            await self._ids.prepare()
            self._done = True
            for step in also:
                await step()
        except StratumError as error:
            log.warning("the store cannot write now, and serves what it can: %s", error)

    async def run(self) -> None:
        """Try until it succeeds."""
        while not self._done:
            await trio.sleep(self._interval)
            await self.attempt()

    def _make_root(self, txn: Txn) -> None:
        if txn.get(inode_key(ROOT_INODE)) is None:
            now = self._now_ns()
            root = Inode(
                kind=Kind.DIRECTORY,
                mode=ROOT_MODE,
                uid=self._owner[0],
                gid=self._owner[1],
                nlink=2,
                size=0,
                atime=now,
                mtime=now,
                ctime=now,
                btime=now,
                parent=ROOT_INODE,
                explicit=True,
            )
            save(txn, inode_key(ROOT_INODE), root)


def _unsealed(txn: Txn) -> list[int]:
    volumes = scan_records(txn, VOLUME, Volume)
    return [int.from_bytes(rest, "big") for rest, volume in volumes if not volume.sealed]


def _seal(txn: Txn, numbers: Sequence[int]) -> None:
    """A volume that a crash left open is never appended to again."""
    for number in numbers:
        volume = load(txn, volume_key(number), Volume)
        if volume is not None:
            save(txn, volume_key(number), msgspec.structs.replace(volume, sealed=True))
