"""A remote backend in memory, with every fault that real ones have.

Room: tests. May import: stratum.
"""

import hashlib
import random
import time
from collections import Counter
from collections.abc import Callable

import trio

from stratum.core.records import Held
from stratum.core.tiers import COLD, key_of
from stratum.store.backends import BackendDown, BackendRefuses, Head, HeldMissing, HeldWrong, Listed, Stream

FAULTS = ("cut", "500", "503", "reset", "short body", "wrong ETag", "403", "applied, then no answer", "wrong bytes")


class FakeBackend:
    """Objects in a dict. `faults`: per call, the name of a fault or None; with what comes before and after it."""

    tier = COLD

    def __init__(self, name: str = "remote", prefix: str = "stratum", store: str = "this store") -> None:
        self.name = name
        self.prefix = prefix
        self.store = store
        self.objects: dict[str, tuple[bytes, bytes, str, float]] = {}  # content, sha256, store, modified
        self.calls: Counter[str] = Counter()
        self.fault: Callable[[str], str | None] = lambda verb: None
        self.gets: list[tuple[str, int, int]] = []

    def _now(self, verb: str) -> str | None:
        self.calls[verb] += 1
        fault = self.fault(verb)
        if fault == "403":
            raise BackendRefuses(f"{self.name}: 403")
        if fault in ("500", "503", "reset"):
            raise BackendDown(f"{self.name}: {fault}")
        return fault

    def plan(self, size: int, sha256: bytes) -> Held:
        return Held(self.name, key_of(self.prefix, sha256), size, sha256)

    async def put(self, stream: Stream, planned: Held) -> Held:
        await trio.lowlevel.checkpoint()
        fault = self._now("put")
        pieces = []
        async for piece in stream():
            pieces.append(piece)
            if fault == "cut":
                raise BackendDown(f"{self.name}: the connection was cut")
        content = b"".join(pieces)
        if planned.sha256 != hashlib.sha256(content).digest():
            raise HeldWrong("not what was planned")
        self.objects[planned.key] = (content, planned.sha256, self.store, time.time())
        if fault == "applied, then no answer":
            raise BackendDown(f"{self.name}: no answer in time")
        if fault == "wrong ETag":
            raise HeldWrong(f"{self.name}: the ETag is not that of what was sent")
        return planned

    async def get(self, held: Held, start: int, stop: int) -> bytes:
        await trio.lowlevel.checkpoint()
        self.gets.append((held.key, start, stop))
        fault = self._now("get")
        if held.key not in self.objects:
            raise HeldMissing(f"{self.name} does not have {held.key}")
        found = self.objects[held.key][0][start:stop]
        if fault in ("cut", "short body"):
            return found[:-1]
        if fault == "wrong bytes" and found:
            at = random.Random(start).randrange(len(found))
            found = found[:at] + bytes((found[at] ^ 1,)) + found[at + 1 :]
        if fault == "applied, then no answer":
            raise BackendDown(f"{self.name}: no answer in time")
        return found

    async def head(self, held: Held) -> Head | None:
        await trio.lowlevel.checkpoint()
        fault = self._now("head")
        if fault in ("cut", "applied, then no answer", "short body"):
            raise BackendDown(f"{self.name}: no answer in time")
        found = self.objects.get(held.key)
        return None if found is None else Head(len(found[0]), found[1])

    async def delete(self, held: Held) -> None:
        await trio.lowlevel.checkpoint()
        fault = self._now("delete")
        if fault == "cut":
            raise BackendDown(f"{self.name}: cut")
        self.objects.pop(held.key, None)
        if fault == "applied, then no answer":
            raise BackendDown(f"{self.name}: no answer in time")

    async def health(self) -> None:
        await trio.lowlevel.checkpoint()
        self._now("health")

    async def page(self, after: str) -> list[Listed]:
        await trio.lowlevel.checkpoint()
        self._now("page")
        keys = sorted(key for key in self.objects if key.startswith(self.prefix) and key > after)
        return [Listed(key, self.objects[key][3]) for key in keys[:10]]

    async def is_ours(self, key: str) -> bool:
        await trio.lowlevel.checkpoint()
        return key in self.objects and self.objects[key][2] == self.store

    async def run(self) -> None:
        await trio.sleep_forever()
