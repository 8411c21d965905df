"""Tenants: accounts that know nothing of each other, each administered by whoever holds the keys of its root.

Room: stratum/engine. May import: core, store, engine.{credentials, quotas, users}.

A tenant is an account (core/principals.py) whose root user is marked as one. It owns buckets, and its quota is that
of this user. What its own policies allow holds inside its buckets; elsewhere both sides must allow (core/access.py E6).
"""

from dataclasses import dataclass

from stratum.core.config import Limits
from stratum.core.errors import Conflict, InvalidArgument, NoSuchTenant
from stratum.core.principals import Principal
from stratum.core.records import Bucket, User
from stratum.core.schema import BUCKET
from stratum.core.txn import Txn, scan_records
from stratum.engine.credentials import Credentials
from stratum.engine.quotas import Quotas
from stratum.engine.users import Users, find_user
from stratum.store.meta import Meta


@dataclass(frozen=True, slots=True)
class TenantRow:
    """A tenant. `tenant`: id of the account, which is the canonical id of its root. Limits: None: none."""

    tenant: str
    name: str
    created: int
    users: int
    buckets: int
    bytes: int
    objects: int
    bytes_max: int | None
    objects_max: int | None


class Tenants:
    """Makes, lists and removes tenants, and says what belongs to one."""

    def __init__(self, meta: Meta, users: Users, credentials: Credentials, quotas: Quotas, limits: Limits) -> None:
        self._meta = meta
        self._users = users
        self._credentials = credentials
        self._quotas = quotas
        self._limits = limits

    async def add(self, name: str, *, tenant: str = "", email: str = "") -> str:
        """Make a tenant, return its id: `tenant`, or one that nobody has. Raises InvalidArgument, UserExists."""
        return await self._users.create(name, user=tenant, email=email, tenant=True)

    async def remove(self, tenant: str) -> None:
        """Remove a tenant with all its users and keys. Raises NoSuchTenant, Conflict while it owns buckets."""
        self._must_be(tenant)
        if self._meta.read(lambda txn: _buckets_of(txn, tenant)):
            raise Conflict(f"tenant {tenant} still owns buckets")
        for user in [*self.users(tenant), tenant]:  # its root last: cut off before, it can be removed again
            await self._users.delete(user)

    def get(self, tenant: str) -> TenantRow:
        """One tenant. Raises NoSuchTenant."""
        return self._row(tenant, self._must_be(tenant))

    def administered_by(self, principal: Principal) -> str:
        """The tenant whose root that is; empty: it is none's."""
        known = principal.root and not principal.operator and not principal.limits
        found = self._users.find(principal.user) if known else None
        return principal.user if found is not None and found.tenant else ""

    def users(self, tenant: str) -> list[str]:
        """Canonical ids of the users of a tenant, but its root."""
        return [user for user, record in self._users.list() if record.account == tenant and user != tenant]

    def has_user(self, tenant: str, user: str) -> bool:
        """Is that a user of the tenant, or its root?"""
        found = self._users.find(user)
        return found is not None and tenant in (user, found.account)

    def check_room_for_user(self, tenant: str) -> None:
        """Raise InvalidArgument if a tenant has as many users as it may."""
        if len(self.users(tenant)) >= self._limits.tenant_users:
            raise InvalidArgument(f"a tenant has at most {self._limits.tenant_users} users")

    def check_room_for_key(self, tenant: str) -> None:
        """Raise InvalidArgument if a tenant has as many access keys as it may."""
        if len(self.keys(tenant)) >= self._limits.tenant_keys:
            raise InvalidArgument(f"a tenant has at most {self._limits.tenant_keys} access keys")

    def keys(self, tenant: str) -> set[str]:
        """The access keys of all users of a tenant."""
        users = {tenant, *self.users(tenant)}
        return {row.access_key for row in self._credentials.list() if row.user in users}

    def list(self) -> list[TenantRow]:
        """Every tenant, by id."""
        return [self._row(user, record) for user, record in self._users.list() if record.tenant]

    def _row(self, tenant: str, record: User) -> TenantRow:
        usage = self._quotas.owner(tenant)
        return TenantRow(
            tenant=tenant,
            name=record.name,
            created=record.created,
            users=1 + len(self.users(tenant)),
            buckets=self._meta.read(lambda txn: _buckets_of(txn, tenant)),
            bytes=usage.bytes,
            objects=usage.objects,
            bytes_max=usage.bytes_max,
            objects_max=usage.objects_max,
        )

    def _must_be(self, tenant: str) -> User:
        found = self._meta.read(lambda txn: find_user(txn, tenant))
        if found is None or not found.tenant:
            raise NoSuchTenant(tenant)
        return found


def _buckets_of(txn: Txn, owner: str) -> int:
    return sum(1 for _, bucket in scan_records(txn, BUCKET, Bucket) if bucket.owner == owner)
