"""The keys above the keys of objects: master keys from outside, and the key store that they seal.

Room: stratum/engine. May import: core, store. Keys appear in no log, error or repr.

    master key      32 bytes from a file or the environment, never stored here; several while one is being replaced
    named key       32 random bytes, a row of the index, sealed by the newest master key; has generations
    object key      32 random bytes, in the record of the object, wrapped by a named key (engine/sealing.py)

Invariants
    K1  There is no key that is not random, and none built in: without a master key there is no sealing.
    K2  A master key that cannot open what the store has is never used to seal anything more.
    K3  A generation of a named key is never taken away: what it wrapped stays readable.
"""

import logging
import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

import msgspec

from stratum.core.errors import EntryExists, InvalidArgument, NoMasterKey, NoSuchNamedKey, NotSealing, WrongKey
from stratum.core.records import NamedKey
from stratum.core.schema import NAMED_KEY, named_key_key
from stratum.core.sealing import KEY_BYTES, WRAP_SALT_BYTES, unwrap, wrap
from stratum.core.txn import Txn, load, save, scan_records
from stratum.store.meta import Meta

log = logging.getLogger(__name__)

DEFAULT_KEY = "aws/s3"  # of SSE-KMS where no key is named, as at AWS
OWN_KEY = "stratum/s3"  # of SSE-S3
BUILT_IN = (DEFAULT_KEY, OWN_KEY)  # made when they are first needed
NAME_CHARACTERS_MAX = 128
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9/_.-]*", re.ASCII)
_MASTER_ID_BYTES = 8


@dataclass(frozen=True, slots=True)
class MasterKeys:
    """The master keys, the newest last. None at all: the server does not seal."""

    keys: tuple[bytes, ...] = field(default=(), repr=False)

    @property
    def newest(self) -> bytes:
        """What seals. Raises NotSealing."""
        if not self.keys:
            raise NotSealing("this server was started without a master key")
        return self.keys[-1]

    def of(self, wrapped: bytes) -> bytes:
        """The master key that sealed a generation of a named key. Raises NoMasterKey."""
        for key in self.keys:
            if wrapped.startswith(_id_of(key)):
                return key
        raise NoMasterKey("the master key that this store's keys are sealed with is not at hand")


NO_MASTER_KEYS = MasterKeys()


def _id_of(master: bytes) -> bytes:
    """Says which master key it was, and nothing of the key."""
    return sha256(b"stratum master key id 1" + master).digest()[:_MASTER_ID_BYTES]


@dataclass(frozen=True, slots=True)
class Generation:
    """One generation of a named key, opened."""

    name: str
    number: int
    key: bytes = field(repr=False)


class Keys:
    """The key store."""

    def __init__(self, meta: Meta, masters: MasterKeys, now_ns: Callable[[], int]) -> None:
        self._meta = meta
        self._masters = masters
        self._now_ns = now_ns

    async def current(self, name: str) -> Generation:
        """The generation that wraps now. Raises NoSuchNamedKey, NotSealing, NoMasterKey."""
        self._masters.newest  # noqa: B018 - K1: refuse before anything else
        found = self._find(name)
        if found is None:
            if name not in BUILT_IN:
                raise NoSuchNamedKey(name)
            found = await self._meta.write(
                lambda txn: load(txn, named_key_key(name), NamedKey) or self._make(txn, name)
            )
        return self._open(name, found, len(found.generations) - 1)

    def at(self, name: str, number: int) -> Generation:
        """The generation that wrapped something. Raises NoSuchNamedKey, NoMasterKey."""
        found = self._find(name)
        if found is None or not 0 <= number < len(found.generations):
            raise NoSuchNamedKey(name)
        return self._open(name, found, number)

    def list(self) -> list[tuple[str, int, int]]:
        """(name, created in ns, generations) of every key, by name."""
        return [(name, found.created, len(found.generations)) for name, found in self._meta.read(_all)]

    async def create(self, name: str) -> None:
        """Make a key. Raises InvalidArgument, EntryExists, NotSealing, NoMasterKey."""
        if not _NAME.fullmatch(name) or len(name) > NAME_CHARACTERS_MAX or name.startswith(("stratum/", "alias/")):
            raise InvalidArgument(
                f"a key name has 1 to {NAME_CHARACTERS_MAX} letters, digits and / _ . - and begins with a letter or "
                "digit, but not with stratum/ or alias/"
            )

        def change(txn: Txn) -> None:
            if load(txn, named_key_key(name), NamedKey) is not None:
                raise EntryExists(name)
            self._make(txn, name)

        await self._meta.write(change)

    async def rotate(self, name: str) -> int:
        """Give a key a new generation; return how many it has. Raises NoSuchNamedKey, NotSealing, NoMasterKey."""

        def change(txn: Txn) -> int:
            found = load(txn, named_key_key(name), NamedKey)
            if found is None:
                raise NoSuchNamedKey(name)
            self._check(txn)
            generations = (*found.generations, self._seal(name, len(found.generations), secrets.token_bytes(KEY_BYTES)))
            save(txn, named_key_key(name), msgspec.structs.replace(found, generations=generations))
            return len(generations)

        return await self._meta.write(change)

    async def start(self) -> None:
        """Seal again what an older master key sealed, so that it can be given up. Raises ReadOnly."""
        try:
            rows = self._meta.read(_all)
            if rows and not self._masters.keys:
                log.warning("encrypted objects cannot be read: the server was started without a master key")
            elif any(not each.startswith(_id_of(self._masters.newest)) for _, row in rows for each in row.generations):
                await self._meta.write(self._seal_anew)
                log.info("the key store is sealed with the newest master key now", extra={"keys": len(rows)})
        except (NoMasterKey, WrongKey) as error:
            log.error("encrypted objects cannot be read, and none can be written: %s", error)

    def _seal_anew(self, txn: Txn) -> None:
        for name, row in _all(txn):
            opened = [self._open(name, row, number) for number in range(len(row.generations))]
            generations = tuple(self._seal(name, each.number, each.key) for each in opened)
            save(txn, named_key_key(name), msgspec.structs.replace(row, generations=generations))

    def _find(self, name: str) -> NamedKey | None:
        if not name.isascii() or not 0 < len(name) <= NAME_CHARACTERS_MAX:
            return None
        return self._meta.read(lambda txn: load(txn, named_key_key(name), NamedKey))

    def _make(self, txn: Txn, name: str) -> NamedKey:
        self._check(txn)
        made = NamedKey(self._now_ns(), (self._seal(name, 0, secrets.token_bytes(KEY_BYTES)),))
        save(txn, named_key_key(name), made)
        return made

    def _check(self, txn: Txn) -> None:
        """K2. Raises NotSealing, NoMasterKey."""
        for name, row in _all(txn):
            self._open(name, row, len(row.generations) - 1)

    def _seal(self, name: str, number: int, key: bytes) -> bytes:
        master = self._masters.newest
        return _id_of(master) + wrap(master, key, secrets.token_bytes(WRAP_SALT_BYTES), _bound(name, number))

    def _open(self, name: str, row: NamedKey, number: int) -> Generation:
        sealed = row.generations[number]
        key = unwrap(self._masters.of(sealed), sealed[_MASTER_ID_BYTES:], _bound(name, number))
        return Generation(name, number, key)


def _all(txn: Txn) -> Sequence[tuple[str, NamedKey]]:
    return [(key.decode(), row) for key, row in scan_records(txn, NAMED_KEY, NamedKey)]


def _bound(name: str, number: int) -> bytes:
    return b"stratum named key 1\0%b\0%d" % (name.encode(), number)
