"""Several things at the same time, and one plain error if any of them fails.

Room: stratum/store. May import: core.errors.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import trio

from stratum.core.errors import StratumError

T = TypeVar("T")


async def together(jobs: Sequence[Callable[[], Awaitable[T]]]) -> list[T]:
    """Return what each of the jobs returns, in order. The first error of our tree ends them all, and is raised."""
    found: dict[int, T] = {}
    failed: list[StratumError] = []

    async def run(number: int, job: Callable[[], Awaitable[T]]) -> None:
        try:
            found[number] = await job()
        except StratumError as error:
            failed.append(error)
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        for number, job in enumerate(jobs):
            nursery.start_soon(run, number, job)
    if failed:
        raise failed[0]
    return [found[number] for number in range(len(jobs))]
