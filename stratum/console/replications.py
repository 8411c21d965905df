"""/-/admin/replication: what waits for targets, and resyncs of buckets. For the root credential only.

Room: stratum/console. May import: console.{answers, users}, core.replication, engine.

    GET  replication          {"targets": [target], "resyncs": [row]}
    POST replication/resync   {"bucket"} -> row
    POST replication/stop     {"bucket"} -> {}

    target: {"target", "waiting", "sent", "bytes", "failed", "trouble"}
    row: {"bucket", "begun", "ended" (ns; 0: it goes on), "after" (the last key), "looked", "queued", "behind"}
"""

from collections.abc import Callable
from dataclasses import asdict

import msgspec
from quart import Blueprint, Response

from stratum.console.answers import answer
from stratum.console.users import body_of
from stratum.core.replication import Resync
from stratum.engine.engine import Engine


class Named(msgspec.Struct, forbid_unknown_fields=True):
    """The bucket that is meant."""

    bucket: str


def add_replications(pages: Blueprint, engine: Engine, guard: Callable) -> None:
    """Put the pages on the blueprint."""

    @pages.get("/admin/replication")
    @guard
    async def show_replication() -> Response:
        targets = [{"target": name, **asdict(each)} for name, each in sorted(engine.replications.standing.items())]
        resyncs = [_shown(bucket, each) for bucket, each in await engine.resyncs.found()]
        return answer({"targets": targets, "resyncs": resyncs})

    @pages.post("/admin/replication/resync")
    @guard
    async def resync() -> Response:
        bucket = (await body_of(Named)).bucket
        return answer(_shown(bucket, await engine.resyncs.begin(bucket)), 201)

    @pages.post("/admin/replication/stop")
    @guard
    async def stop() -> Response:
        await engine.resyncs.stop((await body_of(Named)).bucket)
        return answer({})


def _shown(bucket: str, resync: Resync) -> dict[str, object]:
    shown = msgspec.structs.asdict(resync)
    return {"bucket": bucket, **shown, "after": resync.after.decode("utf-8", "backslashreplace")}
