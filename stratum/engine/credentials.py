"""Access keys: the root credential from outside, the others from the index; and whose each of them is.

Room: stratum/engine. May import: core, store, engine.users. Secrets appear in no log, error or repr.
"""

import re
import secrets
import string
from collections.abc import Callable
from dataclasses import dataclass, field

from stratum.core.config import Limits
from stratum.core.errors import CredentialExists, InvalidArgument, NoSuchCredential, NoSuchUser
from stratum.core.principals import OPERATOR_ID, Principal
from stratum.core.records import Credential
from stratum.core.schema import CREDENTIAL, credential_key
from stratum.core.txn import Txn, load, save, scan_records
from stratum.engine.users import find_user
from stratum.store.meta import Meta

_ALPHABET = string.ascii_uppercase + string.digits
NAME_CHARACTERS_MAX = 64
# Of an imported pair: what other stores make. A secret is never split at anything, so any printable character will do.
_ACCESS_KEY = re.compile(r"[A-Za-z0-9._=+@-]{3,128}", re.ASCII)
_SECRET_KEY = re.compile(r"[\x21-\x7e]{8,128}", re.ASCII)


@dataclass(frozen=True, slots=True)
class RootCredential:
    """The operator's own key; may do everything."""

    access_key: str
    secret_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class KeyPair:
    """An access key and its secret, as they are given out or imported."""

    access_key: str
    secret_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class KeyRow:
    """An access key as it is listed. `user`: canonical id; empty: the operator's. `created`: ns."""

    access_key: str
    name: str
    created: int
    user: str


class Credentials:
    """Find, make and remove access keys."""

    def __init__(self, meta: Meta, root: RootCredential, limits: Limits, now_ns: Callable[[], int]) -> None:
        self._meta = meta
        self._limits = limits
        self._root = root
        self._now_ns = now_ns

    def is_root(self, access_key: str) -> bool:
        """Is this the operator's own key?"""
        return access_key == self._root.access_key

    def secret_of(self, access_key: str) -> str:
        """Return the secret key. Raises NoSuchCredential."""
        if self.is_root(access_key):
            return self._root.secret_key
        found = self._meta.read(lambda txn: _find(txn, access_key))
        if found is None:
            raise NoSuchCredential(access_key)
        return found.secret_key

    def principal_of(self, access_key: str) -> Principal:
        """Who a key is given to: keys without a user are the operator's. Raises NoSuchCredential."""
        if self.is_root(access_key):
            return _operator(access_key)
        return self._meta.read(lambda txn: _principal(txn, access_key))

    async def create(self, name: str, *, user: str = "", pair: KeyPair | None = None) -> KeyPair:
        """Make a key for `user` (a canonical id; empty: the operator), return it; its secret is shown nowhere again.

        `pair`: keep this one, from another store, instead of making one. Raises InvalidArgument, NoSuchUser,
        CredentialExists.
        """
        if len(name) > NAME_CHARACTERS_MAX:
            raise InvalidArgument(f"a name of at most {NAME_CHARACTERS_MAX} characters is needed")
        made = _checked(pair) if pair is not None else _new_pair()
        record = Credential(secret_key=made.secret_key, created=self._now_ns(), name=name, user=user)

        def change(txn: Txn) -> None:
            if user and find_user(txn, user) is None:
                raise NoSuchUser(user)
            taken = self.is_root(made.access_key) or find_user(txn, made.access_key) is not None
            if taken or _find(txn, made.access_key) is not None:
                raise CredentialExists(made.access_key)
            if sum(1 for _ in scan_records(txn, CREDENTIAL, Credential)) >= self._limits.access_keys:
                raise InvalidArgument(f"at most {self._limits.access_keys} access keys")
            save(txn, credential_key(made.access_key), record)

        await self._meta.write(change)
        return made

    def list(self, user: str | None = None) -> list[KeyRow]:
        """Every key but root's; only those of one user, if that is given (its canonical id; empty: the operator)."""
        rows = self._meta.read(lambda txn: list(scan_records(txn, CREDENTIAL, Credential)))
        return [
            KeyRow(key.decode(), found.name, found.created, found.user)
            for key, found in rows
            if user is None or found.user == user
        ]

    async def delete(self, access_key: str) -> None:
        """Remove a key. Raises NoSuchCredential."""

        def change(txn: Txn) -> None:
            if _find(txn, access_key) is None:
                raise NoSuchCredential(access_key)
            txn.delete(credential_key(access_key))

        await self._meta.write(change)


def _find(txn: Txn, access_key: str) -> Credential | None:
    if not access_key.isascii() or not 0 < len(access_key) <= 128:
        return None
    return load(txn, credential_key(access_key), Credential)


def _principal(txn: Txn, access_key: str) -> Principal:
    found = _find(txn, access_key)
    if found is None:
        raise NoSuchCredential(access_key)
    if not found.user:
        return _operator(access_key)
    user = find_user(txn, found.user)
    if user is None:
        raise NoSuchCredential(access_key)
    return Principal(user=found.user, name=user.name, access_key=access_key, account=user.account)


def _operator(access_key: str) -> Principal:
    return Principal(user=OPERATOR_ID, name=OPERATOR_ID, access_key=access_key, operator=True)


def _new_pair() -> KeyPair:
    return KeyPair("STR" + "".join(secrets.choice(_ALPHABET) for _ in range(17)), secrets.token_urlsafe(30))


def _checked(pair: KeyPair) -> KeyPair:
    if not _ACCESS_KEY.fullmatch(pair.access_key):
        raise InvalidArgument("an access key has 3 to 128 letters, digits and . _ = + @ -")
    if not _SECRET_KEY.fullmatch(pair.secret_key):
        raise InvalidArgument("a secret key has 8 to 128 printable ASCII characters and no space")
    return pair
