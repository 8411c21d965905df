"""A cold backend at a real server over a failing line, with what tests ask of the one in memory.

Room: tests. May import: stratum, tests.engine.
"""

from collections.abc import Iterator, MutableMapping

from botocore.exceptions import ClientError

from stratum.store.remote import RemoteBucket
from tests.engine.s3_servers import BUCKET, client_of
from tests.engine.troubled_line import FAULTS, TroubledLine

METHODS = {"PUT": "put", "GET": "get", "HEAD": "head", "DELETE": "delete"}


class Objects(MutableMapping):
    """What the server really has, as FakeBackend.objects: (content, sha256, store, modified). Blocking; the server is
    another process, asked directly."""

    def __init__(self, url: str) -> None:
        self._client = client_of(url)
        self.aged: set[str] = set()  # keys that are to look a day old

    def __getitem__(self, key: str):
        try:
            found = self._client.get_object(Bucket=BUCKET, Key=key)
        except ClientError as error:
            raise KeyError(key) from error
        named = found["Metadata"]
        modified = 0.0 if key in self.aged else found["LastModified"].timestamp()
        return found["Body"].read(), bytes.fromhex(named["sha256"]), named["stratum-store"], modified

    def __setitem__(self, key: str, row) -> None:
        content, digest, store, modified = row
        named = {"sha256": digest.hex(), "stratum-store": store}
        self._client.put_object(Bucket=BUCKET, Key=key, Body=content, Metadata=named)
        if modified == 0.0:
            self.aged.add(key)

    def __delitem__(self, key: str) -> None:
        if key not in set(self):
            raise KeyError(key)
        self._client.delete_object(Bucket=BUCKET, Key=key)

    def __iter__(self) -> Iterator[str]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        return (each["Key"] for page in pages for each in page.get("Contents", ()))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, key: object) -> bool:
        return any(each == key for each in self)


class ServedCold:
    """Every verb is that of the backend; `fault` names what a call meets, as FakeBackend.fault does."""

    tier = "cold"

    def __init__(self, line: TroubledLine, backend: RemoteBucket, url: str) -> None:
        self.name = backend.name
        self.objects = Objects(url)
        self.fault = lambda verb: None
        self._backend = backend
        line.fault = self._meets

    def __getattr__(self, name: str):
        return getattr(self._backend, name)

    async def run(self) -> None:
        """Whoever made the backend runs it."""

    async def page(self, after: str):
        found = await self._backend.page(after)
        return [each if each.key not in self.objects.aged else type(each)(each.key, 0.0) for each in found]

    def _meets(self, method: str, path: str) -> str | None:
        fault = self.fault(METHODS.get(method, "other"))
        return fault if fault in FAULTS else None
