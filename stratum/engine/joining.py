"""Complete of an upload of many parts: the same as of few, in short turns of the event loop.

Room: stratum/engine. May import: core, engine.{endings, new_objects, sealing}, store.meta.

The parts are read, judged in a thread, and their runs are put into a new content a slice at a time, while the upload
stays as it is. Then one short change does what is to be seen: condition, object, end of the upload. What is left of
the parts is freed later (engine/endings.py). Whoever stores a part meanwhile makes it start again.

Invariants
    J1  The object is made of the parts as they are at the change that makes it.
    J2  Whatever ends it before that change, the upload and its parts are as before, and the new content is freed.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import accumulate

import trio

from stratum.core.manifest import Span, place_spans, shift, some_spans
from stratum.core.multipart import checksum_of, choose_parts, etag_of, part_checksums_of
from stratum.core.objects import UNCONDITIONAL, Condition, PartName
from stratum.core.records import Checksum, Part, Upload
from stratum.core.txn import Txn
from stratum.core.upload_rows import PARTS_AT_ONCE, some_parts
from stratum.engine.new_objects import NewObject
from stratum.engine.sealing import sealed_of
from stratum.store.meta import Meta

RUNS_AT_ONCE = 128  # joined in one change
PARTS_LOOKED_AT = 256  # read in one turn
EVENT = "ObjectCreated:CompleteMultipartUpload"


class PartsChanged(Exception):
    """A part was stored while the parts were put together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """What a Complete asks for."""

    bucket: str
    key: bytes
    upload_id: str
    names: Sequence[PartName]
    condition: Condition = UNCONDITIONAL
    checksum: Checksum | None = None
    size: int | None = None
    principal: str = ""

    def numbers(self) -> list[int]:
        """The numbers named, each once."""
        return list(dict.fromkeys(name.number for name in self.names))


class PartWatch:
    """Who wants to hear of parts that are stored."""

    def __init__(self) -> None:
        self._watched: list[tuple[str, set[int]]] = []

    def stored(self, upload_id: str, number: int) -> None:
        """A part was stored."""
        for watched, numbers in self._watched:
            if watched == upload_id:
                numbers.add(number)

    @contextmanager
    def of(self, upload_id: str) -> Iterator[set[int]]:
        """The numbers of parts that are stored from now on."""
        watch: tuple[str, set[int]] = (upload_id, set())
        self._watched.append(watch)
        try:
            yield watch[1]
        finally:
            self._watched = [each for each in self._watched if each is not watch]


def is_short(txn: Txn, upload_id: str) -> bool:
    """Can the parts be put together in one short change?"""
    parts, runs = some_parts(txn, upload_id, 0, PARTS_AT_ONCE + 1), 0
    for _, part in parts:
        runs += len(some_spans(txn, part.content, 0, part.stored or part.size, RUNS_AT_ONCE + 1 - runs)[0])
        if runs > RUNS_AT_ONCE:
            return False
    return len(parts) <= PARTS_AT_ONCE


def object_of(
    asked: Completion, upload: Upload, stored: dict[int, Part], part_bytes_min: int, content: int
) -> tuple[NewObject, list[Part]]:
    """What the upload becomes, and of which parts. Raises InvalidPart, InvalidPartOrder, PartTooSmall, BadDigest,
    WrongSize, CorruptSeal. A plain function: of many parts it runs in a thread."""
    parts = choose_parts(asked.names, stored, part_bytes_min, asked.size)
    new = NewObject(
        content=content,
        size=sum(part.size for part in parts),
        etag=etag_of(parts),
        headers=upload.headers,
        metadata=upload.metadata,
        checksum=checksum_of(upload, parts, asked.checksum),
        parts=tuple(part.size for part in parts),
        part_checksums=part_checksums_of(upload, parts),
        upload=asked.upload_id,
        owner=upload.owner,
        tags=upload.tags,
        acl=upload.acl,
        retention=upload.retention,
        legal_hold=upload.legal_hold,
        storage_class=upload.storage_class,
        sealed=sealed_of(upload, parts),
        event=EVENT,
        principal=asked.principal,
    )
    return new, parts


async def stored_parts(meta: Meta, find: Callable[[Txn], Upload], upload_id: str) -> tuple[Upload, dict[int, Part]]:
    """The upload, and all its parts by number. Raises what `find` raises."""

    def look(after: int, txn: Txn) -> tuple[Upload, list[tuple[int, Part]]]:
        return find(txn), some_parts(txn, upload_id, after, PARTS_LOOKED_AT)

    stored: dict[int, Part] = {}
    after = 0
    while True:
        upload, found = await meta.read_durable(partial(look, after))
        stored.update(found)
        if len(found) < PARTS_LOOKED_AT:
            return upload, stored
        after = found[-1][0]
        await trio.lowlevel.checkpoint()


async def join(meta: Meta, parts: Sequence[Part], content: int, touched: set[int]) -> None:
    """Let `content` share the runs of the parts, one behind the other. Raises PartsChanged, ReadOnly."""
    offsets = list(accumulate((part.stored or part.size for part in parts), initial=0))
    number, start = 0, 0
    while number < len(parts):
        if touched:
            raise PartsChanged
        await meta.room()
        (number, start), _ = meta.apply(partial(_join_some, parts, offsets, content, number, start))
        await trio.lowlevel.checkpoint()


def _join_some(
    parts: Sequence[Part], offsets: Sequence[int], content: int, number: int, start: int, txn: Txn
) -> tuple[int, int]:
    """Inside a change: share the next few runs, from `start` of a part on; return where to go on."""
    joined: list[Span] = []
    while number < len(parts) and len(joined) < RUNS_AT_ONCE:
        part = parts[number]
        stop = part.stored or part.size
        found, start = some_spans(txn, part.content, start, stop, RUNS_AT_ONCE - len(joined))
        joined += shift(found, offsets[number])
        if start == stop:
            number, start = number + 1, 0
    place_spans(txn, content, joined)
    return number, start
