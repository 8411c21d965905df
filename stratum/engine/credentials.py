"""Access keys: the root credential from outside, the others from the index.

Room: stratum/engine. May import: core, store. Secrets appear in no log, error or repr.
"""

import secrets
import string
from collections.abc import Callable
from dataclasses import dataclass, field

from stratum.core.errors import InvalidArgument, NoSuchCredential
from stratum.core.records import Credential
from stratum.core.schema import CREDENTIAL, credential_key
from stratum.core.txn import Txn, load, save, scan_records
from stratum.store.meta import Meta

_ALPHABET = string.ascii_uppercase + string.digits
NAME_CHARACTERS_MAX = 64


@dataclass(frozen=True, slots=True)
class RootCredential:
    """The operator's own key; may do everything."""

    access_key: str
    secret_key: str = field(repr=False)


class Credentials:
    """Find, make and remove access keys."""

    def __init__(self, meta: Meta, root: RootCredential, now_ns: Callable[[], int]) -> None:
        self._meta = meta
        self._root = root
        self._now_ns = now_ns

    def is_root(self, access_key: str) -> bool:
        """Is this the operator's own key?"""
        return access_key == self._root.access_key

    def secret_of(self, access_key: str) -> str:
        """Return the secret key. Raises NoSuchCredential."""
        if self.is_root(access_key):
            return self._root.secret_key
        found = self._find(access_key)
        if found is None:
            raise NoSuchCredential(access_key)
        return found.secret_key

    def _find(self, access_key: str) -> Credential | None:
        if not access_key.isascii() or len(access_key) > 128:
            return None
        return self._meta.read(lambda txn: load(txn, credential_key(access_key), Credential))

    async def create(self, name: str) -> tuple[str, str]:
        """Make a key pair, return (access key, secret key). The secret is shown nowhere again."""
        if len(name) > NAME_CHARACTERS_MAX:
            raise InvalidArgument(f"a name of at most {NAME_CHARACTERS_MAX} characters is needed")
        access_key = "STR" + "".join(secrets.choice(_ALPHABET) for _ in range(17))
        secret_key = secrets.token_urlsafe(30)
        record = Credential(secret_key=secret_key, created=self._now_ns(), name=name)
        await self._meta.write(lambda txn: save(txn, credential_key(access_key), record))
        return access_key, secret_key

    def list(self) -> list[tuple[str, str, int]]:
        """(access key, name, created in ns) of every key but root's."""
        return self._meta.read(
            lambda txn: [
                (key.decode(), found.name, found.created) for key, found in scan_records(txn, CREDENTIAL, Credential)
            ]
        )

    async def delete(self, access_key: str) -> None:
        """Remove a key. Raises NoSuchCredential."""

        def change(txn: Txn) -> None:
            if load(txn, credential_key(access_key), Credential) is None:
                raise NoSuchCredential(access_key)
            txn.delete(credential_key(access_key))

        await self._meta.write(change)
