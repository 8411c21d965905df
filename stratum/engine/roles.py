"""Roles in the index: made, changed, listed and taken away by the operator.

Room: stratum/engine. May import: core, store, engine.users.
"""

from collections.abc import Callable, Mapping, Sequence

import msgspec

from stratum.core.errors import InvalidArgument, NoSuchRole, NoSuchUser
from stratum.core.policy import parse_policy
from stratum.core.principals import OPERATOR_ID
from stratum.core.roles import SECONDS_DEFAULT, SECONDS_MAX, SECONDS_MIN, Role, is_role_name
from stratum.core.schema import ROLE, role_key
from stratum.core.txn import Txn, load, save, scan_records
from stratum.engine.users import POLICIES_MAX, find_user
from stratum.store.meta import Meta

ROLES_MAX = 1000
USERS_MAX, CLAIMS_MAX, TEXT_MAX = 1000, 20, 1024


def find_role(txn: Txn, name: str) -> Role | None:
    """Inside a change or a query: the role of that name, or None."""
    return load(txn, role_key(name), Role) if is_role_name(name) else None


class Roles:
    """Every role of the store."""

    def __init__(self, meta: Meta, now_ns: Callable[[], int]) -> None:
        self._meta = meta
        self._now_ns = now_ns

    def find(self, name: str) -> Role | None:
        """The role of that name, at once, or None."""
        return self._meta.read(lambda txn: find_role(txn, name))

    def list(self) -> list[tuple[str, Role]]:
        """(name, role), by name."""
        return self._meta.read(lambda txn: [(key.decode(), role) for key, role in scan_records(txn, ROLE, Role)])

    async def put(
        self,
        name: str,
        *,
        policies: Mapping[str, str],
        account: str = "",
        users: Sequence[str] = (),
        provider: str = "",
        claims: Mapping[str, str] | None = None,
        seconds: int = SECONDS_DEFAULT,
    ) -> None:
        """Make a role, or let it be as told from now on: its sessions go on, with the new policies.

        Raises InvalidArgument, MalformedPolicy, NoSuchUser (no such account).
        """
        _check(name, policies, users, provider, claims or {}, seconds)
        role = Role(
            created=self._now_ns(),
            policies=dict(policies),
            account=account,
            users=tuple(users),
            provider=provider,
            claims=dict(claims or {}),
            seconds=seconds,
        )

        def change(txn: Txn) -> None:
            if account not in ("", OPERATOR_ID) and find_user(txn, account) is None:
                raise NoSuchUser(f"{account}, whose account it should belong to")
            old = find_role(txn, name)
            if old is None and sum(1 for _ in scan_records(txn, ROLE, Role)) >= ROLES_MAX:
                raise InvalidArgument(f"at most {ROLES_MAX} roles")
            save(txn, role_key(name), role if old is None else msgspec.structs.replace(role, created=old.created))

        await self._meta.write(change)

    async def delete(self, name: str) -> None:
        """Take a role away, and with it every session of it, at once. Raises NoSuchRole."""

        def change(txn: Txn) -> None:
            if find_role(txn, name) is None:
                raise NoSuchRole(name)
            txn.delete(role_key(name))

        await self._meta.write(change)


def _check(
    name: str, policies: Mapping[str, str], users: Sequence[str], provider: str, claims: Mapping[str, str], seconds: int
) -> None:
    if not is_role_name(name):
        raise InvalidArgument("the name of a role has 1 to 64 letters, digits and + = , . @ _ -")
    if not SECONDS_MIN <= seconds <= SECONDS_MAX:
        raise InvalidArgument(f"the sessions of a role last {SECONDS_MIN} to {SECONDS_MAX} seconds at most")
    if len(policies) > POLICIES_MAX or len(users) > USERS_MAX or len(claims) > CLAIMS_MAX:
        raise InvalidArgument(f"a role has at most {POLICIES_MAX} policies, {USERS_MAX} users and {CLAIMS_MAX} claims")
    if any(len(text) > TEXT_MAX for text in (*users, provider, *policies, *claims, *claims.values())):
        raise InvalidArgument(f"names and values have at most {TEXT_MAX} characters")
    if bool(provider) != bool(claims):
        raise InvalidArgument("an identity provider lets in whoever it names by claims: name it with at least one")
    for text in policies.values():
        parse_policy(text)
