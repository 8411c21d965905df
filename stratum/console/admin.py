"""/-/admin/*: what the `stratum` command asks of a running server. JSON in, JSON out, for the root credential only.

Room: stratum/console. May import: console.{access, answers, tiers, users}, core.{errors, principals}, engine.
"""

from collections.abc import Callable, Mapping

import msgspec
from quart import Blueprint, Response, g, request

from stratum.console.access import Authorise, Denied, check_scope, root_only, root_or_tenant
from stratum.console.answers import answer
from stratum.console.disks import add_disks
from stratum.console.explain import add_explain
from stratum.console.quotas import add_quotas
from stratum.console.replications import add_replications
from stratum.console.roles import add_roles
from stratum.console.tenants import add_tenants
from stratum.console.tiers import add_tiers
from stratum.console.users import NewKey, add_users, body_of, pair_of
from stratum.core.errors import InvalidArgument
from stratum.core.principals import OPERATOR_ID
from stratum.engine.engine import Engine
from stratum.engine.health import status

About = Callable[[], Mapping[str, object]]  # facts of the process: doors, version, since when


class Named(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a request that makes something."""

    name: str


async def _name() -> str:
    try:
        return msgspec.json.decode(await request.get_data(), type=Named).name
    except msgspec.DecodeError as error:
        raise InvalidArgument(f'the body must be {{"name": "..."}}: {error}') from error


def add_admin(
    pages: Blueprint,
    engine: Engine,
    authorise: Authorise,
    settings: Mapping[str, object],
    about: About,
    tickets: Callable[[str], str] | None,
) -> None:
    """Put the pages on the blueprint. `settings`: key -> value as in the settings file; `tickets`: see sessions.py."""
    guard = root_only(engine, authorise)

    @pages.get("/admin/status")
    @guard
    async def show_status() -> Response:
        return answer({**about(), **await status(engine)})

    @pages.get("/admin/config")
    @guard
    async def show_settings() -> Response:
        return answer(settings)

    @pages.post("/admin/console")
    @guard
    async def make_ticket() -> Response:
        if tickets is None:
            raise InvalidArgument("this server has no web console: see [console] address")
        return answer({"console": about().get("console", ""), "ticket": tickets(g.access_key)}, 201)

    with_tenants = root_or_tenant(engine, authorise)
    _add_keys(pages, engine, with_tenants)
    _add_buckets(pages, engine, guard)
    _add_named_keys(pages, engine, guard)
    add_tiers(pages, engine, guard)
    add_explain(pages, engine, guard)
    add_users(pages, engine, with_tenants)
    add_tenants(pages, engine, guard, with_tenants)
    add_roles(pages, engine, guard)
    add_quotas(pages, engine, guard)
    add_replications(pages, engine, guard)
    add_disks(pages, engine, guard)


def _add_keys(pages: Blueprint, engine: Engine, guard: Callable) -> None:
    @pages.get("/admin/keys")
    @guard
    async def list_keys() -> Response:
        rows = engine.credentials.list()
        own = engine.tenants.keys(g.tenant) if g.tenant else None
        return answer([row for row in rows if own is None or row.access_key in own])

    @pages.post("/admin/keys")
    @guard
    async def create_key() -> Response:
        new = await body_of(NewKey)
        check_scope(engine, new.user, root_too=True)
        if g.tenant:
            engine.tenants.check_room_for_key(g.tenant)
        made = await engine.credentials.create(new.name, user=new.user, pair=pair_of(new))
        return answer({"access_key": made.access_key, "secret_key": made.secret_key}, 201)

    @pages.delete("/admin/keys/<access_key>")
    @guard
    async def delete_key(access_key: str) -> Response:
        if g.tenant and access_key not in engine.tenants.keys(g.tenant):
            raise Denied("that is no key of this tenant")
        await engine.credentials.delete(access_key)
        return answer({"deleted": access_key})


def _add_buckets(pages: Blueprint, engine: Engine, guard: Callable) -> None:
    @pages.get("/admin/buckets")
    @guard
    async def list_buckets() -> Response:
        rows = await engine.buckets.list()
        return answer([{"name": name, "created": row.created, "owner": row.owner} for name, row in rows])

    @pages.post("/admin/buckets")
    @guard
    async def create_bucket() -> Response:
        name = await _name()
        await engine.buckets.create(name, OPERATOR_ID)
        return answer({"name": name}, 201)

    @pages.delete("/admin/buckets/<name>")
    @guard
    async def delete_bucket(name: str) -> Response:
        await engine.buckets.delete(name)
        return answer({"deleted": name})


def _add_named_keys(pages: Blueprint, engine: Engine, guard: Callable) -> None:
    """The key store. No key is ever shown."""

    @pages.get("/admin/kms")
    @guard
    async def list_named_keys() -> Response:
        rows = engine.keys.list()
        return answer([{"name": name, "created": created, "generations": count} for name, created, count in rows])

    @pages.post("/admin/kms")
    @guard
    async def create_named_key() -> Response:
        name = await _name()
        await engine.keys.create(name)
        return answer({"name": name}, 201)

    @pages.post("/admin/kms/rotate")
    @guard
    async def rotate_named_key() -> Response:
        name = await _name()
        return answer({"name": name, "generations": await engine.keys.rotate(name)})
