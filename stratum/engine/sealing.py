"""The keys of objects: made, wrapped by whoever holds the key above, and opened again.

Room: stratum/engine. May import: core, engine.keys. Keys appear in no log, error or repr.

Invariants
    E1  Every object, and every upload, has a key of its own; it is stored only wrapped, and bound to how it was asked
        for: scheme, named key, generation, encryption context.
    E2  A customer's key is used and forgotten: of it, the record has the md5 that S3 shows, and what it wrapped.
"""

import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from stratum.core import sealed_pages
from stratum.core.encryption import SSE_C, SSE_KMS, SSE_S3, CustomerKey, SealSpec
from stratum.core.errors import (
    CorruptSeal,
    CustomerKeyNeeded,
    CustomerKeyUnwanted,
    CustomerKeyWrong,
    NoSuchNamedKey,
    WrongKey,
)
from stratum.core.records import Part, Sealed, Upload
from stratum.core.sealed_pages import PageOpener
from stratum.core.sealing import (
    FORMAT,
    KEY_BYTES,
    SALT_BYTES,
    WRAP_SALT_BYTES,
    Sealer,
    Unsealer,
    hidden_etag,
    run_key,
    stored_size,
    stored_span,
    unwrap,
    wrap,
)
from stratum.engine.keys import DEFAULT_KEY, OWN_KEY, Keys

_NUMBER_BYTES = 4  # of the generation that wrapped


@dataclass(frozen=True, slots=True)
class ObjectKey:
    """The key of an object, opened, and the record that it stands in."""

    secret: bytes = field(repr=False)
    sealed: Sealed

    def etag(self, true: str) -> str:
        """The ETag to show for `true` (md5 in hex, or that of parts with `-N`): itself with SSE-S3 only, as at AWS."""
        if self.sealed.scheme == SSE_S3:
            return true
        md5, dash, parts = true.partition("-")
        return hidden_etag(self.secret, bytes.fromhex(md5)) + dash + parts

    def begin(self) -> "Run":
        """A run to be sealed now."""
        salt = secrets.token_bytes(SALT_BYTES)
        return Run(self, salt, Sealer(run_key(self.secret, salt)))

    def stored_span(self, start: int, stop: int) -> tuple[int, int]:
        """The stored range that holds the plain bytes [start, stop), which must not be empty."""
        if self.sealed.format == sealed_pages.FORMAT:
            return sealed_pages.stored_span(sum(self.sealed.parts), start, stop)
        return stored_span(self.sealed.parts, start, stop)

    def unsealer(self, start: int, stop: int) -> Unsealer | PageOpener:
        """What opens the stored bytes of the plain bytes [start, stop). Raises CorruptSeal."""
        if self.sealed.format == sealed_pages.FORMAT:
            return PageOpener(self.secret, sum(self.sealed.parts), start, stop)
        sizes, salts = self.sealed.parts, self.sealed.salts
        if len(salts) != SALT_BYTES * len(sizes) or stop > sum(sizes):
            raise CorruptSeal("the record of an encrypted object contradicts itself")
        return Unsealer(_LazyKeys(self.secret, salts), sizes, start, stop)


class _LazyKeys(Sequence[bytes]):
    """The keys of runs, made when they are asked for: of ten thousand parts, a range needs one."""

    def __init__(self, secret: bytes, salts: bytes) -> None:
        self._secret, self._salts = secret, salts

    def __len__(self) -> int:
        return len(self._salts) // SALT_BYTES

    def __getitem__(self, run: int) -> bytes:  # type: ignore[override]
        return run_key(self._secret, self._salts[run * SALT_BYTES : (run + 1) * SALT_BYTES])


@dataclass(frozen=True, slots=True)
class Run:
    """A run under way: `sealer` takes its plain bytes."""

    key: ObjectKey
    salt: bytes
    sealer: Sealer

    def recorded(self, size: int) -> Sealed:
        """The record of an object that is this run alone, of `size` plain bytes."""
        return of_runs(self.key.sealed, [size], self.salt)


def sealed_of(upload: Upload, parts: Sequence[Part]) -> Sealed | None:
    """The record of the object that these parts make; None: it is not encrypted. Raises CorruptSeal."""
    if upload.sealed is None:
        return None
    if any(len(part.salt) != SALT_BYTES for part in parts):
        raise CorruptSeal("a part of an encrypted upload is not encrypted")
    return of_runs(upload.sealed, [part.size for part in parts], b"".join(part.salt for part in parts))


def of_runs(sealed: Sealed, sizes: Sequence[int], salts: bytes) -> Sealed:
    """The record of an object made of runs of these plain sizes, sealed below the key of `sealed`."""
    return msgspec.structs.replace(sealed, size=stored_size(sizes), parts=tuple(sizes), salts=salts)


