"""Users: who may hold access keys and own buckets, and the policies that say what each may do.

Room: stratum/engine. May import: core, store, engine.parsing.

Invariants
    U1  An owner that is no user (any more, or of a store from before there were users) is the operator.
    U2  A policy that is stored has been parsed. One that cannot be read is damage: nothing is granted.
    U3  A user takes its keys along when it is deleted; while it owns buckets it stays.
"""

import re
import secrets
from collections.abc import Callable

import msgspec

from stratum.core.config import Limits
from stratum.core.errors import (
    CorruptRecord,
    InvalidArgument,
    MalformedPolicy,
    NoSuchPolicy,
    NoSuchUser,
    UserExists,
    UserOwnsBuckets,
)
from stratum.core.policy import Policy, parse_policy
from stratum.core.principals import ANONYMOUS_ID, OPERATOR_ID
from stratum.core.records import Bucket, Credential, User
from stratum.core.schema import (
    BUCKET,
    COUNTER,
    CREDENTIAL,
    USER,
    by_email_key,
    credential_key,
    owner_usage_key,
    user_key,
)
from stratum.core.txn import Txn, load, save, scan_records
from stratum.engine.parsing import parsed
from stratum.store.meta import Meta

POLICIES_MAX = 10  # of one user, as AWS: managed policies per user
NAME_CHARACTERS_MAX = 128
EMAIL_CHARACTERS_MAX = 254  # RFC 5321
EMAILS_KEPT = COUNTER + b"emails-kept"

_ID = re.compile(r"[A-Za-z0-9$._@+=,-]{1,128}", re.ASCII)  # what a policy may name, too (core/policy_principals.py)
_EMAIL = re.compile(r"[\x21-\x3f\x41-\x7e]+@[\x21-\x3f\x41-\x7e]+", re.ASCII)
_POLICY = re.compile(r"[A-Za-z0-9+=,.@_-]{1,128}", re.ASCII)  # as IAM names policies


def find_user(txn: Txn, user: str) -> User | None:
    """Inside a change or a query: the user of that canonical id, or None."""
    return load(txn, user_key(user), User) if _ID.fullmatch(user) else None


def policies_in(record: User) -> tuple[Policy, ...]:
    """The policies of a user, parsed. Raises CorruptRecord (U2)."""
    try:
        return tuple(parse_policy(text) for text in record.policies.values())
    except MalformedPolicy as error:
        raise CorruptRecord(f"a policy of user {record.name!r} cannot be read") from error


