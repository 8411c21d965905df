"""/-/explain/*, /-/admin/tiers/{explain,report,deciding,export,policy}: why data is where it is, and what that came to.

Room: stratum/console. May import: console.answers, core, engine. Looking is never an access (law 12).
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
from quart import Blueprint, Response, request

from stratum.console.answers import answer
from stratum.core.errors import InvalidArgument, MarkerFound, NoSuchKey
from stratum.core.tiering.settings import KIND, NOTHING_SAID, BucketTiering
from stratum.core.tiering.tables import Week, plain
from stratum.engine.engine import Engine

WEEKS_SHOWN = 60


class Asked(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a question about one object. `at`: ISO 8601, or seconds since 1970; empty: now."""

    bucket: str
    key: str
    version: str = ""
    at: str = ""


class Exported(msgspec.Struct, forbid_unknown_fields=True):
    """The body that asks for a page of volumes with their reads (engine.tiering_export)."""

    after: int = -1
    days: int = 32


class Said(msgspec.Struct, forbid_unknown_fields=True):
    """The body that sets what a bucket says. What is absent stays as it is."""

    mode: str | None = None
    pin: str | None = None
    no_cold: bool | None = None
    max_latency_ms: float | None = None


def add_explain(pages: Blueprint, engine: Engine, guard: Callable) -> None:
    """Put the pages on the blueprint."""

    @pages.get("/explain/<bucket>/<path:key>", merge_slashes=False)
    @guard
    async def explain_url(bucket: str, key: str) -> Response:
        version, at = request.args.get("versionId", ""), request.args.get("at", "")
        return answer(await _explained(engine, Asked(bucket, key, version, at)))

    @pages.post("/admin/tiers/explain")
    @guard
    async def explain_asked() -> Response:
        return answer(await _explained(engine, _read(await request.get_data(), Asked)))

    @pages.get("/admin/tiers/report")
    @guard
    async def tier_report() -> Response:
        weeks = list(engine.tiering.report())[:WEEKS_SHOWN]
        found = {"mode": engine.settings.tiering.mode, "weeks": [week_of(each) for each in weeks]}
        return answer({**found, "hints": engine.tiering.status()["hints"]})

    @pages.get("/admin/tiers/deciding")
    @guard
    async def deciding() -> Response:
        return answer(engine.tiering.status())

    @pages.post("/admin/tiers/export")
    @guard
    async def export() -> Response:
        asked = _read(await request.get_data(), Exported)
        return answer(await engine.tiering.export(asked.after, asked.days))

    @pages.get("/admin/tiers/policy/<bucket>")
    @guard
    async def show_tiering(bucket: str) -> Response:
        return answer(plain(await engine.configurations.get(bucket, KIND, BucketTiering) or NOTHING_SAID))

    @pages.put("/admin/tiers/policy/<bucket>")
    @guard
    async def put_tiering(bucket: str) -> Response:
        said = _read(await request.get_data(), Said)
        changes = {name: value for name in Said.__struct_fields__ if (value := getattr(said, name)) is not None}
        amend = engine.configurations.amend
        found = await amend(bucket, KIND, BucketTiering, lambda old: _amended(old, changes))
        engine.tiering.reconsider()
        return answer(plain(found))

    @pages.delete("/admin/tiers/policy/<bucket>")
    @guard
    async def delete_tiering(bucket: str) -> Response:
        await engine.configurations.delete(bucket, KIND)
        engine.tiering.reconsider()
        return answer({"deleted": bucket})


def _amended(old: BucketTiering | None, changes: dict[str, Any]) -> BucketTiering:
    try:
        return msgspec.structs.replace(old or NOTHING_SAID, **changes)
    except ValueError as error:
        raise InvalidArgument(str(error)) from error


async def _explained(engine: Engine, asked: Asked) -> dict[str, Any]:
    at_ns = parse_time(asked.at) if asked.at else None
    explain = engine.tiering.explain_object
    try:
        return await explain(asked.bucket, asked.key.encode(), asked.version or None, at_ns=at_ns)
    except MarkerFound as error:
        raise NoSuchKey(f"{asked.key} was deleted; ask for a version of it by its id") from error
    except NoSuchKey as error:
        raise NoSuchKey(f"no object {asked.key} in {asked.bucket}") from error


def parse_time(text: str) -> int:
    """ISO 8601 (UTC unless it says otherwise), or seconds since 1970, in nanoseconds. Raises InvalidArgument."""
    try:
        if text.replace(".", "", 1).isdigit():
            return int(float(text) * 1e9)
        moment = datetime.fromisoformat(text)
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1e9)
    except (ValueError, OverflowError) as error:
        raise InvalidArgument(f"{text!r} is not a time: 2026-11-20T12:00:00Z, or seconds since 1970") from error


def week_of(week: Week) -> dict[str, Any]:
    """A week with what follows from its columns."""
    return {**plain(week), "cost": week.cost, "regret": week.regret}


def _read(body: bytes, kind: type[Any]) -> Any:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.DecodeError as error:
        raise InvalidArgument(f"the body cannot be read: {error}") from error
