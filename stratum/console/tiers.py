"""/-/admin/tiers*: where objects are, and moving them by hand.

Room: stratum/console. May import: console.answers, core, engine.
"""

from collections.abc import Callable
from typing import TypeVar

import msgspec
from quart import Blueprint, Response, request

from stratum.console.answers import answer
from stratum.core.errors import InvalidArgument
from stratum.engine.engine import Engine


class Move(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a request to move an object. `to`: hot, warm, cold; `backend`: empty: as routed."""

    bucket: str
    key: str
    to: str
    version: str = ""
    backend: str = ""


class Asked(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a request about one object."""

    bucket: str
    key: str
    version: str = ""


NEIGHBOURS_SHOWN = 20

T = TypeVar("T")


def add_tiers(pages: Blueprint, engine: Engine, guard: Callable) -> None:
    """Put the pages on the blueprint."""

    @pages.get("/admin/tiers")
    @guard
    async def show_tiers() -> Response:
        return answer(await engine.tiers.status())

    @pages.post("/admin/tiers/object")
    @guard
    async def where_is() -> Response:
        asked = _read(await request.get_data(), Asked)
        return answer(await _where(engine, asked))

    @pages.post("/admin/tiers/move")
    @guard
    async def move() -> Response:
        asked = _read(await request.get_data(), Move)
        view = await engine.objects.head(asked.bucket, asked.key.encode(), asked.version or None)
        volumes = await engine.tiers.want_object(view, asked.to, "OPERATOR", asked.backend)
        found = await _where(engine, Asked(asked.bucket, asked.key, asked.version))
        return answer({**found, "queued": [f"{number:016x}" for number in volumes]}, 202)

    @pages.get("/admin/tiers/check/<name>")
    @guard
    async def check(name: str) -> Response:
        return answer({"name": name, "trouble": await engine.tiers.check(name)})


async def _where(engine: Engine, asked: Asked) -> dict[str, object]:
    view = await engine.objects.head(asked.bucket, asked.key.encode(), asked.version or None)
    where = engine.tiers.tier_of(view)
    volumes = await engine.tiers.volumes_of(view.inode.content)
    others = engine.tiers.neighbours(volumes, view.inode.content)
    waiting = await engine.tiers.waiting(volumes)
    return {
        "tier": where.summary,
        "bytes": dict(where.bytes),
        "volumes": [f"{number:016x}" for number in volumes],
        "waiting": len(waiting),
        "why": next((why for why in waiting.values() if why), ""),
        "neighbours": len(others),
        "neighbours_bytes": sum(used for _, used in others),
        "neighbours_named": [
            {"name": engine.tiers.key_of_inode(number).decode(errors="replace"), "bytes": used}
            for number, used in others[:NEIGHBOURS_SHOWN]
        ],
    }


def _read(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.DecodeError as error:
        raise InvalidArgument(f"the body cannot be read: {error}") from error