class Users:
    """Create, delete and find users; give them policies."""

    def __init__(self, meta: Meta, limits: Limits, now_ns: Callable[[], int]) -> None:
        self._meta = meta
        self._limits = limits
        self._now_ns = now_ns

    def find(self, user: str) -> User | None:
        """The user of that canonical id, at once, or None."""
        return self._meta.read(lambda txn: find_user(txn, user))

    def owner_of(self, stored: str, default: str = OPERATOR_ID) -> str:
        """The canonical id of the owner that a record names; `default` where it names nobody there is (U1)."""
        if stored == OPERATOR_ID or (stored and self.find(stored) is not None):
            return stored
        return default

    def name_of(self, user: str) -> str:
        """The display name of an owner."""
        found = self.find(user)
        return user if found is None else found.name

    def with_email(self, email: str) -> list[str]:
        """Canonical ids of the users with that e-mail address, in any case."""
        if len(email) > EMAIL_CHARACTERS_MAX or not _EMAIL.fullmatch(email):
            return []
        if self._meta.read(lambda txn: load(txn, EMAILS_KEPT, int)) is None:
            self._meta.apply(_keep_emails)  # once, in a store from before 0.3
        prefix = by_email_key(email)
        return self._meta.read(lambda txn: [key.decode() for key, _ in scan_records(txn, prefix, int)])

    def list(self) -> list[tuple[str, User]]:
        """(canonical id, user), by id."""
        return self._meta.read(lambda txn: [(key.decode(), user) for key, user in scan_records(txn, USER, User)])

    async def create(
        self, name: str, *, user: str = "", email: str = "", account: str = "", tenant: bool = False
    ) -> str:
        """Make a user, return its canonical id: `user`, or 64 hex digits that nobody has.

        `account`: it joins the account of that user (or of the operator) instead of being one of its own. `tenant`: it
        is the root of a tenant.
        Raises InvalidArgument, UserExists, NoSuchUser.
        """
        user = user or secrets.token_hex(32)
        if not _ID.fullmatch(user) or user in (OPERATOR_ID, ANONYMOUS_ID) or (account and not _ID.fullmatch(account)):
            raise InvalidArgument(
                "a canonical user id has 1 to 128 letters, digits and $ . _ @ + = , -; some are taken"
            )
        if not 1 <= len(name) <= NAME_CHARACTERS_MAX or not name.isprintable():
            raise InvalidArgument(f"a display name of 1 to {NAME_CHARACTERS_MAX} printable characters is needed")
        if email and (len(email) > EMAIL_CHARACTERS_MAX or not _EMAIL.fullmatch(email)):
            raise InvalidArgument(f"an e-mail address of at most {EMAIL_CHARACTERS_MAX} characters, or none, is needed")
        record = User(name=name, created=self._now_ns(), email=email, account=account, tenant=tenant)

        def change(txn: Txn) -> None:
            _check_new(txn, user, record, self._limits.users)
            save(txn, user_key(user), record)
            if email:
                save(txn, by_email_key(email, user), 1)

        await self._meta.write(change)
        return user

    async def delete(self, user: str) -> None:
        """Remove a user and its access keys (U3). Raises NoSuchUser, UserOwnsBuckets (or its account has others)."""

        def change(txn: Txn) -> None:
            record = _must_be(txn, user)
            if any(bucket.owner == user for _, bucket in scan_records(txn, BUCKET, Bucket)):
                raise UserOwnsBuckets(f"user {user} still owns buckets")
            if any(other.account == user for key, other in scan_records(txn, USER, User) if key != user.encode()):
                raise UserOwnsBuckets(f"other users belong to the account of user {user}")
            for key, credential in list(scan_records(txn, CREDENTIAL, Credential)):
                if credential.user == user:
                    txn.delete(credential_key(key.decode()))
            txn.delete(user_key(user))
            txn.delete(owner_usage_key(user))  # with its quota: there is nothing to count
            if record.email:
                txn.delete(by_email_key(record.email, user))

        await self._meta.write(change)

    async def put_policy(self, user: str, name: str, text: str) -> None:
        """Give the user a policy, or replace the one of that name. Raises NoSuchUser, MalformedPolicy."""
        if not _POLICY.fullmatch(name):
            raise InvalidArgument("the name of a policy has 1 to 128 letters, digits and + = , . @ _ -")
        await parsed(text)

        def change(txn: Txn) -> None:
            record = _must_be(txn, user)
            policies = {**record.policies, name: text}
            if len(policies) > POLICIES_MAX:
                raise InvalidArgument(f"a user has at most {POLICIES_MAX} policies")
            save(txn, user_key(user), msgspec.structs.replace(record, policies=policies))

        await self._meta.write(change)

    async def delete_policy(self, user: str, name: str) -> None:
        """Take a policy away from the user. Raises NoSuchUser, NoSuchPolicy."""

        def change(txn: Txn) -> None:
            record = _must_be(txn, user)
            if name not in record.policies:
                raise NoSuchPolicy(name)
            policies = {each: text for each, text in record.policies.items() if each != name}
            save(txn, user_key(user), msgspec.structs.replace(record, policies=policies))

        await self._meta.write(change)

    def policies(self, user: str) -> dict[str, str]:
        """Name -> text of the policies of a user. Raises NoSuchUser."""
        return self._meta.read(lambda txn: _must_be(txn, user)).policies


def _keep_emails(txn: Txn) -> None:
    """Inside a change: let every user be found by its address."""
    for key, record in list(scan_records(txn, USER, User)):
        if record.email:
            save(txn, by_email_key(record.email, key.decode()), 1)
    save(txn, EMAILS_KEPT, 1)


def _must_be(txn: Txn, user: str) -> User:
    record = find_user(txn, user)
    if record is None:
        raise NoSuchUser(user)
    return record


def _check_new(txn: Txn, user: str, record: User, most: int) -> None:
    """Refuse what would give a name in a policy, or an owner in a record, two meanings."""
    if record.account not in ("", user, OPERATOR_ID):
        root = find_user(txn, record.account)
        if root is None or root.account not in ("", record.account):
            raise NoSuchUser(f"{record.account}, whose account it should join")
    if find_user(txn, user) is not None or load(txn, credential_key(user), Credential) is not None:
        raise UserExists(user)
    count = 0
    for key, other in scan_records(txn, USER, User):
        count += 1
        same_account = (record.account or user) == (other.account or key.decode())
        if same_account and record.name in (other.name, key.decode()):
            raise UserExists(f"{record.name} in that account")
        if record.email and other.email.casefold() == record.email.casefold():
            raise UserExists(record.email)
    if count >= most:
        raise InvalidArgument(f"at most {most} users")
