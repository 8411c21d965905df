"""One thread hop that calls several disks in turn, and knows which of them does not answer.

Room: stratum/store. May import: core.{config, errors}, store.disks.

A read of four columns, or an append to six shards, costs one hop instead of one per disk. The job tells a `Progress`
which disk it is about to call; when the time is up, that disk is the one taken out of service.
"""

from collections.abc import Callable
from typing import TypeVar

import trio

from stratum.core.config import Limits
from stratum.core.errors import Busy, DiskFailed
from stratum.store.disk import CallFailed, Disk
from stratum.store.disks import Disks

T = TypeVar("T")


class Progress:
    """Which disk a job is calling now."""

    __slots__ = ("disk",)

    def __init__(self) -> None:
        self.disk: Disk | None = None


class NoAnswer(CallFailed):
    """A disk did not answer in time; the job may still be stuck in its thread, so what it touched is unknown."""


class Hop:
    """Runs jobs that call several disks."""

    def __init__(self, disks: Disks, limits: Limits) -> None:
        self._disks = disks
        self._timeout = limits.disk_timeout
        self._limiter = trio.CapacityLimiter(limits.disk_threads)

    async def run(self, job: Callable[[Progress], T]) -> T:
        """Return what `job` returns. When cancelled, the job is left to end by itself.

        Raises NoAnswer after taking the silent disk out of service, Busy if no thread came free in time.
        """
        progress = Progress()
        with trio.move_on_after(self._timeout):
            return await trio.to_thread.run_sync(job, progress, abandon_on_cancel=True, limiter=self._limiter)
        disk = progress.disk
        if disk is None:
            raise Busy("every disk thread is taken")
        error = NoAnswer(disk, f"{disk.name}: no answer within {self._timeout:g} s")
        self.blame(error)
        raise error

    @property
    def pressure(self) -> float:
        """How many of the threads are taken, 0 to 1; above 1: some wait for one."""
        seen = self._limiter.statistics()
        return (seen.borrowed_tokens + seen.tasks_waiting) / seen.total_tokens

    def blame(self, error: BaseException) -> None:
        """If a disk was at fault, take that very disk out of service."""
        if isinstance(error, CallFailed):
            self._disks.fail(error.disk.slot, str(error), disk=error.disk)


def is_in_service(disks: Disks, disk: Disk) -> bool:
    """Is this very disk (not another one in its slot) in service?"""
    try:
        return disks.get(disk.slot) is disk
    except DiskFailed:
        return False