class Sealing:
    """Makes and opens the keys of objects."""

    def __init__(self, keys: Keys) -> None:
        self.keys = keys

    async def begin(self, spec: SealSpec | None) -> "Run | None":
        """A run below a new key; None: not to be sealed. Raises as `make`."""
        return None if spec is None else (await self.make(spec)).begin()

    def resume(self, sealed: Sealed | None, customer: CustomerKey | None) -> "Run | None":
        """A run more below the key of an upload; None: not to be sealed. Raises as `open`."""
        key = self.open_any(sealed, customer)
        return None if key is None else key.begin()

    async def make(self, spec: SealSpec) -> ObjectKey:
        """A new key, wrapped as asked for. Raises NotSealing, NoMasterKey, NoSuchNamedKey."""
        return await self._wrapped(secrets.token_bytes(KEY_BYTES), spec)

    async def rewrap(self, key: ObjectKey, spec: SealSpec) -> Sealed:
        """The record of a copy that shares the sealed bytes, for another holder. Raises as `make`."""
        made = await self._wrapped(key.secret, spec)
        return msgspec.structs.replace(
            made.sealed,
            size=key.sealed.size,
            parts=key.sealed.parts,
            salts=key.sealed.salts,
            format=key.sealed.format,
        )

    async def _wrapped(self, secret: bytes, spec: SealSpec) -> ObjectKey:
        salt = secrets.token_bytes(WRAP_SALT_BYTES)
        if spec.scheme == SSE_C:
            assert spec.customer is not None
            bound = _bound(SSE_C, "", 0, "")
            sealed = Sealed(
                SSE_C, wrapped=wrap(spec.customer.secret, secret, salt, bound), customer_md5=spec.customer.md5
            )
            return ObjectKey(secret, sealed)
        name = OWN_KEY if spec.scheme == SSE_S3 else spec.key_id or DEFAULT_KEY
        if spec.scheme == SSE_KMS and name == OWN_KEY:
            raise NoSuchNamedKey(name)
        above = await self.keys.current(name)
        bound = _bound(spec.scheme, name, above.number, spec.context)
        wrapped = above.number.to_bytes(_NUMBER_BYTES, "big") + wrap(above.key, secret, salt, bound)
        key_id = name if spec.scheme == SSE_KMS else ""
        sealed = Sealed(spec.scheme, key_id, wrapped, context=spec.context, bucket_key=spec.bucket_key)
        return ObjectKey(secret, sealed)

    def open_any(self, sealed: Sealed | None, customer: CustomerKey | None) -> ObjectKey | None:
        """The key of an object; None if it is not encrypted at all. Raises as `open`."""
        if sealed is not None:
            return self.open(sealed, customer)
        if customer is not None:
            raise CustomerKeyUnwanted("the object is not encrypted")
        return None

    def open(self, sealed: Sealed, customer: CustomerKey | None) -> ObjectKey:
        """The key of an object.

        Raises CustomerKeyNeeded, CustomerKeyWrong, CustomerKeyUnwanted, NoSuchNamedKey, NoMasterKey, CorruptSeal.
        """
        if sealed.format not in (FORMAT, sealed_pages.FORMAT):
            raise CorruptSeal(f"encrypted in a form ({sealed.format}) that this version does not know")
        if sealed.scheme == SSE_C:
            return self._open_for(sealed, customer)
        if customer is not None:
            raise CustomerKeyUnwanted("the object is not encrypted with a customer's key")
        name = OWN_KEY if sealed.scheme == SSE_S3 else sealed.key_id
        number = int.from_bytes(sealed.wrapped[:_NUMBER_BYTES], "big")
        above = self.keys.at(name, number)
        bound = _bound(sealed.scheme, name, number, sealed.context)
        try:
            return ObjectKey(unwrap(above.key, sealed.wrapped[_NUMBER_BYTES:], bound), sealed)
        except WrongKey as error:
            raise CorruptSeal("the key of an object does not open") from error

    def _open_for(self, sealed: Sealed, customer: CustomerKey | None) -> ObjectKey:
        if customer is None:
            raise CustomerKeyNeeded("the object is encrypted with a customer's key")
        if not hmac.compare_digest(customer.md5, sealed.customer_md5):
            raise CustomerKeyWrong("the object is encrypted with another key")
        try:
            return ObjectKey(unwrap(customer.secret, sealed.wrapped, _bound(SSE_C, "", 0, "")), sealed)
        except WrongKey as error:
            raise CustomerKeyWrong("the object is encrypted with another key") from error


def _bound(scheme: str, name: str, number: int, context: str) -> bytes:
    return b"stratum object key 1\0" + "\0".join((scheme, name, str(number), context)).encode()
