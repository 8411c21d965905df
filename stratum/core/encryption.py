"""Encryption at rest as S3 speaks of it: who holds the key, and what a bucket does with objects that bring none.

Room: stratum/core. May import: nothing.
"""

from dataclasses import dataclass, field

import msgspec

SSE_S3, SSE_KMS, SSE_C = "SSE-S3", "SSE-KMS", "SSE-C"

KIND = "encryption"


class Encryption(msgspec.Struct, frozen=True, array_like=True):
    """The default encryption of a bucket. `scheme`: SSE-S3 or SSE-KMS; `key_id` as it was set, empty: the default."""

    scheme: str
    key_id: str = ""
    bucket_key: bool = False


@dataclass(frozen=True, slots=True)
class CustomerKey:
    """A key that its owner sends with every request (SSE-C). `md5`: base64, of the key."""

    secret: bytes = field(repr=False)
    md5: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SealSpec:
    """How an object is to be encrypted. `key_id`: of SSE-KMS, empty: the default key; `context`: base64 JSON."""

    scheme: str
    key_id: str = ""
    context: str = ""
    bucket_key: bool = False
    customer: CustomerKey | None = None  # of SSE-C
