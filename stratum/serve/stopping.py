"""How the process is asked to end: the first signal (or an unmount) drains, the second aborts, and so does delay.

Room: stratum/serve. May import: serve.{mountpoint, notify}.

Aborting loses nothing that was acknowledged: that is durable, and the next start recovers it.
"""

import logging
import os
import signal
import threading
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import trio

from stratum.serve.mountpoint import unmount_lazily
from stratum.serve.notify import notify

log = logging.getLogger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
EXIT_ABORTED = 1


@dataclass(slots=True)
class Stop:
    """The wish to end. `patience`: seconds from the wish until the process is ended whatever it does."""

    patience: float
    mountpoint: Path | None = None
    reason: str = ""
    _asked: trio.Event = field(default_factory=trio.Event)
    _timer: threading.Timer | None = None

    def ask(self, reason: str) -> None:
        """Begin to end; a second time changes nothing."""
        if self._asked.is_set():
            return
        self.reason = reason
        log.info("stopping: %s", reason)
        notify(STOPPING="1", STATUS=f"stopping: {reason}")
        self._timer = threading.Timer(self.patience, self.abort, [f"not done after {self.patience:g} s"])
        self._timer.daemon = True  # a thread, because a blocked event loop is what it is there for
        self._timer.start()
        self._asked.set()

    async def wait(self) -> None:
        """Return when the process should end."""
        await self._asked.wait()

    async def watch_signals(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Turn signals into `ask` and `abort`, until cancelled. Beside SIGTERM, one that whoever started us had ignored
        (nohup, a shell's background job) stays ignored."""
        heeded = {number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN} | {signal.SIGTERM}
        with trio.open_signal_receiver(*heeded) as received:
            task_status.started()
            async for number in received:
                if self._asked.is_set():
                    self.abort("a second signal")
                self.ask(signal.Signals(number).name)

    def abort(self, reason: str) -> None:
        """End the process now, without leaving a dead mount behind."""
        log.error("aborting: %s. What was acknowledged is safe and is recovered at the next start", reason)
        if self.mountpoint is not None:
            unmount_lazily(self.mountpoint)
        os._exit(EXIT_ABORTED)

    def __enter__(self) -> "Stop":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
