"""What a bucket was told to be: policy, CORS rules, lifecycle ... one record of its own for each kind.

Room: stratum/engine. May import: core, store, engine.buckets.

A kind is the constant KIND of the core module that knows the record (core/cors.py ...). A bucket takes its
configurations with it when it is deleted.
"""

from collections.abc import Callable
from typing import TypeVar

from stratum.core.schema import configuration_key
from stratum.core.txn import Txn, load, save
from stratum.engine.buckets import find_bucket
from stratum.store.meta import Meta

T = TypeVar("T")


def configuration(txn: Txn, bucket: str, kind: str, type: type[T]) -> T | None:  # noqa: A002 - the field's word
    """Inside a change or a query: the configuration, or None. Raises CorruptRecord."""
    return load(txn, configuration_key(bucket, kind), type)


class Configurations:
    """Read and write the configurations of buckets."""

    def __init__(self, meta: Meta) -> None:
        self._meta = meta

    def read(self, bucket: str, kind: str, type: type[T]) -> T | None:  # noqa: A002
        """At once, for deciding about a request; None also if there is no such bucket. Raises CorruptRecord."""
        return self._meta.read(lambda txn: configuration(txn, bucket, kind, type))

    async def get(self, bucket: str, kind: str, type: type[T]) -> T | None:  # noqa: A002
        """For an answer: what is returned is durable. Raises NoSuchBucket."""

        def query(txn: Txn) -> T | None:
            find_bucket(txn, bucket)
            return configuration(txn, bucket, kind, type)

        return await self._meta.read_durable(query)

    async def put(self, bucket: str, kind: str, record: object) -> None:
        """Replace the configuration, durable on return. Raises NoSuchBucket."""

        def change(txn: Txn) -> None:
            find_bucket(txn, bucket)
            save(txn, configuration_key(bucket, kind), record)

        await self._meta.write(change)

    async def amend(
        self,
        bucket: str,
        kind: str,
        type: type[T],  # noqa: A002
        change: Callable[[T | None], T],
    ) -> T:
        """Replace the configuration by what `change` makes of it. Raises NoSuchBucket, and what `change` raises."""

        def apply(txn: Txn) -> T:
            find_bucket(txn, bucket)
            record = change(configuration(txn, bucket, kind, type))
            save(txn, configuration_key(bucket, kind), record)
            return record

        return await self._meta.write(apply)

    async def delete(self, bucket: str, kind: str) -> None:
        """Remove the configuration; none there is no error. Raises NoSuchBucket."""

        def change(txn: Txn) -> None:
            find_bucket(txn, bucket)
            txn.delete(configuration_key(bucket, kind))

        await self._meta.write(change)
