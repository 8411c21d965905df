"""/-/admin/disks: the disks of the store, and the verbs on them. For the root credential only.

Room: stratum/console. May import: console.{answers, users}, engine.

    GET  disks           {"disks": [row], "capacity": {tier: capacity}, "relocation": relocation}
    POST disks           {"path", "tier": "hot" or "warm"} -> 201 {"slot"}
    POST disks/drain     {"slot", "cancel": bool} -> row
    POST disks/remove    {"slot"} -> row, as it was

    row: {"slot", "path", "tier", "identity", "in_service", "reason", "total_bytes", "free_bytes", "shards",
          "shard_bytes", "leaving_since": ns or null, "added"}
    capacity: {"usable_bytes", "full_code_bytes", "free_bytes"}
    relocation: {"shards", "bytes" (since the start), "under_way": {"volume", "from", "to"} or null, "trouble"}
"""

from collections.abc import Callable

import msgspec
from quart import Blueprint, Response

from stratum.console.answers import answer
from stratum.console.users import body_of
from stratum.engine.engine import Engine


class NewDisk(msgspec.Struct, forbid_unknown_fields=True):
    """An empty folder that is to become a disk."""

    path: str
    tier: str = "hot"


class OneDisk(msgspec.Struct, forbid_unknown_fields=True):
    """A disk by its slot. `cancel`: it is not to be emptied after all."""

    slot: int
    cancel: bool = False


def add_disks(pages: Blueprint, engine: Engine, guard: Callable) -> None:
    """Put the pages on the blueprint."""
    changes = engine.disk_changes

    @pages.get("/admin/disks")
    @guard
    async def list_disks() -> Response:
        relocator, under_way = engine.relocator, engine.relocator.under_way
        moving = None if under_way is None else dict(zip(("volume", "from", "to"), under_way, strict=True))
        if moving is not None:
            moving["volume"] = f"{moving['volume']:016x}"
        relocation = {
            "shards": relocator.relocated,
            "bytes": relocator.relocated_bytes,
            "under_way": moving,
            "trouble": relocator.trouble,
        }
        return answer({"disks": await changes.list(), "capacity": changes.capacities(), "relocation": relocation})

    @pages.post("/admin/disks")
    @guard
    async def add_disk() -> Response:
        new = await body_of(NewDisk)
        return answer({"slot": await changes.add(new.path, new.tier)}, 201)

    @pages.post("/admin/disks/drain")
    @guard
    async def drain_disk() -> Response:
        one = await body_of(OneDisk)
        await changes.drain(one.slot, cancel=one.cancel)
        return answer(next(row for row in await changes.list() if row.slot == one.slot))

    @pages.post("/admin/disks/remove")
    @guard
    async def remove_disk() -> Response:
        return answer(await changes.remove((await body_of(OneDisk)).slot))
