"""A thread for one disk, so that a disk that hangs hangs nothing else.

Room: stratum/store. May import: core.errors, store.disk.

The event loop reaches disks through `Disks.run`; the journal is written from threads and has its own way here.
"""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

from stratum.core.errors import StratumError
from stratum.store.disk import CallFailed, Disk

JOIN_WAIT = 1.0  # seconds

T = TypeVar("T")


class DiskThread:
    """Makes calls one after another in a thread of its own. A daemon: a hung one does not keep the process."""

    def __init__(self, disk: Disk, name: str) -> None:
        self.disk = disk
        self.abandoned = False  # set when nobody waits for it any more: it must not change what others now use
        self._touched: tuple[float, Disk] = time.monotonic(), disk
        self._calls: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=f"{name} {disk.slot}", daemon=True)
        self._thread.start()

    def submit(self, call: Callable[[], T]) -> "Future[T]":
        """Have `call()` made after all that were submitted before. Wait for it with `result`."""
        future: Future[T] = Future()
        self._calls.put((future, call))
        return future

    def touch(self, disk: Disk) -> None:
        """Say, inside a call that takes long, that it makes progress and now turns to `disk`."""
        self._touched = time.monotonic(), disk

    def result(self, future: "Future[T]", timeout: float) -> T:
        """What the call returned or raised. Raises CallFailed, blaming the disk that was touched last and
        abandoning the thread, if for `timeout` seconds the call makes no progress."""
        began = time.monotonic()
        while True:
            touched, disk = self._touched
            left = max(began, touched) + timeout - time.monotonic()
            try:
                return future.result(max(left, 0))
            except TimeoutError:
                if future.done():
                    return future.result()
                if self._touched[0] != touched:
                    continue
                self.abandoned = True
                self.stop()
                raise CallFailed(disk, f"{disk.name}: no answer within {timeout:g} s") from None

    def stop(self) -> None:
        """End the thread after the calls submitted so far."""
        self._calls.put(None)

    def join(self) -> None:
        """Wait a moment for a stopped thread to end, unless it was given up on."""
        if not self.abandoned:
            self._thread.join(JOIN_WAIT)

    def _work(self) -> None:
        while (job := self._calls.get()) is not None:
            future, call = job
            self._touched = time.monotonic(), self.disk
            try:
                future.set_result(call())
            except BaseException as error:
                future.set_exception(error)


def together(calls: Sequence[tuple[DiskThread, Callable[[], T]]], timeout: float) -> list[T | StratumError]:
    """Make calls on several disks at once: what each returned, or the StratumError that it raised, in order."""
    futures = [(thread, thread.submit(call)) for thread, call in calls]
    outcomes: list[T | StratumError] = []
    for thread, future in futures:
        try:
            outcomes.append(thread.result(future, timeout))
        except StratumError as error:
            outcomes.append(error)
    return outcomes
