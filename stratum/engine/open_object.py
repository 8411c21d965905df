"""One version of an object, ready to be read: its bytes as they were put, whatever form they are stored in.

Room: stratum/engine. May import: core, engine.{contents, sealing, surroundings}.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

import trio

from stratum.core.config import KIB
from stratum.core.errors import CorruptSeal
from stratum.core.manifest import Span
from stratum.core.objects import ObjectView
from stratum.engine.contents import Contents
from stratum.engine.sealing import ObjectKey
from stratum.engine.surroundings import Surroundings

IN_THREAD_BYTES = 64 * KIB  # from here on a hop to a thread costs less than the loop would stand still


@dataclass(frozen=True, slots=True)
class OpenObject:
    """One version of an object; later changes of the key do not affect it. `key`: of an encrypted one."""

    view: ObjectView
    spans: list[Span]
    surroundings: Surroundings
    key: ObjectKey | None = None

    def stream(self, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        """Yield the verified bytes [start, stop) in pieces of about 1 MiB. Raises TooFewShards, CorruptSeal."""
        self.surroundings.used(self.view.inode.content, self.view.inode.size)
        return self.unseen(start, stop)

    def unseen(self, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        """As `stream`, for a service of the store: what it reads is no access (law 12)."""
        contents = self.surroundings.contents
        if self.key is None:
            return contents.stream(self.spans, start, stop)
        return unsealed(contents, self.spans, self.key, start, stop)


async def unsealed(
    contents: Contents, spans: list[Span], key: ObjectKey, start: int, stop: int
) -> AsyncGenerator[bytes, None]:
    """Yield the plain bytes [start, stop) of a sealed content whose runs are all in `spans`.

    Raises TooFewShards, CorruptSeal.
    """
    if start >= stop:
        return
    unsealer = key.unsealer(start, stop)
    first, end = key.stored_span(start, stop)
    async with aclosing(contents.stream(spans, first, end)) as pieces:
        async for piece in pieces:
            if len(piece) < IN_THREAD_BYTES:
                plain = unsealer.feed(piece)
            else:
                plain = await trio.to_thread.run_sync(unsealer.feed, piece)
            if plain:
                yield plain
    if not unsealer.done:
        raise CorruptSeal("fewer bytes are stored than the record says")
