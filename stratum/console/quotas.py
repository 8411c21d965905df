"""/-/admin/quotas: what buckets and owners hold and may hold. For the root credential only.

Room: stratum/console. May import: console.{answers, users}, core.principals, engine.

    GET  quotas         {"complete": bool, "buckets": [row], "users": [row]}
    POST quotas         {"bucket": name} or {"user": id}, "bytes_max", "objects_max" (null: no limit) -> row
    POST quotas/count   {"repair": bool} -> {"wrong": [{"bucket", "stored": amount, "counted": amount}], "repaired"}

    row: {"name", "owner", "owner_name", "bytes", "objects", "bytes_max", "objects_max"}; amount: {"bytes", "objects"}
"""

from collections.abc import Callable
from dataclasses import asdict

import msgspec
from quart import Blueprint, Response

from stratum.console.answers import answer
from stratum.console.users import body_of
from stratum.engine.engine import Engine
from stratum.engine.quotas import UsageRow


class NewQuota(msgspec.Struct, forbid_unknown_fields=True):
    """Limits of a bucket or of a user (canonical id; all buckets it owns); None: no limit."""

    bucket: str = ""
    user: str = ""
    bytes_max: int | None = None
    objects_max: int | None = None


class Count(msgspec.Struct, forbid_unknown_fields=True):
    """Count anew, and perhaps set the counters to what was counted."""

    repair: bool = False


def add_quotas(pages: Blueprint, engine: Engine, guard: Callable) -> None:
    """Put the pages on the blueprint."""

    def shown(row: UsageRow) -> dict[str, object]:
        return {**asdict(row), "owner_name": engine.users.name_of(row.owner)}

    @pages.get("/admin/quotas")
    @guard
    async def list_quotas() -> Response:
        quotas = engine.quotas
        buckets, users = [shown(row) for row in quotas.buckets()], [shown(row) for row in quotas.owners()]
        return answer({"complete": quotas.complete, "buckets": buckets, "users": users})

    @pages.post("/admin/quotas")
    @guard
    async def set_quota() -> Response:
        new = await body_of(NewQuota)
        made = await engine.quotas.set(
            bucket=new.bucket, user=new.user, bytes_max=new.bytes_max, objects_max=new.objects_max
        )
        return answer(shown(made))

    @pages.post("/admin/quotas/count")
    @guard
    async def count_anew() -> Response:
        repair = (await body_of(Count)).repair
        wrong = await engine.quotas.count(repair=repair)
        found = [
            {"bucket": bucket, "stored": stored._asdict(), "counted": counted._asdict()}
            for bucket, (stored, counted) in sorted(wrong.items())
        ]
        return answer({"wrong": found, "repaired": repair})
