"""Access logs: lines about requests, collected and written as objects into the bucket that an owner named.

Room: stratum/engine. May import: core, engine.{configurations, objects, surroundings}.

Best effort, as at AWS: lines wait in memory until they are many or old (Limits.access_log_object_bytes,
access_log_interval), and are written at an orderly stop. A crash loses what waited. A request never waits for its line,
and what does not fit into Limits.access_log_bytes is counted and left out.
"""

import logging
import secrets
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime

import trio

from stratum.core.access_log import EVENT_TIME, KIND, SERVICE, Logging, may_deliver, object_name
from stratum.core.config import Limits
from stratum.core.encryption import KIND as ENCRYPTION
from stratum.core.errors import (
    InvalidArgument,
    KeyTooLong,
    MalformedPolicy,
    NoSuchBucket,
    NoSuchKey,
    NotPermitted,
    StratumError,
)
from stratum.core.objects import PutSpec
from stratum.core.policy import KIND as POLICY
from stratum.core.policy import Policy, PolicyText, parse_policy
from stratum.core.principals import OPERATOR_ID, Principal
from stratum.core.records import Bucket
from stratum.core.schema import bucket_key, configuration_key
from stratum.core.txn import Txn, load, save
from stratum.engine.buckets import find_bucket
from stratum.engine.configurations import configuration
from stratum.engine.objects import Objects
from stratum.engine.surroundings import Surroundings

log = logging.getLogger(__name__)

LINE_BYTES_OVERHEAD = 64  # of a line in memory, beside its bytes
PIECE = 1 << 18  # bytes handed to a put at once

Line = tuple[int, bytes]
"""When the request came (ns), and the line with its end."""


@dataclass(slots=True)
class _Waiting:
    """The lines of a bucket that are still to be written, and since when the oldest of them waits (trio's clock)."""

    since: float
    lines: list[Line] = field(default_factory=list)
    size: int = 0


