"""/-/admin/roles: what somebody may be let in as, and the end of all sessions. For the root credential only.

Room: stratum/console. May import: console.{answers, users}, core.roles, engine.
"""

from collections.abc import Callable

import msgspec
from quart import Blueprint, Response

from stratum.console.answers import answer
from stratum.console.users import body_of
from stratum.core.roles import SECONDS_DEFAULT
from stratum.engine.engine import Engine


class NewRole(msgspec.Struct, forbid_unknown_fields=True):
    """A role as it is to be. `policies`: name -> JSON text; `claims`: name -> value."""

    role: str
    policies: dict[str, str] = {}
    account: str = ""
    users: list[str] = []
    provider: str = ""
    claims: dict[str, str] = {}
    seconds: int = SECONDS_DEFAULT


class Named(msgspec.Struct, forbid_unknown_fields=True):
    """A role by its name."""

    role: str


def add_roles(pages: Blueprint, engine: Engine, guard: Callable) -> None:
    """Put the pages on the blueprint."""

    @pages.get("/admin/roles")
    @guard
    async def list_roles() -> Response:
        return answer(
            [
                {
                    "role": name,
                    "created": role.created,
                    "account": role.account,
                    "users": role.users,
                    "provider": role.provider,
                    "claims": role.claims,
                    "seconds": role.seconds,
                    "policies": role.policies,
                }
                for name, role in engine.roles.list()
            ]
        )

    @pages.post("/admin/roles")
    @guard
    async def put_role() -> Response:
        new = await body_of(NewRole)
        await engine.roles.put(
            new.role,
            policies=new.policies,
            account=new.account,
            users=new.users,
            provider=new.provider,
            claims=new.claims,
            seconds=new.seconds,
        )
        return answer({"role": new.role}, 201)

    @pages.post("/admin/roles/delete")
    @guard
    async def delete_role() -> Response:
        named = await body_of(Named)
        await engine.roles.delete(named.role)
        return answer({"deleted": named.role})

    @pages.post("/admin/sessions/end")
    @guard
    async def end_sessions() -> Response:
        await engine.sessions.end_all()
        return answer({"ended": "all"})
