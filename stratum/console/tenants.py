"""/-/admin/tenants: tenants, for the root credential; /-/admin/tenant: what one may know of itself.

Room: stratum/console. May import: console.{access, answers, users}, engine.

    GET  tenants          [row]
    POST tenants          {"name", "tenant" (id; empty: one is made), "email"} -> 201 {"tenant", "name", "access_key",
                          "secret_key"}: the key of the tenant's root, with which it administers its users
    POST tenants/remove   {"tenant"} -> {"removed"}
    GET  tenant           row, of the tenant whose root asks

    row: {"tenant", "name", "created", "users", "buckets", "bytes", "objects", "bytes_max", "objects_max"}

A tenant's root may also use users, users/delete, users/policies[/put, /delete] and keys, for the users of its account.
"""

from collections.abc import Callable

import msgspec
from quart import Blueprint, Response, g

from stratum.console.access import Denied
from stratum.console.answers import answer
from stratum.console.users import body_of
from stratum.engine.engine import Engine


class NewTenant(msgspec.Struct, forbid_unknown_fields=True):
    """A tenant to be made."""

    name: str
    tenant: str = ""
    email: str = ""


class OneTenant(msgspec.Struct, forbid_unknown_fields=True):
    """A tenant by its id."""

    tenant: str


def add_tenants(pages: Blueprint, engine: Engine, guard: Callable, with_tenants: Callable) -> None:
    """Put the pages on the blueprint."""

    @pages.get("/admin/tenants")
    @guard
    async def list_tenants() -> Response:
        return answer(engine.tenants.list())

    @pages.post("/admin/tenants")
    @guard
    async def add_tenant() -> Response:
        new = await body_of(NewTenant)
        tenant = await engine.tenants.add(new.name, tenant=new.tenant, email=new.email)
        key = await engine.credentials.create("administration", user=tenant)
        made = {"access_key": key.access_key, "secret_key": key.secret_key}
        return answer({"tenant": tenant, "name": new.name, **made}, 201)

    @pages.post("/admin/tenants/remove")
    @guard
    async def remove_tenant() -> Response:
        tenant = (await body_of(OneTenant)).tenant
        await engine.tenants.remove(tenant)
        return answer({"removed": tenant})

    @pages.get("/admin/tenant")
    @with_tenants
    async def show_tenant() -> Response:
        if not g.tenant:
            raise Denied("this is for the root of a tenant; see /-/admin/tenants")
        return answer(engine.tenants.get(g.tenant))
