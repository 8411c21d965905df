"""A small request body (XML), read whole and checked.

Room: stratum/s3. May import: core.{checksums, config}, s3.{errors, payload, xml}.
"""

from collections.abc import Callable
from typing import TypeVar

import trio

from stratum.core.checksums import Digests
from stratum.core.config import KIB
from stratum.s3.errors import S3Error
from stratum.s3.payload import Payload
from stratum.s3.xml import Node, parse

PARSE_INLINE_BYTES = 32 * KIB

T = TypeVar("T")


async def read_whole(payload: Payload, size_max: int) -> bytes:
    """Return the body. Raises S3Error MaxMessageLengthExceeded over `size_max` bytes, and what the check raises."""
    digests = Digests(payload.algorithms | {"md5"})
    pieces: list[bytes] = []
    size = 0
    async for piece in payload.body:
        size += len(piece)
        if size > size_max:
            raise S3Error("MaxMessageLengthExceeded", MaxMessageLengthBytes=str(size_max))
        digests.update(piece)
        pieces.append(piece)
    payload.check(digests.results(), size)
    return b"".join(pieces)


async def read_xml(payload: Payload, size_max: int, root: str) -> Node:
    """Return the tree of an XML body. Raises MalformedXml and what `read_whole` raises."""
    return await read_xml_as(payload, size_max, root, lambda tree: tree)


async def read_xml_as(payload: Payload, size_max: int, root: str, meaning: Callable[[Node], T]) -> T:
    """Return what `meaning` makes of the tree of an XML body. Raises as `read_xml`, and what `meaning` raises.

    A large one is dealt with in a thread: tens of thousands of elements take longer than the event loop may be held.
    """
    body = await read_whole(payload, size_max)
    if len(body) <= PARSE_INLINE_BYTES:
        return meaning(parse(body, root))
    return await trio.to_thread.run_sync(lambda: meaning(parse(body, root)))
