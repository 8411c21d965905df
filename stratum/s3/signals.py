"""What S3 requests tell the tracker of use (engine/heat.py): who read which bytes, and who only looked.

Room: stratum/s3. May import: core, engine, s3.{call, http}.

Only GET and HEAD of objects say anything. Listing, tags, ACLs, attributes and copies inside the store do not. A client
may say what it reads for, with the header `x-stratum-purpose`:

    backup, sweep, scan, index, sync      its bytes are counted, but say nothing of when somebody reads them next
    none, verify, scrub, replication      nothing is counted
"""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing

from stratum.core.config import MIB
from stratum.core.manifest import Span
from stratum.core.objects import ObjectView
from stratum.core.sealing import stored_span
from stratum.engine.open_object import OpenObject
from stratum.s3.call import Call

PURPOSE = "x-stratum-purpose"
SWEEPS = frozenset({"backup", "sweep", "scan", "index", "sync"})
NOTHING = frozenset({"none", "verify", "scrub", "replication"})
TOLD_EACH = 8 * MIB  # bytes of a stream, so that long ones are noticed before they end


class Reading:
    """One answer on its way: tells of the bytes that were really taken."""

    def __init__(self, call: Call, opened: OpenObject, start: int, stop: int) -> None:
        self._heat = call.engine.heat
        self._spans: Sequence[Span] = opened.spans
        self._parts = opened.key.sealed.parts if opened.key is not None else None
        self._stop = stop
        self._who = who(call)
        self._sweep = is_sweep(call)
        self._told = self._at = start

    def took(self, size: int) -> None:
        """The client took so many more bytes."""
        self._at += size
        if self._at - self._told >= TOLD_EACH or self._at >= self._stop:
            self.tell()

    def tell(self) -> None:
        """Tell the tracker of what it does not know of yet."""
        start, stop = self._told, self._at
        if start < stop:
            self._told = stop
            if self._parts is not None:
                start, stop = stored_span(self._parts, start, stop)
            self._heat.read_spans(self._spans, start, stop, self._who, sweep=self._sweep)


def counted(
    call: Call, opened: OpenObject, start: int, stop: int, body: bytes | AsyncGenerator[bytes, None]
) -> bytes | AsyncIterator[bytes]:
    """The same body, telling the tracker as it is taken."""
    if not call.engine.heat.on or _asks_for_nothing(call):
        return body
    reading = Reading(call, opened, start, stop)
    if isinstance(body, bytes):
        reading.took(len(body))
        return body
    return _telling(reading, body)


async def _telling(reading: Reading, body: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(body):
        try:
            async for piece in body:
                yield piece
                reading.took(len(piece))
        finally:
            reading.tell()


def looked(call: Call, view: ObjectView) -> None:
    """Somebody looked at an object, without its bytes."""
    if call.engine.heat.on and not _asks_for_nothing(call) and not is_sweep(call):
        call.engine.tiering.note_interest(view)


def who(call: Call) -> int:
    """A number for the client: its key and its address."""
    return call.engine.heat.who(call.principal.access_key, call.request.peer)


def is_sweep(call: Call) -> bool:
    """Is it read for a backup and the like, by its own word or by the operator's?"""
    if call.headers.get(PURPOSE, "").strip().lower() in SWEEPS:
        return True
    named, principal = call.engine.settings.tiering.backup_credentials, call.principal
    return bool(named) and any(name in named for name in (principal.access_key, principal.name, principal.user) if name)


def _asks_for_nothing(call: Call) -> bool:
    return call.headers.get(PURPOSE, "").strip().lower() in NOTHING
