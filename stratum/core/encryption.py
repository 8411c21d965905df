"""Encryption at rest as S3 speaks of it: who holds the key, and what a bucket does with objects that bring none.

Room: stratum/core. May import: nothing.
"""

import re
from dataclasses import dataclass, field

import msgspec

SSE_S3, SSE_KMS, SSE_C = "SSE-S3", "SSE-KMS", "SSE-C"

KIND = "encryption"

_ARN = re.compile(r"arn:aws[a-z-]*:kms:[a-z0-9-]*:[A-Za-z0-9]*:(?:key|alias)/(.+)", re.ASCII)


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


def key_name(text: str) -> str:
    """The name in the key store that a key id, an alias or an ARN means; empty: the default key."""
    match = _ARN.fullmatch(text)
    return (match[1] if match else text).removeprefix("alias/")


def default_spec(default: Encryption) -> SealSpec:
    """How an object that brings nothing of its own is encrypted in a bucket with this default."""
    return SealSpec(scheme=default.scheme, key_id=key_name(default.key_id), bucket_key=default.bucket_key)
