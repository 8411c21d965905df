"""/-/admin/users: users, their access keys and their policies. For the root credential, and the roots of tenants.

Room: stratum/console. May import: console.{access, answers}, core.errors, engine.
"""

from collections.abc import Callable
from typing import TypeVar

import msgspec
from quart import Blueprint, Response, g, request

from stratum.console.access import Denied, check_scope
from stratum.console.answers import answer
from stratum.core.errors import InvalidArgument
from stratum.engine.credentials import KeyPair
from stratum.engine.engine import Engine

T = TypeVar("T")


class NewUser(msgspec.Struct, forbid_unknown_fields=True):
    """A user to be made. `user`: its canonical id; empty: one is made. `account`: empty: an account of its own."""

    name: str
    user: str = ""
    email: str = ""
    account: str = ""


class NewKey(msgspec.Struct, forbid_unknown_fields=True):
    """An access key to be made, for a user or (empty) the operator; or a pair of another store to be kept."""

    name: str = ""
    user: str = ""
    access_key: str = ""
    secret_key: str = ""


class Named(msgspec.Struct, forbid_unknown_fields=True):
    """A user by its canonical id, and perhaps one of its policies by name, and that policy's text."""

    user: str
    policy: str = ""
    text: str = ""


async def body_of(type: type[T]) -> T:  # noqa: A002 - the field's word, as in msgspec
    """The request's JSON body. Raises InvalidArgument."""
    try:
        return msgspec.json.decode(await request.get_data(), type=type)
    except msgspec.DecodeError as error:
        raise InvalidArgument(f"the body is not what was expected: {error}") from error


def add_users(pages: Blueprint, engine: Engine, guard: Callable) -> None:
    """Put the pages on the blueprint. `guard`: access.root_or_tenant; a tenant has to do with its own users alone."""

    @pages.get("/admin/users")
    @guard
    async def list_users() -> Response:
        return answer(
            [
                {
                    "user": user,
                    "name": record.name,
                    "email": record.email,
                    "account": record.account or user,
                    "created": record.created,
                    "policies": sorted(record.policies),
                    "tenant": record.tenant,
                }
                for user, record in engine.users.list()
                if not g.tenant or g.tenant in (user, record.account)
            ]
        )

    @pages.post("/admin/users")
    @guard
    async def create_user() -> Response:
        new = await body_of(NewUser)
        if g.tenant:
            if new.account not in ("", g.tenant):
                raise Denied("a tenant makes users of its own account")
            engine.tenants.check_room_for_user(g.tenant)
            new = msgspec.structs.replace(new, account=g.tenant)
        user = await engine.users.create(new.name, user=new.user, email=new.email, account=new.account)
        return answer({"user": user, "name": new.name}, 201)

    @pages.post("/admin/users/delete")
    @guard
    async def delete_user() -> Response:
        named = await body_of(Named)
        check_scope(engine, named.user)
        await engine.users.delete(named.user)
        return answer({"deleted": named.user})

    _add_policies(pages, engine, guard)


def _add_policies(pages: Blueprint, engine: Engine, guard: Callable) -> None:
    @pages.post("/admin/users/policies")
    @guard
    async def list_policies() -> Response:
        user = (await body_of(Named)).user
        check_scope(engine, user, root_too=True)
        return answer(engine.users.policies(user))

    @pages.post("/admin/users/policies/put")
    @guard
    async def put_policy() -> Response:
        named = await body_of(Named)
        check_scope(engine, named.user)
        await engine.users.put_policy(named.user, named.policy, named.text)
        return answer({"user": named.user, "policy": named.policy})

    @pages.post("/admin/users/policies/delete")
    @guard
    async def delete_policy() -> Response:
        named = await body_of(Named)
        check_scope(engine, named.user)
        await engine.users.delete_policy(named.user, named.policy)
        return answer({"user": named.user, "deleted": named.policy})


def pair_of(new: NewKey) -> KeyPair | None:
    """The pair to be kept, or None if one is to be made. Raises InvalidArgument for half of one."""
    if bool(new.access_key) != bool(new.secret_key):
        raise InvalidArgument("an access key that is brought along needs its secret key, and the other way round")
    return KeyPair(new.access_key, new.secret_key) if new.access_key else None
