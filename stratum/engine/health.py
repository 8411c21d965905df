"""What `stratum status` shows: doors, disks, redundancy, counts.

Room: stratum/engine. May import: core, store, engine.engine. Looking is never an access (law 12).
"""

from itertools import islice
from typing import Any

import trio

from stratum.core.records import Volume, decode
from stratum.core.schema import BUCKET, GARBAGE, INODE, REPAIR, RUN, UPLOAD, VOLUME
from stratum.core.txn import Txn, successor
from stratum.engine.engine import Engine

SLICE = 2000  # rows counted in one transaction, under 5 ms of the event loop


async def status(engine: Engine) -> dict[str, Any]:
    """Return the state of the engine as plain values, ready for JSON."""
    redundancy = await _redundancy(engine)
    return {
        "store": engine.store_id.hex(),
        "state": _state(engine, redundancy),
        "metadata": {
            "sequence": engine.meta.sequence,
            "recovery": engine.meta.recovery.kind,
            "recovery_reason": engine.meta.recovery.reason,
            "failed": engine.meta.failed,
        },
        "disks": _disks(engine),
        "capacity": engine.disk_changes.capacities(),
        "redundancy": redundancy,
        "counts": {
            "buckets": await _count(engine, BUCKET),
            "inodes": await _count(engine, INODE),
            "runs": await _count(engine, RUN),
            "uploads": await _count(engine, UPLOAD),
        },
        "tiers": await engine.tiers.status() if engine.tiers.several else None,
        "services": {
            "shards_rebuilt": engine.repairer.rebuilt,
            "shards_relocated": engine.relocator.relocated,
            "volumes_reaped": engine.reaper.reaped,
            "orphans_removed": engine.reaper.orphans_removed,
            "volumes_scrubbed": engine.scrubber.verified,
            "shards_found_damaged": engine.scrubber.damaged,
            "runs_compacted": engine.compactor.replaced,
        },
    }


def _state(engine: Engine, redundancy: dict[str, int]) -> str:
    if engine.meta.failed is not None:
        return "read-only"
    lost = len(engine.disks.slots()) - len(engine.disks.in_service())
    return "degraded" if lost or redundancy["shards_to_rebuild"] else "healthy"


def _disks(engine: Engine) -> list[dict[str, Any]]:
    shown = []
    for slot in engine.disks.slots():
        state = engine.disks.state(slot)
        shown.append(
            {
                "slot": slot,
                "path": state.path,
                "in_service": state.in_service,
                "reason": state.reason,
                "total_bytes": state.total,
                "free_bytes": state.free,
                "leaving": slot in engine.disks.leaving,
            }
        )
    return shown


async def _redundancy(engine: Engine) -> dict[str, int]:
    volumes, missing, degraded = 0, 0, 0
    in_service = set(engine.disks.in_service())
    waiting = await _count(engine, REPAIR)
    after = VOLUME
    while True:
        rows = engine.meta.read(lambda txn: _slice(txn, after, VOLUME))  # noqa: B023
        for key, raw in rows:
            volume = decode(key, raw, Volume)
            away = sum(1 for slot in volume.slots if slot not in in_service)
            volumes, missing, degraded = volumes + 1, missing + away, degraded + bool(away)
        if len(rows) < SLICE:
            break
        after = rows[-1][0] + b"\0"
        await trio.lowlevel.checkpoint()
    return {
        "volumes": volumes,
        "volumes_degraded": degraded,
        "shards_unreachable": missing,
        "shards_to_rebuild": waiting,
        "garbage_volumes": await _count(engine, GARBAGE),
    }


async def _count(engine: Engine, table: bytes) -> int:
    total, after = 0, table
    while True:
        rows = engine.meta.read(lambda txn: _slice(txn, after, table))  # noqa: B023
        total += len(rows)
        if len(rows) < SLICE:
            return total
        after = rows[-1][0] + b"\0"
        await trio.lowlevel.checkpoint()


def _slice(txn: Txn, start: bytes, table: bytes) -> list[tuple[bytes, bytes]]:
    return list(islice(txn.scan(start, successor(table)), SLICE))