class AccessLogs:
    """Takes lines and delivers them."""

    def __init__(self, surroundings: Surroundings, objects: Objects, limits: Limits, region: str) -> None:
        self._around = surroundings
        self._objects = objects
        self._limits = limits
        self._region = region
        self._waiting: dict[str, _Waiting] = {}
        self._size = 0
        self._many = trio.Event()
        self._writing = trio.Lock()
        self.dropped = 0  # lines, for want of room or of permission
        self.delivered = 0  # lines

    # --- configurations -----------------------------------------------------------------------------------------

    async def configure(self, bucket: str, wanted: Logging | None, principal: Principal) -> None:
        """Let requests to the bucket be logged as `wanted`, or (None) not at all; durable on return.

        Raises NoSuchBucket, NotPermitted (not the owner's wish, or not the target's), NoSuchKey (no such target),
        InvalidArgument.
        """

        def change(txn: Txn) -> None:
            source = find_bucket(txn, bucket)
            if not principal.operator and principal.account_id != (source.owner or OPERATOR_ID):
                raise NotPermitted("only the owner of a bucket lets it be logged, whatever a policy says")
            if wanted is None:
                txn.delete(configuration_key(bucket, KIND))
                return
            _check_target(txn, bucket, source, wanted)
            save(txn, configuration_key(bucket, KIND), wanted)

        await self._around.meta.write(change)

    # --- lines --------------------------------------------------------------------------------------------------

    def owner(self, bucket: str) -> str | None:
        """The owner of a bucket whose requests are logged; None: they are not. At once."""

        def query(txn: Txn) -> str | None:
            if txn.get(configuration_key(bucket, KIND)) is None:
                return None
            found = load(txn, bucket_key(bucket), Bucket)
            return None if found is None else found.owner or OPERATOR_ID

        return self._around.meta.read(query)

    def note(self, bucket: str, line: bytes) -> None:
        """Keep a line about a request to the bucket, until it is written."""
        size = len(line) + LINE_BYTES_OVERHEAD
        if self._size + size > self._limits.access_log_bytes:
            self.dropped += 1
            return
        waiting = self._waiting.setdefault(bucket, _Waiting(trio.current_time()))
        waiting.lines.append((self._around.now_ns(), line))
        waiting.size += size
        self._size += size
        if waiting.size >= self._limits.access_log_object_bytes:
            self._many.set()

    async def run(self) -> None:
        """Deliver what is many or old until cancelled."""
        while True:
            with trio.move_on_after(self._limits.access_log_interval / 2):
                await self._many.wait()
            self._many = trio.Event()
            now, limits = trio.current_time(), self._limits
            for bucket, waiting in list(self._waiting.items()):
                old = now - waiting.since >= limits.access_log_interval / 2
                if old or waiting.size >= limits.access_log_object_bytes:
                    await self.deliver(bucket)

    async def deliver_all(self) -> None:
        """Deliver everything that waits; for an orderly stop."""
        async with self._writing:
            buckets = list(self._waiting)
        for bucket in buckets:
            await self.deliver(bucket)

    async def deliver(self, bucket: str) -> None:
        """Write the lines of a bucket now. What may not be written is dropped; what cannot be, waits on."""
        async with self._writing:  # so that a stop waits for what is being written
            waiting = self._waiting.pop(bucket, None)
            if waiting is not None:
                await self._deliver(bucket, waiting)

    async def _deliver(self, bucket: str, waiting: _Waiting) -> None:
        try:
            delivered = await self._write(bucket, waiting.lines)
        except StratumError as error:
            log.warning("access log of %s is not written now: %s", bucket, error)
            later = self._waiting.setdefault(bucket, _Waiting(trio.current_time()))
            later.lines[:0] = waiting.lines
            later.size += waiting.size
            return
        self._size -= waiting.size
        self.delivered += delivered
        self.dropped += len(waiting.lines) - delivered

    async def _write(self, bucket: str, lines: Sequence[Line]) -> int:
        """Return how many lines were delivered."""
        found = self._around.meta.read(lambda txn: self._destination(txn, bucket))
        if found is None:
            return 0
        wanted, source, target = found
        delivered = 0
        for date, some in self._by_date(wanted, lines).items():
            now = datetime.fromtimestamp(self._around.now_ns() // 10**9, UTC)
            name = object_name(
                wanted,
                account=source.owner,
                region=self._region,
                source=bucket,
                date=date or now.strftime("%Y-%m-%d"),
                time="00-00-00" if date else now.strftime("%H-%M-%S"),
                unique=secrets.token_hex(8).upper(),
            )
            spec = PutSpec(headers={"content-type": "text/plain"}, owner=target.owner, principal=SERVICE)
            try:
                async with aclosing(_pieces(some)) as pieces:
                    await self._objects.put(wanted.target, name.encode(), pieces, spec)
            except (KeyTooLong, NoSuchBucket):
                continue
            delivered += len(some)
        return delivered

    def _by_date(self, wanted: Logging, lines: Sequence[Line]) -> dict[str, list[bytes]]:
        """The lines of each object to be written: one for each day, where the day of the event is in the name."""
        found: dict[str, list[bytes]] = {}
        for time, line in lines:
            of_event = wanted.partitioned == EVENT_TIME
            date = datetime.fromtimestamp(time // 10**9, UTC).strftime("%Y-%m-%d") if of_event else ""
            found.setdefault(date, []).append(line)
        return found

    def _destination(self, txn: Txn, bucket: str) -> tuple[Logging, Bucket, Bucket] | None:
        """What is configured now, the bucket and its target; None: nothing, or it is not allowed (any more)."""
        try:
            source = find_bucket(txn, bucket)
            wanted = configuration(txn, bucket, KIND, Logging)
            target = find_bucket(txn, wanted.target) if wanted is not None else None
            policy = policy_of(txn, wanted.target) if wanted is not None else None
        except (NoSuchBucket, MalformedPolicy):
            return None
        if wanted is None or target is None:
            return None
        allowed = may_deliver(policy, wanted, source=bucket, account=source.owner)
        return (wanted, source, target) if allowed else None


def _check_target(txn: Txn, bucket: str, source: Bucket, wanted: Logging) -> None:
    """Inside a change: raise unless the lines of a bucket may go there."""
    if wanted.target == bucket:
        raise InvalidArgument("A bucket cannot be the target of its own log.")
    target = load(txn, bucket_key(wanted.target), Bucket)
    if target is None:
        raise NoSuchKey("the target bucket for logging does not exist")
    if target.requester_pays:
        raise InvalidArgument("Logs are not written into a bucket for which the requester pays.")
    if configuration(txn, wanted.target, KIND, Logging) is not None:
        raise InvalidArgument("The target bucket is logged itself.")
    if txn.get(configuration_key(wanted.target, ENCRYPTION)) is not None:
        raise InvalidArgument("Logs are written as they are, and not into a bucket that encrypts by default.")
    try:
        policy = policy_of(txn, wanted.target)
    except MalformedPolicy:
        policy = None
    if not may_deliver(policy, wanted, source=bucket, account=source.owner):
        raise NotPermitted("the policy of the target bucket does not let log delivery write there")


def policy_of(txn: Txn, bucket: str) -> Policy | None:
    """Inside a query: the policy of a bucket. Raises MalformedPolicy for one that this version cannot read."""
    found = configuration(txn, bucket, POLICY, PolicyText)
    return None if found is None else parse_policy(found.text, bucket)


async def _pieces(lines: Sequence[bytes]) -> AsyncGenerator[bytes, None]:
    """The lines in pieces of a good size."""
    piece = bytearray()
    for line in lines:
        piece += line
        if len(piece) >= PIECE:
            yield bytes(piece)
            piece.clear()
    if piece:
        yield bytes(piece)
